"""Batch normalisation: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1, and the gradients of section 3."""
import math

import numpy as np

from minires.arguments import flag, number
from minires.arrays.backend import Array, array_module, check_one_device, is_writable, looks_finite, plain_array, read_only
from minires.arrays.memory import empty
from minires.arrays.threads import over_ranges
from minires.engine.op import Op
from minires.engine.state import state
from minires.engine.tensor import Tensor
from minires.errors import DTypeError, ShapeError
from minires.ops.kernels.lines import as_image, as_lines, batch_statistics, blocks, gradient_sums, spread


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, running_mean: Array, running_var: Array, training: bool,
               momentum: float = 0.1, eps: float = 1e-5, freeze_statistics: bool = False) -> Tensor:
    """Normalise each channel, then scale and shift it: y = weight · (x - mean) / sqrt(var + eps) + bias.

    In training, mean and var are those of the batch (var divides by the count M), and `running_mean` and `running_var`,
    two arrays, are updated in place: running = (1 - momentum) · running + momentum · batch, with the unbiased variance
    (dividing by M - 1), as PyTorch. In evaluation, they are the running statistics.

    Args:
        x: (N, C, H, W) or (N, C).
        weight, bias: (C,), the paper's γ and β.
        running_mean, running_var: arrays (C,), not tensors.
        training: use the statistics of the batch?
        freeze_statistics: in backward, treat the batch's mean and variance as constants, so that one example's gradient
            does not depend on the others.

    Returns:
        A tensor of x's shape and precision.

    Raises:
        ShapeError: ranks or channels do not fit; or, in training, there is one value per channel.
        DTypeError: the weight or the bias is no tensor, or the running statistics are not arrays of float32 or float64.
        ArgumentError: `momentum` is not from 0 to 1, `eps` is negative, or a flag is neither True nor False.
        DeviceError: they are on another device than x.
    """
    return BatchNorm(running_mean, running_var, training, momentum, eps, freeze_statistics)(x, weight, bias)


class BatchNorm(Op):
    """y = weight · x_hat + bias, with x_hat = (x - mean) / sqrt(var + eps) per channel.

    The fast form sees the batch as a matrix of (pixels, channels), in the memory order that convolutions leave, and
    works through it in blocks that stay in the cache.
    """

    def __init__(self, running_mean: Array, running_var: Array, training: bool, momentum: float, eps: float,
                 freeze_statistics: bool):
        self.running_mean: Array = running_mean
        self.running_var: Array = running_var
        is_checked = (type(training) is type(freeze_statistics) is bool and type(momentum) is type(eps) is float
                      and 0 <= momentum <= 1 and 0 <= eps < math.inf)  # as nearly always, without a further call
        if not is_checked:
            training = flag("BatchNorm", "training", training)
            momentum = number("BatchNorm", "momentum", momentum, largest=1)
            eps = number("BatchNorm", "eps", eps)
            freeze_statistics = flag("BatchNorm", "freeze_statistics", freeze_statistics)
        self.training: bool = training
        self.momentum: float = momentum
        self.eps: float = eps
        self.freeze_statistics: bool = freeze_statistics

    # ---- the definition

    def plain_forward(self, x: Array, weight: Array, bias: Array) -> Array:
        xp = array_module(x)
        check_arguments(self, x, weight, bias)
        weight, bias = weight.astype(x.dtype, copy=False), bias.astype(x.dtype, copy=False)   # y has x's precision
        axes, per_channel = ((0, 2, 3), (1, -1, 1, 1)) if x.ndim == 4 else ((0,), (1, -1))   # (C,) lined up with x
        if self.training:
            mean = x.mean(axis=axes, dtype=np.float64)                           # (N, C, H, W) -> (C,)
            var = ((x - mean.reshape(per_channel)) ** 2).mean(axis=axes)         # (N, C, H, W) -> (C,)
            self.update_running_statistics(mean, var, x.size // x.shape[1])
        else:
            mean, var = self.running_mean.astype(np.float64), self.running_var.astype(np.float64)
        inv_std = 1 / xp.sqrt(var + self.eps)
        x_hat = (x - mean.reshape(per_channel)) * inv_std.reshape(per_channel)
        y = weight.reshape(per_channel) * x_hat + bias.reshape(per_channel)
        self.saved = x, weight, mean.astype(x.dtype), inv_std.astype(x.dtype)    # rounded, as PyTorch saves them
        return y.astype(x.dtype)                                                 # from float64

    def plain_backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = (dx_hat - mean(dx_hat) - x_hat · mean(dx_hat · x_hat)) · inv_std; in evaluation dx_hat · inv_std
        dweight = Σ dy · x_hat
        dbias = Σ dy

        With dx_hat = dy · weight; means and sums run over all values of a channel (Ioffe and Szegedy 2015, section 3).
        With `freeze_statistics`, dx is that of evaluation. All is computed in float64.
        """
        x, weight, mean, inv_std = self.saved
        x, weight = x.astype(np.float64), weight.astype(np.float64)
        mean, inv_std = mean.astype(np.float64), inv_std.astype(np.float64)
        axes, per_channel = ((0, 2, 3), (1, -1, 1, 1)) if x.ndim == 4 else ((0,), (1, -1))
        x_hat = (x - mean.reshape(per_channel)) * inv_std.reshape(per_channel)
        dbias = dy.sum(axis=axes, dtype=np.float64)                              # (N, C, H, W) -> (C,)
        dweight = (dy * x_hat).sum(axis=axes)                                    # (N, C, H, W) -> (C,)
        dx_hat = dy * weight.reshape(per_channel)
        if self.freeze_statistics or not self.training:
            dx = dx_hat * inv_std.reshape(per_channel)
        else:
            through_mean = dx_hat.mean(axis=axes).reshape(per_channel)           # x moves the mean ...
            through_var = x_hat * (dx_hat * x_hat).mean(axis=axes).reshape(per_channel)   # ... and the variance
            dx = (dx_hat - through_mean - through_var) * inv_std.reshape(per_channel)
        return dx.astype(dy.dtype), dweight.astype(dy.dtype), dbias.astype(dy.dtype)

    # ---- the fast form

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        xp = array_module(x)
        check_arguments(self, x, weight, bias)
        lines, C = as_lines(xp, x)                                                   # (N, C, H, W) -> (R, T·C)
        if self.training:
            mean, var = batch_statistics(xp, lines, C)                               # (C,) in float64
        else:
            mean, var = self.running_mean.astype(np.float64), self.running_var.astype(np.float64)
        inv_std = 1 / xp.sqrt(var + self.eps)
        scale = weight * inv_std
        shift = bias - mean * scale                                              # y = scale · x + shift, per channel
        if not looks_finite(shift):
            return self.plain_forward(x, weight, bias)                           # inf · x - inf is NaN, in another order not
        if self.training:
            self.update_running_statistics(mean, var, x.size // C)
        self.saved = x, weight.astype(x.dtype, copy=False), mean.astype(x.dtype), inv_std.astype(x.dtype)
        scale, shift = spread(xp, [scale, shift], lines)                         # (C,) -> (T·C,)
        y = empty(xp, lines.shape, lines.dtype)

        def work(some):
            for block in blocks(xp, lines, some):
                xp.multiply(lines[block], scale, out=y[block])
                y[block] += shift

        over_ranges(work, len(lines), lines)
        return as_image(y, x.shape)                                              # (R, T·C) -> (N, C, H, W)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = a · (dy + b · x + c), with three numbers for each channel."""
        xp = array_module(dy)
        x, weight, mean, inv_std = self.saved
        x_lines, C = as_lines(xp, x)                                                 # (N, C, H, W) -> (R, T·C)
        dy_lines, _ = as_lines(xp, dy)
        dbias, dy_dot_centred = gradient_sums(xp, dy_lines, x_lines, mean, C)        # Σ dy and Σ dy (x - mean), (C,)
        dweight = dy_dot_centred * inv_std
        a = weight * inv_std
        dx = empty(xp, x_lines.shape, dy.dtype)
        if self.freeze_statistics or not self.training:
            [a] = spread(xp, [a], dy_lines)                                      # (C,) -> (T·C,)
            xp.multiply(dy_lines, a, out=dx)
        else:
            M = x.size // C
            b = -inv_std * dweight / M                                           # the path through the variance
            c = -dbias / M - b * mean                                            # the path through the mean
            if not looks_finite(a + c):
                return self.plain_backward(dy)                                   # inf - inf is NaN, in another order not
            a, b, c = spread(xp, [a, b, c], dy_lines)                            # (C,) -> (T·C,)

            def work(some):
                for block in blocks(xp, x_lines, some):
                    xp.multiply(x_lines[block], b, out=dx[block])
                    dx[block] += dy_lines[block]
                    dx[block] += c
                    dx[block] *= a

            over_ranges(work, len(x_lines), x_lines)
        return as_image(dx, x.shape), dweight.astype(dy.dtype), dbias.astype(dy.dtype)

    # ---- statistics

    def update_running_statistics(self, mean: Array, var: Array, M: int) -> None:
        """Move the running statistics, in place, towards those of this batch of M values per channel."""
        if state.rebuilding:
            return  # the forward of a checkpointed part runs again: its batch has been counted
        for name in ("running_mean", "running_var"):
            if not is_writable(getattr(self, name)):
                raise read_only(f"{self.title}: {name}")
        self.running_mean *= 1 - self.momentum
        self.running_mean += (self.momentum * mean).astype(self.running_mean.dtype)
        self.running_var *= 1 - self.momentum
        self.running_var += (self.momentum * M / (M - 1) * var).astype(self.running_var.dtype)


# ---- the batch as lines of many channels


def check_statistics(op: BatchNorm, x: Array) -> None:
    """Raise where the running statistics are masked arrays, or on another device than x."""
    for values in (op.running_mean, op.running_var):
        plain_array(op.title, values)
    check_one_device(op.title, {"x": x, "running_mean": op.running_mean, "running_var": op.running_var})


def check_arguments(op: BatchNorm, x: Array, weight: Array, bias: Array) -> None:
    """Raise an error that says which argument does not fit."""
    if isinstance(op.running_mean, Tensor) or isinstance(op.running_var, Tensor):
        raise DTypeError(f"{op.title}: running_mean and running_var are arrays, updated in place: pass .data of a Tensor")
    for name, values in (("running_mean", op.running_mean), ("running_var", op.running_var)):
        if getattr(values, "dtype", None) not in (np.float32, np.float64):
            got = values.dtype if hasattr(values, "dtype") else type(values).__name__
            raise DTypeError(f"{op.title}: {name} is updated in place: expected an array of float32 or float64, got {got}")
    if not type(x) is type(op.running_mean) is type(op.running_var) is np.ndarray:  # as nearly always
        check_statistics(op, x)
    if x.ndim not in (2, 4):
        raise ShapeError(f"{op.title}: expected x (N, C, H, W) or (N, C), got shape {x.shape}")
    C = x.shape[1]
    for name, values in (("weight", weight), ("bias", bias), ("running_mean", op.running_mean),
                         ("running_var", op.running_var)):
        if values is None:
            raise DTypeError(f"{op.title}: {name} is None, expected a tensor ({C},)")
        if values.shape != (C,):
            raise ShapeError(f"{op.title}: x {x.shape} has {C} channels, but {name} has shape {values.shape}, expected "
                             f"({C},)")
    if op.training and x.size <= C:
        raise ShapeError(f"{op.title}: x {x.shape} holds {x.size // max(C, 1)} values per channel; training needs at least "
                         "2, as the variance of one value is 0. Use a larger batch or image, or eval()")
