"""Dropout: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014 (JMLR 15)."""
import numpy as np

from minires.arguments import flag, given_or_new_generator, no_tensor, number
from minires.arrays.backend import Array, array_module
from minires.engine.op import Op
from minires.engine.tensor import Tensor


def dropout(x: Tensor, p: float = 0.5, training: bool = True, generator: np.random.Generator | None = None) -> Tensor:
    """In training, each element is 0 with probability p, and 1 / (1 - p) times itself otherwise, so that its mean stays.

    Section 10 of the paper scales in training too ("inverted dropout"), so that evaluation has nothing to do: there, and
    where p is 0, x itself is returned.

    Args:
        x: a tensor of any shape.
        p: the probability of 0, from 0 to 1.
        training: is anything dropped?
        generator: draws which, on the host: a seed gives one mask on every device. An unseeded one by default. Inside
            `nn.checkpoint`, which runs twice, make it in the function, `np.random.default_rng(seed)`; or use `nn.Dropout`.

    Returns:
        A tensor of x's shape and precision.

    Raises:
        ArgumentError: p is not from 0 to 1, or `training` neither True nor False.
        DTypeError: x is no tensor, or `generator` none of NumPy's.
    """
    op = Dropout(p, given_or_new_generator("dropout", generator))
    if not isinstance(x, Tensor):
        raise no_tensor("dropout", "a tensor", x)
    return op(x) if flag("dropout", "training", training) and op.p > 0 else x


class Dropout(Op):
    """y = x · noise, with noise 0 with probability p, and 1 / (1 - p) otherwise."""

    def __init__(self, p: float, generator: np.random.Generator):
        self.p: float = number("Dropout", "p", p, largest=1)
        self.generator = generator

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        is_kept = self.generator.random(x.shape, dtype=np.float32) >= self.p     # on the host, of x's shape
        is_kept = xp.asarray(is_kept)                                            # a byte for each element
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0                          # of p = 1, nothing is kept
        self.saved = is_kept, scale
        noise = is_kept.astype(x.dtype) * scale
        return x * noise

    def backward(self, dy: Array) -> Array:
        """dx = dy · noise."""
        is_kept, scale = self.saved
        noise = is_kept.astype(dy.dtype) * scale
        dx = dy * noise
        return dx
