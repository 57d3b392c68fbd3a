"""`Op`: one operation, with its forward and its backward on raw arrays, and its place on the graph."""
import weakref
from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np

from minires.arguments import no_tensor
from minires.arrays.backend import Array, MaybeNone, is_array, use_one_device
from minires.engine.call_site import call_site, where
from minires.engine.state import runs_definition, state
from minires.engine.tensor import Tensor
from minires.errors import BackwardError, DTypeError


class Op:
    """One operation on arrays. Subclasses define `forward(*arrays)` and `backward(dy)`.

    Ops are also the nodes of the graph: `inputs` leads from each to those that made its inputs. So the graph holds what the
    ops saved for their backward, and not the tensors between them.

    `backward(dy)` gets dL/d(output) and returns dL/d(input) for each input, in order (a bare array where there is one
    input; None for an input whose `needs_grad` is False). `forward` leaves what `backward` will need in `self.saved`.
    No op writes to its inputs, its output or `dy`. Hyper-parameters (a stride, an axis) are arguments of `__init__`.

    An op whose fast form is not its definition also has `plain_forward` and `plain_backward`, which `reference_ops()`
    selects; both forms save the same arrays, so that a graph made by one can be differentiated by the other.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    plain_forward: Callable[..., Any] | None = None
    plain_backward: Callable[..., Any] | None = None
    rebuild: Callable[..., Any] | None = None  # of a checkpointed part: makes the part's ops again; see nn.checkpoint

    inputs: tuple[Any, ...] = ()  # where each gradient goes on to: the op that made the input, or the leaf; None: unwanted
    needs_grad: tuple[bool, ...] = ()  # for each input: is its gradient wanted?
    input_shapes: tuple[Any, ...] = ()  # of the arrays that it was called on; None for an absent bias
    input_dtypes: tuple[Any, ...] = ()
    made: tuple[Any, ...] | MaybeNone = None  # (shape, dtype) of the output; None before forward has run
    saved: Any = None  # the arrays that forward leaves for backward
    kept: list[int] | None = None  # fingerprints of the leaves in `saved`, once a pass has kept the graph for another
    layer: str | None = None  # dotted name of the module that called it
    call_site: tuple[CodeType, int] | None = None  # of the user's code that called it: `where` has its line
    released: bool = False  # True once a backward pass has freed its arrays
    output_reference: weakref.ref[Tensor] | MaybeNone = None  # a weak reference to the tensor that it made

    @property
    def title(self) -> str:
        """What error messages call this op: its class, and the layer that called it."""
        return type(self).__name__ + (f" (layer {self.layer!r})" if self.layer else "")

    def __call__(self, *inputs: Any) -> Tensor:
        """Run `forward` on the tensors' arrays; where a gradient is wanted, put this op on the graph."""
        arrays = self.gather(inputs)
        hooks = state.hooks
        for see in hooks.before_forward:
            see(self, arrays)
        forward = self.plain_forward if self.plain_forward is not None and runs_definition() else self.forward
        try:
            y = forward(*arrays)
            output = self.attach(y)
        except Exception as error:
            self.call_site = call_site()
            error.add_note(self.note("forward"))
            raise
        for see in hooks.after_forward:
            see(self, arrays, output.data)
        return output

    def gather(self, inputs: tuple[Any, ...]) -> list[Array | None]:
        """The arrays of the inputs; what the backward pass has to know of these is noted."""
        if self.output_reference is not None:
            raise BackwardError(f"{self.title}: this op was called before, and keeps what the backward of that call needs: "
                                "make an op for each call")
        self.layer = state.layer
        records, on_cpu = state.grad_enabled, True
        arrays, nodes, needs_grad, shapes, dtypes = [], [], [], [], []
        for x in inputs:
            if not isinstance(x, Tensor):
                x = self.as_input(x, inputs)
            if x is None:  # an absent bias
                array = node = shape = dtype = None
            else:
                array = x.data
                node = (x.op or x) if records and x.requires_grad else None
                shape, dtype = array.shape, array.dtype
                on_cpu = on_cpu and type(array) is np.ndarray
            arrays.append(array)
            nodes.append(node)
            needs_grad.append(node is not None)
            shapes.append(shape)
            dtypes.append(dtype)
        self.inputs, self.needs_grad = tuple(nodes), tuple(needs_grad)
        self.input_shapes, self.input_dtypes = tuple(shapes), tuple(dtypes)
        if not on_cpu:
            code = self.forward.__code__
            use_one_device(self.title, code.co_varnames[1:code.co_argcount], arrays)  # without self
        return arrays

    def attach(self, y: Any) -> Tensor:
        """The tensor of the array `y`, which leads to this op where a gradient is wanted."""
        if type(y) is not np.ndarray and not is_array(y):
            if not isinstance(y, np.generic):
                raise DTypeError(f"{self.title}: forward returned a {type(y).__name__}, expected an array: has it a "
                                 "`return`?")
            y = np.asarray(y)  # a scalar of NumPy
        wants_grad = True in self.needs_grad
        output = Tensor.__new__(Tensor)  # without the checks that an array from outside needs
        output.data, output.requires_grad, output.op = y, wants_grad, self if wants_grad else None
        output.grad, output.name, output.retains_grad = None, None, False
        self.made = y.shape, y.dtype
        if wants_grad:
            self.output_reference = weakref.ref(output)
        if wants_grad or state.hooks:
            self.call_site = call_site()
        return output

    def as_input(self, x: Any, inputs: tuple[Any, ...]) -> Tensor | None:
        """What stands for an input that is no tensor: None for an absent bias. Arithmetic also takes numbers and arrays."""
        if x is None and inputs[0] is not None:
            return None
        raise no_tensor(self.title, "tensors", x)

    @property
    def current_forward(self) -> Callable[..., Any]:
        """The form of forward that now runs: the definition under `reference_ops()` or a debugger, else the fast one."""
        return self.plain_forward if self.plain_forward is not None and runs_definition() else self.forward

    @property
    def current_backward(self) -> Callable[..., Any]:
        """The form of backward that now runs."""
        return self.plain_backward if self.plain_backward is not None and runs_definition() else self.backward

    @property
    def output(self) -> Tensor | None:
        """The tensor that this op made, or None where nobody holds it any more: the graph does not."""
        return None if self.output_reference is None else self.output_reference()

    def release(self) -> None:
        """Free what backward needed. The label, the layer and the forward line stay, for tables and errors."""
        self.saved = None
        self.inputs = ()
        self.released = True

    @property
    def where(self) -> tuple[str, int] | MaybeNone:
        """(file, line) of the user's code that called this op, or None before it ran."""
        return None if self.call_site is None else where(*self.call_site)

    def note(self, direction: str) -> str:
        """The line under an error: which op, in which layer, on which shapes and dtypes, called from where."""
        shapes = ", ".join("None" if shape is None else f"{shape} {dtype}"
                           for shape, dtype in zip(self.input_shapes, self.input_dtypes, strict=True))
        made = "" if self.made is None else " -> {} {}".format(*self.made)
        file, line = self.where
        return f"minires: in the {direction} of {self.title} on shapes {shapes}{made}, called at {file}:{line}"
