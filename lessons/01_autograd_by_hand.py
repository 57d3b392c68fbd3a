"""
Autograd by hand, and where x + f(x) breaks it
==============================================

:Question: In which order does a backward pass have to visit the operations, and what goes wrong in any other?
:Time: 5 s on two cores
:Before this: the chain rule

An engine for automatic differentiation fits on half a page. We write it, take a derivative by hand to see that it is right,
and then give it the one expression of which every residual net is made: x + f(x). Three engines that look just as good fail
on it, each in its own way, and each without an error message.

Think about first
-----------------

* In x + f(x), how many ways lead from the sum back to x? And through 20 such blocks, one after the other?
* An engine visits each operation once, as soon as a gradient has arrived there. What can be wrong with that?
* The gradient of a sum goes to both of its terms unchanged. May they share one array?
"""
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires.course import lesson

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# Half a page of engine
# ---------------------
# A value knows the operation that made it; an operation knows its inputs. ``forward`` computes, and keeps what ``backward``
# will need. ``backward`` gets dL/d(output) and returns dL/d(input) for each input: the chain rule of this one operation.


class Value:
    """A number, or an array of them, and the operation that made it (None for a leaf, such as a weight)."""

    def __init__(self, data, op=None):
        self.data = np.asarray(data, dtype=np.float64)
        self.op = op
        self.grad: Any = None


class Operation:
    """What all operations share: called on values, they compute and remember."""

    calls = 0  # how often the backward of any operation has run
    forward: Callable  # of arrays: each operation defines it, and its backward

    def __call__(self, *inputs):
        self.inputs = inputs
        return Value(self.forward(*[x.data for x in inputs]), op=self)


class Add(Operation):
    """a + b"""

    def forward(self, a, b):
        return a + b

    def backward(self, dy):
        return dy, dy


class Multiply(Operation):
    """a · b"""

    def forward(self, a, b):
        self.saved = a, b
        return a * b

    def backward(self, dy):
        a, b = self.saved
        return dy * b, dy * a


class Tanh(Operation):
    """tanh(a)"""

    def forward(self, a):
        self.y = np.tanh(a)
        return self.y

    def backward(self, dy):
        return (dy * (1 - self.y ** 2),)


def run_backward(value):
    """Run the backward of the operation that made this value; counted."""
    Operation.calls += 1
    return value.op.backward(value.grad)


# %%
# Now the order. A value's gradient is complete when every operation that *used* the value has sent its part. So an operation
# may run its backward only after all those that used its output: the graph backwards, each value after all its users. That
# is a *topological order*, and a walk that lists a value after its inputs gives it, reversed.


def topological_order(root):
    """Every value below root, each after its inputs. No recursion, so depth has no limit."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        value, inputs_are_done = stack.pop()
        if inputs_are_done:
            order.append(value)
        elif id(value) not in seen:
            seen.add(id(value))
            stack.append((value, True))
            stack.extend((x, False) for x in (value.op.inputs if value.op else ()))
    return order


def backward(root):
    """Fill the grad of every value: dL/d(value), for L = the sum of root's elements."""
    root.grad = np.ones_like(root.data)
    for value in reversed(topological_order(root)):
        if value.op is None:
            continue
        for x, dx in zip(value.op.inputs, run_backward(value), strict=True):
            x.grad = dx if x.grad is None else x.grad + dx


# %%
# By hand: L = tanh(w x + b) at w = 0.5, x = 2, b = -0.3. The inner value is 0.7, and tanh′(0.7) = 1 - tanh(0.7)². So
# dL/db = 1 - tanh(0.7)², dL/dw = x times that, dL/dx = w times that.

w, x, b = Value(0.5), Value(2.0), Value(-0.3)
backward(Tanh()(Add()(Multiply()(w, x), b)))
slope = 1 - math.tanh(0.7) ** 2
for name, value, by_hand in (("w", w, 2.0 * slope), ("x", x, 0.5 * slope), ("b", b, slope)):
    checks.add(f"L = tanh(w x + b): dL/d{name}", value.grad, by_hand - 1e-12, by_hand + 1e-12,
               f"by hand: {by_hand:.4g}", seeds=0)

# %%
# x + f(x)
# --------
# Blocks x + tanh(w x), one after the other, each with a weight of its own. The chain rule, by hand again: a block multiplies
# the gradient by 1 + w (1 - tanh(w x)²), so dL/dx of the first input is the product of these over all blocks.

ELEMENTS = 8  # x and each weight are arrays of 8 numbers


def make_numbers(blocks, seed):
    """The first input, and a weight for each block."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal(ELEMENTS), generator.uniform(0.2, 1.0, (blocks, ELEMENTS))


def residual_chain(blocks, seed, shortcut_first=True):
    """(first input, weights, outputs of the branches, last output) of x + f(x), or of f(x) + x."""
    start, numbers = make_numbers(blocks, seed)
    first = y = Value(start)
    weights, branches = [Value(w) for w in numbers], []
    for w in weights:
        f = Tanh()(Multiply()(w, y))
        branches.append(f)
        y = Add()(y, f) if shortcut_first else Add()(f, y)
    return first, weights, branches, y


def true_gradients(blocks, seed):
    """By the formula: dL/dx of the first input, and dL/d(block's output) for each block."""
    y, numbers = make_numbers(blocks, seed)
    factors = []
    for w in numbers:
        f = np.tanh(w * y)
        factors.append(1 + w * (1 - f ** 2))
        y = y + f
    gradients = [np.ones(ELEMENTS)]
    for factor in reversed(factors):
        gradients.append(gradients[-1] * factor)
    return gradients[-1], gradients[-2::-1]                     # the outputs' gradients in forward order


def relative_error(measured, true):
    """The largest deviation, in units of the true value."""
    return float(np.max(np.abs(measured - true) / np.abs(true)))


def count_calls(engine, root):
    """How many backwards the engine runs."""
    Operation.calls = 0
    engine(root)
    return Operation.calls


DEPTHS = options.pick(tiny=(1, 2, 4), default=tuple(range(1, 15)), full=tuple(range(1, 19)))
DEEPEST = DEPTHS[-1]

ours = []
for seed in options.seeds:
    first, _, _, y = residual_chain(DEEPEST, seed)
    backward(y)
    ours.append(relative_error(first.grad, true_gradients(DEEPEST, seed)[0]))
checks.add(f"in topological order, {DEEPEST} blocks: error of dL/dx", ours, 0, 1e-12, "the formula")

# %%
# First failure: every path, at the price of 2 to the power of L
# --------------------------------------------------------------
# The shortest engine of all follows every path from the end to the leaves, and adds up what arrives. The sum over paths *is*
# the derivative, so the result is right. But there are two ways through each block, so 2 to the power of L paths through L
# blocks: 3 (2^L - 1) calls of backward where there are 3 L operations. At 50 blocks it would not end in a lifetime.


def backward_along_every_path(root):
    """Send each contribution on as soon as it comes."""
    def send(value, gradient):
        value.grad = gradient if value.grad is None else value.grad + gradient
        if value.op is not None:
            Operation.calls += 1
            for x, dx in zip(value.op.inputs, value.op.backward(gradient), strict=True):
                send(x, dx)
    send(root, np.ones_like(root.data))


calls: dict[str, list[int]] = {"every path": [], "topological order": []}
errors = []
for blocks in lesson.progress(DEPTHS, "blocks"):
    first, _, _, y = residual_chain(blocks, options.seed)
    calls["every path"].append(count_calls(backward_along_every_path, y))
    errors.append(relative_error(first.grad, true_gradients(blocks, options.seed)[0]))
    calls["topological order"].append(count_calls(backward, residual_chain(blocks, options.seed)[-1]))
checks.add(f"every path, {DEEPEST} blocks: calls of backward", calls["every path"][-1], 3 * (2 ** DEEPEST - 1),
           3 * (2 ** DEEPEST - 1), "3 (2^L - 1)", seeds=0)
checks.add(f"in topological order, {DEEPEST} blocks: calls of backward", calls["topological order"][-1], 3 * DEEPEST,
           3 * DEEPEST, "3 L", seeds=0)
checks.add("every path: largest error of dL/dx", max(errors), 0, 1e-12, "a sum over paths is right", seeds=1)

# %%
# Second failure: each operation once, as soon as it is reached
# -------------------------------------------------------------
# To save the repeated work, an engine can mark what it has visited and go on from each value only once. Then x sends its
# gradient on when the *first* contribution has come, the one of the shortcut. What comes later through f is added to x.grad,
# and goes no further: the shortcuts' share is all that the layers below ever see. At the first input, 1 + w (1 - tanh(w x)²)
# of the first block arrives, in place of the product over all.
#
# Write f(x) + x, and the same engine is right: by luck it visits the branch first. An engine that is right or wrong by the
# order of two terms is worse than one that is always wrong.


def backward_once_as_reached(root):
    """Visit each value once, when the first contribution comes."""
    visited = set()

    def visit(value):
        visited.add(id(value))
        if value.op is None:
            return
        inputs = value.op.inputs
        for x, dx in zip(inputs, run_backward(value), strict=True):
            x.grad = dx if x.grad is None else x.grad + dx
        for x in inputs:
            if id(x) not in visited:
                visit(x)

    root.grad = np.ones_like(root.data)
    visit(root)


# {x + f(x)?: (depths, seeds)}: what arrives at the first input / the true gradient
shares: dict[bool, list[list[float]]] = {True: [], False: []}
for shortcut_first, rows in shares.items():
    for blocks in DEPTHS:
        row = []
        for seed in options.seeds:
            first, _, _, y = residual_chain(blocks, seed, shortcut_first)
            backward_once_as_reached(y)
            row.append(float(np.mean(first.grad / true_gradients(blocks, seed)[0])))
        rows.append(row)
lost = []
for seed in options.seeds:
    first, _, _, y = residual_chain(DEEPEST, seed)
    backward_once_as_reached(y)
    lost.append(relative_error(first.grad, true_gradients(1, seed)[0]))
checks.add(f"once as reached, x + f(x), {DEEPEST} blocks: dL/dx / the true one", shares[True][-1], 0, 0.7,
           "paths through later branches are lost")
checks.add(f"once as reached, x + f(x), {DEEPEST} blocks: dL/dx against the first block's alone", lost, 0, 1e-12,
           "the first block's factor, no more")
checks.add(f"once as reached, f(x) + x, {DEEPEST} blocks: dL/dx / the true one", shares[False][-1], 1 - 1e-12, 1 + 1e-12,
           "right, by the order of two terms")

# %%
# Third failure: right weights, and a wrong gradient of the layer
# ---------------------------------------------------------------
# ``Add.backward`` returns dy for both inputs: *one* array. An engine in topological order that adds later contributions in
# place writes into it. By then the branch has been through, so every dL/dw is right, and training works. But the array is
# also the recorded gradient of the branch's output f: somebody who plots gradients by layer plots a lie.


def backward_in_place(root):
    """In topological order, but with += on an array that may be somebody else's too."""
    root.grad = np.ones_like(root.data)
    for value in reversed(topological_order(root)):
        if value.op is None:
            continue
        for x, dx in zip(value.op.inputs, run_backward(value), strict=True):
            if x.grad is None:
                x.grad = dx
            else:
                x.grad += dx                                    # dx's first contribution was borrowed


def branch_gradients(engine, seed):
    """dL/df of each block's branch, (blocks, elements), and dL/dw of each block's weight."""
    _, weights, branches, y = residual_chain(DEEPEST, seed)
    engine(y)
    return np.array([f.grad for f in branches]), np.array([w.grad for w in weights])


weight_errors, layer_errors = [], []
for seed in options.seeds:
    true_layers = np.array(true_gradients(DEEPEST, seed)[1])    # a branch's output gets what its block's output gets
    layers, weight_gradients = branch_gradients(backward_in_place, seed)
    weight_errors.append(relative_error(weight_gradients, branch_gradients(backward, seed)[1]))
    layer_errors.append(relative_error(layers, true_layers))
checks.add("in place: error of dL/dw", weight_errors, 0, 1e-12, "the branch had been through by then")
checks.add("in place: error of the branches' dL/df", layer_errors, 0.1, math.inf, "the array is shared")

# %%
# minires
# -------
# ``minires/engine/backward.py`` walks in topological order without recursion, and *borrows* a first contribution, but never
# writes to it: the second makes a new array, later ones are added to that in place. So all these gradients are right, and
# 2000 blocks are no trouble to it. (The lesson's own recursive engines would end at Python's recursion limit.)


def in_minires(blocks, seed):
    """(dL/dx of the first input, dL/df of each branch) of the same chain."""
    start, numbers = make_numbers(blocks, seed)
    first = y = mr.Tensor(start, requires_grad=True)
    branches = []
    for w in numbers:
        f = mr.ops.tanh(mr.Tensor(w, requires_grad=True) * y)
        f.retain_grad()
        branches.append(f)
        y = y + f
    y.sum().backward()
    return first.grad, np.array([f.grad for f in branches])


input_errors, layer_errors = [], []
for seed in options.seeds:
    gradient, layers = in_minires(DEEPEST, seed)
    true_input, true_layers = true_gradients(DEEPEST, seed)
    input_errors.append(relative_error(gradient, true_input))
    layer_errors.append(relative_error(layers, np.array(true_layers)))
checks.add("minires: error of dL/dx", input_errors, 0, 1e-12, "the formula")
checks.add("minires: error of the branches' dL/df", layer_errors, 0, 1e-12, "the formula")
DEEP = options.pick(tiny=500, default=2000, full=10_000)
gradient, _ = in_minires(DEEP, options.seed)
checks.add(f"minires, {DEEP} blocks: error of dL/dx", relative_error(gradient, true_gradients(DEEP, options.seed)[0]),
           0, 1e-9, "the formula; no recursion", seeds=1)

# %%
# The figure
# ----------

blue, orange, green, pink, *_ = mr.plot.COLOURS
figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(16, 4.8), layout="constrained")
left.plot(DEPTHS, calls["every path"], color=orange, marker="s", label="along every path")
left.plot(DEPTHS, calls["topological order"], color=blue, marker="o", label="in topological order")
left.plot(DEPTHS, [3 * (2 ** blocks - 1) for blocks in DEPTHS], "--", color="black", linewidth=0.8,
          label="3 (2^L - 1) and 3 L")
left.plot(DEPTHS, [3 * blocks for blocks in DEPTHS], "--", color="black", linewidth=0.8)
left.set_yscale("log")
left.set_xlabel("blocks L")
left.set_ylabel("calls of backward")
left.legend()
left.set_title("along every path: right, at a cost that grows as 2^L")

for shortcut_first, label, colour, marker in ((True, "x + f(x)", orange, "s"), (False, "f(x) + x", blue, "o")):
    share = np.array(shares[shortcut_first])                    # (depths, seeds)
    middle.plot(DEPTHS, np.median(share, axis=1), color=colour, marker=marker, label=label)
    middle.fill_between(DEPTHS, share.min(axis=1), share.max(axis=1), color=colour, alpha=0.2, linewidth=0)
middle.axhline(1, linestyle="--", color="black", linewidth=0.8, label="right")
middle.set_ylim(0, 1.1)
middle.set_xlabel("blocks L")
middle.set_ylabel("dL/dx at the first input / the true one")
middle.legend()
middle.set_title("each operation once, as reached:\nwrong, or right by the order of two terms")

for engine, label, colour, marker in ((backward_in_place, "added in place", orange, "s"),
                                      (backward, "in topological order, new arrays", blue, "o")):
    norms = [np.linalg.norm(branch_gradients(engine, seed)[0], axis=1) for seed in options.seeds]
    right.plot(range(1, DEEPEST + 1), np.median(norms, axis=0), color=colour, marker=marker, label=label)
true_norms = [np.linalg.norm(true_gradients(DEEPEST, seed)[1], axis=1) for seed in options.seeds]
right.plot(range(1, DEEPEST + 1), np.median(true_norms, axis=0), "--", color="black", linewidth=0.8, label="the formula")
right.set_ylim(bottom=0)
right.set_xlabel("block (input at the left)")
right.set_ylabel("‖dL/df‖ of the block's branch")
right.legend()
right.set_title("added in place: every weight's gradient is right,\nand the layer's is not")
figure.suptitle("x + f(x) breaks three engines in three ways")
lesson.save_figure(figure, options, "autograd_by_hand.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "A backward pass has to visit an operation after all operations that used its output: then each runs once, and every "
    "gradient is complete when it is sent on.",
    "On x + f(x) other orders cost 2^L or lose the branch, and an addition in place can falsify the gradient of a layer "
    "while those of all weights are right.",
))

# %%
# Exercises
# ---------
# 1. Write the operation ``Exp`` and check it against ``mr.gradcheck`` or a difference quotient.
# 2. ``backward_once_as_reached`` goes into depth first. Let it use a queue (breadth first) instead. Is f(x) + x still right?
# 3. In ``backward_in_place``, copy the first contribution (``dx.copy()``). What is right then, and what does it cost? How
#    does ``GradientTable`` in ``minires/engine/backward.py`` get along with fewer copies?
