"""`evaluation`: a block in which a net is in evaluation mode."""
import contextlib
from collections.abc import Iterator

from minires.nn.module import Module


@contextlib.contextmanager
def evaluation(model: Module) -> Iterator[None]:
    """A block in which a module and all below it are in evaluation mode; then each is in the mode that it was in.

    So a batch norm that was frozen with `eval()` for fine-tuning stays frozen.
    """
    modes = [(module, module.training) for _, module in model.named_modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
