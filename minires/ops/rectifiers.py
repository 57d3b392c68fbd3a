"""The relatives of ReLU, which let some gradient pass below 0: leaky ReLU, ELU, softplus, SiLU, GELU."""
import math

from minires.arguments import known_name, number
from minires.arrays.backend import Array, array_module
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError
from minires.ops.activation import logistic
from minires.ops.error_function import erfc


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x above 0, negative_slope · x below (Maas, Hannun and Ng 2013). The derivative at 0 is that from below.

    Raises:
        ArgumentError: `negative_slope` is no number.
    """
    return LeakyReLU(negative_slope)(x)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha (eˣ - 1) below (Clevert, Unterthiner and Hochreiter 2015, arXiv:1511.07289).

    Raises:
        ArgumentError: `alpha` is no number, or negative.
    """
    return ELU(alpha)(x)


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, a ReLU with a round corner (Dugas et al. 2001), without overflow.

    Args:
        beta: the larger, the closer to ReLU.
        threshold: where beta x is above it, x itself is returned, as in PyTorch; the two differ by e^(-threshold) / beta.

    Raises:
        ArgumentError: `beta` is not positive; `threshold` is no number, or negative.
    """
    return Softplus(beta, threshold)(x)


def silu(x: Tensor) -> Tensor:
    """x σ(x) with σ(x) = 1 / (1 + e⁻ˣ), also called Swish (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""
    return SiLU()(x)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x Φ(x), with Φ the distribution function of the standard normal (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    Args:
        approximate: "none" for Φ itself; "tanh" for the formula of that paper which stands in for it, as in GPT-2. The two
            differ by at most 5e-4.

    Raises:
        UnknownNameError: `approximate` is neither.
    """
    known_name("gelu", "approximate", approximate, ("none", "tanh"))
    return GELU()(x) if approximate == "none" else TanhGELU()(x)


class LeakyReLU(Op):
    """y = x where x > 0, else slope x."""

    def __init__(self, negative_slope: float):
        self.slope: float = number("LeakyReLU", "negative_slope", negative_slope, smallest=-math.inf)

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        self.saved = x > 0
        return xp.where(self.saved, x, self.slope * x)

    def backward(self, dy: Array) -> Array:
        """dx = dy where x > 0, else slope dy."""
        xp = array_module(dy)
        is_positive = self.saved
        dx = xp.where(is_positive, dy, self.slope * dy)
        return dx


class ELU(Op):
    """y = x where x > 0, else α (eˣ - 1)."""

    def __init__(self, alpha: float):
        self.alpha: float = number("ELU", "alpha", alpha)

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        self.saved = x
        below = self.alpha * xp.expm1(xp.minimum(x, 0))             # eˣ - 1 with its digits also near 0
        return xp.where(x > 0, x, below)

    def backward(self, dy: Array) -> Array:
        """dx = dy where x > 0, else dy α eˣ."""
        xp = array_module(dy)
        x = self.saved
        slope = self.alpha * xp.exp(xp.minimum(x, 0))
        dx = xp.where(x > 0, dy, dy * slope)
        return dx


class Softplus(Op):
    """y = log(1 + e^(βx)) / β, or x where βx is above the threshold."""

    def __init__(self, beta: float, threshold: float):
        self.beta: float = number("Softplus", "beta", beta)
        self.threshold: float = number("Softplus", "threshold", threshold)
        if self.beta == 0:
            raise ArgumentError("Softplus: beta is 0, expected a positive number")

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        z = self.beta * x
        is_straight = z > self.threshold
        self.saved = xp.where(is_straight, 1, logistic(z))
        smooth = (xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))) / self.beta    # log(1 + eᶻ) / β, and no exp overflows
        return xp.where(is_straight, x, smooth)

    def backward(self, dy: Array) -> Array:
        """dx = dy σ(βx), or dy where βx is above the threshold."""
        slope = self.saved
        dx = dy * slope
        return dx


class SiLU(Op):
    """y = x σ(x)."""

    def forward(self, x: Array) -> Array:
        s = logistic(x)
        self.saved = x, s
        return x * s

    def backward(self, dy: Array) -> Array:
        """dx = dy s (1 + x (1 - s)), with s = σ(x)."""
        x, s = self.saved
        dx = dy * (s * (1 + x * (1 - s)))
        return dx


class GELU(Op):
    """y = x Φ(x), with Φ(x) = erfc(-x / √2) / 2."""

    def forward(self, x: Array) -> Array:
        below = 0.5 * erfc(x * -math.sqrt(0.5))                     # Φ(x): the share of a standard normal that is below x
        self.saved = x, below
        return x * below

    def backward(self, dy: Array) -> Array:
        """dx = dy (Φ + x φ), with φ = e^(-x²/2) / √2π, the derivative of Φ."""
        xp = array_module(dy)
        x, below = self.saved
        inside = xp.minimum(xp.abs(x), 40)                          # φ(40) is 0, and no square overflows
        density = xp.exp(-0.5 * inside * inside) / math.sqrt(2 * math.pi)
        dx = dy * (below + x * density)
        return dx


class TanhGELU(Op):
    """y = x/2 (1 + tanh u), with u = √(2/π) (x + 0.044715 x³)."""

    SCALE: float = math.sqrt(2 / math.pi)
    CUBIC: float = 0.044715

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        inside = xp.minimum(xp.maximum(x, -10), 10)                 # tanh u(10) is 1, and no cube overflows
        t = xp.tanh(self.SCALE * (inside + self.CUBIC * inside * inside * inside))
        self.saved = x, inside, t
        return 0.5 * x * (1 + t)

    def backward(self, dy: Array) -> Array:
        """dx = dy ((1 + t)/2 + x/2 (1 - t²) u'), with t = tanh u and u' = √(2/π) (1 + 3 · 0.044715 x²)."""
        x, inside, t = self.saved
        du = self.SCALE * (1 + 3 * self.CUBIC * inside * inside)
        dx = dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du)
        return dx
