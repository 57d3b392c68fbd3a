"""Reductions over axes: sum, mean and max."""
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from minires.arguments import flag, is_whole_number
from minires.arrays.backend import Array, array_module
from minires.arrays.sums import mean_over, sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ShapeError

Axis: TypeAlias = int | Sequence[int] | None


def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over `axis`: an int, a tuple of ints, or None for all axes.

    Raises:
        ShapeError: an axis does not exist, or is named twice.
        ArgumentError: `keepdims` is neither True nor False.
    """
    return Sum(axis, keepdims)(x)


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over `axis`, as `sum`."""
    return Mean(axis, keepdims)(x)


def max(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest value over `axis`, as `sum`; NaN where one is NaN. Several that are equal share the gradient evenly."""
    return Max(axis, keepdims)(x)


class Reduction(Op):
    """What the reductions share: the axes, as a tuple of positive integers, and the shape with 1 in their place."""

    def __init__(self, axis: Axis, keepdims: bool):
        self.keepdims: bool = keepdims if type(keepdims) is bool else flag(type(self).__name__, "keepdims", keepdims)
        self.axis = tuple(axis) if isinstance(axis, list) else axis  # the op's own: a list may change

    def axes(self, x: Array) -> tuple[int, ...]:
        """The axes to reduce: (-1,) of (N, C) becomes (1,)."""
        if self.axis is None:
            return tuple(range(x.ndim))
        axes: Any = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        for axis in axes:
            if not is_whole_number(axis, -x.ndim) or axis >= x.ndim:
                raise ShapeError(f"{self.title}: axis {axis!r} does not exist in shape {x.shape}")
        positive = tuple([axis % x.ndim for axis in axes])
        if len(set(positive)) < len(positive):
            raise ShapeError(f"{self.title}: axis {self.axis} names an axis of shape {x.shape} twice")
        return positive

    def kept_shape(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
        """The shape with 1 in the place of the reduced axes: (N, C, H, W) over (2, 3) becomes (N, C, 1, 1)."""
        return tuple([1 if i in axes else n for i, n in enumerate(shape)])


class Sum(Reduction):
    """y = Σ x over the axes: each x gets the gradient of the sum that it is part of."""

    def forward(self, x: Array) -> Array:
        axes = self.axes(x)
        self.saved = x.shape, self.kept_shape(x.shape, axes)
        return sum_over(x, axes, self.keepdims)

    def backward(self, dy: Array) -> Array:
        """dx = dy, repeated along the axes."""
        xp = array_module(dy)
        shape, kept = self.saved
        dx = xp.broadcast_to(dy.reshape(kept), shape)    # the reduced axes return, each repeating dy
        return dx


class Mean(Reduction):
    """y = Σ x / count over the axes."""

    def forward(self, x: Array) -> Array:
        axes = self.axes(x)
        count = math.prod([x.shape[axis] for axis in axes])
        if count == 0:
            raise ShapeError(f"{self.title}: the mean over axis {self.axis} of shape {x.shape} is over no values")
        self.saved = x.shape, self.kept_shape(x.shape, axes), count
        return mean_over(x, axes, self.keepdims)

    def backward(self, dy: Array) -> Array:
        """dx = dy / count, repeated along the axes."""
        xp = array_module(dy)
        shape, kept, count = self.saved
        dx = xp.broadcast_to(dy.reshape(kept) / count, shape)    # the reduced axes return, each repeating dy / count
        return dx


class Max(Reduction):
    """y = max x over the axes: the largest gets the gradient; equal ones share it evenly."""

    def forward(self, x: Array) -> Array:
        axes = self.axes(x)
        kept = self.kept_shape(x.shape, axes)
        if 0 in [x.shape[axis] for axis in axes]:
            raise ShapeError(f"{self.title}: the maximum over axis {self.axis} of shape {x.shape} is over no values")
        y = x.max(axis=axes, keepdims=True)
        self.saved = x, y, axes
        return y if self.keepdims else y.reshape([n for i, n in enumerate(kept) if i not in axes])

    def backward(self, dy: Array) -> Array:
        """dx = dy / ties where x is the largest, else 0."""
        xp = array_module(dy)
        x, y, axes = self.saved
        is_largest = (x == y) | (x != x) & (y != y)                 # NaN, the largest of all, is not equal to itself
        ties = is_largest.sum(axis=axes, keepdims=True)             # of integers
        dx = xp.where(is_largest, dy.reshape(y.shape) / ties.astype(dy.dtype), 0)    # a product would make NaN of inf · 0
        return dx
