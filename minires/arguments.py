"""Checks of the arguments with which layers and nets are made."""
import numpy as np

from minires.errors import ArgumentError


def positive_integer(owner: str, argument: str, value, smallest: int = 1) -> int:
    """`value` as an int, or an ArgumentError that names the layer and its argument."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < smallest:
        raise ArgumentError(f"{owner}: {argument} is {value!r}, expected an integer of at least {smallest}")
    return int(value)


def pair(owner: str, argument: str, value, smallest: int = 1) -> tuple:
    """An integer n as (n, n), a pair (vertical, horizontal) as it is; checked as in `positive_integer`."""
    if not isinstance(value, (tuple, list)):
        value = (value, value)
    if len(value) != 2:
        raise ArgumentError(f"{owner}: {argument} is {value!r}, expected an integer or a pair (vertical, horizontal)")
    return tuple(positive_integer(owner, argument, item, smallest) for item in value)
