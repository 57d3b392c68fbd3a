"""Ops that change how values are stored: their precision, their device."""
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minires.arguments import floating_dtype
from minires.arrays import backend
from minires.arrays.backend import Array
from minires.engine.op import Op
from minires.engine.tensor import Tensor


def cast(x: Tensor, dtype: DTypeLike) -> Tensor:
    """x in np.float32 or np.float64; the gradient returns in x's precision.

    Raises:
        DTypeError: another dtype.
    """
    return Cast(dtype)(x)


def to_device(x: Tensor, device: str) -> Tensor:
    """x on "cpu", "cuda" or "cuda:1"; the gradient returns to x's device.

    Raises:
        DeviceError: no such device can be used.
    """
    return ToDevice(device)(x)


class Cast(Op):
    """y = x in another precision."""

    def __init__(self, dtype: DTypeLike):
        self.dtype: np.dtype[Any] = floating_dtype("Cast", dtype)

    def forward(self, x: Array) -> Array:
        self.saved = x.dtype
        return x.astype(self.dtype)

    def backward(self, dy: Array) -> Array:
        """dx = dy in x's precision."""
        dx = dy.astype(self.saved)
        return dx


class ToDevice(Op):
    """y = x on another device."""

    def __init__(self, device: str):
        self.device: str = device

    def forward(self, x: Array) -> Array:
        self.saved = backend.device_of(x)
        return backend.to_device(x, self.device)

    def backward(self, dy: Array) -> Array:
        """dx = dy on x's device."""
        dx = backend.to_device(dy, self.saved)
        return dx
