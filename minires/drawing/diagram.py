"""`Diagram`: boxes and arrows as data, which the figures, the texts and the animation are made from."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

MAIN, SHORTCUT, DOWNSAMPLE, INPUT = "main", "shortcut", "downsample", "input"  # the kinds of an edge

# What can stand on an edge in place of the norm of a gradient. Each is told apart from 0, which is a gradient.
NOT_COMPUTED = "not computed yet"  # no backward pass has run
NOT_KEPT = "not kept"  # a backward pass has run, and this gradient was freed after its use, as all but those of leaves are
NOT_WANTED = "none wanted"  # there is no gradient here: the input does not ask for one


@dataclass
class Node:
    """One layer, or an op that no layer called.

    Attributes:
        key: tells nodes apart: "n0", "n1", … in forward order.
        name: dotted name of the layer; of a leaf its name; "" where there is none.
        label: what it does, "Conv2d 3×3, 16".
        kind: class of its first op, or "Input".
        shape: of what it makes.
        is_main: does it lie on the main way, or on a shortcut?
    """

    key: str
    name: str
    label: str
    kind: str
    shape: tuple[int, ...]
    is_main: bool = True


@dataclass
class Edge:
    """What flows from one node to another.

    Attributes:
        source, target: keys of nodes.
        kind: "main"; "shortcut" (x itself goes past layers); "downsample" (to or from a layer on a shortcut, which is where
            the shape changes); or "input" (a further input or weight, and what is made of it alone).
        gradient: ‖dL/d(what flows here)‖ as far as it comes back from `target`, a float; or `NOT_COMPUTED`, `NOT_KEPT`,
            `NOT_WANTED`.
        note: what the layers on a shortcut do, where the diagram leaves them out.
    """

    source: str
    target: str
    kind: str = MAIN
    gradient: float | str = NOT_COMPUTED
    note: str = ""


@dataclass
class Diagram:
    """Boxes (`nodes`, in forward order) and arrows (`edges`) of a net or a loss.

    Attributes:
        title: of the figure.
        style: "layers", every layer; "compact", the same in smaller boxes; or "architecture", the weighted layers and
            pooling, as He et al. 2015, figure 3.
        columns: into how many columns a tall figure is broken; None to choose.
        is_of_loss: is it of a tensor, whose gradients are of interest, or of a model?
        backward_order: keys of nodes in the order in which their backward ran, where `gradients=True`.
    """

    title: str
    nodes: list[Node]
    edges: list[Edge]
    style: str = "layers"
    columns: int | None = None
    is_of_loss: bool = False
    backward_order: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Diagram {self.title!r}: {len(self.nodes)} boxes, {len(self.edges)} arrows>"

    def node(self, key: str) -> Node:
        """The node of this key."""
        return self.nodes[int(key[1:])]

    def edges_to(self, key: str) -> list[Edge]:
        """The edges that lead to a node."""
        return self._incoming.get(key, [])

    @cached_property
    def _incoming(self) -> dict[str, list[Edge]]:
        """{key of a node: the edges that lead to it}."""
        incoming: dict[str, list[Edge]] = {}
        for edge in self.edges:
            incoming.setdefault(edge.target, []).append(edge)
        return incoming

    @property
    def shortcuts(self) -> list[list[Edge]]:
        """The shortcuts, each as the list of its edges: one edge where x goes past the layers unchanged."""
        found = []
        for edge in self.edges:
            if edge.kind in (SHORTCUT, DOWNSAMPLE) and self.node(edge.target).is_main:
                way = [edge]
                while not self.node(way[0].source).is_main:
                    way.insert(0, next(before for before in self.edges_to(way[0].source) if before.kind == DOWNSAMPLE))
                found.append(way)
        return found

    @property
    def has_gradients(self) -> bool:
        """Has a backward pass run, so that something is known of the gradients?"""
        return any(edge.gradient not in (NOT_COMPUTED, NOT_WANTED) for edge in self.edges)


def gradient_label(gradient: float | str) -> str:
    """A norm in at most 8 characters; exactly 0 as "0"; a reason where there is none."""
    if isinstance(gradient, str):
        return gradient
    return "0" if gradient == 0 else f"{gradient:.2g}"


def shape_label(shape: Sequence[int]) -> str:
    """(1, 16, 32, 32) as "1 × 16 × 32 × 32"."""
    return " × ".join(str(n) for n in shape) if shape else "scalar"
