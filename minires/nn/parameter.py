"""`Parameter`: a tensor that a module trains."""
from typing import Any

from minires.engine.tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that wants a gradient: what a module's attribute holds for weights.

        self.scale = nn.Parameter(np.ones(3, np.float32))

    `mr.Tensor(…, requires_grad=True)` is registered as well. A Parameter with requires_grad=False, one that is frozen from
    the start, is part of the module too: it is saved, moved and cast, and not trained.

    Args:
        data: as of `mr.Tensor`; or a tensor, whose array it takes, without its graph.
        requires_grad: is dL/d(this) wanted?
        name: a label; by default the module gives its own, "layer2.0.scale".

    Raises:
        DTypeError: the values are not real numbers.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, name: str | None = None) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad, name)

    def __repr__(self) -> str:
        """That of a tensor, by its own class."""
        return super().__repr__().replace("Tensor", "Parameter", 1)
