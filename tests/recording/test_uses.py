"""A module that runs several times: a column for each use, whatever the net and the loop around it are."""
import copy
import threading
import warnings

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops, optim
from minires.recording.numbers import FLOW_QUANTITIES, QUANTITIES
from minires.recording.uses import Layout, Use, numbers_of


def vectors(seed=0, shape=(2, 3)):
    return mr.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def norm(tensor):
    return np.linalg.norm(tensor.grad.astype(np.float64))


class Cell(nn.Module):
    """One step of a recurrent net: h = tanh(W x + U h)."""

    def __init__(self):
        super().__init__()
        self.x, self.h, self.act = nn.Linear(3, 3), nn.Linear(3, 3), nn.Tanh()

    def forward(self, x, h):
        return self.act(self.x(x) + self.h(h))


class Recurrent(nn.Module):
    """A cell along a sequence, and a head on its last state."""

    def __init__(self, checkpointed=False):
        super().__init__()
        self.cell, self.head = Cell(), nn.Linear(3, 2)
        self.checkpointed = checkpointed

    def forward(self, steps):
        h = mr.Tensor(np.zeros((2, 3), np.float32))
        for x in steps:
            h = nn.checkpoint(self.cell, x, h) if self.checkpointed else self.cell(x, h)
        return self.head(h)


def sequence(length):
    return [vectors(i) for i in range(length)]


def kept(module):
    """The module's outputs, which keep their gradients, in the order of its runs."""
    outputs = []

    def keep(module, inputs, output):
        output.retain_grad()
        outputs.append(output)

    module.forward_hooks.append(keep)
    return outputs


# ---- what a column is


def test_each_of_sixty_uses_has_the_gradient_of_its_own_output():
    net = nn.Sequential(nn.Linear(3, 3))
    net[0].weight.data[...] = 0.95 * np.eye(3)[[1, 2, 0]]
    outputs = kept(net[0])
    with mr.record_gradients(net) as record:
        x = vectors()
        for _ in range(60):
            x = net(x)
        (x * x).sum().backward()
    assert record.names == ["0", *(f"0@{i}" for i in range(2, 61))]
    np.testing.assert_allclose(record.output_grad_norm, [[norm(output) for output in outputs]], rtol=1e-6)
    assert [column.depth for column in record.columns] == list(range(1, 61))
    assert record.weight_grad_norm[0, 0] == pytest.approx(norm(net[0].weight))
    for quantity in ("weight_grad_norm", "weight_norm"):
        assert record.missing(quantity).tolist() == [[False] + [True] * 59]


@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_steps_of_a_recurrent_net_are_uses_in_the_order_of_time(checkpointed):
    net, plain = Recurrent(checkpointed), Recurrent()
    plain.load_state_dict(net.state_dict())
    outputs = {name: kept(module) for name, module in plain.named_modules() if name}
    plain(sequence(4)).sum().backward()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with mr.record_gradients(net, optimizer) as record:
        net(sequence(4)).sum().backward()
        optimizer.step()
    assert record.names[:4] == ["cell.x", "cell.h", "cell.act", "cell"]
    assert record.names[-5:] == ["cell.x@4", "cell.h@4", "cell.act@4", "cell@4", "head"]
    assert len(record.names) == 4 * 4 + 1
    for name, runs in outputs.items():
        found = record.select(name)
        np.testing.assert_allclose(found.output_grad_norm, [[norm(run) for run in runs]], rtol=1e-5, err_msg=name)
    assert [column.depth for column in record.select("cell").columns] == [1, 2, 3, 4]
    assert record.columns[-1].depth == 5
    assert (~record.missing("update_ratio")).sum() == 3  # x, h and head, once each


def test_sequences_of_different_lengths_have_as_many_columns_as_the_longest():
    net, lengths = Recurrent(), (2, 4, 1, 4)
    with mr.record_gradients(net) as record:
        for length in lengths:
            net(sequence(length)).sum().backward()
    cell = record.select("cell")
    assert cell.names == ["cell", "cell@2", "cell@3", "cell@4"]
    assert cell.missing("output_grad_norm").tolist() == [[i >= length for i in range(4)] for length in lengths]
    np.testing.assert_array_equal(np.isnan(cell.output_grad_norm), cell.missing("output_grad_norm"))
    assert record.names[-1] == "head"
    assert record.names.index("cell.x@3") < record.names.index("cell@3") < record.names.index("cell.x@4")
    assert [column.depth for column in cell.columns] == [1, 2, 3, 4]
    assert record.columns[-1].depth == 5
    assert not record.select("head").missing("weight_norm").any()
    with mr.record_gradients(net) as alone:
        net(sequence(2)).sum().backward()
    np.testing.assert_array_equal(cell.output_grad_norm[0, :2], alone.select("cell").output_grad_norm[0])


@pytest.mark.parametrize("swapped", [False, True])
def test_a_siamese_net_has_a_use_for_each_call_in_the_order_of_the_calls(swapped):
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    outputs = kept(net[1])
    with mr.record_gradients(net) as record:
        a, b = net(vectors(1)), net(vectors(2))
        ((b * 3 - a) if swapped else (a - b * 3)).sum().backward()
    assert record.names == ["0", "1", "0@2", "1@2"]
    np.testing.assert_allclose(record.select("1").output_grad_norm, [[norm(output) for output in outputs]], rtol=1e-6)
    assert record.output_grad_norm[0, 3] == pytest.approx(3 * record.output_grad_norm[0, 1])


class SharedHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.a(x)), self.head(self.b(x))


def test_a_shared_head_has_a_column_for_each_task():
    net = SharedHead()
    with mr.record_gradients(net) as record:
        one, two = net(vectors())
        (one.sum() + 5 * two.sum()).backward()
    assert record.names == ["a", "head", "b", "head@2"]
    first, second = record.select("head").output_grad_norm[0]
    assert second == pytest.approx(5 * first)


def test_calls_with_a_backward_each_fill_the_same_columns():
    net = SharedHead()
    with mr.record_gradients(net) as record:
        for seed in range(3):
            one, two = net(vectors(seed))
            (one + two).sum().backward()
        losses = [net(vectors(seed))[0].sum() for seed in range(2)]  # two forwards first, then a pass each
        for loss in losses:
            loss.backward()
        net.head(vectors()).sum().backward()  # a part of the net alone
    assert record.names == ["a", "head", "b", "head@2"]
    reached = (~record.missing("output_grad_norm")).tolist()
    assert reached == [[True] * 4] * 3 + [[True, True, False, False]] * 2 + [[False, True, False, False]]


def test_accumulated_losses_are_one_row_where_one_pass_brings_them_and_two_where_two_do():
    net = Recurrent()
    with mr.record_gradients(net) as record:
        (net(sequence(1)).sum() + net(sequence(1)).sum()).backward()
        net(sequence(1)).sum().backward()
        net(sequence(1)).sum().backward()
    assert (~record.select("cell").missing("output_grad_norm")).tolist() == [[True, True], [True, False], [True, False]]
    assert not record.select("head@1").missing("weight_grad_norm").any()


def test_a_use_that_no_gradient_reaches_is_not_counted():
    net = SharedHead()
    with mr.record_gradients(net) as record:
        _, two = net(vectors())
        two.sum().backward()
    assert record.names == ["a", "head", "b"]
    np.testing.assert_array_equal(record.missing("output_grad_norm"), [[True, False, False]])


def test_a_stretch_of_a_sequence_that_was_cut_off_starts_anew():
    net = Recurrent()
    with mr.record_gradients(net.cell) as record:
        h = mr.Tensor(np.zeros((2, 3), np.float32))
        for _ in range(2):
            for x in sequence(3):
                h = net.cell(x, h)
            h.sum().backward()
            h = h.detach()
    assert record.select("act").names == ["act", "act@2", "act@3"]
    assert not record.missing("output_grad_norm").any()


def test_a_graph_that_is_walked_twice_fills_the_same_columns():
    net = Recurrent()
    with mr.record_gradients(net) as record:
        loss = net(sequence(3)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    np.testing.assert_array_equal(record.output_grad_norm[0], record.output_grad_norm[1])
    assert not record.missing("output_grad_norm").any()


@pytest.mark.parametrize("every", [1, 2, 3])
def test_uses_inside_checkpoints_are_those_without(every):
    def record_of(checkpoint_every):
        layer = nn.Linear(3, 3)
        nn.init.initialize_(layer, nn.init.he_normal_, 0)
        net = nn.Sequential(*[nn.Sequential(layer, nn.Tanh()) for _ in range(5)], layer)
        net.checkpoint_every = checkpoint_every
        with mr.record_gradients(net) as record:
            for _ in range(2):
                net(vectors()).sum().backward()
        return record

    plain, checkpointed = record_of(None), record_of(every)
    assert checkpointed.names == plain.names
    assert [column.depth for column in checkpointed.columns] == [column.depth for column in plain.columns]
    for quantity in QUANTITIES:
        np.testing.assert_array_equal(checkpointed.values(quantity), plain.values(quantity))


# ---- the flow, selections, summaries


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return ops.shortcut_add(self.layer(x), x)


class Adds(nn.Module):
    """A block twice, an add of the net's own behind each."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = nn.Linear(3, 3), Doubled()

    def forward(self, x):
        x = self.stem(x)
        for _ in range(2):
            x = self.block(x)
            x = ops.shortcut_add(2 * x, x)
        return x


def test_the_flow_has_the_number_of_its_use():
    net = Adds()
    with mr.record_gradients(net, shortcut_flow=True) as record:
        (net(vectors(1)) + net(vectors(2))).sum().backward()
    assert record.names == ["stem", "block.layer", "block", "shortcut_add1", "block.layer@2", "block@2", "shortcut_add2",
                            "stem@2", "block.layer@3", "block@3", "shortcut_add1@2", "block.layer@4", "block@4",
                            "shortcut_add2@2"]
    blocks, adds = record.select("block"), record.select("shortcut_add1", "shortcut_add2")
    assert not blocks.missing("flow_together").any()
    np.testing.assert_allclose(blocks.flow_through_shortcut, blocks.output_grad_norm, rtol=1e-6)  # untouched
    np.testing.assert_allclose(adds.flow_through_branch, 2 * adds.flow_through_shortcut, rtol=1e-6)
    np.testing.assert_allclose(adds.flow_through_shortcut[0, 1], np.sqrt(6), rtol=1e-6)  # the last add: dL/dy is 1


def test_a_block_whose_first_use_has_no_flow_has_that_of_the_second_in_its_own_column():
    block = Doubled()
    net = nn.Sequential(block, block)
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(vectors()).sum().backward()  # no gradient of the input is wanted
    assert record.select("0").missing("flow_together").tolist() == [[True, False]]


def test_the_name_of_a_module_selects_all_uses_and_that_of_a_column_one():
    net = Recurrent()
    with mr.record_gradients(net) as record:
        net(sequence(3)).sum().backward()
    assert record.select("cell").names == ["cell", "cell@2", "cell@3"]
    assert record.select("cell@2").names == ["cell@2"]
    assert record.select("cell@1", "head").names == ["cell", "head"]
    assert record.select(nn.Tanh).names == ["cell.act", "cell.act@2", "cell.act@3"]
    assert record.layers().names == ["cell.x", "cell.h", "cell.x@2", "cell.h@2", "cell.x@3", "cell.h@3", "head"]


def test_over_uses_there_is_one_column_for_each_module():
    net = Recurrent()
    with mr.record_gradients(net) as record:
        for length in (2, 3):
            net(sequence(length)).sum().backward()
    together = record.over_uses()
    assert together.names == ["cell.x", "cell.h", "cell.act", "cell", "head"]
    expected = np.sqrt(np.nansum(record.select("cell").output_grad_norm ** 2, axis=1))
    np.testing.assert_allclose(together.select("cell").output_grad_norm[:, 0], expected)
    np.testing.assert_array_equal(together.select(nn.Linear).weight_grad_norm,
                                  record.select("cell.x@1", "cell.h@1", "head").weight_grad_norm)
    assert together.missing("update_ratio").all()


def test_over_uses_no_module_comes_after_itself():
    layer = nn.Linear(3, 3)
    net = nn.Sequential(nn.Linear(3, 3), layer, layer)
    with mr.record_gradients(net) as record:
        net(mr.Tensor(np.ones((2, 3)))).sum().backward()
    assert [column.after for column in record.columns] == [(), ("0",), ("1",)]
    assert [column.after for column in record.over_uses().columns] == [(), ("0",)]


def test_columns_are_written_anew_only_where_a_pass_tells_something_new(monkeypatch):
    written = []
    monkeypatch.setattr(Layout, "_write", lambda layout: written.append(layout))
    layout, uses = Layout([]), [Use("a", (0, 0)), Use("b", (0, 1)), Use("c", (0, 2))]
    a, b, c = uses
    for before, so_far in (({b: [a], c: [b]}, 1), ({b: [a], c: [b]}, 1), (None, 1), ({b: [a], c: [a]}, 2)):
        layout.follow(uses, numbers_of(uses), before)
        assert len(written) == so_far


@pytest.mark.parametrize("is_zero", [True, False])
def test_the_cosine_over_two_uses_is_nan_where_the_branch_is_zero(is_zero):
    block = Doubled()
    net = nn.Sequential(nn.Linear(3, 3), block, block).astype(np.float64)
    if is_zero:
        nn.init.zeros_(block.layer.weight)
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(mr.Tensor(np.ones((2, 3)))).sum().backward()
    cosine = record.over_uses().select("1").flow_cosine[0, 0]
    assert np.isnan(cosine) == is_zero
    assert np.isnan(record.select("1").flow_cosine).tolist() == [[is_zero] * 2]


def test_the_stream_of_a_net_whose_block_runs_twice_has_each_of_its_outputs_once():
    block = models.BasicBlock(2, 2)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), block, block, nn.GlobalAvgPool2d())
    with mr.record_gradients(net) as record:
        net(vectors(shape=(2, 1, 4, 4))).sum().backward()
    assert record.stream().names == ["0", "1", "1@2"]


def test_a_module_whose_name_looks_like_a_use_keeps_its_column():
    layer = nn.Linear(3, 3)
    net = nn.Sequential({"a": layer, "a@2": nn.Tanh(), "again": layer})
    with mr.record_gradients(net) as record:
        net(vectors()).sum().backward()
    assert record.names == ["a", "a@2", "a@@2"]
    assert not record.missing("output_grad_norm").any()


# ---- outputs that are no tensor


class Returns(nn.Module):
    """Two layers, and what `form` makes of their outputs."""

    def __init__(self, form):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        self.form = form

    def forward(self, x):
        return self.form(2 * self.one(x), 2 * self.two(x))


class Net(nn.Module):
    """Its loss is 3 · the sum of one output and 4 · that of the other."""

    def __init__(self, form, read):
        super().__init__()
        self.part, self.read = Returns(form), read

    def forward(self, x):
        one, two = self.read(self.part(x))
        return 3 * one.sum() + 4 * two.sum()


@pytest.mark.parametrize(("form", "read", "parts"), [
    (lambda a, b: (a, b), lambda y: y, ["[0]", "[1]"]),
    (lambda a, b: [a, None, b], lambda y: (y[0], y[2]), ["[0]", "[2]"]),
    (lambda a, b: {"loss": a, 7: b}, lambda y: (y["loss"], y[7]), ['["loss"]', "[7]"]),
    (lambda a, b: {"deep": [a, (b, 3.0)]}, lambda y: (y["deep"][0], y["deep"][1][0]), ['["deep"][0]', '["deep"][1][0]']),
], ids=["tuple", "list", "dict", "nested"])
def test_tensors_in_tuples_lists_and_dicts_have_columns(form, read, parts):
    net = Net(form, read)
    with mr.record_gradients(net) as record:
        (net(vectors()) + net(vectors())).backward()
    assert record.names == ["part.one", "part.two", "part", *(f"part{part}" for part in parts), "part.one@2", "part.two@2",
                            "part@2", *(f"part@2{part}" for part in parts)]
    sizes = np.array([5, 3, 4] * 2) * np.sqrt(6)  # together, one, the other; twice
    np.testing.assert_allclose(record.select("part").output_grad_norm[0], sizes, rtol=1e-6)
    assert record.layers().names == ["part.one", "part.two", "part.one@2", "part.two@2"]


def test_a_tensor_that_is_returned_twice_counts_once_and_one_that_was_given_not_at_all():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, pair):
            x, _ = pair
            y = 2 * self.layer(x)
            return y, y, x

    net = nn.Sequential(nn.Linear(3, 3), nn.Identity())
    net.both = Both()
    with mr.record_gradients(net) as record:
        y, again, _ = net.both((net[0](vectors()), 1))
        (y + again).sum().backward()
    assert record.names == ["0", "both.layer", "both", "both[0]", "both[1]"]
    np.testing.assert_allclose(record.select("both").output_grad_norm, [[2 * np.sqrt(6)] * 3], rtol=1e-6)


def test_a_module_whose_output_cannot_be_recorded_is_named_once():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            return {self.layer(x)}  # a set

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd = Odd()

        def forward(self, x):
            return next(iter(self.odd(x)))

    net = Outer()
    with mr.record_gradients(net) as record, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            net(vectors()).sum().backward()
    assert [str(warning.message) for warning in caught] == [
        "record_gradients: 'odd' returned a set, whose gradient cannot be recorded: return a tensor, or tensors in a tuple, "
        "a list or a dict"]
    assert record.names == ["odd.layer"]


# ---- what is frozen, other threads, copies


def frozen(module):
    for parameter in module.parameters():
        parameter.requires_grad = False
    return module


def test_what_stands_behind_a_frozen_stem_is_as_deep_as_if_it_were_not():
    def depths(freeze):
        net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
        if freeze:
            frozen(net[0])
            frozen(net[2])
        with mr.record_gradients(net) as record:
            with mr.no_grad():
                net(vectors())  # an evaluation changes no depth
            for _ in range(2):
                net(vectors()).sum().backward()
        return {column.name: column.depth for column in record.columns}

    assert depths(True) == {"3": 3, "4": 4}
    assert depths(False) == {"0": 1, "1": 1, "2": 2, "3": 3, "4": 4}


def test_a_stem_under_no_grad_counts_and_one_that_is_trained_later_counts_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    with mr.record_gradients(net) as record:
        with mr.no_grad():
            h = net[0](vectors())
        net[1](h).sum().backward()
        assert [(column.name, column.depth) for column in record.columns] == [("1", 2)]
        net(vectors()).sum().backward()
    assert {column.name: column.depth for column in record.columns} == {"0": 1, "1": 2}


def test_a_training_in_another_thread_is_recorded_and_leaves_no_hook():
    net = models.cifar_net(8, width=2, in_channels=1, batch_norm=False)
    optimizer = optim.SGD(net.parameters(), lr=0.0)
    x, left = vectors(shape=(2, 1, 8, 8)), []

    def train():
        net(x).sum().backward()
        optimizer.step()

    def in_a_thread(function):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()

    def train_and_wait(wait, done):
        train()
        done.set()
        wait.wait(10)
        train()
        left.append(mr.engine.state.state.hooks)

    end, trained = threading.Event(), threading.Event()
    with mr.record_gradients(net, optimizer, shortcut_flow=True) as record:
        train()
        in_a_thread(train)
        thread = threading.Thread(target=train_and_wait, args=(end, trained))
        thread.start()
        trained.wait(10)
    end.set()
    thread.join()
    assert len(record) == 3
    for quantity in (*QUANTITIES, *FLOW_QUANTITIES):
        for row in record.values(quantity)[1:]:
            np.testing.assert_array_equal(row, record.values(quantity)[0])
    assert left == [()]


def test_two_threads_that_train_at_once_have_rows_of_their_own():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    barrier = threading.Barrier(2)

    def train(factor):
        for _ in range(20):
            steps = mr.backward_steps((factor * net(vectors())).sum())
            for _step in steps:
                barrier.wait(10)

    with mr.record_gradients(net) as record:
        threads = [threading.Thread(target=train, args=(factor,)) for factor in (1, 10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    last = record.select("2").output_grad_norm[:, 0] / np.sqrt(6)
    assert sorted(last.round(5)) == [1] * 20 + [10] * 20
    first = record.select("0").output_grad_norm[:, 0]
    np.testing.assert_allclose(first / last, [first[0] / last[0]] * 40, rtol=1e-5)


def test_two_passes_that_take_turns_have_a_row_each():
    net = models.cifar_net(8, width=2, in_channels=1).astype(np.float64)
    xs = [mr.Tensor(vectors(seed, (2, 1, 8, 8)).data.astype(np.float64)) for seed in (1, 2)]
    alone = []
    for x in xs:
        with mr.record_gradients(net, shortcut_flow=True) as record:
            net(x).sum().backward()
        alone.append(record)
    with mr.record_gradients(net, shortcut_flow=True) as record:
        passes = [mr.backward_steps(net(x).sum()) for x in xs]
        for _steps in zip(*passes, [None] * 20, strict=False):
            pass
        for steps in reversed(passes):
            for _step in steps:
                pass
    assert len(record) == 2
    for row, expected in zip((1, 0), alone, strict=True):  # the second one ends first
        for quantity in QUANTITIES[:3]:
            np.testing.assert_array_equal(record.values(quantity)[row], expected.values(quantity)[0], err_msg=quantity)
    # the flow is that of the pass that began last; of the other there is none, rather than a mixture
    np.testing.assert_array_equal(record.flow_together[0], alone[1].flow_together[0])
    assert record.missing("flow_together")[1].all()


def test_a_pass_that_was_left_adds_nothing_to_the_next_ones():
    net = Recurrent()
    with mr.record_gradients(net, shortcut_flow=True) as record:
        for _ in range(3):
            left = mr.backward_steps(net(sequence(3)).sum())
            next(left)
            next(left)
            net(sequence(3)).sum().backward()
            del left
    assert record.output_grad_norm.shape == (3, 13)
    np.testing.assert_array_equal(record.output_grad_norm, record.output_grad_norm[[0, 0, 0]])


def test_a_copy_of_a_watched_net_runs_and_is_not_recorded():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    with mr.record_gradients(net) as record:
        other = copy.deepcopy(net)
        other(vectors()).sum().backward()
        assert len(record) == 0
        net(vectors()).sum().backward()
        net[0].forward_hooks.clear()  # somebody else's tidying does not hide an exception of the block
    assert len(record) == 1
    other(vectors()).sum().backward()
    assert len(record) == 1
