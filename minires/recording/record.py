"""The record of gradients: norms by backward pass and by module, as `record_gradients` leaves them."""
from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minires.arguments import instance, known_name, list_of
from minires.errors import ArgumentError, DTypeError, UnknownNameError
from minires.models import Block
from minires.recording import csv_files, elsewhere
from minires.recording.column import Column
from minires.recording.histograms import BELOW, NOT_FINITE, ZEROS, Histograms
from minires.recording.neighbours import merged, with_neighbours
from minires.recording.numbers import (
    ACTIVATION_QUANTITIES,
    ALL_QUANTITIES,
    FLOW_QUANTITIES,
    QUANTITIES,
    Key,
    Passes,
    combined,
)
from minires.text.tables import html_row, html_table, text_table

MOST_ROWS = 30  # of a table of columns

RECORDS = "records: those that `with mr.record_gradients(model) as record:` names"


class GradientRecord:
    """Norms by backward pass (rows) and use of a module (columns, in forward order: the first made output first).

    A module that ran several times before one backward pass has a column for each of these uses: "cell", "cell@2",
    "cell@3". They are counted in each pass, among the uses that it reaches; where a pass has fewer than another one, the
    columns of the rest are NaN there. What is known of the weight stands in the first. Where a module returns a tuple, a
    list or a dict, its column has the norm of the gradients of all its tensors together, and each tensor has a column behind
    it: "cell[0]", "cell@2[0]", 'cell["key"]'.

    Attributes:
        names: names of the columns, which begin with the module's dotted name, such as "layer2.0.conv1".
        types: the modules' class names, such as "Conv2d".
        output_grad_norm: ‖dL/d(output)‖, array (passes, modules); NaN where no gradient reached the output.
        weight_grad_norm: ‖dL/dW‖ of the module's `weight`, or of a layer's matrices together where none has this name; else
            NaN.
        weight_norm: ‖W‖ when the pass ran, before the update.
        update_ratio: ‖W after the optimizer's step - W before‖ / ‖W before‖, NaN without an optimizer.
        flow_through_shortcut: of a block y = F(x) + S(x), ‖(∂S/∂x)ᵀ dL/dy‖; NaN where there is no shortcut, where x wants
            no gradient, and without `record_gradients(…, shortcut_flow=True)`, as the next three.
        flow_through_branch: ‖(∂F/∂x)ᵀ dL/dy‖.
        flow_together: the norm of the sum of these two gradients: ‖dL/dx‖, where x goes nowhere else.
        flow_cosine: the cosine of the angle between these two, 1 where they point the same way; NaN where one is 0.
        activation_mean: the mean of the output's elements; NaN without `record_gradients(…, activations=True)`, as the next
            two.
        activation_std: their standard deviation, with the divisor n.
        activation_zeros: the share of them that is exactly 0, from 0 to 1; behind a ReLU, of those that pass no gradient.

    All norms are Euclidean, over all elements, computed in float64: a float32 gradient of 1e-30 is not rounded to 0.
    """

    def __init__(self, columns: Iterable[Column] = (), rows: Iterable[dict[Key, float]] = (),
                 passes: Passes | None = None) -> None:
        self.columns: list[Column] = list_of("GradientRecord", "columns", columns, Column, "a list of columns")
        if passes is not None:
            instance("GradientRecord", "passes", passes, Passes, "the passes of another record")
        self.passes: Passes = Passes() if passes is None else passes  # the numbers; records of fewer columns share them
        for row in list_of("GradientRecord", "rows", rows, dict, "a list of dicts {(quantity, column): number}"):
            self.passes.add_row(row)

    @property
    def names(self) -> list[str]:
        """The modules' dotted names, in forward order."""
        return [column.name for column in self.columns]

    @property
    def types(self) -> list[str]:
        """The modules' class names, in forward order."""
        return [column.kind.__name__ for column in self.columns]

    @property
    def output_grad_norm(self) -> np.ndarray:
        """‖dL/d(output)‖, (passes, modules)."""
        return self.values("output_grad_norm")

    @property
    def weight_grad_norm(self) -> np.ndarray:
        """‖dL/dW‖, (passes, modules)."""
        return self.values("weight_grad_norm")

    @property
    def weight_norm(self) -> np.ndarray:
        """‖W‖, (passes, modules)."""
        return self.values("weight_norm")

    @property
    def update_ratio(self) -> np.ndarray:
        """‖ΔW‖ / ‖W‖ of the optimizer's step after each pass, (passes, modules)."""
        return self.values("update_ratio")

    @property
    def flow_through_shortcut(self) -> np.ndarray:
        """‖(∂S/∂x)ᵀ dL/dy‖, (passes, modules)."""
        return self.values("flow_through_shortcut")

    @property
    def flow_through_branch(self) -> np.ndarray:
        """‖(∂F/∂x)ᵀ dL/dy‖, (passes, modules)."""
        return self.values("flow_through_branch")

    @property
    def flow_together(self) -> np.ndarray:
        """The norm of both terms' sum, (passes, modules)."""
        return self.values("flow_together")

    @property
    def flow_cosine(self) -> np.ndarray:
        """The cosine between the two terms, (passes, modules)."""
        return self.values("flow_cosine")

    @property
    def activation_mean(self) -> np.ndarray:
        """The mean of the output's elements, (passes, modules)."""
        return self.values("activation_mean")

    @property
    def activation_std(self) -> np.ndarray:
        """The standard deviation of the output's elements, (passes, modules)."""
        return self.values("activation_std")

    @property
    def activation_zeros(self) -> np.ndarray:
        """The share of the output's elements that are exactly 0, (passes, modules)."""
        return self.values("activation_zeros")

    @property
    def histogram_edges(self) -> np.ndarray:
        """The edges of the bins of `output_grad_histogram`, sizes of gradients."""
        return self._histograms().edges

    @property
    def output_grad_histogram(self) -> np.ndarray:
        """How many elements of dL/d(output) have a size in which bin, (passes, modules, len(edges) + 1).

        The first bin is what lies below the first edge, the last what lies above the last; zeros are counted apart.
        """
        return self.output_grad_counts[:, :, BELOW:NOT_FINITE]

    @property
    def output_grad_counts(self) -> np.ndarray:
        """Zeros, the bins of `output_grad_histogram`, and what is not finite: (passes, modules, len(edges) + 3)."""
        return self._histograms().counts(self.names)

    @property
    def output_grad_zeros(self) -> np.ndarray:
        """How many elements of dL/d(output) are exactly 0, (passes, modules); of `record_gradients(…, histograms=True)`."""
        return self.output_grad_counts[:, :, ZEROS]

    @property
    def output_grad_not_finite(self) -> np.ndarray:
        """How many elements of dL/d(output) are NaN or infinite, (passes, modules)."""
        return self.output_grad_counts[:, :, NOT_FINITE]

    def _histograms(self):
        if self.passes.histograms is None:
            raise ArgumentError("GradientRecord: no histograms were recorded: make the record with "
                                "mr.record_gradients(model, histograms=True)")
        return self.passes.histograms

    @property
    def has_histograms(self) -> bool:
        """Were histograms of gradients recorded?"""
        return self.passes.histograms is not None

    @property
    def has_flow(self) -> bool:
        """Was the flow through a shortcut recorded?"""
        return self._has(FLOW_QUANTITIES)

    @property
    def has_activations(self) -> bool:
        """Were statistics of activations recorded?"""
        return self._has(ACTIVATION_QUANTITIES)

    def _has(self, quantities):
        return any(self.passes.recorded(quantity, self.names).any() for quantity in quantities)

    def __len__(self) -> int:
        """The number of recorded backward passes."""
        return len(self.passes)

    def __repr__(self) -> str:
        return f"<GradientRecord: {len(self)} passes x {len(self.names)} modules>"

    def __str__(self) -> str:
        """The record as a table: medians over the passes, some columns of a deep net."""
        head, rows = self._medians()
        return "\n".join([repr(self), *text_table(rows, head, right=range(2, len(head)))])

    def _repr_html_(self) -> str:
        """What a notebook shows: as `print(record)`."""
        head, rows = self._medians()
        align = ["left", "left", *["right"] * (len(head) - 2)]
        table = html_table([html_row(head, "th", align), *[html_row(row, align=align) for row in rows]])
        return f"<div><p>{html.escape(repr(self))}</p>{table}</div>"

    def _medians(self):
        """(head, rows) of a table: the median over the passes of each quantity that was recorded, as texts."""
        known = {quantity: ~self.missing(quantity) for quantity in ALL_QUANTITIES}
        shown = [quantity for quantity in ALL_QUANTITIES if known[quantity].any()]
        tables = {quantity: self.values(quantity) for quantity in shown}
        half = MOST_ROWS // 2
        rows = []
        for j, column in enumerate(self.columns):
            if len(self.columns) <= MOST_ROWS or j < half or j >= len(self.columns) - half:
                numbers = [tables[quantity][known[quantity][:, j], j] for quantity in shown]
                rows.append([column.name, column.kind.__name__, *[_median(values) for values in numbers]])
            elif j == half:
                rows.append([f"… {len(self.columns) - 2 * half} more", *[""] * (len(shown) + 1)])
        return ["column", "type", *shown], rows

    def values(self, quantity: str) -> np.ndarray:
        """One of the quantities, by its name ("output_grad_norm", "flow_cosine", …), as (passes, modules) float64."""
        return self.passes.values(known_name("GradientRecord", "quantity", quantity, ALL_QUANTITIES), self.names)

    def missing(self, quantity: str) -> np.ndarray:
        """Where nothing was recorded, so that `values` has a NaN that is no number of the pass: (passes, modules) bools."""
        return ~self.passes.recorded(known_name("GradientRecord", "quantity", quantity, ALL_QUANTITIES), self.names)

    def with_columns(self, columns: Iterable[Column]) -> GradientRecord:
        """The same record with fewer columns. Where one is left out, those before and after it are neighbours."""
        kept = list_of("GradientRecord", "columns", columns, Column, "a list of columns")
        return GradientRecord(with_neighbours(self.columns, kept), passes=self.passes)

    def select(self, *kinds: type | str) -> GradientRecord:
        """The same record with fewer columns: those of the given classes (`nn.Conv2d`, `models.Block`) or names.

        The name of a module, "cell", is that of all its uses and of all tensors that it returned. That of a column,
        "cell@2", is its own; "cell@1" is the first use.

        Raises:
            UnknownNameError: nothing fits.
            DTypeError: this is neither a class nor a name.
        """
        for kind in kinds:
            if not isinstance(kind, (type, str)):
                raise DTypeError(f"select: got a {type(kind).__name__}, expected classes of modules or names: a module's "
                                 "name is its .path")
        classes = tuple(kind for kind in kinds if isinstance(kind, type))
        names = {kind for kind in kinds if isinstance(kind, str)}
        kept = [column for column in self.columns if issubclass(column.kind, classes) or not names.isdisjoint(
            (column.name, column.module_name, f"{column.module_name}@{column.use}"))]
        if not kept:
            wanted = ", ".join(kind if isinstance(kind, str) else kind.__name__ for kind in kinds)
            raise UnknownNameError(f"select: no recorded module is a {wanted}; recorded types are "
                                   f"{', '.join(sorted(set(self.types))) or 'none: no backward pass was recorded'}")
        return self.with_columns(kept)

    def layers(self) -> GradientRecord:
        """The same record with only the modules whose weight is a kernel or matrix: convolutions and linear layers."""
        return self.with_columns([column for column in self.columns if column.is_layer])

    def stream(self) -> GradientRecord:
        """The same record with only the stream: what enters the first block, and each block's output.

        In a residual net this is what the shortcuts carry; in its plain twin, the same places.
        """
        blocks = [column for column in self.select(Block).columns if not column.part]
        inside = f"{blocks[0].module_name}."
        first = next(i for i, column in enumerate(self.columns) if f"{column.module_name}.".startswith(inside))
        before = [column for column in self.columns[:first] if not column.part][-1:]
        return self.with_columns([*before, *blocks])

    def over_uses(self) -> GradientRecord:
        """A record of the same passes with one column for each module: all its uses in a pass as if their outputs were one.

        A norm is the root of the sum of the squares of the uses' norms, and so as large as the largest or larger. In the
        statistics of activations all uses count the same.
        """
        groups: dict[str, list[Column]] = {}
        for column in self.columns:
            groups.setdefault(column.module_name + column.part, []).append(column)
        together = GradientRecord(merged(groups))
        tables = {quantity: (self.values(quantity), ~self.missing(quantity)) for quantity in ALL_QUANTITIES}
        group = {column.name: name for name, uses in groups.items() for column in uses}
        for i in range(len(self)):
            numbers: dict[Key, list[float]] = {}
            for quantity, (values, is_recorded) in tables.items():
                for j, column in enumerate(self.columns):
                    if is_recorded[i, j]:
                        numbers.setdefault((quantity, group[column.name]), []).append(values[i, j])
            together.passes.add_row({key: parts[0] if len(parts) == 1 else combined(key, numbers)
                                     for key, parts in numbers.items()})
        if self.passes.histograms is not None:
            together.passes.histograms = self.passes.histograms.renamed(group)
        return together

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the record in long form, a line a value: pass,module,type,quantity,value, and what is known of the module.

        The value is empty where nothing was recorded. The flow through the shortcuts, the statistics of the activations and
        histograms, a line a bin, are written if they were recorded.
        `from_csv` reads the file; csv_files.py says what the columns are.

        Raises:
            DTypeError: `path` is neither a text nor a `pathlib.Path`.
            FileError: the file cannot be written.
        """
        others = [quantities for quantities in (FLOW_QUANTITIES, ACTIVATION_QUANTITIES) if self._has(quantities)]
        csv_files.write(path, self.columns, self.passes, sum(others, QUANTITIES))

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> GradientRecord:
        """The record that `to_csv` wrote: the same numbers, names, types and passes, for every plot and selection.

        A class that is none of `minires.nn` or `minires.models` is known by its name alone: select it by that, "Unit", or
        by the names of modules. Of a file that minires 0.1.0 wrote, the order of the columns takes the place of their
        depth, and a nan counts as a number in `output_grad_norm` alone.

        Raises:
            DTypeError: `path` is neither a text nor a `pathlib.Path`.
            FileError: the file cannot be read.
            DataError: it is no record, or it is damaged: the message names the line.
        """
        columns, passes = csv_files.read(path)
        return cls(columns, passes=passes)

    @classmethod
    def from_arrays(cls, names: Iterable[str], values: Mapping[str, Any],
                    types: Iterable[str | type] | None = None) -> GradientRecord:
        """A record of numbers from elsewhere, such as another program's, for every plot and table here.

            mr.GradientRecord.from_arrays(["conv1", "conv2", "fc"], {"output_grad_norm": [0.3, 0.2, 0.1]})

        Args:
            names: of the columns, in forward order; each once.
            values: {quantity: array (passes, names), or (names,) of one pass}, of the quantities above. None, and what a
                `np.ma.MaskedArray` masks, was not recorded; NaN was, and plots mark it as not finite.
            types: the modules' classes, or the names of these; `nn.Module` where not given.

        Returns:
            The record. It knows no layers and no graph, so plots draw one line through all columns, in this order.

        Raises:
            ArgumentError: there is no name, or one stands there twice; a norm is negative.
            DTypeError: names are no texts, types are neither texts nor classes, or values are no dict of numbers.
            ShapeError: an array is of another shape, or the arrays have different numbers of passes.
            UnknownNameError: no such quantity.
        """
        columns = elsewhere.columns_of(names, types)
        return cls(columns, elsewhere.rows_of([column.name for column in columns], values))


def _median(values):
    """The median of the passes that have a number, as text; nothing where none has."""
    if not len(values):
        return ""
    with np.errstate(invalid="ignore"):  # inf - inf between two infinite passes
        return f"{np.median(values):.3g}"


def stack_records(records: Iterable[GradientRecord]) -> GradientRecord:
    """The passes of several records of nets with the same modules (several seeds, say) as one record.

    Raises:
        ArgumentError: there is no record, or their modules differ.
        DTypeError: this is no list of records.
    """
    records = list_of("stack_records", "records", records, GradientRecord, f"a list of {RECORDS}")
    if not records:
        raise ArgumentError("stack_records: got no record")
    if any(record.names != records[0].names for record in records):
        raise ArgumentError("stack_records: the records are of different modules, so their columns do not correspond")
    histograms = [record.passes.histograms for record in records if record.passes.histograms is not None]
    if histograms and (len(histograms) < len(records) or len({one.edges.tobytes() for one in histograms}) > 1):
        raise ArgumentError("stack_records: the records have histograms with different bins, or some have none: record them "
                            "all with the same `histograms`")
    stacked = GradientRecord(records[0].columns)
    if histograms:
        stacked.passes.histograms = Histograms(histograms[0].edges)
    for record in records:
        if stacked.passes.histograms is not None and record.passes.histograms is not None:
            stacked.passes.histograms.extend(record.passes.histograms)
        tables = {quantity: (record.values(quantity), ~record.missing(quantity)) for quantity in ALL_QUANTITIES}
        for i in range(len(record)):
            stacked.passes.add_row({(quantity, name): values[i, j] for quantity, (values, is_recorded) in tables.items()
                                    for j, name in enumerate(record.names) if is_recorded[i, j]})
    return stacked
