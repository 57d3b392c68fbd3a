"""The convolution of images: the definition as four loops, and the same sums as small matrix products."""
import math
from types import ModuleType
from typing import Any

from minires.arguments import IntOrPair, pair, whole_number
from minires.arrays.backend import Array, array_module
from minires.arrays.sums import sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ShapeError
from minires.ops.kernels.correlation import (
    backward_from_columns_of_dy,
    correlate,
    full_padding,
    input_gradient,
    weight_gradient,
)
from minires.ops.kernels.geometry import Geometry


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: IntOrPair = 1, padding: IntOrPair = 0,
           dilation: IntOrPair = 1, groups: int = 1) -> Tensor:
    """The cross-correlation of images with kernels, which deep learning calls convolution.

        y[n, o, i, j] = bias[o] + Σ_{c, kh, kw} x_padded[n, c, i·SH + kh·DH, j·SW + kw·DW] · weight[o, c, kh, kw]

    (Dumoulin and Visin 2016, arXiv:1603.07285, for the arithmetic of sizes.)

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, KH, KW).
        bias: (O,) or None.
        stride, padding, dilation: an int or a pair (rows, columns); the padding is of zeros, on both sides.
        groups: the channels are split into so many groups, each seen only by its own O / groups kernels.

    Returns:
        (N, O, OH, OW), with OH = (H + 2·padding - dilation·(KH - 1) - 1) // stride + 1.

    Raises:
        ShapeError: ranks or channels do not fit, or the kernel is larger than the padded image.
        ArgumentError: a stride, dilation or number of groups below 1, or a negative padding.
    """
    return Conv2d(stride, padding, dilation, groups)(x, weight, bias)


def group_slices(weight: Array, groups: int) -> list[tuple[slice, slice]]:
    """For each group, its part of the weight's first axis, and the channels that the second axis stands for, as slices."""
    each, own = len(weight) // groups, weight.shape[1]
    return [(slice(g * each, (g + 1) * each), slice(g * own, (g + 1) * own)) for g in range(groups)]


class Conv2d(Op):
    """y[n, o, i, j] = bias[o] + Σ x_padded[n, c, i·SH + kh·DH, j·SW + kw·DW] weight[o, c, kh, kw] over c, kh, kw.

    The fast form keeps images with channels last in memory, (N, H, W, C) behind the shape (N, C, H, W), so that the
    pixels under a kernel row are one run of KW·C floats. It copies the windows of a few images at a time into a panel
    that stays in the processor's L2 cache, and multiplies the panel with the kernels.
    """

    def __init__(self, stride: IntOrPair = 1, padding: IntOrPair = 0, dilation: IntOrPair = 1, groups: int = 1):
        self.stride: tuple[int, int] = pair("Conv2d", "stride", stride)
        self.padding: tuple[int, int] = pair("Conv2d", "padding", padding, smallest=0)
        self.dilation: tuple[int, int] = pair("Conv2d", "dilation", dilation)
        self.groups: int = groups if type(groups) is int and groups > 0 else whole_number("Conv2d", "groups", groups)

    # ---- the definition

    def plain_forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        xp = array_module(x)
        g = self.geometry(x, weight, bias)
        self.saved = x, weight, g
        x_padded = xp.pad(x, ((0, 0), (0, 0), (g.top, g.bottom), (g.left, g.right)))
        y = xp.zeros((len(x), len(weight), g.OH, g.OW), dtype=xp.result_type(x, weight))
        for outs, ins in group_slices(weight, self.groups):                      # of each group, its O and its C
            for i in range(g.OH):
                for j in range(g.OW):
                    for kh in range(g.KH):
                        for kw in range(g.KW):
                            pixel = x_padded[:, ins, i * g.SH + kh * g.DH, j * g.SW + kw * g.DW]   # (N, C)
                            y[:, outs, i, j] += pixel @ weight[outs, :, kh, kw].T                  # (N, C) @ (C, O)
        if bias is not None:
            y += bias[:, None, None]                                             # (N, O, OH, OW) + (O, 1, 1)
        return y

    def plain_backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = Σ dy[n, o, i, j] weight[o, c, kh, kw] over o, i, j
        dweight = Σ dy[n, o, i, j] x_padded[n, c, row, column] over n, i, j
        dbias = Σ dy over n, i, j

        The gradient of each pixel (row, column) = (i·SH + kh·DH, j·SW + kw·DW) collects what all windows that saw it send.
        """
        xp = array_module(dy)
        x, weight, g = self.saved
        H, W = x.shape[2:]
        O, own, KH, KW = weight.shape
        each = O // self.groups
        x_padded = xp.pad(x, ((0, 0), (0, 0), (g.top, g.bottom), (g.left, g.right)))
        dx_padded = xp.zeros(x_padded.shape, dtype=dy.dtype)
        dweight = xp.zeros(weight.shape, dtype=dy.dtype)
        for group in range(self.groups):
            outs = slice(group * each, (group + 1) * each)                       # the kernels of this group
            ins = slice(group * own, (group + 1) * own)                          # the channels that they see
            for i in range(g.OH):
                for j in range(g.OW):
                    for kh in range(KH):
                        for kw in range(KW):
                            row, column = i * g.SH + kh * g.DH, j * g.SW + kw * g.DW
                            dy_pixel, x_pixel = dy[:, outs, i, j], x_padded[:, ins, row, column]   # (N, O), (N, C)
                            dx_padded[:, ins, row, column] += dy_pixel @ weight[outs, :, kh, kw]   # (N, O) @ (O, C)
                            dweight[outs, :, kh, kw] += dy_pixel.T @ x_pixel                       # (O, N) @ (N, C)
        dx = dx_padded[:, :, g.top:g.top + H, g.left:g.left + W]                 # -> (N, C, H, W)
        dbias = sum_over(dy, (0, 2, 3))                                          # (N, O, OH, OW) -> (O,)
        return dx, dweight, dbias

    # ---- the fast form

    def forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        xp = array_module(x)
        g = self.geometry(x, weight, bias)
        self.saved = x, weight, g
        if self.groups == 1:
            y = self.forward_of_group(xp, x, weight, g)                          # (N, OH, OW, O)
        else:
            y = xp.concatenate([self.forward_of_group(xp, x[:, ins], weight[outs], g)
                                for outs, ins in group_slices(weight, self.groups)], axis=3)
        if bias is not None:
            y += bias                                                            # (N, OH, OW, O) + (O,)
        return y.transpose(0, 3, 1, 2)                                           # (N, OH, OW, O) -> (N, O, OH, OW)

    def forward_of_group(self, xp: ModuleType, x: Array, weight: Array, g: Geometry) -> Array:
        """y (N, OH, OW, O) of one group's channels."""
        images = xp.ascontiguousarray(x.transpose(0, 2, 3, 1))                   # (N, C, H, W) -> (N, H, W, C)
        kernels = weight.transpose(2, 3, 1, 0)                                   # (O, C, KH, KW) -> (KH, KW, C, O)
        return correlate(xp, images, kernels, g)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        xp = array_module(dy)
        x, weight, g = self.saved
        if self.groups == 1:
            dx, dweight = self.backward_of_group(xp, x, weight, dy, g)
        else:
            parts = [self.backward_of_group(xp, x[:, ins], weight[outs], dy[:, outs], g)
                     for outs, ins in group_slices(weight, self.groups)]
            dx = xp.concatenate([dx for dx, _ in parts], axis=1) if self.needs_grad[0] else None
            dweight = xp.concatenate([dweight for _, dweight in parts]) if self.needs_grad[1] else None
        dbias = sum_over(dy, (0, 2, 3)) if self.needs_grad[2] else None           # (N, O, OH, OW) -> (O,)
        return dx, dweight, dbias

    def backward_of_group(self, xp: ModuleType, x: Array, weight: Array, dy: Array, g: Geometry) -> Any:
        """(dx, dweight) of one group's channels; None for what is not wanted."""
        images = xp.ascontiguousarray(x.transpose(0, 2, 3, 1))                   # (N, C, H, W) -> (N, H, W, C)
        dy = xp.ascontiguousarray(dy.transpose(0, 2, 3, 1))                      # (N, O, OH, OW) -> (N, OH, OW, O)
        wants_dx, wants_dweight, _ = self.needs_grad
        dx: Any
        dweight: Any
        if wants_dx and (g.SH, g.SW) == (1, 1) and min(full_padding(g)) >= 0:
            dx, dweight = backward_from_columns_of_dy(xp, images, weight, dy, g, wants_dweight)
        else:
            dweight = weight_gradient(xp, images, dy, g) if wants_dweight else None  # (KH, KW, C, O)
            dx = input_gradient(xp, images.shape, weight, dy, g) if wants_dx else None
        if wants_dweight:
            dweight = dweight.transpose(3, 2, 0, 1)                              # (KH, KW, C, O) -> (O, C, KH, KW)
        if wants_dx:
            dx = dx.transpose(0, 3, 1, 2)                                        # (N, H, W, C) -> (N, C, H, W)
        return dx, dweight

    # ---- sizes

    def geometry(self, x: Array, weight: Array, bias: Array | None) -> Geometry:
        """The sizes of this convolution; raises where x, weight and bias do not fit."""
        if weight is None or x.ndim != 4 or weight.ndim != 4 or 0 in x.shape[2:]:
            raise ShapeError(f"{self.title}: expected x (N, C, H, W) with at least one pixel, and weight (O, C / groups, "
                             f"KH, KW), got shapes {x.shape} and {None if weight is None else weight.shape}")
        C, (O, own) = x.shape[1], weight.shape[:2]
        if own * self.groups != C:
            raise ShapeError(f"{self.title}: x {x.shape} has {C} channels, but weight (O, C / groups, KH, KW) = "
                             f"{weight.shape} with groups={self.groups} takes {own * self.groups}")
        if O % self.groups or math.prod(weight.shape) == 0:
            raise ShapeError(f"{self.title}: weight {weight.shape} must hold at least one number, and its {O} kernels must "
                             f"divide into groups={self.groups}")
        if bias is not None and bias.shape != (O,):
            raise ShapeError(f"{self.title}: bias has shape {bias.shape}, expected ({O},) for weight {weight.shape}")
        (KH, KW), (SH, SW), (DH, DW), (PH, PW) = weight.shape[2:], self.stride, self.dilation, self.padding
        OH = (x.shape[2] + 2 * PH - DH * (KH - 1) - 1) // SH + 1
        OW = (x.shape[3] + 2 * PW - DW * (KW - 1) - 1) // SW + 1
        if OH < 1 or OW < 1:
            raise ShapeError(f"{self.title}: the kernel {(KH, KW)} with dilation {self.dilation} is larger than the image "
                             f"{x.shape[2:]} with padding {self.padding}: use larger images, more padding or a smaller "
                             "kernel")
        return Geometry(KH, KW, SH, SW, DH, DW, PH, PH, PW, PW, OH, OW)
