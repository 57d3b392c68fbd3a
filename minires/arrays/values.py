"""What can be asked of the array behind a tensor, without a gradient: its shape, its values, comparisons."""
from __future__ import annotations

from typing import Any

import numpy as np

from minires.arrays.backend import Array, array_module, device_of, is_array, to_host, use_device_of
from minires.errors import DTypeError, ShapeError


class Values:
    """What a tensor says of its array, `data`."""

    __slots__ = ()
    __array_priority__ = 1000  # so that `array + tensor` of CuPy asks the tensor; of NumPy, see `__array_ufunc__`

    data: Array

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

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise ShapeError("len: a scalar tensor has no length")
        return len(self.data)

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

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """For `np.asarray(tensor)`, or of a list of tensors, which would silently leave the graph."""
        raise DTypeError("np.asarray: got a Tensor, of which NumPy would lose the gradient: take its values, x.numpy()")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """For `array + tensor`, which is the tensor's operator; of np.exp(tensor) NumPy would lose the gradient."""
        operator, from_the_right = OPERATORS.get(ufunc.__name__, ("", ""))
        in_place = len(options) == 1 and "out" in options and options["out"][0] is inputs[0]  # array += tensor
        if not operator or method != "__call__" or (options and not in_place):
            raise _not_for_numpy(ufunc.__name__)
        if isinstance(inputs[0], Values):
            return getattr(inputs[0], operator)(*inputs[1:])
        return getattr(inputs[1], from_the_right)(inputs[0])

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """For `np.sum(tensor)` and the like, of which NumPy would lose the gradient."""
        raise _not_for_numpy(function.__name__)


OPERATORS = {  # of a ufunc of NumPy: the operator of a tensor on its left, and on its right
    "add": ("__add__", "__radd__"), "subtract": ("__sub__", "__rsub__"), "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"), "power": ("__pow__", "__rpow__"), "matmul": ("__matmul__", "__rmatmul__"),
    "negative": ("__neg__", ""), "equal": ("__eq__", "__eq__"), "not_equal": ("__ne__", "__ne__"),
    "less": ("__lt__", "__gt__"), "less_equal": ("__le__", "__ge__"), "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
}


def _not_for_numpy(name):
    return DTypeError(f"np.{name}: got a Tensor, of which NumPy would lose the gradient: use x.{name}() or mr.ops.{name}(x) "
                      "where minires has it, or take the values: x.numpy()")


def compare(function: str, a: Values, b: Any) -> Any:
    """The array of bools np.FUNCTION(a, b); NotImplemented where b is no tensor, array or number."""
    other: Any = b.data if isinstance(b, Values) else b
    if not is_array(other) and not isinstance(other, (bool, int, float, np.generic)):
        return NotImplemented
    if is_array(other) and device_of(other) != device_of(a.data):
        raise DTypeError(f"compare: got tensors on {device_of(a.data)} and {device_of(other)}: move them to one device")
    use_device_of(a.data)
    try:
        return getattr(array_module(a.data), function)(a.data, other)
    except ValueError as error:
        raise ShapeError(f"compare: shapes {a.shape} and {np.shape(other)} do not broadcast") from error
