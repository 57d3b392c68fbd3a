"""Colours, sizes and words of the figures. Lengths are in inches, font sizes in points."""
from dataclasses import dataclass

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from minires.drawing.diagram import Diagram, Node, shape_label
from minires.text.plain import plain_line

FONT = "DejaVu Sans"  # comes with matplotlib
INK, GREY, RED = "#222222", "#8a8a8a", "#b3001b"

FILL_OF_KIND = {  # light tints of Okabe and Ito's colours, told apart by people with any colour vision
    "Conv2d": "#cfe3f3", "Conv1d": "#cfe3f3", "ConvTranspose2d": "#cfe3f3", "Linear": "#f9d9bf", "Embedding": "#f9d9bf",
    "BatchNorm": "#cdebe0", "LayerNorm": "#cdebe0", "GroupNorm": "#cdebe0", "RMSNorm": "#cdebe0",
    "ReLU": "#fdf0c2", "Sigmoid": "#fdf0c2",
    "Tanh": "#fdf0c2", "LeakyReLU": "#fdf0c2", "ELU": "#fdf0c2", "Softplus": "#fdf0c2", "SiLU": "#fdf0c2",
    "GELU": "#fdf0c2", "TanhGELU": "#fdf0c2", "Softmax": "#fdf0c2", "LogSoftmax": "#fdf0c2",
    "UpsampleNearest": "#ecd7e4", "UpsampleBilinear": "#ecd7e4",
    "MaxPool2d": "#ecd7e4", "AvgPool2d": "#ecd7e4", "GlobalAvgPool2d": "#ecd7e4",
    "ZeroPadShortcut": "#e4e4e4", "ShortcutAdd": "#ffffff", "Leaf": "#ffffff", "CrossEntropy": "#f4c7c3",
    "BinaryCrossEntropyWithLogits": "#f4c7c3", "MSELoss": "#f4c7c3",
}
FILL_OF_SIZE = ("#dcd3ee", "#cfe3f3", "#cdebe0", "#fdf0c2", "#f9d9bf", "#ecd7e4")  # of an architecture, by image size
OTHER = "#f1f1f1"


@dataclass(frozen=True)
class Style:
    """The measures of one kind of diagram."""

    box_height: float
    gap: float  # between the boxes of two rows
    title_size: float  # the first line of a box
    label_size: float  # the second
    lane: float  # from one lane to the next
    padding: float = 0.12  # beside the text of a box

    @property
    def row_height(self) -> float:
        """From one row to the next."""
        return self.box_height + self.gap


def style_of(diagram: Diagram) -> Style:
    """The measures for a diagram: gradients need room between the boxes."""
    if diagram.style == "architecture":
        return Style(box_height=0.215, gap=0.15, title_size=8, label_size=7, lane=0.22)
    if diagram.style == "compact":
        return Style(box_height=0.2, gap=0.2, title_size=7.5, label_size=7, lane=0.55, padding=0.1)
    if diagram.has_gradients:
        return Style(box_height=0.38, gap=0.27, title_size=8, label_size=7, lane=0.62)
    return Style(box_height=0.38, gap=0.2, title_size=8, label_size=7, lane=0.26)


def lines_of(diagram: Diagram, node: Node) -> list[tuple[str, bool]]:
    """The text of a box: [(text, is it bold?)]. A dollar is a dollar, and begins no formula."""
    return [(plain_line(text).replace("$", "\\$"), is_bold) for text, is_bold in _lines(diagram, node)]


def _lines(diagram, node):
    if diagram.style == "architecture":
        return [(node.label, False)]
    if diagram.style == "compact":
        return [(node.name or node.label, False)]
    shape = ""
    if not node.name:
        return [(node.label, True), (shape_label(node.shape), False)]
    if _changes_shape(diagram, node):
        shape = "  →  " + shape_label(node.shape)
    if node.kind == "Leaf":
        return [(node.name, True), (shape_label(node.shape), False)]
    return [(node.name, True), (node.label + shape, False)]


def fills_of(diagram: Diagram) -> dict[str, str]:
    """{key: colour of the box}: by what a layer does; in an architecture by the size of the image."""
    if diagram.style != "architecture":
        return {node.key: FILL_OF_KIND.get(node.kind.split(" ")[0], OTHER) for node in diagram.nodes}
    sizes = []
    for node in diagram.nodes:
        if len(node.shape) == 4 and node.kind != "Leaf" and node.shape[2:] not in sizes:
            sizes.append(node.shape[2:])
    return {node.key: FILL_OF_SIZE[sizes.index(node.shape[2:]) % len(FILL_OF_SIZE)]
            if len(node.shape) == 4 and node.kind != "Leaf" else "#ffffff" for node in diagram.nodes}


def text_width(text: str, size: float, bold: bool = False) -> float:
    """In inches."""
    if not text.strip():
        return 0.0
    font = FontProperties(family=FONT, weight="bold" if bold else "normal")
    x = TextPath((0, 0), text, size=size, prop=font).vertices[:, 0]  # get_extents() takes 50 times as long
    return float(x.max() - x.min()) / 72


def _changes_shape(diagram, node):
    before = [edge.source for edge in diagram.edges_to(node.key)]
    return any(diagram.node(key).shape != node.shape for key in before) if before else True
