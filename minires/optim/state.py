"""The state of an optimizer as the entries of a flat dict: its settings, its arrays, its counts of steps."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from minires.arrays.backend import array_module, to_host
from minires.errors import ArgumentError
from minires.nn.module import does_overflow, write_array

if TYPE_CHECKING:
    from minires.optim.optimizer import Optimizer


class SettingEntry(NamedTuple):
    """A setting of a group of parameters: a number, a flag, or an array of numbers where it is a tuple."""

    optimizer: Optimizer
    group: dict[str, Any]
    name: str

    def get(self) -> Any:
        """What is saved."""
        value = self.group[self.name]
        return np.array(value) if isinstance(value, tuple) else value

    def problem(self, value: np.ndarray) -> str | None:
        """Why a value cannot be loaded, or None."""
        shape = np.shape(self.group[self.name])
        if value.dtype.kind not in "fiub":
            return f"holds {value.dtype} values, expected real numbers"
        if value.shape != shape:
            return f"has shape {value.shape}, expected {'one number' if shape == () else shape}"
        try:
            self.setting_of(value)
        except ArgumentError as error:
            return str(error).removeprefix(f"load_state_dict: {self.name} ")
        return None

    def set(self, value: np.ndarray | None) -> None:
        """Load a value; there is one for every setting."""
        self.group[self.name] = self.setting_of(value)

    def setting_of(self, value: Any) -> Any:
        """Python's numbers, of NumPy's: a float64 scalar of NumPy would promote float32 weights."""
        setting = value.item() if value.ndim == 0 else tuple(value.tolist())
        return getattr(type(self.optimizer), self.name).check("load_state_dict", self.name, setting)


class ArrayEntry(NamedTuple):
    """An array that is kept for parameter i."""

    optimizer: Optimizer
    name: str
    i: int

    def get(self) -> np.ndarray | None:
        """What is saved: a host copy, or None where the parameter has made no step."""
        array = self.optimizer.arrays[self.name][self.i]
        return None if array is None else np.array(to_host(array), order="C")

    def problem(self, value: np.ndarray) -> str | None:
        """Why a value cannot be loaded, or None."""
        parameter = self.optimizer.params[self.i]
        if value.dtype.kind not in "fiub":
            return f"holds {value.dtype} values, expected real numbers"
        if value.shape != parameter.shape:
            return f"has shape {value.shape}, expected {parameter.shape}"
        if does_overflow(value, parameter.dtype):
            return f"holds numbers that are too large for {parameter.dtype}"
        return None

    def set(self, value: np.ndarray | None) -> None:
        """Load a value into an array beside the parameter, of its dtype; None clears it."""
        array = None
        if value is not None:
            data = self.optimizer.params[self.i].data
            array = array_module(data).empty_like(data)
            write_array("load_state_dict", array, value)
        self.optimizer.arrays[self.name][self.i] = array


class StepsEntry(NamedTuple):
    """How many steps parameter i has made."""

    optimizer: Optimizer
    i: int

    def get(self) -> int | None:
        """What is saved."""
        return self.optimizer.steps[self.i] or None

    def problem(self, value: np.ndarray) -> str | None:
        """Why a value cannot be loaded, or None."""
        is_count = value.shape == () and value.dtype.kind in "iu" and value >= 1
        return None if is_count else f"is {value!r}, expected one whole number of at least 1"

    def set(self, value: np.ndarray | None) -> None:
        """Load a value; None is none yet."""
        self.optimizer.steps[self.i] = 0 if value is None else int(value)


Entry: TypeAlias = SettingEntry | ArrayEntry | StepsEntry


def state_entries(optimizer: Optimizer) -> dict[str, Entry]:
    """{key: entry} of all that the state of an optimizer may hold."""
    groups, labels = optimizer.param_groups, _labels(optimizer)
    entries: dict[str, Entry] = {}
    for n, group in enumerate(groups):
        for name in optimizer.setting_names:
            entries[name if len(groups) == 1 else f"groups.{n}.{name}"] = SettingEntry(optimizer, group, name)
    for name in optimizer.keeps:
        for i, label in enumerate(labels):
            entries[f"{name}.{label}"] = ArrayEntry(optimizer, name, i)
    if optimizer.together:
        for i, label in enumerate(labels):
            entries[f"steps.{label}"] = StepsEntry(optimizer, i)
    return entries


def state_problems(optimizer: Optimizer, entries: Mapping[str, Entry], given: Mapping[str, np.ndarray]) -> list[str]:
    """A line for each value of a state dict that is missing, unexpected or not of its kind."""
    lines = [f"{key}: is missing" for key, entry in entries.items() if isinstance(entry, SettingEntry) and key not in given]
    for key, value in given.items():
        problem = entries[key].problem(value) if key in entries else "is unexpected"
        if problem is not None:
            lines.append(f"{key}: {problem}")
    if optimizer.together:
        for label in _labels(optimizer):
            keys = [f"{name}.{label}" for name in ("steps", *optimizer.together)]
            there = [key for key in keys if key in given]
            lines += [f"{key}: is missing, and {there[0]} is there" for key in keys if there and key not in given]
    return lines


def _labels(optimizer):
    """A label for each parameter: its name where that is known and unique, its place otherwise."""
    names = [parameter.name for parameter in optimizer.params]
    count = Counter(names)
    return [name if name and count[name] == 1 else str(i) for i, name in enumerate(names)]
