"""The figures of diagrams, drawn with matplotlib: boxes, arrows, the gradients on the arrows, and what it all means."""
import math
from collections.abc import Sequence
from typing import TypeGuard

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.ticker import NullLocator
from matplotlib.typing import ColorType

from minires.arrays.backend import MaybeNone
from minires.drawing.diagram import DOWNSAMPLE, INPUT, SHORTCUT, Diagram, Edge, gradient_label
from minires.drawing.output.geometry import LEFT, ON, RIGHT, Geometry, Point, Route
from minires.drawing.output.style import FONT, GREY, INK, RED, fills_of, lines_of, text_width
from minires.text.plain import plain

EDGE = 0.2  # around everything
BETWEEN = 0.5  # between two diagrams
TITLE = 0.42  # above each
PALE = "#b5b5b5"  # an arrow on which no gradient comes
WORDS = {"shortcut": "shortcut: x itself", "downsample": "side branch with layers of its own", "input": "further input"}


class Artists:
    """One diagram in a figure: its artists by node and edge, which the animation changes.

    Attributes:
        boxes: {key: patch}; arrows: a patch for each edge; numbers: a text for each edge, or None; dots: {index of an edge:
            patch}, where a shortcut begins.
    """

    def __init__(self, ax: Axes, geometry: Geometry, left: float, top: float, norm: LogNorm | None):
        self.geometry = geometry
        self.diagram: Diagram = geometry.diagram
        self._ax, self._left, self._top = ax, left, top
        self._norm = norm  # of the colours
        self._draw_title()
        self.arrows: list[FancyArrowPatch] = []
        self.numbers: list[Text | MaybeNone] = []
        self.dots: dict[int, Patch] = {}
        for edge, route in zip(self.diagram.edges, geometry.routes, strict=True):
            self._draw_edge(edge, route)
        fills = fills_of(self.diagram)
        self.boxes: dict[str, FancyBboxPatch] = {
            node.key: self._draw_box(node, fills[node.key]) for node in self.diagram.nodes}
        if self.diagram.style == "architecture":
            self._draw_sizes()

    def colour_of(self, gradient: float | str) -> ColorType:
        """The colour of an arrow on which this stands."""
        return colour(gradient, self._norm)

    def _at(self, x: float, y: float) -> Point:
        return self._left + x, self._top + TITLE + y

    def _text(self, x, y, text, size, **options):
        options = {"ha": "center", "va": "center", "color": INK, **options}
        return self._ax.text(*self._at(x, y), text, fontsize=size, fontfamily=FONT, zorder=4, **options)

    def _draw_title(self):
        first = self.diagram.nodes[0].key if len(self.geometry.layout.heights) == 1 else None
        x = self.geometry.boxes[first][0] if first else self.geometry.width / 2
        self._text(x, -0.24, plain(self.diagram.title), 11, weight="bold")

    def _draw_box(self, node, fill):
        x, y, width, height = self.geometry.boxes[node.key]
        left, top = self._at(x - width / 2, y - height / 2)
        rounding = height / 2 if node.kind == "ShortcutAdd" else 0.05
        patch = FancyBboxPatch((left, top), width, height, boxstyle=f"round,pad=0,rounding_size={rounding}", facecolor=fill,
                               edgecolor=INK if node.kind != "Leaf" else GREY, linewidth=0.8, zorder=3,
                               linestyle="-" if node.kind != "Leaf" else (0, (4, 2)))
        self._ax.add_patch(patch)
        lines = lines_of(self.diagram, node)
        style = self.geometry.style
        for i, (text, bold) in enumerate(lines):
            shift = 0 if len(lines) == 1 else (-0.24 if i == 0 else 0.22) * height
            self._text(x, y + shift, text, style.title_size if i == 0 else style.label_size,
                       weight="bold" if bold else "normal")
        return patch

    def _draw_edge(self, edge: Edge, route: Route):
        is_shortcut = edge.kind in (SHORTCUT, DOWNSAMPLE)
        shade = self.colour_of(edge.gradient)
        arrow = FancyArrowPatch(path=rounded([self._at(*corner) for corner in route.corners]), arrowstyle="-|>",
                                mutation_scale=6, shrinkA=0, shrinkB=0, color=shade, joinstyle="round", capstyle="butt",
                                linewidth=1.5 if is_shortcut else 1.0, zorder=2,
                                linestyle={DOWNSAMPLE: (0, (1.6, 1.2)), INPUT: (0, (4, 2))}.get(edge.kind, "-"))
        self._ax.add_patch(arrow)
        self.arrows.append(arrow)
        number = None
        if self.diagram.has_gradients:
            number = self._text(*route.text_at, gradient_label(edge.gradient), 6.5, color=text_colour(edge.gradient),
                                ha={LEFT: "right", RIGHT: "left", ON: "center"}[route.text_is])
            if route.text_is == ON:
                number.set_bbox({"facecolor": "white", "pad": 0.8, "linewidth": 0})
        self.numbers.append(number)
        if is_shortcut and self.geometry.layout.spots[edge.source].side == 0:
            dot = Circle(self._at(*route.corners[0]), 0.022, color=shade, linewidth=0, zorder=2)
            self.dots[len(self.arrows) - 1] = self._ax.add_patch(dot)

    def _draw_sizes(self):
        """At the left, where the image becomes smaller: its new size."""
        size, column = None, None
        for node in self.diagram.nodes:
            spot = self.geometry.layout.spots[node.key]
            if len(node.shape) == 4 and (node.shape[2:] != size or spot.column != column):
                size, column = node.shape[2:], spot.column
                x, y, width, _ = self.geometry.boxes[node.key]
                self._text(x - width / 2 - 0.08, y, f"{size[0]} × {size[1]}", 7, ha="right", color="#555555")


def draw_figure(diagrams: Sequence[Diagram]) -> Figure:
    """A figure of diagrams side by side."""
    return draw(diagrams)[0]


def draw(diagrams: Sequence[Diagram], head: float = 0.0) -> tuple[Figure, list[Artists]]:
    """(the figure of diagrams side by side, the `Artists` of each), with so many inches to spare at the top."""
    geometries = [Geometry(diagram, _margin(diagram)) for diagram in diagrams]
    widths = [max(geometry.width, text_width(plain(diagram.title), 11, True))
              for diagram, geometry in zip(diagrams, geometries, strict=True)]
    legend, caption = _legend(diagrams), _caption(diagrams)
    known = sorted(edge.gradient for diagram in diagrams for edge in diagram.edges if _is_drawable(edge.gradient))
    foot = (0.3 if legend else 0) + (0.25 if caption else 0) + (0.5 if known else 0)
    needed = max(text_width(caption, 7.5), sum(text_width(text, 7.5) + 0.55 for text in legend))
    width = max(sum(widths) + BETWEEN * (len(diagrams) - 1), needed, 2.2 if known else 0)
    height = max(geometry.height for geometry in geometries) + TITLE + head
    figure, ax = _canvas(width + 2 * EDGE, height + foot + 2 * EDGE)
    norm = LogNorm(known[0], max(known[-1], known[0] * 1.0001)) if known else None
    left = EDGE + (width - sum(widths) - BETWEEN * (len(diagrams) - 1)) / 2
    drawings = []
    for geometry, own in zip(geometries, widths, strict=True):
        drawings.append(Artists(ax, geometry, left + (own - geometry.width) / 2, EDGE + head, norm))
        left += own + BETWEEN
    _draw_foot(figure, ax, EDGE + height, legend, caption, norm)
    return figure, drawings


def rounded(corners: Sequence[Point], radius: float = 0.07) -> Path:
    """A path through corners with a quarter of a circle, nearly, at each."""
    points, codes = [corners[0]], [Path.MOVETO]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        points += [_toward(corner, before, radius), corner, _toward(corner, after, radius)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*points, corners[-1]], [*codes, Path.LINETO])


def _toward(start, end, distance):
    length = math.dist(start, end)
    share = min(distance, length / 2) / length if length else 0
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def colour(gradient: float | str, norm: LogNorm | MaybeNone) -> ColorType:
    """Of an arrow: by the norm where there is one, red where it is not finite, grey where it is 0 or not kept."""
    if isinstance(gradient, str):
        return INK if norm is None else PALE
    if gradient == 0:
        return PALE
    return colormaps["viridis_r"](0.12 + 0.88 * norm(gradient)) if _is_drawable(gradient) else RED


def text_colour(gradient: float | str) -> ColorType:
    """Of what stands on an arrow."""
    if isinstance(gradient, str):
        return GREY
    return INK if _is_drawable(gradient) else RED


def _is_drawable(gradient: float | str) -> TypeGuard[float]:
    return not isinstance(gradient, str) and 0 < gradient < math.inf


def _margin(diagram):
    return 0.62 if diagram.style == "architecture" else 0.0


def _legend(diagrams):
    """{text: kind of edge}."""
    kinds = [edge.kind for diagram in diagrams for edge in diagram.edges]
    notes = sorted({edge.note for diagram in diagrams for edge in diagram.edges if edge.note})
    words = dict(WORDS)
    if any(diagram.style == "architecture" for diagram in diagrams):
        words["shortcut"] = "identity shortcut"
        words["downsample"] = "the shape changes: " + kind_of_notes(notes)
    elif all(diagram.node(way[-1].target).kind == "ShortcutAdd" for diagram in diagrams for way in diagram.shortcuts):
        words["downsample"] = "shortcut with layers of its own"
    return {words[kind]: kind for kind in (SHORTCUT, DOWNSAMPLE, INPUT) if kind in kinds}


def kind_of_notes(notes: Sequence[str]) -> str:
    """What the layers on the shortcuts have in common, in a few words."""
    kinds = []
    for note in notes:
        kind = "zero padding" if note.startswith("ZeroPad") else note.split(",")[0]
        if kind not in kinds:
            kinds.append(kind)
    return " or ".join(kinds)


def _caption(diagrams):
    known = [edge.gradient for diagram in diagrams for edge in diagram.edges if not isinstance(edge.gradient, str)]
    if any(diagram.has_gradients for diagram in diagrams) and not known:
        return "Gradients: a backward pass has run, and none of these was kept."
    if known:
        return "On each arrow: ‖dL/d·‖, the norm of the gradient that flows back along it."
    if any(diagram.is_of_loss for diagram in diagrams):
        return "Gradients: not computed yet."
    return ""


def _canvas(width, height):
    """A figure of so many inches, whose one Axes has inches for units, and y downward."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    return figure, ax


def _draw_foot(figure, ax, y, legend, caption, norm):
    width = figure.get_figwidth()
    if legend:
        y += 0.3
        x = (width - sum(text_width(text, 7.5) + 0.55 for text in legend) + 0.2) / 2
        for text, kind in legend.items():
            ax.add_line(Line2D([x, x + 0.28], [y - 0.12] * 2, color=INK, linewidth=1.5,
                               linestyle={DOWNSAMPLE: (0, (1.6, 1.2)), INPUT: (0, (4, 2))}.get(kind, "-")))
            ax.text(x + 0.34, y - 0.12, text, fontsize=7.5, fontfamily=FONT, va="center", color=INK)
            x += text_width(text, 7.5) + 0.55
    if caption:
        y += 0.25
        ax.text(width / 2, y - 0.1, caption, fontsize=7.5, fontfamily=FONT, ha="center", va="center", color=INK)
    if norm is not None:
        height = figure.get_figheight()
        bar = figure.add_axes(((width / 2 - 0.9) / width, (height - y - 0.14) / height, 1.8 / width, 0.09 / height))
        colours = colormaps["viridis_r"]
        shades = [colours(0.12 + 0.88 * i / 255) for i in range(256)]
        figure.colorbar(ScalarMappable(norm, ListedColormap(shades)), cax=bar, orientation="horizontal")
        bar.xaxis.set_minor_locator(NullLocator())
        bar.set_xticks([norm.vmin, norm.vmax], [gradient_label(norm.vmin), gradient_label(norm.vmax)], fontsize=6.5)
