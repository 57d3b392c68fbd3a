"""The activation layers: element by element, so the shape stays."""
from minires import ops
from minires.engine.tensor import Tensor
from minires.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return ops.relu(x)


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
