"""Functions of each element: exp and log."""
from minires.arrays.backend import Array, array_module
from minires.engine.op import Op
from minires.engine.tensor import Tensor


def exp(x: Tensor) -> Tensor:
    """e to the power of each element."""
    return Exp()(x)


def log(x: Tensor) -> Tensor:
    """The natural logarithm of each element; NaN of negative ones and -inf of 0, as NumPy."""
    return Log()(x)


class Exp(Op):
    """y = eˣ."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        y = xp.exp(x)
        self.saved = y
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy y."""
        y = self.saved
        dx = dy * y
        return dx


class Log(Op):
    """y = ln x."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        self.saved = x
        return xp.log(x)

    def backward(self, dy: Array) -> Array:
        """dx = dy / x."""
        x = self.saved
        dx = dy / x
        return dx
