"""`explain(loss)`: a whole backward pass as a table."""
from __future__ import annotations

import sys
import textwrap
from typing import Any

from minires.debug.step_summary import StepSummary, place
from minires.debug.undisturbed import undisturbed
from minires.engine.backward import backward_steps
from minires.engine.tensor import Tensor
from minires.text.tables import html_row, html_table, text_table
from minires.text.terminal import printable

FORMULA_WIDTH = 68  # characters in a line of the table


def explain(root: Tensor, gradient: Any = None) -> BackwardTable:
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
    with undisturbed(root):
        table = BackwardTable([StepSummary(step) for step in steps])
    if not _in_notebook():
        print(printable(str(table)))
    return table


class BackwardTable:
    """What `explain` found: `rows`, a `StepSummary` for each op in the order of the pass, and the table as text or HTML."""

    HEAD = ("op", "layer", "gradient", "shape", "norm", "code of the backward")
    ALIGN = ("left", "left", "left", "left", "right", "left")

    def __init__(self, rows: list[StepSummary]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<BackwardTable: {len(self)} ops>"

    def cells(self) -> list[tuple[str, ...]]:
        """The table as lists of text: for each op a line for dy, then one for each gradient that its backward computes."""
        lines: list[tuple[str, ...]] = []
        for row in self.rows:
            for i, gradient in enumerate(row.gradients):
                op = (row.op, row.layer, place(row.code)) if i == 0 else ("", "", "")
                lines.append((*op[:2], gradient.formula, str(list(gradient.shape)), gradient.norm_text, op[2]))
        return lines

    def __str__(self) -> str:
        rows = [line for cells in self.cells() for line in _wrapped(cells)]
        head, rule, *lines = text_table(rows, self.HEAD, right=[self.HEAD.index("norm")])
        return "\n".join([head, rule, *lines, rule,
                          f"{len(self)} ops, from the loss back; dy is the gradient that comes in"])

    def _repr_html_(self) -> str:
        rows = [html_row(cells, align=self.ALIGN, style="border-top:1px solid" if cells[0] else "")
                for cells in self.cells()]
        return html_table([html_row(self.HEAD, "th", self.ALIGN), *rows])


def _wrapped(cells):
    """The lines of a row whose formula is long: the first has the other cells, the next only what was left of it."""
    first, *others = textwrap.wrap(cells[2], FORMULA_WIDTH, subsequent_indent="     ")
    return [(*cells[:2], first, *cells[3:]), *[("", "", other, "", "", "") for other in others]]




def _in_notebook() -> bool:
    """Does this run in a Jupyter notebook, which shows the value of a cell's last line?"""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
