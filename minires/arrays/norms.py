"""Norms and angles of arrays, in float64, as 0-d arrays on the arrays' device: nothing waits for a GPU here."""
import math
from typing import Literal

import numpy as np

from minires.arrays.backend import Array, array_module

BLOCK = 8192  # float64 values: they stay in the cache, and are too few for BLAS to share them among threads


def euclidean_norm(x: Array) -> Array:
    """‖x‖ over all elements.

    The squares of float32 values fit in float64. Those of float64 values may not, so these are scaled by the largest.
    """
    xp = np if type(x) is np.ndarray else array_module(x)
    if x.size == 0:
        return xp.zeros((), dtype=np.float64)
    if x.dtype == np.float32:
        if xp is np and x.size > BLOCK:
            return np.sqrt(_dot(x, x))
        return xp.sqrt(xp.sum(xp.square(x.astype(np.float64))))
    largest = xp.max(xp.abs(x))
    scale = xp.where((largest > 0) & (largest < math.inf), largest, 1.0)
    return scale * xp.sqrt(xp.sum(xp.square(x / scale)))


def _dot(a, b):
    """Σ a b of float32 arrays of NumPy, in float64: block by block, as they lie in memory if they lie alike."""
    order: Literal["K", "C"] = "K" if a.strides == b.strides else "C"
    a, b, total = a.ravel(order), b.ravel(order), np.float64(0.0)
    one, other = np.empty((2, min(a.size, BLOCK)))
    for start in range(0, a.size, BLOCK):
        n = min(BLOCK, a.size - start)
        one[:n] = a[start:start + n]
        other[:n] = b[start:start + n]
        total += np.dot(one[:n], other[:n])
    return total


def ratio(numerator: Array, denominator: Array) -> Array:
    """numerator / denominator of two 0-d arrays, NaN where the denominator is 0."""
    xp = array_module(denominator)
    return xp.where(denominator > 0, numerator / xp.where(denominator > 0, denominator, 1.0), math.nan)


def cosine(a: Array, b: Array, a_norm: Array, b_norm: Array) -> Array:
    """a · b / (‖a‖ ‖b‖) of two arrays of one shape and their norms; NaN where a norm is 0 or not finite."""
    xp = array_module(a)
    one = xp.where((a_norm > 0) & (a_norm < math.inf), a_norm, math.nan)
    other = xp.where((b_norm > 0) & (b_norm < math.inf), b_norm, math.nan)
    if xp is np and a.dtype == b.dtype == np.float32:
        return _dot(a, b) / (one * other)
    return xp.sum((a.astype(np.float64) / one) * (b.astype(np.float64) / other))
