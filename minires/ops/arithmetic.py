"""Arithmetic with NumPy's broadcasting: + - * / ** @ and the sign."""
import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from minires.arrays.backend import Array, array_module, floating_array, is_array, scalar_beside
from minires.arrays.sums import sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import DTypeError, ShapeError

Operand: TypeAlias = Tensor | ArrayLike  # a Python number, a list or an array stands beside a tensor


def add(a: Operand, b: Operand) -> Tensor:
    """a + b, broadcast. Either may be a Python number or an array.

    Raises:
        ShapeError: the shapes do not broadcast.
    """
    return Add()(a, b)


def subtract(a: Operand, b: Operand) -> Tensor:
    """a - b, broadcast, as `add`."""
    return Subtract()(a, b)


def multiply(a: Operand, b: Operand) -> Tensor:
    """a * b element by element, broadcast, as `add`."""
    return Multiply()(a, b)


def divide(a: Operand, b: Operand) -> Tensor:
    """a / b element by element, broadcast, as `add`."""
    return Divide()(a, b)


def power(a: Operand, b: Operand) -> Tensor:
    """a ** b element by element, broadcast, as `add`. dL/db needs a > 0."""
    return Power()(a, b)


def negate(x: Tensor) -> Tensor:
    """-x."""
    return Negate()(x)


def matmul(a: Operand, b: Operand) -> Tensor:
    """a @ b, as NumPy's: vectors, matrices, and stacks of matrices that broadcast.

    Raises:
        ShapeError: the inner lengths differ, or an operand is a scalar.
    """
    return MatMul()(a, b)


class BinaryOp(Op):
    """What the ops of two operands share: one of these may be a Python number or an array."""

    def as_input(self, x: Any, inputs: tuple[Any, ...]) -> Tensor:
        """A number in the other operand's precision, on its device; an array as a tensor of its own.

        A list, and an array of integers, also take the precision of the other operand. The array is copied, as the caller
        may change it before `backward` needs it.
        """
        like = next((other for other in inputs if isinstance(other, Tensor)), None)
        if like is None:
            kinds = " and ".join(type(each).__name__ for each in inputs)
            raise DTypeError(f"{self.title}: expected a tensor among the operands, got {kinds}")
        if isinstance(x, np.generic) and x.dtype.kind in "fiub":
            x = x.item()  # a scalar of NumPy, such as w.std(), is a number as any other
        if isinstance(x, (bool, int, float)):
            return Tensor(scalar_beside(x, like.data))
        array = floating_array("Tensor", x, like.dtype)
        return Tensor(array.copy(order="K") if is_array(x) else array)


class Add(BinaryOp):
    """y = a + b."""

    def forward(self, a: Array, b: Array) -> Array:
        self.saved = a.shape, b.shape
        if a.shape != b.shape:
            check_broadcast(self, a, b)
        return a + b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """da = dy, summed where a was broadcast
        db = dy, summed where b was broadcast
        """
        a_shape, b_shape = self.saved
        da = unbroadcast(dy, a_shape) if self.needs_grad[0] else None
        db = unbroadcast(dy, b_shape) if self.needs_grad[1] else None
        return da, db


class Subtract(BinaryOp):
    """y = a - b."""

    def forward(self, a: Array, b: Array) -> Array:
        self.saved = a.shape, b.shape
        if a.shape != b.shape:
            check_broadcast(self, a, b)
        return a - b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """da = dy, summed where a was broadcast
        db = -dy, summed where b was broadcast
        """
        a_shape, b_shape = self.saved
        da = unbroadcast(dy, a_shape) if self.needs_grad[0] else None
        db = unbroadcast(-dy, b_shape) if self.needs_grad[1] else None
        return da, db


class Multiply(BinaryOp):
    """y = a b, element by element."""

    def forward(self, a: Array, b: Array) -> Array:
        self.saved = a, b
        if a.shape != b.shape:
            check_broadcast(self, a, b)
        return a * b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """da = dy b, summed where a was broadcast
        db = dy a, summed where b was broadcast
        """
        a, b = self.saved
        da = unbroadcast(dy * b, a.shape) if self.needs_grad[0] else None
        db = unbroadcast(dy * a, b.shape) if self.needs_grad[1] else None
        return da, db


class Divide(BinaryOp):
    """y = a / b, element by element."""

    def forward(self, a: Array, b: Array) -> Array:
        self.saved = a, b
        if a.shape != b.shape:
            check_broadcast(self, a, b)
        return a / b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """da = dy / b, summed where a was broadcast
        db = -dy a / b², summed where b was broadcast
        """
        a, b = self.saved
        da = unbroadcast(dy / b, a.shape) if self.needs_grad[0] else None
        db = unbroadcast(-dy * (a / b / b), b.shape) if self.needs_grad[1] else None    # b² could overflow, or become 0
        return da, db


class Power(BinaryOp):
    """y = a ** b, element by element."""

    def forward(self, a: Array, b: Array) -> Array:
        if a.shape != b.shape:
            check_broadcast(self, a, b)
        y = a ** b
        self.saved = a, b, y
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """da = dy b a**(b - 1), summed where a was broadcast; 0 where b is 0
        db = dy log(a) a**b, summed where b was broadcast; log(a) a**b is 0 where a is 0, for b >= 0
        """
        xp = array_module(dy)
        a, b, y = self.saved
        da = db = None
        if self.needs_grad[0]:
            lowered = xp.where(b == 0, 1, b - 1)                        # no infinity of a = 0 where the slope is 0
            da = unbroadcast(xp.where(b == 0, 0, dy * (b * a ** lowered)), a.shape)
        if self.needs_grad[1]:
            at_zero = (a == 0) & (b >= 0)
            slope = xp.where(at_zero, 0, y * xp.log(xp.where(at_zero, 1, a)))
            db = unbroadcast(dy * slope, b.shape)
        return da, db


class Negate(Op):
    """y = -x."""

    def forward(self, x: Array) -> Array:
        return -x

    def backward(self, dy: Array) -> Array:
        """dx = -dy."""
        dx = -dy
        return dx


class MatMul(BinaryOp):
    """y = a b for matrices. Stacks broadcast.

    A vector is a row on the left, a column on the right.
    """

    def forward(self, a: Array, b: Array) -> Array:
        self.saved = a, b
        _check_matmul(self, a, b)
        return a @ b                                                    # (..., M, K) @ (..., K, N) -> (..., M, N)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """da = dy bᵀ, summed where a was broadcast
        db = aᵀ dy, summed where b was broadcast
        """
        a, b = self.saved
        rows = a[None, :] if a.ndim == 1 else a                         # (K,) -> (1, K)
        columns = b[:, None] if b.ndim == 1 else b                      # (K,) -> (K, 1)
        if a.ndim == 1:
            dy = dy[..., None, :] if b.ndim > 1 else dy[None]           # (..., N) -> (..., 1, N)
        if b.ndim == 1:
            dy = dy[..., None]                                          # (..., M) -> (..., M, 1)
        da = db = None
        if self.needs_grad[0]:
            da = dy @ columns.swapaxes(-1, -2)                          # (..., M, N) @ (..., N, K) -> (..., M, K)
            da = unbroadcast(da, rows.shape).reshape(a.shape)
        if self.needs_grad[1] and columns.ndim == 2:                    # the rows of the whole stack, below each other
            (K, N), count = columns.shape, math.prod(dy.shape[:-1])
            db = rows.reshape(count, K).T @ dy.reshape(count, N)        # (K, count) @ (count, N) -> (K, N)
            db = db.reshape(b.shape)
        elif self.needs_grad[1]:
            db = rows.swapaxes(-1, -2) @ dy                             # (..., K, M) @ (..., M, N) -> (..., K, N)
            db = unbroadcast(db, columns.shape)
        return da, db


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an operand of this shape that was broadcast: the sum over the axes along which it was repeated."""
    if gradient.shape == shape:
        return gradient
    added = gradient.ndim - len(shape)
    repeated = tuple(range(added)) + tuple(added + i for i, n in enumerate(shape)
                                           if n == 1 and gradient.shape[added + i] != 1)
    return sum_over(gradient, repeated).reshape(shape)


def check_broadcast(op: Op, a: Array, b: Array) -> None:
    """Raise a ShapeError where the shapes do not broadcast: aligned at the right, lengths are equal or 1."""
    for n, m in zip(reversed(a.shape), reversed(b.shape), strict=False):
        if n != m and n != 1 and m != 1:
            raise ShapeError(f"{op.title}: shapes {a.shape} and {b.shape} do not broadcast: aligned at the right, each "
                             f"pair of lengths must be equal or hold a 1, but {n} meets {m}. Reshape one of them")


def _check_matmul(op, a, b):
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"{op.title}: needs at least one axis on each side, got {a.shape} and {b.shape}: use * instead")
    inner = b.shape[0] if b.ndim == 1 else b.shape[-2]
    if a.shape[-1] != inner:
        raise ShapeError(f"{op.title}: {a.shape} @ {b.shape}: the last axis of the left has length {a.shape[-1]}, the "
                         f"{'only' if b.ndim == 1 else 'last but one'} axis of the right {inner}; they must be equal")
    for n, m in zip(reversed(a.shape[:-2]), reversed(b.shape[:-2]), strict=False):
        if n != m and n != 1 and m != 1:
            raise ShapeError(f"{op.title}: the leading axes of {a.shape} and {b.shape} do not broadcast")
