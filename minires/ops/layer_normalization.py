"""Normalisation within each example: layer norm, group norm and RMS norm. No example sees another, nor the past."""
import math
from collections.abc import Sequence

from minires.arguments import number, shape_of, whole_number
from minires.arrays.backend import Array, array_module
from minires.arrays.sums import mean_over, sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ShapeError


def layer_norm(x: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise the last axes together, then scale and shift: y = weight · (x - mean) / sqrt(var + eps) + bias.

    Ba, Kiros and Hinton 2016, arXiv:1607.06450, equations 3 and 4; var divides by the count.

    Args:
        x: (..., *normalized_shape).
        normalized_shape: the lengths of the last axes; an integer for one.
        weight, bias: of normalized_shape, or None.

    Returns:
        A tensor of x's shape and precision.

    Raises:
        ShapeError: x does not end in `normalized_shape`, or the weight or the bias has another shape.
        ArgumentError: `normalized_shape` holds no positive integers, or `eps` is negative.
        DTypeError: an argument is no tensor.
    """
    return LayerNorm(normalized_shape, eps)(x, weight, bias)


def group_norm(x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise each group of channels of each example, then scale and shift each channel, as `layer_norm`.

    Wu and He 2018, arXiv:1803.08494, equation 7. With one group it is a layer norm over (C, H, W), with C groups an
    instance norm.

    Args:
        x: (N, C, ...).
        num_groups: how many groups the channels are split into, G.
        weight, bias: (C,), or None.

    Returns:
        A tensor of x's shape and precision.

    Raises:
        ShapeError: x has no channels, G does not divide C, or the weight or the bias is not (C,).
        ArgumentError: `num_groups` is not a positive integer, or `eps` is negative.
        DTypeError: an argument is no tensor.
    """
    return GroupNorm(num_groups, eps)(x, weight, bias)


def rms_norm(x: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:
    """Divide by the root mean square of the last axes, then scale: y = weight · x / sqrt(mean(x²) + eps).

    Zhang and Sennrich 2019, arXiv:1910.07467, equation 4.

    Args:
        x: (..., *normalized_shape).
        normalized_shape: the lengths of the last axes; an integer for one.
        weight: of normalized_shape, or None.
        eps: None: the spacing of numbers at 1 in x's precision, as PyTorch: 1.2e-7 in float32.

    Returns:
        A tensor of x's shape and precision.

    Raises:
        ShapeError: x does not end in `normalized_shape`, or the weight has another shape.
        ArgumentError: `normalized_shape` holds no positive integers, or `eps` is negative.
        DTypeError: an argument is no tensor.
    """
    return RMSNorm(normalized_shape, eps)(x, weight)


class LayerNorm(Op):
    """y = weight · x_hat + bias, with x_hat = (x - mean) / sqrt(var + eps) over the last axes."""

    def __init__(self, normalized_shape: int | Sequence[int], eps: float):
        self.normalized_shape: tuple[int, ...] = shape_of("LayerNorm", "normalized_shape", normalized_shape, "(64,)")
        self.eps: float = number("LayerNorm", "eps", eps)

    def forward(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        axes = last_axes(self, x, {"weight": weight, "bias": bias})
        mean, inv_std = statistics(x, axes, self.eps)        # (..., *normalized_shape) -> (..., 1)
        self.saved = x, weight, mean, inv_std
        y = (x - mean) * inv_std
        if weight is not None:
            y *= weight                                      # (..., *normalized_shape) * normalized_shape
        if bias is not None:
            y += bias
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = (dx_hat - mean(dx_hat) - x_hat · mean(dx_hat · x_hat)) · inv_std
        dweight = Σ dy · x_hat
        dbias = Σ dy

        With dx_hat = dy · weight; means run over the last axes, sums over all others.
        """
        x, weight, mean, inv_std = self.saved
        others = tuple(range(x.ndim - len(self.normalized_shape)))
        axes = tuple(range(len(others), x.ndim))
        x_hat = (x - mean) * inv_std
        dbias = sum_over(dy, others) if self.needs_grad[2] else None             # -> normalized_shape
        dweight = sum_over(dy * x_hat, others) if self.needs_grad[1] else None   # -> normalized_shape
        dx_hat = dy if weight is None else (dy * weight).astype(dy.dtype, copy=False)
        through_mean = mean_over(dx_hat, axes, keepdims=True)                    # x moves the mean ...
        through_var = x_hat * mean_over(dx_hat * x_hat, axes, keepdims=True)     # ... and the variance
        dx = (dx_hat - through_mean - through_var) * inv_std
        return dx, dweight, dbias


class GroupNorm(Op):
    """y = weight · x_hat + bias per channel, with x_hat = (x - mean) / sqrt(var + eps) over each group of channels."""

    def __init__(self, num_groups: int, eps: float):
        self.num_groups: int = whole_number("GroupNorm", "num_groups", num_groups)
        self.eps: float = number("GroupNorm", "eps", eps)

    def forward(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        self.check(x, weight, bias)
        (N, C), G = x.shape[:2], self.num_groups
        groups = x.reshape(N, G, math.prod(x.shape[1:]) // G)    # (N, C, H, W) -> (N, G, C / G · H · W)
        mean, inv_std = statistics(groups, (2,), self.eps)       # -> (N, G, 1)
        self.saved = x, weight, mean, inv_std
        y = ((groups - mean) * inv_std).reshape(x.shape)         # (N, G, C / G · H · W) -> (N, C, H, W)
        if weight is not None:
            y *= weight.reshape(C, *[1] * (x.ndim - 2))          # (N, C, H, W) * (C, 1, 1)
        if bias is not None:
            y += bias.reshape(C, *[1] * (x.ndim - 2))
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = (dx_hat - mean(dx_hat) - x_hat · mean(dx_hat · x_hat)) · inv_std
        dweight = Σ dy · x_hat
        dbias = Σ dy

        With dx_hat = dy · weight; means run over a group of an example, sums over all values of a channel.
        """
        x, weight, mean, inv_std = self.saved
        others = (0, *range(2, x.ndim))                                          # all axes but that of the channels
        in_groups = (*mean.shape[:2], math.prod(x.shape[1:]) // self.num_groups)     # (N, G, C / G · H · W)
        x_hat = (x.reshape(in_groups) - mean) * inv_std
        dbias = sum_over(dy, others) if self.needs_grad[2] else None             # (N, C, H, W) -> (C,)
        dweight = sum_over(dy * x_hat.reshape(x.shape), others) if self.needs_grad[1] else None
        dx_hat = dy
        if weight is not None:
            dx_hat = (dy * weight.reshape(-1, *[1] * (x.ndim - 2))).astype(dy.dtype, copy=False)     # (C, 1, 1)
        dx_hat = dx_hat.reshape(in_groups)
        through_mean = mean_over(dx_hat, 2, keepdims=True)                       # x moves the mean ...
        through_var = x_hat * mean_over(dx_hat * x_hat, 2, keepdims=True)        # ... and the variance
        dx = (dx_hat - through_mean - through_var) * inv_std
        return dx.reshape(x.shape), dweight, dbias                               # -> (N, C, H, W)

    def check(self, x: Array, weight: Array | None, bias: Array | None) -> None:
        """Raise an error that says what does not fit."""
        if x.ndim < 2 or 0 in x.shape[1:]:
            raise ShapeError(f"{self.title}: expected x (N, C, ...) with at least one value, got shape {x.shape}")
        C = x.shape[1]
        if C % self.num_groups:
            raise ShapeError(f"{self.title}: x {x.shape} has {C} channels, which cannot be split into {self.num_groups} "
                             "groups: num_groups must divide them")
        for name, values in (("weight", weight), ("bias", bias)):
            if values is not None and values.shape != (C,):
                raise ShapeError(f"{self.title}: x {x.shape} has {C} channels, but {name} has shape {values.shape}, "
                                 f"expected ({C},)")


class RMSNorm(Op):
    """y = weight · x_hat, with x_hat = x / sqrt(mean(x²) + eps) over the last axes."""

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None):
        self.normalized_shape: tuple[int, ...] = shape_of("RMSNorm", "normalized_shape", normalized_shape, "(64,)")
        self.eps: float | None = None if eps is None else number("RMSNorm", "eps", eps)

    def forward(self, x: Array, weight: Array | None) -> Array:
        xp = array_module(x)
        axes = last_axes(self, x, {"weight": weight})
        eps = float(xp.finfo(x.dtype).eps) if self.eps is None else self.eps
        inv_rms = 1 / xp.sqrt(mean_over(x * x, axes, keepdims=True) + eps)       # (..., *normalized_shape) -> (..., 1)
        self.saved = x, weight, inv_rms
        y = x * inv_rms
        if weight is not None:
            y *= weight                                                      # (..., *normalized_shape) * normalized_shape
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = (dx_hat - x_hat · mean(dx_hat · x_hat)) · inv_rms
        dweight = Σ dy · x_hat

        With dx_hat = dy · weight; the mean runs over the last axes, the sum over all others.
        """
        x, weight, inv_rms = self.saved
        others = tuple(range(x.ndim - len(self.normalized_shape)))
        axes = tuple(range(len(others), x.ndim))
        x_hat = x * inv_rms
        dweight = sum_over(dy * x_hat, others) if self.needs_grad[1] else None   # -> normalized_shape
        dx_hat = dy if weight is None else (dy * weight).astype(dy.dtype, copy=False)
        through_rms = x_hat * mean_over(dx_hat * x_hat, axes, keepdims=True)
        dx = (dx_hat - through_rms) * inv_rms
        return dx, dweight


# ---- what they share


def statistics(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """(mean, 1 / sqrt(var + eps)) over these axes, which stay with length 1; added up in float64, in x's precision."""
    xp = array_module(x)
    mean = mean_over(x, axes, keepdims=True)
    centred = x - mean
    var = mean_over(centred * centred, axes, keepdims=True)
    return mean, 1 / xp.sqrt(var + eps)


def last_axes(op: LayerNorm | RMSNorm, x: Array, parameters: dict[str, Array | None]) -> tuple[int, ...]:
    """The axes of `normalized_shape` in x, or an error that says what does not fit."""
    shape = op.normalized_shape
    if x.shape[-len(shape):] != shape:
        raise ShapeError(f"{op.title}: expected x (..., {', '.join(map(str, shape))}), which ends in normalized_shape, got "
                         f"shape {x.shape}")
    for name, values in parameters.items():
        if values is not None and values.shape != shape:
            raise ShapeError(f"{op.title}: {name} has shape {values.shape}, expected normalized_shape {shape}")
    return tuple(range(x.ndim - len(shape), x.ndim))
