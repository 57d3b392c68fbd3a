"""The picture of a training: loss and errors over its steps."""
import itertools
import math
import os
from collections.abc import Sequence

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from minires.errors import ArgumentError
from minires.recording.plot import COLOURS, GREY
from minires.text.files import write_figure
from minires.training.loop import Row

RUINED = "#b3001b"  # where a loss is not finite


def training_curves(rows: Sequence[Row], axes: Sequence[Axes] | None = None) -> Figure | SubFigure:
    """Draw loss and share of wrong answers over the steps of a training, for training and test images.

    Where the learning rate changed there is a dotted line with its new value, and where a loss is not finite a red one.

    Args:
        rows: the `Row`s of a `minires.training.Training`.
        axes: two Axes to draw in, those of a new figure where None.

    Returns:
        The figure of the Axes.

    Raises:
        ArgumentError: there is no row.
    """
    if not rows:
        raise ArgumentError("training_curves: got no row: train for some steps first")
    panels: Sequence[Axes] = _figure_of_two().subplots(1, 2) if axes is None else axes
    tested = [row for row in rows if row.is_tested]
    ruined = [row.step for row in rows if not math.isfinite(row.train_loss)
              or (row.is_tested and not math.isfinite(row.test_loss))]
    steps, test_steps = [row.step for row in rows], [row.step for row in tested]
    curves = (("loss in nats", [row.train_loss for row in rows], [row.test_loss for row in tested]),
              ("wrong answers in %", [100 * row.train_error for row in rows], [100 * row.test_error for row in tested]))
    for ax, (quantity, training, test) in zip(panels, curves, strict=True):
        ax.plot(steps, training, color=COLOURS[0], linewidth=1.2, label="training, as the steps saw it",
                marker="." if len(steps) == 1 or ruined else None)
        if tested:
            ax.plot(test_steps, test, color=COLOURS[1], linewidth=1.2, marker="o", markersize=4, label="test")
        for step in ruined:
            ax.axvline(step, color=RUINED, linestyle="--", linewidth=1,
                       label="loss not finite" if step == ruined[0] else None)
        for before, after in itertools.pairwise(rows):
            if after.lr != before.lr:
                ax.axvline(before.step, color=GREY, linestyle=":", linewidth=1)
                ax.annotate(f"lr {after.lr:.2g}", (before.step, 1), (3, -3), xycoords=("data", "axes fraction"),
                            textcoords="offset points", va="top", fontsize=8, color=GREY)
        ax.set_xlabel("step")
        ax.set_ylabel(quantity)
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(True, alpha=0.3)
    panels[1].legend(loc="best")
    return panels[0].figure


def write_curves(rows: Sequence[Row], title: str, path: str | os.PathLike[str]) -> None:
    """Write the curves of a training, under a title, as PNG.

    Raises:
        ArgumentError: there is no row.
        FileError: the file cannot be written.
    """
    figure = _figure_of_two()
    try:
        training_curves(rows, figure.subplots(1, 2))
        figure.suptitle(title)
        write_figure(path, figure)
    finally:
        pyplot.close(figure)


def _figure_of_two() -> Figure:
    """A new figure, for two Axes side by side."""
    return pyplot.figure(figsize=(12, 4.5), layout="constrained")
