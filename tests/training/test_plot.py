"""The curves of a training: each point is a row's, and the learning rate's changes are marked."""
import math

import numpy as np
import pytest
from matplotlib import pyplot

from minires.errors import ArgumentError, FileError
from minires.training import plot
from minires.training.loop import Row
from minires.training.plot import training_curves

ROWS = [Row(20, 0.5, 0.1, 2.0, 0.8, math.nan, math.nan, 1.0), Row(40, 1.0, 0.1, 1.5, 0.6, 1.6, 0.65, 2.0),
        Row(60, 1.5, 0.01, 1.2, 0.5, math.nan, math.nan, 3.0), Row(80, 2.0, 0.01, 1.0, 0.4, 1.3, 0.5, 4.0)]


@pytest.fixture
def axes():
    figure = training_curves(ROWS)
    yield figure.axes
    pyplot.close(figure)


def line(ax, label):
    found, = [line for line in ax.lines if line.get_label() == label]
    return list(zip(*[map(float, values) for values in found.get_data()], strict=True))


def test_each_row_is_a_point_of_the_training_and_each_test_one_of_the_test_curve(axes):
    loss, error = axes
    assert line(loss, "training, as the steps saw it") == [(20, 2.0), (40, 1.5), (60, 1.2), (80, 1.0)]
    assert line(loss, "test") == [(40, 1.6), (80, 1.3)]
    np.testing.assert_allclose(line(error, "training, as the steps saw it"), [(20, 80), (40, 60), (60, 50), (80, 40)])
    np.testing.assert_allclose(line(error, "test"), [(40, 65), (80, 50)])


def test_axes_are_labelled_and_begin_at_0(axes):
    assert [ax.get_xlabel() for ax in axes] == ["step", "step"]
    assert [ax.get_ylabel() for ax in axes] == ["loss in nats", "wrong answers in %"]
    assert [ax.get_ylim()[0] for ax in axes] == [0, 0]


def test_a_change_of_the_learning_rate_is_marked_where_it_was_made(axes):
    for ax in axes:
        text, = ax.texts
        assert text.get_text() == "lr 0.01"
        assert text.xy[0] == 40


def test_without_tests_there_is_no_test_curve_and_one_row_is_a_point():
    figure = training_curves(ROWS[:1])
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["training, as the steps saw it"]
    assert figure.axes[0].lines[0].get_marker() == "."
    pyplot.close(figure)


def test_no_row_is_an_error():
    with pytest.raises(ArgumentError, match="got no row"):
        training_curves([])


def test_the_curves_are_written_under_their_title_and_nothing_stays_open(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(plot, "write_figure", lambda path, figure: titles.append(figure.get_suptitle()))
    plot.write_curves(ROWS, "resnet20 on noise", tmp_path / "a.png")
    assert titles == ["resnet20 on noise"]
    monkeypatch.undo()
    plot.write_curves(ROWS, "resnet20 on noise", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FileError, match="cannot write the figure"):
        plot.write_curves(ROWS, "resnet20 on noise", tmp_path / "none" / "a.png")
    assert pyplot.get_fignums() == []


def test_a_loss_that_is_not_finite_is_marked_and_hides_no_point_beside_it():
    rows = [*ROWS, Row(100, 2.5, 0.01, math.nan, 0.9, math.nan, math.nan, 5.0),
            Row(120, 3.0, 0.01, 0.9, 0.9, math.inf, 0.9, 6.0)]
    figure = training_curves(rows)
    for ax in figure.axes:
        assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"] == [100, 120]
        assert ax.lines[0].get_marker() == "."
    assert "loss not finite" in [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    pyplot.close(figure)
