"""Where the boxes of a diagram stand and which way its arrows go, in rows and columns: no lengths yet.

The main way goes down, one row a node. What goes past it stands to its right: shortcuts without layers run in lanes, the
layers of the others stand in side columns. A long way is broken into several columns, at rows that no shortcut passes.
"""
import math
from dataclasses import dataclass
from itertools import pairwise

from minires.drawing.diagram import Diagram

MOST_ROWS = {"layers": 26, "compact": 18, "architecture": 44}  # of a single column, unless the user asks


@dataclass
class Spot:
    """Where a node stands: `row` counts from the top of its `column`; `side` is 0 on the main way."""

    column: int
    row: float
    side: int = 0


class Layout:
    """The places of a diagram.

    Attributes:
        spots: {key of a node: `Spot`}.
        lanes: {index of an edge: its lane}, of the edges from main node to main node that go past others.
        heights: the number of rows of each column.
    """

    def __init__(self, diagram: Diagram, row_height: float, column_width: float):
        self.diagram = diagram
        self._beside = _weights(diagram)
        self._rows = _rows(diagram, self._beside)
        self._spans: list[tuple[float, float]] = []  # (first row, last row) of what goes past the main way
        side_of = self._place_side_nodes()
        self.lanes: dict[int, int] = self._lanes()
        starts = self._column_starts(row_height, column_width)
        self.spots: dict[str, Spot] = {}
        for key, row in self._rows.items():
            column = max([i for i, start in enumerate(starts) if start <= row], default=0)
            self.spots[key] = Spot(column, row - starts[column], side_of.get(key, 0))
        self._keep_side_nodes_together()
        self.heights: list[float] = [1 + max((spot.row for spot in self.spots.values() if spot.column == i), default=0)
                        for i in range(len(starts))]

    def lanes_of(self, column: int) -> int:
        """How many lanes a column needs."""
        edges = self.diagram.edges
        return 1 + max((lane for i, lane in self.lanes.items() if self.spots[edges[i].target].column == column), default=-1)

    def sides_of(self, column: int) -> int:
        """How many side columns a column needs."""
        return max((spot.side for spot in self.spots.values() if spot.column == column), default=0)

    def _place_side_nodes(self):
        """{key: side column}; weights first, so that nothing stands between them and their ops."""
        side_of: dict[str, int] = {}
        taken: list[tuple[float, float, int]] = []  # (first row, last row, side column)
        for target in dict.fromkeys(self._beside.values()):
            weights = [key for key, op in self._beside.items() if op == target]
            for i, key in enumerate(reversed(weights)):  # the last beside the op, unless a chain of layers comes in there
                row = self._rows[target] - i - _chains_into(self.diagram, target, self._beside)
                self._stand([key], row - 0.5, row + 0.5, side_of, taken)
        for chain in self._chains():
            end = min(self._rows[edge.target] for edge in self.diagram.edges if edge.source == chain[-1])
            before = [self._rows[edge.source] for edge in self.diagram.edges_to(chain[0])]
            self._stand(chain, max(before, default=end - len(chain) - 1), end, side_of, taken)
        top = min(0, math.floor(min(self._rows.values())))
        self._rows = {key: row - top for key, row in self._rows.items()}
        self._spans = [(first - top, last - top) for first, last in self._spans]
        return side_of

    def _chains(self):
        """The side nodes that are no weights, as chains of nodes each computed from the one before; the last chain first."""
        seen = set(self._beside)
        for node in reversed(self.diagram.nodes):
            if node.is_main or node.key in seen:
                continue
            chain: list[str] = []
            before = [node.key]
            while before:
                chain.insert(0, before[0])
                seen.add(before[0])
                before = [edge.source for edge in self.diagram.edges_to(before[0])
                          if edge.source not in seen and not self.diagram.node(edge.source).is_main]
            yield chain

    def _stand(self, chain, start, end, side_of, taken):
        """Spread nodes over the rows between `start` and `end`, in the first side column that is free there."""
        side = 1
        while any(side == other and start < last and end > first for first, last, other in taken):
            side += 1
        taken.append((start, end, side))
        self._spans.append((start, end))
        for i, key in enumerate(chain):
            self._rows[key] = start + (i + 1) * (end - start) / (len(chain) + 1)
            side_of[key] = side

    def _lanes(self):
        lanes: dict[int, int] = {}
        taken: list[tuple[float, float, int]] = []  # (first row, last row, lane)
        is_architecture = self.diagram.style == "architecture"  # its shortcuts end on the arrow above their target
        past = [(self._rows[edge.target] - self._rows[edge.source], i) for i, edge in enumerate(self.diagram.edges)
                if edge.kind != "main" and self.diagram.node(edge.source).is_main and self.diagram.node(edge.target).is_main]
        for _, i in sorted(past):  # short ones in the inner lanes
            edge = self.diagram.edges[i]
            first, last = self._rows[edge.source], self._rows[edge.target] - is_architecture
            lane = 0
            while any(lane == other and first < end and last > start for start, end, other in taken):
                lane += 1
            taken.append((first, last, lane))
            self._spans.append((first, last))
            lanes[i] = lane
        return lanes

    def _column_starts(self, row_height, column_width):
        """The first row of each column. A column may end after a row if nothing that began before that row goes on."""
        count = max(self._rows.values()) + 1
        columns = self.diagram.columns
        if columns is None:
            columns = 1
            if count > MOST_ROWS[self.diagram.style]:  # about as high as wide
                columns = max(2, round((count * row_height / column_width) ** 0.5))
        wanted = count / columns
        rows = sorted(self._rows[node.key] for node in self.diagram.nodes if node.is_main)
        passed: set[float] = set()
        for first, last in self._spans:
            passed.update(row for row in range(math.floor(first) + 1, math.ceil(last)) if first < row < last)
        starts: list[float] = [0]
        for row, following in pairwise(rows):
            is_near = abs(following - len(starts) * wanted) <= 0.5 * wanted
            if row not in passed and is_near and len(starts) < columns:
                later = [other for other in rows if other > row and other not in passed]
                target = len(starts) * wanted
                if not later or abs(later[0] + 1 - target) >= abs(row + 1 - target):
                    starts.append(following)
        return starts

    def _keep_side_nodes_together(self):
        """A side node above the first row of its column, or beside the column before, moves to what it leads to."""
        for edge in reversed(self.diagram.edges):
            spot, target = self.spots[edge.source], self.spots[edge.target]
            if spot.side and spot.column != target.column and not self.diagram.node(edge.source).is_main:
                place = self._rows[edge.target] - self._rows[edge.source]
                self.spots[edge.source] = Spot(target.column, target.row - place, spot.side)


def _weights(diagram):
    """{key of a weight: key of the op beside which it stands}: what is computed from nothing, for an op on the main way."""
    return {edge.source: edge.target for edge in diagram.edges if not diagram.node(edge.source).is_main
            and diagram.node(edge.target).is_main and not diagram.edges_to(edge.source)}


def _chains_into(diagram, key, beside):
    """How many side nodes that are no weights lead to a node."""
    return sum(1 for edge in diagram.edges_to(key) if not diagram.node(edge.source).is_main and edge.source not in beside)


def _rows(diagram, beside):
    """{key: row}: each node below all that it is computed from, with a row for each weight that stands beside it."""
    rows: dict[str, float] = {}
    for node in diagram.nodes:  # in forward order
        above = [rows[edge.source] + 1 for edge in diagram.edges_to(node.key) if edge.source not in beside]
        weights = list(beside.values()).count(node.key)
        extra = weights + _chains_into(diagram, node.key, beside) - 1 if weights else 0
        rows[node.key] = max(above, default=0) + max(0, extra)
    return rows
