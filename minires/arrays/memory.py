"""Arrays that start where the processor reads them fastest."""
import ctypes
import math
from types import ModuleType

import numpy as np
from numpy.typing import DTypeLike

from minires.arrays.backend import Array, array_module

CACHE_LINE = 64  # bytes
SMALLEST_ALIGNED = 16 * 1024  # bytes: less does not repay the search for a good place


def empty(xp: ModuleType, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """An array of no particular values that starts at a line of the cache.

    NumPy's own arrays start 16 bytes into one, so that each vector of 64 bytes lies across two lines: the sum of two
    arrays in the cache then takes twice as long.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if xp is not np or size < SMALLEST_ALIGNED:
        return xp.empty(shape, dtype=dtype)
    memory = np.empty(size + CACHE_LINE, dtype=np.uint8)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory.data))  # a seventh of the time of memory.ctypes.data
    return np.ndarray(shape, dtype, buffer=memory, offset=-address % CACHE_LINE)


def empty_like(x: Array, dtype: DTypeLike | None = None) -> Array:
    """An array of no particular values with x's shape and memory order; it starts at a line of the cache where x is an
    image batch or lies in C order.

    Args:
        dtype: x's by default.
    """
    xp = array_module(x)
    if x.flags.c_contiguous:
        return empty(xp, x.shape, dtype or x.dtype)
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        N, C, H, W = x.shape
        return empty(xp, (N, H, W, C), dtype or x.dtype).transpose(0, 3, 1, 2)   # (N, H, W, C) -> (N, C, H, W)
    return xp.empty_like(x, dtype=dtype)
