"""The embedding layer."""
import numpy as np
from numpy.typing import ArrayLike

from minires import ops
from minires.arguments import given_or_new_generator, whole_number
from minires.engine.tensor import Tensor
from minires.nn import init
from minires.nn.module import Module


class Embedding(Module):
    """A trained row of numbers for each of V integers: y = weight[indices]; see `ops.embedding`.

    The weight is drawn from N(0, 1), as PyTorch's; `nn.init.initialize_` leaves it so.

    Args:
        num_embeddings: V, how many rows there are.
        embedding_dim: D, how long each is.
        generator: a `np.random.Generator` that draws the weight; an unseeded one by default.

    Raises:
        ArgumentError: a size is not a positive integer.
        DTypeError: `generator` is none of NumPy's.
    """

    is_drawn_as_weight = False

    def __init__(self, num_embeddings: int, embedding_dim: int, *, generator: np.random.Generator | None = None):
        super().__init__()
        self.num_embeddings: int = whole_number("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim: int = whole_number("Embedding", "embedding_dim", embedding_dim)
        self.weight: Tensor = Tensor(np.empty((self.num_embeddings, self.embedding_dim), np.float32), requires_grad=True)
        generator = given_or_new_generator("Embedding", generator)
        init.normal_(self.weight, generator, std=1.0)

    def forward(self, indices: ArrayLike) -> Tensor:
        """(...), host integers from 0 to V - 1 -> (..., D)."""
        return ops.embedding(indices, self.weight)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"
