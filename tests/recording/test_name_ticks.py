"""Names of layers on an axis: they can be read at any number of columns and any size of the figure."""
import math

import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.recording import fonts
from minires.recording.column import Column
from minires.recording.name_ticks import readable, shortened
from minires.recording.numbers import FLOW_QUANTITIES


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def record_of(names, kind=nn.Conv2d, depths=None):
    columns = [Column(name, kind, True, depth) for name, depth in
               zip(names, depths or range(1, len(names) + 1), strict=True)]
    return mr.GradientRecord(columns, [{(quantity, name): 0.5 for name in names
                                        for quantity in ("output_grad_norm", *FLOW_QUANTITIES)}])


def names_drawn(axis):
    """The texts of the ticks in view, in order."""
    axis.figure.canvas.draw()
    least, largest = sorted(axis.get_view_interval())
    return [tick.label1.get_text() for tick in axis.get_major_ticks() if least <= tick.get_loc() <= largest]


def distances_between(axis):
    """Between the lines of neighbouring names in pixels, at right angles to their letters; and the height of the letters."""
    ticks = axis.get_major_ticks()
    places = np.array([axis.axes.transData.transform([tick.get_loc()] * 2) for tick in ticks])
    slanted = axis.axis_name == "x"
    steps = np.diff(places[:, 0]) * math.sin(math.radians(ticks[0].label1.get_rotation())) if slanted \
        else np.diff(places[:, 1])
    return np.abs(steps), ticks[0].label1.get_fontsize() * axis.figure.dpi / 72


DRAW = {"norms": (lambda record, ax: mr.plot.gradient_norms(record, ax=ax, names=True), "xaxis"),
        "map": (lambda record, ax: mr.plot.gradient_heatmap(record, ax=ax), "yaxis"),
        "flow": (lambda record, ax: mr.plot.shortcut_flow(record, ax=ax), "xaxis")}


@pytest.mark.parametrize("size", [(3, 2), *[pytest.param(size, marks=pytest.mark.slow) for size in ((7.5, 4.5), (20, 8))]])
@pytest.mark.parametrize("columns", [1, 60, *[pytest.param(n, marks=pytest.mark.slow) for n in (2, 12, 1000)]])
@pytest.mark.parametrize("draw", DRAW)
def test_names_do_not_touch_and_the_first_and_last_are_there(draw, columns, size):
    function, which = DRAW[draw]
    figure, ax = pyplot.subplots(figsize=size)
    names = [f"conv{i}" for i in range(1, columns + 1)]
    function(record_of(names), ax)
    axis = getattr(ax, which)
    drawn = names_drawn(axis)
    assert (drawn[0], drawn[-1]) == (names[0], names[-1])
    assert [name for name in names if name in drawn] == drawn
    steps, letters = distances_between(axis)
    assert (steps >= letters).all()
    if columns > 1:
        assert (steps < 2.6 * letters).any() or len(drawn) == columns  # no more are left out than need be
    assert all(tick.label1.get_ha() == "right" for tick in axis.get_major_ticks())


def test_a_figure_that_grows_shows_more_names():
    ax = mr.plot.gradient_norms(record_of([f"layer{i}" for i in range(200)]), names=True)
    before = len(names_drawn(ax.xaxis))
    ax.figure.set_size_inches(30, 5)
    assert len(names_drawn(ax.xaxis)) > 2 * before
    ax.set_xlim(50.5, 60.5)
    assert names_drawn(ax.xaxis) == [f"layer{i}" for i in range(50, 60)]


def test_names_stand_at_their_layers_and_numbers_where_they_are_not_asked_for():
    net = models.cifar_net(8, width=2, in_channels=1)
    with mr.record_gradients(net) as record:
        net(mr.Tensor(np.ones((2, 1, 8, 8), np.float32))).sum().backward()
    ax = mr.plot.gradient_norms(record, names=True)
    assert names_drawn(ax.xaxis) == record.stream().names == ["relu", "layer1.0", "layer2.0", "layer3.0"]
    assert [tick.get_loc() for tick in ax.xaxis.get_major_ticks()] == [1, 3, 5, 7]
    mr.plot.gradient_norms(record, ax=ax)  # what was drawn keeps its names
    assert names_drawn(ax.xaxis) == record.stream().names
    assert {"2", "4"} <= set(names_drawn(mr.plot.gradient_norms(record).xaxis))


def test_where_several_layers_stand_at_one_place_two_are_named_or_their_number():
    ax = mr.plot.gradient_norms([record_of(["a", "b", "c", "d", "e", "f"], depths=[1, 2, 2, 3, 3, 3]),
                                 record_of(["other", "last"], depths=[1, 4])], names=True)
    assert names_drawn(ax.xaxis) == ["a", "b, c", "d + 2", "last"]


def test_a_long_name_keeps_its_end_and_the_axes_their_room():
    names = [f"features.denseblock{i}.{'very' * 10}.denselayer{i}.conv2" for i in range(5)]
    for draw, (function, which) in DRAW.items():
        figure, ax = pyplot.subplots(figsize=(4, 3), layout="constrained")
        function(record_of(names), ax)
        drawn = names_drawn(getattr(ax, which))
        assert all(text.startswith("…") and names[i].endswith(text[1:]) and len(text) > 10 for i, text in
                   enumerate(drawn)), draw
        box = ax.get_window_extent()
        assert box.height > 60, draw
        assert box.width > 100, draw


@pytest.mark.parametrize(("name", "width", "expected"), [
    ("conv1", 5, "conv1"), ("layer1.conv1", 6, "…conv1"), ("layer1", 3, "…r1"), ("層層層", 6, "層層層"),
    ("層層層", 5, "…層層"), ("層層", 1, "…層"), ("", 3, ""),
])
def test_a_name_is_shortened_to_a_width(name, width, expected):
    assert shortened(name, width) == expected


@pytest.mark.parametrize(("places", "apart", "expected"), [
    ([], 1, []), ([3], 9, [3]), ([1, 2, 3], 1, [1, 2, 3]), ([1, 2, 3], 1.5, [1, 3]), ([1, 2, 3], 5, [1]),
    ([0, 1, 2, 3, 4, 5], 2, [0, 2, 5]), ([0, 0.1, 7, 7.2, 9], 2, [0, 7, 9]),
])
def test_places_are_thinned_by_their_distance(places, apart, expected):
    assert readable(places, apart) == expected


def test_names_of_any_script_and_with_dollars_are_drawn_as_they_are(monkeypatch):
    record = record_of(["層$1", "b$2"], kind=models.Block)
    monkeypatch.setattr(fonts, "WIDE_FONTS", ("Serif of the test",))
    monkeypatch.setattr(fonts, "_installed", lambda: {"Serif of the test"})
    monkeypatch.setattr(fonts, "_covers", lambda font, letters: letters == {"層"})
    for function, which in DRAW.values():
        _, ax = pyplot.subplots()
        function(record, ax)
        labels = [tick.label1 for tick in getattr(ax, which).get_major_ticks(2)]
        assert all(label.get_fontfamily()[-1] == "Serif of the test" for label in labels)
        text = labels[0].get_text() if labels[0].get_text() else getattr(ax, which).get_major_formatter()(1)
        assert labels[0]._preprocess_math(text)[1] is False  # no formula


def test_names_is_a_flag():
    with pytest.raises(mr.ArgumentError, match="plot: names is 'yes', expected True or False"):
        mr.plot.gradient_norms(record_of(["a"]), names="yes")
    assert pyplot.get_fignums() == []
