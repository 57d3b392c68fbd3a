"""The diagram of a loss, or of any other result: its ops, grouped into the layers that called them."""
from typing import Any, TypeAlias

from minires.drawing.diagram import DOWNSAMPLE, INPUT, MAIN, NOT_WANTED, SHORTCUT, Diagram, Edge, Node
from minires.drawing.label import op_label
from minires.engine.backward import topological_order
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import BackwardError, DTypeError

Way: TypeAlias = tuple[int, int]  # (source, target), by which what flows from one group to another is known


class Graph:
    """The ops behind a tensor, and how they are grouped.

    Attributes:
        order: ops and leaves, each after its inputs.
        groups: lists of ops, one a node of the diagram; in forward order.
        group_of: {id(op): index of its group}.
        inputs: (source, its name, its shape, the leaf or None) of each leaf or constant that is drawn as a node of its own.
        ways: {(source, target): pairs (op or leaf, op)}: what flows from one group to another. A source below 0 is one of
            the `inputs`.
    """

    def __init__(self, root: Tensor):
        self.root = root
        self.order: list[Op | Tensor] = topological_order(op_behind(root))
        self.groups: list[list[Op]]
        self.group_of: dict[int, int]
        self.groups, self.group_of = _grouped([op for op in self.order if isinstance(op, Op)])
        self.inputs: list[tuple[int, str, tuple[int, ...], Tensor | None]] = []
        self.ways: dict[Way, list[tuple[Op | Tensor | None, Op]]] = {}
        for op in self.order:
            if isinstance(op, Op):
                self._add_ways(op)

    def _add_ways(self, op):
        group = self.group_of[id(op)]
        is_first = not any(isinstance(x, Op) for x in op.inputs)
        for i, x in enumerate(op.inputs):
            if isinstance(x, Op):
                source = self.group_of[id(x)]
                if source != group:
                    self.ways.setdefault((source, group), []).append((x, op))
            elif op.input_shapes[i] is not None and _is_shown(op, i, x, is_first):
                self.ways.setdefault((self._input(op, i, x), group), []).append((x, op))

    def _input(self, op, i, leaf):
        """The number of a leaf; a constant, of which the op knows only the shape, has one for each op."""
        for number, _, _, known in self.inputs:
            if leaf is not None and known is leaf:
                return number
        name = leaf.name if leaf is not None and leaf.name else "input"
        self.inputs.append((-1 - len(self.inputs), name, op.input_shapes[i], leaf))
        return self.inputs[-1][0]


def op_behind(root: Any) -> Op:
    """The op that made a tensor.

    Raises:
        DTypeError: this is no tensor.
        BackwardError: there is nothing to draw behind it.
    """
    if not isinstance(root, Tensor):
        raise DTypeError(f"draw: expected a model (an nn.Module), a loss (a Tensor) or a list of models, got "
                         f"{type(root).__name__}")
    if root.op is None:
        raise BackwardError(f"draw: {root!r} has no graph: it was made under no_grad(), by detach(), or is a leaf. Draw "
                            "what a forward with gradients has made, such as a loss")
    if root.op.released:
        raise BackwardError(f"draw: the graph behind {root!r} was freed by its backward(). Draw it before that, with "
                            "gradients=True for the norms, or keep it: backward(retain_graph=True)")
    return root.op


def diagram_of(graph: Graph, title: str) -> Diagram:
    """The nodes and edges of a graph, with nothing known of the gradients yet.

    The main way goes back from the root: at a `ShortcutAdd` through its residual branch, elsewhere through the input with
    the most ops behind it. All else lies on shortcuts.
    """
    sources = [number for number, *_ in graph.inputs]
    key = {number: f"n{place}" for place, number in enumerate([*sources, *range(len(graph.groups))])}
    main = _main_way(graph)
    nodes = [Node(key[number], name, "leaf", "Leaf", tuple(shape), number in main)
             for number, name, shape, _ in graph.inputs]
    for number, ops in enumerate(graph.groups):
        last = ops[-1]
        nodes.append(Node(key[number], last.layer or (last.output is not None and last.output.name) or "",
                          " + ".join(op_label(op) for op in ops), type(ops[0]).__name__, last.made[0], number in main))
    edges: list[Edge] = []
    after_main = set(main)
    for (source, target), pairs in graph.ways.items():  # in the order of the targets, so that sources have been seen
        if source not in after_main:
            kind = INPUT
        elif source not in main or target not in main:
            kind = DOWNSAMPLE
            after_main.add(target)
        else:
            kind = MAIN if main[target] == main[source] + 1 else SHORTCUT
        edges.append(Edge(key[source], key[target], kind))
        if pairs[0][0] is None or (isinstance(pairs[0][0], Tensor) and not pairs[0][0].requires_grad):
            edges[-1].gradient = NOT_WANTED
    return Diagram(title, nodes, edges)


def _grouped(ops):
    """Ops of one call of one layer, together: (groups, {id(op): index}).

    An op joins the group before it if that is all that it was computed from, so no group leads back into itself; and if
    the group has no op of its class yet, as a second one tells of a second call of the layer. A shortcut-add stands alone.
    """
    groups: list[list[Op]] = []
    group_of: dict[int, int] = {}
    for op in ops:
        before = {group_of[id(x)] for x in op.inputs if isinstance(x, Op)}
        number = before.pop() if len(before) == 1 else None
        if number is None or not _belongs(op, groups[number]):
            number = len(groups)
            groups.append([])
        groups[number].append(op)
        group_of[id(op)] = number
    return groups, group_of


def _belongs(op, group):
    kinds = {type(member).__name__ for member in group}
    return (op.layer is not None and op.layer == group[0].layer and type(op).__name__ not in kinds
            and "ShortcutAdd" not in {type(op).__name__, *kinds})


def _is_shown(op, i, x, is_first):
    """Is this input of an op, a leaf or a constant, a node of its own? A layer's parameters are part of the layer."""
    if x is None:
        return is_first and i == 0  # where the net begins: images that want no gradient
    if op.layer is None:
        return True
    return not x.name.startswith(f"{op.layer}.") if x.name else i == 0


def _main_way(graph):
    """{number of a group or an input on the main way: its place}."""
    depth = {number: 0 for number, *_ in graph.inputs}
    before: dict[int, list[int]] = {}
    for (source, target) in graph.ways:
        before.setdefault(target, []).append(source)
    for target in range(len(graph.groups)):
        depth[target] = 1 + max((depth[source] for source in before.get(target, [])), default=0)
    way = [graph.group_of[id(graph.root.op)]]
    while before.get(way[-1]):
        op = graph.groups[way[-1]][0]
        branch = op.inputs[0] if type(op).__name__ == "ShortcutAdd" else None
        if isinstance(branch, Op):
            way.append(graph.group_of[id(branch)])
        else:
            way.append(max(before[way[-1]], key=lambda number: depth[number]))
    return {number: place for place, number in enumerate(reversed(way))}
