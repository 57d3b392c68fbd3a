"""Checks of arguments, one each for everybody: whole numbers, pairs of them, names."""
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from minires.errors import ArgumentError

IntOrPair: TypeAlias = int | Sequence[int]  # the same for rows and columns, or (vertical, horizontal)


def is_whole_number(value: Any, smallest: int) -> bool:
    """Is this an integer of Python or NumPy, no bool, and at least `smallest`?"""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= smallest


def whole_number(owner: str, argument: str, value: Any, smallest: int = 1) -> int:
    """`value` as an int, or an ArgumentError that names its owner, a layer say, and the argument."""
    if type(value) is int and value >= smallest:
        return value  # as nearly always, without a further call
    if not is_whole_number(value, smallest):
        raise ArgumentError(f"{owner}: {argument} is {value!r}, expected an integer of at least {smallest}")
    return int(value)


def pair(owner: str, argument: str, value: Any, smallest: int = 1) -> tuple[int, int]:
    """An integer n as (n, n), a pair (vertical, horizontal) as it is; checked as in `whole_number`."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) == 2:
        vertical, horizontal = values
        if type(vertical) is type(horizontal) is int and vertical >= smallest and horizontal >= smallest:
            return vertical, horizontal  # as nearly always, without a further call
        if is_whole_number(vertical, smallest) and is_whole_number(horizontal, smallest):
            return int(vertical), int(horizontal)
    raise ArgumentError(f"{owner}: {argument} is {value!r}, expected an integer of at least {smallest}, or a pair "
                        "(vertical, horizontal) of them")


def number(owner: str, argument: str, value: Any, smallest: float = 0.0) -> float:
    """`value` as a float of at least `smallest` (0: not negative), or an ArgumentError. NaN is refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not value >= smallest:
        expected = "that is not negative" if smallest == 0 else f"of at least {smallest:g}"
        raise ArgumentError(f"{owner}: {argument} is {value!r}, expected a number {expected}")
    return float(value)


def shape_of(owner: str, argument: str, value: Any) -> tuple[int, ...]:
    """A shape of positive lengths, batch included, or an ArgumentError; a bare integer is a shape of one axis."""
    shape = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not shape or not all(is_whole_number(n, 1) for n in shape):
        raise ArgumentError(f"{owner}: {argument} is {value!r}, expected positive integers such as (1, 3, 32, 32), batch "
                            "included")
    return shape


def nearest(name: object, known: Iterable[str]) -> str:
    """" Did you mean 'resnet20'?" for the end of an error, or nothing where no name is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
