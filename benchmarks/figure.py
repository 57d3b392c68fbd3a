"""The figure: for every case, minires's time over each rival's, on a logarithmic axis."""
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.tables import FIRST, rivals_of
from benchmarks.timing import ratio_of_minima

STYLES = {  # rival: (marker, colour), the colours of Okabe and Ito
    "PyTorch": ("o", "#d55e00"),
    "PyTorch, channels last": ("D", "#e69f00"),
    "DeZero": ("s", "#0072b2"),
    "DeZero, float32": ("h", "#00304d"),
    "autograd": ("^", "#009e73"),
    "SmallPebble": ("v", "#cc79a7"),
    "MyGrad": ("P", "#56b4e9"),
}
TITLES = {"steps": "Training steps", "ops": "Single operations"}
ROW_HEIGHT = 0.27  # inches
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw(run, threads: int, path):
    """Write the figure of one run as PNG; returns False where it holds no race.

    Args:
        run: one of `Results.runs`.
        threads: on how many threads it was measured.
        path: the file to write; its folder is made.
    """
    parts = {part: [case for case in run["cases"] if case["part"] == part] for part in TITLES}
    parts = {part: cases for part, cases in parts.items() if cases}
    if not parts:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"font.size": 9}):
        figure = make_figure(parts, threads)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=130)
    return True


def make_figure(parts, threads) -> Figure:
    """A panel for each part, one above the other, on one axis of ratios."""
    rows = [len(cases) for cases in parts.values()]
    figure = Figure(figsize=(10, 1.7 + sum(ROW_HEIGHT * (n + 2) for n in rows)), layout="constrained")
    axes = figure.subplots(len(parts), 1, sharex=True, squeeze=False, height_ratios=[n + 1 for n in rows])[:, 0]
    for ax, (part, cases) in zip(axes, parts.items(), strict=True):
        draw_part(ax, cases)
        ax.set_title(f"{TITLES[part]}, {threads} thread{'s' * (threads > 1)}", loc="left", fontweight="bold")
    draw_axis(axes[-1])
    rivals = rivals_of([case for cases in parts.values() for case in cases])
    handles = [Line2D([], [], linestyle="", marker=STYLES[name][0], color=STYLES[name][1], label=name) for name in rivals]
    if "ops" in parts:
        handles += [Line2D([], [], linestyle="", marker="o", color="#555555", label="forward, or all (filled)"),
                    Line2D([], [], linestyle="", marker="o", color="#555555", markerfacecolor="white",
                           label="backward (hollow)")]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
    return figure


def draw_part(ax, cases):
    """A row for each case; of an operation the forward stands a little above the row's line, the backward below it."""
    for row, case in enumerate(cases):
        ax.axhline(row, color="#e6e6e6", linewidth=0.8, zorder=0)
        stages = case["seconds"][FIRST]
        for stage, ours in stages.items():
            hollow = stage == "backward"
            shift = 0 if len(stages) == 1 else 0.17 if hollow else -0.17
            for name, (marker, colour) in STYLES.items():
                if name in case["seconds"]:
                    ratio = ratio_of_minima(ours, case["seconds"][name][stage])
                    ax.plot(ratio, row + shift, marker, color=colour, markersize=5.5,
                            markerfacecolor="white" if hollow else colour, zorder=3)
    ax.axvline(1, color="black", linewidth=1, zorder=1)
    ax.set_yticks(range(len(cases)), [case["name"] for case in cases])
    ax.set_ylim(len(cases) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def draw_axis(ax):
    """The ratios, on a logarithmic axis that holds all of them and 1."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, 0.5), max(high, 2))
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{np.round(value, 3):g}"))
    ax.set_xlabel("← minires faster          time of minires / time of the rival (minima)          rival faster →")
