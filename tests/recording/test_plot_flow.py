"""The figure of the flow through the shortcuts: bands, line, marks, words."""
import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from minires import models, ops
from minires.recording.column import Column
from minires.recording.numbers import FLOW_QUANTITIES
from minires.recording.plot import PALE


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def record_of(*passes, without=()):
    """A record of these passes, each a list of (‖shortcut‖, ‖branch‖, ‖sum‖, cosine) for the blocks "a", "b", …

    Behind each block stands a layer without a flow; what is named in `without`, (quantity, block), was not recorded.
    """
    columns = [Column(name, kind, False, i) for i in range(len(passes[0]))
               for name, kind in ((chr(ord("a") + i), models.Block), (f"layer{i}", mr.nn.Conv2d))]
    rows = [{(quantity, chr(ord("a") + i)): value for i, block in enumerate(blocks)
             for quantity, value in zip(FLOW_QUANTITIES, block, strict=True)
             if (quantity, chr(ord("a") + i)) not in without} for blocks in passes]
    return mr.GradientRecord(columns, rows)


def height_of(band, block):
    """(bottom, top) of a band in the middle of a block."""
    corners = band.get_paths()[0].vertices
    heights = [y for x, y in corners if block - 0.51 < x < block + 0.51]
    return min(heights), max(heights)


def words_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def right_axis(ax):
    return ax.figure.axes[-1]


def test_the_bands_are_the_shares_of_the_two_norms_and_the_line_is_the_cosine():
    ax = mr.plot.shortcut_flow(record_of([(3, 1, 3.5, 0.3), (1, 1, 1, -0.5), (0, 2, 2, np.nan)]))
    shortcut, branch = ax.collections
    steps = [(-0.5, 0.75), (0.5, 0.75), (0.5, 0.5), (1.5, 0.5), (1.5, 0.0), (2.5, 0.0)]  # 3/4, 1/2 and 0, a block wide each
    for band, edge in ((shortcut, 0), (branch, 1)):
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
        assert corners == {*steps, (-0.5, edge), (0.5, edge), (1.5, edge), (2.5, edge)}
    np.testing.assert_array_equal(right_axis(ax).lines[-1].get_ydata(), [0.3, -0.5, np.nan])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c"]
    assert (ax.get_ylim(), right_axis(ax).get_ylim()) == ((0, 1), (-1, 1))
    assert words_of(ax) == ["through the shortcut", "through the branch", "cosine between them"]
    assert all([ax.get_xlabel(), ax.get_ylabel(), right_axis(ax).get_ylabel()])


def test_several_passes_are_medians_with_pale_bands():
    ax = mr.plot.shortcut_flow(record_of([(1, 3, 3, 0.1)], [(1, 1, 1, 0.3)], [(4, 1, 4, -0.2)]))
    shortcut, branch, pale = ax.collections
    assert height_of(shortcut, 0) == (0, 0.5)
    np.testing.assert_allclose(height_of(pale, 0), (0.25, 0.8))
    assert right_axis(ax).lines[-1].get_ydata() == [0.1]
    np.testing.assert_allclose(height_of(right_axis(ax).collections[0], 0), (-0.2, 0.3))
    assert PALE in words_of(ax)


def test_zeros_and_what_is_not_finite_are_marked_and_leave_gaps():
    ax = mr.plot.shortcut_flow(record_of([(3, 1, 3, 0.3), (0, 0, 0, np.nan), (np.inf, 1, np.inf, np.nan), (1, 1, 1, 0)]))
    zero, not_finite = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert (list(zero.get_xdata()), list(not_finite.get_xdata())) == ([1], [2])
    drawn = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    assert not ((drawn[:, 0] > 0.6) & (drawn[:, 0] < 2.4)).any()
    assert {"exactly 0", "not finite"} <= set(words_of(ax))
    ax.figure.canvas.draw()


def test_blocks_without_a_flow_are_left_out():
    record = record_of([(3, 1, 3, 0.3), (1, 1, 1, 0)], without={("flow_together", "a")})
    ax = mr.plot.shortcut_flow(record)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["b"]


def test_a_real_net_of_many_blocks_names_some_of_them_and_has_no_markers():
    net = models.cifar_net(248, width=1, in_channels=1)
    with mr.record_gradients(net, shortcut_flow=True) as record:
        ops.cross_entropy(net(mr.Tensor(np.random.default_rng(0).standard_normal((2, 1, 4, 4)))), [0, 1]).backward()
    ax = mr.plot.shortcut_flow(record)
    names = [text.get_text() for text in ax.get_xticklabels()]
    assert (names[0], names[-1]) == ("layer1.0", "layer3.40")
    assert right_axis(ax).lines[-1].get_marker() == "None"
    ax.figure.canvas.draw()


@pytest.mark.parametrize("blocks", [3, 41, 90])
def test_a_block_between_two_without_numbers_is_seen(blocks):
    dead = (0, 0, 0, np.nan)
    ax = mr.plot.shortcut_flow(record_of(*[[(3, 1, 3, angle) if i in (0, blocks // 2 + 1) else dead for i in range(blocks)]
                                           for angle in (0.1, 0.3, 0.2)]))
    right = right_axis(ax)
    marked = {(x, y) for line in right.lines if line.get_marker() == "o"
              for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True) if np.isfinite(y)}
    assert marked == {(0, 0.2), (blocks // 2 + 1, 0.2)}
    bars = next(collection for collection in right.collections if hasattr(collection, "get_segments")).get_segments()
    np.testing.assert_allclose(bars, [[[x, 0.1], [x, 0.3]] for x in (0, blocks // 2 + 1)])
    corners = {tuple(corner) for path in ax.collections[0].get_paths() for corner in path.vertices}
    assert corners == {(x, y) for block in (0, blocks // 2 + 1) for x in (block - 0.5, block + 0.5) for y in (0, 0.75)}


def test_it_draws_in_the_given_axes():
    figure, (other, given) = pyplot.subplots(1, 2)
    pyplot.sca(other)
    assert mr.plot.shortcut_flow(record_of([(3, 1, 3, 0.3)]), ax=given) is given
    assert len(figure.axes) == 3
    assert pyplot.gca() is other
    assert pyplot.get_fignums() == [figure.number]


@pytest.mark.parametrize("make", [
    lambda: mr.GradientRecord(),
    lambda: mr.GradientRecord([Column("a", models.Block, False, 1)], [{("output_grad_norm", "a"): 1.0}]),
], ids=["empty", "without the option"])
def test_a_record_without_a_flow_says_what_to_do(make):
    with pytest.raises(mr.ArgumentError, match=r"shortcut_flow=True.*ops\.shortcut_add"):
        mr.plot.shortcut_flow(make())
