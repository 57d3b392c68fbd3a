"""Figures drawn from a record of gradients. Each takes `ax=None` and returns the Axes; none shows or saves anything."""
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from minires.arguments import flag, instance, known_name, list_of, whole_number
from minires.errors import ArgumentError, DTypeError
from minires.models import Block
from minires.recording.fonts import make_readable
from minires.recording.histogram_map import draw_histograms, keys_of
from minires.recording.name_ticks import has_names, set_names
from minires.recording.neighbours import around_layers, lines_through
from minires.recording.numbers import ACTIVATION_QUANTITIES, FLOW_QUANTITIES
from minires.recording.record import GradientRecord
from minires.recording.scales import colours_of, drawable, is_logarithmic, set_scale
from minires.text.plain import plain

# Okabe and Ito's colours, told apart by people with any colour vision, each with a marker of its own
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")  # once all colours are used, they come again with the next marker and the next of these

INCHES_OF_A_KEY = 1.9  # how wide an entry of a legend is
TRUNK_WIDTH, BRANCH_WIDTH = 1.8, 1.1  # of lines, in points
MOST_LETTERS = 24  # of a name at the axis that is two names
MOST_MARKED = 40  # columns of a line that has a marker at each
MOST_ROWS, MOST_PASSES = 48, 96  # of a map whose marks are seen whatever its size: more are marked by points as well

AXIS_LABELS = {
    "output_grad_norm": "‖dL/d(output)‖",
    "weight_grad_norm": "‖dL/dW‖",
    "weight_norm": "‖W‖",
    "update_ratio": "‖ΔW‖ / ‖W‖",
    "activation_mean": "mean of the output",
    "activation_std": "standard deviation of the output",
    "activation_zeros": "share of zeros in the output",
}

# Keys of the legend that hold for every record, in grey, as a record's colour would tie them to that record
GREY = "0.45"
STREAM = "line: block outputs"
LAYERS = "points: convolutions, fc"
BAND = "band: least to largest"
PALE = "pale: least to largest"
CHAIN = "layer in forward order (input at the left)"
BRANCHED = "depth: layers on the longest path from the input (at the left)"
ZERO, NOT_FINITE = "exactly 0", "not finite"
ZERO_MARKER, NOT_FINITE_MARKER = "v", "x"


def gradient_norms(records: GradientRecord | Iterable[GradientRecord], labels: Sequence[str] | None = None,
                   quantity: str = "output_grad_norm", ax: Axes | None = None, names: bool = False) -> Axes:
    """Draw a quantity by layer, with the input at the left, on a logarithmic axis: means and shares on a linear one.

    Layers stand at their depth, which is how many of them are on the longest path from the input (branches.py), and lines
    join each to those that were computed from it: a chain, or a residual net, is one line. An auxiliary head, the second
    branch of a siamese net or a layer on a shortcut is a line of its own, of the same colour. A record that knows no graph,
    of `from_arrays` say, is one line in the order of its columns.

    Of `output_grad_norm`, a net made of `models.Block` shows its stream (the blocks' outputs and the stem's) as a line
    and its convolutions' outputs as markers; any other net one line through its convolutions and linear layers, or, if
    a record was narrowed to columns without weights, through these. Of activations, the line goes through what enters each
    layer and what leaves the last one, which is behind the activation functions. Several passes in a record (steps, or
    seeds: see `mr.stack_records`) are drawn as their median with a band from the least to the largest. A log axis has no
    place for an exact zero and for what is not finite: these are drawn as marked points at the bottom and the top edge.
    Where nothing was recorded, as of a frozen weight, there is a gap.

    Args:
        records: a `GradientRecord`, or a list of them, one line each.
        labels: a name for each record.
        quantity: "output_grad_norm", "weight_grad_norm", "weight_norm", "update_ratio", "activation_mean", "activation_std"
            or "activation_zeros".
        ax: the Axes to draw in; a new figure's where None.
        names: write the layers' names at the axis, in place of numbers: those of the first record that has a layer there,
            and of them as many as can be read in the figure as it is.

    Returns:
        The Axes. The numbers behind it: `record.to_csv(path)`.

    Raises:
        ArgumentError: no record, one without this quantity, or another number of labels; `names` is neither True nor False.
        UnknownNameError: no such quantity.
        DTypeError: this is no record.
    """
    given: Any = records
    listed = list(given) if isinstance(given, Iterable) and not isinstance(given, np.ndarray) else [given]
    texts = _check_records(listed, labels, quantity)
    with_names = flag("plot", "names", names)
    ax = _axes(ax)
    shown = [_line_and_points(record, quantity)[0] for record in listed]
    set_scale(ax, quantity, np.concatenate([_median(_recorded(line, quantity)).filled(np.nan) for line in shown]))
    others = list(zip(*ax.get_legend_handles_labels(), strict=True))  # of what was drawn here before
    own: list[tuple[Line2D, str]] = []
    has_branches = ax.get_xlabel() == BRANCHED or any(len(lines_through(line.columns)) > 1 for line in shown)
    keys = {}  # what the legend says of all records together: text -> artist
    for i, (record, label) in enumerate(zip(listed, texts, strict=True)):
        style = _style(i)
        line, points = _line_and_points(record, quantity)
        if points is not None:
            keys[STREAM] = Line2D([], [], color=GREY, linewidth=1.8)
            keys[LAYERS] = Line2D([], [], color=GREY, linestyle="none", marker="o", markersize=3)
        keys.update(_draw_line(ax, line, quantity, label, style, own))
        if points is not None:
            keys.update(_draw_points(ax, points, quantity, style))
    ax.set_xlabel(BRANCHED if has_branches else CHAIN)
    ax.set_ylabel(AXIS_LABELS[quantity])
    if with_names:
        set_names(ax.xaxis, _names_by_place(listed, quantity))
    elif not has_names(ax.xaxis):  # of what was drawn here before
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(True, which="major", alpha=0.3)
    _write_legend(ax, [*others, *own, *[(artist, text) for text, artist in keys.items()]])
    return ax


def gradient_heatmap(record: GradientRecord, quantity: str = "output_grad_norm", ax: Axes | None = None) -> Axes:
    """Draw log10 of a quantity (a mean or a share: itself) as a map, layers upward and backward passes to the right.

    Layers are chosen as `gradient_norms` chooses its line. Exact zeros are black, what is not finite is red, and what was
    not recorded stays white.

    Returns:
        The Axes; the image is `ax.images[0]`, the colour bar stands beside it.

    Raises:
        ArgumentError: the record is empty, or is without this quantity.
        UnknownNameError: no such quantity.
    """
    _check_records([record], None, quantity)
    ax = _axes(ax)
    shown, _ = _line_and_points(record, quantity)
    values = _recorded(shown, quantity).T  # (passes, modules) -> (modules, passes)
    in_logs = is_logarithmic(quantity)
    is_zero, is_not_finite = np.ma.filled((values == 0) & in_logs, False), np.ma.filled(~np.isfinite(values), False)
    numbers = np.log10(drawable(values, quantity)) if in_logs else drawable(values, quantity)
    image = ax.imshow(numbers, aspect="auto", origin="lower", interpolation="nearest", **colours_of(quantity, numbers))
    marks = np.zeros((*values.shape, 4))  # red, green, blue, opacity: transparent where the map shows a number
    marks[is_zero] = 0, 0, 0, 1
    marks[is_not_finite] = 1, 0, 0, 1
    ax.imshow(marks, aspect="auto", origin="lower", interpolation="nearest")
    _draw_marks_of_any_size(ax, is_zero, is_not_finite)
    ax.figure.colorbar(image, ax=ax, label=f"log10 {AXIS_LABELS[quantity]}" if in_logs else AXIS_LABELS[quantity])
    keys = [Patch(color=colour, label=name) for colour, name, marked in (("black", ZERO, is_zero),
                                                                         ("red", NOT_FINITE, is_not_finite)) if marked.any()]
    if keys:
        ax.legend(handles=keys, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))  # above the map, not on it
    ax.set_xlabel("backward pass")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_ylabel("layer in forward order (input at the bottom)")
    set_names(ax.yaxis, dict(enumerate(shown.names)))
    return ax


def _draw_marks_of_any_size(ax, is_zero, is_not_finite):
    """Points over the marks of a map that may have more rows or passes than its picture has pixels.

    One of each colour for each part of the map: the red ones are smaller and on top, so that neither hides the other.
    """
    rows, passes = is_zero.shape
    if rows <= MOST_ROWS and passes <= MOST_PASSES:
        return
    high, wide = -(-rows // (4 * MOST_ROWS)), -(-passes // (4 * MOST_PASSES))  # of a part
    for marked, colour, size in ((is_zero, "black", 2.5), (is_not_finite, "red", 1.5)):
        y, x = np.nonzero(marked)
        _, first = np.unique((y // high) * passes + x // wide, return_index=True)
        if len(first):
            ax.plot(x[first], y[first], linestyle="none", marker="s", markersize=size, markeredgewidth=0, color=colour,
                    scalex=False, scaley=False)


def gradient_histograms(record: GradientRecord, pass_number: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw how large the elements of each layer's gradient dL/d(output) are: a histogram for each layer, side by side.

    Sizes go upward on a logarithmic axis, and colours say which share of the layer's elements has which size. Exact zeros,
    and what is not finite, are bars below and above the map, as high as their share. Layers are chosen as `gradient_norms`
    chooses its line, and are in forward order.

    Args:
        record: of `mr.record_gradients(model, histograms=True)`.
        pass_number: the backward pass to draw, from 0, or from the end as -1; all of them together where None.
        ax: the Axes to draw in; a new figure's where None.

    Returns:
        The Axes; the image is `ax.images[0]`. The numbers behind it: `record.output_grad_histogram`.

    Raises:
        ArgumentError: the record is empty, holds no histograms, or has no such pass.
        DTypeError: this is no record.
    """
    _check_records([record], None, "output_grad_norm")
    if not record.has_histograms:
        raise ArgumentError("plot: the record has no histograms: make it with mr.record_gradients(model, histograms=True)")
    if pass_number is not None:
        pass_number = whole_number("plot", "pass_number", pass_number, -len(record))
        if pass_number >= len(record):
            raise ArgumentError(f"plot: pass_number is {pass_number}, expected one from 0 to {len(record) - 1}")
    ax = _axes(ax)
    shown, _ = _line_and_points(record, "output_grad_norm")
    counts = shown.output_grad_counts if pass_number is None else shown.output_grad_counts[[pass_number]]
    counts = counts.sum(axis=0)  # (passes, layers, counts) -> (layers, counts)
    image = draw_histograms(ax, record.histogram_edges, counts)
    ax.figure.colorbar(image, ax=ax, label="share of a layer's elements")
    keys = keys_of(counts)
    if keys:
        ax.legend(handles=keys, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))  # above the map, not on it
    ax.set_xlabel("layer in forward order (input at the left)")
    ax.set_ylabel("|g| of the elements of dL/d(output)")
    set_names(ax.xaxis, dict(enumerate(shown.names)))
    return ax


def shortcut_flow(record: GradientRecord, ax: Axes | None = None) -> Axes:
    """Draw which part of the gradient at each block's input came through the shortcut, and which through the branch.

    Over the blocks in forward order stand two bands, stacked up to 1: the norms of the two terms, each divided by the sum of
    both norms. The line, on an axis of its own at the right, is the cosine between the terms: at 0 they are perpendicular,
    at -1 they would cancel. Several passes are drawn as medians, with pale bands from the least to the largest. Where the
    gradient is exactly 0 or not finite, there is a mark at the edge.

    Args:
        record: of `mr.record_gradients(model, shortcut_flow=True)`.
        ax: the Axes to draw in; a new figure's where None.

    Returns:
        The Axes of the bands; that of the cosine is the last one of its figure. The numbers behind both:
        `record.to_csv(path)`.

    Raises:
        ArgumentError: the record holds no flow.
        DTypeError: this is no record.
    """
    flow = _with_flow(record)
    ax = _axes(ax)
    shortcut, branch, together, cosine = [_recorded(flow, quantity) for quantity in FLOW_QUANTITIES]  # (passes, blocks)
    sums = np.ma.masked_invalid(np.ma.masked_equal(shortcut + branch, 0))
    share = shortcut / sums
    middle, x = _median(share).filled(np.nan), np.arange(share.shape[1])
    edges = np.repeat(np.arange(len(x) + 1) - 0.5, 2)[1:-1]  # each block is one step wide
    ax.fill_between(edges, 0, np.repeat(middle, 2), color=COLOURS[0], alpha=0.75, linewidth=0, label="through the shortcut")
    ax.fill_between(edges, np.repeat(middle, 2), 1, color=COLOURS[1], alpha=0.75, linewidth=0, label="through the branch")
    current = ax.figure.gca()
    right = ax.twinx()
    ax.figure.sca(current)  # as it was for who draws with pyplot
    right.axhline(0, color="black", linewidth=0.6, linestyle=":")
    cosine = np.ma.masked_invalid(cosine)
    angle = _median(cosine).filled(np.nan)
    right.plot(x, angle, color="white", linewidth=4)  # a margin, so that it is not taken for the border of the bands
    line, = right.plot(x, angle, color="black", linewidth=1.4, label="cosine between them",
                       marker="o" if len(x) <= MOST_MARKED else None, markersize=3.5)
    _mark_lonely(right, x, angle, {"color": "black", "marker": "o"}, line)
    keys = _draw_edge_points(ax, x, _median(together), {"color": "black"}, "flow_together")
    if len(share) > 1:
        least, largest = [np.repeat(values.filled(np.nan), 2) for values in (share.min(axis=0), share.max(axis=0))]
        ax.fill_between(edges, least, largest, color="white", alpha=0.5, linewidth=0)
        _draw_band(right, x, cosine.min(axis=0).filled(np.nan), cosine.max(axis=0).filled(np.nan), "black", alpha=0.15)
        keys[PALE] = Patch(facecolor="white", edgecolor=GREY, linewidth=0.8)
    _label_flow(ax, right, flow.names, keys)
    return ax


def _label_flow(ax, right, names, keys):
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylim(0, 1)
    right.set_ylim(-1, 1)
    set_names(ax.xaxis, dict(enumerate(names)))
    ax.set_xlabel("block in forward order (input at the left)")
    ax.set_ylabel("share of the two norms")
    right.set_ylabel("cosine (line)")
    (bands, labels), (lines, line_labels) = ax.get_legend_handles_labels(), right.get_legend_handles_labels()
    inches = ax.bbox.width / ax.figure.dpi
    ax.legend([*bands, *lines, *keys.values()], [*labels, *line_labels, *keys],
              ncols=max(1, min(3, int(inches / INCHES_OF_A_KEY))), loc="lower center",
              bbox_to_anchor=(0.5, 1.0), frameon=False)  # above the bands, not on them


def _with_flow(record):
    """The record with only the columns of which a flow was recorded."""
    _check_is_record(record)
    recorded = ~record.missing("flow_together").all(axis=0) if len(record) else np.zeros(len(record.columns), bool)
    if not recorded.any():
        raise ArgumentError("plot: the record has no flow through a shortcut: make it with "
                            "mr.record_gradients(model, shortcut_flow=True), of a net whose modules add with "
                            "ops.shortcut_add(f_of_x, x): that of x + f(x) is not recorded")
    return record.with_columns([column for column, known in zip(record.columns, recorded, strict=True) if known])


def _axes(ax):
    """The Axes to draw in: a new figure's where None."""
    if ax is None:
        return pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")[1]
    return instance("plot", "ax", ax, Axes, "an Axes of matplotlib, or None for a new figure")


def _check_is_record(record):
    if not isinstance(record, GradientRecord):
        raise DTypeError(f"plot: got a {type(record).__name__}, expected a record: the one that "
                         "`with mr.record_gradients(model) as record:` names")


def _check_records(records, labels, quantity):
    """A label for each record, None where none was given; or an error that says what does not fit."""
    if not records:
        raise ArgumentError("plot: got no record: give the record of `with mr.record_gradients(model) as record:`")
    known_name("plot", "quantity", quantity, list(AXIS_LABELS))
    for record in records:
        _check_is_record(record)
        if len(record) == 0:
            raise ArgumentError("plot: a record is empty: call backward() inside `with mr.record_gradients(model)`")
        if _recorded(_line_and_points(record, quantity)[0], quantity).count() == 0:
            raise ArgumentError(f"plot: a record has no {quantity}: {_hint(quantity)}")
    if labels is None:
        return [None] * len(records)
    names = list_of("plot", "labels", labels, (str, int, float), "a list with a name for each record", ArgumentError)
    if len(names) != len(records):
        raise ArgumentError(f"plot: got {len(names)} labels for {len(records)} records")
    return [plain(str(name)) for name in names]


def _hint(quantity):
    """How a record gets a quantity that it has not."""
    if quantity == "update_ratio":
        return "give mr.record_gradients the optimizer, and call its step()"
    if quantity in ACTIVATION_QUANTITIES:
        return "make it with mr.record_gradients(model, activations=True)"
    return "select() may have left out the modules that have it"


def _line_and_points(record, quantity):
    """The columns to draw as a line, and those to draw as loose markers (or None)."""
    layers = record.layers()
    if layers.columns and quantity in ACTIVATION_QUANTITIES:
        return record.with_columns(around_layers(record.columns)), None
    if not layers.columns:
        return _known_columns(record, quantity), None
    if quantity == "output_grad_norm" and any(issubclass(column.kind, Block) for column in record.columns):
        return record.stream(), layers
    return layers, None


def _known_columns(record, quantity):
    """The columns of which something was recorded, of a record without layers; they keep their places."""
    known = ~record.missing(quantity).all(axis=0)
    knows_depth = any(column.depth for column in record.columns)
    columns = [column if knows_depth else column._replace(depth=i) for i, column in enumerate(record.columns, 1)]
    return record.with_columns([column for column, is_known in zip(columns, known, strict=True) if is_known])


def _positions(record):
    """The x of each column: how many layers deep it is; its place, where the record knows no layers."""
    depths = [column.depth for column in record.columns]
    return np.array(depths if any(depths) else range(1, len(depths) + 1))


def _names_by_place(records, quantity):
    """{x: name} of the columns on the lines of these records; where a record has several at one x, "a, b" or "a + 2".

    The longest line comes first, and a module that has several uses there is named once.
    """
    by_place: dict[float, str] = {}
    for record in records:
        line, _ = _line_and_points(record, quantity)
        places = _positions(line).tolist()
        at_place: dict[float, dict[str, str]] = {}  # x -> {module: column}
        for i in [i for way in lines_through(line.columns) for i in way]:
            column = line.columns[i]
            at_place.setdefault(places[i], {}).setdefault(column.module_name + column.part, column.name)
        for x, modules in at_place.items():
            first, *others = modules.values()
            both = ", ".join([first, *others])
            is_short = not others or (len(others) == 1 and len(both) <= MOST_LETTERS)
            by_place.setdefault(x, both if is_short else f"{first} + {len(others)}")
    return by_place


def _recorded(record, quantity):
    """The values (passes, modules), masked where nothing was recorded."""
    return np.ma.array(record.values(quantity), mask=record.missing(quantity))


def _style(i):
    """The looks of record i: no two of the first 196 have the same."""
    turn, colour = divmod(i, len(COLOURS))
    return {"color": COLOURS[colour], "marker": MARKERS[(colour + turn) % len(MARKERS)],
            "dashes": DASHES[turn % len(DASHES)], "turn": turn}


def _draw_line(ax, record, quantity, label, style, entries):
    """Median and band over the passes, along each branch; adds (artist, label) to the legend's entries, returns its keys."""
    values = _recorded(record, quantity)  # (passes, modules)
    x, median = _positions(record), _median(values)
    has_markers = len(x) <= MOST_MARKED or style["turn"] > 0
    ways = lines_through(record.columns)
    for i, way in enumerate(ways):
        line, = ax.plot(x[way], drawable(median, quantity)[way], color=style["color"], label=None if i else label,
                        linewidth=BRANCH_WIDTH if i else TRUNK_WIDTH, linestyle=style["dashes"],
                        marker=style["marker"] if has_markers else None, markersize=4,
                        markevery=max(1, len(x) // MOST_MARKED * 4) if len(x) > MOST_MARKED else None)
        if i == 0 and label is not None:
            entries.append((line, label))
        _mark_lonely(ax, x[way], drawable(median, quantity)[way], style, line)
    keys = {}
    if len(values) > 1:
        shown = np.ma.masked_invalid(drawable(values, quantity))  # a zero hides no other pass
        least, largest = [values.filled(np.nan) for values in (shown.min(axis=0), shown.max(axis=0))]
        for way in ways:
            _draw_band(ax, x[way], least[way], largest[way], style["color"], alpha=0.18)
        keys[BAND] = Patch(color=GREY, alpha=0.3, linewidth=0)
    return keys | _draw_edge_points(ax, x, median, style, quantity)


def _draw_band(ax, x, least, largest, colour, alpha):
    """From the least to the largest; between two gaps a band has no width, and is a bar."""
    lonely = _lonely(least)
    if (np.isfinite(least) & ~lonely).any():  # not for bars alone: the axis of a single number would have no height
        ax.fill_between(x, least, largest, color=colour, alpha=alpha, linewidth=0)
    if lonely.any():
        ax.vlines(x[lonely], least[lonely], largest[lonely], color=colour, alpha=min(1, 2.5 * alpha), linewidth=3)


def _mark_lonely(ax, x, values, style, line):
    """Mark the points of a line without markers that have a gap on both sides: there the line has no length."""
    lonely = _lonely(values)
    if lonely.any() and (line.get_marker() == "None" or line.get_markevery() is not None):
        ax.plot(x[lonely], values[lonely], linestyle="none", color=style["color"], marker=style["marker"], markersize=8,
                markeredgecolor="white", zorder=3)  # over the lines of all records


def _lonely(values):
    """Where is there a number with none to the left and none to the right of it?"""
    is_there = np.isfinite(values)
    padded = np.concatenate([[False], is_there, [False]])
    return is_there & ~padded[:-2] & ~padded[2:]


def _draw_points(ax, record, quantity, style):
    """Medians over the passes as loose markers; returns keys for the legend."""
    x, median = _positions(record), _median(_recorded(record, quantity))
    ax.plot(x, drawable(median, quantity), linestyle="none", color=style["color"], marker=style["marker"], markersize=3,
            alpha=0.45)
    return _draw_edge_points(ax, x, median, style, quantity)


def _write_legend(ax, entries):
    """A legend of (artist, text) pairs, of any text: matplotlib itself leaves out what begins with "_"."""
    if entries:
        artists, texts = zip(*entries, strict=True)
        legend = ax.legend(artists, [str(i) for i in range(len(texts))])
        for shown, text in zip(legend.get_texts(), texts, strict=True):
            shown.set_text(text)
        make_readable(legend.get_texts())


def _median(values):
    """The median over the passes that have a value, masked (passes, modules) -> (modules,); NaN if any of them is NaN."""
    median = np.ma.masked_all(values.shape[1])
    with np.errstate(invalid="ignore"):  # inf - inf between two infinite passes
        for i, module in enumerate(values.T):
            if module.count():
                median[i] = np.median(module.compressed())
    return median


def _draw_edge_points(ax, x, values, style, quantity):
    """Mark exact zeros at the bottom edge and non-finite values at the top edge of the axes; returns keys for the legend."""
    keys = {}
    for name, marked, height, marker in ((ZERO, (values == 0) & is_logarithmic(quantity), 0.015, ZERO_MARKER),
                                         (NOT_FINITE, ~np.isfinite(values), 0.985, NOT_FINITE_MARKER)):
        marked = marked.filled(False)  # what was not recorded is neither
        if marked.any():
            ax.plot(x[marked], np.full(marked.sum(), height), linestyle="none", marker=marker, color=style["color"],
                    markersize=6, transform=ax.get_xaxis_transform(), clip_on=False)
            keys[name] = Line2D([], [], color=GREY, linestyle="none", marker=marker, markersize=6)
    return keys
