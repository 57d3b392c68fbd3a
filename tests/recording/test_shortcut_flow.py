"""The flow through a shortcut: both terms against a graph that is cut by hand, the names, and equation (5) of He 2016."""
import csv
import gc
import math
import weakref

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from minires.models.block import BasicBlock, Bottleneck, PreactivationBasicBlock, PreactivationBottleneck
from minires.recording.numbers import FLOW_QUANTITIES
from minires.recording.shortcut_flow import ShortcutFlow

QUANTITIES = FLOW_QUANTITIES


def images(channels=1, seed=0, size=8):
    return mr.Tensor(np.random.default_rng(seed).standard_normal((3, channels, size, size)))


def loss_of(net, x):
    return ops.cross_entropy(net(x), np.arange(len(x)) % 3)


def net_of(block, **options):
    """A stem, three blocks of which one changes the shape, and a head, in float64, with random batch norms."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), block(4, 4 // block.expansion, **options),
                        block(4, 8 // block.expansion, 2, **options), block(8, 8 // block.expansion, **options),
                        nn.GlobalAvgPool2d(), nn.Linear(8, 3)).astype(np.float64)
    for name, parameter in net.named_parameters():
        generator = np.random.default_rng(sum(name.encode()))
        parameter.data[...] = 0.4 * generator.standard_normal(parameter.shape) + (parameter.ndim == 1)
    return net


def flow_of(net, x, passes=1):
    """The record of the flow, {quantity: {module: value of the last pass}}, where something was recorded."""
    with mr.record_gradients(net, shortcut_flow=True) as record:
        for _ in range(passes):
            loss_of(net, x).backward()
    return {quantity: {name: value for name, value, missing in zip(record.names, record.values(quantity)[-1],
                                                                   record.missing(quantity)[-1], strict=True) if not missing}
            for quantity in QUANTITIES}


def gradient_at_the_input(net, block, x, keep, monkeypatch):
    """dL/d(input of the block) where the graph of this block is cut by detach(), so that one way carries a gradient."""
    inputs = []

    def add_with_a_cut(y, shortcut_input):
        shortcut = shortcut_input if block.downsample is None else block.downsample(shortcut_input)
        return ops.shortcut_add(y if keep == "branch" else y.detach(), shortcut if keep == "shortcut" else shortcut.detach())

    def keep_input(module, arguments, output):
        arguments[0].retain_grad()
        inputs.append(arguments[0])

    with monkeypatch.context() as patch:
        patch.setattr(block, "add_shortcut", add_with_a_cut)
        block.forward_hooks.append(keep_input)
        loss_of(net, x).backward()
        block.forward_hooks.remove(keep_input)
    return inputs[0].grad


def by_hand(shortcut, branch):
    """The four quantities of two terms."""
    norms = [np.linalg.norm(shortcut), np.linalg.norm(branch)]
    return [*norms, np.linalg.norm(shortcut + branch), np.vdot(shortcut, branch) / math.prod(norms)]


NETS = [pytest.param(lambda block=block, option=option: net_of(block, shortcut=option), id=f"{block.__name__} {option}")
        for block in (BasicBlock, Bottleneck, PreactivationBasicBlock, PreactivationBottleneck) for option in "ABC"]


# ---- the terms


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize("make", NETS)
def test_both_terms_are_those_of_a_graph_that_was_cut_by_hand(make, form, monkeypatch):
    if form == "plain":
        monkeypatch.setattr(mr.engine.state.state, "reference", True)
    net, x = make(), images(size=4 if form == "plain" else 8)
    flow = flow_of(net, x)
    assert list(flow["flow_together"]) == ["1", "2", "3"]
    for name in ("1", "2", "3"):
        terms = [gradient_at_the_input(net, net[int(name)], x, keep, monkeypatch) for keep in ("shortcut", "branch")]
        found = [flow[quantity][name] for quantity in QUANTITIES]
        np.testing.assert_allclose(found, by_hand(*terms), rtol=1e-11, atol=1e-13)


def test_the_two_terms_together_are_the_gradient_of_the_stream():
    net, x = net_of(PreactivationBasicBlock, shortcut="B"), images()
    with mr.record_gradients(net, shortcut_flow=True) as record:
        loss_of(net, x).backward()
    stream = dict(zip(record.names, record.output_grad_norm[0], strict=True))
    together = dict(zip(record.names, record.flow_together[0], strict=True))
    for before, block in (("0", "1"), ("1", "2"), ("2", "3")):
        np.testing.assert_allclose(together[block], stream[before], rtol=1e-12)


def test_a_branch_that_ends_in_zeros_carries_no_gradient():
    net = net_of(BasicBlock)
    net[3].bn2.weight.data[...] = 0
    flow = flow_of(net, images())
    assert flow["flow_through_branch"]["3"] == 0
    assert flow["flow_through_shortcut"]["3"] == flow["flow_together"]["3"] > 0
    assert math.isnan(flow["flow_cosine"]["3"])
    assert not math.isnan(flow["flow_cosine"]["1"])


def test_terms_that_point_the_same_way_or_oppose_each_other_have_a_cosine_of_one_or_minus_one():
    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return ops.shortcut_add(self.factor * x, x)

    for factor in (3, -0.5):
        x = mr.Tensor(np.array([3.0, 4.0]), requires_grad=True)
        net = nn.Sequential(Scaled(factor))
        with mr.record_gradients(net, shortcut_flow=True) as record:
            net(x).backward(np.array([3.0, 4.0]))
        np.testing.assert_allclose([record.values(quantity)[0, 0] for quantity in QUANTITIES],
                                   [5, 5 * abs(factor), 5 * (1 + factor), np.sign(factor)], rtol=1e-15)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_tiny_and_huge_terms_are_not_rounded_away(size):
    class Doubled(nn.Module):
        def forward(self, x):
            return ops.shortcut_add(2 * x, x)

    net = nn.Sequential(Doubled())
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(mr.Tensor(np.ones(2), requires_grad=True)).backward(size * np.array([3.0, 4.0]))
    np.testing.assert_allclose([record.values(quantity)[0, 0] for quantity in QUANTITIES],
                               [5 * size, 10 * size, 15 * size, 1], rtol=1e-14)


# ---- He et al. 2016, equation (5): dL/dx_l = dL/dx_L + the sum of the branches' terms from l to L


class Terms(ShortcutFlow):
    """Keeps the two terms of each add, where the recorder keeps their norms."""

    def __init__(self):
        super().__init__()
        self.terms = {}

    def measure(self, name, through_shortcut, through_branch):
        self.terms[name] = through_shortcut, through_branch


def test_the_gradient_at_the_first_block_is_that_of_the_last_plus_what_each_branch_adds():
    net = models.cifar_net(50, width=4, in_channels=1, preactivation=True, seed=3).astype(np.float64)
    blocks = list(net.layer1.children())
    stream = []  # the inputs of the blocks of the first stage, and its output
    for block in blocks:
        block.forward_hooks.append(lambda module, inputs, output: (inputs[0].retain_grad(), stream.append(inputs[0])))
    net.layer1.forward_hooks.append(lambda module, inputs, output: (output.retain_grad(), stream.append(output)))
    flow = Terms()
    for name, module in net.named_modules():
        module.forward_hooks.append(lambda *arguments, name=name: flow.after_module(arguments[0], name, *arguments[1:]))
    with flow:
        loss_of(net, images()).backward()
    additive = stream[-1].grad.copy()
    for i in reversed(range(len(blocks))):
        shortcut, branch = flow.terms[f"layer1.{i}"]
        np.testing.assert_array_equal(shortcut, stream[i + 1].grad)  # the shortcut hands on what it got, untouched
        additive = additive + branch
        np.testing.assert_allclose(additive, stream[i].grad, rtol=0, atol=1e-12 * np.abs(additive).max())
        assert np.linalg.norm(branch) > 0.01 * np.linalg.norm(shortcut)
    assert len(blocks) == 8


def test_the_recorded_norms_and_angles_unroll_to_the_norm_at_the_first_block():
    net = models.cifar_net(50, width=4, in_channels=1, preactivation=True, seed=3).astype(np.float64)
    with mr.record_gradients(net, shortcut_flow=True) as record:
        loss_of(net, images()).backward()
    stage = record.select(*[name for name in record.names if name.startswith("layer1.") and name.count(".") == 1])
    shortcut, branch, together, cosine = [stage.values(quantity)[0] for quantity in QUANTITIES]
    np.testing.assert_allclose(shortcut[:-1], together[1:], rtol=1e-12)
    squared = shortcut[-1] ** 2 + (branch ** 2 + 2 * shortcut * branch * cosine).sum()
    np.testing.assert_allclose(together[0], np.sqrt(squared), rtol=1e-12)


# ---- names, and nets of one's own


class TwoAdds(nn.Module):
    """Adds twice in one forward."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)

    def forward(self, x):
        x = ops.shortcut_add(self.first(x), x)
        return ops.shortcut_add(self.second(x.exp()), x)


class Own(nn.Module):
    """A net that adds in its own forward, and holds a module that adds twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.branch = nn.Linear(4, 4)
        self.body = TwoAdds()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        x = ops.shortcut_add(self.branch(x), x)
        return self.head(self.body(x))


def own_net():
    return nn.init.initialize_(Own(), nn.init.he_normal_, 0).astype(np.float64)


def vectors(requires_grad=False):
    return mr.Tensor(np.random.default_rng(5).standard_normal((3, 4)), requires_grad=requires_grad)


def test_several_adds_of_a_module_and_those_of_the_net_itself_are_numbered_in_forward_order():
    net = own_net()
    with mr.record_gradients(net, shortcut_flow=True) as record:
        loss_of(net, vectors()).backward()
    assert record.names == ["stem", "branch", "shortcut_add1", "body.first", "body.shortcut_add1", "body.second",
                            "body.shortcut_add2", "body", "head"]
    assert [name for name, missing in zip(record.names, record.missing("flow_cosine")[0], strict=True) if not missing] == [
        "shortcut_add1", "body.shortcut_add1", "body.shortcut_add2"]
    assert [column.depth for column in record.columns] == [1, 2, 2, 3, 3, 4, 4, 4, 5]
    assert record.select(ops.shortcut.ShortcutAdd).types == ["ShortcutAdd"] * 3


def test_numbered_adds_are_measured_where_their_ways_part():
    net = own_net()
    flow = flow_of(net, vectors())
    x = mr.Tensor(net.stem(vectors()).data, requires_grad=True)
    loss_of(lambda x: net.head(net.body(ops.shortcut_add(net.branch(x).detach(), x))), x).backward()
    shortcut = x.grad
    x.grad = None
    loss_of(lambda x: net.head(net.body(ops.shortcut_add(net.branch(x), x.detach()))), x).backward()
    np.testing.assert_allclose([flow[quantity]["shortcut_add1"] for quantity in QUANTITIES], by_hand(shortcut, x.grad),
                               rtol=1e-12)


def test_a_part_of_a_larger_net_has_the_names_of_the_part():
    outer = nn.Sequential(own_net(), nn.Linear(3, 3).astype(np.float64))
    with mr.record_gradients(outer[0], shortcut_flow=True) as record:
        loss_of(outer, vectors()).backward()
    assert "shortcut_add1" in record.names
    assert not record.missing("flow_cosine")[0, record.names.index("shortcut_add1")]


def test_shortcuts_around_shortcuts_have_terms_of_their_own():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4), Inner())

        def forward(self, x):
            return ops.shortcut_add(self.inner[1](x), x)

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return ops.shortcut_add(self.layer(x), x)

    net = nn.init.initialize_(nn.Sequential(nn.Linear(4, 4), Outer()), nn.init.he_normal_, 0).astype(np.float64)
    dy = np.random.default_rng(0).standard_normal((3, 4))
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(vectors()).backward(dy)
    weight = net[1].inner[1].layer.weight.data
    found = [[record.values(quantity)[0, record.names.index(name)] for quantity in QUANTITIES]
             for name in ("1", "1.inner.1")]
    np.testing.assert_allclose(found, [by_hand(dy, dy + dy @ weight), by_hand(dy, dy @ weight)], rtol=1e-12)


def test_a_branch_that_uses_its_input_twice_brings_both_contributions():
    class Twice(nn.Module):
        def forward(self, x):
            return ops.shortcut_add(x * x, x)

    net = nn.Sequential(Twice())
    x, dy = vectors(requires_grad=True), np.random.default_rng(0).standard_normal((3, 4))
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(x).backward(dy)
    np.testing.assert_allclose([record.values(quantity)[0, 0] for quantity in QUANTITIES],
                               by_hand(dy, 2 * x.data * dy), rtol=1e-12)


def test_a_weight_of_both_ways_is_not_what_they_started_from():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return ops.shortcut_add(self.layer(x), self.layer(x * x))

    net = nn.init.initialize_(nn.Sequential(nn.Linear(4, 4), Tied()), nn.init.he_normal_, 0).astype(np.float64)
    dy = np.random.default_rng(0).standard_normal((3, 4))
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(vectors()).backward(dy)
    dx = dy @ net[1].layer.weight.data
    x = net[0](vectors()).data
    found = [record.values(quantity)[0, record.names.index("1")] for quantity in QUANTITIES]
    np.testing.assert_allclose(found, by_hand(2 * x * dx, dx), rtol=1e-12)


def test_a_block_that_runs_twice_has_the_terms_of_each_run():
    block = nn.init.initialize_(TwoAdds(), nn.init.he_normal_, 0).first

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = block

        def forward(self, x):
            return ops.shortcut_add(self.layer(x), x)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(self.block(x))

    net = Recurrent().astype(np.float64)
    dy = np.random.default_rng(0).standard_normal((3, 4))
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(vectors(requires_grad=True)).backward(dy)
    weight = block.weight.data
    second = dy + dy @ weight
    shortcut, branch = np.stack([second, dy]), np.stack([second @ weight, dy @ weight])
    found = [record.select("block").values(quantity)[0] for quantity in QUANTITIES]
    np.testing.assert_allclose(np.transpose(found), [by_hand(*terms) for terms in zip(shortcut, branch, strict=True)],
                               rtol=1e-12)
    together = record.over_uses().select("block")
    np.testing.assert_allclose([together.values(quantity)[0, 0] for quantity in QUANTITIES], by_hand(shortcut, branch),
                               rtol=1e-12)


# ---- where it has no meaning


def test_a_plain_net_has_no_flow():
    net = models.cifar_net(8, residual=False, width=2, in_channels=1).astype(np.float64)
    with mr.record_gradients(net, shortcut_flow=True) as record:
        loss_of(net, images()).backward()
    assert len(record) == 1
    for quantity in QUANTITIES:
        assert np.isnan(record.values(quantity)).all()
        assert record.missing(quantity).all()


def test_without_the_option_nothing_is_recorded_of_it():
    net = net_of(BasicBlock)
    with mr.record_gradients(net) as record:
        loss_of(net, images()).backward()
    assert np.isnan(record.flow_together).all()
    assert not record.has_flow


class ActivatedFirst(nn.Module):
    """y + Linear(y) of y = max(x, 0): the ways part behind an op of the module, which has no op before it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3, generator=np.random.default_rng(0))

    def forward(self, x):
        y = ops.relu(x)
        return ops.shortcut_add(self.linear(y), y)


def test_both_terms_reach_an_input_that_is_a_leaf_through_the_ops_before_the_ways_part():
    x = mr.Tensor(np.array([[1.0, -2.0, 3.0]]), requires_grad=True)
    net = nn.Sequential(ActivatedFirst()).astype(np.float64)
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(x).sum().backward()
    assert record.select("0").values("flow_together")[0, 0] == pytest.approx(np.linalg.norm(x.grad))
    assert record.select("0").values("flow_through_shortcut")[0, 0] == pytest.approx(math.sqrt(2))  # of two positive ones


def test_where_the_blocks_input_wants_no_gradient_there_is_no_flow():
    net = nn.Sequential(BasicBlock(1, 1), BasicBlock(1, 1), nn.Flatten(), nn.Linear(64, 3)).astype(np.float64)
    assert list(flow_of(net, images())["flow_together"]) == ["1"]
    x = images()
    x.requires_grad = True
    assert list(flow_of(net, x)["flow_together"]) == ["0", "1"]


def test_ways_that_start_from_two_leaves_have_no_place_where_they_part():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = mr.Tensor(np.full(4, 2.0), requires_grad=True)

        def forward(self, x):
            return ops.shortcut_add(x * self.scale, x / self.scale)

    net = nn.Sequential(Product())
    for requires_grad, missing in ((True, True), (False, False)):
        with mr.record_gradients(net, shortcut_flow=True) as record:
            net(vectors(requires_grad)).backward(np.ones((3, 4)))
        assert record.missing("flow_together").tolist() == [[missing]]


# ---- passes, and watching changes nothing


@pytest.mark.parametrize("every", [1, 2])
def test_checkpointed_blocks_have_the_same_flow(every):
    def flow(checkpoint_every):
        return flow_of(models.cifar_net(20, width=2, in_channels=1, shortcut="B", preactivation=True,
                                        checkpoint_every=checkpoint_every).astype(np.float64), images())

    assert flow(every) == flow(None)
    assert len(flow(every)["flow_cosine"]) == 9


def test_a_checkpointed_branch_has_the_same_flow():
    class Checkpointed(nn.Module):
        def __init__(self, checkpointed):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.checkpointed = checkpointed

        def forward(self, x):
            y = nn.checkpoint(self.layer, x) if self.checkpointed else self.layer(x)
            return ops.shortcut_add(y, x)

    flows = [flow_of(nn.init.initialize_(nn.Sequential(nn.Linear(4, 4), Checkpointed(checkpointed), nn.Linear(4, 3)),
                                         nn.init.he_normal_, 0).astype(np.float64), vectors())
             for checkpointed in (True, False)]
    assert flows[0] == flows[1]
    assert list(flows[0]["flow_cosine"]) == ["1"]


def test_recording_changes_no_gradient_by_a_single_bit():
    x = images()
    gradients = []
    for watch in (False, True):
        net = net_of(PreactivationBottleneck, shortcut="C")
        if watch:
            flow_of(net, x)
        else:
            loss_of(net, x).backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
    for alone, watched in zip(*gradients, strict=True):
        np.testing.assert_array_equal(watched, alone)


def test_twins_in_one_block_do_not_disturb_each_other():
    nets, x = [net_of(BasicBlock), net_of(BasicBlock, shortcut="B")], images()
    alone = [flow_of(net, x) for net in nets]
    recorders = [mr.record_gradients(net, shortcut_flow=True) for net in nets]
    with recorders[0] as first, recorders[1] as second:
        losses = [loss_of(net, x) for net in nets]
        for loss in losses:
            loss.backward()
    for record, flow in zip((first, second), alone, strict=True):
        assert len(record) == 1
        blocks = record.select("1", "2", "3")
        for quantity in QUANTITIES:
            np.testing.assert_array_equal(blocks.values(quantity)[0], list(flow[quantity].values()))


def test_an_interrupted_pass_leaves_nothing_in_the_next():
    net, x = net_of(BasicBlock), images()
    with mr.record_gradients(net, shortcut_flow=True) as record:
        for step in mr.backward_steps(loss_of(net, x)):
            if step.op.layer == "2.conv1":
                break
        loss_of(net, x).backward()
    expected = flow_of(net_of(BasicBlock), x, passes=1)
    assert len(record) == 1
    np.testing.assert_array_equal(record.select("1", "2", "3").flow_together[0], list(expected["flow_together"].values()))


def test_an_interrupted_pass_keeps_no_graph_alive_after_the_block():
    recorder = mr.record_gradients(net := net_of(BasicBlock), shortcut_flow=True)
    with recorder:
        steps = mr.backward_steps(loss := loss_of(net, images()))
        next(steps)
        graph = weakref.ref(loss.op)
        del steps, loss
    gc.collect()
    assert graph() is None


def test_after_the_block_no_hook_is_left():
    net = net_of(BasicBlock)
    flow_of(net, images())
    assert mr.engine.state.state.hooks == ()
    assert all(module.forward_hooks == [] for _, module in net.named_modules())


# ---- files and stacks


def test_the_flow_is_in_the_csv_and_in_stacked_records(tmp_path):
    records = []
    for seed in (0, 1):
        net = net_of(BasicBlock)
        with mr.record_gradients(net, shortcut_flow=True) as record:
            loss_of(net, images(seed=seed)).backward()
        records.append(record)
    stacked = mr.stack_records(records)
    assert stacked.flow_cosine.shape == (2, len(stacked.names))
    np.testing.assert_array_equal(stacked.flow_cosine[1], records[1].flow_cosine[0])
    stacked.to_csv(tmp_path / "flow.csv")
    with open(tmp_path / "flow.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "flow_cosine" and row["module"] == "2"]
    column = stacked.names.index("2")
    assert [float(row["value"]) for row in rows] == list(stacked.flow_cosine[:, column])
    assert {row["type"] for row in rows} == {"BasicBlock"}


def test_a_record_without_flow_has_a_csv_without_it(tmp_path):
    net = net_of(BasicBlock)
    with mr.record_gradients(net) as record:
        loss_of(net, images()).backward()
    record.to_csv(tmp_path / "plain.csv")
    assert "flow" not in (tmp_path / "plain.csv").read_text(encoding="utf-8")
