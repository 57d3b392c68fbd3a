"""A map of histograms: columns to the right, sizes of gradients upward, zeros and what is not finite in rows apart."""
from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from minires.recording.histograms import BELOW, FIRST, NOT_FINITE, ZEROS
from minires.recording.name_ticks import set_names

GAP = 1.6  # from the last row of the bins to the middle of a row of its own, in rows
ZERO_COLOUR, NOT_FINITE_COLOUR = "black", "red"


def draw_histograms(ax: Axes, edges: np.ndarray, counts: np.ndarray) -> AxesImage:
    """Draw the shares of a column's elements in each bin.

    Args:
        ax: where to.
        edges: of the bins.
        counts: (columns, len(edges) + 3), as `histograms.count` makes them.

    Returns:
        The image of the bins.
    """
    totals = counts.sum(axis=1)
    shares = counts / np.where(totals > 0, totals, 1)[:, None]
    bins = counts[:, BELOW:NOT_FINITE]
    seen = np.flatnonzero(bins.any(axis=0)) if bins.any() else np.array([FIRST - BELOW])
    first, last = seen[0], seen[-1]  # of the rows that are drawn
    shown = np.ma.masked_equal(shares[:, BELOW:NOT_FINITE][:, first:last + 1].T, 0)  # (columns, bins) -> (bins, columns)
    columns, height = len(counts), last + 1 - first
    image = ax.imshow(shown, aspect="auto", origin="lower", interpolation="nearest", cmap="viridis", vmin=0,
                      extent=(-0.5, columns - 0.5, -0.5, height - 0.5))
    ticks = _ticks(edges, first, last)
    for place, y, name, colour in ((ZEROS, -GAP, "exactly 0", ZERO_COLOUR),
                                   (NOT_FINITE, height - 1 + GAP, "not finite", NOT_FINITE_COLOUR)):
        if counts[:, place].any():
            _draw_row(ax, y, shares[:, place], colour)
            ticks[y] = name
    ax.set_ylim(-GAP - 0.6 if counts[:, ZEROS].any() else -0.5,
                height - 1 + GAP + 0.6 if counts[:, NOT_FINITE].any() else height - 0.5)
    ax.set_xlim(-0.5, columns - 0.5)
    set_names(ax.yaxis, ticks)
    return image


def _ticks(edges, first, last):
    """{y: text} at the edges of the rows that are drawn; bin i > 0 begins at edge i - 1. Of many edges, at whole decades."""
    drawn = range(max(first, 1), min(last + 1, len(edges)) + 1)  # the bins at whose lower border an edge is drawn
    exponents = np.log10(edges)
    on_decades = [i for i in drawn if abs(exponents[i - 1] - round(exponents[i - 1])) < 1e-9]
    ticks = {i - first - 0.5: f"{edges[i - 1]:.3g}" for i in (on_decades if len(on_decades) > 2 else drawn)}
    if first == 0:
        ticks.pop(0.5, None)
        ticks[0.0] = f"< {edges[0]:.3g}"
    if last == len(edges):
        ticks.pop(last - first - 0.5, None)
        ticks[float(last - first)] = f"≥ {edges[-1]:.3g}"
    return ticks


def _draw_row(ax, y, shares, colour):
    """A row of bars, as high as the shares of the columns; the smallest is as high as can be seen."""
    columns = np.flatnonzero(shares)
    ax.bar(columns, np.maximum(shares[columns], 0.12), width=1.0, bottom=y - 0.5, color=colour, linewidth=0)
    # a bar of many may be narrower than a pixel: a mark is not
    ax.plot(columns, np.full(len(columns), y - 0.5), linestyle="none", marker="|", markersize=3, color=colour, clip_on=False)


def keys_of(counts: np.ndarray) -> list[Patch]:
    """What the legend says: rows that may be taken for a part of the map."""
    return [Patch(color=colour, label=text) for place, colour, text in (
        (ZEROS, ZERO_COLOUR, "share of exact zeros"), (NOT_FINITE, NOT_FINITE_COLOUR, "share of what is not finite"))
        if counts[:, place].any()]
