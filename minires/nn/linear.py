"""The linear layer, and the flattening that comes before it."""
import numpy as np

from minires import ops
from minires.arguments import flag, given_or_new_generator, whole_number
from minires.arrays.backend import MaybeNone
from minires.engine.tensor import Tensor
from minires.nn import init
from minires.nn.module import Module


class Linear(Module):
    """y = x weightᵀ + bias, for x (N, I), weight (O, I), bias (O,); see `ops.linear`.

    Weights are He-normal, biases zero.

    Args:
        in_features, out_features: I and O.
        bias: is there one?
        generator: a `np.random.Generator` that draws the weight; an unseeded one by default.

    Raises:
        ArgumentError: a size is not a positive integer, or `bias` neither True nor False.
        DTypeError: `generator` is none of NumPy's.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *,
                 generator: np.random.Generator | None = None):
        super().__init__()
        self.in_features: int = whole_number("Linear", "in_features", in_features)
        self.out_features: int = whole_number("Linear", "out_features", out_features)
        self.weight: Tensor = Tensor(np.empty((out_features, in_features), np.float32), requires_grad=True)
        has_bias = flag("Linear", "bias", bias)
        init.he_normal_(self.weight, given_or_new_generator("Linear", generator))
        self.bias: Tensor | MaybeNone = Tensor(np.zeros(out_features, np.float32), requires_grad=True) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, I) -> (N, O)."""
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes, and whether there is a bias."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Flatten(Module):
    """All axes but the first become one."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, product of the rest)."""
        return ops.flatten(x)
