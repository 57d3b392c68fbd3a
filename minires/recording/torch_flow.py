"""The flow through the shortcuts of a PyTorch model, as shortcut_flow.py measures it in minires: where their ways part.

What a shortcut is says torch_shortcuts.py. Each node that uses the tensor x at which the two ways part has a hook, which
sees what the node brings to x: the terms are those of the pass itself. They are measured at x, also where a block starts
with layers that both ways share, as a pre-activation block with a projection does: there the recorder of minires follows
them on to the block's input.
"""
from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

from minires.recording.numbers import FLOW_QUANTITIES
from minires.recording.torch_engine import next_number
from minires.recording.torch_norms import cosine, euclidean_norm
from minires.recording.torch_shortcuts import ADD, Node, Shortcut, nodes_since, shortcut_of
from minires.recording.uses import Use


class Fork:
    """Where the ways of one run of an addition part. It holds no node of the graph, on which its hooks live."""

    def __init__(self, use: Use, is_numbered: bool, expected: int) -> None:
        self.use = use  # whose numbers they are
        self.is_numbered = is_numbered  # has the addition a column of its own?
        self.expected = expected  # so many contributions come in each pass


class Terms:
    """What has come to a fork in one backward pass."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: list[Any] = [None, None]  # through the shortcut, through the branch

    def add(self, way: int, gradient: torch.Tensor | None) -> None:
        """A contribution; None where there is none."""
        self.count += 1
        if gradient is not None:
            term, gradient = self.sums[way], gradient.detach()
            self.sums[way] = gradient if term is None else term + gradient  # not in place: it is the pass's own

    def measured(self) -> list[Any]:
        """The norms of both terms and of their sum, and the cosine between them: 0-d; [] where one is missing."""
        shortcut, branch = self.sums
        if shortcut is None or branch is None:
            return []
        norms = euclidean_norm(shortcut), euclidean_norm(branch)
        return [*norms, euclidean_norm(shortcut + branch), cosine(shortcut, branch, *norms)]


class ForkHook:
    """What a node calls with the gradients that it brings to its inputs."""

    def __init__(self, arrived: Callable[[Fork, int, Any], None], fork: Fork, places: list[tuple[int, int]]) -> None:
        self.arrived = arrived
        self.fork = fork
        self.places = places  # (way, which of its inputs x is)

    def __call__(self, grad_inputs: tuple[Any, ...], grad_outputs: tuple[Any, ...]) -> None:
        """The node has run."""
        for way, i in self.places:
            self.arrived(self.fork, way, grad_inputs[i])


class TorchFlow:
    """Finds the shortcuts in what the modules of a model make, and names them.

    That of a module with one is known by the module's name. Where a module has several, or is the net itself, they are
    numbered in forward order, "layers.0.shortcut_add1" or "shortcut_add1".
    """

    def __init__(self, with_parameters: Iterable[str], arrived: Callable[[Fork, int, Any], None], marks: object) -> None:
        self._with_parameters = set(with_parameters)  # names of the modules that have parameters of their own
        self._arrived = arrived  # what is told of each contribution
        self._marks = marks  # the key in a node's metadata under which the hooks are that know the module
        self._first: dict[tuple[int, int], int] = {}  # (thread, id(module)) -> the number of the first node that it makes
        self._found_any = False
        self._warned: set[str] = set()  # names of the modules whose shortcut is not clear

    def before_module(self, module: torch.nn.Module) -> None:
        """What the module makes has larger numbers than what there is."""
        self._first[threading.get_ident(), id(module)] = next_number()

    def after_module(self, module: torch.nn.Module, name: str,
                     outputs: Iterable[torch.Tensor]) -> tuple[list[Node], list[Shortcut]]:
        """(the nodes that it made, in order; those of its shortcuts that no module inside it has)."""
        first = self._first.pop((threading.get_ident(), id(module)), next_number())
        nodes = nodes_since(outputs, first)
        adds = [node for node in nodes if node.name() == ADD and self not in node.metadata]
        found = [shortcut_of(add, first, self._is_of_layer) for add in adds]
        shortcuts = [shortcut for shortcut in found if shortcut is not None]
        for shortcut in shortcuts:
            shortcut.add.metadata[self] = True
            self._found_any = True
            if not shortcut.is_clear:
                self._warn_of_twins(name)
        return nodes, [shortcut for shortcut in shortcuts if shortcut.is_clear]

    def _warn_of_twins(self, name):
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(f"record_gradients: {name or 'the model'!r} adds two ways of equally many layers and ops, so that "
                          "neither is known to be the shortcut: its flow is not recorded", stacklevel=8)

    def watch(self, shortcut: Shortcut, use: Use, is_numbered: bool) -> None:
        """From now on the backward pass measures this shortcut."""
        fork = Fork(use, is_numbered, len(shortcut.users))
        places: dict[Node, list[tuple[int, int]]] = {}
        for node, way, i in shortcut.users:
            places.setdefault(node, []).append((way, i))
        for node, of_node in places.items():
            node.register_hook(ForkHook(self._arrived, fork, of_node))

    def times_around(self, nodes: list[Node], add: Node) -> tuple[list[int], list[int]]:
        """When the modules ran that returned what was made before this addition, and what was made after it."""
        place = nodes.index(add)
        return self._times_at(nodes[:place]), self._times_at(nodes[place:])

    def end(self) -> None:
        """Say so where nothing was found."""
        if not self._found_any:
            warnings.warn("record_gradients: shortcut_flow=True, and in no module of the model a tensor comes to a sum both "
                          "through a layer and on a shorter way: no flow is recorded", stacklevel=4)

    def _times_at(self, nodes):
        return [use.time[0] for node in nodes for use in self._uses_at(node) if use.time is not None]

    def _uses_at(self, node):
        return [use for hook in node.metadata.get(self._marks, {}).values() for use, _ in hook.uses]

    def _is_of_layer(self, node):
        return any(use.name in self._with_parameters for use in self._uses_at(node))


def measured(fork: Fork, terms: Terms) -> list[tuple[str, Use, Any]]:
    """(quantity, use, number) of a fork to which all has come."""
    return list(zip(FLOW_QUANTITIES, itertools.repeat(fork.use), terms.measured(), strict=False))
