"""Sums over axes, in any memory order, as exact as the array's precision can hold."""
import numpy as np

from minires.arrays.backend import Array


def sum_over(x: Array, axes: int | tuple[int, ...], keepdims: bool = False) -> Array:
    """Σ x over the axes, added up in float64 and rounded once.

    NumPy adds float32 numbers in pairs along the axis that is fastest in memory, and one after another along all others:
    there the errors grow with the count, and 2²⁵ ones sum to 2²⁴.
    """
    return x.sum(axis=axes, dtype=np.float64, keepdims=keepdims).astype(x.dtype)


def mean_over(x: Array, axes: int | tuple[int, ...], keepdims: bool = False) -> Array:
    """The mean of x over the axes, likewise."""
    return x.mean(axis=axes, dtype=np.float64, keepdims=keepdims).astype(x.dtype)
