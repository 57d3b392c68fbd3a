"""The figures: what is drawn where, on which axis, with which words. No image is compared."""
import os
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba

import minires as mr
from minires import models, nn, ops
from minires.errors import ArgumentError, DTypeError, UnknownNameError
from minires.recording import fonts, plot
from minires.recording.column import Column

NOTHING = object()  # stands in a table where a pass recorded no number


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def images(seed=0):
    return mr.Tensor(np.random.default_rng(seed).standard_normal((4, 1, 8, 8)).astype(np.float32))


def recorded(net, seeds=(0,)):
    with mr.record_gradients(net) as record:
        for seed in seeds:
            ops.cross_entropy(net(images(seed)), np.arange(4)).backward()
    return record


def small_net(**options):
    return models.cifar_net(8, **{"width": 2, "in_channels": 1, **options})


def table(*rows, quantity="output_grad_norm", kind=nn.Conv2d):
    """A record of these rows, one a pass, with the layers "a", "b", …"""
    columns = [Column(chr(ord("a") + i), kind, kind is nn.Conv2d, i + 1 if kind is nn.Conv2d else 0)
               for i in range(len(rows[0]))]
    return mr.GradientRecord(columns, [{(quantity, column.name): value
                                        for column, value in zip(columns, row, strict=True) if value is not NOTHING}
                                       for row in rows])


def is_loose(line):
    return line.get_linestyle() == "None"


def in_axes_units(line, ax):
    """Is the line's y a height in the axes (0 bottom, 1 top) rather than a value?"""
    return line.get_transform() == ax.get_xaxis_transform()


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []


# ---- lines and points


def test_a_net_of_blocks_shows_its_stream_as_a_line_and_its_layers_as_points():
    record = recorded(small_net())
    ax = mr.plot.gradient_norms(record, labels=["residual"])
    line, points = ax.lines
    stream, layers = record.stream(), record.layers()
    assert not is_loose(line)
    np.testing.assert_array_equal(line.get_xdata(), [1, 3, 5, 7])
    np.testing.assert_array_equal(line.get_ydata(), stream.output_grad_norm[0])
    assert is_loose(points)
    assert points.get_marker() not in ("None", None, "")
    np.testing.assert_array_equal(points.get_xdata(), range(1, 9))
    np.testing.assert_array_equal(points.get_ydata(), layers.output_grad_norm[0])
    assert line.get_color() == points.get_color()
    assert legend_of(ax) == ["residual", plot.STREAM, plot.LAYERS]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_net_without_blocks_shows_one_line_through_its_layers(activation):
    record = recorded(models.flat_net(3, width=2, activation=activation))
    ax = mr.plot.gradient_norms(record)
    line, = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(line.get_ydata(), record.layers().output_grad_norm[0])
    assert record.layers().names == ["layer1.conv", "layer2.conv", "layer3.conv", "fc"]
    assert ax.get_legend() is None


def test_the_input_is_at_the_left():
    ax = mr.plot.gradient_norms(recorded(small_net()))
    left, right = ax.get_xlim()
    assert left < 1 < 8 < right
    assert "input at the left" in ax.get_xlabel()


def test_twins_with_projections_stand_at_the_same_places():
    records = [recorded(small_net(residual=residual, shortcut="B")) for residual in (True, False)]
    ax = mr.plot.gradient_norms(records)
    residual_line, _, plain_line, _ = ax.lines
    np.testing.assert_array_equal(residual_line.get_xdata(), plain_line.get_xdata())


def test_a_narrowed_record_is_drawn_as_it_is():
    record = recorded(small_net())
    activations, = mr.plot.gradient_norms(record.select(nn.ReLU)).lines
    np.testing.assert_array_equal(activations.get_ydata(), record.select(nn.ReLU).output_grad_norm[0])
    stream, = mr.plot.gradient_norms(record.stream()).lines
    np.testing.assert_array_equal(stream.get_ydata(), record.stream().output_grad_norm[0])
    convolutions, = mr.plot.gradient_norms(record.select(nn.Conv2d)).lines
    np.testing.assert_array_equal(convolutions.get_ydata(), record.select(nn.Conv2d).output_grad_norm[0])


def test_what_knows_no_layers_is_numbered():
    line, = mr.plot.gradient_norms(table([3.0, 2.0, 1.0], kind=nn.ReLU)).lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])


@pytest.mark.parametrize(("quantity", "label"), [
    ("output_grad_norm", "‖dL/d(output)‖"), ("weight_grad_norm", "‖dL/dW‖"), ("weight_norm", "‖W‖"),
    ("update_ratio", "‖ΔW‖ / ‖W‖"),
])
def test_a_quantity_is_drawn_on_a_log_axis_that_names_it(quantity, label):
    record = table([1e-9, 1.0, 1e3], quantity=quantity)
    ax = mr.plot.gradient_norms(record, quantity=quantity)
    assert ax.get_yscale() == "log"
    assert ax.get_xscale() == "linear"
    assert ax.get_ylabel() == label
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1e-9, 1.0, 1e3])


def test_quantities_of_weights_are_lines_through_the_layers_of_any_net():
    record = recorded(small_net())
    line, = mr.plot.gradient_norms(record, quantity="weight_grad_norm").lines
    np.testing.assert_array_equal(line.get_ydata(), record.layers().weight_grad_norm[0])


def test_each_record_has_a_line_of_its_own_colour_and_marker_and_its_label():
    ax = mr.plot.gradient_norms([table([1.0, 2.0]), table([3.0, 4.0]), table([5.0, 6.0])], labels=["x", "y", "z"])
    assert [line.get_label() for line in ax.lines] == ["x", "y", "z"]
    assert legend_of(ax) == ["x", "y", "z"]
    assert len({to_rgba(line.get_color()) for line in ax.lines}) == 3
    assert len({line.get_marker() for line in ax.lines}) == 3
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines], [[1, 2], [3, 4], [5, 6]])


def test_more_records_than_colours_are_all_drawn():
    ax = mr.plot.gradient_norms([table([float(i)]) for i in range(1, 10)])
    assert len(ax.lines) == 9


def test_a_long_line_has_no_markers():
    line, = mr.plot.gradient_norms(table([1.0] * 60)).lines
    assert line.get_marker() == "None"


# ---- several passes


def test_several_passes_are_their_median_with_a_band_from_the_least_to_the_largest():
    ax = mr.plot.gradient_norms(table([1.0, 10.0], [2.0, 30.0], [9.0, 20.0]), labels=["seeds"])
    line, = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), [2, 20])
    band, = ax.collections
    vertices = {tuple(vertex) for vertex in band.get_paths()[0].vertices}
    assert {(1, 1), (1, 9), (2, 10), (2, 30)} <= vertices
    assert {y for _, y in vertices} == {1, 9, 10, 30}
    assert legend_of(ax) == ["seeds", plot.BAND]


def test_stacked_seeds_are_a_band():
    record = mr.stack_records([recorded(small_net(seed=seed)) for seed in range(3)])
    ax = mr.plot.gradient_norms(record)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), np.median(record.stream().output_grad_norm, axis=0))
    assert len(ax.collections) == 1


@pytest.mark.parametrize("value", [3.893635434478787, 6.045044187128775, 1 / 3, 0.7])
def test_a_single_number_of_several_passes_has_an_axis_around_it(value):
    ax = mr.plot.gradient_norms(table([value], [0.0]))
    ax.figure.canvas.draw()
    least, largest = ax.get_ylim()
    assert least < 0.99 * value < 1.01 * value < largest


def test_two_passes_have_a_band_and_one_has_none():
    assert len(mr.plot.gradient_norms(table([1.0, 2.0], [3.0, 4.0])).collections) == 1
    assert list(mr.plot.gradient_norms(table([1.0, 2.0])).collections) == []


def test_passes_without_a_number_are_left_out_of_the_median():
    record = table([1.0, NOTHING], [3.0, 5.0], [NOTHING, NOTHING], quantity="update_ratio")
    ax = mr.plot.gradient_norms(record, quantity="update_ratio")
    line, = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), [2, 5])
    assert plot.NOT_FINITE not in legend_of(ax)


# ---- what a log axis cannot show


def edge_points(ax):
    """{legend entry: places} of the points that are marked at an edge."""
    names = {plot.ZERO_MARKER: plot.ZERO, plot.NOT_FINITE_MARKER: plot.NOT_FINITE}
    return {names[line.get_marker()]: list(line.get_xdata()) for line in ax.lines if in_axes_units(line, ax)}


def test_zeros_and_what_is_not_finite_are_marked_at_the_edges_and_leave_gaps():
    ax = mr.plot.gradient_norms(table([1.0, 0.0, np.nan, np.inf, 2.0]), labels=["net"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1, np.nan, np.nan, np.nan, 2])
    assert edge_points(ax) == {plot.ZERO: [2], plot.NOT_FINITE: [3, 4]}
    heights = {line.get_marker(): set(line.get_ydata()) for line in ax.lines if in_axes_units(line, ax)}
    assert max(heights[plot.ZERO_MARKER]) < 0.1
    assert min(heights[plot.NOT_FINITE_MARKER]) > 0.9
    assert legend_of(ax) == ["net", plot.ZERO, plot.NOT_FINITE]
    ax.figure.canvas.draw()


def test_a_record_of_zeros_alone_can_be_drawn():
    ax = mr.plot.gradient_norms(table([0.0, 0.0]))
    assert edge_points(ax) == {plot.ZERO: [1, 2]}
    assert ax.get_yscale() == "log"
    ax.figure.canvas.draw()


@pytest.mark.parametrize("passes", [1, 3])
def test_what_was_not_recorded_is_a_gap_without_a_mark(passes):
    ax = mr.plot.gradient_norms(table(*[[1.0, NOTHING, 2.0]] * passes))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1, np.nan, 2])
    assert edge_points(ax) == {}


def test_a_nan_in_one_of_several_passes_is_marked():
    assert edge_points(mr.plot.gradient_norms(table([1.0, 2.0], [1.0, np.nan], [1.0, 3.0]))) == {plot.NOT_FINITE: [2]}


def test_two_infinite_passes_are_marked_without_a_warning():
    assert edge_points(mr.plot.gradient_norms(table([1.0, np.inf], [1.0, np.inf]))) == {plot.NOT_FINITE: [2]}


def test_dead_layers_of_a_real_net_are_marked():
    net = small_net(residual=False, batch_norm=False)
    nn.init.zeros_(net.layer2[0].conv2.weight)
    ax = mr.plot.gradient_norms(recorded(net))
    # after a convolution that is all zeros every ReLU stands at 0 and passes no gradient: only fc, layer 8, has one
    assert edge_points(ax) == {plot.ZERO: [1, 2, 3, 4, 5, 6, 7]}


# ---- every number is seen


GAPS = {"zeros": 0.0, "nothing": NOTHING, "nan": np.nan}


def values_drawn(ax):
    """{(x, y)} of all points that have ink: a marker, or a line to a neighbour."""
    drawn = set()
    for line in ax.lines:
        if not in_axes_units(line, ax):
            x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
            marked = np.full(len(x), line.get_marker() != "None" and line.get_markevery() is None)
            if not is_loose(line):
                there = np.isfinite(y)
                joined = there[:-1] & there[1:]
                marked[:-1] |= joined
                marked[1:] |= joined
            drawn |= set(zip(x[marked].tolist(), y[marked].tolist(), strict=True))
    return drawn


@pytest.mark.parametrize("gap", GAPS.values(), ids=GAPS)
@pytest.mark.parametrize("columns", [3, 40, 41, 60, 200])
@pytest.mark.parametrize("turn", [0, 7])
def test_a_number_between_two_gaps_is_seen_however_many_columns_there_are(columns, gap, turn):
    values = [gap] * columns
    places = [0, columns // 2, columns - 1]
    for i in places:
        values[i] = 2.0 + i
    if columns > 40:
        values[6:9] = [5.0, 6.0, 5.0]  # joined to each other
    ax = mr.plot.gradient_norms([*[table([1.0])] * turn, table(values)])
    expected = {(i + 1.0, float(value)) for i, value in enumerate(values) if value is not NOTHING and value > 0}
    assert expected <= values_drawn(ax)


def test_the_point_of_a_real_net_whose_last_block_alone_is_alive_is_seen():
    net = models.cifar_net(92, residual=False, batch_norm=False, width=2, in_channels=1)
    nn.init.zeros_(net.layer3[13].conv2.weight)
    record = recorded(net).stream()
    assert len(record.names) > 40
    assert (record.output_grad_norm[0] > 0).sum() == 1
    ax = mr.plot.gradient_norms(record)
    heights = pixels_of(ax, plot.COLOURS[0])[:, 0]
    assert heights.min() < 0.9 * ax.get_window_extent().height < heights.max()  # the zeros are at the bottom
    assert (record.columns[-1].depth, record.output_grad_norm[0, -1]) in values_drawn(ax)


def pixels_of(ax, colour):
    """(rows, columns) of the pixels of this colour inside the axes of the drawn figure."""
    figure = ax.figure
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    box = ax.get_window_extent()
    height = pixels.shape[0]
    pixels = pixels[height - int(box.y1):height - int(box.y0) + 1, int(box.x0):int(box.x1) + 1]
    wanted = (np.array(to_rgba(colour))[:3] * 255).round().astype(int)
    return np.argwhere(np.abs(pixels - wanted).max(axis=-1) < 40)


@pytest.mark.parametrize("columns", [5, 100])
def test_the_range_of_a_lonely_column_is_a_bar(columns):
    passes = np.zeros((3, columns))
    passes[:, columns // 2] = 1, 10, 100
    ax = mr.plot.gradient_norms(table(*passes.tolist()))
    bar = next(collection for collection in ax.collections if hasattr(collection, "get_segments"))
    np.testing.assert_array_equal(bar.get_segments(), [[[columns // 2 + 1, 1], [columns // 2 + 1, 100]]])


def test_a_zero_in_one_pass_does_not_hide_the_range_of_the_others():
    ax = mr.plot.gradient_norms(table([1.0, 0.0, 3.0], [2.0, 5.0, 4.0], [3.0, 6.0, 5.0]))
    vertices = {tuple(vertex) for path in ax.collections[0].get_paths() for vertex in path.vertices}
    assert {(2, 5), (2, 6)} <= vertices


@pytest.mark.parametrize("size", [(7.5, 4.5), (2.5, 1.5)])
@pytest.mark.parametrize("shape", [(1200, 3), (3, 1200), (60, 40), (700, 700)])
def test_a_map_with_more_cells_than_pixels_loses_no_mark(shape, size):
    layers, passes = shape
    values = np.ones((passes, layers))
    zeros = [(passes // 3, layers // 2), (0, 0), (passes - 1, layers - 1)]
    bad = [(passes // 2, layers // 4), (passes // 3, layers // 2 + 1)]  # beside a zero
    for cell in zeros:
        values[cell] = 0
    for cell in bad:
        values[cell] = np.nan
    figure, ax = pyplot.subplots(figsize=size, dpi=100)
    columns = [Column(f"layer{i}", nn.Conv2d, True, i + 1) for i in range(layers)]
    rows = [{("output_grad_norm", column.name): value for column, value in zip(columns, row, strict=True)} for row in values]
    mr.plot.gradient_heatmap(mr.GradientRecord(columns, rows), ax=ax)
    ax.get_legend().remove()
    for cells, colour in ((zeros, "black"), (bad, "red")):
        found = pixels_of(ax, colour)
        box = ax.get_window_extent()
        for i, layer in cells:
            x, y = (i + 0.5) / passes * box.width, (1 - (layer + 0.5) / layers) * box.height
            distance = np.abs(found - [y, x]).max(axis=1)
            assert distance.min() <= max(3, box.width / passes, box.height / layers), (colour, i, layer)


# ---- any label, any number of records


def test_labels_of_any_text_are_in_the_legend_as_they_are():
    labels = ["_plain", "", "plain $5 and $6", "plain", "plain", "a_b^c"]
    ax = mr.plot.gradient_norms([table([1.0, 2.0 + i]) for i in range(6)], labels=labels)
    assert legend_of(ax) == labels
    assert not any(text.get_parse_math() for text in ax.get_legend().get_texts())  # as what stands between two $
    ax.figure.canvas.draw()


def test_control_characters_in_names_are_written_out_as_no_svg_can_hold_them(tmp_path):
    ax = mr.plot.gradient_norms(table([1.0, 2.0]), labels=["plain\x00\x1b[0m"])
    assert legend_of(ax) == ["plain\\x00\\x1b[0m"]
    column = Column("a\x1b", nn.ReLU, False, 0)
    heat = mr.plot.gradient_heatmap(mr.GradientRecord([column], [{("output_grad_norm", column.name): 1.0}]))
    assert [label.get_text() for label in heat.get_yticklabels()] == ["a\\x1b"]
    for name, axes in (("norms.svg", ax), ("heat.svg", heat)):
        axes.figure.savefig(tmp_path / name)
        ElementTree.parse(tmp_path / name)


def test_what_was_drawn_before_stays_in_the_legend():
    _, ax = pyplot.subplots()
    ax.plot([1, 2], [1, 2], label="theory")
    mr.plot.gradient_norms(table([1.0, 2.0]), labels=["net"], ax=ax)
    assert legend_of(ax) == ["theory", "net"]


@pytest.mark.parametrize("columns", [2, 60])
def test_no_two_of_many_records_look_the_same(columns):
    ax = mr.plot.gradient_norms([table([1.0] * columns)] * 60, labels=[f"net {i}" for i in range(60)])
    styles = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in ax.lines}
    assert len(styles) == len(ax.lines) == 60
    assert len(legend_of(ax)) == 60


def test_letters_that_the_font_lacks_are_drawn_with_one_that_has_them_or_named(monkeypatch):
    record = table([1.0, 2.0])
    fonts._say_once.cache_clear()
    monkeypatch.setattr(fonts, "WIDE_FONTS", ())
    with pytest.warns(UserWarning, match=r"plot: no font of this machine has '差残', .* install one"):
        mr.plot.gradient_norms(record, labels=["残差"])
    fonts._say_once.cache_clear()
    monkeypatch.setattr(fonts, "WIDE_FONTS", ("Serif of the test",))
    monkeypatch.setattr(fonts, "_installed", lambda: {"Serif of the test"})
    monkeypatch.setattr(fonts, "_covers", lambda font, letters: letters == {"残", "差"})
    ax = mr.plot.gradient_norms(record, labels=["残差"])
    assert ax.get_legend().get_texts()[0].get_fontfamily()[-1] == "Serif of the test"
    mr.plot.gradient_norms(record, labels=["é, ∂, ‖x‖"])  # which the usual font has


# ---- the axes and the state of pyplot


def test_the_given_axes_are_drawn_in_and_nothing_of_pyplot_changes():
    figure, (left, middle, right) = pyplot.subplots(1, 3)
    pyplot.sca(left)
    assert mr.plot.gradient_norms(table([1.0, 2.0]), ax=middle) is middle
    assert mr.plot.gradient_heatmap(table([1.0, 2.0]), ax=right) is right
    assert pyplot.get_fignums() == [figure.number]
    assert pyplot.gca() is left
    assert [len(axes.lines) for axes in (left, middle, right)] == [0, 1, 0]
    assert [len(axes.images) for axes in (left, middle, right)] == [0, 0, 2]


@pytest.mark.parametrize("draw", [mr.plot.gradient_norms, mr.plot.gradient_heatmap])
def test_without_axes_there_is_one_new_figure_and_the_settings_stay(draw):
    before = dict(matplotlib.rcParams)
    ax = draw(table([1.0, 2.0]))
    assert pyplot.get_fignums() == [ax.figure.number]
    assert dict(matplotlib.rcParams) == before


def test_figures_are_drawn_without_a_screen():
    code = ("import matplotlib, minires as mr; from minires import models, nn, ops\n"
            "net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))\n"
            "with mr.record_gradients(net) as record:\n"
            "    net(mr.Tensor([[[1, 2], [3, 4]]])).sum().backward()\n"
            "ax = mr.plot.gradient_norms(record)\n"
            "ax.figure.canvas.draw()\n"
            "print(matplotlib.get_backend().lower(), len(ax.lines))\n")
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    backend, lines = done.stdout.split()
    assert lines == "1"
    assert backend == "agg" or sys.platform in ("win32", "darwin")  # which always have a screen to draw on


# ---- the heat map


def test_a_heat_map_has_layers_upward_and_passes_to_the_right():
    ax = mr.plot.gradient_heatmap(table([1.0, 10.0], [100.0, 1000.0], [1e-3, 1e-4]))
    image = ax.images[0]
    np.testing.assert_allclose(image.get_array(), [[0, 2, -3], [1, 3, -4]])
    assert image.origin == "lower"
    assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert "input at the bottom" in ax.get_ylabel()
    assert ax.get_xlabel() == "backward pass"
    assert ax.get_legend() is None
    colour_bar = next(axes for axes in ax.figure.axes if axes is not ax)
    assert colour_bar.get_ylabel() == "log10 ‖dL/d(output)‖"
    assert colour_bar is image.colorbar.ax


def test_a_heat_map_of_a_net_shows_its_stream_or_its_layers():
    record = recorded(small_net(), seeds=(0, 1))
    ax = mr.plot.gradient_heatmap(record)
    np.testing.assert_allclose(ax.images[0].get_array(), np.log10(record.stream().output_grad_norm).T)
    assert [label.get_text() for label in ax.get_yticklabels()] == record.stream().names
    ax = mr.plot.gradient_heatmap(record, quantity="weight_norm")
    np.testing.assert_allclose(ax.images[0].get_array(), np.log10(record.layers().weight_norm).T)


def test_a_heat_map_marks_zeros_black_what_is_not_finite_red_and_leaves_the_rest_clear():
    ax = mr.plot.gradient_heatmap(table([1.0, 0.0, np.nan, np.inf, NOTHING]))
    marks = np.asarray(ax.images[1].get_array())[:, 0]
    np.testing.assert_array_equal(marks[0], [0, 0, 0, 0])
    np.testing.assert_array_equal(marks[1], [0, 0, 0, 1])
    np.testing.assert_array_equal(marks[2], [1, 0, 0, 1])
    np.testing.assert_array_equal(marks[3], [1, 0, 0, 1])
    np.testing.assert_array_equal(marks[4], [0, 0, 0, 0])
    assert np.ma.getmaskarray(ax.images[0].get_array())[:, 0].tolist() == [False, True, True, True, True]
    assert legend_of(ax) == [plot.ZERO, plot.NOT_FINITE]
    ax.figure.canvas.draw()


def test_a_heat_map_of_many_layers_names_some_of_them_from_the_first_to_the_last():
    ax = mr.plot.gradient_heatmap(table([1.0] * 100))
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert 2 <= len(names) <= 20
    assert (names[0], names[-1]) == ("a", chr(ord("a") + 99))


@pytest.mark.parametrize("values", [[0.0, 0.0], [np.nan, np.inf]])
def test_a_heat_map_without_a_number_to_map_can_be_drawn(values):
    ax = mr.plot.gradient_heatmap(table(values))
    ax.figure.canvas.draw()
    assert np.ma.getmaskarray(ax.images[0].get_array()).all()


# ---- errors


@pytest.mark.parametrize("draw", [mr.plot.gradient_norms, mr.plot.gradient_heatmap])
def test_an_unknown_quantity_is_named_with_those_that_there_are(draw):
    with pytest.raises(UnknownNameError, match=r"unknown quantity 'loss': known are output_grad_norm, .*_zeros$"):
        draw(table([1.0]), quantity="loss")
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("draw", [mr.plot.gradient_norms, mr.plot.gradient_heatmap])
def test_an_empty_record_says_what_to_do(draw):
    with pytest.raises(ArgumentError, match=r"a record is empty: call backward\(\) inside"):
        draw(mr.GradientRecord())
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("draw", [mr.plot.gradient_norms, mr.plot.gradient_heatmap])
def test_a_record_without_the_quantity_says_what_to_do(draw):
    with pytest.raises(ArgumentError, match=r"a record has no update_ratio: give mr\.record_gradients the optimizer"):
        draw(recorded(small_net()), quantity="update_ratio")
    with pytest.raises(ArgumentError, match=r"a record has no weight_norm: select\(\) may have left out"):
        draw(recorded(small_net()).select(nn.ReLU), quantity="weight_norm")
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x]], ids=["alone", "in a list"])
@pytest.mark.parametrize("thing", [None, mr.record_gradients(nn.ReLU())], ids=["None", "the recorder"])
def test_what_is_no_record_is_refused(thing, wrap):
    with pytest.raises(DTypeError, match=f"plot: got a {type(thing).__name__}, expected a record: the one that `with"):
        mr.plot.gradient_norms(wrap(thing))
    assert pyplot.get_fignums() == []


def test_records_may_come_from_a_generator():
    assert len(mr.plot.gradient_norms(table([value]) for value in (1.0, 2.0)).lines) == 2


def test_one_text_is_no_list_of_labels():
    with pytest.raises(ArgumentError, match=r"labels is 'x', expected a list with a name for each record: \['x'\]"):
        mr.plot.gradient_norms(table([1.0]), labels="x")


def test_no_record_and_a_wrong_number_of_labels_are_errors():
    with pytest.raises(ArgumentError, match="got no record"):
        mr.plot.gradient_norms([])
    with pytest.raises(ArgumentError, match="got 1 labels for 2 records"):
        mr.plot.gradient_norms([table([1.0]), table([2.0])], labels=["one"])
    assert pyplot.get_fignums() == []
