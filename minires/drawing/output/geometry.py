"""The lengths of a diagram: where each box stands and each arrow runs, in inches; y counts downward."""
from dataclasses import dataclass
from typing import TypeAlias

from minires.drawing.diagram import INPUT, Diagram
from minires.drawing.output.layout import Layout
from minires.drawing.output.style import Style, lines_of, style_of, text_width

BETWEEN = 0.35  # from one column to the next
SIDE_GAP = 0.25  # left of a side column; more where a number stands there

Point: TypeAlias = tuple[float, float]  # (x, y)

LEFT, RIGHT, ON = "left", "right", "on"  # where the text of an arrow stands


@dataclass
class Route:
    """The corners of an arrow, and the middle of the text that may stand on it."""

    corners: list[Point]
    text_at: Point
    text_is: str = ON  # beside the line, or on it


class Geometry:
    """The places of one diagram, from (0, 0) at its top left.

    Attributes:
        boxes: {key: (x of the middle, y of the middle, width, height)}.
        routes: one `Route` for each edge.
        width, height: of all.
        margin: room at the left of each column, for the sizes of images or the norms of gradients.
    """

    def __init__(self, diagram: Diagram, margin: float):
        self.diagram = diagram
        self.style: Style = style_of(diagram)
        self.margin = margin
        self.box_width: float = max(0.9, self._widest(True))
        self.side_width: float = max(0.6, self._widest(False))
        column_width = margin + self.box_width + 1.0
        self.layout: Layout = Layout(diagram, self.style.row_height, column_width)
        self._side_gap = SIDE_GAP + (0.4 if diagram.has_gradients else 0)
        columns = range(len(self.layout.heights))
        self._lanes_width = [self.style.lane * (self.layout.lanes_of(i) + 0.5) * (self.layout.lanes_of(i) > 0)
                             for i in columns]
        side = self.side_width + self._side_gap
        widths = [margin + self.box_width + self._lanes_width[i] + self.layout.sides_of(i) * side for i in columns]
        self._lefts = [sum(widths[:i]) + i * BETWEEN for i in columns]
        self.width: float = self._lefts[-1] + widths[-1]
        self._top = 0.3 if len(columns) > 1 else 0.05  # the line from the column before comes in at the top
        self.height: float = self._top + max(self.layout.heights) * self.style.row_height
        self.boxes: dict[str, tuple[float, float, float, float]] = {node.key: self._box(node) for node in diagram.nodes}
        self.routes: list[Route] = [self._route(i, edge) for i, edge in enumerate(diagram.edges)]

    def _widest(self, is_main):
        style = self.style
        sizes = [(style.title_size if i == 0 else style.label_size, text, bold)
                 for node in self.diagram.nodes if node.is_main == is_main
                 for i, (text, bold) in enumerate(lines_of(self.diagram, node))]
        widths = {key: text_width(key[1], key[0], key[2]) for key in set(sizes)}
        return max(widths.values(), default=0) + 2 * style.padding

    def _box(self, node):
        spot = self.layout.spots[node.key]
        x = self._main_x(spot.column)
        width = self.box_width
        if spot.side:
            width = self.side_width
            x += self.box_width / 2 + self._lanes_width[spot.column] + spot.side * (width + self._side_gap) - width / 2
        y = self._top + spot.row * self.style.row_height + self.style.box_height / 2
        return x, y, width, self.style.box_height

    # ---- arrows

    def _route(self, i, edge):
        start, end = self.layout.spots[edge.source], self.layout.spots[edge.target]
        if i in self.layout.lanes:
            return self._past(edge, self.layout.lanes[i])
        if start.side == end.side and start.column == end.column:
            return self._down(edge)
        if start.column != end.column and start.side == end.side == 0:
            return self._to_next_column(edge)
        if end.side == 0:
            return self._join(edge)
        return self._leave(edge)

    def _down(self, edge):
        x, top = self._bottom(edge.source)
        _, bottom = self._above(edge.target)
        gap = self.style.gap
        if self.layout.spots[edge.source].side:  # other arrows come from the left there
            return Route([(x, top), (x, bottom)], (x + 0.05, (top + bottom) / 2), RIGHT)
        return Route([(x, top), (x, bottom)], (x - 0.05, bottom - gap / 2), LEFT)

    def _to_next_column(self, edge):
        x, top = self._bottom(edge.source)
        end_x, bottom = self._above(edge.target)
        gutter = self._lefts[self.layout.spots[edge.target].column] - BETWEEN / 2
        turn, entry = top + self.style.gap * 0.8, self._top - 0.2
        corners = [(x, top), (x, turn), (gutter, turn), (gutter, entry), (end_x, entry), (end_x, bottom)]
        return Route(corners, (x - 0.05, top + self.style.gap / 2), LEFT)

    def _fork(self, source, first_passed):
        """Where a shortcut leaves the main way: below its source, or at the top of the column that it goes down in."""
        column = self.layout.spots[first_passed].column
        if self.layout.spots[source].column != column and not self.layout.spots[source].side:
            return self._main_x(column), self._top - 0.09
        x, y = self._bottom(source)
        return x, y + self.style.gap * (0.6 if self.diagram.style == "architecture" else 0.35)

    def _past(self, edge, lane):
        """Past layers, to the sum. In an architecture this is made on the arrow from the last of these layers."""
        if self.diagram.style == "architecture":
            nodes = self.diagram.nodes
            first, last = nodes[int(edge.source[1:]) + 1].key, nodes[int(edge.target[1:]) - 1].key
            x, fork = self._fork(edge.source, first)
            end, y = self._bottom(last)
            y += self.style.gap * 0.25
        else:
            x, fork = self._fork(edge.source, edge.target)
            end, y = self._right(edge.target)
        out = x + self.box_width / 2 + self.style.lane * (lane + 0.5)
        return Route([(x, fork), (out, fork), (out, y), (end, y)], (out, (fork + y) / 2))

    def _leave(self, edge):
        """To the first layer on a shortcut: to its top, and where more comes to it, to its left side."""
        x, fork = self._fork(edge.source, edge.target)
        others = self.diagram.edges_to(edge.target)
        place = next(i for i, other in enumerate(others) if other is edge)
        if place > 0:
            middle, y, width, _ = self.boxes[edge.target]
            left = middle - width / 2
            turn = left - 0.1 - 0.09 * place / len(others)
            return Route([(x, fork), (turn, fork), (turn, y), (left, y)], (turn, (fork + y) / 2))
        end, bottom = self._above(edge.target)
        return Route([(x, fork), (end, fork), (end, bottom)], (end, (fork + bottom) / 2))

    def _join(self, edge):
        """From the last layer on a shortcut to the sum; or from a weight, which stands beside its op or higher, to that."""
        end, y = self._right(edge.target)
        if edge.kind == INPUT and not self.diagram.edges_to(edge.source):
            x, top, width, _ = self.boxes[edge.source]
            turn = end + 0.12
            start = x - width / 2
            corners = [(start, top), (end, y)] if top == y else [(start, top), (turn, top), (turn, y), (end, y)]
            return Route(corners, ((start + turn) / 2, top))
        x, top = self._bottom(edge.source)
        return Route([(x, top), (x, y), (end, y)], (x, (top + y) / 2))

    def _main_x(self, column):
        return self._lefts[column] + self.margin + self.box_width / 2

    def _right(self, key):
        x, y, width, _ = self.boxes[key]
        return x + width / 2, y

    def _bottom(self, key):
        x, y, _, height = self.boxes[key]
        return x, y + height / 2

    def _above(self, key):
        x, y, _, height = self.boxes[key]
        return x, y - height / 2
