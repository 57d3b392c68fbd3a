"""Histograms of gradients: that each element is counted once and in its place, of which columns, and how they are drawn."""
import gc
import tracemalloc

import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from minires import models, nn, ops
from minires.errors import ArgumentError
from minires.recording.histograms import HALF_DECADES, Histograms, count


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def vectors(seed=0, shape=(4, 3)):
    return mr.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def by_definition(gradient, edges):
    """The counts, one element after the other."""
    counts = [0] * (len(edges) + 3)
    for g in np.asarray(gradient, np.float64).ravel().tolist():
        if not np.isfinite(g):
            counts[-1] += 1
        elif g == 0:
            counts[0] += 1
        else:
            counts[1 + sum(abs(g) >= edge for edge in edges)] += 1
    return counts


def images(seed=0, shape=(2, 1, 8, 8)):
    return vectors(seed, shape)


def record_of(net, *inputs, histograms=True):
    with mr.record_gradients(net, histograms=histograms) as record:
        for x in inputs:
            y = net(x)
            ops.cross_entropy(y, np.arange(len(y)) % 2).backward()
    return record


# ---- the counts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("edges", [HALF_DECADES, np.array([1e-3, 1.0]), np.array([1e-44, 0.1, 0.5, 1e38])],
                         ids=["half decades", "two", "wide"])
def test_each_element_is_counted_once_and_in_its_place(edges, dtype):
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-45, 38, 300) * rng.choice([-1, 1], 300)
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-3, 1.0, 0.1, 0.5, -0.5, 1e4, 1e-16]
    gradient = np.array([*sizes, *special, *rng.standard_normal(200)]).astype(dtype).reshape(19, 27)
    counts = count(gradient, edges)
    assert counts.sum() == gradient.size
    assert counts.tolist() == by_definition(gradient, edges)


def test_a_bin_holds_its_lower_edge_and_not_its_upper_one():
    assert count(np.array([0.5, 1.0, 1.5, 2.0, 4.0]), np.array([1.0, 2.0])).tolist() == [0, 1, 2, 2, 0]
    below, above = np.nextafter(np.float32(0.1), np.float32(0)), np.float32(0.1)  # above: a little more than 0.1 in float64
    assert count(np.array([below, above]), np.array([0.1, 1.0])).tolist() == [0, 1, 1, 0, 0]


def test_a_gradient_without_elements_has_no_counts():
    assert count(np.zeros((0, 3), np.float32), HALF_DECADES).sum() == 0


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 1}])
def test_each_column_has_the_histogram_of_its_gradient_in_each_pass(options):
    net = models.cifar_net(8, width=2, in_channels=1, **options)
    plain = models.cifar_net(8, width=2, in_channels=1)
    outputs = {}
    for name, module in plain.named_modules():
        def keep(module, inputs, output, name=name):
            output.retain_grad()
            outputs.setdefault(name, []).append(output)
        module.forward_hooks.append(keep)
    record = record_of(net, images(0), images(1))
    for seed in range(2):
        ops.cross_entropy(plain(images(seed)), [0, 1]).backward()
    assert record.histogram_edges is HALF_DECADES
    assert record.output_grad_histogram.shape == (2, len(record.names), len(HALF_DECADES) + 1)
    for i, name in enumerate(record.names):
        for row, output in enumerate(outputs[name]):
            found = [record.output_grad_zeros[row, i], *record.output_grad_histogram[row, i],
                     record.output_grad_not_finite[row, i]]
            assert np.abs(np.subtract(found, by_definition(output.grad, HALF_DECADES))).sum() <= 2, name  # rounded otherwise
            assert sum(found) == output.data.size


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x):
        h = self.a(x)
        return h, ops.tanh(h)[:2]


class Twice(nn.Module):
    """A cell of two outputs, twice; what comes to the second output of the second use is 0."""

    def __init__(self):
        super().__init__()
        self.cell = Cell()

    def forward(self, x):
        h, c = self.cell(x)
        h, d = self.cell(h)
        return (h * 10.0).sum() + c.sum() + (d * 0.0).sum()


def test_uses_and_tensors_of_a_tuple_have_histograms_and_those_of_a_module_are_sums():
    net = Twice()
    with mr.record_gradients(net, histograms=[0.1, 1.0, 5.0]) as record:
        net(vectors()).backward()
    counts = dict(zip(record.names, record.output_grad_counts[0].tolist(), strict=True))
    assert counts["cell@2[0]"] == [0, 0, 0, 0, 12, 0]  # 10, and 0 more
    assert counts["cell@2[1]"] == [6, 0, 0, 0, 0, 0]
    assert counts["cell[1]"] == [0, 0, 0, 6, 0, 0]
    for use in ("", "@2"):
        assert counts[f"cell{use}"] == np.add(counts[f"cell{use}[0]"], counts[f"cell{use}[1]"]).tolist()
    together = record.over_uses()
    assert dict(zip(together.names, together.output_grad_counts[0].tolist(), strict=True))["cell"] == \
        np.add(counts["cell"], counts["cell@2"]).tolist()


class Same(nn.Module):
    """One tensor, twice."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x):
        h = self.a(x)
        return h, h


def test_a_tensor_that_is_returned_twice_is_counted_once():
    net = nn.Sequential(Same())
    with mr.record_gradients(net, histograms=[1.0, 2.0]) as record:
        one, other = net(vectors())
        (one.sum() + other.sum()).backward()
    assert {name: counts.sum() for name, counts in zip(record.names, record.output_grad_counts[0], strict=True)} == \
        dict.fromkeys(["0.a", "0", "0[0]", "0[1]"], 12)


def test_selections_and_stacks_have_them_too():
    net = models.flat_net(3, width=2)
    records = [record_of(net, images(seed)) for seed in range(2)]
    stacked = mr.stack_records(records)
    np.testing.assert_array_equal(stacked.output_grad_counts, np.concatenate([r.output_grad_counts for r in records]))
    fewer = stacked.select("fc", "layer2")
    places = [stacked.names.index(name) for name in fewer.names]
    np.testing.assert_array_equal(fewer.output_grad_histogram, stacked.output_grad_histogram[:, places])
    for other in (record_of(net, images(), histograms=[1.0, 2.0]), record_of(net, images(), histograms=False)):
        with pytest.raises(ArgumentError, match="histograms with different bins, or some have none"):
            mr.stack_records([records[0], other])


def test_a_pass_that_reaches_fewer_modules_has_no_counts_of_the_others():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    with mr.record_gradients(net, histograms=True) as record:
        net[0](vectors()).sum().backward()
        net(vectors()).sum().backward()
    assert record.output_grad_counts.sum(axis=2).tolist() == [[12, 0], [12, 8]]


def test_they_are_recorded_where_they_are_asked_for():
    record = record_of(models.flat_net(3, width=2), images(), histograms=False)
    assert not record.has_histograms
    for read in ("histogram_edges", "output_grad_histogram", "output_grad_zeros", "output_grad_not_finite"):
        with pytest.raises(ArgumentError, match=r"no histograms were recorded: make the record with .*histograms=True\)"):
            getattr(record, read)
    with pytest.raises(ArgumentError, match=r"plot: the record has no histograms: make it with .*histograms=True\)"):
        mr.plot.gradient_histograms(record)


@pytest.mark.parametrize("edges", ["yes", None, 1.5, [1.0], [], [2.0, 1.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 1.0],
                                   [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]], ["a", "b"], object()])
def test_what_are_no_edges_is_refused(edges):
    with pytest.raises(ArgumentError, match=r"record_gradients: histograms is .*, expected"):
        mr.record_gradients(nn.ReLU(), histograms=edges)


@pytest.mark.slow
def test_the_memory_of_a_pass_is_that_of_its_counts():
    net = nn.Sequential(*[nn.Tanh() for _ in range(40)])
    x = mr.Tensor(np.ones((2, 3)), requires_grad=True)
    with mr.record_gradients(net, histograms=True) as record:
        def run():
            net(x).sum().backward()
            assert record.output_grad_norm.size  # so that the norms are in their table
        for _ in range(4):
            run()
        gc.collect()
        tracemalloc.start()
        for _ in range(10):
            run()
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    expected = 10 * len(record.names) * (len(HALF_DECADES) + 3) * 8
    assert expected < kept < 2 * expected


# ---- the figure


def record_with(counts, edges):
    """A record of one pass with these counts, one list for each column."""
    names = [f"layer{i}" for i in range(len(counts))]
    record = mr.GradientRecord.from_arrays(names, {"output_grad_norm": [1.0] * len(names)})
    record.passes.histograms = Histograms(np.array(edges))
    record.passes.histograms.add([(name, np.array(row)) for name, row in zip(record.names, counts, strict=True)])
    return record


def ticks_of(ax):
    ax.figure.canvas.draw()
    return [label.get_text() for label in ax.get_yticklabels()]


def test_a_map_shows_the_share_of_each_bin_and_rows_apart_for_zeros_and_what_is_not_finite():
    ax = mr.plot.gradient_histograms(record_with([[2, 0, 3, 5, 0, 0], [0, 0, 0, 1, 0, 3]], [1e-2, 1e-1, 1.0]))
    np.testing.assert_allclose(np.ma.filled(ax.images[0].get_array(), -1), [[0.3, -1], [0.5, 0.25]])
    zeros, not_finite = [[(bar.get_x() + 0.5, bar.get_height()) for bar in bars] for bars in ax.containers]
    assert zeros == [(0, pytest.approx(0.2))]
    assert not_finite == [(1, pytest.approx(0.75))]
    assert ticks_of(ax) == ["exactly 0", "0.01", "0.1", "1", "not finite"]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["share of exact zeros", "share of what is not finite"]
    assert ax.images[0].colorbar.ax.get_ylabel() == "share of a layer's elements"


def test_a_map_without_rows_apart_ends_where_its_bins_do():
    ax = mr.plot.gradient_histograms(record_with([[0, 0, 3, 5, 0, 0]], [1e-2, 1e-1, 1.0]))
    left, right, bottom, top = ax.images[0].get_extent()
    assert (*ax.get_xlim(), *ax.get_ylim()) == (left, right, bottom, top)


def test_what_lies_below_or_above_all_edges_has_rows_that_say_so():
    ax = mr.plot.gradient_histograms(record_with([[0, 7, 1, 0, 2, 0]], [1e-2, 1e-1, 1.0]))
    assert ticks_of(ax) == ["< 0.01", "0.1", "≥ 1"]
    np.testing.assert_allclose(np.ma.filled(ax.images[0].get_array(), 0)[:, 0], [0.7, 0.1, 0, 0.2])
    assert ax.get_legend() is None


@pytest.mark.parametrize("row", [[4, 0, 0, 0, 0], [0, 0, 0, 0, 4], [0, 0, 0, 0, 0]])
def test_a_record_without_a_size_can_be_drawn(row):
    ax = mr.plot.gradient_histograms(record_with([row], [1.0, 2.0]))
    ax.figure.canvas.draw()
    assert np.ma.getmaskarray(ax.images[0].get_array()).all()


def test_one_element_of_one_layer_of_many_is_seen():
    counts = np.zeros((1500, 5), int)
    counts[:, 2] = 10**6
    counts[700, -1], counts[900, 0] = 1, 1
    figure, ax = pyplot.subplots(figsize=(4, 3), dpi=100)
    mr.plot.gradient_histograms(record_with(counts.tolist(), [1.0, 2.0]), ax=ax)
    ax.get_legend().remove()
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    box = ax.get_window_extent()
    inside = pixels[300 - int(box.y1):300 - int(box.y0), int(box.x0):int(box.x1)]
    assert (np.abs(inside - [255, 0, 0]).max(axis=-1) < 130).any()


def test_a_pass_is_drawn_alone_or_all_together_and_layers_are_those_of_the_norms():
    net = models.cifar_net(8, width=2, in_channels=1)
    record = record_of(net, images(0), images(1))
    stream = record.stream()
    ax = mr.plot.gradient_histograms(record)
    assert ax.images[0].get_array().shape[1] == len(stream.names)
    for number in (0, 1, -1):
        shares = mr.plot.gradient_histograms(record, pass_number=number).images[0].get_array()
        zeros, total = stream.output_grad_zeros[number], stream.output_grad_counts[number].sum(axis=1)
        np.testing.assert_allclose(np.ma.filled(shares, 0).sum(axis=0), 1 - zeros / total)
    for number in (2, -3, 0.5, "0"):
        with pytest.raises(ArgumentError, match="plot: pass_number is"):
            mr.plot.gradient_histograms(record, pass_number=number)
    with pytest.raises(mr.DTypeError, match="got a list, expected a record"):
        mr.plot.gradient_histograms([record])
    with pytest.raises(ArgumentError, match="a record is empty"):
        mr.plot.gradient_histograms(mr.GradientRecord())
