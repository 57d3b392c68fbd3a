"""The shortcuts of a PyTorch model: which of its additions are one, and where their two ways part.

minires has an op for the sum y = F(x) + S(x) of a residual block; in PyTorch it is a + among others, which is known by what
stands behind it on the graph. An addition has a shortcut if its two ways lead back to one tensor x, inside the module or
given to it, and one of them goes through a layer. The way through fewer layers is the shortcut (S): through none, or a
projection; where these are as many, that of fewer ops. The gradients that both ways bring to x are the two terms of

    dL/dx = (∂S/∂x)ᵀ dL/dy + (∂F/∂x)ᵀ dL/dy                    He et al. 2016, arXiv:1603.05027, equation (5)

and are measured there: see torch_flow.py.
"""
from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import torch

from minires.recording.torch_engine import number_of

Node: TypeAlias = Any  # of PyTorch's graph: what made a tensor, its `grad_fn`
Step: TypeAlias = tuple[Node, int, int]  # (a node that uses a tensor, on which way, which of its inputs that is)

SHORTCUT, BRANCH = 0, 1
ADD = "AddBackward0"


class Shortcut(NamedTuple):
    """An addition that has a shortcut, as the graph shows it."""

    add: Node
    users: list[Step]  # the nodes that use x, of each the way, SHORTCUT or BRANCH, and which of its inputs x is
    is_clear: bool  # else both ways are equally long, and one of them is the shortcut by chance


def nodes_since(outputs: Iterable[torch.Tensor], first: int) -> list[Node]:
    """The nodes that these tensors were computed with, from the number `first` on, in the order in which they were made."""
    stack = [x.grad_fn for x in outputs if x.grad_fn is not None]
    found: dict[Node, int] = {}
    while stack:
        node = stack.pop()
        if node not in found and first <= number_of(node) and not is_leaf(node):
            found[node] = number_of(node)
            stack += [before for before, _ in node.next_functions if before is not None]
    return sorted(found, key=found.__getitem__)


def shortcut_of(add: Node, first: int, is_of_layer: Callable[[Node], bool]) -> Shortcut | None:
    """The shortcut of an addition; None where it has none.

    Args:
        add: the node of a sum of two tensors.
        first: the number of the first node that the module made; those before it are not looked behind.
        is_of_layer: did a layer make this node?
    """
    if len(add.next_functions) != 2 or any(node is None for node, _ in add.next_functions):
        return None
    ways = Ways(first)
    for way, (node, output) in enumerate(add.next_functions):
        ways.reach(node, output, (add, way, way))
    users = ways.meet()
    if users is None:
        return None
    lengths = [(sum(is_of_layer(node) or _has_weight(node) for node in way), len(way)) for way in ways.between]
    layers, _ = max(lengths)
    if layers == 0:
        return None
    branch = lengths.index(max(lengths))
    steps = [(node, BRANCH if way == branch else SHORTCUT, i) for node, way, i in users]
    return Shortcut(add, steps, is_clear=lengths[0] != lengths[1])


def is_leaf(node: Node) -> bool:
    """Does it stand for a tensor that was not computed, such as a weight?"""
    return type(node).__name__ == "AccumulateGrad"


def _has_weight(node):
    """Does it use a parameter, or is it of a function that PyTorch does not look into, such as a checkpoint?"""
    return isinstance(node, torch.autograd.function.BackwardCFunction) or any(
        before is not None and is_leaf(before) and isinstance(before.variable, torch.nn.Parameter)
        for before, _ in node.next_functions)


class Ways:
    """Two ways back from an addition, to where they meet."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.between: list[list[Node]] = [[], []]  # the nodes on each way alone
        self._users: dict[Node, list[tuple[int, Step]]] = {}  # node -> [(which of its outputs is used, who uses it)]
        self._queue: list[tuple[int, int, Node]] = []  # the last one made first: a node's turn comes after all its users

    def reach(self, node: Node, output: int, user: Step) -> None:
        """A node that uses an output of this one has been found."""
        if node not in self._users:
            self._users[node] = []
            order = 1 if is_leaf(node) else -number_of(node)  # leaves come last
            heapq.heappush(self._queue, (order, len(self._users), node))
        self._users[node].append((output, user))

    def meet(self) -> list[Step] | None:
        """The users of the tensor where the ways meet; None where they do not, or only in a weight that both use."""
        while self._queue:
            _, _, node = heapq.heappop(self._queue)
            users = self._users[node]
            on_ways = {way for _, (_, way, _) in users}
            if len(on_ways) == 2:
                if is_leaf(node) and isinstance(node.variable, torch.nn.Parameter):
                    continue
                is_one_tensor = len({output for output, _ in users}) == 1
                return [user for _, user in users] if is_one_tensor else None
            if is_leaf(node) or number_of(node) < self.first:
                continue
            [way] = on_ways
            self.between[way].append(node)
            for i, (before, output) in enumerate(node.next_functions):
                if before is not None:
                    self.reach(before, output, (node, way, i))
        return None
