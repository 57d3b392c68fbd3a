"""The transposed convolution of images: the definition as loops, and the kernels of `conv2d`, whose gradient it is."""
import math
from types import ModuleType
from typing import Any

from minires.arguments import IntOrPair, pair, whole_number
from minires.arrays.backend import Array, array_module
from minires.arrays.sums import sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, ShapeError
from minires.ops.convolution import group_slices
from minires.ops.kernels.correlation import correlate, input_gradient, weight_gradient
from minires.ops.kernels.geometry import Geometry


def conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: IntOrPair = 1, padding: IntOrPair = 0,
                     output_padding: IntOrPair = 0, groups: int = 1, dilation: IntOrPair = 1) -> Tensor:
    """Each pixel lays down the kernels of its channels, times itself, `stride` pixels from the next; what overlaps is added.

        y_padded[n, o, i·SH + kh·DH, j·SW + kw·DW] += x[n, c, i, j] · weight[c, o, kh, kw]

    and y is y_padded without its border, plus bias[o]. It does to x what the backward of a `conv2d` with these arguments
    does to its dy (Dumoulin and Visin 2016, arXiv:1603.07285, chapter 4), and so makes images larger.

    Args:
        x: (N, C, H, W).
        weight: (C, O / groups, KH, KW).
        bias: (O,) or None.
        stride, dilation: an int or a pair (rows, columns).
        padding: how wide the border is that is left out, on all sides.
        output_padding: rows and columns more at the bottom and on the right: with a stride, several sizes of y would give
            one size of x. Less than the stride or the dilation.
        groups: the channels are split into so many groups, each of which makes its own O / groups.

    Returns:
        (N, O, OH, OW), with OH = (H - 1)·stride - 2·padding + dilation·(KH - 1) + output_padding + 1.

    Raises:
        ShapeError: ranks or channels do not fit, or nothing is left within the border.
        ArgumentError: a stride, dilation or number of groups below 1, a negative padding, or too large an output_padding.
        DTypeError: an argument is no tensor.
    """
    return ConvTranspose2d(stride, padding, output_padding, groups, dilation)(x, weight, bias)


class ConvTranspose2d(Op):
    """y[n, o, i·SH + kh·DH - PH, j·SW + kw·DW - PW] = bias[o] + Σ x[n, c, i, j] weight[c, o, kh, kw], over c, i, j, kh, kw.

    The fast form is made of the parts of `Conv2d`'s: forward is the gradient of its input, backward its forward.
    """

    def __init__(self, stride: IntOrPair = 1, padding: IntOrPair = 0, output_padding: IntOrPair = 0, groups: int = 1,
                 dilation: IntOrPair = 1):
        self.stride: tuple[int, int] = pair("ConvTranspose2d", "stride", stride)
        self.padding: tuple[int, int] = pair("ConvTranspose2d", "padding", padding, smallest=0)
        self.output_padding: tuple[int, int] = pair("ConvTranspose2d", "output_padding", output_padding, smallest=0)
        self.groups: int = whole_number("ConvTranspose2d", "groups", groups)
        self.dilation: tuple[int, int] = pair("ConvTranspose2d", "dilation", dilation)
        for more, stride, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if more >= max(stride, dilation):
                raise ArgumentError(f"ConvTranspose2d: output_padding is {self.output_padding}, expected less than the "
                                    f"stride {self.stride} or the dilation {self.dilation}")

    # ---- the definition

    def plain_forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        xp = array_module(x)
        g = self.geometry(x, weight, bias)
        self.saved = x, weight, g
        N, _, H, W = x.shape
        padded_size = g.top + g.OH + g.bottom, g.left + g.OW + g.right
        y_padded = xp.zeros((N, self.output_channels(weight), *padded_size), dtype=xp.result_type(x, weight))
        for ins, outs in group_slices(weight, self.groups):                      # of each group, its C and its O
            for i in range(H):
                for j in range(W):
                    for kh in range(g.KH):
                        for kw in range(g.KW):
                            row, column = i * g.SH + kh * g.DH, j * g.SW + kw * g.DW
                            y_padded[:, outs, row, column] += x[:, ins, i, j] @ weight[ins, :, kh, kw]    # (N, C) @ (C, O)
        y = y_padded[:, :, g.top:g.top + g.OH, g.left:g.left + g.OW]             # -> (N, O, OH, OW)
        if bias is not None:
            y += bias[:, None, None]                                             # (N, O, OH, OW) + (O, 1, 1)
        return y

    def plain_backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = Σ dy_padded[n, o, i·SH + kh·DH, j·SW + kw·DW] weight[c, o, kh, kw] over o, kh, kw
        dweight = Σ x[n, c, i, j] dy_padded[n, o, i·SH + kh·DH, j·SW + kw·DW] over n, i, j
        dbias = Σ dy over n and all pixels

        The border that was left out has a gradient of zero.
        """
        xp = array_module(dy)
        x, weight, g = self.saved
        N, _, H, W = x.shape
        dy_padded = xp.zeros((*dy.shape[:2], g.top + g.OH + g.bottom, g.left + g.OW + g.right), dtype=dy.dtype)
        dy_padded[:, :, g.top:g.top + g.OH, g.left:g.left + g.OW] = dy           # (N, O, OH, OW) ->
        dx = xp.zeros(x.shape, dtype=dy.dtype)
        dweight = xp.zeros(weight.shape, dtype=dy.dtype)
        own, each = len(weight) // self.groups, weight.shape[1]
        for group in range(self.groups):
            ins = slice(group * own, (group + 1) * own)                          # the channels of this group
            outs = slice(group * each, (group + 1) * each)                       # what they make
            for i in range(H):
                for j in range(W):
                    for kh in range(g.KH):
                        for kw in range(g.KW):
                            dy_pixel = dy_padded[:, outs, i * g.SH + kh * g.DH, j * g.SW + kw * g.DW]     # (N, O)
                            dx[:, ins, i, j] += dy_pixel @ weight[ins, :, kh, kw].T                       # (N, O) @ (O, C)
                            dweight[ins, :, kh, kw] += x[:, ins, i, j].T @ dy_pixel                       # (C, N) @ (N, O)
        dbias = sum_over(dy, (0, 2, 3))                                          # (N, O, OH, OW) -> (O,)
        return dx, dweight, dbias

    # ---- the fast form

    def forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        xp = array_module(x)
        g = self.geometry(x, weight, bias)
        self.saved = x, weight, g
        x = x.astype(xp.result_type(x, weight), copy=False)
        parts = []
        for ins, _ in group_slices(weight, self.groups):
            pixels = xp.ascontiguousarray(x[:, ins].transpose(0, 2, 3, 1))       # (N, C, H, W) -> (N, H, W, C)
            shape = len(x), g.OH, g.OW, weight.shape[1]                          # (N, OH, OW, O)
            parts.append(input_gradient(xp, shape, weight[ins], pixels, self.of_conv2d(x, g)))
        y = parts[0] if self.groups == 1 else xp.concatenate(parts, axis=3)
        if bias is not None:
            y += bias                                                            # (N, OH, OW, O) + (O,)
        return y.transpose(0, 3, 1, 2)                                           # (N, OH, OW, O) -> (N, O, OH, OW)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        xp = array_module(dy)
        x, weight, g = self.saved
        x = x.astype(dy.dtype, copy=False)
        parts = [self.backward_of_group(xp, x[:, ins], weight[ins], dy[:, outs], self.of_conv2d(x, g))
                 for ins, outs in group_slices(weight, self.groups)]
        dx = xp.concatenate([dx for dx, _ in parts], axis=1) if self.needs_grad[0] else None
        dweight = xp.concatenate([dweight for _, dweight in parts]) if self.needs_grad[1] else None
        dbias = sum_over(dy, (0, 2, 3)) if self.needs_grad[2] else None           # (N, O, OH, OW) -> (O,)
        return dx, dweight, dbias

    def backward_of_group(self, xp: ModuleType, x: Array, weight: Array, dy: Array, g: Geometry) -> Any:
        """(dx, dweight) of one group's channels; None for what is not wanted."""
        dy = xp.ascontiguousarray(dy.transpose(0, 2, 3, 1))                      # (N, O, OH, OW) -> (N, OH, OW, O)
        wants_dx, wants_dweight, _ = self.needs_grad
        dx = dweight = None
        if wants_dx:
            kernels = weight.transpose(2, 3, 1, 0)                               # (C, O, KH, KW) -> (KH, KW, O, C)
            dx = correlate(xp, dy, kernels, g).transpose(0, 3, 1, 2)             # (N, H, W, C) -> (N, C, H, W)
        if wants_dweight:
            pixels = xp.ascontiguousarray(x.transpose(0, 2, 3, 1))               # (N, C, H, W) -> (N, H, W, C)
            dweight = weight_gradient(xp, dy, pixels, g).transpose(3, 2, 0, 1)   # (KH, KW, O, C) -> (C, O, KH, KW)
        return dx, dweight

    # ---- sizes

    def of_conv2d(self, x: Array, g: Geometry) -> Geometry:
        """The sizes of the convolution that makes x of y: its outputs are x's pixels."""
        return g._replace(OH=x.shape[2], OW=x.shape[3])

    def output_channels(self, weight: Array) -> int:
        """O."""
        return weight.shape[1] * self.groups

    def geometry(self, x: Array, weight: Array, bias: Array | None) -> Geometry:
        """The sizes of this op; raises where x, weight and bias do not fit."""
        if weight is None or x.ndim != 4 or weight.ndim != 4 or 0 in x.shape[2:]:
            raise ShapeError(f"{self.title}: expected x (N, C, H, W) with at least one pixel, and weight (C, O / groups, "
                             f"KH, KW), got shapes {x.shape} and {None if weight is None else weight.shape}")
        C, O = x.shape[1], self.output_channels(weight)
        if len(weight) != C:
            raise ShapeError(f"{self.title}: x {x.shape} has {C} channels, but weight (C, O / groups, KH, KW) = "
                             f"{weight.shape} takes {len(weight)}")
        if C % self.groups or math.prod(weight.shape) == 0:
            raise ShapeError(f"{self.title}: weight {weight.shape} must hold at least one number, and the {C} channels must "
                             f"divide into groups={self.groups}")
        if bias is not None and bias.shape != (O,):
            raise ShapeError(f"{self.title}: bias has shape {bias.shape}, expected ({O},) for weight {weight.shape} and "
                             f"groups={self.groups}")
        (KH, KW), (SH, SW), (DH, DW), (PH, PW) = weight.shape[2:], self.stride, self.dilation, self.padding
        OH = (x.shape[2] - 1) * SH - 2 * PH + DH * (KH - 1) + self.output_padding[0] + 1
        OW = (x.shape[3] - 1) * SW - 2 * PW + DW * (KW - 1) + self.output_padding[1] + 1
        if OH < 1 or OW < 1:
            raise ShapeError(f"{self.title}: nothing is left of {x.shape} within a border of padding {self.padding}: use "
                             "larger images, less padding or a larger kernel")
        return Geometry(KH, KW, SH, SW, DH, DW, PH, PH, PW, PW, OH, OW)
