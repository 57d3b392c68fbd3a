"""The activation layers: element by element, or along one axis, so the shape stays."""
import math

from minires import ops
from minires.arguments import is_whole_number, known_name, number, shown
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError
from minires.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.relu(x)


class LeakyReLU(Module):
    """x above 0, negative_slope · x below. See `ops.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01):
        super().__init__()
        self.negative_slope: float = number("LeakyReLU", "negative_slope", negative_slope, smallest=-math.inf)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"negative_slope={self.negative_slope:g}"


class ELU(Module):
    """x above 0, alpha (exp(x) - 1) below. See `ops.elu`."""

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        self.alpha: float = number("ELU", "alpha", alpha)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """The height of the lower end."""
        return f"alpha={self.alpha:g}"


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, and x itself where beta x is above the threshold. See `ops.softplus`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta: float = number("Softplus", "beta", beta)
        self.threshold: float = number("Softplus", "threshold", threshold)
        if self.beta == 0:
            raise ArgumentError("Softplus: beta is 0, expected a positive number")

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Both numbers."""
        return f"beta={self.beta:g}, threshold={self.threshold:g}"


class GELU(Module):
    """x Φ(x), with Φ the distribution function of the standard normal. See `ops.gelu`.

    Args:
        approximate: "none", or "tanh" for a formula that stands in for Φ.
    """

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate: str = known_name("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Which of the two."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.silu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent of x."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.tanh(x)


class Softmax(Module):
    """exp(x) / Σ exp(x) along an axis. See `ops.softmax`.

    Args:
        dim: the axis along which the shares sum to 1, by PyTorch's name; the last one by default. (PyTorch's own default
            depends on the number of axes.)
    """

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim: int = _axis(self, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of the softmax. See `ops.log_softmax`.

    Args:
        dim: the axis along which the shares sum to 1, as in `Softmax`.
    """

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim: int = _axis(self, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


def _axis(layer, dim):
    """An axis that some tensor may have, or an ArgumentError."""
    if not is_whole_number(dim, -math.inf):
        raise ArgumentError(f"{type(layer).__name__}: dim is {shown(dim)}, expected an integer: 0 for the first axis, -1 "
                            "for the last")
    return int(dim)
