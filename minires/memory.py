"""Arrays that start where the processor reads them fastest."""
import math

import numpy as np

from minires.backend import array_module

CACHE_LINE = 64  # bytes
SMALLEST_ALIGNED = 16 * 1024  # bytes: less does not repay the search for a good place


def empty(xp, shape, dtype):
    """An array of no particular values that starts at a line of the cache.

    NumPy's own arrays start 16 bytes into one, so that each vector of 64 bytes lies across two lines: the sum of two
    arrays in the cache then takes twice as long.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if xp is not np or size < SMALLEST_ALIGNED:
        return xp.empty(shape, dtype=dtype)
    memory = np.empty(size + CACHE_LINE, dtype=np.uint8)
    return np.ndarray(shape, dtype, buffer=memory, offset=-memory.ctypes.data % CACHE_LINE)


def empty_like(x, dtype=None):
    """An array of no particular values with x's shape and memory order, that starts at a line of the cache.

    Args:
        dtype: x's by default.
    """
    if array_module(x) is not np or x.nbytes < SMALLEST_ALIGNED:
        return array_module(x).empty_like(x, dtype=dtype)
    outermost_first = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    in_memory = empty(np, [x.shape[axis] for axis in outermost_first], dtype or x.dtype)
    return in_memory.transpose(np.argsort(outermost_first))
