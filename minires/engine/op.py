"""`Op`: one operation, with its forward and its backward on raw arrays, and its place on the graph."""
import linecache
import weakref

import numpy as np

from minires.arrays.backend import device_of, is_array, use_device_of
from minires.engine.call_site import call_site, line_of
from minires.engine.state import runs_definition, state
from minires.engine.tensor import Tensor
from minires.engine.threads import limit_blas_to_one_thread
from minires.errors import BackwardError, DeviceError, DTypeError


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

    plain_forward = None
    plain_backward = None
    rebuild = None  # of an op that stands for a checkpointed part: makes the part's ops again; see nn.checkpoint

    inputs: tuple = ()  # where each gradient goes on to: the op that made this input, or the leaf; None if not wanted
    needs_grad: tuple = ()  # for each input: is its gradient wanted?
    input_shapes: tuple = ()  # of the arrays that it was called on; None for an absent bias
    input_dtypes: tuple = ()
    made: tuple | None = None  # (shape, dtype) of the output; None before forward has run
    saved = None  # the arrays that forward leaves for backward
    layer: str | None = None  # dotted name of the module that called it
    site: tuple | None = None  # where the user's code called it: see `where`
    released = False  # True once a backward pass has freed its arrays
    _output = None  # a weak reference to the tensor that it made

    @property
    def title(self) -> str:
        """What error messages call this op: its class, and the layer that called it."""
        return type(self).__name__ + (f" (layer {self.layer!r})" if self.layer else "")

    def __call__(self, *inputs):
        """Run `forward` on the tensors' arrays; where a gradient is wanted, put this op on the graph."""
        if self._output is not None:
            raise BackwardError(f"{self.title}: this op was called before, and keeps what the backward of that call needs: "
                                "make an op for each call")
        limit_blas_to_one_thread()  # before the first product: a later one on the same arrays has the same bits
        self.layer = state.layer
        records, hooks = state.grad_enabled, state.hooks
        arrays, needs_grad, nodes, shapes, dtypes = [], [], [], [], []
        all_numpy = True
        for x in inputs:
            if x is not None and not isinstance(x, Tensor):
                raise DTypeError(f"{self.title}: expected tensors, got {type(x).__name__}: wrap arrays in mr.Tensor(…)")
            array = None if x is None else x.data
            wanted = records and x is not None and x.requires_grad
            arrays.append(array)
            needs_grad.append(wanted)
            nodes.append((x.op or x) if wanted else None)
            shapes.append(None if array is None else array.shape)
            dtypes.append(None if array is None else array.dtype)
            all_numpy = all_numpy and (array is None or type(array) is np.ndarray)
        self.needs_grad, self.input_shapes, self.input_dtypes = tuple(needs_grad), tuple(shapes), tuple(dtypes)
        if not all_numpy:
            self._check_devices(arrays)
        for hook in hooks:
            hook.before_forward(self, arrays)
        forward = self.current_forward
        try:
            y = forward(*arrays)
            if type(y) is not np.ndarray:
                self._check_output(y)
        except Exception as error:
            self.site = call_site()
            error.add_note(self.note("forward"))
            raise
        wants_grad = True in needs_grad
        output = Tensor._from_op(y, wants_grad)
        self.made = output.data.shape, output.data.dtype
        if wants_grad or hooks:
            self.site = call_site()
        if wants_grad:
            self.inputs = tuple(nodes)
            self._output = weakref.ref(output)
            output.op = self
        for hook in hooks:
            hook.after_forward(self, arrays, output.data)
        return output

    @property
    def current_forward(self):
        """The form of forward that now runs: the definition under `reference_ops()` or a debugger, else the fast one."""
        return self.plain_forward if self.plain_forward is not None and runs_definition() else self.forward

    @property
    def current_backward(self):
        """The form of backward that now runs."""
        return self.plain_backward if self.plain_backward is not None and runs_definition() else self.backward

    @property
    def output(self):
        """The tensor that this op made, or None where nobody holds it any more: the graph does not."""
        return self._output() if self._output is not None else None

    def release(self):
        """Free what backward needed. The label, the layer and the forward line stay, for tables and errors."""
        self.saved = None
        self.inputs = ()
        self.released = True

    def _check_devices(self, arrays):
        """Raise where the arrays live on two devices: `cupy.matmul`, for one, does not check."""
        code = self.forward.__code__
        names = code.co_varnames[1:code.co_argcount]  # without self
        check_one_device(self, {names[i] if i < len(names) else f"argument {i}": x for i, x in enumerate(arrays)})
        use_device_of(next(array for array in arrays if array is not None))

    def _check_output(self, y):
        """Raise where forward returned no array, as one without a `return` does."""
        if not isinstance(y, np.generic) and not is_array(y):
            raise DTypeError(f"{self.title}: forward returned a {type(y).__name__}, expected an array: has it a `return`?")

    @property
    def where(self) -> tuple | None:
        """(file, line) of the user's code that called this op, or None before it ran."""
        return None if self.site is None else line_of(*self.site)

    def called_at(self):
        """The line of the user's code that called this op: "file:line: the line"."""
        file, line = self.where
        return f"{file}:{line}: {linecache.getline(file, line).strip()}".removesuffix(": ")

    def note(self, direction):
        """The line under an error: which op, in which layer, on which shapes and dtypes, called from where."""
        shapes = ", ".join("None" if shape is None else f"{shape} {dtype}"
                           for shape, dtype in zip(self.input_shapes, self.input_dtypes, strict=True))
        made = "" if self.made is None else " -> {} {}".format(*self.made)
        file, line = self.where
        return f"minires: in the {direction} of {self.title} on shapes {shapes}{made}, called at {file}:{line}"


def check_one_device(op, arrays):
    """Raise where the arrays, {name: array or None}, live on more than one device."""
    devices = {name: device_of(array) for name, array in arrays.items() if array is not None}
    if len(set(devices.values())) > 1:
        places = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise DeviceError(f"{op.title}: got {places}: move them to one device with .to(…)")
