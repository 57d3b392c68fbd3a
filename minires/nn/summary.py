"""`summary(model, input_shape)`: the layers of a net, their output shapes, parameters and multiply-adds, as a table."""
import math
from collections.abc import Sequence
from dataclasses import dataclass

from minires import nn
from minires.arguments import shape_of
from minires.arrays.backend import Array
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.state import no_grad
from minires.engine.tensor import Tensor
from minires.errors import DTypeError
from minires.nn.example import zeros_for
from minires.nn.modes import evaluation
from minires.ops.arithmetic import MatMul
from minires.ops.convolution import Conv2d
from minires.ops.convolution_1d import Conv1d
from minires.ops.fully_connected import Linear
from minires.ops.transposed_convolution import ConvTranspose2d
from minires.text.tables import text_table


@dataclass(frozen=True)
class SummaryRow:
    """One module of a net."""

    name: str  # dotted; "" for the net itself
    kind: str  # its class
    output_shape: tuple[int, ...] | None  # the last one, where it ran twice; None where it did not run, or made no tensor
    parameters: int  # trainable ones of its own, not of its children; one that two modules share counts in the first
    multiply_adds: int  # of its own, all runs together: convolutions, linear layers and matrix products
    frozen: int = 0  # parameters of its own that want no gradient


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
    def frozen(self) -> int:
        """The number of parameters that want no gradient."""
        return sum(row.frozen for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of one forward pass over the whole input, batch included."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        titles = ("layer", "type", "output shape", "parameters", "multiply-adds")
        cells = [(_indented(row.name), row.kind, "-" if row.output_shape is None else str(list(row.output_shape)),
                  f"{row.parameters:,}" if row.parameters else "-",
                  f"{row.multiply_adds:,}" if row.multiply_adds else "-") for row in self.rows]
        head, rule, *lines = text_table(cells, titles, right=(3, 4), rule="=")
        return "\n".join([rule, head, rule, *lines, rule,
                          f"input shape: {list(self.input_shape)}",
                          f"parameters: {self.parameters:,}" + (f", and {self.frozen:,} frozen" if self.frozen else ""),
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
    shapes, multiply_adds = _run_once(model, input_shape)
    rows: list[SummaryRow] = []
    counted: set[int] = set()
    for name, module in model.named_modules():
        own = [parameter for _, parameter in module.own_parameters() if id(parameter) not in counted]
        outputs = shapes.get(id(module), [])
        trained, frozen = [sum(parameter.size for parameter in own if parameter.requires_grad is wanted)
                           for wanted in (True, False)]
        rows.append(SummaryRow(name, type(module).__name__, outputs[-1] if outputs else None, trained,
                               multiply_adds.get(module.path, 0), frozen))
        counted.update(id(parameter) for parameter in own)
    return Summary(rows, input_shape)


class _Counter(BackwardHook):
    """Counts the multiply-adds of the ops that run in its block, by the layer that calls them, whatever its class."""

    def __init__(self) -> None:
        self.by_layer: dict[str, int] = {}

    def after_forward(self, op: Op, inputs: list[Array | None], output: Array) -> None:
        """Each element of the output is a sum of this many products."""
        if isinstance(op, (Conv2d, Conv1d, Linear)):
            products = math.prod(op.input_shapes[1][1:])  # of the weight: (C / groups) * KH * KW, or the features
        elif isinstance(op, ConvTranspose2d):
            products = math.prod(op.input_shapes[0]) * math.prod(op.input_shapes[1][1:]) / output.size  # each pixel of x
        elif isinstance(op, MatMul):
            products = op.input_shapes[0][-1]
        else:
            return
        layer = op.layer or ""
        self.by_layer[layer] = self.by_layer.get(layer, 0) + round(output.size * products)


def _run_once(model, input_shape):
    """One forward pass on zeros: ({id(module): [shape of its output, each time that it ran]}, {layer: multiply-adds})."""
    shapes: dict[int, list[tuple[int, ...]]] = {}

    def remember(module, inputs, output):
        if isinstance(output, Tensor):
            shapes.setdefault(id(module), []).append(output.shape)

    modules = [module for _, module in model.named_modules()]
    try:
        for module in modules:
            module.forward_hooks.append(remember)
        with evaluation(model), no_grad(), _Counter() as counter:
            model(zeros_for(model, input_shape))
    finally:
        for module in modules:
            module.forward_hooks.remove(remember)
    return shapes, counter.by_layer


def _indented(name):
    """A dotted name as a line of a tree: two spaces for each level above it."""
    return "(net)" if not name else "  " * (name.count(".") + 1) + name
