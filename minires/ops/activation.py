"""Activations: ReLU, sigmoid, tanh."""
from minires.arrays.backend import Array, array_module
from minires.arrays.masks import keep_where
from minires.arrays.threads import elementwise
from minires.engine.op import Op
from minires.engine.tensor import Tensor


def relu(x: Tensor) -> Tensor:
    """max(x, 0); the derivative at 0 is taken as 0 (Nair and Hinton 2010)."""
    return ReLU()(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ), without overflow for large |x|."""
    return Sigmoid()(x)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh()(x)


class ReLU(Op):
    """y = max(x, 0): the gradient passes where y > 0, and where y is NaN, so that no unit with NaN seems dead."""

    # ---- the definition

    def plain_forward(self, x: Array) -> Array:
        xp = array_module(x)
        y = xp.maximum(x, 0)
        self.saved = y
        return y

    def plain_backward(self, dy: Array) -> Array:
        """dx = 0 where y is 0, else dy."""
        xp = array_module(dy)
        y = self.saved
        dx = xp.where(y == 0, 0, dy)
        return dx

    # ---- the fast form

    def forward(self, x: Array) -> Array:
        self.saved = y = elementwise(rectify, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = 0 where y is 0, else dy."""
        y = self.saved
        dx = elementwise(pass_where_alive, dy, y)
        return dx


def rectify(x: Array, out: Array) -> Array:
    """out = max(x, 0)."""
    return array_module(x).maximum(x, 0, out=out)


def pass_where_alive(dy: Array, y: Array, out: Array) -> Array:
    """out = 0 where y = max(x, 0) is 0, and dy elsewhere, also where y is NaN."""
    return keep_where(y != 0, dy, out)


class Sigmoid(Op):
    """y = 1 / (1 + e⁻ˣ)."""

    def forward(self, x: Array) -> Array:
        y = logistic(x)
        self.saved = y
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy y (1 - y), at most dy / 4."""
        y = self.saved
        dx = dy * y * (1 - y)
        return dx


def logistic(x: Array) -> Array:
    """σ(x) = 1 / (1 + e⁻ˣ) of an array."""
    xp = array_module(x)
    z = xp.exp(-xp.abs(x))                              # at most 1: nothing overflows
    return xp.where(x >= 0, 1 / (1 + z), z / (1 + z))


class Tanh(Op):
    """y = tanh x."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        y = xp.tanh(x)
        self.saved = y
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy (1 - y²)."""
        y = self.saved
        dx = dy * (1 - y * y)
        return dx
