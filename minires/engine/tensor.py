"""`Tensor`: an array, its gradient, its name, and the op that made it."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from minires.arguments import flag, floating_dtype, text
from minires.arrays.backend import Array, MaybeNone, device_name, device_of, floating_array, to_host
from minires.arrays.threads import limit_blas_to_one_thread
from minires.errors import BackwardError, DTypeError, ShapeError

if TYPE_CHECKING:
    from minires.engine.op import Op


class Tensor:
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
    __array_ufunc__ = None  # so that `array + tensor` asks the tensor, not NumPy

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
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        """NumPy's float32 or float64."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """Where the data live: "cpu", "cuda:0", …"""
        return device_of(self.data)

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return self.transpose()

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise ShapeError("len: a scalar tensor has no length")
        return len(self.data)

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

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: the array itself on the CPU, a copy from a GPU."""
        return to_host(self.data)

    def item(self) -> float:
        """The value of a tensor of one element, as a Python number."""
        if self.data.size != 1:
            raise ShapeError(f"item: a tensor of one element is needed, got shape {self.shape}")
        return self.data.item()

    def __float__(self) -> float:
        return float(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        """f"{loss:.3f}": a tensor of one element is formatted as its number."""
        return format(self.item(), spec) if spec else str(self)

    def to(self, device: str) -> Tensor:
        """This tensor on another device ("cpu", "cuda", "cuda:1"); gradients flow back through the move."""
        target = device_name(device)
        return self if target == self.device else ops.to_device(self, target)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """This tensor in another precision, np.float32 or np.float64; gradients flow back through the cast."""
        return self if floating_dtype("Cast", dtype) == self.dtype else ops.cast(self, dtype)

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
