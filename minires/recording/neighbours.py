"""The neighbours of columns on the graph: of those that a record keeps, which come right before which."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from minires.recording.branches import Graph, lines
from minires.recording.column import Column


def graph_of(columns: Iterable[Column]) -> Graph[str]:
    """The graph of these columns' names. The parts of outputs are joined to equal parts alone: "cell[0]" to "cell@2[0]"."""
    columns = list(columns)
    known = {column.name for column in columns}
    last: dict[str, str] = {}  # the last column of each part
    before: dict[str, list[str]] = {}
    for column in columns:
        after = [last[column.part]] if column.after is None and column.part in last else column.after or ()
        before[column.name] = [name for name in after if name in known]
        last[column.part] = column.name
    return Graph(list(before), before)


def with_neighbours(columns: Iterable[Column], kept: list[Column]) -> list[Column]:
    """The columns that are kept, each of which knows those right before it among them.

    Args:
        columns: all of the record, those kept among them.
    """
    columns = list(columns)
    names = {column.name for column in kept}
    if all(column.after is None for column in [*columns, *kept]) or names >= {column.name for column in columns}:
        return kept
    near = graph_of(columns).nearest_before(names)
    return [column._replace(after=tuple(near[column.name])) if column.name in near else column for column in kept]


def around_layers(columns: list[Column]) -> list[Column]:
    """The columns that a layer comes right after, and those that nothing comes after: what enters layers, or leaves."""
    whole = [column for column in columns if not column.part]
    is_layer = {column.name: column.is_layer for column in whole}
    graph = graph_of(whole)
    followers: dict[str, list[str]] = {name: [] for name in is_layer}
    for name, others in graph.nearest_before(is_layer).items():
        for other in others:
            followers[other].append(name)
    return [column for column in whole
            if not followers[column.name] or any(is_layer[name] for name in followers[column.name])]


def merged(groups: Mapping[str, list[Column]]) -> list[Column]:
    """One column for all uses of a module: it comes after what any of them comes after, if that is a module before it.

    In a loop a module comes before itself, and the first of a loop after the last: such edges are left out.
    """
    group = {column.name: name for name, uses in groups.items() for column in uses}
    turn = {name: i for i, name in enumerate(groups)}
    columns = []
    for name, uses in groups.items():
        known = [column.after for column in uses if column.after is not None]
        after = dict.fromkeys(group[other] for others in known for other in others
                              if other in group and turn[group[other]] < turn[name])
        columns.append(uses[0]._replace(name=name, use=1, after=tuple(after) if known else None))
    return columns


def lines_through(columns: list[Column]) -> list[list[int]]:
    """Lines such that each two neighbours are on one of them, as places in the list; the longest one first."""
    place = {column.name: i for i, column in enumerate(columns)}
    graph = graph_of(columns)
    near = graph.nearest_before(graph.order)
    turn = {name: i for i, name in enumerate(graph.order)}
    return [[place[graph.order[i]] for i in line] for line in lines([[turn[x] for x in near[name]] for name in graph.order])]
