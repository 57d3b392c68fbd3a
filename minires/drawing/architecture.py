"""The architecture of a net as a diagram of its weighted layers and pooling, as He et al. 2015, figure 3, shows it."""
from itertools import pairwise

from minires.drawing.diagram import DOWNSAMPLE, SHORTCUT, Diagram, Edge, Node
from minires.drawing.graph import Graph, diagram_of
from minires.drawing.label import op_label, paper_label
from minires.engine.op import Op


def architecture_of(graph: Graph, title: str) -> Diagram:
    """The layers on the main way that the paper shows, and an edge for each shortcut around some of them.

    A shortcut starts at the last shown layer before its ways part, and ends at the first shown layer after its ways meet:
    that is the layer which is given the sum. Layers on the shortcut become its `note`.

    Args:
        graph: of a run of the net.
        title: the net's name.
    """
    full = diagram_of(graph, title)
    labels = {node.key: _label(node, graph, full) for node in full.nodes}
    main = [node for node in full.nodes if node.is_main]
    shown: list[Node] = []
    place = {}  # key -> how many shown layers stand at or before it
    for node in main:
        label = labels[node.key]
        if label:
            shown.append(Node(f"n{len(shown)}", node.name, label, node.kind, node.shape))
        place[node.key] = len(shown)
    ways = [(way, place[way[0].source], place[way[-1].target]) for way in full.shortcuts if way[0].source in place]
    if any(end == len(shown) for _, _, end in ways):  # the net ends with a sum
        shown.append(Node(f"n{len(shown)}", "", "output", "Leaf", main[-1].shape))
    edges = [Edge(one.key, other.key) for one, other in pairwise(shown)]
    for way, start, end in ways:
        if start < end:  # else it goes around layers that are not shown
            passed = [full.node(edge.target) for edge in way[:-1]]
            note = ", ".join(labels[node.key] or node.label for node in passed if node.kind != "BatchNorm")
            edges.append(Edge(shown[start - 1].key, shown[end].key, DOWNSAMPLE if passed else SHORTCUT, note=note))
    return Diagram(title, shown, edges, style="architecture")


def _label(node, graph, full):
    """What the figure says of a node, or None where it leaves it out."""
    number = int(node.key[1:]) - len(graph.inputs)
    if number < 0:
        return "image" if node.is_main and len(node.shape) == 4 else "input" if node.is_main else None
    words = [paper_label(op) or _other_weighted(op) for op in graph.groups[number]]
    return " + ".join(word for word in words if word) or None


def _other_weighted(op):
    """A user's own op with weights is a layer too."""
    if type(op).__name__ in ("BatchNorm", "ShortcutAdd") or op.layer is None:
        return None
    has_weights = any(x is not None and not isinstance(x, Op) and x.name != "input" for x in op.inputs)
    return op_label(op) if has_weights else None
