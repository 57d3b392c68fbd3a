"""Embedding: rows of a table, looked up by number."""
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minires.arguments import array_of
from minires.arrays.backend import Array, array_module, device_of, is_array, plain_array
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import DeviceError, DTypeError, PlaceError, ShapeError


def embedding(indices: ArrayLike, weight: Tensor) -> Tensor:
    """y[...] = weight[indices[...]]: the row of each number. The gradient of a row is the sum over all its uses.

    Args:
        indices: integers from 0 to V - 1, of any shape, on the host: a NumPy array or lists.
        weight: (V, D), a row for each number.

    Returns:
        (*indices' shape, D).

    Raises:
        PlaceError: an index is out of range.
        ShapeError: the weight is not (V, D).
        DTypeError: the indices are not integers, or the weight is no tensor.
        DeviceError: the indices are on a GPU.
    """
    return Embedding(indices)(weight)


class Embedding(Op):
    """y = weight[indices], for indices (...) and weight (V, D); returns y (..., D)."""

    def __init__(self, indices: ArrayLike):
        self.indices: Any = indices

    def forward(self, weight: Array) -> Array:
        xp = array_module(weight)
        if weight.ndim != 2:
            raise ShapeError(f"{self.title}: expected weight (V, D), got shape {weight.shape}")
        indices = xp.array(self.checked_indices(len(weight)))    # (...): a copy, kept for backward
        self.saved = indices, weight.shape
        return weight[indices]                                   # (V, D) -> (..., D)

    def backward(self, dy: Array) -> Array:
        """dweight[v] = Σ dy over the places where v was looked up, added up in float64."""
        xp = array_module(dy)
        indices, shape = self.saved
        dweight = xp.zeros(shape)                                # (V, D)
        xp.add.at(dweight, indices, dy)                          # (..., D) -> (V, D)
        return dweight.astype(dy.dtype)

    def checked_indices(self, V: int) -> np.ndarray:
        """The indices as a host array of integers from 0 to V - 1: on a GPU, a wrong one would wrap silently."""
        if isinstance(self.indices, Tensor):
            raise DTypeError(f"{self.title}: indices are a Tensor; pass a NumPy array or a list of integers")
        if is_array(self.indices) and device_of(self.indices) != "cpu":
            raise DeviceError(f"{self.title}: indices are on {device_of(self.indices)}; they are checked on the host, "
                              "without waiting for the GPU: pass a NumPy array or a list of integers, such as indices.get()")
        indices = array_of(type(self).__name__, "indices", plain_array(self.title, self.indices))
        if indices.size == 0:
            return indices.astype(np.int64)                      # an empty list is one of floats
        if indices.dtype.kind not in "iu":
            raise DTypeError(f"{self.title}: indices have dtype {indices.dtype}, expected integers from 0 to {V - 1}")
        smallest, largest = indices.min(), indices.max()
        if smallest < 0 or largest >= V:
            raise PlaceError(f"{self.title}: index {largest if largest >= V else smallest} is out of range: the weight has "
                             f"the rows 0 to {V - 1}")
        return indices
