"""The norms that stand on the edges of a diagram: of a backward pass beside the user's, or of what was kept of one."""
import math

from minires.arrays.backend import Array
from minires.arrays.norms import euclidean_norm
from minires.debug.undisturbed import undisturbed
from minires.drawing.diagram import NOT_KEPT, NOT_WANTED, Diagram
from minires.drawing.graph import Graph, Way
from minires.engine.backward import backward_steps
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError


def compute(diagram: Diagram, graph: Graph) -> None:
    """Run a backward pass and write the norm of what flows on each edge; nobody's gradients change.

    Raises:
        ArgumentError: the root has several elements.
    """
    if graph.root.size != 1:
        raise ArgumentError(f"draw: gradients need a loss of one element, got shape {graph.root.shape}: reduce it with "
                            "sum(), mean() or cross_entropy first")
    flow = _Flow(graph)
    with undisturbed(graph.root), flow:
        for step in backward_steps(graph.root, retain_graph=True):
            flow.take(step)
    for edge, way in zip(diagram.edges, graph.ways, strict=True):
        if edge.gradient != NOT_WANTED:
            edge.gradient = flow.norm(way)
    first = len(graph.inputs)
    diagram.backward_order = [diagram.nodes[first + group].key for group in flow.finished]


def read_kept(diagram: Diagram, graph: Graph) -> None:
    """Write the norms that an earlier backward pass has left: in the `grad` of leaves, and after `retain_grad()`.

    Without such a pass all stay "not computed yet". A tensor's `grad` is the sum over all that use it, so it is the
    gradient of an edge only where one layer does.
    """
    has_run = any(leaf.grad is not None for leaf in graph.order if isinstance(leaf, Tensor))
    uses: dict[int, int] = {}
    for source, _ in graph.ways:
        uses[source] = uses.get(source, 0) + 1
    for edge, ((source, _), pairs) in zip(diagram.edges, graph.ways.items(), strict=True):
        node = pairs[0][0]
        tensor = node.output if isinstance(node, Op) else node
        if edge.gradient == NOT_WANTED:
            continue
        if tensor is not None and tensor.grad is not None and uses[source] == 1:
            edge.gradient = float(euclidean_norm(tensor.grad))
        elif has_run:
            edge.gradient = NOT_KEPT


class _Flow(BackwardHook):
    """Adds up what each group hands back to each op or leaf that it was computed from; the steps of a checkpointed part
    count for the op that stands for it."""

    def __init__(self, graph):
        self._group_of = dict(graph.group_of)
        self._way_of: dict[tuple[int, int], Way] = {}  # (group, id(op or leaf)) -> the way
        for way, pairs in graph.ways.items():
            for x, _ in pairs:
                self._way_of[way[1], id(x)] = way
        # by (group, id(op or leaf)); few are added up, as most outputs are used once
        self._sums: dict[tuple[int, int], Array] = {}
        self._norms: dict[Way, list[Array]] = {}  # of 0-d arrays
        self._left: dict[int, int] = {}  # group -> how many of its ops have yet to run
        for group in graph.group_of.values():
            self._left[group] = self._left.get(group, 0) + 1
        self._rebuilt: list[Op] = []
        self.finished: list[int] = []  # groups, in the order in which their backward was complete

    def after_rebuild(self, op, last):
        """The ops that take a checkpoint's place belong to its group."""
        group, outside, stack = self._group_of[id(op)], {id(x) for x in op.inputs}, [last]
        while stack:
            node = stack.pop()
            if isinstance(node, Op) and id(node) not in outside and self._group_of.get(id(node)) != group:
                self._rebuilt.append(node)  # kept, as its id must stay its own
                self._group_of[id(node)] = group
                self._left[group] += 1
                stack.extend(node.inputs)
        self._left[group] -= 1  # the checkpoint itself has no step

    def take(self, step):
        """Add what one op handed back."""
        group = self._group_of[id(step.op)]
        for x, gradient in zip(step.op.inputs, step.grad_inputs, strict=True):
            key = group, id(x)
            if x is not None and key in self._way_of:
                self._sums[key] = self._sums[key] + gradient if key in self._sums else gradient
        self._left[group] -= 1
        if self._left[group] == 0:
            self.finished.append(group)
            for key in [key for key in self._sums if key[0] == group]:
                self._norms.setdefault(self._way_of[key], []).append(euclidean_norm(self._sums.pop(key)))

    def norm(self, way):
        """Of all that came back on a way, as one number."""
        return math.hypot(*[float(norm) for norm in self._norms[way]])
