"""Histograms of gradients: how many elements of each column's gradient are of which size, pass by pass."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minires.arguments import array_of, flag, shown
from minires.arrays.backend import Array, array_module, beside, to_host, use_device_of
from minires.errors import ArgumentError

# Half a decade each; float32 goes further down, to 1e-45, but an update by 1e-16 of a weight's size is none
HALF_DECADES = 10.0 ** np.arange(-16, 4.5, 0.5)

SMALLEST = 5e-324  # above 0: the first number that float64 holds

ZEROS, BELOW, FIRST, ABOVE, NOT_FINITE = 0, 1, 2, -2, -1  # places in a vector of counts; the bins stand from FIRST to ABOVE


def checked_edges(owner: str, value: Any) -> np.ndarray | None:
    """The edges of the bins: those given, `HALF_DECADES` for True, None for False.

    Raises:
        ArgumentError: these are no finite, positive numbers that rise, two or more.
    """
    edges = array_of(owner, "histograms", value)
    if edges.ndim == 0:
        return HALF_DECADES if flag(owner, "histograms", value) else None
    rises = edges.dtype.kind in "fiu" and edges.ndim == 1 and edges.size >= 2 and bool(
        (np.isfinite(edges) & (edges > 0)).all() and (np.diff(edges) > 0).all())
    if not rises:
        raise ArgumentError(f"{owner}: histograms is {shown(value)}, expected True, False, or the edges of the bins: two or "
                            "more positive numbers, each larger than the one before")
    return edges.astype(np.float64)


def count(gradient: Array, edges: np.ndarray) -> Array:
    """How many elements are 0; how many sizes |g| lie below the first edge, between two, from the last on; are not finite.

    Returns:
        A vector of len(edges) + 3 integers on the gradient's device. Each bin holds its lower edge.
    """
    use_device_of(gradient)
    xp = array_module(gradient)
    size = xp.abs(gradient)
    total = np.count_nonzero if xp is np else xp.sum  # NumPy's sum of bools takes several times as long
    counts = xp.zeros(len(edges) + 3, dtype=np.int64)
    before: Any = 0
    for i, start in enumerate(_starts(edges, gradient.dtype)):
        below = total(size < start)
        counts[i] = below - before
        before = below
    counts[NOT_FINITE] = gradient.size - before
    return counts


def _starts(edges, dtype):
    """Where each count but the first starts, as numbers of this dtype: the least that are not below."""
    starts = np.array([SMALLEST, *edges, math.inf])
    with np.errstate(over="ignore"):
        rounded = starts.astype(dtype)
    return np.where(rounded < starts, np.nextafter(rounded, np.array(math.inf, dtype)), rounded).tolist()


class Histograms:
    """The counts of each pass and column: len(edges) + 3 whole numbers of 8 bytes each."""

    def __init__(self, edges: np.ndarray) -> None:
        self.edges = edges
        self._rows: list[tuple[tuple[str, ...], np.ndarray]] = []  # of each pass: its columns, (columns, counts)
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}  # those that passes share

    def add(self, counts: Sequence[tuple[str, Array]]) -> None:
        """Add a pass: (column, counts) pairs; those of one column, the parts of an output say, are added up."""
        places: dict[str, int] = {}
        for column, _ in counts:
            places.setdefault(column, len(places))
        row = np.zeros((len(places), len(self.edges) + 3), np.int64)
        if counts:
            first = counts[0][1]
            use_device_of(first)
            together = to_host(array_module(first).concatenate([beside(vector, first) for _, vector in counts]))
            for (column, _), vector in zip(counts, together.reshape(len(counts), -1), strict=True):
                row[places[column]] += vector
        names = tuple(places)
        self._rows.append((self._names.setdefault(names, names), row))

    def extend(self, other: Histograms) -> None:
        """Add the passes of others with the same edges."""
        self._rows += other._rows

    def renamed(self, names: Mapping[str, str]) -> Histograms:
        """The same passes with columns of other names, {old name: new name}; those of one new name are added up."""
        found = Histograms(self.edges)
        for columns, row in self._rows:
            found.add([(names[column], counts) for column, counts in zip(columns, row, strict=True) if column in names])
        return found

    def of(self, pass_number: int, column: str) -> np.ndarray | None:
        """The counts of a pass and column; None where nothing was recorded."""
        names, row = self._rows[pass_number]
        return row[names.index(column)] if column in names else None

    def counts(self, columns: Sequence[str]) -> np.ndarray:
        """(passes, columns, counts); 0 where nothing was recorded."""
        table = np.zeros((len(self._rows), len(columns), len(self.edges) + 3), np.int64)
        for i, (names, row) in enumerate(self._rows):
            place = {name: j for j, name in enumerate(names)}
            known = [j for j, name in enumerate(columns) if name in place]
            table[i, known] = row[[place[columns[j]] for j in known]]
        return table
