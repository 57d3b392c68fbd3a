"""The flow through a shortcut: how much of a block's gradient came through the shortcut, and how much through the branch.

A residual block computes y = F(x) + S(x), where the shortcut S is the identity, zero padding or a projection. So

    dL/dx = (∂S/∂x)ᵀ dL/dy + (∂F/∂x)ᵀ dL/dy                    He et al. 2016, arXiv:1603.05027, equation (5)
            through the shortcut   through the branch

The backward pass adds the two terms up where the ways part, which is at x. `ShortcutFlow` watches what is added there: the
terms are those of the pass itself. Where a block starts with layers that both ways share, as a pre-activation block with a
projection does, both terms are followed on through the backward of these layers, to x.
"""
import heapq
import weakref
from collections.abc import Sequence
from typing import Any, TypeAlias

from minires.arrays.backend import Array, MaybeNone
from minires.arrays.norms import cosine, euclidean_norm
from minires.engine.backward import BackwardStep, topological_order
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.state import state
from minires.engine.tensor import Tensor
from minires.nn.module import Module
from minires.ops.shortcut import ShortcutAdd
from minires.recording.numbers import FLOW_QUANTITIES
from minires.recording.running_pass import running_pass
from minires.recording.uses import Use, tensors_of

Node: TypeAlias = Op | Tensor  # an op, or a leaf
Way: TypeAlias = tuple[Op, int, int]  # (op, BRANCH or SHORTCUT, which of the op's inputs the node is)
Measured: TypeAlias = tuple[Array, ...]  # ‖shortcut term‖, ‖branch term‖, ‖sum‖, cosine: 0-d

BRANCH, SHORTCUT = 0, 1  # the places of F(x) and S(x) among the inputs of a ShortcutAdd


class Fork:
    """The place where the ways of a shortcut-add part, and the terms of its gradient that have arrived there."""

    def __init__(self, name: str, use: Use | None, layer: str | None, node: Node) -> None:
        self.name = name  # in the record
        self.use = use  # whose number it is there
        self.layer = layer  # path of the module that adds; None where its terms are wanted at the fork itself
        self.node = node  # the op whose output goes both ways, or a leaf
        self.terms: list[Array | MaybeNone] = [None, None]  # through the branch, through the shortcut

    def add(self, way: int, gradient: Array) -> None:
        """The contribution of one op; a branch may use x several times."""
        term = self.terms[way]
        self.terms[way] = gradient if term is None else term + gradient  # not in place: the array is the pass's own


class ShortcutFlow(BackwardHook):
    """Measures the flow at each `ShortcutAdd` of a net. `record_gradients(model, shortcut_flow=True)` uses it.

    The add of a module is known by the module's name, "layer1.0", and measured at the module's input. Where a module adds
    several times, or is the net itself, its adds are numbered in forward order, "body.shortcut_add1" or "shortcut_add1",
    and each is measured where its ways part.
    """

    def __init__(self) -> None:
        self._names: weakref.WeakKeyDictionary[Op, tuple[str, Use | None, str | None]] = weakref.WeakKeyDictionary()
        self._last_pass: tuple[int, list[tuple[Use | None, Measured]]] = 0, []  # the pass, and what was measured in it
        self._forget()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._forget()  # what an interrupted pass may have left

    def _forget(self):
        self._running = 0  # the pass that is measured: of two that take turns, the one that began last
        self._place: dict[Node, int] = {}  # in an order of the graph in which each op comes after its inputs
        self._watched: dict[Op, list[tuple[Fork, int, int]]] = {}  # op -> [(fork, way, which of its inputs the fork is)]
        self._forks: dict[Node, list[Fork]] = {}  # those at each node
        self._measured: list[tuple[Use | None, Measured]] = []

    def after_module(self, module: Module, name: str, inputs: Sequence[Any], output: Any,
                     use: Use | None = None) -> dict[str, tuple[Op, list[Op], list[Op]]]:
        """A module's forward is done: name its adds.

        Args:
            name: the module's name in the record; "" for the net itself.
            use: this run of the module.

        Returns:
            {name: (the add, the ops before it, those after it)} of the adds that do not have the module's own name. Whose
            numbers these are, `name_use` says.
        """
        order = ops_between(inputs, output)
        adds = [op for op in order if isinstance(op, ShortcutAdd) and op.layer == (module.path or state.layer)]
        if name and len(adds) == 1:
            self._names[adds[0]] = name, use, module.path
            return {}
        numbered: dict[str, tuple[Op, list[Op], list[Op]]] = {}
        for i, add in enumerate(adds):
            own_name = f"{name}.shortcut_add{i + 1}" if name else f"shortcut_add{i + 1}"
            self._names[add] = own_name, None, None
            place = order.index(add)
            numbered[own_name] = add, order[:place], order[place:]
        return numbered

    def name_use(self, add: Op, use: Use) -> None:
        """What is measured at an add with a name of its own is of this use."""
        self._names[add] = use.name, use, None

    # ---- the backward pass

    def start_of_pass(self, root: Tensor) -> None:
        """Number the graph, so that the place where two ways meet can be found."""
        self._forget()
        self._running = running_pass()
        self._number(root.op, 0)

    def after_rebuild(self, op: Op, last: Op) -> None:
        """A checkpointed part has been made again: its ops stand in the place of the one that stood for them."""
        if running_pass() != self._running:
            return
        self._finish(op)
        rebuilt = self._number(last, self._place.get(op, 0))
        for fork, way, _ in self._watched.pop(op, []):
            for user in rebuilt:
                self._watch(fork, way, user)

    def before_step(self, step: BackwardStep) -> None:
        """The gradient of an op's output is complete. Do ways part there? Or does it add two ways?"""
        add = step.op if isinstance(step.op, ShortcutAdd) and step.op in self._names else None
        if (add is None and step.op not in self._forks) or running_pass() != self._running:
            return
        self._finish(step.op)
        if add is not None:
            name, use, layer = self._names[add]
            node, users = where_ways_part(add, self._place)
            if node is not None:
                fork = Fork(name, use, layer, node)
                self._forks.setdefault(node, []).append(fork)
                for op, way, i in users:
                    self._watched.setdefault(op, []).append((fork, way, i))

    def after_step(self, step: BackwardStep) -> None:
        """Take what an op contributes to the forks that it was computed from."""
        if step.op in self._watched and running_pass() == self._running:
            for fork, way, i in self._watched.pop(step.op):
                fork.add(way, step.grad_inputs[i])

    def leaf_gradient(self, leaf: Tensor, gradient: Array) -> None:
        """Ways may part at a leaf, such as an image whose gradient is wanted."""
        if leaf in self._forks and running_pass() == self._running:
            self._finish(leaf)

    def end_of_pass(self) -> None:
        """Keep what was measured, for `numbers`."""
        if running_pass() == self._running:
            self._last_pass = self._running, self._measured
            self._forget()

    def numbers(self, running: int) -> list[tuple[str, Use, Array]]:
        """(quantity, use, 0-d array) of a pass that has just ended; none of one beside which another pass began."""
        measured_pass, measured = self._last_pass
        self._last_pass = 0, []
        return [(quantity, use, number) for use, run in measured if use is not None and measured_pass == running
                for quantity, number in zip(FLOW_QUANTITIES, run, strict=True)]

    def measure(self, name: str, through_shortcut: Array, through_branch: Array) -> Measured:
        """The numbers of an add, of which both terms are complete, two arrays of one shape."""
        shortcut_norm, branch_norm = euclidean_norm(through_shortcut), euclidean_norm(through_branch)
        together = euclidean_norm(through_shortcut + through_branch)
        angle = cosine(through_shortcut, through_branch, shortcut_norm, branch_norm)
        return shortcut_norm, branch_norm, together, angle

    def _number(self, root, start):
        """Give places, from `start` on, to the nodes behind `root` that have none; returns these."""
        new = [node for node in topological_order(root) if node not in self._place]
        self._place.update(zip(new, range(start, start + len(new)), strict=True))
        return new

    def _watch(self, fork, way, user):
        """Watch an op of a checkpointed part, if it was computed from the fork."""
        if isinstance(user, Op):
            for i, x in enumerate(user.inputs):
                if x is fork.node:
                    self._watched.setdefault(user, []).append((fork, way, i))

    def _finish(self, node):
        """All that comes to this node has come."""
        for fork in self._forks.pop(node, []):
            if fork.terms[BRANCH] is not None and fork.terms[SHORTCUT] is not None:
                through_branch, through_shortcut = at_the_input(fork)
                self._measured.append((fork.use, self.measure(fork.name, through_shortcut, through_branch)))


def ops_between(inputs: Sequence[Any], output: Any) -> list[Op]:
    """The ops that a module's output was computed with, from its inputs on, each after those that made its inputs."""
    order: list[Op] = []
    seen = {id(x.tensor.op) for x in tensors_of(inputs)[0]}
    stack = [(x.tensor.op, False) for x in reversed(tensors_of(output)[0])]
    while stack:
        op, inputs_are_done = stack.pop()
        if not isinstance(op, Op):
            continue  # a leaf, or nothing
        if inputs_are_done:
            order.append(op)
        elif id(op) not in seen:
            seen.add(id(op))
            stack.append((op, True))
            stack.extend([(x, False) for x in reversed(op.inputs)])
    return order


def where_ways_part(add: ShortcutAdd, place: dict[Node, int]) -> tuple[Node | None, list[Way]]:
    """Go back from a shortcut-add on both ways, to the first node that both reach.

    Args:
        add: the `ShortcutAdd`.
        place: {node: its place in an order in which each op comes after its inputs}.

    Returns:
        (the node, the ops that use it: [(op, way, which of its inputs the node is)]); (None, []) where a way carries no
        gradient, or they have nothing in common. A weight that both ways share is not what they started from.
    """
    if None in add.inputs:
        return None, []
    reached: dict[Node, list[Way]] = {}  # who leads there
    queue: list[tuple[int, int, Node]] = []  # the last of the order first: an op's turn comes after that of all its users
    leaves: set[Tensor] = set()
    _reach(add.inputs[BRANCH], (add, BRANCH, BRANCH), reached, queue, place)
    _reach(add.inputs[SHORTCUT], (add, SHORTCUT, SHORTCUT), reached, queue, place)
    while queue:
        _, _, node = heapq.heappop(queue)
        ways = {way for _, way, _ in reached[node]}
        if not isinstance(node, Op):
            if len(ways) == 2:
                leaves.add(node)
        elif len(ways) == 2:
            return node, reached[node]
        else:
            [way] = ways
            for i, x in enumerate(node.inputs):
                if x is not None:
                    _reach(x, (node, way, i), reached, queue, place)
    if len(leaves) == 1:
        leaf = leaves.pop()
        return leaf, reached[leaf]
    return None, []


def _reach(node, user, reached, queue, place):
    if node not in reached:
        reached[node] = []
        first = -place[node] if isinstance(node, Op) else 1  # leaves come last
        heapq.heappush(queue, (first, id(node), node))
    reached[node].append(user)


def at_the_input(fork: Fork) -> list[Array]:
    """The terms at the input of the module that adds, [through the branch, through the shortcut].

    From the fork they go on through the ops that lie between, each with one op before it. Where there is no such way, as
    where no gradient of the input is wanted, the terms are those at the fork.
    """
    terms, node = fork.terms, fork.node
    while isinstance(node, Op) and fork.layer is not None and _is_inside(node, fork.layer):
        before = [(i, x) for i, x in enumerate(node.inputs) if isinstance(x, Op)] or list(enumerate(node.inputs[:1]))
        if len(before) != 1 or before[0][1] is None or node.rebuild is not None:
            return fork.terms
        [(i, node_before)] = before
        terms = [_through(node, i, term) for term in terms]
        node = node_before
    return terms


def _is_inside(op, path):
    """Was this op called by the module of this path, or by one below it?"""
    return op.layer is not None and f"{op.layer}.".startswith(f"{path}.")


def _through(op, i, gradient):
    """The gradient of an op's input i, by its backward."""
    backward = op.current_backward
    gradients = backward(gradient)
    return gradients[i] if isinstance(gradients, tuple) else gradients
