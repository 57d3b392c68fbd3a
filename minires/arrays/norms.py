"""Norms and angles of arrays, in float64, as 0-d arrays on the arrays' device: nothing waits for a GPU here."""
import math

import numpy as np

from minires.arrays.backend import array_module, beside, to_host, use_device_of


def euclidean_norm(x):
    """‖x‖ over all elements.

    The squares of float32 values fit in float64. Those of float64 values may not, so these are scaled by the largest.
    """
    xp = array_module(x)
    if x.size == 0:
        return xp.zeros((), dtype=np.float64)
    if x.dtype == np.float32:
        return xp.sqrt(xp.sum(xp.square(x.astype(np.float64))))
    largest = xp.max(xp.abs(x))
    scale = xp.where((largest > 0) & (largest < math.inf), largest, 1.0)
    return scale * xp.sqrt(xp.sum(xp.square(x / scale)))


class PassNumbers:
    """The numbers of one backward pass, left on their device in one small vector, until somebody asks for the row."""

    def __init__(self):
        self._vectors = []
        self._as_rows = []

    def add(self, arrays, as_row):
        """Keep the values of 0-d arrays.

        Args:
            arrays: a list of them.
            as_row: makes the part of the row, {(quantity, module name): value}, of their values, a list of floats.
        """
        if arrays:
            self._vectors.append(_as_vector(arrays))
            self._as_rows.append(as_row)

    def row(self) -> dict:
        """{(quantity, module name): value}, moved to the host in one transfer."""
        if not self._vectors:
            return {}
        use_device_of(self._vectors[0])
        values = to_host(array_module(self._vectors[0]).concatenate(self._vectors)).tolist()
        row, start = {}, 0
        for vector, as_row in zip(self._vectors, self._as_rows, strict=True):
            row.update(as_row(values[start:start + len(vector)]))
            start += len(vector)
        return row


def _as_vector(arrays):
    """0-d arrays in one vector, by a copy each. Not by `stack`: CuPy's uploads a list of addresses for it."""
    use_device_of(arrays[0])
    vector = array_module(arrays[0]).empty(len(arrays), dtype=np.float64)
    for i, array in enumerate(arrays):
        vector[i] = beside(array, vector)  # a net may lie on two devices
    return vector


def ratio(numerator, denominator):
    """numerator / denominator of two 0-d arrays, NaN where the denominator is 0."""
    xp = array_module(denominator)
    return xp.where(denominator > 0, numerator / xp.where(denominator > 0, denominator, 1.0), math.nan)


def cosine(a, b, a_norm, b_norm):
    """a · b / (‖a‖ ‖b‖) of two arrays of one shape and their norms; NaN where a norm is 0 or not finite."""
    xp = array_module(a)
    one = xp.where((a_norm > 0) & (a_norm < math.inf), a_norm, math.nan)
    other = xp.where((b_norm > 0) & (b_norm < math.inf), b_norm, math.nan)
    return xp.sum((a.astype(np.float64) / one) * (b.astype(np.float64) / other))
