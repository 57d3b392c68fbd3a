"""`gradcheck`: compare a gradient with numerical derivatives, in float64, so that a wrong one cannot pass.

A check that sums the output, or that looks at a few elements, lets wrong gradients through: Σ batch_norm(x) does not
depend on x at all, so any multiple of zero "agrees". Here the output is weighted with random numbers v instead, and the
gradient of L = Σ v · f(x) is compared with central differences, element by element.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minires.arguments import number, whole_number
from minires.arrays.backend import Array, array_module, device_of, to_device, to_host
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError, GradcheckError, ShapeError
from minires.nn.module import Module
from minires.text.tables import text_table

STEP = 1e-5  # of the central differences: errors of f''' · STEP² / 6 and of rounding · f / STEP, both near 1e-10
SMALLER_STEP = 1e-6  # taken where the first disagrees: nearer to the derivative, unless there is a kink
CONVERGED = 0.2  # a disagreement that shrinks to this share with the step is that of the differences, not of backward
LAST_DIGITS = 1e-15  # relative moves of the inputs that show how much of the outputs is rounding ...
PROBES = 4  # ... made so many times at random
ROUNDING = 20  # times as much rounding is tolerated
EVERY_ELEMENT = 400  # arguments of up to this size are checked at every element
SAMPLED_ELEMENTS = 40  # of a larger one, so many elements ...
DIRECTIONS = 8  # ... and so many random directions, each of which moves all elements
MOST_KINKS = 0.1  # a check that had to leave out more than this share of an argument says so instead of passing


@dataclass
class ArgumentCheck:
    """What was found about the gradient of one argument."""

    name: str
    shape: tuple[int, ...]
    checked: int = 0  # elements and directions that were compared
    wrong: int = 0
    kinks: int = 0  # places left out, as the function has a kink there
    worst: Comparison | None = None


@dataclass
class Comparison:
    """One derivative: along an element of an argument, or along a random direction."""

    place: str  # "[0, 2]", or "along a random direction"
    got: float  # from backward
    expected: float  # numerically
    error: float  # |got - expected| in units of what is tolerated: above 1 is wrong


@dataclass
class GradcheckReport:
    """What `gradcheck` compared, and how well it agreed: `print(report)`."""

    op: str
    arguments: list[ArgumentCheck] = field(default_factory=list)

    def __str__(self) -> str:
        head = ("argument", "shape", "compared", "wrong", "kinks", "worst place", "got", "expected")
        rows = [(a.name, str(a.shape), str(a.checked), str(a.wrong), str(a.kinks),
                 *((a.worst.place, f"{a.worst.got:.9g}", f"{a.worst.expected:.9g}") if a.worst else ("-", "-", "-")))
                for a in self.arguments]
        return "\n".join(f"  {line}" for line in text_table([head, *rows]))


def gradcheck(function: Callable[..., Tensor], inputs: list[Any] | tuple[Any, ...], rtol: float = 1e-5, atol: float = 1e-7,
              seed: int = 0) -> GradcheckReport:
    """Check the gradient of a function of tensors against numerical derivatives.

        L = Σ v · f(x),  v ~ N(0, 1):        dL/dx[i]  =  (L(x + h·e_i) - L(x - h·e_i)) / 2h  +  O(h²)

    Every element of a small argument is checked; of one with more than 400 elements, 40 of them and 8 random directions.
    Where they disagree, the difference is taken again with h / 10. At a smooth place it comes nearer to the derivative.
    At a kink (a ReLU at 0) the slopes to the left and to the right stay apart: where backward's lies between them, the
    place is left out and counted.

    What rounding may do to a difference is tolerated: some 1e-9 of the outputs that the place moves, and more where f
    loses digits on the way. A smaller derivative cannot be checked, so a wrong one passes.

    Args:
        function: takes the inputs, returns one tensor. A `Module` in float64 is checked in its parameters as well.
        inputs: a list; tensors and float arrays are checked (as float64 copies), anything else is passed on as it is.
        rtol: the tolerated error, as a share of the derivative ...
        atol: ... and as a share of what the place moves in the outputs, √Σ (v · ∂f)², where contributions cancel.
        seed: of v and of the random directions.

    Returns:
        A `GradcheckReport`; `print` it.

    Raises:
        GradcheckError: a gradient is wrong, is missing, or could not be compared, as the function has kinks nearly
            everywhere, is not deterministic or writes to its inputs, its output or the gradient that comes in. The
            message names the op, the argument and the worst element, and holds the table.
        ArgumentError: there is nothing to check, a module is not in float64, or a number is negative.
        DTypeError: `function` cannot be called, or `inputs` is no list.
    """
    if not callable(function) or not isinstance(inputs, (list, tuple)):
        raise DTypeError(f"gradcheck: got a {type(function).__name__} and a {type(inputs).__name__}, expected a function "
                         "and a list of its inputs: gradcheck(function, [x, …])")
    rtol, atol = number("gradcheck", "rtol", rtol), number("gradcheck", "atol", atol)
    seed = whole_number("gradcheck", "seed", seed, smallest=0)
    # not default_rng(seed), from which a test may have drawn x: v = x is a bad choice, as x · batch_norm(x) has no slope
    generator = np.random.default_rng([seed, *b"gradcheck"])
    arguments = [_as_argument(i, value) for i, value in enumerate(inputs)]
    checked = [a for a in arguments if isinstance(a, Tensor)] + _module_parameters(function)
    if not checked or all(a.size == 0 for a in checked):
        raise ArgumentError("gradcheck: got no tensor or float array with elements, so there is nothing to check")
    before = [to_host(a.data).copy() for a in checked]
    buffers = _module_buffers(function)
    try:
        y = _output(function, arguments)
        centre = y.data.copy()
        v = to_device(generator.standard_normal(y.shape), device_of(y.data))
        report = GradcheckReport("the function" if y.op is None else y.op.title)
        loss = Loss(function, arguments, v, centre)
        gradients = _gradients(y, v.copy(), checked, report.op, loss)
        _check_purity(loss, before, checked, report.op)
        loss.find_rounding(checked, generator)
        for a, gradient in zip(checked, gradients, strict=True):
            report.arguments.append(_check_argument(a, to_host(gradient), loss, generator, rtol, atol))
    finally:
        for buffer, values in buffers:
            buffer[...] = values
    _raise_if_wrong(report)
    return report


class Loss:
    """L = Σ v · f(x), of which only differences from the output `centre` are asked for."""

    rounding: Array  # how far each output moves where nothing but the last digits of the inputs does

    def __init__(self, function: Callable[..., Tensor], arguments: list[Any], v: Array, centre: Array) -> None:
        self.function = function
        self.arguments = arguments
        self.v = v
        self.centre = centre

    def output(self) -> Array:
        """f at the present values of the arguments, as an array: it may be a view of them."""
        return _output(self.function, self.arguments).data

    def find_rounding(self, checked: list[Tensor], generator: np.random.Generator) -> None:
        """Set `rounding`, at random moves of the inputs."""
        kept = [a.data.copy() for a in checked]
        self.rounding = LAST_DIGITS * abs(self.centre)
        try:
            for _ in range(PROBES):
                for a, values in zip(checked, kept, strict=True):
                    noise = LAST_DIGITS * to_device(generator.standard_normal(a.shape), device_of(a.data))
                    a.data[...] = values + values * noise
                self.rounding = array_module(self.v).maximum(self.rounding, abs(self.output() - self.centre))
        finally:
            for a, values in zip(checked, kept, strict=True):
                a.data[...] = values

    def slopes(self, a: Tensor, gradient: np.ndarray, direction: np.ndarray, step: float, rtol: float,
               atol: float) -> Slopes:
        """The derivatives along a direction, as `Slopes`; the argument's data are moved, and put back."""
        moved = direction != 0
        got = float((gradient[moved] * direction[moved]).sum())  # only there: a NaN elsewhere is not the fault of this place
        kept = a.data.copy()
        h = step * to_device(direction, device_of(a.data))
        try:
            a.data[...] = kept + h
            right = self.v * (self.output() - self.centre)
            a.data[...] = kept - h
            left = self.v * (self.centre - self.output())
        finally:
            a.data[...] = kept
        outputs = to_host(right + left) / (2 * step)  # v · ∂f, an array of the output's shape
        rounding = to_host(self.v * self.rounding)[(outputs != 0) | (not outputs.any())] / step
        tolerated = rtol * abs(float(outputs.sum())) + atol * _length(outputs) + ROUNDING * _length(rounding)
        return Slopes(got, float(left.sum()) / step, float(right.sum()) / step, tolerated)


@dataclass
class Slopes:
    """The derivative of L along a direction: from backward, and as differences to the left and to the right."""

    got: float
    left: float
    right: float
    tolerated: float  # how far `got` may lie from `expected`

    @property
    def expected(self) -> float:
        """The central difference."""
        return (self.left + self.right) / 2

    @property
    def distance(self) -> float:
        """How far backward's derivative lies from the central difference."""
        return abs(self.got - self.expected)

    @property
    def error(self) -> float:
        """The distance in units of what is tolerated: above 1 is wrong, and so is what is not finite."""
        if self.distance == 0:
            return 0.0
        can_divide = 0 < self.tolerated < np.inf and self.distance < np.inf  # NaN is not
        return self.distance / self.tolerated if can_divide else np.inf

    @property
    def jump(self) -> float:
        """How far the slopes to the left and to the right lie apart."""
        return abs(self.right - self.left)


def _check_argument(a, gradient, loss, generator, rtol, atol):
    """Compare one gradient with numerical derivatives, along elements and, if it is large, along random directions."""
    result = ArgumentCheck(a.name, a.shape)
    for place, direction in _directions(a.shape, generator):
        slopes = loss.slopes(a, gradient, direction, STEP, rtol, atol)
        if slopes.error > 1:
            wider, slopes = slopes, loss.slopes(a, gradient, direction, SMALLER_STEP, rtol, atol)
            if _is_kink(wider, slopes):
                result.kinks += 1
                continue
            if np.isfinite(wider.distance):
                slopes.tolerated += CONVERGED * wider.distance
        result.checked += 1
        result.wrong += slopes.error > 1
        if result.worst is None or slopes.error > result.worst.error:
            result.worst = Comparison(place, slopes.got, slopes.expected, slopes.error)
    return result


def _is_kink(wider, slopes):
    """Do left and right differ as much at the smaller step, where a curve would be straighter? And explain the rest?

    A backward that is wrong at a smooth place does not pass as a kink, nor does one whose slope lies outside of both.
    """
    return wider.jump / 2 < slopes.jump < np.inf and slopes.distance <= 0.55 * slopes.jump


def _length(values):
    """√Σ values²."""
    return float(np.sqrt((values * values).sum()))


def _directions(shape, generator):
    """(place, direction) pairs: every element in turn, or some and then directions that move all elements at once."""
    size = int(np.prod(shape))
    chosen = range(size) if size <= EVERY_ELEMENT else generator.choice(size, SAMPLED_ELEMENTS, replace=False)
    for i in chosen:
        direction = np.zeros(size)
        direction[i] = 1
        place = ", ".join(str(int(n)) for n in np.unravel_index(i, shape))
        yield f"[{place}]", direction.reshape(shape)
    if size > EVERY_ELEMENT:
        for _ in range(DIRECTIONS):
            yield "along a random direction", generator.standard_normal(shape)


def _as_argument(i, value):
    """A tensor or float array as a float64 leaf with its memory order kept; anything else as it is."""
    if isinstance(value, Tensor):
        name, data = value.name or f"argument {i}", value.data
    elif hasattr(value, "dtype") and value.dtype.kind == "f":
        name, data = f"argument {i}", value
    else:
        return value
    return Tensor(array_module(data).array(data, dtype=np.float64, order="K"), requires_grad=True, name=name)


def _module_parameters(function):
    """The parameters of a module, which must be in float64 for differences to mean anything."""
    if not isinstance(function, Module):
        return []
    parameters = list(function.parameters())
    if any(parameter.dtype != np.float64 for parameter in parameters):
        raise ArgumentError(f"gradcheck: the {type(function).__name__} has float32 parameters, and differences of float32 "
                            "say little: check module.astype(np.float64)")
    return parameters


def _module_buffers(function):
    """(array, copy) of what the forward of a module may change: running statistics."""
    if not isinstance(function, Module):
        return []
    return [(buffer, buffer.copy()) for _, buffer in function.named_buffers()]


def _output(function, arguments):
    y = function(*arguments)
    if not isinstance(y, Tensor):
        raise ArgumentError(f"gradcheck: the function returned a {type(y).__name__}, expected one Tensor")
    if y.size == 0:
        raise ShapeError(f"gradcheck: the function returned a tensor of shape {y.shape}, which has nothing to differentiate")
    return y


def _gradients(y, dy, checked, op, loss):
    """dL/d(argument) of each, from the backward pass with dL/dy = dy, a copy of v."""
    kept = [a.grad for a in checked]  # a module's parameters may hold gradients of the caller's
    try:
        for a in checked:
            a.grad = None
        y.backward(dy)
        gradients = [a.grad for a in checked]
    finally:
        for a, gradient in zip(checked, kept, strict=True):
            a.grad = gradient
    missing = [a.name for a, gradient in zip(checked, gradients, strict=True) if gradient is None]
    if missing:
        raise GradcheckError(f"gradcheck: no gradient of {op} reached {', '.join(missing)}: the function does not use it, "
                             "or computes with its .data, which the tape does not see")
    for name, now, before in (("the gradient that came in", dy, loss.v), ("its output", y.data, loss.centre)):
        if not np.array_equal(to_host(now), to_host(before), equal_nan=True):
            raise GradcheckError(f"gradcheck: the backward of {op} wrote to {name}, which others use as well")
    return gradients


def _check_purity(loss, before, checked, op):
    """Raise where the inputs were written to, or a second run gives another output."""
    for a, values in zip(checked, before, strict=True):
        if not np.array_equal(to_host(a.data), values, equal_nan=True):
            raise GradcheckError(f"gradcheck: {op} wrote to {a.name}: no forward or backward may change its inputs")
    if not np.array_equal(to_host(loss.output()), to_host(loss.centre), equal_nan=True):
        raise GradcheckError(f"gradcheck: {op} gave another output when it ran again: a random function must use the same "
                             "seed each time")


def _raise_if_wrong(report):
    for a in report.arguments:
        if a.wrong:
            raise GradcheckError(f"gradcheck: dL/d({a.name}) of {report.op} is wrong at {a.worst.place}: got "
                                 f"{a.worst.got:.9g}, expected {a.worst.expected:.9g}\n{report}")
    for a in report.arguments:
        if a.kinks > MOST_KINKS * (a.checked + a.kinks):
            raise GradcheckError(f"gradcheck: {report.op} has a kink at {a.kinks} of {a.checked + a.kinks} places of "
                                 f"{a.name}, so that its gradient could not be compared: move the inputs\n{report}")
