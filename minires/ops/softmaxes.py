"""Softmax, its logarithm, and the logarithm of its denominator. No exp overflows: each is taken of x less its largest."""
from minires.arrays.backend import Array, array_module
from minires.arrays.sums import sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ShapeError
from minires.ops.axes import one_axis
from minires.ops.reduction import Axis, Reduction


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """eˣ / Σ eˣ along an axis: numbers from 0 to 1 that sum to 1.

    An element of -inf has share 0, such as a masked place of an attention; where all are -inf, all shares are NaN.

    Raises:
        ShapeError: there is no such axis, or its length is 0.
    """
    return Softmax(axis)(x)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(eˣ / Σ eˣ) along an axis, exact where the softmax itself would round to 0. See `softmax`."""
    return LogSoftmax(axis)(x)


def logsumexp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log Σ eˣ over `axis`: an int, a tuple of ints, or None for all axes. It is a smooth maximum: at least max x.

    Raises:
        ShapeError: an axis does not exist, or is named twice, or the sum is over no values.
        ArgumentError: `keepdims` is neither True nor False.
    """
    return LogSumExp(axis, keepdims)(x)


class Softmax(Op):
    """y = eˣ / Σ eˣ along the axis."""

    def __init__(self, axis: int):
        self.axis: int = axis

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        axis = filled_axis(self, self.axis, x)
        exps = xp.exp(x - x.max(axis=axis, keepdims=True))
        y = exps / sum_over(exps, axis, keepdims=True)
        self.saved = y, axis
        return y

    def backward(self, dy: Array) -> Array:
        """dx = y (dy - Σ dy y)."""
        y, axis = self.saved
        dx = y * (dy - sum_over(dy * y, axis, keepdims=True))
        return dx


class LogSoftmax(Op):
    """y = x - log Σ eˣ along the axis."""

    def __init__(self, axis: int):
        self.axis: int = axis

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        axis = filled_axis(self, self.axis, x)
        shifted = x - x.max(axis=axis, keepdims=True)
        y = shifted - xp.log(sum_over(xp.exp(shifted), axis, keepdims=True))
        self.saved = y, axis
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy - eʸ Σ dy."""
        xp = array_module(dy)
        y, axis = self.saved
        dx = dy - xp.exp(y) * sum_over(dy, axis, keepdims=True)
        return dx


class LogSumExp(Reduction):
    """y = log Σ eˣ over the axes: each x gets its share of the softmax."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        axes = self.axes(x)
        kept = self.kept_shape(x.shape, axes)
        if 0 in [x.shape[axis] for axis in axes]:
            raise ShapeError(f"{self.title}: the sum over axis {self.axis} of shape {x.shape} is over no values")
        largest = x.max(axis=axes, keepdims=True)
        largest = xp.where(xp.isinf(largest), 0, largest)               # no inf - inf
        y = largest + xp.log(sum_over(xp.exp(x - largest), axes, keepdims=True))
        self.saved = x, y
        return y if self.keepdims else y.reshape([n for i, n in enumerate(kept) if i not in axes])

    def backward(self, dy: Array) -> Array:
        """dx = dy e^(x - y), the share of x in the sum."""
        xp = array_module(dy)
        x, y = self.saved
        dx = dy.reshape(y.shape) * xp.exp(x - y)
        return dx


def filled_axis(op: Op, axis: int, x: Array) -> int:
    """The axis counted from the front, or a ShapeError where there is none, or nothing along it."""
    found = one_axis(op.title, axis, x.shape)
    if x.shape[found] == 0:
        raise ShapeError(f"{op.title}: axis {axis} of shape {x.shape} has length 0")
    return found
