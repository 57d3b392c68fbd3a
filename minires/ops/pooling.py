"""Pooling over windows of an image: max, average, and the average of the whole image.

Windows are visited by their offset: for each of the KH·KW places in a window, one strided slice of the input holds that
place of every window at once.
"""
import math
from types import ModuleType

import numpy as np

from minires.arguments import IntOrPair, pair
from minires.arrays.backend import Array, array_module
from minires.arrays.masks import keep_where, may_hold_any
from minires.arrays.sums import mean_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, ShapeError
from minires.ops.kernels.layout import zeros_channels_last


def max_pool2d(x: Tensor, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0) -> Tensor:
    """The largest value of each window; NaN where it holds one. Padding never wins.

    Args:
        x: (N, C, H, W).
        kernel_size, stride, padding: an int or a pair (rows, columns); the stride is the kernel size where None.

    Returns:
        (N, C, OH, OW), with OH = (H + 2·padding - KH) // stride + 1. Where several values of a window are equal, the
        first in reading order gets the gradient; of several that are NaN, the last, as in PyTorch.

    Raises:
        ShapeError: x is not (N, C, H, W), or the kernel is larger than the padded image.
        ArgumentError: a size or stride below 1, or a padding of more than half the kernel.
    """
    return MaxPool2d(kernel_size, stride, padding)(x)


def avg_pool2d(x: Tensor, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0) -> Tensor:
    """The mean of each window, padding counted as zeros; arguments, result and errors as `max_pool2d`."""
    return AvgPool2d(kernel_size, stride, padding)(x)


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean of each channel of each image: (N, C, H, W) -> (N, C) (Lin, Chen and Yan 2013, section 3.2).

    Raises:
        ShapeError: x is not (N, C, H, W), or has no pixels.
    """
    return GlobalAvgPool2d()(x)


class Pool2d(Op):
    """What max and average pooling share: the geometry of the windows."""

    def __init__(self, kernel_size: IntOrPair, stride: IntOrPair | None, padding: IntOrPair):
        kind = type(self).__name__
        self.kernel_size: tuple[int, int] = pair(kind, "kernel_size", kernel_size)
        self.stride: tuple[int, int] = self.kernel_size if stride is None else pair(kind, "stride", stride)
        self.padding: tuple[int, int] = pair(kind, "padding", padding, smallest=0)
        if any(p > k // 2 for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ArgumentError(f"{kind}: padding is {self.padding}, expected at most half the kernel {self.kernel_size}")

    def padded(self, x: Array, value: float) -> Array:
        """x with a border of `value`: (N, C, H, W) -> (N, C, H + 2 PH, W + 2 PW)."""
        PH, PW = self.padding
        if PH == PW == 0:
            return x
        N, C, H, W = x.shape
        border = zeros_channels_last((N, C, H + 2 * PH, W + 2 * PW), x)
        border += value
        border[:, :, PH:PH + H, PW:PW + W] = x
        return border

    def without_padding(self, x_padded: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `padded`, for an image of this shape."""
        PH, PW = self.padding
        return x_padded[:, :, PH:PH + shape[2], PW:PW + shape[3]]

    def output_size(self, x: Array) -> tuple[int, int]:
        """(OH, OW): how many windows fit below and beside each other."""
        OH, OW = [(n + 2 * p - k) // s + 1 for n, p, k, s in
                  zip(x.shape[2:], self.padding, self.kernel_size, self.stride, strict=True)]
        return OH, OW

    def places(self, x_padded: Array, OH: int, OW: int) -> list[Array]:
        """For each place in a window, in reading order, that place of every window: views (N, C, OH, OW)."""
        (KH, KW), (SH, SW) = self.kernel_size, self.stride
        return [x_padded[:, :, kh:kh + SH * OH:SH, kw:kw + SW * OW:SW][:, :, :OH, :OW]
                for kh in range(KH) for kw in range(KW)]

    def check(self, x: Array) -> None:
        """Raise an error that says what does not fit."""
        if x.ndim != 4 or 0 in x.shape[2:]:
            raise ShapeError(f"{self.title}: expected x (N, C, H, W) with at least one pixel, got shape {x.shape}")
        if min(self.output_size(x)) < 1:
            raise ShapeError(f"{self.title}: the kernel {self.kernel_size} is larger than the image {x.shape[2:]} with "
                             f"padding {self.padding}: use a smaller kernel, or larger images")


class MaxPool2d(Pool2d):
    """y = max over each window: the first largest gets the gradient; NaN is larger than all, and the last NaN gets it."""

    # ---- the definition

    def plain_forward(self, x: Array) -> Array:
        self.check(x)
        xp = array_module(x)
        (KH, KW), (SH, SW), (OH, OW) = self.kernel_size, self.stride, self.output_size(x)
        x_padded = self.padded(x, -math.inf)
        y = xp.empty((*x.shape[:2], OH, OW), dtype=x.dtype)                  # (N, C, OH, OW)
        for i in range(OH):
            for j in range(OW):
                window = x_padded[:, :, i * SH:i * SH + KH, j * SW:j * SW + KW]
                y[:, :, i, j] = window.max(axis=(2, 3))                      # (N, C, KH, KW) -> (N, C)
        self.saved = x.shape, x_padded, y
        return y

    def plain_backward(self, dy: Array) -> Array:
        """dx = Σ dy over the windows of which x is the first largest."""
        xp = array_module(dy)
        (N, C, H, W), x_padded, y = self.saved
        (KH, KW), (SH, SW), (PH, PW) = self.kernel_size, self.stride, self.padding
        n, c = xp.arange(N)[:, None], xp.arange(C)                           # (N, 1), (C,): every image and channel
        dx_padded = xp.zeros(x_padded.shape, dtype=dy.dtype)                 # (N, C, H + 2 PH, W + 2 PW)
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                top, left = max(i * SH, PH), max(j * SW, PW)                 # padding never wins, against -inf neither
                window = x_padded[:, :, top:min(i * SH + KH, PH + H), left:min(j * SW + KW, PW + W)]
                kw = window.shape[3]
                largest = first_largest(xp, window.reshape(N, C, -1))        # (N, C), counted in reading order
                row, column = top + largest // kw, left + largest % kw       # (N, C), (N, C)
                dx_padded[n, c, row, column] += dy[:, :, i, j]
        dx = dx_padded[:, :, PH:PH + H, PW:PW + W]                           # -> (N, C, H, W)
        return dx

    # ---- the fast form

    def forward(self, x: Array) -> Array:
        self.check(x)
        xp = array_module(x)
        OH, OW = self.output_size(x)
        x_padded = self.padded(x, -math.inf)
        first, *others = self.places(x_padded, OH, OW)
        y = first.copy(order="K")                                            # (N, C, OH, OW), in the memory order of x
        for place in others:
            xp.maximum(y, place, out=y)
        self.saved = x.shape, x_padded, y
        return y

    def backward(self, dy: Array) -> Array:
        """dx = Σ dy over the windows of which x is the first largest."""
        xp = array_module(dy)
        shape, x_padded, y = self.saved
        OH, OW = y.shape[2:]
        inside = self.padded(xp.ones((1, 1, *shape[2:]), dtype=y.dtype), 0) == 1      # where padding cannot win
        dx_padded = zeros_channels_last(x_padded.shape, dy)                           # (N, C, H + 2 PH, W + 2 PW)
        places = list(zip(*[self.places(x, OH, OW) for x in (x_padded, inside, dx_padded)], strict=True))
        unclaimed = xp.ones_like(y, dtype=bool)                              # windows whose gradient no place has taken yet
        for x_place, inside_place, dx_place in places:
            claimed = (x_place == y) & inside_place & unclaimed
            dx_place += keep_where(claimed, dy)
            unclaimed ^= claimed
        if may_hold_any(unclaimed):                                          # by NaN, which equals nothing
            for x_place, _, dx_place in reversed(places):
                claimed = (x_place != x_place) & unclaimed
                dx_place += keep_where(claimed, dy)
                unclaimed ^= claimed
        dx = self.without_padding(dx_padded, shape)                          # -> (N, C, H, W)
        return dx


class AvgPool2d(Pool2d):
    """y = mean over each window, padding counted as zeros: each place gets an equal share of the gradient."""

    # ---- the definition

    def plain_forward(self, x: Array) -> Array:
        self.check(x)
        xp = array_module(x)
        (KH, KW), (SH, SW), (OH, OW) = self.kernel_size, self.stride, self.output_size(x)
        self.saved = x.shape
        x_padded = self.padded(x, 0)
        y = xp.empty((*x.shape[:2], OH, OW), dtype=x.dtype)                  # (N, C, OH, OW)
        for i in range(OH):
            for j in range(OW):
                window = x_padded[:, :, i * SH:i * SH + KH, j * SW:j * SW + KW]
                y[:, :, i, j] = mean_over(window, (2, 3))                    # (N, C, KH, KW) -> (N, C)
        return y

    def plain_backward(self, dy: Array) -> Array:
        """dx = Σ dy / (KH KW) over the windows that hold x."""
        xp = array_module(dy)
        N, C, H, W = self.saved
        (KH, KW), (SH, SW), (PH, PW) = self.kernel_size, self.stride, self.padding
        share = dy.astype(np.float64) / (KH * KW)                            # (N, C, OH, OW)
        dx_padded = xp.zeros((N, C, H + 2 * PH, W + 2 * PW), dtype=np.float64)
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                window = dx_padded[:, :, i * SH:i * SH + KH, j * SW:j * SW + KW]
                window += share[:, :, i, j, None, None]                      # (N, C, KH, KW) + (N, C, 1, 1)
        dx = dx_padded[:, :, PH:PH + H, PW:PW + W].astype(dy.dtype)          # -> (N, C, H, W)
        return dx

    # ---- the fast form

    def forward(self, x: Array) -> Array:
        self.check(x)
        OH, OW = self.output_size(x)
        self.saved = x.shape
        first, *others = self.places(self.padded(x, 0), OH, OW)
        total = first.astype(np.float64)                                     # (N, C, OH, OW), in the memory order of x
        for place in others:
            total += place
        total /= math.prod(self.kernel_size)
        return total.astype(x.dtype)

    def backward(self, dy: Array) -> Array:
        """dx = Σ dy / (KH KW) over the windows that hold x."""
        N, C, H, W = self.saved
        PH, PW = self.padding
        share = dy.astype(np.float64) / math.prod(self.kernel_size)          # (N, C, OH, OW)
        dx_padded = zeros_channels_last((N, C, H + 2 * PH, W + 2 * PW), share)
        for place in self.places(dx_padded, *dy.shape[2:]):
            place += share
        dx = self.without_padding(dx_padded, self.saved).astype(dy.dtype)    # -> (N, C, H, W)
        return dx


class GlobalAvgPool2d(Op):
    """y = mean over the pixels of each channel."""

    def forward(self, x: Array) -> Array:
        if x.ndim != 4 or 0 in x.shape[2:]:
            raise ShapeError(f"{self.title}: expected x (N, C, H, W) with at least one pixel, got shape {x.shape}")
        self.saved = x.shape
        return mean_over(x, (2, 3))                                          # (N, C, H, W) -> (N, C)

    def backward(self, dy: Array) -> Array:
        """dx = dy / (H W) at each pixel."""
        xp = array_module(dy)
        N, C, H, W = self.saved
        dx = xp.empty((N, H, W, C), dtype=dy.dtype).transpose(0, 3, 1, 2)    # fresh, in the memory order of the next op
        dx[...] = (dy / (H * W))[:, :, None, None]                           # (N, C, 1, 1) -> (N, C, H, W)
        return dx


def first_largest(xp: ModuleType, values: Array) -> Array:
    """The place of the first largest along the last axis; of the last NaN where there is one, as in PyTorch."""
    is_nan = values != values
    last_nan = values.shape[-1] - 1 - is_nan[..., ::-1].argmax(axis=-1)
    return xp.where(is_nan.any(axis=-1), last_nan, values.argmax(axis=-1))
