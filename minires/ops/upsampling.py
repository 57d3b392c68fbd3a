"""Upsampling: images made larger by a whole number, by repeating pixels or by straight lines between them."""
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
    """y between the four pixels around it, in proportion to the distance from each: first along rows, then along columns."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        SH, SW = self.scale_factor
        wide = stretched(x, SW)                                              # (N, C, H, W) -> (N, C, H, OW)
        return stretched(wide.swapaxes(2, 3), SH).swapaxes(2, 3)             # -> (N, C, OW, OH) -> (N, C, OH, OW)

    def backward(self, dy: Array) -> Array:
        """dx = Σ dy · (the share that x has in y)."""
        SH, SW = self.scale_factor
        dwide = gathered(dy.swapaxes(2, 3), SH).swapaxes(2, 3)               # (N, C, OH, OW) -> (N, C, H, OW)
        dx = gathered(dwide, SW)                                             # -> (N, C, H, W)
        return dx


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


def stretched(x: Array, S: int) -> Array:
    """S values for each one along the last axis, on straight lines between them: (..., W) -> (..., W·S)."""
    xp = array_module(x)
    W = x.shape[-1]
    edged = xp.concatenate([x[..., :1], x, x[..., -1:]], axis=-1)            # (..., W) -> (..., W + 2)
    y = xp.empty((*x.shape, S), dtype=x.dtype)                               # (..., W, S)
    for r, (first, share) in enumerate(shares(S)):
        left, right = edged[..., first:first + W], edged[..., first + 1:first + 1 + W]
        y[..., r] = (1 - share) * left + share * right if share > 0 else left
    return y.reshape(*x.shape[:-1], W * S)


def gathered(dy: Array, S: int) -> Array:
    """The gradient of what was stretched: (..., W·S) -> (..., W), added up in float64."""
    xp = array_module(dy)
    W = dy.shape[-1] // S
    each = dy.reshape(*dy.shape[:-1], W, S)                                  # (..., W·S) -> (..., W, S)
    dedged = xp.zeros((*dy.shape[:-1], W + 2))                               # (..., W + 2)
    for r, (first, share) in enumerate(shares(S)):
        dedged[..., first:first + W] += (1 - share) * each[..., r]
        if share > 0:
            dedged[..., first + 1:first + 1 + W] += share * each[..., r]
    dx = dedged[..., 1:-1]                                                   # (..., W + 2) -> (..., W)
    dx[..., 0] += dedged[..., 0]                                             # the border repeats the last pixel
    dx[..., -1] += dedged[..., -1]
    return dx.astype(dy.dtype)
