"""The convolution of images: the definition as four loops, and the same sums as small matrix products."""
import math
from typing import NamedTuple

from minires.backend import array_module, panel_bytes, rows_of_one_product, strided_view
from minires.errors import ArgumentError, ShapeError
from minires.op import Op
from minires.ops.layout import channels_last, pair


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
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


class Geometry(NamedTuple):
    """The sizes of one convolution: padding on each side, and the number of outputs."""

    KH: int
    KW: int
    SH: int
    SW: int
    DH: int
    DW: int
    top: int
    bottom: int
    left: int
    right: int
    OH: int
    OW: int

    @property
    def is_pointwise(self):
        """A 1 x 1 kernel that sees each pixel once: the columns are the image itself."""
        return (self.KH, self.KW, self.SH, self.SW) == (1, 1, 1, 1) and self[6:10] == (0, 0, 0, 0)


class Conv2d(Op):
    """y[n, o, i, j] = bias[o] + Σ x_padded[n, c, i·SH + kh·DH, j·SW + kw·DW] weight[o, c, kh, kw] over c, kh, kw.

    The fast form keeps images with channels last in memory, (N, H, W, C) behind the shape (N, C, H, W), so that the
    pixels under a kernel row are one run of KW·C floats. It copies the windows of a few images at a time into a panel
    that stays in the processor's L2 cache, and multiplies the panel with the kernels.
    """

    def __init__(self, stride=1, padding=0, dilation=1, groups=1):
        self.stride = pair(self, "stride", stride)
        self.padding = pair(self, "padding", padding)
        self.dilation = pair(self, "dilation", dilation)
        self.groups = groups

    # ---- the definition

    def plain_forward(self, x, weight, bias):
        xp = array_module(x)
        g = self.geometry(x, weight, bias)
        self.saved = x, weight
        N, O = len(x), len(weight)
        dense = self.dense_weight(weight)                                        # (O, C, KH, KW)
        x_padded = xp.pad(x, ((0, 0), (0, 0), (g.top, g.bottom), (g.left, g.right)))
        y = xp.zeros((N, O, g.OH, g.OW), dtype=xp.result_type(x, weight))
        for i in range(g.OH):
            for j in range(g.OW):
                for kh in range(g.KH):
                    for kw in range(g.KW):
                        pixel = x_padded[:, :, i * g.SH + kh * g.DH, j * g.SW + kw * g.DW]   # (N, C)
                        y[:, :, i, j] += pixel @ dense[:, :, kh, kw].T           # (N, C) @ (C, O) -> (N, O)
        if bias is not None:
            y += bias[:, None, None]                                             # (N, O, OH, OW) + (O, 1, 1)
        return y

    def plain_backward(self, dy):
        xp = array_module(dy)
        x, weight = self.saved
        g = self.geometry(x, weight, None)
        (N, C, H, W) = x.shape
        dense = self.dense_weight(weight)                                        # (O, C, KH, KW)
        x_padded = xp.pad(x, ((0, 0), (0, 0), (g.top, g.bottom), (g.left, g.right)))
        dx_padded = xp.zeros(x_padded.shape, dtype=dy.dtype)
        ddense = xp.zeros(dense.shape, dtype=dy.dtype)
        for i in range(g.OH):
            for j in range(g.OW):
                for kh in range(g.KH):
                    for kw in range(g.KW):
                        row, column = i * g.SH + kh * g.DH, j * g.SW + kw * g.DW
                        dx_padded[:, :, row, column] += dy[:, :, i, j] @ dense[:, :, kh, kw]      # (N, O) @ (O, C)
                        ddense[:, :, kh, kw] += dy[:, :, i, j].T @ x_padded[:, :, row, column]    # (O, N) @ (N, C)
        dx = dx_padded[:, :, g.top:g.top + H, g.left:g.left + W]                 # -> (N, C, H, W)
        dweight = self.own_channels(ddense)                                      # -> (O, C / groups, KH, KW)
        dbias = dy.sum(axis=(0, 2, 3))                                           # (N, O, OH, OW) -> (O,)
        return dx, dweight, dbias

    def dense_weight(self, weight):
        """The weight with zeros where a kernel does not see a channel: (O, C / groups, KH, KW) -> (O, C, KH, KW)."""
        if self.groups == 1:
            return weight
        O, own, KH, KW = weight.shape
        dense = array_module(weight).zeros((O, own * self.groups, KH, KW), dtype=weight.dtype)
        for outs, ins in self.group_slices(O, own):
            dense[outs, ins] = weight[outs]
        return dense

    def own_channels(self, dense):
        """The inverse of `dense_weight`: (O, C, KH, KW) -> (O, C / groups, KH, KW)."""
        if self.groups == 1:
            return dense
        O, C = dense.shape[:2]
        return array_module(dense).concatenate([dense[outs, ins] for outs, ins in
                                                self.group_slices(O, C // self.groups)])

    def group_slices(self, O, own):
        """For each group, its kernels and its input channels, as slices."""
        each = O // self.groups
        return [(slice(g * each, (g + 1) * each), slice(g * own, (g + 1) * own)) for g in range(self.groups)]

    # ---- the fast form

    def forward(self, x, weight, bias):
        g = self.geometry(x, weight, bias)
        self.saved = x, weight
        if self.groups == 1:
            y = correlate(channels_last(x), kernel_matrix(weight), g)            # (N, OH, OW, O)
        else:
            y = array_module(x).concatenate(
                [correlate(channels_last(x[:, ins]), kernel_matrix(weight[outs]), g)
                 for outs, ins in self.group_slices(weight.shape[0], weight.shape[1])], axis=3)
        if bias is not None:
            y += bias                                                            # (N, OH, OW, O) + (O,)
        return y.transpose(0, 3, 1, 2)                                           # (N, OH, OW, O) -> (N, O, OH, OW)

    def backward(self, dy):
        x, weight = self.saved
        g = self.geometry(x, weight, None)
        if self.groups == 1:
            dx, dweight = self.backward_of_group(x, weight, dy, g)
        else:
            parts = [self.backward_of_group(x[:, ins], weight[outs], dy[:, outs], g)
                     for outs, ins in self.group_slices(weight.shape[0], weight.shape[1])]
            xp = array_module(dy)
            dx = xp.concatenate([dx for dx, _ in parts], axis=1) if self.needs_grad[0] else None
            dweight = xp.concatenate([dweight for _, dweight in parts]) if self.needs_grad[1] else None
        dbias = dy.sum(axis=(0, 2, 3)) if self.needs_grad[2] else None           # (N, O, OH, OW) -> (O,)
        return dx, dweight, dbias

    def backward_of_group(self, x, weight, dy, g):
        """(dx, dweight) of one group's channels; None for what is not wanted."""
        images, dy = channels_last(x), channels_last(dy)                         # (N, H, W, C), (N, OH, OW, O)
        wants_dx, wants_dweight, _ = self.needs_grad
        if wants_dx and (g.SH, g.SW) == (1, 1) and min(full_padding(g)) >= 0:
            dx, dweight = backward_from_columns_of_dy(images, weight, dy, g, wants_dweight)
        else:
            dweight = weight_gradient(images, dy, g) if wants_dweight else None  # (KH, KW, C, O)
            dx = input_gradient(images.shape, weight, dy, g) if wants_dx else None
        if wants_dweight:
            dweight = dweight.transpose(3, 2, 0, 1)                              # (KH, KW, C, O) -> (O, C, KH, KW)
        if wants_dx:
            dx = dx.transpose(0, 3, 1, 2)                                        # (N, H, W, C) -> (N, C, H, W)
        return dx, dweight

    # ---- sizes

    def geometry(self, x, weight, bias):
        """The sizes of this convolution; raises where x, weight and bias do not fit."""
        check_arguments(self, x, weight, bias)
        (KH, KW), (SH, SW), (DH, DW), (PH, PW) = weight.shape[2:], self.stride, self.dilation, self.padding
        OH = (x.shape[2] + 2 * PH - DH * (KH - 1) - 1) // SH + 1
        OW = (x.shape[3] + 2 * PW - DW * (KW - 1) - 1) // SW + 1
        if OH < 1 or OW < 1:
            raise ShapeError(f"{self.title}: the kernel {(KH, KW)} with dilation {self.dilation} is larger than the image "
                             f"{x.shape[2:]} with padding {self.padding}: use larger images, more padding or a smaller "
                             "kernel")
        return Geometry(KH, KW, SH, SW, DH, DW, PH, PH, PW, PW, OH, OW)


def correlate(images, kernels, g):
    """The correlation of images (N, H, W, C) with kernels (KH·KW·C, O): (N, OH, OW, O)."""
    xp = array_module(images)
    N, O = len(images), kernels.shape[1]
    parts = number_of_parts(g, images.shape[3], O)
    kernels = kernels.reshape(parts, -1, O)                                      # (KH·KW·C, O) -> (parts, K, O)
    y = xp.empty((N, g.OH, g.OW, O), dtype=xp.result_type(images, kernels))
    scratch = None
    for block, columns in column_panels(images, g, parts):
        scratch = multiply_parts(columns, kernels, y[block], scratch)            # (n, rows, OW, K) @ (K, O), summed
    return y


def weight_gradient(images, dy, g):
    """dweight from the columns of the images: (N, H, W, C) and (N, OH, OW, O) -> (KH, KW, C, O)."""
    xp = array_module(dy)
    C, O = images.shape[3], dy.shape[3]
    parts = number_of_parts(g, C, O)
    dkernels = xp.zeros((parts, g.KH * g.KW * C // parts, O), dtype=dy.dtype)    # (parts, K, O)
    for block, columns in column_panels(images, g, parts):
        for part in range(parts):
            dkernels[part] += multiply_transposed(columns[part], dy[block])      # (K, n·rows·OW) @ (n·rows·OW, O)
    return dkernels.reshape(g.KH, g.KW, C, O)


def backward_from_columns_of_dy(images, weight, dy, g, wants_dweight):
    """dx (N, H, W, C) and dweight (KH, KW, C, O) for stride 1, both from one set of columns: those of dy.

    Input pixel (h, w) met kernel place (kh, kw) where the output was (h - kh·DH, w - kw·DW). So with dy padded, dx is a
    correlation with the kernel turned by 180°, and dweight is the product of the same columns with the image.
    """
    xp = array_module(dy)
    (N, H, W, C), O = images.shape, dy.shape[3]
    of_dy = g._replace(**dict(zip(("top", "bottom", "left", "right"), full_padding(g), strict=True)), OH=H, OW=W)
    parts = number_of_parts(of_dy, O, C)
    turned = weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1).reshape(parts, -1, C)    # (O, C, KH, KW) -> (parts, K, C)
    dx = xp.empty((N, H, W, C), dtype=dy.dtype)
    dturned = xp.zeros(turned.shape, dtype=dy.dtype)
    scratch = None
    for block, columns in column_panels(dy, of_dy, parts):
        scratch = multiply_parts(columns, turned, dx[block], scratch)            # (n, rows, W, K) @ (K, C), summed
        for part in range(parts if wants_dweight else 0):
            dturned[part] += multiply_transposed(columns[part], images[block])   # (K, n·rows·W) @ (n·rows·W, C)
    dweight = dturned.reshape(g.KH, g.KW, O, C)[::-1, ::-1]                      # turned back
    return dx, dweight.transpose(0, 1, 3, 2)                                     # (KH, KW, O, C) -> (KH, KW, C, O)


def full_padding(g):
    """(top, bottom, left, right) of dy, with which a correlation with the kernel turned by 180° gives dx."""
    return (g.DH * (g.KH - 1) - g.top, g.DH * (g.KH - 1) - g.bottom,
            g.DW * (g.KW - 1) - g.left, g.DW * (g.KW - 1) - g.right)


def number_of_parts(g, C, O):
    """KH to multiply each kernel row by itself, 1 to multiply all kernel rows at once.

    With one part, a window's KH·KW·C numbers stand in a row of the panel, and each pixel is copied KH·KW times. With KH
    parts a row holds the KW·C numbers under one kernel row; each pixel is copied KW times, as the same panel serves all
    kernel rows, moved down by one; but KH products of O numbers must be added. That pays where O is the smaller.
    """
    return g.KH if g.KH > 1 and g.SH == 1 and g.KW * C >= O else 1


def column_panels(images, g, parts):
    """The windows of the images as rows of matrices, a panel at a time.

    A whole batch of columns (KH·KW times the images) would leave the cache, and thin matrix products would wait for
    memory; a panel of a few images, or of a few rows of a large one, stays in L2.

    Args:
        images: (N, H, W, C), contiguous.
        parts: of `number_of_parts`.

    Yields:
        (block, columns): block selects the images and the output rows, y[block] of (N, OH, OW, O); columns is a list of
        `parts` arrays (n, rows, OW, K), each with the numbers that meet one part of the kernel; valid until the next.
    """
    xp = array_module(images)
    N, H, W, C = images.shape
    if g.is_pointwise:
        at_once = max(1, panel_bytes(xp) // max(1, H * W * C * images.dtype.itemsize))
        for start in range(0, N, at_once):
            yield (slice(start, start + at_once), slice(None)), [images[start:start + at_once]]
        return
    halo = g.DH * (g.KH - 1) if parts > 1 else 0                                 # rows below, seen by later kernel rows
    tall = 1 if parts > 1 else g.KH                                              # kernel rows beside each other
    row_bytes = g.OW * tall * g.KW * C * images.dtype.itemsize
    at_once = min(max(1, N), max(1, panel_bytes(xp) // ((g.OH + halo) * row_bytes)))
    rows_at_once = min(g.OH, max(1, panel_bytes(xp) // (at_once * row_bytes) - halo))
    padded = xp.zeros((at_once, g.top + H + g.bottom, g.left + W + g.right, C), dtype=images.dtype)
    bytes_n, bytes_h, bytes_w, bytes_c = padded.strides
    windows = strided_view(padded, (at_once, g.OH + halo, g.OW, tall, g.KW, C),
                           (bytes_n, g.SH * bytes_h, g.SW * bytes_w, g.DH * bytes_h, g.DW * bytes_w, bytes_c))
    panel = xp.empty((at_once, rows_at_once + halo, g.OW, tall, g.KW, C), dtype=images.dtype)
    for start in range(0, N, at_once):
        count = min(at_once, N - start)
        padded[:count, g.top:g.top + H, g.left:g.left + W] = images[start:start + count]
        for row in range(0, g.OH, rows_at_once):
            rows = min(rows_at_once, g.OH - row)
            panel[:count, :rows + halo] = windows[:count, row:row + rows + halo]
            columns = panel[:count].reshape(count, -1, g.OW, tall * g.KW * C)
            block = slice(start, start + count), slice(row, row + rows)
            yield block, [columns[:, part * g.DH:part * g.DH + rows] for part in range(parts)]


def multiply_parts(columns, kernels, out, scratch=None):
    """out = Σ columns[part] @ kernels[part]. Returns its scratch array, for the next call to use again."""
    multiply(columns[0], kernels[0], out)
    for part in range(1, len(columns)):
        scratch = multiply(columns[part], kernels[part], scratch)
        out += scratch
    return scratch


def multiply(columns, kernels, out=None):
    """(n, rows, OW, K) @ (K, O) -> (n, rows, OW, O), as many products that are small enough for BLAS's fast path."""
    xp = array_module(columns)
    n, rows, OW, K = columns.shape
    O = kernels.shape[1]
    if out is None or out.shape[:2] != (n, rows):
        out = xp.empty((n, rows, OW, O), dtype=xp.result_type(columns, kernels))
    M = rows_of_one_product(xp, rows * OW, K * O)
    xp.matmul(columns.reshape(n, -1, M, K), kernels, out=out.reshape(n, -1, M, O))
    return out


def multiply_transposed(columns, dy):
    """Σ over pixels of columns (n, rows, OW, K) times dy (n, rows, OW, O): (K, O), likewise as small products."""
    xp = array_module(columns)
    n, rows, OW, K = columns.shape
    O = dy.shape[3]
    M = rows_of_one_product(xp, rows * OW, K * O)
    columns = columns.reshape(-1, M, K)                                          # (n, rows, OW, K) -> (B, M, K)
    dy = dy.reshape(-1, M, O)                                                    # (n, rows, OW, O) -> (B, M, O)
    return xp.matmul(columns.transpose(0, 2, 1), dy).sum(axis=0)                 # (B, K, O) -> (K, O)


def input_gradient(shape, weight, dy, g):
    """dx for any stride: (N, OH, OW, O) -> (N, H, W, C).

    Pixels of x that lie SH rows and SW columns apart met the same places of the kernel. So x falls into SH·SW grids, and on
    each of them dx is a correlation of dy, at stride 1, with those places of the kernel, turned by 180°.
    """
    xp = array_module(dy)
    N, H, W, C = shape
    dx = xp.zeros((N, H, W, C), dtype=dy.dtype)
    for p in range(min(g.SH, H)):
        rows = Grid.of_pixels(p, H, g.SH, g.DH, g.KH, g.top, g.OH)
        for q in range(min(g.SW, W)):
            columns = Grid.of_pixels(q, W, g.SW, g.DW, g.KW, g.left, g.OW)
            if rows is not None and columns is not None:                         # None: no window saw these pixels
                turned = weight[:, :, rows.places][:, :, :, columns.places].transpose(2, 3, 0, 1)    # (kh, kw, O, C)
                of_dy = Geometry(*turned.shape[:2], 1, 1, rows.dilation, columns.dilation, rows.before, rows.after,
                                 columns.before, columns.after, rows.count, columns.count)
                seen = dy[:, rows.outputs, columns.outputs]                      # (N, oh, ow, O)
                dx[:, p::g.SH, q::g.SW] = correlate(seen, turned.reshape(-1, C), of_dy)
    return dx


class Grid(NamedTuple):
    """Along one axis: the pixels first, first + stride, first + 2·stride, … and the outputs that saw them.

    Pixel stride·i + first met kernel place k where the output was i + (first + padding - k·dilation) / stride.
    """

    places: slice  # of the kernel, last first, so that outputs come in ascending order
    dilation: int  # between the outputs that two neighbouring places lead to
    outputs: slice  # those that saw any of the pixels
    before: int  # outputs missing before the first ...
    after: int  # ... and after the last, as if they were zero
    count: int  # pixels

    @classmethod
    def of_pixels(cls, first, length, stride, dilation, K, padding, outputs):
        """The grid, or None where no output saw one of its pixels."""
        places = [k for k in reversed(range(K)) if (first + padding - k * dilation) % stride == 0]
        count = -(-(length - first) // stride)                                   # rounded up
        if not places:
            return None
        step = places[0] - places[1] if len(places) > 1 else 1
        low, high = [(first + padding - k * dilation) // stride for k in (places[0], places[-1])]
        start, stop = max(0, low), min(outputs, high + count)
        if stop <= start:
            return None
        last = places[-1] - step
        return cls(slice(places[0], last if last >= 0 else None, -step), max(1, step * dilation // stride),
                   slice(start, stop), start - low, high + count - stop, count)


def kernel_matrix(weight):
    """The kernels as columns of a matrix, in the order of the image's windows: (O, C, KH, KW) -> (KH·KW·C, O)."""
    return weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])


def check_arguments(op, x, weight, bias):
    """Raise an error that says which argument does not fit, and how."""
    if x.ndim != 4 or weight.ndim != 4 or 0 in x.shape[2:]:
        raise ShapeError(f"{op.title}: expected x (N, C, H, W) with at least one pixel, and weight (O, C / groups, KH, KW), "
                         f"got shapes {x.shape} and {weight.shape}")
    if min(op.stride) < 1 or min(op.dilation) < 1 or min(op.padding) < 0 or op.groups < 1:
        raise ArgumentError(f"{op.title}: stride, dilation and groups must be at least 1 and padding at least 0, got "
                            f"stride {op.stride}, dilation {op.dilation}, groups {op.groups}, padding {op.padding}")
    C, (O, own) = x.shape[1], weight.shape[:2]
    if own * op.groups != C:
        raise ShapeError(f"{op.title}: x {x.shape} has {C} channels, but weight (O, C / groups, KH, KW) = {weight.shape} "
                         f"with groups={op.groups} takes {own * op.groups}")
    if O % op.groups or math.prod(weight.shape) == 0:
        raise ShapeError(f"{op.title}: weight {weight.shape} must hold at least one number, and its {O} kernels must "
                         f"divide into groups={op.groups}")
    if bias is not None and bias.shape != (O,):
        raise ShapeError(f"{op.title}: bias has shape {bias.shape}, expected ({O},) for weight {weight.shape}")
