"""Ops that choose for each element which value it takes: where and clip."""
import math
from typing import Any

from minires.arguments import array_of, number, shown
from minires.arrays.backend import (
    Array,
    array_module,
    beside,
    check_one_device,
    device_of,
    is_array,
    plain_array,
    use_device_of,
)
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError
from minires.ops.arithmetic import BinaryOp, Operand, check_broadcast, unbroadcast


def where(condition: Any, a: Operand, b: Operand) -> Tensor:
    """a where the condition is True, b elsewhere; the three broadcast.

    Args:
        condition: an array of booleans, such as `x > 0` for a tensor x, or a list of them. No gradient goes through it. One
            of the host is copied to the device of a and b.
        a, b: tensors; one of them may be a Python number or an array.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the condition holds no booleans; neither a nor b is a tensor.
    """
    return Where(condition)(a, b)


def clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """x with what is below `low` raised to it, and what is above `high` lowered to it.

    The gradient passes where low <= x <= high, at the bounds too (as PyTorch's clamp), and stops elsewhere.

    Args:
        low, high: numbers; None for no bound on that side.

    Raises:
        ArgumentError: both are None, one is no number, or low is above high.
    """
    return Clip(low, high)(x)


class Where(BinaryOp):
    """y = a where the condition holds, else b."""

    def __init__(self, condition: Any):
        self.condition: Array = own_condition(condition)

    def forward(self, a: Array, b: Array) -> Array:
        xp = array_module(a)
        self.check(a, b)
        condition = beside(self.condition, a)
        self.saved = condition, a.shape, b.shape
        return xp.where(condition, a, b)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """da = dy where the condition holds, else 0; summed where a was broadcast
        db = 0 where the condition holds, else dy; summed where b was broadcast
        """
        xp = array_module(dy)
        condition, a_shape, b_shape = self.saved
        da = unbroadcast(xp.where(condition, dy, 0), a_shape) if self.needs_grad[0] else None
        db = unbroadcast(xp.where(condition, 0, dy), b_shape) if self.needs_grad[1] else None
        return da, db

    def check(self, a: Array, b: Array) -> None:
        """Raise an error that says what does not fit."""
        if device_of(self.condition) != "cpu":
            check_one_device(self.title, {"condition": self.condition, "a": a})
        check_broadcast(self, a, b)
        for operand in (a, b):
            check_broadcast(self, self.condition, operand)


class Clip(Op):
    """y = x, but at least low and at most high."""

    def __init__(self, low: float | None, high: float | None):
        if low is None and high is None:
            raise ArgumentError("Clip: low and high are both None, expected a number for at least one of them")
        self.low: float = -math.inf if low is None else number("Clip", "low", low, smallest=-math.inf)
        self.high: float = math.inf if high is None else number("Clip", "high", high, smallest=-math.inf)
        if self.low > self.high:
            raise ArgumentError(f"Clip: low is {self.low:g}, which is above high, {self.high:g}")

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        self.saved = (x >= self.low) & (x <= self.high)
        return xp.minimum(xp.maximum(x, self.low), self.high)

    def backward(self, dy: Array) -> Array:
        """dx = dy where low <= x <= high, else 0."""
        xp = array_module(dy)
        inside = self.saved
        dx = xp.where(inside, dy, 0)
        return dx


def own_condition(condition: Any) -> Array:
    """A copy of the condition, an array of booleans: the caller may change it before `backward` needs it."""
    if isinstance(condition, Tensor):
        raise DTypeError(f"Where: the condition is {shown(condition)}, expected an array of booleans: compare it, as in "
                         "x > 0")
    array = plain_array("Where", condition) if is_array(condition) else array_of("Where", "condition", condition)
    if array.dtype.kind != "b":
        raise DTypeError(f"Where: the condition holds {array.dtype}, expected booleans: compare it, as in x > 0")
    use_device_of(array)  # a copy is made on the current device
    return array.copy()
