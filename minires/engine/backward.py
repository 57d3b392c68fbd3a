"""The backward pass, as a generator of steps.

Calling an `Op` on tensors leaves it in its output (`tensor.op`); following `op.inputs` from a loss, from op to op and at
last to leaves such as weights, gives the graph.
The backward pass walks that graph once, in reverse topological order, and calls each op's `backward`: nothing else
stands between the loop and the arithmetic, so *step into* in a debugger lands on it.
"""
from minires.arrays.backend import array_module, device_of, is_array, use_device_of
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.state import no_grad, reference_ops, state
from minires.engine.tensor import Tensor
from minires.engine.threads import elementwise
from minires.errors import BackwardError, DeviceError, DTypeError

__all__ = ["BackwardHook", "BackwardStep", "GradientTable", "Op", "backward_steps", "no_grad", "reference_ops",
           "topological_order"]


class BackwardStep:
    """One op of a backward pass: the gradient that came in, and those that it produced.

    Attributes:
        op: the `Op`; `type(op).__name__` is its label.
        name: the name of the tensor that it made, or the layer that called it, or the op's label.
        grad_output: dL/d(output), an array of the output's shape.
        grad_inputs: dL/d(input) for each input, None where not wanted. A hook sees the step before this is filled.
    """

    __slots__ = ("grad_inputs", "grad_output", "op")

    html = None  # makes what a notebook shows of a step: `minires.debug` puts it here, as the engine knows no HTML

    def __init__(self, op, grad_output):
        self.op = op
        self.grad_output = grad_output
        self.grad_inputs = None

    @property
    def name(self) -> str:
        """The dotted name under which plots, tables and breakpoints know this step."""
        output = self.op.output
        return (output is not None and output.name) or self.op.layer or type(self.op).__name__

    def where(self) -> str:
        """The line of your code that made this op: "file:line: the line"."""
        return self.op.called_at()

    def _repr_html_(self):
        """What a notebook shows: the formulas, shapes and norms."""
        return None if self.html is None else self.html()

    def __repr__(self):
        return f"<BackwardStep {self.name}: {type(self.op).__name__}, grad_output {self.grad_output.shape}>"


class GradientTable:
    """dL/d(output) of each op, and dL/d(leaf), that still waits for contributions: the one place where gradients are added.

    The first contribution is *borrowed*: an op may have handed the same array to two inputs, so it is never written
    to. The second allocates the sum, which is ours; later ones are added to it in place. A fork such as
    x + f(x) therefore corrupts neither the other branch nor the gradient of the layer between.
    """

    def __init__(self):
        self._gradients = {}  # id(op or leaf) -> array
        self._ours = set()  # ids of those whose array we allocated

    def add(self, node, gradient):
        """Add one contribution to the gradient of an op's output, or of a leaf."""
        key = id(node)
        if key not in self._gradients:
            self._gradients[key] = gradient
        elif key not in self._ours:
            self._gradients[key] = elementwise(array_module(gradient).add, self._gradients[key], gradient)
            self._ours.add(key)
        else:
            self._gradients[key] += gradient

    def pop(self, node):
        """The complete gradient, which leaves the table; None where no contribution came."""
        self._ours.discard(id(node))
        return self._gradients.pop(id(node), None)


def topological_order(root: Op, part=None) -> list:
    """Every op and leaf that lies on a way from a leaf that wants a gradient to `root`, each after its inputs.

    Iterative, so depth is not limited by Python's recursion; each op is visited once, so time is linear. Where `part` is
    given, the ids of some ops, the walk ends at what is not in it.
    """
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, inputs_are_done = stack.pop()
        if inputs_are_done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            if not isinstance(node, Op) or (part is not None and id(node) not in part):
                order.append(node)
                continue
            _check_not_released(node)
            stack.append((node, True))
            # reversed, so that the first input is visited first and leaves such as weights come last
            stack.extend([(x, False) for x in reversed(node.inputs) if x is not None])
    return order


def backward_steps(root: Tensor, gradient=None, retain_graph: bool = False):
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
    return _run_backward(root, order, seed, retain_graph)


def _run_backward(root, order, seed, retain_graph):
    for hook in state.hooks:
        hook.start_of_pass(root)
    table = GradientTable()
    table.add(order[-1], seed)
    while order:
        op = order.pop()  # reverse topological order: every contribution to its gradient has arrived
        grad_output = table.pop(op)
        use_device_of(grad_output)
        if isinstance(op, Tensor):
            _deliver_to_leaf(op, grad_output)
            continue
        if op.rebuild is not None:  # a checkpointed part: its ops take the place of the one that stood for them
            ops = _rebuild(op, retain_graph)
            table.add(ops[-1], grad_output)
            order.extend(ops)
            del ops  # so that each is freed after its step
            continue
        output = op.output
        if output is not None and output.retains_grad:
            _add_to_grad(output, grad_output)
        step = BackwardStep(op, grad_output)
        hooks = state.hooks
        for hook in hooks:
            hook.before_step(step)
        backward = op.current_backward
        try:
            grad_inputs = backward(grad_output)
            step.grad_inputs = grad_inputs if isinstance(grad_inputs, tuple) else (grad_inputs,)
            _contribute(table, step)
        except Exception as error:
            error.add_note(op.note("backward"))
            raise
        for hook in hooks:
            hook.after_step(step)
        yield step
        if not retain_graph:
            op.release()
    for hook in state.hooks:
        hook.end_of_pass()


def _rebuild(op, retain_graph):
    """The ops of a checkpointed part, whose forward runs again."""
    try:
        ops = op.rebuild()
    except Exception as error:
        error.add_note(op.note("recomputed forward"))
        raise
    for hook in state.hooks:
        hook.after_rebuild(op, ops[-1])
    if not retain_graph:
        op.release()
    return ops


def _contribute(table, step):
    """Add what an op's backward returned to the gradients of its inputs."""
    op = step.op
    if len(step.grad_inputs) != len(op.inputs):
        raise BackwardError(f"{op.title}: backward returned {len(step.grad_inputs)} gradients for {len(op.inputs)} inputs")
    contributions = zip(op.inputs, step.grad_inputs, op.input_shapes, op.input_dtypes, strict=True)
    for i, (x, gradient, shape, dtype) in enumerate(contributions):
        if x is None:
            continue
        if getattr(gradient, "shape", None) != shape:
            got = (f"shape {gradient.shape}" if hasattr(gradient, "shape") else
                   "None" if gradient is None else f"a {type(gradient).__name__}")
            raise BackwardError(f"{op.title}: backward returned {got} for input {i}, which has shape {shape}")
        if gradient.dtype != dtype:
            if gradient.dtype != step.grad_output.dtype:
                raise BackwardError(f"{op.title}: backward returned {gradient.dtype} for input {i}, which has dtype {dtype}")
            gradient = gradient.astype(dtype)  # a float32 input beside a float64 one
        table.add(x, gradient)


def _deliver_to_leaf(leaf, gradient):
    for hook in state.hooks:
        hook.leaf_gradient(leaf, gradient)
    _add_to_grad(leaf, gradient)


def _add_to_grad(tensor, gradient):
    """Accumulate into `tensor.grad`, an array of its own: nobody else's gradient changes with it."""
    if tensor.grad is None:
        tensor.grad = array_module(gradient).array(gradient)
    else:
        tensor.grad += gradient


def _seed_gradient(root, gradient):
    """dL/d(root) as an array of root's shape, dtype and device."""
    if not isinstance(root, Tensor):
        raise DTypeError(f"backward: got a {type(root).__name__}, expected a Tensor that was computed, such as a loss")
    if root.op is None and root.requires_grad:
        raise BackwardError(f"backward: {root!r} is a leaf: no op made it. Call backward() on a result, such as a loss")
    if root.op is None:
        raise BackwardError(f"backward: {root!r} wants no gradient: it was made under no_grad(), by detach(), or from "
                            "tensors without requires_grad=True")
    _check_not_released(root.op)
    xp = array_module(root.data)
    use_device_of(root.data)
    if gradient is None:
        if root.data.size != 1:
            raise BackwardError(f"backward: {root!r} has {root.data.size} elements: pass gradient=dL/d(this), an array "
                                f"of shape {root.shape}, or reduce it to a scalar first, with sum() or mean()")
        return xp.ones_like(root.data)
    gradient = gradient.data if isinstance(gradient, Tensor) else gradient
    if is_array(gradient) and device_of(gradient) != root.device:
        raise DeviceError(f"backward: gradient is on {device_of(gradient)}, expected {root.device}, as {root!r}")
    if xp.shape(gradient) != root.shape:
        raise BackwardError(f"backward: gradient has shape {xp.shape(gradient)}, expected {root.shape}, as {root!r}")
    if xp.asarray(gradient).dtype.kind not in "biuf":
        raise DTypeError(f"backward: gradient holds {xp.asarray(gradient).dtype} values, expected real numbers")
    return xp.asarray(gradient, dtype=root.dtype)


def _check_not_released(op):
    if op.released:
        raise BackwardError(f"backward: the graph through {op.title} was freed by an earlier backward(): run forward "
                            "again, or pass retain_graph=True to the earlier call")
