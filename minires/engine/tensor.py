"""`Tensor`: an array, its gradient, its name, and the op that made it."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import DTypeLike

from minires.arguments import flag, floating_dtype, text
from minires.arrays.backend import Array, MaybeNone, device_name, floating_array
from minires.arrays.threads import limit_blas_to_one_thread
from minires.arrays.values import Values, compare
from minires.errors import BackwardError, DTypeError

if TYPE_CHECKING:
    from minires.engine.op import Op


class Tensor(Values):
    """An array that remembers how it was computed, so that a gradient can be taken.

    Args:
        array: a NumPy or CuPy array, kept (not copied) where it is float32 or float64; a list or a Python number
            becomes float32, as do arrays of integers, booleans and float16.
        requires_grad: is dL/d(this) wanted? True for weights.
        name: a label for plots, tables and errors.

    Attributes:
        data: the array.
        grad: dL/d(this), an array of data's shape and dtype, or None; filled by `backward()` on leaves, and on results
            after `retain_grad()`.
        op: the `Op` that made this tensor, or None for a leaf.

    Raises:
        DTypeError: the values are not real numbers.
    """

    __slots__ = ("__weakref__", "data", "grad", "name", "op", "requires_grad", "retains_grad")
    def __init__(self, array: Any, requires_grad: bool = False, name: str | None = None):
        if isinstance(array, Tensor):
            raise DTypeError("Tensor: got a Tensor: use it as it is, or its .data")
        limit_blas_to_one_thread()  # before the first product: a later one on the same arrays has the same bits
        self.data: Array = floating_array("Tensor", array)
        self.grad: Array | MaybeNone = None
        self.requires_grad: bool = (requires_grad if type(requires_grad) is bool
                                    else flag("Tensor", "requires_grad", requires_grad))
        self.name: str | None = None if name is None else text("Tensor", "name", name)
        self.op: Op | MaybeNone = None
        self.retains_grad: bool = False

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return self.transpose()

    def __iter__(self) -> Iterator[Tensor]:
        """x[0], x[1], …: without this, Python would index until an IndexError, and ours is a ShapeError."""
        return iter([self[i] for i in range(len(self))])

    def __repr__(self) -> str:
        """What it is, in constant time: statistics belong to `describe`, as they would stall a debugger."""
        parts = [repr(self.name)] if self.name else []
        parts += [f"shape={self.shape}", f"dtype={self.dtype}", f"device={self.device}"]
        if self.op is not None:
            parts.append(f"op={type(self.op).__name__}")
        elif self.requires_grad:
            parts.append("requires_grad=True")
        return f"Tensor({', '.join(parts)})"

    # ---- gradients

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Differentiate this tensor: fills `grad` of every leaf that it was computed from.

        Args:
            gradient: dL/d(this), an array of this shape; may be left out where this has one element (then 1).
            retain_graph: keep what the ops saved, so that `backward` can run again.

        Raises:
            BackwardError: see `minires.backward_steps`, which this runs to its end.
        """
        for step in backward_pass.backward_steps(self, gradient, retain_graph):
            del step  # so that its gradients are freed before the next op makes its own

    def retain_grad(self) -> None:
        """Keep dL/d(this) in `grad` after the next backward passes, though this is not a leaf."""
        if not self.requires_grad:
            raise BackwardError(f"retain_grad: {self!r} wants no gradient, so none will reach it")
        self.retains_grad = True

    def detach(self) -> Tensor:
        """A tensor of the same array that wants no gradient and has no graph."""
        return Tensor(self.data)

    # ---- values

    def to(self, device: str) -> Tensor:
        """This tensor on another device ("cpu", "cuda", "cuda:1"); gradients flow back through the move."""
        target = device_name(device)
        return self if target == self.device else ops.to_device(self, target)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """This tensor in another precision, np.float32 or np.float64; gradients flow back through the cast."""
        return self if floating_dtype("Cast", dtype) == self.dtype else ops.cast(self, dtype)

    def __getstate__(self) -> object:
        """What `copy` and `pickle` keep: of a leaf all; a result belongs to a graph, which is not copied."""
        if self.op is not None:
            raise BackwardError(f"copy: {self!r} was computed, and its graph cannot be copied or pickled: take its values, "
                                "with detach()")
        return super().__getstate__()

    # ---- comparison: arrays of bools; without a gradient, and so no ops

    def __hash__(self) -> int: return object.__hash__(self)  # that of the object, so that tensors can be keys
    def __eq__(self, other: object) -> Any: return compare("equal", self, other)
    def __ne__(self, other: object) -> Any: return compare("not_equal", self, other)
    def __lt__(self, other: Any) -> Any: return compare("less", self, other)
    def __le__(self, other: Any) -> Any: return compare("less_equal", self, other)
    def __gt__(self, other: Any) -> Any: return compare("greater", self, other)
    def __ge__(self, other: Any) -> Any: return compare("greater_equal", self, other)

    # ---- arithmetic: each operator is an op of the same name

    def __add__(self, other: Any) -> Tensor: return arithmetic.Add()(self, other)
    def __radd__(self, other: Any) -> Tensor: return arithmetic.Add()(other, self)
    def __sub__(self, other: Any) -> Tensor: return arithmetic.Subtract()(self, other)
    def __rsub__(self, other: Any) -> Tensor: return arithmetic.Subtract()(other, self)
    def __mul__(self, other: Any) -> Tensor: return arithmetic.Multiply()(self, other)
    def __rmul__(self, other: Any) -> Tensor: return arithmetic.Multiply()(other, self)
    def __truediv__(self, other: Any) -> Tensor: return arithmetic.Divide()(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return arithmetic.Divide()(other, self)
    def __pow__(self, exponent: Any) -> Tensor: return arithmetic.Power()(self, exponent)
    def __rpow__(self, base: Any) -> Tensor: return arithmetic.Power()(base, self)
    def __neg__(self) -> Tensor: return arithmetic.Negate()(self)
    def __matmul__(self, other: Any) -> Tensor: return arithmetic.MatMul()(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return arithmetic.MatMul()(other, self)
    def __getitem__(self, index: Any) -> Tensor: return ops.index(self, index)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis` (an int, a tuple, or None for all)."""
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis` (an int, a tuple, or None for all)."""
        return ops.mean(self, axis, keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The largest value over `axis` (an int, a tuple, or None for all)."""
        return ops.max(self, axis, keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        """The same values in another shape; one length may be -1."""
        return ops.reshape(self, shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order; reversed where none are given."""
        return ops.transpose(self, axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes)

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm of each element."""
        return ops.log(self)


# The one cycle of the package: a tensor's operators are ops, and ops take and return tensors.
from minires import ops
from minires.engine import backward as backward_pass
from minires.ops import arithmetic
