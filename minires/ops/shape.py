"""Ops that move values and change none: reshape, flatten, transpose, indexing."""
import copy
import math
from collections.abc import Sequence
from typing import Any

from minires.arguments import is_whole_number, shown
from minires.arrays.backend import Array, array_module, is_array, item, plain_array
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ShapeError


def reshape(x: Tensor, shape: int | Sequence[int]) -> Tensor:
    """The values of x, in row-major order, in another shape; one length may be -1.

    Raises:
        ShapeError: the shape does not hold as many values.
    """
    return Reshape(shape)(x)


def flatten(x: Tensor) -> Tensor:
    """All axes but the first become one: (N, C, H, W) -> (N, C·H·W)."""
    return Flatten()(x)


def transpose(x: Tensor, axes: Sequence[int] = ()) -> Tensor:
    """The axes of x in another order; reversed where none are given.

    Raises:
        ShapeError: `axes` is not an order of x's axes.
    """
    return Transpose(axes)(x)


def index(x: Tensor, key: Any) -> Tensor:
    """x[key]: integers, slices, None, …, and arrays of integers. Where an element is taken twice, gradients add up."""
    return Index(key)(x)


class Reshape(Op):
    """y = x in another shape."""

    def __init__(self, shape: int | Sequence[int]):
        self.shape: Any = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not are_integers(self.shape):
            raise ShapeError(f"Reshape: the shape is {shown(shape)}, expected integers of at least 0, one of which "
                             "may be -1")

    def forward(self, x: Array) -> Array:
        self.saved = x.shape
        known = math.prod([n for n in self.shape if n != -1])
        unknown = self.shape.count(-1)
        fits = known == x.size if unknown == 0 else unknown == 1 and known > 0 and x.size % known == 0
        if not fits or min(self.shape, default=0) < -1:
            raise ShapeError(f"{self.title}: shape {x.shape} has {x.size} values, which do not fit into {self.shape}")
        return x.reshape(self.shape)

    def backward(self, dy: Array) -> Array:
        """dx = dy in x's shape."""
        shape = self.saved
        dx = dy.reshape(shape)
        return dx


class Flatten(Op):
    """y = x with all axes but the first made one."""

    def forward(self, x: Array) -> Array:
        self.saved = x.shape
        if x.ndim == 0:
            raise ShapeError(f"{self.title}: a scalar has no first axis to keep")
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))    # (N, C, H, W) -> (N, C·H·W)

    def backward(self, dy: Array) -> Array:
        """dx = dy in x's shape."""
        shape = self.saved
        dx = dy.reshape(shape)                                  # (N, C·H·W) -> (N, C, H, W)
        return dx


class Transpose(Op):
    """y = x with its axes in another order: axis i of y is axis axes[i] of x."""

    def __init__(self, axes: Sequence[int]):
        if not isinstance(axes, (tuple, list)) or (axes and not are_integers(axes)):
            raise ShapeError(f"Transpose: axes is {shown(axes)}, expected an order of the axes, such as (0, 2, 3, 1)")
        self.axes: tuple[int, ...] = tuple(axes)

    def forward(self, x: Array) -> Array:
        axes = self.axes or tuple(range(x.ndim))[::-1]
        in_range = all(-x.ndim <= axis < x.ndim for axis in axes)
        if not in_range or sorted([axis % x.ndim for axis in axes]) != list(range(x.ndim)):
            raise ShapeError(f"{self.title}: axes {self.axes} are not an order of the {x.ndim} axes of {x.shape}")
        self.saved = tuple([axis % x.ndim for axis in axes])
        return x.transpose(self.saved)

    def backward(self, dy: Array) -> Array:
        """dx = dy with its axes back in x's order."""
        axes = self.saved
        inverse = [axes.index(i) for i in range(len(axes))]     # where each axis of x went
        dx = dy.transpose(inverse)
        return dx


class Index(Op):
    """y = x[key]: dL/dx is zero but where a value was taken, and there the sum over the times it was."""

    def __init__(self, key: Any):
        self.key: Any = own_key(key)
        self.each_once: bool = takes_each_once(key)

    def forward(self, x: Array) -> Array:
        self.saved = x.shape
        try:
            return item(x, self.key)
        except (IndexError, TypeError, ValueError) as error:
            raise ShapeError(f"{self.title}: x[{shown(self.key)}] does not exist in shape {x.shape}: {error}") from error

    def backward(self, dy: Array) -> Array:
        """dx[key] = dy, added up where taken twice, else 0."""
        xp = array_module(dy)
        dx = xp.zeros(self.saved, dtype=dy.dtype)
        if self.each_once:
            dx[self.key] = dy
        else:
            xp.add.at(dx, self.key, dy)
        return dx


def are_integers(values: Sequence[Any]) -> bool:
    """Are all of these integers of Python or NumPy, and none a bool?"""
    return False not in [type(value) is int or is_whole_number(value, -math.inf) for value in values]


def own_key(key: Any) -> Any:
    """The key, with copies of its arrays and lists: the caller may change those before `backward` needs them."""
    if isinstance(key, tuple):
        return tuple([own_key(part) for part in key])
    if is_array(key):
        return plain_array("Index", key).copy()
    return copy.deepcopy(key) if isinstance(key, list) else key


def takes_each_once(key: Any) -> bool:
    """Integers, slices, None and … take no element twice; an array of indices may."""
    keys = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in keys)
