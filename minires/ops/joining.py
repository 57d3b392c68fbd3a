"""Ops that put arrays together, and take them apart: concatenate, stack, split, pad."""
import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

from minires.arguments import is_whole_number, list_of, no_tensor, number, shown
from minires.arrays.backend import Array, array_module
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError, ShapeError
from minires.ops.axes import one_axis
from minires.ops.shape import index

Widths: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]]


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors behind each other along an axis that they have: shapes (2, 3) and (4, 3) give (6, 3).

    Args:
        tensors: a list of at least one; their shapes are equal but for the length of `axis`.

    Raises:
        ShapeError: the shapes do not fit, or the axis does not exist.
        DTypeError: this is not a list of tensors.
        ArgumentError: the list is empty.
    """
    return Concatenate(axis)(*_listed("concatenate", tensors))


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors, all of one shape, side by side along a new axis: two of shape (3,) give (2, 3).

    Args:
        axis: where the new axis stands in the result; -1 is the last.

    Raises:
        ShapeError: the shapes differ, or the axis does not exist in the result.
        DTypeError: this is not a list of tensors.
        ArgumentError: the list is empty.
    """
    return Stack(axis)(*_listed("stack", tensors))


def split(x: Tensor, sizes_or_count: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of x, one after the other along an axis: what `concatenate` of them would undo.

    Args:
        sizes_or_count: the length of each part, such as [2, 3]; or how many parts of equal length there are to be. (An
            integer is a count as in np.split; in torch.split it is a length.)

    Raises:
        ShapeError: the sizes do not add up to the length of the axis, the count does not divide it, or there is no such
            axis.
        ArgumentError: `sizes_or_count` is neither.
    """
    if not isinstance(x, Tensor):
        raise no_tensor("split", "a tensor", x)
    axis = one_axis("split", axis, x.shape)
    sizes = _sizes(sizes_or_count, x.shape, axis)
    before = (slice(None),) * axis
    return tuple([index(x, (*before, slice(start, stop))) for start, stop in pairwise(accumulate(sizes, initial=0))])


def pad(x: Tensor, pad_width: Widths, value: float = 0.0) -> Tensor:
    """x with a border of one constant.

    Args:
        pad_width: how many places to add, in NumPy's form: an integer for all sides; (before, after) for every axis; or a
            pair for each axis, first axis first: ((0, 0), (0, 0), (1, 2), (1, 2)) for the rows and columns of images.
            (PyTorch starts at the last axis, and lets negative widths cut.)
        value: what the border holds.

    Raises:
        ArgumentError: `pad_width` is of none of these forms, or negative; `value` is no number.
    """
    return Pad(pad_width, value)(x)


class Concatenate(Op):
    """y = x[0], x[1], … behind each other along the axis."""

    def __init__(self, axis: int):
        self.axis: int = axis

    def forward(self, *x: Array) -> Array:
        axis = one_axis(self.title, self.axis, x[0].shape)
        for i, other in enumerate(x):
            self.check(x[0].shape, i, other.shape, axis)
        self.saved = axis, [each.shape[axis] for each in x]
        return array_module(x[0]).concatenate(x, axis)                  # (…, A, …), (…, B, …) -> (…, A + B, …)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        """dx[i] = the part of dy where x[i] stands."""
        axis, lengths = self.saved
        before = (slice(None),) * axis
        dx = [dy[(*before, slice(start, stop))] for start, stop in pairwise(accumulate(lengths, initial=0))]
        return tuple(dx)

    def check(self, first: tuple[int, ...], i: int, other: tuple[int, ...], axis: int) -> None:
        """Raise an error where the i-th shape differs from the first in another axis than this one."""
        if len(other) != len(first) or first[:axis] + first[axis + 1:] != other[:axis] + other[axis + 1:]:
            raise ShapeError(f"{self.title}: tensor 0 has shape {first} and tensor {i} {other}: they must be equal in every "
                             f"axis but axis {axis}, along which they are joined")


class Stack(Op):
    """y = x[0], x[1], … side by side along a new axis."""

    def __init__(self, axis: int):
        self.axis: int = axis

    def forward(self, *x: Array) -> Array:
        for i, other in enumerate(x):
            if other.shape != x[0].shape:
                raise ShapeError(f"{self.title}: tensor 0 has shape {x[0].shape} and tensor {i} {other.shape}: they must be "
                                 "equal. To join along an axis that there is, use concatenate")
        axis = one_axis(self.title, self.axis, (len(x), *x[0].shape))
        self.saved = axis, len(x)
        return array_module(x[0]).stack(x, axis)                        # K times (…) -> (…, K, …)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        """dx[i] = dy at place i of the new axis."""
        axis, count = self.saved
        before = (slice(None),) * axis
        dx = [dy[(*before, i, ...)] for i in range(count)]              # (…, K, …) -> K times (…)
        return tuple(dx)


class Pad(Op):
    """y = x in the middle, the value around it."""

    def __init__(self, pad_width: Widths, value: float):
        self.pad_width: list[tuple[int, int]] = own_widths(pad_width)
        self.value: float = number("Pad", "value", value, smallest=-math.inf, largest=math.inf)

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        widths = self.widths(x.ndim)
        shape = tuple([before + n + after for n, (before, after) in zip(x.shape, widths, strict=True)])
        inside = tuple([slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True)])
        self.saved = inside
        y = xp.empty_like(x, shape=shape)                               # in x's memory order
        y[...] = self.value
        y[inside] = x
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy without the border."""
        inside = self.saved
        dx = dy[inside]
        return dx

    def widths(self, ndim: int) -> list[tuple[int, int]]:
        """(before, after) for each of x's axes."""
        given = self.pad_width
        if len(given) == 1:
            return [given[0]] * ndim
        if len(given) != ndim:
            raise ArgumentError(f"{self.title}: pad_width has {len(given)} pairs, but x has {ndim} axes: give a pair "
                                "(before, after) for each axis, or one for all")
        return given


def own_widths(pad_width: Any) -> list[tuple[int, int]]:
    """NumPy's forms of pad_width as a list of pairs (before, after): one pair, for all axes, or one for each axis."""
    if is_whole_number(pad_width, 0):
        return [(int(pad_width), int(pad_width))]
    if isinstance(pad_width, (tuple, list)) and pad_width:
        pairs = [pad_width] if is_whole_number(pad_width[0], 0) else pad_width
        if all(_is_pair(pair) for pair in pairs):
            return [(int(before), int(after)) for before, after in pairs]
    raise ArgumentError(f"Pad: pad_width is {shown(pad_width)}, expected integers of at least 0: one for all sides, "
                        "(before, after) for every axis, or such a pair for each axis")


def _is_pair(pair):
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and all(is_whole_number(n, 0) for n in pair)


def _sizes(sizes_or_count, shape, axis):
    """The length of each part."""
    length = shape[axis]
    if is_whole_number(sizes_or_count, 1):
        if length % sizes_or_count:
            raise ShapeError(f"split: axis {axis} of shape {shape} has length {length}, which {sizes_or_count} does not "
                             "divide: give the length of each part, in a list")
        return [length // int(sizes_or_count)] * int(sizes_or_count)
    sizes = sizes_or_count if isinstance(sizes_or_count, (tuple, list)) else ()
    if not sizes or not all(is_whole_number(size, 0) for size in sizes):
        raise ArgumentError(f"split: sizes_or_count is {shown(sizes_or_count)}, expected a list of lengths, or how many "
                            "parts of equal length")
    if sum(sizes) != length:
        raise ShapeError(f"split: the sizes {shown(sizes)} add up to {sum(sizes)}, expected {length}, the length of axis "
                         f"{axis} of shape {shape}")
    return [int(size) for size in sizes]


def _listed(owner, tensors):
    """The tensors, as a list that is not empty. A tensor itself, whose parts would be taken, is refused."""
    if isinstance(tensors, Tensor):
        raise DTypeError(f"{owner}: got one tensor, {shown(tensors)}, expected a list of tensors: [x]")
    listed = list_of(owner, "tensors", tensors, Tensor, "a list of tensors")
    if not listed:
        raise ArgumentError(f"{owner}: got no tensors, expected a list of at least one")
    return listed
