"""A model's graph: it is run once on an example, without a trace in the model."""
import contextlib
from collections.abc import Sequence
from typing import Any

from minires.arguments import shape_of
from minires.drawing.graph import Graph
from minires.engine.state import Hooks, temporarily
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, BackwardError
from minires.models import FlatNet, ResNet
from minires.nn.example import zeros_for
from minires.nn.modes import evaluation
from minires.nn.module import Module


def graph_of_model(model: Module, input_shape: Sequence[int] | None = None) -> Graph:
    """The graph of one run on zeros, in evaluation mode.

    Args:
        model: the module.
        input_shape: (N, C, H, W), batch included; the nets of `minires.models` know theirs.

    Raises:
        ArgumentError: the shape is not one of positive integers, or the model needs one and none was given.
        BackwardError: the model did not return one tensor that was computed from its input.
    """
    shape = shape_of("draw", "input_shape", input_shape) if input_shape is not None else known_input_shape(model)
    example = zeros_for(model, shape)
    example.requires_grad = True  # so that frozen layers are on the graph as well
    example.name = "input"
    with _without_a_trace(model):
        output = model(example)
    if not isinstance(output, Tensor) or output.op is None:
        raise BackwardError(f"draw: the {type(model).__name__} returned {_kind(output)}, expected one tensor that was "
                            "computed from its input. Run the model and draw the tensor that matters: mr.draw(loss)")
    return Graph(output)


def known_input_shape(model: Module) -> tuple[int, ...]:
    """The shape of one image for a net of `minires.models`."""
    if isinstance(model, ResNet):
        size = 224 if model.maxpool is not None else 32
        return 1, model.conv1.in_channels, size, size
    if isinstance(model, FlatNet):
        return 1, model.layer1[0].in_channels, 32, 32
    raise ArgumentError(f"draw: a {type(model).__name__} has to run once on an example, which tells how its layers are "
                        "connected: give input_shape=(N, C, H, W), batch included")


@contextlib.contextmanager
def _without_a_trace(model):
    """A block in which the model is in evaluation mode, no hook sees it run, and no part of it is checkpointed."""
    modules = [module for _, module in model.named_modules()]
    temporary: dict[str, Any] = {"forward_hooks": [], "checkpoint_every": None}
    before = [(module, name, vars(module)[name]) for module in modules for name in temporary if name in vars(module)]
    try:
        for module, name, _ in before:
            setattr(module, name, temporary[name])
        with evaluation(model), temporarily(hooks=Hooks(), grad_enabled=True):
            yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _kind(output):
    return "a tensor without a graph" if isinstance(output, Tensor) else f"a {type(output).__name__}"
