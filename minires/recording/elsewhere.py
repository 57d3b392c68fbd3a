"""Numbers from elsewhere as the columns and the rows of a record."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minires.arguments import known_name, list_of, shown
from minires.arrays.backend import as_host_array
from minires.errors import ArgumentError, DTypeError, ShapeError
from minires.nn import Module
from minires.recording.column import Column, kind_named
from minires.recording.numbers import ALL_QUANTITIES, Key, check_numbers

OWNER = "GradientRecord.from_arrays"


def columns_of(names: Iterable[str], types: Iterable[str | type] | None) -> list[Column]:
    """Columns of these names and classes, which know no layers.

    Raises:
        ArgumentError, DTypeError: as `GradientRecord.from_arrays` says.
    """
    listed = list_of(OWNER, "names", names, str, 'a list of texts, such as ["conv1", "fc"]')
    if not listed:
        raise ArgumentError(f"{OWNER}: got no names: give one for each column of the arrays")
    twice = [name for i, name in enumerate(listed) if name in listed[:i]]
    if twice:
        raise ArgumentError(f"{OWNER}: the name {shown(twice[0])} stands there twice: give each column a name of its own, "
                            f"such as {twice[0]!r} and {twice[0] + '@2'!r}")
    kinds = [Module] * len(listed) if types is None else list_of(
        OWNER, "types", types, (str, type), "a list of classes or of their names, one for each column")
    if len(kinds) != len(listed):
        raise ArgumentError(f"{OWNER}: got {len(kinds)} types for {len(listed)} names")
    return [Column(name, kind if isinstance(kind, type) else kind_named(OWNER, kind), False, 0)
            for name, kind in zip(listed, kinds, strict=True)]


def rows_of(names: list[str], values: Mapping[str, Any]) -> list[dict[Key, float]]:
    """The numbers of each pass, {(quantity, column): number}.

    Raises:
        ArgumentError, DTypeError, ShapeError, UnknownNameError: as `GradientRecord.from_arrays` says.
    """
    if not isinstance(values, Mapping):
        raise DTypeError(f'{OWNER}: values is {shown(values)}, expected a dict such as {{"output_grad_norm": array}}')
    tables = {known_name(OWNER, "quantity", quantity, ALL_QUANTITIES): _table(quantity, value, len(names))
              for quantity, value in values.items()}
    counts = {quantity: len(numbers) for quantity, (numbers, _) in tables.items()}
    if len(set(counts.values())) > 1:
        raise ShapeError(f"{OWNER}: the arrays have different numbers of passes: "
                         + ", ".join(f"{quantity} {count}" for quantity, count in counts.items()))
    return [{(quantity, name): float(numbers[i, j]) for quantity, (numbers, missing) in tables.items()
             for j, name in enumerate(names) if not missing[i, j]} for i in range(max(counts.values(), default=0))]


def _table(quantity, value, columns):
    """(numbers, which of them were not recorded), both (passes, columns)."""
    masked = isinstance(value, np.ma.MaskedArray)
    array = np.ma.getdata(value) if masked else as_host_array(value, OWNER, quantity)
    missing = np.ma.getmaskarray(value) if masked else np.zeros(array.shape, bool)
    if array.dtype == object:  # a list that holds None
        nothing = np.array([x is None for x in array.flat], bool).reshape(array.shape)
        array, missing = np.where(nothing, 0.0, array), missing | nothing
    try:
        if array.dtype.kind not in "fiuO":
            raise TypeError(f"they are {array.dtype}")
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DTypeError(f"{OWNER}: {quantity} is {shown(value)}, expected numbers, or None where there is none: "
                         f"{error}") from error
    if array.ndim not in (1, 2) or array.shape[-1] != columns:
        raise ShapeError(f"{OWNER}: {quantity} has shape {array.shape}, expected ({columns},) for one backward pass, or "
                         f"(passes, {columns}) for several: a number for each name")
    check_numbers(f"{OWNER}: {quantity} holds", quantity, array[~missing])
    return array.reshape(-1, columns), missing.reshape(-1, columns)  # (columns,) -> (1, columns)
