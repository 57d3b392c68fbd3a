"""The backward pass, as a generator of steps.

Calling an `Op` on tensors leaves it in its output (`tensor.op`); following `op.inputs` from a loss, from op to op and at
last to leaves such as weights, gives the graph.
The backward pass walks that graph once, in reverse topological order, and calls each op's `backward`: nothing else
stands between the loop and the arithmetic, so *step into* in a debugger lands on it.
"""
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minires.arguments import flag
from minires.arrays.backend import Array, MaybeNone, array_module, beside, device_of, floating_array, is_array, use_device_of
from minires.arrays.fingerprints import fingerprints
from minires.arrays.threads import elementwise
from minires.engine.call_site import with_source
from minires.engine.op import Op
from minires.engine.state import runs_definition, state
from minires.engine.tensor import Tensor
from minires.errors import BackwardError, DeviceError, DTypeError


class BackwardStep:
    """One op of a backward pass: the gradient that came in, and those that it produced.

    Attributes:
        op: the `Op`; `type(op).__name__` is its label.
        name: the name of the tensor that it made, or the layer that called it, or the op's label.
        grad_output: dL/d(output), an array of the output's shape.
        grad_inputs: dL/d(input) for each input, None where not wanted. A hook sees the step before this is filled.
    """

    __slots__ = ("grad_inputs", "grad_output", "op")

    _repr_html_: Callable[..., str] | None = None  # of a notebook: `minires.debug` sets it, as the engine knows no HTML

    def __init__(self, op: Op, grad_output: Array):
        self.op: Op = op
        self.grad_output: Array = grad_output
        self.grad_inputs: tuple[Array | MaybeNone, ...] | MaybeNone = None

    @property
    def name(self) -> str:
        """The dotted name under which plots, tables and breakpoints know this step."""
        output = self.op.output
        return (output is not None and output.name) or self.op.layer or type(self.op).__name__

    def where(self) -> str:
        """The line of your code that made this op: "file:line: the line"."""
        return with_source(self.op.where)

    def __repr__(self) -> str:
        return f"<BackwardStep {self.name}: {type(self.op).__name__}, grad_output {self.grad_output.shape}>"


class GradientTable:
    """dL/d(output) of each op, and dL/d(leaf), that still waits for contributions: the one place where gradients are added.

    The first contribution is *borrowed*: an op may have handed the same array to two inputs, so it is never written
    to. The second allocates the sum, which is ours; later ones are added to it in place. A fork such as
    x + f(x) therefore corrupts neither the other branch nor the gradient of the layer between.
    """

    def __init__(self):
        self._gradients: dict[int, Array] = {}  # id(op or leaf) -> array
        self._ours: set[int] = set()  # ids of those whose array we allocated

    def add(self, node: Op | Tensor, gradient: Array) -> None:
        """Add one contribution to the gradient of an op's output, or of a leaf."""
        key = id(node)
        if key not in self._gradients:
            self._gradients[key] = gradient
        elif key not in self._ours:
            add = array_module(gradient).add
            first = self._gradients[key]
            self._gradients[key] = add(first, gradient) if runs_definition() else elementwise(add, first, gradient)
            self._ours.add(key)
        else:
            self._gradients[key] += gradient

    def pop(self, node: Op | Tensor) -> Array | MaybeNone:
        """The complete gradient, which leaves the table; None where no contribution came."""
        self._ours.discard(id(node))
        return self._gradients.pop(id(node), None)


def topological_order(root: Op, part: set[int] | None = None) -> list[Op | Tensor]:
    """Every op and leaf that lies on a way from a leaf that wants a gradient to `root`, each after its inputs.

    Iterative, so depth is not limited by Python's recursion; each op is visited once, so time is linear. Where `part` is
    given, the ids of some ops, the walk ends at what is not in it.
    """
    order: list[Op | Tensor] = []
    seen, stack = set(), [(root, False)]
    while stack:
        node, inputs_are_done = stack.pop()
        if inputs_are_done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            if not isinstance(node, Op) or (part is not None and id(node) not in part):
                order.append(node)
                continue
            if node.released:
                raise BackwardError(f"backward: the graph through {node.title} was freed by an earlier backward(): run "
                                    "forward again, or pass retain_graph=True to the earlier call")
            stack.append((node, True))
            for x in reversed(node.inputs):  # so that the first input is visited first and leaves such as weights come last
                if x is not None:
                    stack.append((x, False))
    return order


def backward_steps(root: Tensor, gradient: Any = None, retain_graph: bool = False) -> Iterator[BackwardStep]:
    """Run the backward pass from `root` one op at a time: yields a `BackwardStep` after each op's backward.

    `root.backward()` is this generator, run to its end. Leaves get their `grad` as soon as it is complete. Each op's
    saved arrays are freed after its step, unless `retain_graph`. A part of the graph that `nn.checkpoint` keeps no ops of
    yields the steps of those that are made again.

    Args:
        root: the tensor to differentiate, with one element unless `gradient` is given.
        gradient: dL/d(root), an array of root's shape; 1 by default.

    Raises:
        BackwardError: `root` is a leaf, wants no gradient, has several elements and no `gradient` was given, the
            shapes differ, or the graph was freed by an earlier pass.
        DTypeError: `root` is no tensor, or `gradient` does not hold real numbers.
        DeviceError: `gradient` is an array on another device.
    """
    seed = _seed_gradient(root, gradient)
    order = topological_order(root.op)
    return _run_backward(root, order, seed, flag("backward", "retain_graph", retain_graph))


def _run_backward(root, order, seed, retain_graph):
    _tell(state.hooks.start_of_pass, root)
    table = GradientTable()
    table.add(order[-1], seed)
    while order:
        op = order.pop()  # reverse topological order: every contribution to its gradient has arrived
        grad_output = table.pop(op)
        if type(grad_output) is not np.ndarray:
            use_device_of(grad_output)
        if isinstance(op, Tensor):
            for see in state.hooks.leaf_gradient:
                see(op, grad_output)
            _add_to_grad(op, grad_output)
        elif op.rebuild is not None:  # a checkpointed part: its ops take the place of the one that stood for them
            order.extend(_rebuild(op, grad_output, table, retain_graph))
        else:
            held = _leaves_held(op) if retain_graph or op.kept is not None else None
            if op.kept not in (None, held):
                raise BackwardError(f"backward: a leaf that {op.title} needs was changed since the earlier backward() over "
                                    "this graph, as by an optimizer: run forward again, or step after the last backward()")
            op.kept = held
            step = BackwardStep(op, grad_output)
            _announce(step)
            backward = op.plain_backward if op.plain_backward is not None and runs_definition() else op.backward
            try:
                grad_inputs = backward(grad_output)
                _hand_on(grad_inputs, step, table)
            except Exception as error:
                error.add_note(op.note("backward"))
                raise
            for see in state.hooks.after_step:
                see(step)
            yield step
            if not retain_graph:
                op.release()
    _tell(state.hooks.end_of_pass)


def _leaves_held(op):
    return fingerprints(op.saved, [x.data for x in op.inputs if isinstance(x, Tensor)])


def _tell(methods, *what):
    for see in methods:
        see(*what)


def _announce(step):
    """The gradient of an op's output is complete."""
    output = step.op.output_reference()
    if output is not None and output.retains_grad:
        _add_to_grad(output, step.grad_output)
    for see in state.hooks.before_step:
        see(step)


def _hand_on(grad_inputs, step, table):
    """Add what an op's backward returned to the gradients of its inputs."""
    op = step.op
    step.grad_inputs = grad_inputs = grad_inputs if isinstance(grad_inputs, tuple) else (grad_inputs,)
    if len(grad_inputs) != len(op.inputs):
        raise BackwardError(f"{op.title}: backward returned {len(grad_inputs)} gradients for {len(op.inputs)} inputs")
    for i, (x, gradient) in enumerate(zip(op.inputs, grad_inputs, strict=True)):
        if x is not None:
            fits = type(gradient) is np.ndarray and gradient.shape == op.input_shapes[i]
            if not fits or gradient.dtype != op.input_dtypes[i]:
                gradient = _fitting(gradient, step, i)
            table.add(x, gradient)


def _fitting(gradient, step, i):
    """The gradient of input i as an array of the input's dtype: a scalar of NumPy, or that of a float32 input beside a
    float64 one.

    Raises:
        BackwardError: it is no gradient of this input.
    """
    op = step.op
    shape, dtype = op.input_shapes[i], op.input_dtypes[i]
    if getattr(gradient, "shape", None) != shape:
        got = (f"shape {gradient.shape}" if hasattr(gradient, "shape") else
               "None" if gradient is None else f"a {type(gradient).__name__}")
        raise BackwardError(f"{op.title}: backward returned {got} for input {i}, which has shape {shape}")
    if gradient.dtype not in (dtype, step.grad_output.dtype):
        raise BackwardError(f"{op.title}: backward returned {gradient.dtype} for input {i}, which has dtype {dtype}")
    return array_module(gradient).asarray(gradient, dtype=dtype)


def _rebuild(op, grad_output, table, retain_graph):
    """The ops of a checkpointed part, whose forward runs again; the gradient of its output is that of the last one's."""
    try:
        ops = op.rebuild()
    except Exception as error:
        error.add_note(op.note("recomputed forward"))
        raise
    table.add(ops[-1], grad_output)
    _tell(state.hooks.after_rebuild, op, ops[-1])
    if not retain_graph:
        op.release()
    return ops


def _add_to_grad(tensor, gradient):
    """Accumulate into `tensor.grad`, an array of its own: nobody else's gradient changes with it."""
    if tensor.grad is None:
        tensor.grad = gradient.copy(order="K")
    else:
        tensor.grad += gradient


def _seed_gradient(root, gradient):
    """dL/d(root) as an array of root's shape, dtype and device."""
    if not isinstance(root, Tensor):
        raise DTypeError(f"backward: got a {type(root).__name__}, expected a Tensor that was computed, such as a loss")
    if root.op is None:
        why = ("is a leaf: no op made it. Call backward() on a result, such as a loss" if root.requires_grad else "wants no "
               "gradient: it was made under no_grad(), by detach(), or from tensors without requires_grad=True")
        raise BackwardError(f"backward: {root!r} {why}")
    use_device_of(root.data)
    if gradient is None:
        if root.data.size != 1:
            raise BackwardError(f"backward: {root!r} has {root.data.size} elements: pass gradient=dL/d(this), an array "
                                f"of shape {root.shape}, or reduce it to a scalar first, with sum() or mean()")
        return array_module(root.data).ones_like(root.data)
    gradient = gradient.data if isinstance(gradient, Tensor) else gradient
    if is_array(gradient) and device_of(gradient) != root.device:
        raise DeviceError(f"backward: gradient is on {device_of(gradient)}, expected {root.device}, as {root!r}")
    gradient = beside(floating_array("backward: gradient", gradient, root.dtype), root.data)
    if gradient.shape != root.shape:
        raise BackwardError(f"backward: gradient has shape {gradient.shape}, expected {root.shape}, as {root!r}")
    return gradient.astype(root.dtype, copy=False)
