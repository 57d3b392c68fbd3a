"""An op that is about to run, and what it would make: how a breakpoint finds the op that makes the first NaN, or zero."""
from collections.abc import Callable

import numpy as np

from minires.arrays.backend import Array, all_finite, is_array, is_writable
from minires.engine.backward import BackwardStep
from minires.engine.call_site import with_source
from minires.engine.op import Op

__all__ = ["KINDS", "ForwardStep", "makes"]


class ForwardStep:
    """One op that is about to run: what the condition of a breakpoint in forward is given.

    Attributes:
        op: the `Op`; `type(op).__name__` is its label.
        name: the layer that called it, or the op's label.
        inputs: the arrays that it will be given, None for an absent bias.
    """

    __slots__ = ("inputs", "op")

    def __init__(self, op: Op, inputs: list[Array | None]) -> None:
        self.op: Op = op
        self.inputs: list[Array | None] = inputs

    @property
    def name(self) -> str:
        """The dotted name of the layer, or the op's label."""
        return self.op.layer or type(self.op).__name__

    def where(self) -> str:
        """The line of your code that calls this op: "file:line: the line"."""
        return with_source(self.op.where)

    def __repr__(self) -> str:
        return f"<ForwardStep {self.name}: {type(self.op).__name__}>"


def _holds_non_finite(array):
    return not all_finite(array)


def _is_all_zero(array):
    return array.size > 0 and not bool(array.any())


KINDS: dict[str, Callable[[Array], bool]] = {"non-finite": _holds_non_finite, "zero": _is_all_zero}


def makes(step: BackwardStep | ForwardStep, kind: str) -> bool:
    """Does the op of a step make a gradient of this kind (in forward, an output), or is the gradient that it is given one?

    The op is tried, which leaves no trace: what it may have written to, running statistics, gets its values back.

    Args:
        step: a `BackwardStep` or `ForwardStep` that is about to run.
        kind: one of KINDS.
    """
    op, holds = step.op, KINDS[kind]
    if isinstance(step, ForwardStep):
        return _makes_output(step, holds)
    try:
        with np.errstate(all="ignore"):
            backward = op.current_backward
            gradients = backward(step.grad_output)
    except Exception:
        return False  # the op itself will say it, with a note on where it was called
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    wanted = [gradient for x, gradient in zip(op.inputs, gradients, strict=False) if x is not None and gradient is not None]
    return any(holds(gradient) for gradient in [step.grad_output, *wanted])


def _makes_output(step, holds):
    op = step.op
    kept = [(array, array.copy()) for array in vars(op).values()
            if is_array(array) and is_writable(array)]  # running statistics, and what is like them
    try:
        with np.errstate(all="ignore"):
            forward = op.current_forward
            y = forward(*step.inputs)
    except Exception:
        return False  # as above
    finally:
        for array, values in kept:
            array[...] = values
    return holds(np.asarray(y) if isinstance(y, np.generic) else y)
