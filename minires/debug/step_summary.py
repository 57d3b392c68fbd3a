"""One step of a backward pass in words and numbers: which op, which formulas, how large each gradient is.

The formulas are the op's own: the docstring of its `plain_backward` where it has one, else of its `backward`. A gradient is
called "d" and the name of forward's argument, and has a line there, such as

    dx = dy W
    dweight = dyᵀ x

Those of `forward(self, *x)` are called dx[0], dx[1], …, and share one line, dx[i] = ….
"""
import html
import inspect
import os
import re
from typing import NamedTuple

from minires.arrays.backend import Array, MaybeNone, to_host
from minires.arrays.norms import euclidean_norm
from minires.engine.backward import BackwardStep
from minires.engine.op import Op
from minires.text.plain import plain
from minires.text.tables import html_row, html_table

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NOT_WANTED, NOT_COMPUTED = "not wanted", "not computed yet"


class GradientSummary(NamedTuple):
    """One gradient of a step."""

    name: str  # "dy" for that of the output; "dx", "dweight", … for those of the inputs
    formula: str  # "dx = dy W"; the name alone where the op states none, and for "dy", which came in
    shape: tuple[int, ...]
    norm: Array | str  # Euclidean, a 0-d float64 array on the gradient's device; or NOT_WANTED or NOT_COMPUTED

    @property
    def norm_text(self) -> str:
        """The norm with four digits. Waits for the device."""
        return self.norm if isinstance(self.norm, str) else f"{float(to_host(self.norm)):.4g}"


class StepSummary:
    """A `BackwardStep` without its arrays and its graph.

    Attributes:
        op: the op's class name.
        layer: the name of the tensor that it made, or of the layer that called it; "" where neither has one.
        forward: the first line of the op's docstring.
        gradients: a `GradientSummary` for the gradient that came in, then one for each input; absent inputs are left out.
        made_at: (file, line) of the code that called the op.
        code: (file, line) of the backward that ran.
    """

    def __init__(self, step: BackwardStep) -> None:
        op = step.op
        self.op: str = type(op).__name__
        self.layer: str = step.name if step.name != self.op else ""
        self.forward: str = (inspect.getdoc(type(op)) or "").partition("\n")[0]
        self.made_at: tuple[str, int] | MaybeNone = op.where
        self.code: tuple[str, int] = backward_code(op)
        self.gradients: list[GradientSummary] = [
            GradientSummary("dy", "dy", step.grad_output.shape, euclidean_norm(step.grad_output))]
        for i, (name, formula) in enumerate(zip(gradient_names(op), backward_formulas(op), strict=True)):
            if op.input_shapes[i] is not None:
                self.gradients.append(GradientSummary(name, formula, op.input_shapes[i], _norm_of_input(step, i)))

    def to_html(self) -> str:
        """A small table, for a notebook."""
        align = ("left", "left", "right")
        rows = [html_row((gradient.formula, list(gradient.shape), gradient.norm_text), align=align)
                for gradient in self.gradients]
        table = html_table([html_row(("gradient", "shape", "norm"), "th", align), *rows])
        places = f"made at {place(self.made_at)}, backward at {place(self.code)}"
        op, layer, forward, where = [html.escape(plain(text)) for text in (self.op, self.layer, self.forward, places)]
        return f"<div><b>{op}</b> {layer}<br>{forward}{table}<small>{where}</small></div>"


def step_as_html(step: BackwardStep) -> str:
    """What a notebook shows of a `BackwardStep`."""
    return StepSummary(step).to_html()


def gradient_names(op: Op) -> list[str]:
    """What the gradients of an op's inputs are called: "d" and the name of forward's argument."""
    names, several = [], None
    for name, argument in inspect.signature(op.forward).parameters.items():
        if argument.kind is inspect.Parameter.VAR_POSITIONAL:
            several = name
        else:
            names.append(f"d{name}")
    places = range(len(op.input_shapes) - len(names))
    return names[:len(op.input_shapes)] + [f"d{several}[{i}]" if several else f"d(input {i})" for i in places]


def backward_formulas(op: Op) -> list[str]:
    """The formula of each input's gradient, as the op states it; its name alone where it states none."""
    stated = {}
    for backward in (op.backward, op.plain_backward):  # the definition last, so that it wins
        for line in (inspect.getdoc(backward) or "").splitlines() if backward is not None else ():
            found = re.match(r"(d\w+)(\[.*?\])? = ", line)
            if found:
                stated[found[1]] = line.strip().rstrip(".")
    return [_formula(name, stated) for name in gradient_names(op)]


def _formula(name, stated):
    """The formula of the gradient of this name; dx[2] is that of dx[i]."""
    general, bracket, place = name.partition("[")
    formula = stated.get(general, name)
    return formula.replace("[i]", bracket + place) if bracket else formula


def backward_code(op: Op) -> tuple[str, int]:
    """(file, line) of the backward that now runs for this op: the plain one inside `reference_ops()`."""
    code = op.current_backward.__code__
    return code.co_filename, code.co_firstlineno


def place(file_and_line: tuple[str, int]) -> str:
    """"file:line", from the package or the current folder on where the file is in one of them."""
    file, line = file_and_line
    for folder, start in ((PACKAGE, "minires/"), (os.getcwd(), "")):
        if file.startswith(os.path.join(folder, "")):
            return f"{start}{os.path.relpath(file, folder).replace(os.sep, '/')}:{line}"
    return f"{file}:{line}"


def _norm_of_input(step, i):
    if not step.op.needs_grad[i]:
        return NOT_WANTED
    return NOT_COMPUTED if step.grad_inputs is None else euclidean_norm(step.grad_inputs[i])
