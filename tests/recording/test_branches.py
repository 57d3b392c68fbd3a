"""Branches: what the graph of a net makes of its columns, how deep they are, and which lines join them."""
import itertools

import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from minires import models, nn, ops
from minires.recording import plot
from minires.recording.branches import Graph, lines
from minires.recording.neighbours import lines_through

SEEDS = [*range(3), *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 60)]]  # of random graphs


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def vectors(seed=0, shape=(2, 3)):
    return mr.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def both(y):
    return y[0].sum() + y[1].sum() if isinstance(y, tuple) else y.sum()


def record_of(net, *inputs, passes=1, **options):
    """The record of a net whose outputs, one or two, are all in the loss."""
    with mr.record_gradients(net, **options) as record:
        for _ in range(passes):
            both(net(*(inputs or [vectors()]))).backward()
    return record


def depths(record):
    return {column.name: column.depth for column in record.columns}


def named_lines(record):
    return [[record.names[i] for i in line] for line in lines_through(record.columns)]


class WithHead(nn.Module):
    """Six layers, and a head that hangs off the second; it runs there, or at the end."""

    def __init__(self, late=False):
        super().__init__()
        self.body = nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(6)])
        self.head, self.late = nn.Linear(3, 2), late

    def forward(self, x):
        side = None
        for i, layer in enumerate(self.body):
            x = layer(x)
            if i == 1:
                side = x if self.late else self.head(x)
        return x, self.head(side) if self.late else side


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.body(x) - self.body(x * 2.0))


class Recurrent(nn.Module):
    """h = tanh(W x + U h) along a sequence, and a head."""

    def __init__(self):
        super().__init__()
        self.x, self.h, self.act, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)

    def forward(self, steps):
        h = vectors(9)
        for x in steps:
            h = self.act(self.x(x) + self.h(h))
        return self.head(h)


class UNet(nn.Module):
    """Down, across and up again, with a layer on the outer skip and nothing on the inner one."""

    def __init__(self):
        super().__init__()
        for name in ("down1", "down2", "bottom", "up2", "up1", "skip", "out"):
            setattr(self, name, nn.Linear(3, 3))

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(ops.tanh(a))
        y = self.up2(self.bottom(ops.tanh(b)) + b)
        return self.out(self.up1(y + self.skip(a)))


class Towers(nn.Module):
    """Three layers on the one input, one on the other."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Sequential(*[nn.Linear(3, 3) for _ in range(3)]), nn.Linear(3, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.a(x) + self.b(x * 3.0))


class JoinsWithRoom(nn.Module):
    """A layer on an input of its own joins a branch that has room before the trunk, and must not move past it."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(*[nn.Linear(3, 3) for _ in range(5)])
        self.side, self.branch, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        y = self.trunk[0](x)
        z = self.branch(y + self.side(x * 2.0))
        for layer in list(self.trunk)[1:]:
            y = layer(y)
        return self.head(y + z)


class TwoStates(nn.Module):
    """A cell that returns two tensors, the second computed from the first, three times."""

    def __init__(self):
        super().__init__()
        self.cell = self.Cell()

    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, h, c):
            h = self.one(h + c)
            return h, self.two(h)

    def forward(self, x):
        h = c = x
        for _ in range(3):
            h, c = self.cell(h, c)
        return h + c


# ---- depth and lines of nets


@pytest.mark.parametrize("late", [False, True])
def test_a_head_stands_beside_the_layer_that_follows_the_one_it_hangs_off(late):
    record = record_of(WithHead(late)).layers()
    assert depths(record) == {**{f"body.{i}.0": i + 1 for i in range(6)}, "head": 3}
    assert named_lines(record) == [[f"body.{i}.0" for i in range(6)], ["body.1.0", "head"]]
    ax = mr.plot.gradient_norms(record, labels=["net"])
    trunk, branch = ax.lines
    np.testing.assert_array_equal(trunk.get_xdata(), range(1, 7))
    np.testing.assert_array_equal(branch.get_xdata(), [2, 3])
    np.testing.assert_array_equal(branch.get_ydata(), record.select("body.1.0", "head").output_grad_norm[0])
    assert trunk.get_color() == branch.get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["net"]
    assert ax.get_xlabel() == plot.BRANCHED


def test_a_chain_is_one_line_as_before():
    net = nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(4)])
    ax = mr.plot.gradient_norms(record_of(net))
    line, = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    assert ax.get_xlabel() == plot.CHAIN


@pytest.mark.parametrize("options", [{}, {"preactivation": True}, {"residual": False}])
def test_a_net_of_blocks_whose_shortcuts_hold_no_layer_is_one_line(options):
    net = models.cifar_net(14, width=2, in_channels=1, **options)
    record = record_of(net, vectors(shape=(2, 1, 8, 8)))
    for fewer in (record.stream(), record.layers()):
        assert len(named_lines(fewer)) == 1
        assert named_lines(fewer)[0] == fewer.names
    assert depths(record.layers()) == {name: i for i, name in enumerate(record.layers().names, 1)}


def test_a_layer_on_a_shortcut_is_a_line_beside_the_branch():
    net = models.cifar_net(8, width=2, in_channels=1, shortcut="B")
    record = record_of(net, vectors(shape=(2, 1, 8, 8))).layers()
    assert named_lines(record) == [
        ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv1", "layer3.0.conv2",
         "fc"],
        ["layer1.0.conv2", "layer2.0.downsample.0", "layer3.0.conv1"], ["layer2.0.conv2", "layer3.0.downsample.0", "fc"]]
    assert [depths(record)[name] for name in ("layer2.0.conv1", "layer2.0.downsample.0", "layer3.0.conv1")] == [4, 4, 6]


def test_the_calls_of_a_siamese_net_are_two_lines_that_meet():
    record = record_of(Siamese()).layers()
    assert depths(record) == {"body.0": 1, "body.2": 2, "body.0@2": 1, "body.2@2": 2, "head": 3}
    assert named_lines(record) == [["body.0", "body.2", "head"], ["body.0@2", "body.2@2", "head"]]


def test_the_steps_of_a_recurrent_net_stand_where_they_join():
    record = record_of(Recurrent(), [vectors(i) for i in range(4)])
    assert depths(record) == {"x": 1, "h": 1, "act": 1, "x@2": 2, "h@2": 2, "act@2": 2, "x@3": 3, "h@3": 3, "act@3": 3,
                              "x@4": 4, "h@4": 4, "act@4": 4, "head": 5}
    assert named_lines(record.select("h", "head")) == [["h", "h@2", "h@3", "h@4", "head"]]
    assert named_lines(record.select("x")) == [["x"], ["x@2"], ["x@3"], ["x@4"]]
    assert named_lines(record.over_uses()) == [["x", "act", "head"], ["h", "act"]]


def test_a_u_net_is_a_line_and_a_layer_on_a_skip_one_more():
    record = record_of(UNet())
    assert depths(record) == {"down1": 1, "down2": 2, "bottom": 3, "up2": 4, "skip": 2, "up1": 5, "out": 6}
    assert named_lines(record) == [["down1", "down2", "bottom", "up2", "up1", "out"], ["down1", "skip", "up1"]]


def test_a_short_tower_is_moved_to_where_it_joins_the_long_one():
    record = record_of(Towers())
    assert {name: depths(record)[name] for name in ("a.0", "a.2", "b", "head")} == {"a.0": 1, "a.2": 3, "b": 3, "head": 4}


def test_a_layer_on_an_input_of_its_own_is_moved_to_where_it_joins_and_no_further():
    found = depths(record_of(JoinsWithRoom()))
    assert [found[name] for name in ("trunk.0", "side", "branch", "trunk.4", "head")] == [1, 1, 2, 5, 6]


def test_tensors_of_a_tuple_are_lines_beside_that_of_the_module():
    record = record_of(TwoStates())
    assert named_lines(record.select("cell", "cell[0]", "cell[1]")) == [
        [f"cell{use}{part}" for use in ("", "@2", "@3")] for part in ("", "[0]", "[1]")]
    assert depths(record.layers()) == {"cell.one": 1, "cell.two": 2, "cell.one@2": 3, "cell.two@2": 4, "cell.one@3": 5,
                                       "cell.two@3": 6}
    assert named_lines(record.layers()) == [record.layers().names]
    after = {column.name: column.after for column in record.columns}
    assert (after["cell.two"], after["cell"], after["cell.one@2"]) == (("cell.one",), ("cell.two",), ("cell",))


@pytest.mark.parametrize("every", [1, 3])
def test_a_checkpointed_net_has_the_graph_of_one_that_is_not(every):
    def record(checkpoint_every):
        return record_of(models.cifar_net(8, width=2, in_channels=1, checkpoint_every=checkpoint_every),
                         vectors(shape=(2, 1, 8, 8)))

    assert {c.name: (c.depth, c.after) for c in record(every).columns} == \
        {c.name: (c.depth, c.after) for c in record(None).columns}


def test_heads_on_a_frozen_net_are_as_deep_as_what_they_stand_on():
    net = nn.Sequential(*[nn.Linear(3, 3) for _ in range(3)])
    heads = nn.Sequential(net, nn.Linear(3, 3), nn.Linear(3, 3))
    for parameter in net.parameters():
        parameter.requires_grad = False
    with mr.record_gradients(heads) as record:
        y = net(vectors())
        (heads[1](y).sum() + heads[2](y).sum()).backward()
    assert depths(record) == {"1": 4, "2": 4}
    assert named_lines(record) == [["1"], ["2"]]


# ---- passes


def test_the_graph_is_looked_at_where_something_new_ran_and_no_more(monkeypatch):
    net, seen = Recurrent(), []
    see = mr.recording.pass_graph.PassGraph.see
    monkeypatch.setattr(mr.recording.pass_graph.PassGraph, "see",
                        lambda self, op, uses: seen.append(op) or see(self, op, uses))
    with mr.record_gradients(net) as record:
        for length, is_new in ((2, True), (2, False), (1, False), (3, True), (3, False), (2, False)):
            seen.clear()
            net([vectors(i) for i in range(length)]).sum().backward()
            assert bool(seen) == is_new, length
    assert depths(record)["head"] == 4
    assert named_lines(record.select("h", "head")) == [["h", "h@2", "h@3", "head"]]


def test_a_net_that_changes_between_passes_is_joined_as_it_was_first():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with mr.record_gradients(net) as record:
        net[1](net[0](vectors())).sum().backward()
        net[0](net[1](vectors())).sum().backward()
    assert named_lines(record) == [["0", "1"]]
    assert depths(record) == {"0": 1, "1": 2}


class Either(nn.Module):
    """One of two layers behind another one, with ops that are no modules in between."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x, first):
        return (self.b if first else self.c)(ops.tanh(self.a(x)))


def test_two_passes_that_take_turns_have_each_its_own_graph():
    net = Either()
    with mr.record_gradients(net) as record:
        steps = [mr.backward_steps(net(vectors(i), first=i == 0).sum()) for i in range(2)]
        for one in steps:
            next(one)
        for one in steps:  # the second has most of its steps ahead when the first ends
            assert len(list(one)) == 3
    assert {c.name: (c.depth, c.after) for c in record.columns} == {"a": (1, ()), "b": (2, ("a",)), "c": (2, ("a",))}


# ---- files, and records without a graph


@pytest.mark.parametrize("make", [WithHead, Siamese, UNet, TwoStates])
def test_a_file_carries_what_branches_need(make, tmp_path):
    record = record_of(make(), passes=2)
    for part in (record, record.layers(), record.select(record.names[-1], record.names[0])):
        part.to_csv(tmp_path / "record.csv")
        found = mr.GradientRecord.from_csv(tmp_path / "record.csv")
        assert [(c.name, c.depth, c.after) for c in found.columns] == [(c.name, c.depth, c.after) for c in part.columns]
        drawn, expected = mr.plot.gradient_norms(found).lines, mr.plot.gradient_norms(part).lines
        assert [line.get_xydata().tolist() for line in drawn] == [line.get_xydata().tolist() for line in expected]


def test_a_record_without_a_graph_is_one_line_in_its_order():
    record = mr.GradientRecord.from_arrays(list("abc"), {"output_grad_norm": [3, 2, 1]})
    assert [column.after for column in record.columns] == [None] * 3
    assert named_lines(record) == [["a", "b", "c"]]
    assert named_lines(record.select("c", "a")) == [["a", "c"]]


# ---- the graph


def reached(nodes, before):
    """{node: all from which it was computed}, by the definition."""
    found = {}
    for node in nodes:
        found[node] = set().union(*[{x} | found[x] for x in before[node]])
    return found


def random_graph(seed, size=12):
    rng = np.random.default_rng(seed)
    return {i: [j for j in range(i) if rng.random() < 0.3] for i in range(size)}, \
        {i for i in range(size) if rng.random() < 0.6}


@pytest.mark.parametrize("seed", SEEDS)
def test_neighbours_are_the_transitive_reduction_among_those_kept(seed):
    before, kept = random_graph(seed)
    near = Graph(list(before), before).nearest_before(kept)
    all_before = reached(before, before)
    assert list(near) == sorted(kept)
    for node in kept:
        ancestors = all_before[node] & kept
        assert set(near[node]) == {x for x in ancestors if not any(x in all_before[y] for y in ancestors)}


@pytest.mark.parametrize("seed", SEEDS)
def test_depth_is_the_longest_path_and_no_node_passes_what_follows_it(seed):
    before, layers = random_graph(seed)
    one = {i: int(i in layers) for i in before}
    found = Graph(list(before), before).depths(one, one, {})
    longest = {}
    for i, others in before.items():
        longest[i] = max([longest[j] for j in others], default=0) + one[i]
        assert all(found[j] + one[i] <= found[i] for j in others)
        assert found[i] >= longest[i]
    assert max(found.values()) == max(longest.values())
    anchored = {i for i in before if found[i] == longest[i]}
    for i in set(before) - anchored:  # it was moved: so was all before it, as far as each could be
        assert not anchored & set(before[i])


@pytest.mark.parametrize("seed", SEEDS)
def test_lines_go_through_all_nodes_and_join_each_to_one_before_and_one_behind(seed):
    before, _ = random_graph(seed)
    near = Graph(list(before), before).nearest_before(before)
    drawn = lines([near[i] for i in before])
    edges = [edge for line in drawn for edge in itertools.pairwise(line)]
    assert len(set(edges)) == len(edges)
    assert set(edges) <= {(j, i) for i in before for j in near[i]}
    assert {i for line in drawn for i in line} == set(before)
    assert {i for _, i in edges} == {i for i in before if near[i]}
    assert {j for j, _ in edges} == {j for i in before for j in near[i]}


@pytest.mark.parametrize(("before", "expected"), [
    ([], []), ([[]], [[0]]), ([[], []], [[0], [1]]), ([[], [0], [1]], [[0, 1, 2]]),
    ([[], [0], [0], [1, 2]], [[0, 1, 3], [0, 2, 3]]),
    ([[], [0], [0], [2]], [[0, 2, 3], [0, 1]]),  # the trunk is the way that goes on
    ([[], [0], [0], [1, 2], [1, 2], [3, 4]], [[0, 1, 3, 5], [0, 2, 3], [1, 4, 5]]),  # 2 - 4 is left out
])
def test_a_line_goes_on_where_most_follows(before, expected):
    assert lines(before) == expected


def test_a_circle_loses_an_edge():
    graph = Graph("abc", {"a": ["c"], "b": ["a"], "c": ["b"]})
    assert sum(len(others) for others in graph.before.values()) == 2
    assert sorted(graph.order) == ["a", "b", "c"]


@pytest.mark.slow
def test_a_record_of_many_columns_is_joined_in_a_moment():
    size = 20_000
    before = {i: [i - 1, max(0, i - 7)] if i else [] for i in range(size)}
    graph = Graph(list(before), before)
    near = graph.nearest_before(range(0, size, 2))
    assert all(len(others) <= 1 for others in near.values())
    assert len(lines([near.get(i, []) for i in before])) <= size
