"""Upsampling: images made larger by a whole number, by repeating pixels or by straight lines between them."""
import numpy as np

from minires.arguments import IntOrPair, known_name, pair
from minires.arrays.backend import Array, array_module
from minires.arrays.sums import sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ShapeError

MODES = {"nearest": "each pixel is repeated", "bilinear": "straight lines between the centres of pixels"}


def upsample(x: Tensor, scale_factor: IntOrPair, mode: str = "nearest") -> Tensor:
    """Images that are larger by a whole number.

    Args:
        x: (N, C, H, W).
        scale_factor: S, a positive integer, or a pair (vertical, horizontal).
        mode: "nearest": each pixel becomes S × S of its value. "bilinear": a pixel's value stands at its centre, and lies on
            straight lines in between, as PyTorch's with align_corners=False; at the border it stays that of the last pixel.

    Returns:
        (N, C, S·H, S·W).

    Raises:
        ShapeError: x is not (N, C, H, W), or has no pixel.
        ArgumentError: the factor is not a positive integer.
        UnknownNameError: no such mode.
        DTypeError: x is no tensor.
    """
    if known_name("upsample", "mode", mode, MODES) == "nearest":
        return UpsampleNearest(scale_factor)(x)
    return UpsampleBilinear(scale_factor)(x)


class Upsampling(Op):
    """What both share: the factors, and which images they take."""

    def __init__(self, scale_factor: IntOrPair):
        self.scale_factor: tuple[int, int] = pair(type(self).__name__, "scale_factor", scale_factor)

    def check(self, x: Array) -> None:
        """Raise an error that says what does not fit."""
        if x.ndim != 4 or 0 in x.shape[2:]:
            raise ShapeError(f"{self.title}: expected x (N, C, H, W) with at least one pixel, got shape {x.shape}")


class UpsampleNearest(Upsampling):
    """y[n, c, i, j] = x[n, c, i // SH, j // SW]."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        self.check(x)
        self.saved = x.shape
        (N, C, H, W), (SH, SW) = x.shape, self.scale_factor
        repeated = xp.broadcast_to(x[:, :, :, None, :, None], (N, C, H, SH, W, SW))
        return repeated.reshape(N, C, H * SH, W * SW)            # (N, C, H, SH, W, SW) -> (N, C, OH, OW)

    def backward(self, dy: Array) -> Array:
        """dx = Σ dy over the SH × SW pixels that x became."""
        (N, C, H, W), (SH, SW) = self.saved, self.scale_factor
        each = dy.reshape(N, C, H, SH, W, SW)                    # (N, C, OH, OW) -> (N, C, H, SH, W, SW)
        dx = sum_over(each, (3, 5))                              # -> (N, C, H, W)
        return dx


class UpsampleBilinear(Upsampling):
    """y = the pixels on both sides, each with its share: (1 - share) left + share right, along rows and along columns."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        self.check(x)
        self.saved = [(axis, S, shares(S)) for axis, S in ((2, self.scale_factor[0]), (3, self.scale_factor[1]))]
        y = x
        for axis, S, of_each in self.saved:                                      # along columns, then along rows
            row = y.swapaxes(axis, 3)                                            # this axis last: (..., W)
            edged = xp.concatenate([row[..., :1], row, row[..., -1:]], axis=3)   # -> (..., W + 2)
            W = row.shape[3]
            longer = xp.empty((*row.shape, S), dtype=x.dtype)                    # (..., W, S)
            for r, (first, share) in enumerate(of_each):
                left, right = edged[..., first:first + W], edged[..., first + 1:first + 1 + W]
                longer[..., r] = (1 - share) * left + share * right if share > 0 else left
            y = longer.reshape(*row.shape[:3], W * S).swapaxes(axis, 3)          # (..., W, S) -> (..., W·S)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = Σ dy · (the share that x has in y), added up in float64."""
        xp = array_module(dy)
        dx = dy.astype(np.float64)
        for axis, S, of_each in self.saved:
            row = dx.swapaxes(axis, 3)                                           # this axis last: (..., W·S)
            W = row.shape[3] // S
            each = row.reshape(*row.shape[:3], W, S)                             # (..., W·S) -> (..., W, S)
            dedged = xp.zeros((*row.shape[:3], W + 2))                           # (..., W + 2)
            for r, (first, share) in enumerate(of_each):
                dedged[..., first:first + W] += (1 - share) * each[..., r]
                if share > 0:
                    dedged[..., first + 1:first + 1 + W] += share * each[..., r]
            dedged[..., 1] += dedged[..., 0]                                     # the edge repeats the first pixel ...
            dedged[..., -2] += dedged[..., -1]                                   # ... and the last
            dx = dedged[..., 1:-1].swapaxes(axis, 3)                             # (..., W + 2) -> (..., W)
        return dx.astype(dy.dtype)


def shares(S: int) -> list[tuple[int, float]]:
    """For each of the S values that one pixel becomes: (the first of its two neighbours, the share of the second).

    The centre of value r lies (r + 1/2) / S from the pixel's left edge, and so (r + 1/2) / S + 1/2 from the centre of the
    pixel before: neighbours 0 and 1 are that pixel and this one, 1 and 2 this one and the next.
    """
    found = []
    for r in range(S):
        place = (r + 0.5) / S + 0.5
        first = int(place)
        found.append((first, place - first))
    return found
