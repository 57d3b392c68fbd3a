"""Branches: which column was computed from which, how deep each one is, and the lines that join them in a figure.

A net is a directed acyclic graph, and its columns are some of its nodes. All that a figure needs is who comes before whom:
the transitive reduction of that relation (Aho, Garey and Ullman 1972, "The transitive reduction of a directed graph"), in
which a shortcut is no edge of its own, as the way through its branch says the same. So a residual net is one line, as its
plain twin is, and an auxiliary head, or the second branch of a siamese net, is a line of its own.

The depth of a node is the number of layers on the longest path to it from an input, as in the longest-path layering of
graph drawings and in the depth of a circuit. A path that starts at an input of its own and joins another one later, as each
step's input of a recurrent net does, is moved to where it joins.
"""
from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

Node = TypeVar("Node", bound=Hashable)


class Graph(Generic[Node]):
    """Nodes, and for each of them those that it was computed from.

    Attributes:
        order: the nodes, each after those before it; as given, as far as that allows.
        before: {node: the nodes that it was computed from}.
    """

    def __init__(self, nodes: Sequence[Node], before: Mapping[Node, Iterable[Node] | None]) -> None:
        """Of a graph with a circle, as several passes of a net that changes may leave, one edge of it is left out.

        Args:
            nodes: in forward order.
            before: as above. None, or nothing: not known, so that the one before it in forward order stands for it.
        """
        self.before: dict[Node, list[Node]] = {}
        known = set(nodes)
        for i, node in enumerate(nodes):
            given = before.get(node)
            self.before[node] = list(nodes[max(0, i - 1):i] if given is None else [x for x in given if x in known])
        self.order: list[Node] = _in_order(nodes, self.before)
        self._place = {node: i for i, node in enumerate(self.order)}
        for i, node in enumerate(self.order):
            self.before[node] = [x for x in self.before[node] if self._place[x] < i]

    def nearest_before(self, kept: Iterable[Node]) -> dict[Node, list[Node]]:
        """{a kept node: the kept nodes right before it}, in the graph's order: the transitive reduction among these."""
        wanted = set(kept)
        near: dict[Node, dict[Node, None]] = {}  # of each node, the kept ones that lead to it without another between
        for node in self.order:
            near[node] = {}
            for x in self.before[node]:
                near[node].update({x: None} if x in wanted else near[x])
        return {node: self._without_ancestors(near[node], near) for node in self.order if node in wanted}

    def _without_ancestors(self, nodes: Iterable[Node], near: Mapping[Node, Iterable[Node]]) -> list[Node]:
        """Those of the nodes from which no other one of them was computed."""
        nodes = list(nodes)
        if len(nodes) < 2:
            return nodes
        first = min(self._place[node] for node in nodes)
        ancestors: set[Node] = set()
        stack = [x for node in nodes for x in near[node]]
        while stack:
            node = stack.pop()
            if node not in ancestors and self._place[node] >= first:
                ancestors.add(node)
                stack.extend(near[node])
        return sorted([node for node in nodes if node not in ancestors], key=self._place.__getitem__)

    def depths(self, counts: Mapping[Node, int], own: Mapping[Node, int], lead: Mapping[Node, int]) -> dict[Node, int]:
        """{node: how many layers deep it is}.

        Args:
            counts: how much deeper what follows a node is: 1 for a layer, 0 for others.
            own: how much deeper the node itself is than what it follows: 1 for a layer on a shortcut too.
            lead: the layers, none of them a node, that come before it and after what it follows.
        """
        above: dict[Node, int] = {}  # the depth of what each node follows
        through: dict[Node, int] = {}  # the depth that what follows it finds
        for node in self.order:
            above[node] = max([through[x] for x in self.before[node]], default=0) + lead.get(node, 0)
            through[node] = above[node] + counts[node]
        moved = self._moved(above, through)
        return {node: above[node] + own[node] + moved[node] for node in self.order}

    def _moved(self, above: Mapping[Node, int], through: Mapping[Node, int]) -> dict[Node, int]:
        """How far each node is moved to the right: with a path that starts at an input of its own, to where it joins.

        As far as possible, so that no node moves further than what it follows, or passes what follows it.
        """
        moved = self._with_room({}, above, through)
        while True:
            before = dict(moved)
            for node in self.order:
                moved[node] = min([moved[node], *[moved[x] for x in self.before[node]]])
            moved = self._with_room(moved, above, through)
            if moved == before:
                return moved

    def _with_room(self, moved: Mapping[Node, int], above: Mapping[Node, int],
                   through: Mapping[Node, int]) -> dict[Node, int]:
        """The moves, where there are any, shortened such that no node passes what follows it; the last nodes stay."""
        room: dict[Node, int] = dict(moved)
        for node in reversed(self.order):
            room.setdefault(node, 0)
            for x in self.before[node]:
                space = above[node] + room[node] - through[x]
                room[x] = min(room[x], space) if x in room else space
        return room


def _in_order(nodes: Sequence[Node], before: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """The nodes, each after those before it, and otherwise as given: depth first, without recursion."""
    order: dict[Node, None] = {}
    begun: set[Node] = set()
    for last in nodes:
        stack = [last]
        while stack:
            node = stack[-1]
            begun.add(node)
            waits_for = next((x for x in before[node] if x not in begun), None)
            if waits_for is None:
                order[stack.pop()] = None
            else:
                stack.append(waits_for)
    return list(order)


def lines(before: Sequence[Sequence[int]]) -> list[list[int]]:
    """Lines through nodes 0, 1, …, the one with most nodes first: a trunk, and branches that leave it and join it again.

    Each node is joined to that one before it to which the longest path leads, and to that one behind it from which the
    longest path leads on. So where three branches follow three others, as in two Inception modules in a row, five of the
    nine edges are drawn.

    Args:
        before: of each node those right before it, which are smaller numbers.
    """
    trunk, heir = _longest_ways(before)
    drawn: list[list[int]] = []
    ends: dict[int, list[int]] = {}  # node -> the line that ends there and goes on
    for i, nodes in enumerate(before):
        joined = []  # the lines that end here
        for j in nodes:
            if heir[j] == i and j in ends:
                joined.append(ends.pop(j))
            elif heir[j] == i or trunk[i] == j:
                joined.append([j])
                drawn.append(joined[-1])
        if not joined:
            joined = [[]]
            drawn += joined
        for line in joined:
            line.append(i)
        ends[i] = max(joined, key=len)
    return sorted(drawn, key=len, reverse=True)


def _longest_ways(before):
    """({node: that before it on the longest path to it}, {node: that behind it on the longest path from it})."""
    trunk: dict[int, int] = {}
    length: list[int] = []
    for i, nodes in enumerate(before):
        trunk.update({i: max(nodes, key=length.__getitem__)} if nodes else {})
        length.append(length[trunk[i]] + 1 if nodes else 0)
    heir: dict[int, int] = {}
    follow = [0] * len(before)
    for i in reversed(range(len(before))):
        for j in before[i]:
            if j not in heir or follow[i] + 1 >= follow[j]:
                follow[j], heir[j] = follow[i] + 1, i
    return trunk, heir
