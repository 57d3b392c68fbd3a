"""The numbers of recorded passes: a vector of each pass on its device, and on the host a table for each quantity."""
from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from minires.arrays.backend import Array, array_module, beside, to_host, use_device_of

Key: TypeAlias = tuple[str, str]  # (quantity, column): what a number of a pass is called

QUANTITIES = ("output_grad_norm", "weight_grad_norm", "weight_norm", "update_ratio")
FLOW_QUANTITIES = ("flow_through_shortcut", "flow_through_branch", "flow_together", "flow_cosine")
ALL_QUANTITIES = QUANTITIES + FLOW_QUANTITIES


class PassNumbers:
    """The numbers of one backward pass, left on their device in small vectors, until somebody asks for them."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._vectors: list[Array] = []

    def add(self, numbers: list[tuple[Key, Array]]) -> None:
        """Take ((quantity, column), 0-d array) pairs; a module that ran twice in the pass has two numbers of a quantity."""
        if numbers:
            keys, arrays = zip(*numbers, strict=True)
            self._keys += keys
            self._vectors.append(_as_vector(arrays))

    def on_host(self) -> dict[Key, float]:
        """{(quantity, column): number}, moved to the host in one transfer; all runs of a module in the pass are one."""
        use_device_of(self._vectors[0])
        vector = array_module(self._vectors[0]).concatenate(self._vectors)
        runs: dict[Key, list[float]] = {}
        for key, number in zip(self._keys, to_host(vector).tolist(), strict=True):
            runs.setdefault(key, []).append(number)
        return {key: numbers[0] if len(numbers) == 1 else _of_all_runs(key, runs) for key, numbers in runs.items()}


class Passes:
    """The recorded passes: the numbers of each quantity by pass and column, and which of them were recorded at all."""

    def __init__(self) -> None:
        self._on_device: list[PassNumbers] = []  # of the last passes: nobody has asked for them, and waited for the GPU
        self._count = 0  # of the passes below
        self._place: dict[str, int] = {}  # of each column below
        self._numbers = np.full((len(ALL_QUANTITIES), 1, 1), np.nan)  # with room for more passes and columns; the last
        self._is_recorded = np.zeros(self._numbers.shape, bool)       # column stays empty, for whom nothing was recorded

    def __len__(self) -> int:
        return self._count + len(self._on_device)

    def add(self, numbers: PassNumbers) -> None:
        """Add a pass."""
        self._on_device.append(numbers)

    def add_to_last(self, numbers: list[tuple[Key, Array]]) -> None:
        """Add what is known only after the last pass, as `PassNumbers.add`."""
        if self._on_device:
            self._on_device[-1].add(numbers)
        elif self._count:
            late = PassNumbers()
            late.add(numbers)
            self._write(self._count - 1, late.on_host())

    def add_row(self, row: dict[Key, float]) -> None:
        """Add a pass whose numbers are on the host: {(quantity, column): number}."""
        self._fetch()
        self._write(self._count, row)
        self._count += 1

    def values(self, quantity: str, columns: list[str]) -> np.ndarray:
        """(passes, columns) float64; NaN where nothing was recorded."""
        self._fetch()
        return self._numbers[ALL_QUANTITIES.index(quantity), :self._count, self._places(columns)].T

    def recorded(self, quantity: str, columns: list[str]) -> np.ndarray:
        """(passes, columns) bools: was there a number, NaN or not?"""
        self._fetch()
        return self._is_recorded[ALL_QUANTITIES.index(quantity), :self._count, self._places(columns)].T

    def _places(self, columns):
        return [self._place.get(column, -1) for column in columns]

    def _fetch(self):
        """Move what is still on a device to the host."""
        while self._on_device:
            self._write(self._count, self._on_device[0].on_host())
            del self._on_device[0]  # not before it is there: an interruption loses nothing
            self._count += 1

    def _write(self, i, row):
        """Write the numbers of pass i; to write them again changes nothing."""
        for _, column in row:
            self._place.setdefault(column, len(self._place))
        _, passes, columns = self._numbers.shape
        if i >= passes or len(self._place) >= columns:  # make room, more than is needed now
            room = (0, 0), (0, passes if i >= passes else 0), (0, max(0, len(self._place) + 16 - columns))
            self._numbers = np.pad(self._numbers, room, constant_values=np.nan)
            self._is_recorded = np.pad(self._is_recorded, room, constant_values=False)
        for (quantity, column), number in row.items():
            place = ALL_QUANTITIES.index(quantity), i, self._place[column]
            self._numbers[place] = number
            self._is_recorded[place] = True


def _as_vector(numbers):
    """0-d arrays in one vector, by a copy each. Not by `stack`: CuPy's uploads a list of addresses for it."""
    xp = array_module(numbers[0])
    if xp is np:
        return np.array([number if isinstance(number, (np.ndarray, np.generic)) else to_host(number) for number in numbers],
                        dtype=np.float64)
    use_device_of(numbers[0])
    vector = xp.empty(len(numbers), dtype=np.float64)
    for i, number in enumerate(numbers):
        vector[i] = beside(number, vector)  # a net may lie on two devices
    return vector


def _of_all_runs(key, runs):
    """One number for a module that ran several times in a pass, as if its outputs were one array."""
    quantity, column = key
    if quantity != "flow_cosine":
        return math.hypot(*runs[key])
    shortcuts, branches = runs["flow_through_shortcut", column], runs["flow_through_branch", column]
    shortcut, branch = math.hypot(*shortcuts), math.hypot(*branches)
    if not (0 < shortcut < math.inf and 0 < branch < math.inf):
        return math.nan
    return math.fsum(cosine * (s / shortcut) * (b / branch)
                     for s, b, cosine in zip(shortcuts, branches, runs[key], strict=True) if s * b != 0)
