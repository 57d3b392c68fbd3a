"""Schedules of the learning rate: in steps, along a cosine, and a rise before either."""
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minires.arguments import number, state_of, whole_number, whole_numbers
from minires.arrays.backend import as_host_array
from minires.errors import DTypeError, StateError
from minires.optim.optimizer import Optimizer


class Schedule:
    """Changes the learning rate of each group of an optimizer, by the number of calls of `step`. A subclass says how.

    Attributes:
        optimizer: the optimizer.
        steps: how often `step` was called.
        base_lrs: the learning rate of each group when the schedule was made.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        kind = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(f"{kind}: got a {type(optimizer).__name__}, expected an optimizer, such as SGD(…)")
        self.optimizer: Optimizer = optimizer
        self.steps: int = 0
        self.base_lrs: list[float] = [group["lr"] for group in optimizer.param_groups]

    def step(self) -> None:
        """Count one step (or epoch, as the caller likes) and change the learning rates."""
        self.steps += 1
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.lr_after(self.steps, group["lr"], base_lr)

    def lr_after(self, steps: int, lr: float, base_lr: float) -> float:
        """The learning rate after so many steps, where it was `lr` before the last of them and `base_lr` at the start."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """How many steps were counted, and where the rates began; the rates of now are the optimizer's to save."""
        return {"steps": self.steps, "base_lrs": np.array(self.base_lrs)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on counting from a saved state.

        Raises:
            StateError: it holds no number of steps, or not a rate for each group.
        """
        kind = type(self).__name__
        steps = state_value(kind, state_dict, "steps")
        if steps.shape != () or steps.dtype.kind not in "iu" or steps < 0:
            raise StateError(f"load_state_dict: {kind}: steps is {steps!r}, expected one whole number of at least 0")
        base_lrs = self.base_lrs
        if "base_lrs" in self.state_dict():
            rates = state_value(kind, state_dict, "base_lrs")
            if rates.shape != (len(base_lrs),) or rates.dtype.kind not in "fiu" or not (rates >= 0).all():
                raise StateError(f"load_state_dict: {kind}: base_lrs is {rates!r}, expected {len(base_lrs)} numbers that "
                                 "are not negative, one for each group of parameters")
            base_lrs = [float(rate) for rate in rates]
        self.steps, self.base_lrs = int(steps), base_lrs

    def _rates(self):
        """The rates of now, as text."""
        return ", ".join([f"{group['lr']:g}" for group in self.optimizer.param_groups])


class MultiStepLR(Schedule):
    """Multiplies the learning rate by `gamma` at each milestone: He et al. 2015 divide by 10 after 32k and 48k steps.

    A rate that is set by hand in between is scaled from there.

    Args:
        optimizer: the optimizer whose `lr` is changed, in each of its groups.
        milestones: after how many calls of `step`; one that is listed twice counts twice.
        gamma: the factor.

    Raises:
        ArgumentError: a milestone is not a whole number of at least 1, or gamma is negative.
        DTypeError: this is no optimizer.
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.milestones: list[int] = whole_numbers("MultiStepLR", "milestones", milestones, "a milestone")
        self.gamma: float = number("MultiStepLR", "gamma", gamma)

    def __repr__(self) -> str:
        return (f"MultiStepLR(milestones={self.milestones}, gamma={self.gamma:g}, steps={self.steps}, "
                f"lr={self._rates()})")

    def lr_after(self, steps: int, lr: float, base_lr: float) -> float:
        """The last rate, multiplied where this is a milestone."""
        return lr * self.gamma ** self.milestones.count(steps)

    def state_dict(self) -> dict[str, Any]:
        """How many steps were counted; the learning rates are the optimizer's to save."""
        return {"steps": self.steps}


class CosineLR(Schedule):
    """Lowers the learning rate along half a cosine: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5.

        lr = eta_min + (lr₀ - eta_min) (1 + cos(π steps / T_max)) / 2

    lr₀ is the rate of each group when the schedule is made. After T_max steps the cosine rises again, as that of PyTorch's
    CosineAnnealingLR: end the training there.

    Args:
        optimizer: the optimizer whose `lr` is changed, in each of its groups.
        T_max: after how many calls of `step` the rate is `eta_min`.
        eta_min: the lowest rate.

    Raises:
        ArgumentError: `T_max` is not a whole number of at least 1, or `eta_min` is negative.
        DTypeError: this is no optimizer.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        super().__init__(optimizer)
        self.T_max: int = whole_number("CosineLR", "T_max", T_max)
        self.eta_min: float = number("CosineLR", "eta_min", eta_min)

    def __repr__(self) -> str:
        return f"CosineLR(T_max={self.T_max}, eta_min={self.eta_min:g}, steps={self.steps}, lr={self._rates()})"

    def lr_after(self, steps: int, lr: float, base_lr: float) -> float:
        """The place on the cosine."""
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * steps / self.T_max)) / 2


class LinearWarmup(Schedule):
    """Raises the learning rate from a part of it to the whole, in equal steps; then another schedule takes over.

        lr = lr₀ · (start_factor + (1 - start_factor) · steps / total_steps)        up to total_steps

        schedule = optim.LinearWarmup(optimizer, 500, after=optim.CosineLR(optimizer, 10_000))

    lr₀ is the rate of each group when the schedule is made, which sets it to lr₀ · start_factor at once. The steps of
    `after` are counted from the end of the rise. Goyal et al. 2017, arXiv:1706.02677, section 2.2, warm up so; PyTorch's
    LinearLR, followed by another schedule in SequentialLR, does the same.

    Args:
        optimizer: the optimizer whose `lr` is changed, in each of its groups.
        total_steps: how many calls of `step` the rise takes.
        start_factor: where it begins, from 0 to 1.
        after: the schedule of the steps after it, made for the same optimizer; None: the rate stays lr₀.

    Raises:
        ArgumentError: `total_steps` is not a whole number of at least 1, or `start_factor` is not from 0 to 1.
        DTypeError: this is no optimizer, or `after` no schedule of it.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, start_factor: float = 0.1,
                 after: Schedule | None = None) -> None:
        super().__init__(optimizer)
        self.total_steps: int = whole_number("LinearWarmup", "total_steps", total_steps)
        self.start_factor: float = number("LinearWarmup", "start_factor", start_factor, largest=1)
        if after is not None and not (isinstance(after, Schedule) and after.optimizer is optimizer):
            raise DTypeError(f"LinearWarmup: after is {after!r}, expected a schedule of the same optimizer, such as "
                             "CosineLR(optimizer, …), or None")
        self.after: Schedule | None = after
        for group in optimizer.param_groups:
            group["lr"] *= self.start_factor

    def __repr__(self) -> str:
        return (f"LinearWarmup(total_steps={self.total_steps}, start_factor={self.start_factor:g}, after={self.after!r}, "
                f"steps={self.steps}, lr={self._rates()})")

    def step(self) -> None:
        """Count one step, of the rise or of what follows it, and change the learning rates."""
        if self.steps < self.total_steps:
            super().step()
            return
        self.steps += 1
        if self.after is not None:
            self.after.step()

    def lr_after(self, steps: int, lr: float, base_lr: float) -> float:
        """The place on the line."""
        return base_lr * (self.start_factor + (1 - self.start_factor) * steps / self.total_steps)

    def state_dict(self) -> dict[str, Any]:
        """Its own state, and that of the schedule after it, as "after.steps" and so on."""
        after = {} if self.after is None else self.after.state_dict()
        return super().state_dict() | {f"after.{key}": value for key, value in after.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on counting from a saved state.

        Raises:
            StateError: it holds no number of steps, or not a rate for each group; or not those of the schedule after it.
        """
        before = self.steps, self.base_lrs
        super().load_state_dict(state_dict)
        if self.after is not None:
            try:
                self.after.load_state_dict({key.removeprefix("after."): value for key, value in state_dict.items()
                                            if key.startswith("after.")})
            except StateError:
                self.steps, self.base_lrs = before
                raise


def state_value(kind: str, state_dict: Mapping[str, Any], key: str) -> np.ndarray:
    """An entry of the state of a schedule as a host array, or a StateError that says what is there."""
    if key not in state_of(state_dict):
        raise StateError(f"load_state_dict: {kind} needs {key!r}, got {', '.join(state_dict) or 'nothing'}")
    return as_host_array(state_dict[key], "load_state_dict", key)
