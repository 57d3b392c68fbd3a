"""Histograms in a CSV file: which count a line holds, and the histograms that such lines are of."""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minires.errors import ArgumentError
from minires.recording.histograms import Histograms

ZEROS, BIN, NOT_FINITE = COUNTS = "output_grad_zeros", "output_grad_histogram", "output_grad_not_finite"


class Entry(NamedTuple):
    """What a number is: a quantity; of a bin, the elements with at_least <= |g| < below, and the first holds no zeros."""

    quantity: str
    at_least: float | None = None
    below: float | None = None


def entries_of(edges: np.ndarray) -> list[Entry]:
    """What the numbers in a vector of `histograms.count` are, in their order."""
    return [Entry(ZEROS), *[Entry(BIN, *ends) for ends in pairwise([0.0, *edges.tolist(), math.inf])], Entry(NOT_FINITE)]


def histograms_of(entries: Iterable[Entry], passes: Iterable[Mapping[tuple[Entry, str], int]]) -> Histograms | None:
    """The histograms of these counts; None where there are no entries.

    Args:
        entries: those that lines hold, in any order.
        passes: {(entry, column): elements} of each pass.

    Raises:
        ArgumentError: the bins leave a gap, or overlap; or a column has a count of one bin and none of another.
    """
    given = set(entries)
    if not given:
        return None
    found = Histograms(np.array(sorted(entry.at_least for entry in given if entry.at_least), np.float64))
    in_order = entries_of(found.edges)
    if given != set(in_order):
        raise ArgumentError(f"{', '.join(COUNTS)} are not the counts of zeros, of bins that follow one another from 0 to "
                            "inf, and of what is not finite")
    for i, one in enumerate(passes):
        columns = dict.fromkeys(name for _, name in one)
        if len(one) != len(columns) * len(in_order):
            raise ArgumentError(f"pass {i} has the counts of some bins, and not of others")
        found.add([(name, np.array([one[entry, name] for entry in in_order], np.int64)) for name in columns])
    return found
