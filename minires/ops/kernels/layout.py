"""Memory order: images are shaped (N, C, H, W), and lie with their channels last where they come from our ops."""
import numpy as np

from minires.arrays.backend import array_module
from minires.errors import ArgumentError


def channels_last(x):
    """The image batch as a contiguous array (N, H, W, C): a view where it lies so already, one copy otherwise."""
    return array_module(x).ascontiguousarray(x.transpose(0, 2, 3, 1))    # (N, C, H, W) -> (N, H, W, C)


def zeros_channels_last(shape, like):
    """Zeros shaped (N, C, H, W), with channels last in memory."""
    N, C, H, W = shape
    return array_module(like).zeros((N, H, W, C), dtype=like.dtype).transpose(0, 3, 1, 2)


def pair(op, argument, value):
    """(rows, columns) of an int or a pair of ints; an ArgumentError names the op and its argument."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(isinstance(n, (int, np.integer)) for n in values):
        raise ArgumentError(f"{op.title}: {argument} is {value!r}, expected an int or a pair (rows, columns) of ints")
    return values
