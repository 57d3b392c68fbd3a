"""The linear (fully connected) layer."""
import numpy as np

from minires.arrays.backend import Array
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import DTypeError, ShapeError


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b.

    Args:
        x: (N, I).
        weight: (O, I).
        bias: (O,) or None.

    Returns:
        (N, O).

    Raises:
        ShapeError: the ranks or lengths do not fit.
        DTypeError: an argument is no tensor.
    """
    return Linear()(x, weight, bias)


class Linear(Op):
    """y = x Wᵀ + b, for x (N, I), weight (O, I), bias (O,) or None; returns y (N, O)."""

    def forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        check_linear(self, x, weight, bias)
        self.saved = x, weight
        y = x @ weight.T                 # (N, I) @ (I, O) -> (N, O)
        if bias is not None:
            y += bias                    # (N, O) + (O,)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = dy W
        dweight = dyᵀ x
        dbias = Σ dy over n
        """
        x, weight = self.saved
        dx = dy @ weight                 # (N, O) @ (O, I) -> (N, I)
        dweight = dy.T @ x               # (O, N) @ (N, I) -> (O, I)
        dbias = dy.sum(axis=0, dtype=np.float64).astype(dy.dtype)  # (N, O) -> (O,), rounded once
        return dx, dweight, dbias


def check_linear(op: Op, x: Array, weight: Array, bias: Array | None) -> None:
    """Raise an error that says which argument does not fit."""
    if weight is None:
        raise DTypeError(f"{op.title}: weight is None, expected a tensor (O, I)")
    if x.ndim != 2 or weight.ndim != 2:
        raise ShapeError(f"{op.title}: expected x (N, I) and weight (O, I), got {x.shape} and {weight.shape}"
                         + (": flatten x first" if x.ndim > 2 else ""))
    if x.shape[1] != weight.shape[1]:
        raise ShapeError(f"{op.title}: x {x.shape} has {x.shape[1]} features, but weight (O, I) = {weight.shape} takes "
                         f"{weight.shape[1]}")
    if bias is not None and bias.shape != (weight.shape[0],):
        raise ShapeError(f"{op.title}: bias has shape {bias.shape}, expected ({weight.shape[0]},) for weight (O, I) = "
                         f"{weight.shape}")
