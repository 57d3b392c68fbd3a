"""Stochastic gradient descent with momentum, and the schedule of its learning rate."""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from minires.arguments import flag, list_of, number, state_of, whole_numbers
from minires.arrays.backend import (
    Array,
    array_module,
    as_host_array,
    beside,
    is_writable,
    read_only,
    to_host,
    use_device_of,
)
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError, ShapeError, StateError
from minires.nn.module import does_overflow, write_array


class Optimizer(Protocol):
    """What a training step asks of an optimizer."""

    def step(self) -> None:
        """Move the parameters."""

    def zero_grad(self) -> None:
        """Forget their gradients."""


class UpdateHook(Protocol):
    """What an optimizer calls around each of its steps."""

    def before_update(self, optimizer: SGD) -> None:
        """The gradients are there, and nothing has moved."""

    def after_update(self, optimizer: SGD) -> None:
        """The parameters have moved."""


class SGD:
    """Stochastic gradient descent, in PyTorch's form.

        g = dL/dw + weight_decay · w
        v = momentum · v + g                      (v = g in the first step)
        w = w - lr · v                            (nesterov: w - lr · (g + momentum · v))

    The learning rate is outside of v, unlike in Sutskever et al. 2013 (ICML, equations 1 and 2), so that a change of `lr`
    acts at once. A parameter whose `grad` is None is left as it is.

    Args:
        params: the tensors to train: `model.parameters()`. One that wants no gradient, a frozen one, is left alone.
        lr: the learning rate, not negative; `optimizer.lr` may be set at any time.
        momentum: 0 or more, usually 0.9.
        weight_decay: the factor of w in g: that of the penalty weight_decay/2 · ‖w‖².
        nesterov: look ahead along v; needs momentum.

    Attributes:
        hooks: a list of `UpdateHook`s: objects with `before_update(optimizer)` and `after_update(optimizer)`.

    Raises:
        ArgumentError: a number is negative, `params` is empty or names a tensor twice, nesterov without momentum.
        DTypeError: `params` holds something that is not a tensor with requires_grad=True.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.0, weight_decay: float = 0.0,
                 nesterov: bool = False) -> None:
        self.params: list[Tensor] = _checked_params(params)
        self.lr: float = number("SGD", "lr", lr)  # Python's: a float64 scalar of NumPy would promote float32 weights
        self.momentum: float = number("SGD", "momentum", momentum)
        self.weight_decay: float = number("SGD", "weight_decay", weight_decay)
        self.nesterov: bool = flag("SGD", "nesterov", nesterov)
        if self.nesterov and self.momentum == 0:
            raise ArgumentError("SGD: nesterov=True looks ahead along the momentum, but momentum is 0: set it, say to 0.9")
        self.velocities: list[Array | None] = [None] * len(self.params)  # for each parameter v, once it has made a step
        self.hooks: list[UpdateHook] = []

    def __repr__(self) -> str:
        return (f"SGD({len(self.params)} parameters, lr={self.lr:g}, momentum={self.momentum:g}, "
                f"weight_decay={self.weight_decay:g}, nesterov={self.nesterov})")

    def step(self) -> None:
        """Move every parameter that has a gradient, in place."""
        for hook in list(self.hooks):  # as they are now: one may remove itself
            hook.before_update(self)
        moved = [i for i, parameter in enumerate(self.params) if parameter.grad is not None and parameter.requires_grad]
        for i in moved:
            self._check_gradient(self.params[i])  # of all, before the first moves
        for i in moved:
            self._update(i, self.params[i])
        for hook in list(self.hooks):
            hook.after_update(self)

    def _update(self, i: int, parameter: Tensor) -> None:
        w, g = parameter.data, parameter.grad
        use_device_of(w)
        if self.weight_decay != 0:
            g = g + self.weight_decay * w
        if self.momentum != 0:
            v = self.velocities[i]
            if v is None:
                v = array_module(g).array(g, dtype=w.dtype)  # our own: g may be the parameter's grad
            else:
                v = beside(v, w)  # the parameter may have moved to another device
                v *= self.momentum
                v += g
            self.velocities[i] = v
            g = g + self.momentum * v if self.nesterov else v
        w -= self.lr * g

    def zero_grad(self) -> None:
        """Set every parameter's `grad` to None."""
        for parameter in self.params:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """A flat dict: the four settings, and `velocity.NAME`, a host copy, of each parameter that has moved."""
        state: dict[str, Any] = {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay,
                                 "nesterov": self.nesterov}
        for key, velocity in zip(self._velocity_keys(), self.velocities, strict=True):
            if velocity is not None:
                state[key] = np.array(to_host(velocity), order="C")
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the settings and velocities of a state dict; those of parameters that it lacks are cleared.

        Raises:
            StateError: a setting is missing or not a number of its kind, or a velocity is of no parameter here, of another
                shape or not of real numbers; all are listed, and nothing was changed.
        """
        state_dict = state_of(state_dict)
        keys = self._velocity_keys()
        settings = ("lr", "momentum", "weight_decay", "nesterov")
        shapes = dict(zip(keys, [parameter.shape for parameter in self.params], strict=True))
        dtypes = dict(zip(keys, [parameter.dtype for parameter in self.params], strict=True))
        problems = [f"{name}: is missing" for name in settings if name not in state_dict]
        given = {key: as_host_array(value, "load_state_dict", key) for key, value in state_dict.items()}
        for key, value in given.items():
            if key not in shapes and key not in settings:
                problems.append(f"{key}: is unexpected")
            elif value.dtype.kind not in "fiub":
                problems.append(f"{key}: holds {value.dtype} values, expected real numbers")
            elif value.shape != shapes.get(key, ()):
                problems.append(f"{key}: has shape {value.shape}, expected {shapes.get(key, 'one number')}")
            elif key in shapes and does_overflow(value, dtypes[key]):
                problems.append(f"{key}: holds numbers that are too large for {dtypes[key]}")
            elif key in settings and not 0 <= value < math.inf:
                problems.append(f"{key}: is {value}, expected a finite number that is not negative")
        if problems:
            raise StateError("\n  ".join(["load_state_dict: this does not fit the SGD, of which nothing was changed:",
                                          *problems]))
        self.lr, self.momentum, self.weight_decay = [float(given[name]) for name in settings[:3]]
        self.nesterov = bool(given["nesterov"])
        for i, (key, parameter) in enumerate(zip(keys, self.params, strict=True)):
            self.velocities[i] = None
            if key in given:
                velocity = array_module(parameter.data).empty_like(parameter.data)
                write_array("load_state_dict", velocity, given[key])
                self.velocities[i] = velocity

    def _velocity_keys(self):
        """A key for each parameter: by its name where that is known and unique, by its place otherwise."""
        names = [parameter.name for parameter in self.params]
        return [f"velocity.{name if name and names.count(name) == 1 else i}" for i, name in enumerate(names)]

    def _check_gradient(self, parameter):
        if not is_writable(parameter.data):
            raise read_only(f"SGD: {parameter!r}")
        if parameter.grad.dtype.kind not in "fiub":
            raise DTypeError(f"SGD: {parameter!r} has a grad of {parameter.grad.dtype}, expected real numbers")
        if parameter.grad.shape != parameter.shape:
            raise ShapeError(f"SGD: {parameter!r} has a grad of shape {parameter.grad.shape}: grad must have the shape of "
                             "data; was one of them set by hand?")


class MultiStepLR:
    """Multiplies the learning rate by `gamma` at each milestone: He et al. 2015 divide by 10 after 32k and 48k steps.

    Args:
        optimizer: the optimizer whose `lr` is changed.
        milestones: after how many calls of `step`; one that is listed twice counts twice.
        gamma: the factor.

    Raises:
        ArgumentError: a milestone is not a whole number of at least 1, or gamma is negative.
        DTypeError: this is no optimizer.
    """

    def __init__(self, optimizer: SGD, milestones: Iterable[int], gamma: float = 0.1) -> None:
        if not hasattr(optimizer, "lr"):
            raise DTypeError(f"MultiStepLR: got a {type(optimizer).__name__}, expected an optimizer, such as SGD(…)")
        self.milestones: list[int] = whole_numbers("MultiStepLR", "milestones", milestones, "a milestone")
        self.optimizer = optimizer
        self.gamma: float = number("MultiStepLR", "gamma", gamma)
        self.steps: int = 0

    def __repr__(self) -> str:
        return (f"MultiStepLR(milestones={self.milestones}, gamma={self.gamma:g}, steps={self.steps}, "
                f"lr={self.optimizer.lr:g})")

    def step(self) -> None:
        """Count one step (or epoch, as the caller likes) and change the learning rate if it is a milestone."""
        self.steps += 1
        self.optimizer.lr *= self.gamma ** self.milestones.count(self.steps)

    def state_dict(self) -> dict[str, int]:
        """How many steps were counted; the learning rate is the optimizer's to save."""
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on counting from a saved state.

        Raises:
            StateError: it holds no number of steps.
        """
        if "steps" not in state_of(state_dict):
            raise StateError(f"load_state_dict: MultiStepLR needs 'steps', got {', '.join(state_dict) or 'nothing'}")
        steps = as_host_array(state_dict["steps"], "load_state_dict", "steps")
        if steps.shape != () or steps.dtype.kind not in "iu" or steps < 0:
            raise StateError(f"load_state_dict: MultiStepLR: steps is {steps!r}, expected one whole number of at least 0")
        self.steps = int(steps)


def _checked_params(params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list, each of them a tensor that can be trained, and none of them twice."""
    if isinstance(params, Tensor):
        raise DTypeError("SGD: got one Tensor, expected a list of them: SGD([tensor], …) or SGD(model.parameters(), …)")
    if not isinstance(params, Iterable):
        raise DTypeError(f"SGD: got a {type(params).__name__}, expected a list of tensors: of a model, model.parameters()")
    params = list_of("SGD", "params", params, object, "a list of tensors: of a model, model.parameters()")
    if not params:
        raise ArgumentError("SGD: got no parameters. An iterator such as model.parameters() is empty after its first use")
    for parameter in params:
        if not isinstance(parameter, Tensor) or parameter.op is not None:
            raise DTypeError(f"SGD: got {parameter!r}, expected leaf tensors with requires_grad=True")
    if not any(parameter.requires_grad for parameter in params):
        raise DTypeError(f"SGD: none of the {len(params)} parameters, such as {params[0]!r}, wants a gradient: expected "
                         "leaf tensors with requires_grad=True, and only those that are frozen without")
    if len({id(parameter) for parameter in params}) < len(params):
        raise ArgumentError("SGD: a parameter is listed twice: it would be moved twice in each step")
    return params
