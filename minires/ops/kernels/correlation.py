"""Correlations of images with kernels as small matrix products: what the fast form of `Conv2d` is made of.

Here images lie with their channels last, (N, H, W, C), so that the pixels under a kernel row are one run of KW·C floats.
"""
import functools
from threading import get_ident
from typing import NamedTuple

import numpy as np

from minires.arrays.backend import array_module, strided_view
from minires.arrays.blocking import cuts_products, panel_bytes, rows_of_one_product
from minires.arrays.memory import empty
from minires.arrays.threads import over_ranges


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


def correlate(images, kernels, g):
    """The correlation of images (N, H, W, C) with kernels (KH, KW, C, O): (N, OH, OW, O)."""
    xp = array_module(images)
    N, O = len(images), kernels.shape[3]
    y = empty(xp, (N, g.OH, g.OW, O), xp.result_type(images, kernels))
    P = pixels_at_once(xp, g, images.shape[3], O)
    g, kernels = side_by_side(kernels, g, P)                                     # (KH, KW, C, O) -> (KH, KW', C, P·O)
    y_wide = y.reshape(N, g.OH, g.OW, P * O)                                     # (N, OH, OW, O) -> (N, OH, OW/P, P·O)
    parts = number_of_parts(xp, g, *kernels.shape[2:])
    kernels = kernels.reshape(parts, -1, P * O)                                  # -> (parts, K, P·O)

    def work(some):
        scratch = None
        for block, columns in column_panels(images[some], g, parts, P * O):
            scratch = multiply_parts(columns, kernels, y_wide[some][block], scratch)   # (n, rows, OW, K) @ (K, O), summed

    over_ranges(work, N, y)
    return y


def weight_gradient(images, dy, g):
    """dweight from the columns of the images: (N, H, W, C) and (N, OH, OW, O) -> (KH, KW, C, O)."""
    xp = array_module(dy)
    N, C, O = len(images), images.shape[3], dy.shape[3]
    P = pixels_at_once(xp, g, C, O)
    wide = side_by_side_geometry(g, P)
    dy = dy.reshape(N, wide.OH, wide.OW, P * O)                                  # (N, OH, OW, O) -> (N, OH, OW/P, P·O)
    parts = number_of_parts(xp, wide, C, P * O)

    def work(some):
        dkernels = xp.zeros((parts, g.KH * wide.KW * C // parts, P * O), dtype=dy.dtype)    # (parts, K, P·O)
        for block, columns in column_panels(images[some], wide, parts, P * O):
            for part in range(parts):
                dkernels[part] += multiply_transposed(columns[part], dy[some][block])       # (K, pixels) @ (pixels, P·O)
        return dkernels

    dkernels = sum(over_ranges(work, N, dy)).reshape(g.KH, wide.KW, C, P * O)
    return gather_side_by_side(dkernels, g, P)                                   # (KH, KW', C, P·O) -> (KH, KW, C, O)


def backward_from_columns_of_dy(images, weight, dy, g, wants_dweight):
    """dx (N, H, W, C) and dweight (KH, KW, C, O) for stride 1, both from one set of columns: those of dy.

    Input pixel (h, w) met kernel place (kh, kw) where the output was (h - kh·DH, w - kw·DW). So with dy padded, dx is a
    correlation with the kernel turned by 180°, and dweight is the product of the same columns with the image.
    """
    xp = array_module(dy)
    (N, H, W, C), O = images.shape, dy.shape[3]
    of_dy = g._replace(**dict(zip(("top", "bottom", "left", "right"), full_padding(g), strict=True)), OH=H, OW=W)
    dx = empty(xp, (N, H, W, C), dy.dtype)
    P = pixels_at_once(xp, of_dy, O, C)
    turned = weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)                      # (O, C, KH, KW) -> (KH, KW, O, C)
    wide, turned = side_by_side(turned, of_dy, P)                                # -> (KH, KW', O, P·C)
    dx_wide, images = dx.reshape(N, H, wide.OW, P * C), images.reshape(N, H, wide.OW, P * C)
    parts = number_of_parts(xp, wide, O, P * C)
    turned = turned.reshape(parts, -1, P * C)                                    # -> (parts, K, P·C)

    def work(some):
        dturned = xp.zeros(turned.shape, dtype=dy.dtype)
        scratch = None
        for block, columns in column_panels(dy[some], wide, parts, P * C):
            scratch = multiply_parts(columns, turned, dx_wide[some][block], scratch)   # (n, rows, W, K) @ (K, C), summed
            for part in range(parts if wants_dweight else 0):
                dturned[part] += multiply_transposed(columns[part], images[some][block])   # (K, pixels) @ (pixels, C)
        return dturned

    dturned = sum(over_ranges(work, N, dx)).reshape(g.KH, wide.KW, O, P * C)
    dweight = gather_side_by_side(dturned, of_dy, P)[::-1, ::-1]                 # -> (KH, KW, O, C), turned back
    return dx, dweight.transpose(0, 1, 3, 2)                                     # (KH, KW, O, C) -> (KH, KW, C, O)


def pixels_at_once(xp, g, C, O):
    """How many neighbouring outputs of a row, P, to compute as one output of P·O channels.

    BLAS is half as fast again with 32 columns as with 16, for which it has too few sums under way at a time; and where
    the images have few channels, a wider window is copied in longer runs. The price is that each of the P outputs
    multiplies the whole width that the P windows cover, in part with zeros.
    """
    if xp is not np or g.DW > 1 or g.is_pointwise or O > 16:
        return 1
    return next((P for P in (4, 2) if g.OW % P == 0 and (P == 2 or g.KW * C < O)), 1)


def side_by_side_geometry(g, P):
    """The sizes of the convolution that makes P neighbouring outputs at once: a wider kernel that takes longer strides."""
    return g._replace(KW=g.KW + (P - 1) * g.SW, SW=P * g.SW, OW=g.OW // P)


def side_by_side(kernels, g, P):
    """That convolution's (sizes, kernels): (KH, KW, C, O) -> (KH, KW', C, P·O), copies of the kernels, each moved along."""
    wide = side_by_side_geometry(g, P)
    KH, KW, C, O = kernels.shape
    copies = array_module(kernels).zeros((KH, wide.KW, C, P, O), dtype=kernels.dtype)
    for p in range(P):
        copies[:, p * g.SW:p * g.SW + KW, :, p] = kernels
    return wide, copies.reshape(KH, wide.KW, C, P * O)


def gather_side_by_side(dkernels, g, P):
    """The gradient of kernels from that of their copies, its sum: (KH, KW', C, P·O) -> (KH, KW, C, O)."""
    copies = dkernels.reshape(*dkernels.shape[:3], P, -1)                        # -> (KH, KW', C, P, O)
    return sum(copies[:, p * g.SW:p * g.SW + g.KW, :, p] for p in range(P))


def full_padding(g):
    """(top, bottom, left, right) of dy, with which a correlation with the kernel turned by 180° gives dx."""
    return (g.DH * (g.KH - 1) - g.top, g.DH * (g.KH - 1) - g.bottom,
            g.DW * (g.KW - 1) - g.left, g.DW * (g.KW - 1) - g.right)


def number_of_parts(xp, g, C, O):
    """KH to multiply each kernel row by itself, 1 to multiply all kernel rows at once.

    With one part, a window's KH·KW·C numbers stand in a row of the panel, and each pixel is copied KH·KW times. With KH
    parts a row holds the KW·C numbers under one kernel row; each pixel is copied KW times, as the same panel serves all
    kernel rows, moved down by one; but KH products of O numbers must be added. That pays where O is the smaller, on a CPU.
    """
    cut = cuts_products(xp, g.KH * g.KW * C * O)
    return g.KH if cut and g.KH > 1 and g.SH == 1 and g.KW * C >= O else 1


def column_panels(images, g, parts, O):
    """The windows of the images as rows of matrices, a panel at a time.

    A whole batch of columns (KH·KW times the images) would leave the cache, and thin matrix products would wait for
    memory; a panel of a few images, or of a few rows of a large one, stays in L2.

    Args:
        images: (N, H, W, C), contiguous.
        parts: of `number_of_parts`.
        O: the channels of the kernels that the columns are multiplied with.

    Yields:
        (block, columns): block selects the images and the output rows, y[block] of (N, OH, OW, O); columns is a list of
        `parts` arrays (n, rows, OW, K), each with the numbers that meet one part of the kernel; valid until the next.
    """
    xp = array_module(images)
    N, H, W, C = images.shape
    size = g.KH * g.KW * C * O
    fits = panel_bytes(xp, size)
    if g.is_pointwise:
        at_once = max(1, fits // max(1, H * W * C * images.dtype.itemsize))
        for start in range(0, N, at_once):
            yield (slice(start, start + at_once), slice(None)), [images[start:start + at_once]]
        return
    halo = g.DH * (g.KH - 1) if parts > 1 else 0                                 # rows below, seen by later kernel rows
    tall = 1 if parts > 1 else g.KH                                              # kernel rows beside each other
    row_bytes = g.OW * tall * g.KW * C * images.dtype.itemsize
    at_once = min(max(1, N), max(1, fits // ((g.OH + halo) * row_bytes)))
    rows_at_once = min(g.OH, max(1, fits // (at_once * row_bytes) - halo))
    keep = kept_scratch if cuts_products(xp, size) else scratch
    padded, windows, panel = keep(get_ident(), xp, g, images.shape[1:], images.dtype, at_once, rows_at_once, tall, halo)
    for start in range(0, N, at_once):
        count = min(at_once, N - start)
        padded[:count, g.top:g.top + H, g.left:g.left + W] = images[start:start + count]
        for row in range(0, g.OH, rows_at_once):
            rows = min(rows_at_once, g.OH - row)
            panel[:count, :rows + halo] = windows[:count, row:row + rows + halo]
            columns = panel[:count].reshape(count, -1, g.OW, tall * g.KW * C)
            block = slice(start, start + count), slice(row, row + rows)
            yield block, [columns[:, part * g.DH:part * g.DH + rows] for part in range(parts)]


def scratch(thread, xp, g, image_shape, dtype, at_once, rows_at_once, tall, halo):
    """What `column_panels` works in: padded images, the view of them as windows, and the panel.

    On a CPU they are kept for the next call of this thread with the same sizes, as small nets spend much of their time on
    making them. The zeros around the images stay what they are.
    """
    H, W, C = image_shape
    padded = empty(xp, (at_once, g.top + H + g.bottom, g.left + W + g.right, C), dtype)
    padded[...] = 0
    bytes_n, bytes_h, bytes_w, bytes_c = padded.strides
    windows = strided_view(padded, (at_once, g.OH + halo, g.OW, tall, g.KW, C),
                           (bytes_n, g.SH * bytes_h, g.SW * bytes_w, g.DH * bytes_h, g.DW * bytes_w, bytes_c))
    panel = empty(xp, (at_once, rows_at_once + halo, g.OW, tall, g.KW, C), dtype)
    return padded, windows, panel


kept_scratch = functools.lru_cache(maxsize=24)(scratch)  # about a megabyte each


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
        out = empty(xp, (n, rows, OW, O), xp.result_type(columns, kernels))
    stack = product_stack(xp, n, rows * OW, K * O)
    xp.matmul(columns.reshape(*stack, K), kernels, out=out.reshape(*stack, O))   # (n, B, M, K) @ (K, O)
    return out


def multiply_transposed(columns, dy):
    """Σ over pixels of columns (n, rows, OW, K) times dy (n, rows, OW, O): (K, O), likewise as small products."""
    xp = array_module(columns)
    n, rows, OW, K = columns.shape
    O = dy.shape[3]
    stack = product_stack(xp, n, rows * OW, K * O)
    columns = columns.reshape(*stack, K).swapaxes(-1, -2)                        # (n, rows, OW, K) -> (n, B, K, M)
    dy = dy.reshape(*stack, O)                                                   # (n, rows, OW, O) -> (n, B, M, O)
    return xp.matmul(columns, dy).reshape(-1, K, O).sum(axis=0)                  # (n, B, K, O) -> (K, O)


def product_stack(xp, n, pixels, size):
    """How n·pixels rows stand in products: (n, B, M), B products of M rows for each image; (n·pixels,) where it is one."""
    if not cuts_products(xp, size):
        return (n * pixels,)
    M = rows_of_one_product(xp, pixels, size)
    return n, pixels // M, M


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
                dx[:, p::g.SH, q::g.SW] = correlate(seen, turned, of_dy)
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

