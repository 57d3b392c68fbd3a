"""The residual units by name, each a real block of a net: what `minires draw block` shows."""
from collections.abc import Callable

from minires import models
from minires.drawing.diagram import Diagram
from minires.drawing.graph import diagram_of
from minires.drawing.model import graph_of_model
from minires.nn.module import Module

# name: (title, how the block is made, the shape of its input)
UNITS: dict[str, tuple[str, Callable[[], Module], tuple[int, ...]]] = {
    "block": ("BasicBlock", lambda: models.BasicBlock(64, 64), (1, 64, 56, 56)),
    "bottleneck": ("Bottleneck", lambda: models.Bottleneck(256, 64), (1, 256, 56, 56)),
    "preactivation": ("PreactivationBasicBlock", lambda: models.PreactivationBasicBlock(64, 64), (1, 64, 56, 56)),
    "preactivation-bottleneck": ("PreactivationBottleneck", lambda: models.PreactivationBottleneck(256, 64),
                                 (1, 256, 56, 56)),
    "block-A": ("BasicBlock, option A", lambda: models.BasicBlock(64, 128, 2, shortcut="A"), (1, 64, 56, 56)),
    "block-B": ("BasicBlock, option B", lambda: models.BasicBlock(64, 128, 2, shortcut="B"), (1, 64, 56, 56)),
    "plain": ("plain BasicBlock", lambda: models.BasicBlock(64, 64, residual=False), (1, 64, 56, 56)),
}


def unit_diagram(name: str) -> Diagram:
    """The diagram of a unit, by its name in `UNITS`."""
    title, make, shape = UNITS[name]
    return diagram_of(graph_of_model(make(), shape), title)
