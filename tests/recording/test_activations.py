"""Statistics of activations: that they are right, of which outputs they are, and how they are drawn."""
import math

import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from minires import models, nn, ops
from minires.recording import plot
from minires.recording.activations import pooled, statistics
from minires.recording.column import Column
from minires.recording.numbers import ACTIVATION_QUANTITIES, ALL_QUANTITIES


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def vectors(seed=0, shape=(5, 3), dtype=np.float32):
    return mr.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def by_definition(array):
    array = np.asarray(array, np.float64)
    return array.mean(), array.std(), (array == 0).mean()


def kept_outputs(net):
    """{name: [arrays]} of all that the modules return, in the order of their runs."""
    outputs = {}
    for name, module in net.named_modules():
        def keep(module, inputs, output, name=name):
            outputs.setdefault(name, []).append(output if isinstance(output, tuple) else output.data)
        module.forward_hooks.append(keep)
    return outputs


# ---- the numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("arrays", [[[1, 2, 0, -4]], [[0, 0]], [[[1, 2], [0, 3]], [5], [0, 0, 7]], [[], [1, 3]],
                                    [[1e-30, 3e-30]], [[1e30, -3e30]]])
def test_statistics_are_those_of_all_elements_together(arrays, dtype):
    found = statistics([np.array(array, dtype) for array in arrays])
    expected = by_definition(np.concatenate([np.array(array, dtype).ravel() for array in arrays]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert all(np.asarray(number).dtype == np.float64 for number in found)


def test_huge_float64_values_do_not_overflow():
    mean, std, zeros = statistics([np.array([1e308, 1e308, -1e308, 1e308])])
    np.testing.assert_allclose([mean, std, zeros], [5e307, math.sqrt(0.75) * 1e308, 0])


@pytest.mark.parametrize(("values", "expected"), [
    ([], (np.nan, np.nan, np.nan)), ([np.nan, 0], (np.nan, np.nan, 0.5)), ([np.inf, 0, 0, 0], (np.inf, np.nan, 0.75)),
    ([np.inf, -np.inf], (np.nan, np.nan, 0)), ([-0.0, 1], (0.5, 0.5, 0.5)),
])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_or_not_there_gives_no_number(values, expected, dtype):
    np.testing.assert_array_equal(statistics([np.array(values, dtype)]), expected)


@pytest.mark.parametrize("options", [{}, {"preactivation": True, "shortcut": "B"}, {"checkpoint_every": 1}])
def test_each_column_has_the_statistics_of_its_output(options):
    net, plain = [models.cifar_net(8, width=2, in_channels=1, **{**options, **more})
                  for more in ({}, {"checkpoint_every": None})]
    x = vectors(shape=(4, 1, 8, 8))
    outputs = kept_outputs(plain)
    plain(x)
    with mr.record_gradients(net, activations=True) as record:
        net(x).sum().backward()
    for i, name in enumerate(record.names):
        found = [record.values(quantity)[0, i] for quantity in ACTIVATION_QUANTITIES]
        np.testing.assert_allclose(found, by_definition(outputs[name][0]), rtol=1e-6, atol=1e-8, err_msg=name)
    assert not any(record.missing(quantity).any() for quantity in ACTIVATION_QUANTITIES)


class Cell(nn.Module):
    """Two tensors from two; the second one has other elements."""

    def __init__(self):
        super().__init__()
        self.a, self.act = nn.Linear(3, 3), nn.ReLU()

    def forward(self, h, c):
        h = self.act(self.a(h))
        return h, (c + h)[:2]


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = Cell()

    def forward(self, x):
        h, c = self.cell(x, x)
        h, d = self.cell(h, h)
        return h.sum() + c.sum() + d.sum()


def test_uses_and_the_tensors_of_a_tuple_have_statistics_of_their_own():
    net = Twice()
    outputs = kept_outputs(net)
    with mr.record_gradients(net, activations=True) as record:
        net(vectors()).backward()
    found = {name: [record.values(quantity)[0, i] for quantity in ACTIVATION_QUANTITIES]
             for i, name in enumerate(record.names)}
    for use, (h, c) in zip(("", "@2"), outputs["cell"], strict=True):
        np.testing.assert_allclose(found[f"cell{use}[0]"], by_definition(h.data), rtol=1e-6)
        np.testing.assert_allclose(found[f"cell{use}[1]"], by_definition(c.data), rtol=1e-6)
        np.testing.assert_allclose(found[f"cell{use}"], by_definition([*h.data.ravel(), *c.data.ravel()]), rtol=1e-6)
    together = record.over_uses()
    i = together.names.index("cell.act")
    np.testing.assert_allclose([together.values(quantity)[0, i] for quantity in ACTIVATION_QUANTITIES],
                               by_definition(outputs["cell.act"]), rtol=1e-6)


def test_each_pass_has_the_statistics_of_its_own_forward():
    net = nn.Sequential(nn.Linear(3, 2))
    with mr.record_gradients(net, activations=True) as record:
        for seed in range(3):
            net(vectors(9))  # of no pass
            net(vectors(seed)).sum().backward()
    expected = [by_definition(net(vectors(seed)).data)[1] for seed in range(3)]
    np.testing.assert_allclose(record.activation_std[:, 0], expected, rtol=1e-6)


def test_they_are_recorded_where_they_are_asked_for_and_change_nothing():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    records = []
    for activations in (False, True):
        with mr.record_gradients(net, activations=activations) as record:
            net(vectors()).sum().backward()
        records.append(record)
    without, record = records
    assert (without.has_activations, record.has_activations) == (False, True)
    for quantity in set(ALL_QUANTITIES) - set(ACTIVATION_QUANTITIES):
        np.testing.assert_array_equal(record.values(quantity), without.values(quantity))
    assert "activation_mean" in str(record)
    assert "activation_mean" not in str(without)
    np.testing.assert_array_equal(record.activation_zeros, record.values("activation_zeros"))
    np.testing.assert_array_equal(record.activation_mean, record.values("activation_mean"))
    with pytest.raises(mr.ArgumentError, match="record_gradients: activations is 'yes', expected True or False"):
        mr.record_gradients(net, activations="yes")


# ---- files and figures


def record_of(net, x, passes=2):
    with mr.record_gradients(net, activations=True) as record:
        for _ in range(passes):
            net(x).sum().backward()
    return record


def test_a_file_holds_them(tmp_path):
    record = record_of(models.cifar_net(8, width=2, in_channels=1), vectors(shape=(2, 1, 8, 8)))
    record.to_csv(tmp_path / "record.csv")
    found = mr.GradientRecord.from_csv(tmp_path / "record.csv")
    assert record.activation_mean.min() < 0
    for quantity in ACTIVATION_QUANTITIES:
        np.testing.assert_array_equal(found.values(quantity), record.values(quantity))
        one, other = [mr.plot.gradient_norms(r, quantity=quantity) for r in (record, found)]
        assert [line.get_xydata().tolist() for line in one.lines] == [line.get_xydata().tolist() for line in other.lines]


@pytest.mark.parametrize("quantity", ACTIVATION_QUANTITIES)
def test_figures_show_what_enters_the_layers_and_what_leaves_the_last(quantity):
    net = models.cifar_net(8, width=2, in_channels=1, shortcut="B")
    record = record_of(net, vectors(shape=(2, 1, 8, 8)))
    shown = ["relu", "layer1.0.relu1", "layer1", "layer2.0.relu1", "layer2", "layer3.0.relu1", "avgpool", "fc"]
    ax = mr.plot.gradient_norms(record, quantity=quantity)
    line = next(line for line in ax.lines if len(line.get_xdata()) == len(shown))
    np.testing.assert_array_equal(line.get_ydata(), record.select(*shown).values(quantity)[0])
    assert ax.get_yscale() == ("log" if quantity == "activation_std" else "linear")
    assert ax.get_ylabel() == plot.AXIS_LABELS[quantity]
    image = mr.plot.gradient_heatmap(record, quantity).images[0]
    values = record.select(*shown).values(quantity).T
    np.testing.assert_allclose(image.get_array(), np.log10(values) if quantity == "activation_std" else values)
    relus = record.select(nn.ReLU)
    line = mr.plot.gradient_norms(relus, quantity=quantity).lines[-1]
    assert set(line.get_ydata()) <= set(relus.values(quantity)[0])


def table(values, quantity):
    columns = [Column(f"layer{i}", nn.Conv2d, True, i + 1) for i in range(len(values))]
    numbers = {(quantity, column.name): value for column, value in zip(columns, values, strict=True)}
    return mr.GradientRecord(columns, [numbers])


def test_zeros_and_signs_have_a_place_on_a_linear_axis_and_what_is_not_finite_is_marked():
    for quantity, values in (("activation_zeros", [0.0, 1.0, np.nan, 0.5]), ("activation_mean", [0.0, -1.0, np.inf, 0.5])):
        ax = mr.plot.gradient_norms(table(values, quantity), quantity=quantity)
        line = next(line for line in ax.lines if len(line.get_xdata()) == 4)
        np.testing.assert_array_equal(line.get_ydata(), [*values[:2], np.nan, 0.5])
        marks = [line for line in ax.lines if line.get_marker() in (plot.ZERO_MARKER, plot.NOT_FINITE_MARKER)]
        assert [(mark.get_marker(), list(mark.get_xdata())) for mark in marks] == [(plot.NOT_FINITE_MARKER, [3])]
        low, high = ax.get_ylim()
        assert low < min(values[:2])
        assert high > max(values[:2])
        ax = mr.plot.gradient_heatmap(table(values, quantity), quantity)
        np.testing.assert_array_equal(np.asarray(ax.images[1].get_array())[:, 0, 3], [0, 0, 1, 0])
        least, largest = ax.images[0].get_clim()
        assert (least, largest) == ((0, 1) if quantity == "activation_zeros" else (-1, 1))


def test_means_of_all_sizes_are_seen_on_an_axis_that_is_logarithmic_to_both_sides():
    values = [1e-6, -1e-3, 0.0, 5.0, -1e20]
    ax = mr.plot.gradient_norms(table(values, "activation_mean"), quantity="activation_mean")
    assert ax.get_yscale() == "symlog"
    ax.figure.canvas.draw()
    heights = ax.transData.transform([(1, value) for value in values])[:, 1]
    assert np.diff(np.sort(heights)).min() > 5  # pixels


@pytest.mark.parametrize("draw", [mr.plot.gradient_norms, mr.plot.gradient_heatmap])
def test_a_record_without_them_says_how_to_get_them(draw):
    net = nn.Sequential(nn.Linear(3, 3))
    with mr.record_gradients(net) as record:
        net(vectors()).sum().backward()
    with pytest.raises(mr.ArgumentError, match=r"no activation_std: make it with mr\.record_gradients\(model, activa"):
        draw(record, quantity="activation_std")


def test_no_output_is_kept_alive():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    with mr.record_gradients(net, activations=True) as record:
        ops.cross_entropy(net(vectors()), [0, 1, 2, 0, 1]).backward()
    numbers = [vector for _, vector in record.passes._on_device[0]._vectors]
    assert sum(vector.size for vector in numbers) == len(record.names) * 4 + 2


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_spreads_whose_squares_no_float_holds_are_pooled(size):
    mean, std, _ = pooled([size, -size], [0.0, 0.0], [0.0, 0.0], [0.5, 0.5])
    assert (mean, std) == (0, pytest.approx(size, rel=1e-15))
    assert pooled([2.0, 2.0], [0.0, 0.0], [0.0, 0.0], [0.5, 0.5])[1] == 0
