"""Functions of each element: exp, log, abs and sqrt."""
from minires.arrays.backend import Array, array_module
from minires.engine.op import Op
from minires.engine.tensor import Tensor


def exp(x: Tensor) -> Tensor:
    """e to the power of each element."""
    return Exp()(x)


def log(x: Tensor) -> Tensor:
    """The natural logarithm of each element; NaN of negative ones and -inf of 0, as NumPy."""
    return Log()(x)


def abs(x: Tensor) -> Tensor:
    """The magnitude of each element; the derivative at 0 is taken as 0."""
    return Abs()(x)


def sqrt(x: Tensor) -> Tensor:
    """The square root of each element; NaN of negative ones, as NumPy. At 0 its slope is infinite."""
    return Sqrt()(x)


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


class Abs(Op):
    """y = |x|."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        self.saved = x
        return xp.abs(x)

    def backward(self, dy: Array) -> Array:
        """dx = dy sign(x); the sign of 0 is 0, and that of NaN, as in PyTorch."""
        x = self.saved
        sign = (x > 0).astype(dy.dtype) - (x < 0)
        dx = dy * sign
        return dx


class Sqrt(Op):
    """y = √x."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        y = xp.sqrt(x)
        self.saved = y
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy / 2y."""
        y = self.saved
        dx = dy / (2 * y)
        return dx
