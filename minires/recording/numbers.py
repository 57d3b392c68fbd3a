"""The numbers of recorded passes: a vector of each pass on its device, and on the host a table for each quantity."""
from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from minires.arrays.backend import Array, array_module, beside, to_host, use_device_of
from minires.errors import ArgumentError
from minires.recording.activations import pooled
from minires.recording.histograms import Histograms

Key: TypeAlias = tuple[str, str]  # (quantity, column): what a number of a pass is called

QUANTITIES = ("output_grad_norm", "weight_grad_norm", "weight_norm", "update_ratio")
FLOW_QUANTITIES = ("flow_through_shortcut", "flow_through_branch", "flow_together", "flow_cosine")
ACTIVATION_QUANTITIES = ("activation_mean", "activation_std", "activation_zeros")
ALL_QUANTITIES = QUANTITIES + FLOW_QUANTITIES + ACTIVATION_QUANTITIES

SIGNED = ("flow_cosine", "activation_mean")  # the quantities that may be negative

MOST_ON_DEVICE = 1000  # passes; each fetch waits for a GPU, and each pass left there takes some of its memory


class PassNumbers:
    """The numbers of one backward pass, left on their device in small vectors, until somebody asks for them."""

    def __init__(self) -> None:
        self._vectors: list[tuple[tuple[Key, ...], Array]] = []  # (what the numbers are called, the numbers)

    def add(self, numbers: list[tuple[Key, Array]]) -> None:
        """Take ((quantity, column), 0-d array) pairs; the numbers of one name are parts of one array: see `combined`."""
        if numbers:
            keys, arrays = zip(*numbers, strict=True)
            self._vectors.append((keys, _as_vector(arrays)))

    def share_names(self, known: dict[tuple[Key, ...], tuple[Key, ...]]) -> None:
        """Use the names in `known` in place of equal ones: a hundred thousand passes of one net need them once."""
        for i, (keys, vector) in enumerate(self._vectors):
            self._vectors[i] = known.setdefault(keys, keys), vector

    def on_host(self) -> dict[Key, float]:
        """{(quantity, column): number}, moved to the host in one transfer."""
        first = self._vectors[0][1]
        use_device_of(first)
        vectors = [beside(vector, first) for _, vector in self._vectors]  # a net may lie on two devices
        numbers = to_host(array_module(first).concatenate(vectors)).tolist()
        parts: dict[Key, list[float]] = {}
        for key, number in zip([key for keys, _ in self._vectors for key in keys], numbers, strict=True):
            parts.setdefault(key, []).append(number)
        return {key: values[0] if len(values) == 1 else combined(key, parts) for key, values in parts.items()}


class Table:
    """The numbers of one quantity, by pass and column, and which of them were recorded at all."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}  # of each column below
        self._numbers = np.full((1, 1), np.nan)  # with room for more passes and columns; the last column stays empty,
        self._is_recorded = np.zeros((1, 1), bool)  # for whom nothing was recorded

    def write(self, i: int, row: dict[str, float]) -> None:
        """Write numbers of pass i, {column: number}; to write them again changes nothing."""
        for column in row:
            self._place.setdefault(column, len(self._place))
        self._make_room(i + 1)
        places = [self._place[column] for column in row]
        self._numbers[i, places] = list(row.values())
        self._is_recorded[i, places] = True

    def values(self, count: int, columns: list[str]) -> np.ndarray:
        """(count, columns) float64; NaN where nothing was recorded."""
        self._make_room(count)
        return self._numbers[:count, self._places(columns)]

    def recorded(self, count: int, columns: list[str]) -> np.ndarray:
        """(count, columns) bools."""
        self._make_room(count)
        return self._is_recorded[:count, self._places(columns)]

    def _places(self, columns):
        return [self._place.get(column, -1) for column in columns]

    def _make_room(self, count):
        """For so many passes, and for all columns; where there is none, for more than that."""
        passes, columns = self._numbers.shape
        more_passes = max(count - passes, passes // 2) if count > passes else 0
        more_columns = len(self._place) + 8 - columns if len(self._place) >= columns else 0
        if more_passes or more_columns:
            room = (0, more_passes), (0, more_columns)
            self._numbers = np.pad(self._numbers, room, constant_values=np.nan)
            self._is_recorded = np.pad(self._is_recorded, room, constant_values=False)


class Passes:
    """The recorded passes: the numbers of each quantity by pass and column, and which of them were recorded at all."""

    def __init__(self) -> None:
        self._on_device: list[PassNumbers] = []  # of the last passes: nobody has asked for them, and waited for the GPU
        self._names: dict[tuple[Key, ...], tuple[Key, ...]] = {}  # those that the passes on the device share
        self._count = 0  # of the passes in the tables
        self._tables: dict[str, Table] = {}  # of each quantity of which something was recorded
        self.histograms: Histograms | None = None  # where they are recorded

    def __len__(self) -> int:
        return self._count + len(self._on_device)

    def add(self, numbers: PassNumbers) -> None:
        """Add a pass."""
        numbers.share_names(self._names)
        self._on_device.append(numbers)
        if len(self._on_device) > MOST_ON_DEVICE:
            self._fetch(but=1)  # not the last one, which may still run

    def add_to_last(self, numbers: list[tuple[Key, Array]]) -> None:
        """Add what is known only after the last pass, as `PassNumbers.add`."""
        if not numbers:
            return
        if self._on_device:
            self._on_device[-1].add(numbers)
            self._on_device[-1].share_names(self._names)
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
        return self._tables.get(quantity, Table()).values(self._count, columns)

    def recorded(self, quantity: str, columns: list[str]) -> np.ndarray:
        """(passes, columns) bools: was there a number, NaN or not?"""
        self._fetch()
        return self._tables.get(quantity, Table()).recorded(self._count, columns)

    def _fetch(self, but=0):
        """Move what is still on a device to the host, but for the last passes."""
        while len(self._on_device) > but:
            self._write(self._count, self._on_device[0].on_host())
            del self._on_device[0]  # not before it is there: an interruption loses nothing
            self._count += 1

    def _write(self, i, row):
        """Write the numbers of pass i; to write them again changes nothing."""
        rows: dict[str, dict[str, float]] = {}
        for (quantity, column), number in row.items():
            rows.setdefault(quantity, {})[column] = number
        for quantity, numbers in rows.items():
            self._tables.setdefault(quantity, Table()).write(i, numbers)


def check_numbers(given: str, quantity: str, values: np.ndarray) -> None:
    """Raise an ArgumentError where numbers cannot be of this quantity; it begins with `given`, and the number."""
    negative = values[values < 0]
    if negative.size and quantity not in SIGNED:
        raise ArgumentError(f"{given} {negative[0]:g}, expected numbers that are not negative: of {quantity}, none is")


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


def combined(key: Key, parts: dict[Key, list[float]]) -> float:
    """The number of several arrays as if they were one: of the uses of a module, or of the tensors that it returned.

    Args:
        key: (quantity, column).
        parts: {(quantity, column): the number of each array}, of all quantities of the column. For the statistics of
            activations, all arrays count the same, as if they had equally many elements.
    """
    quantity, column = key
    if quantity in ACTIVATION_QUANTITIES:
        means, stds, zeros = [parts[each, column] for each in ACTIVATION_QUANTITIES]
        together = pooled(means, stds, zeros, [1 / len(means)] * len(means))
        return together[ACTIVATION_QUANTITIES.index(quantity)]
    if quantity != "flow_cosine":
        return math.hypot(*parts[key])
    shortcuts, branches = parts["flow_through_shortcut", column], parts["flow_through_branch", column]
    shortcut, branch = math.hypot(*shortcuts), math.hypot(*branches)
    if not (0 < shortcut < math.inf and 0 < branch < math.inf):
        return math.nan
    return math.fsum(cosine * (s / shortcut) * (b / branch)
                     for s, b, cosine in zip(shortcuts, branches, parts[key], strict=True) if s * b != 0)
