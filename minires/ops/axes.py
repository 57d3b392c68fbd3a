"""One axis of an array, from what was given for it."""
from typing import Any

from minires.arguments import is_whole_number, shown
from minires.errors import ShapeError


def one_axis(title: str, axis: Any, shape: tuple[int, ...]) -> int:
    """The axis counted from the front: -1 of (N, C) becomes 1.

    Args:
        title: of the op, for the error.

    Raises:
        ShapeError: the shape has no such axis.
    """
    if not is_whole_number(axis, -len(shape)) or axis >= len(shape):
        raise ShapeError(f"{title}: axis {shown(axis)} does not exist in shape {shape}")
    return int(axis) % len(shape)
