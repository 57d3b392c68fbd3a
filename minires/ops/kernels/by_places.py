"""Correlations one place of the kernel at a time: no number meets another that it does not meet in the definition.

Half as fast as the products of `correlation`, which take this way where NaN or infinities are about.
"""
from collections.abc import Iterator
from types import ModuleType

from minires.arrays.backend import Array
from minires.ops.kernels.geometry import Geometry


def correlate(xp: ModuleType, images: Array, kernels: Array, g: Geometry) -> Array:
    """The correlation of images (N, H, W, C) with kernels (KH, KW, C, O): (N, OH, OW, O)."""
    padded = with_padding(xp, images, g)
    y = xp.zeros((len(images), g.OH, g.OW, kernels.shape[3]), dtype=xp.result_type(images, kernels))
    for place, seen in places(g):
        y += padded[seen] @ kernels[place]                                       # (N, OH, OW, C) @ (C, O)
    return y


def gradients(xp: ModuleType, images: Array, kernels: Array, dy: Array, g: Geometry) -> tuple[Array, Array]:
    """dx (N, H, W, C) and dkernels (KH, KW, C, O) of such a correlation, for dy (N, OH, OW, O)."""
    N, H, W, C = images.shape
    padded = with_padding(xp, images, g)
    dx_padded = xp.zeros(padded.shape, dtype=dy.dtype)
    dkernels = xp.zeros(kernels.shape, dtype=dy.dtype)
    for place, seen in places(g):
        dx_padded[seen] += dy @ kernels[place].T                                 # (N, OH, OW, O) @ (O, C)
        dkernels[place] = padded[seen].reshape(-1, C).T @ dy.reshape(-1, dy.shape[3])    # (C, pixels) @ (pixels, O)
    return dx_padded[:, g.top:g.top + H, g.left:g.left + W], dkernels


def with_padding(xp: ModuleType, images: Array, g: Geometry) -> Array:
    """The images (N, H, W, C) with zeros around them."""
    return xp.pad(images, ((0, 0), (g.top, g.bottom), (g.left, g.right), (0, 0)))


def places(g: Geometry) -> Iterator[tuple[tuple[int, int], tuple[slice, slice, slice]]]:
    """For each place (kh, kw) of the kernel: the place, and the index of the padded pixels that it met."""
    for kh in range(g.KH):
        for kw in range(g.KW):
            rows = slice(kh * g.DH, kh * g.DH + g.SH * (g.OH - 1) + 1, g.SH)
            columns = slice(kw * g.DW, kw * g.DW + g.SW * (g.OW - 1) + 1, g.SW)
            yield (kh, kw), (slice(None), rows, columns)
