"""Correlations of images with kernels as small matrix products: what the fast form of `Conv2d` is made of.

Here images lie with their channels last, (N, H, W, C), so that the pixels under a kernel row are one run of KW·C floats.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from threading import get_ident
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minires.arrays.backend import Array, looks_finite, strided_view
from minires.arrays.blocking import cuts_products, panel_bytes, rows_of_one_product
from minires.arrays.memory import empty
from minires.arrays.threads import over_ranges
from minires.ops.kernels import by_places
from minires.ops.kernels.geometry import Geometry


def is_pointwise(g: Geometry) -> bool:
    """Is it a 1 x 1 kernel that sees each pixel once, so that the columns are the image itself?"""
    return g.KH == g.KW == g.SH == g.SW == 1 and g.top == g.bottom == g.left == g.right == 0


class Plan(NamedTuple):
    """How the correlation of images with kernels (KH, KW, C, O) is done: of which sizes, and in which pieces."""

    xp: ModuleType
    g: Geometry  # that makes P neighbouring outputs at once: see `pixels_at_once`
    P: int
    parts: int  # KH to multiply each kernel row by itself, 1 to multiply all at once: see `number_of_parts`
    panel: int  # bytes of columns that are multiplied at a time: see `panel_bytes`
    cuts_products: bool  # of a panel with a part of the kernels: see `rows_of_one_product`
    keeps_scratch: bool  # for the next call
    is_pointwise: bool  # a 1 x 1 kernel that sees each pixel once: the columns are the image itself


@functools.lru_cache(maxsize=256)
def plan_of(xp: ModuleType, g: Geometry, C: int, O: int) -> Plan:
    """The plan for images (N, H, W, C) and kernels (KH, KW, C, O), by their sizes alone."""
    P = pixels_at_once(xp, g, C, O)
    wide = side_by_side_geometry(g, P)
    size = wide.KH * wide.KW * C * P * O
    parts = number_of_parts(xp, wide, C, P * O)
    return Plan(xp, wide, P, parts, panel_bytes(xp, size), cuts_products(xp, size // parts), cuts_products(xp, size),
                is_pointwise(g))


def correlate(xp: ModuleType, images: Array, kernels: Array, g: Geometry) -> Array:
    """The correlation of images (N, H, W, C) with kernels (KH, KW, C, O): (N, OH, OW, O).

    Where P neighbouring outputs are made at once, zeros in the kernels meet the pixels that only the others of the P see,
    and zero times infinity is NaN. Where an output is not finite, all are computed anew, without zeros.
    """
    N, C, O = len(images), images.shape[3], kernels.shape[3]
    plan = plan_of(xp, g, C, O)
    y = empty(plan.xp, (N, g.OH, g.OW, O), plan.xp.result_type(images, kernels))
    narrow, kernels = kernels, side_by_side(kernels, g, plan)                    # (KH, KW, C, O) -> (KH, KW', C, P·O)
    y_wide = y.reshape(N, g.OH, plan.g.OW, plan.P * O)                           # (N, OH, OW, O) -> (N, OH, OW/P, P·O)
    kernels = kernels.reshape(plan.parts, -1, plan.P * O)                        # -> (parts, K, P·O)

    def work(some):
        scratch, finite = None, True
        for block, columns in column_panels(images[some], plan):
            made = y_wide[some][block]
            scratch = multiply(columns, kernels, made, plan, scratch)            # (n, rows, OW, K) @ (K, O), summed
            finite = finite and (plan.P == 1 or looks_finite(made))
        return finite

    if all(over_ranges(work, N, y)):
        return y
    return by_places.correlate(xp, images, narrow, g)


def weight_gradient(xp: ModuleType, images: Array, dy: Array, g: Geometry) -> Array:
    """dweight from the columns of the images: (N, H, W, C) and (N, OH, OW, O) -> (KH, KW, C, O)."""
    N, C, O = len(images), images.shape[3], dy.shape[3]
    plan = plan_of(xp, g, C, O)
    dy = dy.reshape(N, g.OH, plan.g.OW, plan.P * O)                              # (N, OH, OW, O) -> (N, OH, OW/P, P·O)
    shape = plan.parts, g.KH * plan.g.KW * C // plan.parts, plan.P * O           # (parts, K, P·O)

    def work(some):
        dkernels = plan.xp.zeros(shape, dtype=dy.dtype)
        for block, columns in column_panels(images[some], plan):
            add_transposed(dkernels, columns, dy[some][block], plan)             # (K, pixels) @ (pixels, P·O)
        return dkernels

    total: Any = sum(over_ranges(work, N, dy))                                   # (parts, K, P·O)
    dkernels = total.reshape(g.KH, plan.g.KW, C, plan.P * O)
    return gather_side_by_side(dkernels, g, plan.P)                              # (KH, KW', C, P·O) -> (KH, KW, C, O)


def backward_from_columns_of_dy(xp: ModuleType, images: Array, weight: Array, dy: Array, g: Geometry,
                                wants_dweight: bool) -> tuple[Array, Array]:
    """dx (N, H, W, C) and dweight (KH, KW, C, O) for stride 1, both from one set of columns: those of dy.

    Input pixel (h, w) met kernel place (kh, kw) where the output was (h - kh·DH, w - kw·DW). So with dy padded, dx is a
    correlation with the kernel turned by 180°, and dweight is the product of the same columns with the image.

    The zeros around dy meet weights and pixels that no output met, and dy does not meet the zeros around the image. That
    matters where a weight, a pixel or a dy is not finite; then the places of the kernel are gone through one by one. A few
    sums tell it: one pixel of dx met all weights, and see `all_met_were_finite`.
    """
    (N, H, W, C), O = images.shape, dy.shape[3]
    top, bottom, left, right = full_padding(g)
    of_dy = g._replace(top=top, bottom=bottom, left=left, right=right, OH=H, OW=W)
    plan = plan_of(xp, of_dy, O, C)
    dx = empty(plan.xp, (N, H, W, C), dy.dtype)
    turned = weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)                      # (O, C, KH, KW) -> (KH, KW, O, C)
    turned = side_by_side(turned, of_dy, plan)                                   # -> (KH, KW', O, P·C)
    shape = N, H, plan.g.OW, plan.P * C
    dx_wide, images = dx.reshape(shape), images.reshape(shape)
    turned = turned.reshape(plan.parts, -1, plan.P * C)                          # -> (parts, K, P·C)

    def work(some):
        dturned = plan.xp.zeros(turned.shape, dtype=dy.dtype)
        scratch = None
        for block, columns in column_panels(dy[some], plan):
            scratch = multiply(columns, turned, dx_wide[some][block], plan, scratch)   # (n, rows, W, K) @ (K, C), summed
            if wants_dweight:
                add_transposed(dturned, columns, images[some][block], plan)      # (K, pixels) @ (pixels, C)
        return dturned

    total: Any = sum(over_ranges(work, N, dx))                                   # (parts, K, P·C)
    if not (looks_finite(dx[:1, 0, 0]) and (all_met_were_finite(total) if wants_dweight else looks_finite(dy))):
        return by_places.gradients(xp, images.reshape(N, H, W, C), weight.transpose(2, 3, 1, 0), dy, g)
    dturned = total.reshape(g.KH, plan.g.KW, O, plan.P * C)
    dweight = gather_side_by_side(dturned, of_dy, plan.P)[::-1, ::-1]            # -> (KH, KW, O, C), turned back
    return dx, dweight.transpose(0, 1, 3, 2)                                     # (KH, KW, O, C) -> (KH, KW, C, O)


def all_met_were_finite(dkernels: Array) -> bool:
    """Were all numbers finite whose products are summed in dkernels (parts, K, O)? A column met all of the one factor, and
    a row all of the other. On a GPU, where the answer would have to be waited for, True.
    """
    column, row = dkernels.reshape(-1, dkernels.shape[2])[:, 0], dkernels[0, 0]
    return type(row) is not np.ndarray or math.isfinite(column.dot(column) + row.dot(row))


def pixels_at_once(xp: ModuleType, g: Geometry, C: int, O: int) -> int:
    """How many neighbouring outputs of a row, P, to compute as one output of P·O channels.

    BLAS is half as fast again with 32 columns as with 16, for which it has too few sums under way at a time; and where
    the images have few channels, a wider window is copied in longer runs. The price is that each of the P outputs
    multiplies the whole width that the P windows cover, in part with zeros.
    """
    if xp is not np or g.DW > 1 or is_pointwise(g) or O > 16:
        return 1
    if g.OW % 4 == 0 and g.KW * C < O:
        return 4
    return 2 if g.OW % 2 == 0 else 1


def side_by_side_geometry(g: Geometry, P: int) -> Geometry:
    """The sizes of the convolution that makes P neighbouring outputs at once: a wider kernel that takes longer strides."""
    return g._replace(KW=g.KW + (P - 1) * g.SW, SW=P * g.SW, OW=g.OW // P)


def side_by_side(kernels: Array, g: Geometry, plan: Plan) -> Array:
    """The kernels of that convolution: (KH, KW, C, O) -> (KH, KW', C, P·O), copies of the kernels, each moved along."""
    KH, KW, C, O = kernels.shape
    if plan.P == 1:
        return plan.xp.ascontiguousarray(kernels)
    copies = plan.xp.zeros((KH, plan.g.KW, C, plan.P, O), dtype=kernels.dtype)
    for p in range(plan.P):
        copies[:, p * g.SW:p * g.SW + KW, :, p] = kernels
    return copies.reshape(KH, plan.g.KW, C, plan.P * O)


def gather_side_by_side(dkernels: Array, g: Geometry, P: int) -> Array:
    """The gradient of kernels from that of their copies, its sum: (KH, KW', C, P·O) -> (KH, KW, C, O)."""
    copies = dkernels.reshape(*dkernels.shape[:3], P, -1)                        # -> (KH, KW', C, P, O)
    total = copies[:, :g.KW, :, 0]
    for p in range(1, P):
        total = total + copies[:, p * g.SW:p * g.SW + g.KW, :, p]
    return total


def full_padding(g: Geometry) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of dy, with which a correlation with the kernel turned by 180° gives dx."""
    return (g.DH * (g.KH - 1) - g.top, g.DH * (g.KH - 1) - g.bottom,
            g.DW * (g.KW - 1) - g.left, g.DW * (g.KW - 1) - g.right)


def number_of_parts(xp: ModuleType, g: Geometry, C: int, O: int) -> int:
    """KH to multiply each kernel row by itself, 1 to multiply all kernel rows at once.

    With one part, a window's KH·KW·C numbers stand in a row of the panel, and each pixel is copied KH·KW times. With KH
    parts a row holds the KW·C numbers under one kernel row; each pixel is copied KW times, as the same panel serves all
    kernel rows, moved down by one; but KH products of O numbers must be added. That pays where O is the smaller, on a CPU.
    """
    cut = cuts_products(xp, g.KH * g.KW * C * O)
    return g.KH if cut and g.KH > 1 and g.SH == 1 and g.KW * C >= O else 1


def column_panels(images: Array, plan: Plan) -> Iterator[tuple[tuple[slice, slice], list[Array]]]:
    """The windows of the images as rows of matrices, a panel at a time.

    A whole batch of columns (KH·KW times the images) would leave the cache, and thin matrix products would wait for
    memory; a panel of a few images, or of a few rows of a large one, stays in L2.

    Args:
        images: (N, H, W, C), contiguous.
        plan: of the correlation.

    Yields:
        (block, columns): block selects the images and the output rows, y[block] of (N, OH, OW, O); columns is a list of
        `parts` arrays (n, rows, OW, K), each with the numbers that meet one part of the kernel; valid until the next.
    """
    xp, g, _, parts, fits, _, keeps_scratch, pointwise = plan
    N, H, W, C = images.shape
    if pointwise:
        at_once = max(1, fits // max(1, H * W * C * images.dtype.itemsize))
        for start in range(0, N, at_once):
            yield (slice(start, start + at_once), slice(None)), [images[start:start + at_once]]
        return
    halo = g.DH * (g.KH - 1) if parts > 1 else 0                                 # rows below, seen by later kernel rows
    tall = 1 if parts > 1 else g.KH                                              # kernel rows beside each other
    row_bytes = g.OW * tall * g.KW * C * images.dtype.itemsize
    at_once = min(max(1, N), max(1, fits // ((g.OH + halo) * row_bytes)))
    rows_at_once = min(g.OH, max(1, fits // (at_once * row_bytes) - halo))
    keep = kept_scratch if keeps_scratch else scratch
    padded, windows, panel = keep(get_ident(), xp, g, images.shape[1:], images.dtype, at_once, rows_at_once, tall, halo)
    for start in range(0, N, at_once):
        count = min(at_once, N - start)
        padded[:count, g.top:g.top + H, g.left:g.left + W] = images[start:start + count]
        for row in range(0, g.OH, rows_at_once):
            rows = min(rows_at_once, g.OH - row)
            panel[:count, :rows + halo] = windows[:count, row:row + rows + halo]
            window_rows = panel[:count].reshape(count, -1, g.OW, tall * g.KW * C)
            columns = []
            for part in range(parts):
                columns.append(window_rows[:, part * g.DH:part * g.DH + rows])
            yield (slice(start, start + count), slice(row, row + rows)), columns


def scratch(thread: int, xp: ModuleType, g: Geometry, image_shape: tuple[int, ...], dtype: DTypeLike, at_once: int,
            rows_at_once: int, tall: int, halo: int) -> tuple[Array, Array, Array]:
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


kept_scratch: Callable[..., tuple[Array, Array, Array]] = functools.lru_cache(maxsize=24)(scratch)  # about a megabyte each


def multiply(columns: list[Array], kernels: Array, out: Array, plan: Plan, scratch: Array | None = None) -> Array | None:
    """out = Σ columns[part] @ kernels[part], (n, rows, OW, K) @ (K, O) -> (n, rows, OW, O).

    In products that are small enough for BLAS's fast path. Returns its scratch array, for the next call to use again.
    """
    xp = plan.xp
    n, rows, OW, K = columns[0].shape
    O = kernels.shape[2]
    M = rows_of_one_product(xp, rows * OW, K * O)
    stack = (n, rows * OW // M, M) if plan.cuts_products else (n * rows * OW,)   # B products of M rows for each image
    xp.matmul(columns[0].reshape(*stack, K), kernels[0], out=out.reshape(*stack, O))     # (n, B, M, K) @ (K, O)
    for part in range(1, len(columns)):
        if scratch is None or scratch.shape[:2] != (n, rows):
            scratch = empty(xp, (n, rows, OW, O), xp.result_type(columns[0], kernels))
        xp.matmul(columns[part].reshape(*stack, K), kernels[part], out=scratch.reshape(*stack, O))
        out += scratch
    return scratch


def add_transposed(dkernels: Array, columns: list[Array], dy: Array, plan: Plan) -> None:
    """dkernels[part] += Σ over pixels of columns[part] (n, rows, OW, K) times dy (n, rows, OW, O), likewise in products."""
    n, rows, OW, K = columns[0].shape
    O = dy.shape[3]
    M = rows_of_one_product(plan.xp, rows * OW, K * O)
    stack = (n, rows * OW // M, M) if plan.cuts_products else (n * rows * OW,)
    dy = dy.reshape(*stack, O)                                                   # (n, rows, OW, O) -> (n, B, M, O)
    for part, windows in enumerate(columns):
        turned = windows.reshape(*stack, K).swapaxes(-1, -2)                     # (n, rows, OW, K) -> (n, B, K, M)
        products = plan.xp.matmul(turned, dy)                                    # (n, B, K, M) @ (n, B, M, O)
        dkernels[part] += products.reshape(-1, K, O).sum(axis=0)                 # (n, B, K, O) -> (K, O)


def input_gradient(xp: ModuleType, shape: tuple[int, ...], weight: Array, dy: Array, g: Geometry) -> Array:
    """dx for any stride: (N, OH, OW, O) -> (N, H, W, C).

    Pixels of x that lie SH rows and SW columns apart met the same places of the kernel. So x falls into SH·SW grids, and on
    each of them dx is a correlation of dy, at stride 1, with those places of the kernel, turned by 180°.
    """
    N, H, W, C = shape
    if not looks_finite(weight):                                                 # zeros beside dy would meet it
        return by_places.gradients(xp, xp.zeros(shape, dtype=dy.dtype), weight.transpose(2, 3, 1, 0), dy, g)[0]
    dx = xp.zeros((N, H, W, C), dtype=dy.dtype)
    for p in range(min(g.SH, H)):
        rows = Grid.of_pixels(p, H, g.SH, g.DH, g.KH, g.top, g.OH)
        for q in range(min(g.SW, W)):
            columns = Grid.of_pixels(q, W, g.SW, g.DW, g.KW, g.left, g.OW)
            if rows is not None and columns is not None:                         # None: no window saw these pixels
                turned = weight[:, :, rows.places][:, :, :, columns.places].transpose(2, 3, 0, 1)    # (kh, kw, O, C)
                kh, kw = turned.shape[:2]
                of_dy = Geometry(kh, kw, 1, 1, rows.dilation, columns.dilation, rows.before, rows.after,
                                 columns.before, columns.after, rows.pixels, columns.pixels)
                seen = dy[:, rows.outputs, columns.outputs]                      # (N, oh, ow, O)
                dx[:, p::g.SH, q::g.SW] = correlate(xp, seen, turned, of_dy)
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
    pixels: int  # how many

    @classmethod
    def of_pixels(cls, first: int, length: int, stride: int, dilation: int, K: int, padding: int,
                  outputs: int) -> Grid | None:
        """The grid, or None where no output saw one of its pixels."""
        places = [k for k in reversed(range(K)) if (first + padding - k * dilation) % stride == 0]
        pixels = -(-(length - first) // stride)                                   # rounded up
        if not places:
            return None
        step = places[0] - places[1] if len(places) > 1 else 1
        low, high = [(first + padding - k * dilation) // stride for k in (places[0], places[-1])]
        start, stop = max(0, low), min(outputs, high + pixels)
        if stop <= start:
            return None
        last = places[-1] - step
        return cls(slice(places[0], last if last >= 0 else None, -step), max(1, step * dilation // stride),
                   slice(start, stop), start - low, high + pixels - stop, pixels)
