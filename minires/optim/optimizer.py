"""`Optimizer`: what all optimizers share: a step over the parameters, and a state that can be saved and loaded."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from minires.arguments import number, state_of
from minires.arrays.backend import Array, array_module, as_host_array, beside, is_writable, read_only, use_device_of
from minires.engine.tensor import Tensor
from minires.errors import DTypeError, ShapeError, StateError
from minires.optim.groups import Parameters, Setting, parameter_groups, setting_text
from minires.optim.state import state_entries, state_problems


class UpdateHook(Protocol):
    """What an optimizer calls around each of its steps."""

    def before_update(self, optimizer: Optimizer) -> None:
        """The gradients are there, and nothing has moved."""

    def after_update(self, optimizer: Optimizer) -> None:
        """The parameters have moved."""


class Optimizer:
    """Moves parameters along their gradients. A subclass says how one is moved, in `update`.

    The parameters stand in groups, each a dict with its tensors and its settings, as in PyTorch:

        optim.SGD([{"params": body.parameters()}, {"params": head.parameters(), "lr": 0.1}], lr=0.01)

    A setting that a group does not name is that of the call. `optimizer.lr` is the setting of the first group, and setting
    it sets that of all, if they have been equal.

    Attributes:
        param_groups: the groups: dicts with the list "params" and a value for each setting, which may be set at any time.
        params: the parameters of all groups, in order.
        arrays: for each name of an array that the optimizer keeps for every parameter: those of the parameters, in order;
            None for one that has made no step.
        steps: how many steps each parameter has made.
        setting_names: what the settings are called.
        hooks: a list of `UpdateHook`s: objects with `before_update(optimizer)` and `after_update(optimizer)`.
    """

    lr: Setting[float] = Setting(number)  # every optimizer has one; a subclass makes its other settings like it
    keeps: tuple[str, ...] = ()  # the names of the arrays that a subclass keeps for each parameter
    together: tuple[str, ...] = ()  # those that its update counts on from the second step on, as on the number of steps

    def __init__(self, params: Parameters, lr: float, **others: Any) -> None:
        owner = type(self).__name__
        settings = {"lr": lr, **others}
        checks = {name: getattr(type(self), name).check for name in settings}  # of the class's `Setting`s
        self.param_groups: list[dict[str, Any]] = parameter_groups(owner, params, settings, checks)
        self.params: list[Tensor] = [parameter for group in self.param_groups for parameter in group["params"]]
        self.arrays: dict[str, list[Array | None]] = {name: [None] * len(self.params) for name in self.keeps}
        self.steps: list[int] = [0] * len(self.params)
        self.hooks: list[UpdateHook] = []
        self.setting_names: tuple[str, ...] = tuple(settings)
        for group in self.param_groups:
            self.check_group(group)

    def __repr__(self) -> str:
        groups = [", ".join([f"{len(group['params'])} parameters", *[f"{name}={setting_text(group[name])}"
                                                                      for name in self.setting_names]])
                  for group in self.param_groups]
        return f"{type(self).__name__}({'; '.join(groups)})"

    # ---- what a subclass defines

    def update(self, i: int, w: Array, g: Array, group: dict[str, Any]) -> None:
        """Move the array `w` of parameter i, in place, along its gradient g, with the settings of its group."""
        raise NotImplementedError

    def check_group(self, group: dict[str, Any]) -> None:
        """Raise where the settings of a group do not go together."""

    # ---- the step

    def step(self) -> None:
        """Move every parameter that has a gradient, in place."""
        for hook in list(self.hooks):  # as they are now: one may remove itself
            hook.before_update(self)
        groups = [group for group in self.param_groups for _ in group["params"]]  # of each parameter
        moved = [i for i, parameter in enumerate(self.params) if parameter.grad is not None and parameter.requires_grad]
        for i in moved:
            self._check_gradient(self.params[i])  # of all, before the first moves
        for i in moved:
            use_device_of(self.params[i].data)
            self.steps[i] += 1
            self.update(i, self.params[i].data, self.params[i].grad, groups[i])
        for hook in list(self.hooks):
            hook.after_update(self)

    def kept(self, name: str, i: int, w: Array) -> Array:
        """The array of this name that is kept for parameter i, beside w: zeros, if there was none."""
        array = self.arrays[name][i]
        array = array_module(w).zeros_like(w) if array is None else beside(array, w)  # it may have moved to another device
        self.arrays[name][i] = array
        return array

    def zero_grad(self) -> None:
        """Set every parameter's `grad` to None."""
        for parameter in self.params:
            parameter.grad = None

    def _check_gradient(self, parameter):
        owner = type(self).__name__
        if not is_writable(parameter.data):
            raise read_only(f"{owner}: {parameter!r}")
        if parameter.grad.dtype.kind not in "fiub":
            raise DTypeError(f"{owner}: {parameter!r} has a grad of {parameter.grad.dtype}, expected real numbers")
        if parameter.grad.shape != parameter.shape:
            raise ShapeError(f"{owner}: {parameter!r} has a grad of shape {parameter.grad.shape}: grad must have the shape "
                             "of data; was one of them set by hand?")

    # ---- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """A flat dict: the settings, and a host copy of each array that is kept for a parameter, as "velocity.NAME".

        Where there are several groups, their settings are "groups.0.lr" and so on. Where updates depend on how many there
        were, "steps.NAME" counts those of each parameter.
        """
        values = {key: entry.get() for key, entry in state_entries(self).items()}
        return {key: value for key, value in values.items() if value is not None}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the settings and arrays of a state dict; those of parameters that it lacks are cleared.

        Raises:
            StateError: a setting is missing or not of its kind, or an array is of no parameter here, of another shape or
                not of real numbers; all are listed, and nothing was changed.
        """
        given = {key: as_host_array(value, "load_state_dict", key) for key, value in state_of(state_dict).items()}
        entries = state_entries(self)
        problems = state_problems(self, entries, given)
        if problems:
            raise StateError("\n  ".join([f"load_state_dict: this does not fit the {type(self).__name__}, of which nothing "
                                          "was changed:", *problems]))
        for key, entry in entries.items():
            entry.set(given.get(key))
