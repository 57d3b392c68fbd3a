"""A backward pass that disturbs nothing: what a table or a drawing runs beside the user's own passes."""
import contextlib
from collections.abc import Iterator

from minires.engine.backward import topological_order
from minires.engine.op import Op
from minires.engine.state import Hooks, temporarily
from minires.engine.tensor import Tensor


@contextlib.contextmanager
def undisturbed(root: Tensor) -> Iterator[None]:
    """A block whose backward passes from `root` are seen by no hook, and after which every `grad` is as it was."""
    assert root.op is not None
    nodes = [x.output if isinstance(x, Op) else x for x in topological_order(root.op)]
    tensors = [x for x in nodes if x is not None]
    grads = [x.grad for x in tensors]
    try:
        for x in tensors:
            x.grad = None  # so that the pass adds to arrays of its own
        with temporarily(hooks=Hooks()):
            yield
    finally:
        for x, grad in zip(tensors, grads, strict=True):
            x.grad = grad
