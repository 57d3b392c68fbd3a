"""The normalisation layers: over the batch, and within each example."""
from collections.abc import Sequence

import numpy as np

from minires import ops
from minires.arguments import flag, number, shape_of, whole_number
from minires.arrays.backend import MaybeNone
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError
from minires.nn.module import Module


class BatchNorm2d(Module):
    """Normalises each channel of x (N, C, H, W) over the batch, then scales and shifts it; see `ops.batch_norm`.

    Weight starts at 1 and bias at 0 (Ioffe & Szegedy 2015, algorithm 1: γ and β). While training, the statistics are
    those of the batch; in evaluation, the running averages.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the share of the batch's statistics in the new running statistics.

    Raises:
        ArgumentError: `num_features` is not a positive integer, `eps` is negative, or `momentum` is not from 0 to 1.

    Attributes:
        running_mean, running_var: buffers (C,), arrays.
        freeze_statistics: in backward, treat the batch's statistics as constants. False; a lesson on shattered
            gradients sets it.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.num_features: int = whole_number("BatchNorm2d", "num_features", num_features)
        self.eps: float = number("BatchNorm2d", "eps", eps)
        self.momentum: float = number("BatchNorm2d", "momentum", momentum, largest=1)
        self.freeze_statistics: bool = False
        self.weight: Tensor = Tensor(np.ones(num_features, np.float32), requires_grad=True)
        self.bias: Tensor = Tensor(np.zeros(num_features, np.float32), requires_grad=True)
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return ops.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.training,
                              self.momentum, self.eps, self.freeze_statistics)

    def extra_repr(self) -> str:
        """The number of channels and the two constants."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class LayerNorm(Module):
    """Normalises the last axes of x (..., *normalized_shape), then scales and shifts them; see `ops.layer_norm`.

    Weight starts at 1 and bias at 0. Training and evaluation are the same.

    Args:
        normalized_shape: the lengths of the last axes; an integer for one.
        eps: added to the variance.
        elementwise_affine: are there a weight and a bias, of `normalized_shape`?
        bias: is there a bias, where there is a weight?

    Raises:
        ArgumentError: `normalized_shape` holds no positive integers, `eps` is negative, or a flag is neither True nor False.
    """

    is_drawn_as_weight = False

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True):
        super().__init__()
        self.normalized_shape: tuple[int, ...] = shape_of("LayerNorm", "normalized_shape", normalized_shape, "(64,)")
        self.eps: float = number("LayerNorm", "eps", eps)
        has_weight = flag("LayerNorm", "elementwise_affine", elementwise_affine)
        has_bias = flag("LayerNorm", "bias", bias) and has_weight
        self.weight: Tensor | MaybeNone = _ones(self.normalized_shape) if has_weight else None
        self.bias: Tensor | MaybeNone = _zeros(self.normalized_shape) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., *normalized_shape) -> the same."""
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The shape, the constant, and what is there."""
        return (f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}, "
                f"bias={self.bias is not None}")


class GroupNorm(Module):
    """Normalises each group of channels of x (N, C, ...), then scales and shifts each channel; see `ops.group_norm`.

    Weight starts at 1 and bias at 0. Training and evaluation are the same.

    Args:
        num_groups: how many groups the channels are split into.
        num_channels: C.
        eps: added to the variance.
        affine: are there a weight and a bias, (C,)?

    Raises:
        ArgumentError: `num_groups` does not divide `num_channels`, one is not a positive integer, `eps` is negative, or
            `affine` is neither True nor False.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        super().__init__()
        self.num_groups: int = whole_number("GroupNorm", "num_groups", num_groups)
        self.num_channels: int = whole_number("GroupNorm", "num_channels", num_channels)
        self.eps: float = number("GroupNorm", "eps", eps)
        if self.num_channels % self.num_groups:
            raise ArgumentError(f"GroupNorm: {num_channels} channels cannot be split into {num_groups} groups: num_groups "
                                "must divide num_channels")
        is_affine = flag("GroupNorm", "affine", affine)
        self.weight: Tensor | MaybeNone = _ones((self.num_channels,)) if is_affine else None
        self.bias: Tensor | MaybeNone = _zeros((self.num_channels,)) if is_affine else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> (N, C, ...)."""
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The numbers of groups and channels, the constant, and whether there is a weight."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"


class RMSNorm(Module):
    """Divides the last axes of x (..., *normalized_shape) by their root mean square, then scales; see `ops.rms_norm`.

    Weight starts at 1. Training and evaluation are the same.

    Args:
        normalized_shape: the lengths of the last axes; an integer for one.
        eps: added to the mean square; None: the spacing of numbers at 1 in x's precision.
        elementwise_affine: is there a weight, of `normalized_shape`?

    Raises:
        ArgumentError: `normalized_shape` holds no positive integers, `eps` is negative, or the flag is neither True nor
            False.
    """

    is_drawn_as_weight = False

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True):
        super().__init__()
        self.normalized_shape: tuple[int, ...] = shape_of("RMSNorm", "normalized_shape", normalized_shape, "(64,)")
        self.eps: float | None = None if eps is None else number("RMSNorm", "eps", eps)
        has_weight = flag("RMSNorm", "elementwise_affine", elementwise_affine)
        self.weight: Tensor | MaybeNone = _ones(self.normalized_shape) if has_weight else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., *normalized_shape) -> the same."""
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The shape, the constant, and whether there is a weight."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


def _ones(shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


def _zeros(shape):
    return Tensor(np.zeros(shape, np.float32), requires_grad=True)
