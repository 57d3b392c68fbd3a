"""Figures drawn from a record of gradients. Each takes `ax=None` and returns the Axes; none shows or saves anything."""
import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from minires.errors import ArgumentError
from minires.models import Block
from minires.probe import GradientRecord

# Okabe and Ito's colours, told apart by people with any colour vision, each with a marker of its own
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

AXIS_LABELS = {
    "output_grad_norm": "‖dL/d(output)‖",
    "weight_grad_norm": "‖dL/dW‖",
    "weight_norm": "‖W‖",
    "update_ratio": "‖ΔW‖ / ‖W‖",
}


def gradient_norms(records, labels=None, quantity: str = "output_grad_norm", ax=None):
    """Draw a quantity by layer, in forward order with the input at the left, on a logarithmic axis.

    Of `output_grad_norm`, a net made of `models.Block` shows its stream (the blocks' outputs and the stem's) as a line
    and its convolutions' outputs as markers; any other net one line through its convolutions and linear layers, or, if
    a record was narrowed to columns without weights, through these. Several passes in a record (steps, or seeds: see
    `probe.stack_records`) are drawn as their median with a band from the least to the largest. A log axis has no place
    for an exact zero and for what is not finite: these are drawn as marked points at the bottom and the top edge.

    Args:
        records: a `GradientRecord`, or a list of them, one line each.
        labels: a name for each record.
        quantity: "output_grad_norm", "weight_grad_norm", "weight_norm" or "update_ratio".
        ax: the Axes to draw in; a new figure's where None.

    Returns:
        The Axes. The numbers behind it: `record.to_csv(path)`.

    Raises:
        ArgumentError: no record, an empty one, or another number of labels.
    """
    records = [records] if isinstance(records, GradientRecord) else list(records)
    _check_records(records, labels)
    labels = [None] * len(records) if labels is None else list(labels)
    ax = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")[1] if ax is None else ax
    ax.set_yscale("log")
    edge_points = {}  # name of a legend entry for what a log axis cannot show -> its artist
    for i, (record, label) in enumerate(zip(records, labels, strict=True)):
        style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        line, points = _line_and_points(record, quantity)
        edge_points.update(_draw_line(ax, line, quantity, label, style))
        if points is not None:
            edge_points.update(_draw_points(ax, points, quantity, style))
    ax.set_xlabel("layer in forward order (input at the left)")
    ax.set_ylabel(AXIS_LABELS[quantity])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(True, which="major", alpha=0.3)
    handles, names = ax.get_legend_handles_labels()
    if handles or edge_points:
        ax.legend([*handles, *edge_points.values()], [*names, *edge_points])
    return ax


def gradient_heatmap(record: GradientRecord, quantity: str = "output_grad_norm", ax=None):
    """Draw log10 of a quantity as a map, layers upward and backward passes to the right.

    Layers are chosen as `gradient_norms` chooses its line. Exact zeros are black, what is not finite is red.

    Returns:
        The Axes; the image is `ax.images[0]`, the colour bar stands beside it.
    """
    _check_records([record], None)
    ax = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")[1] if ax is None else ax
    shown, _ = _line_and_points(record, quantity)
    values = shown.values(quantity).T  # (passes, modules) -> (modules, passes)
    usable = np.isfinite(values) & (values > 0)
    logarithms = np.log10(values, out=np.full(values.shape, np.nan), where=usable)
    image = ax.imshow(logarithms, aspect="auto", origin="lower", interpolation="nearest", cmap="cividis")
    marks = np.zeros((*values.shape, 4))  # red, green, blue, opacity: transparent where the map shows a number
    marks[values == 0] = 0, 0, 0, 1
    marks[~np.isfinite(values)] = 1, 0, 0, 1
    ax.imshow(marks, aspect="auto", origin="lower", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=f"log10 {AXIS_LABELS[quantity]}")
    ax.set_xlabel("backward pass")
    ax.set_ylabel("layer in forward order (input at the bottom)")
    ticks = np.unique(np.linspace(0, len(shown.names) - 1, 12).round().astype(int))
    ax.set_yticks(ticks, [shown.names[i] for i in ticks])
    return ax


def _check_records(records, labels):
    if not records:
        raise ArgumentError("plot: got no record: give the record of `with mr.record_gradients(model) as record:`")
    for record in records:
        if len(record) == 0:
            raise ArgumentError("plot: a record is empty: call backward() inside `with mr.record_gradients(model)`")
    if labels is not None and len(labels) != len(records):
        raise ArgumentError(f"plot: got {len(labels)} labels for {len(records)} records")


def _line_and_points(record, quantity):
    """The columns to draw as a line, and those to draw as loose markers (or None)."""
    layers = record.layers()
    if not layers.columns:
        return record, None
    if quantity == "output_grad_norm" and any(issubclass(column.kind, Block) for column in record.columns):
        return record.stream(), layers
    return layers, None


def _positions(record):
    """The x of each column: how many layers deep it is; its place, where the record knows no layers."""
    depths = [column.depth for column in record.columns]
    return np.array(depths if any(depths) else range(1, len(depths) + 1))


def _draw_line(ax, record, quantity, label, style):
    """Median over the passes, with a band; returns legend entries for the edge points."""
    values = record.values(quantity)  # (passes, modules)
    x, median = _positions(record), _median(values)
    ax.plot(x, _only_drawable(median), color=style["color"], label=label, linewidth=1.8,
            marker=style["marker"] if len(x) <= 40 else None, markersize=4)
    if len(values) > 1:
        ax.fill_between(x, _only_drawable(values.min(axis=0)), _only_drawable(values.max(axis=0)),
                        color=style["color"], alpha=0.18, linewidth=0)
    return _draw_edge_points(ax, x, median, style)


def _draw_points(ax, record, quantity, style):
    """Medians over the passes as loose markers; returns legend entries for the edge points."""
    x, median = _positions(record), _median(record.values(quantity))
    ax.plot(x, _only_drawable(median), linestyle="none", color=style["color"], marker=style["marker"], markersize=3,
            alpha=0.45)
    return _draw_edge_points(ax, x, median, style)


def _median(values):
    """The median over passes, (passes, modules) -> (modules,); NaN where any pass has NaN."""
    with np.errstate(invalid="ignore"):  # inf - inf between two infinite passes
        return np.median(values, axis=0)


def _only_drawable(values):
    """The values with a gap (NaN) where a log axis has no place for them."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _draw_edge_points(ax, x, values, style):
    """Mark exact zeros at the bottom edge and non-finite values at the top edge of the axes."""
    entries = {}
    for name, marked, height, marker in (("exactly 0", values == 0, 0.015, "v"),
                                         ("not finite", ~np.isfinite(values), 0.985, "x")):
        if marked.any():
            entries[name], = ax.plot(x[marked], np.full(marked.sum(), height), linestyle="none", marker=marker,
                                     color=style["color"], markersize=6, transform=ax.get_xaxis_transform(),
                                     clip_on=False)
    return entries
