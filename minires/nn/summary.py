"""`summary(model, input_shape)`: the layers of a net, their output shapes, parameters and multiply-adds, as a table."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minires import nn
from minires.arguments import shape_of
from minires.engine.state import no_grad
from minires.engine.tensor import Tensor
from minires.errors import DTypeError
from minires.text.tables import text_table


@dataclass(frozen=True)
class SummaryRow:
    """One module of a net."""

    name: str  # dotted; "" for the net itself
    kind: str  # its class
    output_shape: tuple[int, ...] | None  # the last one, where it ran twice; None where it did not run, or made no tensor
    parameters: int  # of its own, not of its children; one that two modules share counts in the first
    multiply_adds: int  # of its own, all runs together; None of batch norm, activations, pooling and additions are counted


class Summary:
    """What `summary` found: `rows`, the totals, and the table as text (`print(summary(...))`)."""

    def __init__(self, rows: list[SummaryRow], input_shape: tuple[int, ...]):
        self.rows = rows
        self.input_shape = input_shape

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of one forward pass over the whole input, batch included: convolutions and linear layers."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        titles = ("layer", "type", "output shape", "parameters", "multiply-adds")
        cells = [(_indented(row.name), row.kind, "-" if row.output_shape is None else str(list(row.output_shape)),
                  f"{row.parameters:,}" if row.parameters else "-",
                  f"{row.multiply_adds:,}" if row.multiply_adds else "-") for row in self.rows]
        head, rule, *lines = text_table(cells, titles, right=(3, 4), rule="=")
        return "\n".join([rule, head, rule, *lines, rule,
                          f"input shape: {list(self.input_shape)}",
                          f"parameters: {self.parameters:,}",
                          f"multiply-adds: {self.multiply_adds:,} ({self.multiply_adds / 1e9:.3f} G)", rule])

    __repr__ = __str__  # a notebook or a prompt shows the table


def summary(model: nn.Module, input_shape: int | Sequence[int]) -> Summary:
    """The layers of a net in the order of their definition, found by running it once on zeros.

    The pass runs in evaluation mode and without gradients, so that it changes nothing in the net.

    Args:
        model: an `nn.Module`.
        input_shape: the shape of the input, batch included: (N, C, H, W).

    Returns:
        A `Summary`: print it, or read `.rows`, `.parameters` and `.multiply_adds`. A multiply-add is one multiplication
        with its addition ("FLOPs" in He et al. 2015, Table 1).

    Raises:
        DTypeError: `model` is no module.
        ArgumentError: the input shape is not one of positive integers.
    """
    if not isinstance(model, nn.Module):
        raise DTypeError(f"summary: got a {type(model).__name__}, expected a model (an nn.Module)")
    input_shape = shape_of("summary", "input_shape", input_shape)
    shapes = _output_shapes(model, input_shape)
    rows: list[SummaryRow] = []
    counted: set[int] = set()
    for name, module in model.named_modules():
        own = [parameter for name, parameter in module.named_parameters() if "." not in name]
        outputs = shapes.get(id(module), [])
        rows.append(SummaryRow(name, type(module).__name__, outputs[-1] if outputs else None,
                               sum(parameter.size for parameter in own if id(parameter) not in counted),
                               sum(multiply_adds(module, shape) for shape in outputs)))
        counted.update(id(parameter) for parameter in own)
    return Summary(rows, input_shape)


def multiply_adds(module: nn.Module, output_shape: tuple[int, ...]) -> int:
    """The multiply-adds of one layer that made an output of this shape; 0 for what has no kernel or matrix."""
    if not isinstance(module, (nn.Conv2d, nn.Linear)):
        return 0
    # each output element is a sum of this many products: (C / groups) * KH * KW, or the number of input features
    products = int(np.prod(module.weight.shape[1:]))
    return int(np.prod(output_shape)) * products


def _output_shapes(model, input_shape):
    """{id(module): [shape of its output, each time that it ran]} of one forward pass on zeros."""
    shapes: dict[int, list[tuple[int, ...]]] = {}

    def remember(module, inputs, output):
        if isinstance(output, Tensor):
            shapes.setdefault(id(module), []).append(output.shape)

    modules = [module for _, module in model.named_modules()]
    training = [module.training for module in modules]
    dtype = next((parameter.dtype for parameter in model.parameters()), np.float32)
    device = next((parameter.device for parameter in model.parameters()), "cpu")
    try:
        for module in modules:
            module.forward_hooks.append(remember)
        model.eval()
        with no_grad():
            model(Tensor(np.zeros(input_shape, dtype)).to(device))
    finally:
        for module, was_training in zip(modules, training, strict=True):
            module.forward_hooks.remove(remember)
            module.training = was_training
    return shapes


def _indented(name):
    """A dotted name as a line of a tree: two spaces for each level above it."""
    return "(net)" if not name else "  " * (name.count(".") + 1) + name
