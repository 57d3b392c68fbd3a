"""`explain(loss)`: a whole backward pass as a table. `describe(tensor)`: the statistics of a tensor, on demand."""
import contextlib
import sys
import textwrap

import numpy as np

from minires.arrays.backend import array_module, device_of, is_array, to_host
from minires.arrays.norms import euclidean_norm
from minires.debug.step_summary import StepSummary, cell, head, place
from minires.engine.backward import backward_steps, topological_order
from minires.engine.op import Op
from minires.engine.state import state
from minires.engine.tensor import Tensor
from minires.errors import DTypeError

FORMULA_WIDTH = 68  # characters in a line of the table


def explain(root, gradient=None):
    """Print the backward pass from `root` as a table, in the order in which it runs: from the loss back to the first layer.

    A row for each op, with its layer, the gradient that comes in (dy) and the place of the code of its backward; below it a
    row for each gradient that this computes, with its formula, shape and Euclidean norm.

    The pass runs for the table alone: each `grad` stays as it was, the graph can still be differentiated, and no recorder
    or breakpoint sees it. Inside `with mr.reference_ops():` it is that of the plain forms.

    Args:
        root: the tensor to differentiate, with one element unless `gradient` is given.
        gradient: dL/d(root), an array of root's shape; 1 by default.

    Returns:
        A `BackwardTable`: `str(table)` is the table, `table.rows` are its numbers. In a Jupyter notebook nothing is
        printed: the value of a cell's last line is shown there, as HTML.

    Raises:
        BackwardError, DTypeError: as `minires.backward_steps`.
    """
    steps = backward_steps(root, gradient, retain_graph=True)
    with _watched_by_nobody(), _grads_kept(root):
        table = BackwardTable([StepSummary(step) for step in steps])
    if not _in_notebook():
        print(_printable(str(table)))
    return table


class BackwardTable:
    """What `explain` found: `rows`, a `StepSummary` for each op in the order of the pass, and the table as text or HTML."""

    HEAD = ("op", "layer", "gradient", "shape", "norm", "code of the backward")

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __repr__(self):
        return f"<BackwardTable: {len(self)} ops>"

    def cells(self) -> list:
        """The table as lists of text: for each op a line for dy, then one for each gradient that its backward computes."""
        lines = []
        for row in self.rows:
            for i, gradient in enumerate(row.gradients):
                op = (row.op, row.layer, place(row.code)) if i == 0 else ("", "", "")
                lines.append((*op[:2], gradient.formula, str(list(gradient.shape)), gradient.norm_text, op[2]))
        return lines

    def __str__(self):
        lines = [line for cells in self.cells() for line in _wrapped(cells)]
        widths = [max(len(line[i]) for line in [self.HEAD, *lines]) for i in range(len(self.HEAD))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        text = [_aligned(self.HEAD, widths), rule, *[_aligned(line, widths) for line in lines], rule]
        return "\n".join([*text, f"{len(self)} ops, from the loss back; dy is the gradient that comes in"])

    def _repr_html_(self):
        rows = []
        for op, layer, gradient, shape, norm, code in self.cells():
            start = '<tr style="border-top:1px solid">' if op else "<tr>"
            rows.append(f"{start}{cell(op)}{cell(layer)}{cell(gradient)}{cell(shape)}{cell(norm, 'right')}{cell(code)}</tr>")
        titles = "".join(head(title, "right" if title == "norm" else "left") for title in self.HEAD)
        return f"<table><tr>{titles}</tr>{''.join(rows)}</table>"


def describe(tensor):
    """Statistics of a tensor, or of a raw array such as a gradient; on a GPU, this waits for it.

    Returns:
        A `Description`, which a prompt shows as text and a notebook as a table. Least, largest, mean, standard deviation
        (dividing by the count) and norm are those of the finite values, in float64; NaN where there is none.

    Raises:
        DTypeError: this is neither a tensor nor an array of NumPy or CuPy.
    """
    return Description(tensor)


class Description:
    """What `describe` found.

    Attributes:
        name: the tensor's name, or None.
        shape, dtype, device: as the tensor's.
        min, max, mean, std, norm: of the finite values, Python floats.
        zeros, nan, inf: how many values are exactly 0, NaN, and infinite.
        op: the label of the op that made it, with its layer, or None.
        made_at: (file, line) of your code that called that op, or None.
        grad_norm: the norm of `grad`, or None where there is none.
    """

    def __init__(self, tensor):
        x = tensor.data if isinstance(tensor, Tensor) else tensor
        if not isinstance(x, np.generic) and not is_array(x):
            raise DTypeError(f"describe: got a {type(x).__name__}, expected a Tensor or an array of NumPy or CuPy: of a "
                             "net, give one of its parameters; wrap numbers in mr.Tensor(…)")
        xp = array_module(x)
        made_by = tensor.op if isinstance(tensor, Tensor) else None
        self.name = tensor.name if isinstance(tensor, Tensor) else None
        self.shape, self.dtype, self.device = x.shape, x.dtype, device_of(x)
        finite = x[xp.isfinite(x)].astype(np.float64)
        self.min, self.max, self.mean, self.std = _statistics(to_host(finite))
        self.norm = float(euclidean_norm(finite)) if finite.size else float("nan")
        self.zeros, self.nan, self.inf = [int(xp.sum(is_so)) for is_so in (x == 0, xp.isnan(x), xp.isinf(x))]
        self.op = None if made_by is None else made_by.title
        self.made_at = None if made_by is None else made_by.where
        grad = tensor.grad if isinstance(tensor, Tensor) else None
        self.grad_norm = None if grad is None else float(euclidean_norm(grad))

    def items(self) -> list:
        """(what, value) pairs of text."""
        count = int(np.prod(self.shape))
        finite = "" if self.nan == self.inf == 0 else " of the finite values"
        items = [("name", self.name)] if self.name else []
        items += [("shape", f"{list(self.shape)} = {count:,} values"), ("dtype", self.dtype), ("device", self.device),
                  (f"min, max{finite}", f"{self.min:.6g}, {self.max:.6g}"),
                  (f"mean, std{finite}", f"{self.mean:.6g}, {self.std:.6g}"),
                  (f"norm{finite}", f"{self.norm:.6g}"),
                  ("zeros", _share(self.zeros, count)), ("NaN", _share(self.nan, count)), ("inf", _share(self.inf, count))]
        if self.grad_norm is not None:
            items.append(("norm of grad", f"{self.grad_norm:.6g}"))
        if self.op is not None:
            items.append(("made by", f"{self.op}, called at {place(self.made_at)}"))
        return [(what, str(value)) for what, value in items]

    def __str__(self):
        width = max(len(what) for what, _ in self.items())
        return "\n".join(f"{what.ljust(width)}  {value}" for what, value in self.items())

    __repr__ = __str__  # a prompt, or a debugger's `p`, shows the lines

    def _repr_html_(self):
        return f"<table>{''.join(f'<tr>{head(what)}{cell(value)}</tr>' for what, value in self.items())}</table>"


def _statistics(finite):
    """(min, max, mean, std) of a host array of finite float64 values; NaN of none."""
    if finite.size == 0:
        return (float("nan"),) * 4
    scale = max(np.abs(finite).max(), np.finfo(np.float64).tiny)  # so that no square overflows or vanishes
    return tuple(float(value) for value in (finite.min(), finite.max(), scale * (finite / scale).mean(),
                                            scale * (finite / scale).std()))


def _share(count, total):
    return f"{count:,} ({count / total:.1%})" if count else "0"


def _wrapped(cells):
    """The lines of a row whose formula is long: the first has the other cells, the next only what was left of it."""
    first, *others = textwrap.wrap(cells[2], FORMULA_WIDTH, subsequent_indent="     ")
    return [(*cells[:2], first, *cells[3:]), *[("", "", other, "", "", "") for other in others]]


def _aligned(line, widths):
    """The norms end, and all else begins, at the same place in each line."""
    return "  ".join(text.rjust(width) if i == 4 else text.ljust(width)
                     for i, (text, width) in enumerate(zip(line, widths, strict=True))).rstrip()


@contextlib.contextmanager
def _watched_by_nobody():
    """No hook sees what happens in this block."""
    hooks, state.hooks = state.hooks, ()
    try:
        yield
    finally:
        state.hooks = hooks


@contextlib.contextmanager
def _grads_kept(root):
    """Each `grad` that a backward pass from `root` would add to is, after this block, the same array, unchanged."""
    nodes = topological_order(root.op)
    tensors = [tensor for tensor in [x.output if isinstance(x, Op) else x for x in nodes] if tensor is not None]
    grads = [tensor.grad for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.grad = None
        yield
    finally:
        for tensor, grad in zip(tensors, grads, strict=True):
            tensor.grad = grad


def _printable(text):
    """The text with "?" for what the standard output cannot encode: Windows writes files in a code page without ᵀ."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _in_notebook() -> bool:
    """Does this run in a Jupyter notebook, which shows the value of a cell's last line?"""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
