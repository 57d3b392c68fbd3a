"""The recorder: what a row and a column are, that the norms are right, and that watching changes nothing."""
import contextlib
import csv
import gc
import math
import tracemalloc
import weakref

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops, optim
from minires.arrays.norms import euclidean_norm
from minires.errors import ArgumentError, DTypeError, FileError, ShapeError, UnknownNameError
from minires.recording.column import Column
from minires.recording.numbers import QUANTITIES


class Forked(nn.Module):
    """x + f(x) around a stem: the gradient of the stem's output is a sum of two contributions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.branch = nn.Linear(4, 4)
        self.act = nn.Tanh()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        y = self.stem(x)
        y = y + self.act(self.branch(y))
        return self.head(y)


def vectors(seed=0, shape=(5, 3), dtype=np.float32):
    return mr.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def images(seed=0):
    return mr.Tensor(np.random.default_rng(seed).standard_normal((4, 1, 8, 8)).astype(np.float32))


def small_net(**options):
    return models.cifar_net(8, **{"width": 2, "in_channels": 1, **options})


def loss_of(net, x):
    return ops.cross_entropy(net(x), np.arange(len(x)) % 2)


def kept_outputs(net):
    """{name: [outputs]} that fills as the net runs; the outputs keep their gradients."""
    outputs = {}
    for name, module in net.named_modules():
        if name:
            def keep(module, inputs, output, name=name):
                output.retain_grad()
                outputs.setdefault(name, []).append(output)
            module.forward_hooks.append(keep)
    return outputs


def recorded(net, x, optimizer=None):
    """The record of one pass."""
    with mr.record_gradients(net, optimizer) as record:
        loss_of(net, x).backward()
    return record


# ---- columns


def test_columns_are_the_modules_that_made_an_output_in_forward_order():
    record = recorded(Forked(), vectors())
    assert record.names == ["stem", "branch", "act", "head"]
    assert record.types == ["Linear", "Linear", "Tanh", "Linear"]
    assert len(record) == 1
    assert repr(record) == "<GradientRecord: 1 passes x 4 modules>"


def test_the_columns_of_a_net_follow_its_forward_and_not_its_definition():
    names = recorded(small_net(), images()).names
    branch = ["conv1", "bn1", "relu1", "conv2", "bn2"]
    assert names == [
        "conv1", "bn1", "relu",
        *(f"layer1.0.{name}" for name in [*branch, "relu2"]), "layer1.0", "layer1",
        *(f"layer2.0.{name}" for name in [*branch, "downsample", "relu2"]), "layer2.0", "layer2",
        *(f"layer3.0.{name}" for name in [*branch, "downsample", "relu2"]), "layer3.0", "layer3",
        "avgpool", "fc"]


@pytest.mark.parametrize("options", [{}, {"preactivation": True}, {"residual": False}])
def test_a_module_that_returns_its_input_made_no_output(options):
    record = recorded(small_net(batch_norm=False, **options), images())
    assert "Identity" not in record.types
    assert "BasicBlock" in record.types or "PreactivationBasicBlock" in record.types
    assert not any(name.rpartition(".")[2].startswith("bn") for name in record.names)


def test_a_module_that_did_not_run_has_no_column():
    net = Forked()
    net.idle = nn.Linear(2, 2)
    assert "idle" not in recorded(net, vectors()).names


def test_a_module_that_wants_no_gradient_has_no_column():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    for parameter in net[0].parameters():
        parameter.requires_grad = False
    assert recorded(net, vectors()).names == ["1"]


@pytest.mark.parametrize("options", [{"shortcut": "A"}, {"shortcut": "B"}, {"shortcut": "C"}])
def test_layers_on_shortcuts_do_not_count_as_depth_so_twins_stand_side_by_side(options):
    def depths(net):
        return {column.name: column.depth for column in recorded(net, images()).columns}

    plain, residual = depths(small_net(residual=False)), depths(small_net(**options))
    assert {name: residual[name] for name in plain} == plain
    assert [plain[name] for name in ("conv1", "relu", "layer1.0.conv2", "layer1.0", "layer3.0", "fc")] == [1, 1, 3, 3, 7, 8]


# ---- norms


@pytest.mark.parametrize("make", [
    lambda: (Forked(), vectors()),
    lambda: (small_net(), images()),
    lambda: (small_net(preactivation=True, shortcut="B"), images()),
    lambda: (small_net(residual=False, batch_norm=False), images()),
], ids=["forked", "residual", "preactivation", "plain"])
def test_output_norms_are_those_of_the_retained_gradients(make):
    net, x = make()
    outputs = kept_outputs(net)
    record = recorded(net, x)
    assert set(record.names) <= set(outputs)
    for name, norm in zip(record.names, record.output_grad_norm[0], strict=True):
        np.testing.assert_allclose(norm, np.linalg.norm(outputs[name][0].grad), rtol=1e-5, err_msg=name)


def test_where_the_stream_forks_the_norm_is_that_of_the_sum():
    net = Forked().astype(np.float64)
    x = vectors(dtype=np.float64)
    record = recorded(net, x)
    head, branch = net.head.weight.data, net.branch.weight.data
    stem = net.stem(x).data
    probabilities = np.exp(net(x).data)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    dlogits = (probabilities - np.eye(2)[np.arange(5) % 2]) / 5
    dy = dlogits @ head
    through_branch = dy * (1 - np.tanh(stem @ branch.T + net.branch.bias.data) ** 2)
    norms = dict(zip(record.names, record.output_grad_norm[0], strict=True))
    np.testing.assert_allclose(norms["stem"], np.linalg.norm(dy + through_branch @ branch))
    np.testing.assert_allclose(norms["act"], np.linalg.norm(dy))
    np.testing.assert_allclose(norms["branch"], np.linalg.norm(through_branch))
    np.testing.assert_allclose(norms["head"], np.linalg.norm(dlogits))


def test_weight_norms_are_those_of_the_weights_and_of_their_gradients():
    net = small_net()
    record = recorded(net, images())
    modules = dict(net.named_modules())
    for i, name in enumerate(record.names):
        weight = getattr(modules[name], "weight", None)
        if weight is None:
            assert np.isnan([record.weight_norm[0, i], record.weight_grad_norm[0, i]]).all()
        else:
            np.testing.assert_allclose(record.weight_norm[0, i], np.linalg.norm(weight.data), rtol=1e-6)
            np.testing.assert_allclose(record.weight_grad_norm[0, i], np.linalg.norm(weight.grad), rtol=1e-6)


def test_a_weight_norm_is_of_this_pass_only_though_gradients_accumulate():
    net = Forked()
    with mr.record_gradients(net) as record:
        for seed in range(3):
            loss_of(net, vectors(seed)).backward()
    singly = []
    for seed in range(3):
        net.zero_grad()
        loss_of(net, vectors(seed)).backward()
        singly.append([np.linalg.norm(layer.weight.grad) for layer in (net.stem, net.branch, net.head)])
    np.testing.assert_allclose(record.select(nn.Linear).weight_grad_norm, singly, rtol=1e-5)


def test_update_ratio_is_how_far_the_optimizer_moved_each_weight():
    net = Forked()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    expected = []
    with mr.record_gradients(net, optimizer) as record:
        for seed in range(3):
            net.zero_grad()
            loss_of(net, vectors(seed)).backward()
            before = [layer.weight.data.copy() for layer in (net.stem, net.branch, net.head)]
            optimizer.step()
            expected.append([np.linalg.norm(layer.weight.data - w) / np.linalg.norm(w)
                             for layer, w in zip((net.stem, net.branch, net.head), before, strict=True)])
    np.testing.assert_allclose(record.select(nn.Linear).update_ratio, expected, rtol=1e-4)
    assert np.isnan(record.select(nn.Tanh).update_ratio).all()


def test_weight_norm_is_that_before_the_update():
    net = Forked()
    start = np.linalg.norm(net.head.weight.data)
    optimizer = optim.SGD(net.parameters(), lr=10.0)
    with mr.record_gradients(net, optimizer) as record:
        loss_of(net, vectors()).backward()
        optimizer.step()
    np.testing.assert_allclose(record.select("head").weight_norm, [[start]], rtol=1e-6)
    assert not np.isclose(np.linalg.norm(net.head.weight.data), start)


def test_without_an_optimizer_there_is_no_update_ratio():
    record = recorded(Forked(), vectors())
    assert np.isnan(record.update_ratio).all()
    assert record.missing("update_ratio").all()


@pytest.mark.parametrize("read", [False, True])
def test_the_update_ratio_is_that_of_the_first_step_after_a_pass(read):
    net = Forked()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    expected = []
    with mr.record_gradients(net, optimizer) as record:
        optimizer.step()  # before any pass: of no row
        for seed in range(3):
            net.zero_grad()
            loss_of(net, vectors(seed)).backward()
            if read:  # between backward() and step()
                assert np.isnan(record.update_ratio[seed]).all()
                assert record.missing("update_ratio")[seed].all()
            before = net.head.weight.data.copy()
            optimizer.step()
            expected.append(np.linalg.norm(net.head.weight.data - before) / np.linalg.norm(before))
            optimizer.step()  # another one, which moved nothing that this row is of
            net.head.weight.data *= 3
            optimizer.step()
    np.testing.assert_allclose(record.select("head").update_ratio[:, 0], expected, rtol=1e-4)
    assert len(record) == 3


def test_no_copy_of_a_weight_is_kept_after_a_step():
    net = nn.Sequential(nn.Linear(1000, 1000, bias=False))
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    x = vectors(shape=(1, 1000))
    with mr.record_gradients(net, optimizer) as record:
        net(x).sum().backward()
        gc.collect()
        tracemalloc.start()
        optimizer.step()
        gc.collect()
        kept, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most > 4_000_000  # one copy, while the step ran
    assert kept < 100_000
    assert record.update_ratio > 0


def test_gradients_of_a_weight_without_a_step_have_no_ratio():
    net = Forked()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with mr.record_gradients(net, optimizer) as record:
        for seed in range(3):
            loss_of(net, vectors(seed)).backward()  # accumulated over three passes, and one step
        optimizer.step()
    assert record.missing("update_ratio")[:2].all()
    assert not record.select(nn.Linear).missing("update_ratio")[2].any()


def test_a_weight_that_is_zero_has_no_update_ratio():
    net = Forked()
    nn.init.zeros_(net.head.weight)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with mr.record_gradients(net, optimizer) as record:
        loss_of(net, vectors()).backward()
        optimizer.step()
    assert np.isnan(record.select("head").update_ratio).all()
    assert np.isfinite(record.select("stem").update_ratio).all()


def test_what_was_not_recorded_is_missing_and_a_nan_that_was_recorded_is_not():
    net = Forked()
    net.branch.weight.requires_grad = False
    x = vectors()
    x.data[0, 0] = np.nan
    record = recorded(net, x)
    missing = dict(zip(record.names, record.missing("weight_grad_norm")[0], strict=True))
    assert missing == {"stem": False, "branch": True, "act": True, "head": False}
    assert np.isnan(record.weight_grad_norm).all()


def test_tied_weights_are_those_of_both_modules():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False))
    net[2].weight = net[0].weight
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with mr.record_gradients(net, optimizer) as record:
        loss_of(net, vectors()).backward()
        optimizer.step()
    linear = record.select(nn.Linear)
    for quantity in ("weight_grad_norm", "weight_norm", "update_ratio"):
        first, second = linear.values(quantity)[0]
        assert first == second > 0
    np.testing.assert_allclose(linear.weight_grad_norm[0, 0], np.linalg.norm(net[0].weight.grad), rtol=1e-6)


class Product(nn.Module):
    """x A B + c, a layer with weights of its own names; or a block around a layer, with the same."""

    def __init__(self, layer=None):
        super().__init__()
        self.a, self.b, self.c = [nn.Parameter(np.random.default_rng(i).standard_normal(shape).astype(np.float32))
                                  for i, shape in enumerate(((3, 5), (5, 3), (3,)))]
        if layer is not None:
            self.layer = layer

    def forward(self, x):
        y = x @ self.a @ self.b + self.c
        return self.layer(y) if hasattr(self, "layer") else y


def test_a_layer_without_a_weight_of_this_name_has_all_its_matrices_in_its_column():
    net = nn.Sequential(Product(), Product(nn.Linear(3, 3)))
    optimizer, matrices = optim.SGD(net.parameters(), lr=0.1), (net[0].a, net[0].b)
    before = [matrix.data.copy() for matrix in matrices]
    with mr.record_gradients(net, optimizer) as record:
        (net(vectors()) * 3).sum().backward()
        optimizer.step()
    assert [(column.name, column.depth, column.is_layer) for column in record.columns] == [
        ("0", 1, True), ("1.layer", 2, True), ("1", 2, False)]  # the matrices of a block are no layer's
    moves = [matrix.data - old for matrix, old in zip(matrices, before, strict=True)]
    weight_norm, moved = [math.hypot(*map(np.linalg.norm, arrays)) for arrays in (before, moves)]
    assert record.weight_grad_norm[0, 0] == pytest.approx(moved / 0.1, rel=1e-5)
    assert record.weight_norm[0, 0] == pytest.approx(weight_norm, rel=1e-6)
    assert record.update_ratio[0, 0] == pytest.approx(moved / weight_norm, rel=1e-6)
    assert record.missing("weight_norm").tolist() == [[False, False, True]]


def test_a_module_that_runs_twice_has_the_norm_of_each_output():
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.Tanh(), layer)
    outputs = kept_outputs(net)
    record = recorded(net, vectors())
    assert record.names == ["0", "1", "0@2"]
    first, second = (np.linalg.norm(output.grad) for output in outputs["0"])
    np.testing.assert_allclose(record.select("0").output_grad_norm, [[first, second]], rtol=1e-6)
    np.testing.assert_allclose(record.weight_grad_norm[0, 0], np.linalg.norm(layer.weight.grad), rtol=1e-6)
    together = record.over_uses()
    assert together.names == ["0", "1"]
    np.testing.assert_allclose(together.output_grad_norm[0, 0], math.hypot(first, second), rtol=1e-6)


def test_float64_nets_are_recorded_too():
    net = Forked()
    single = recorded(net, vectors())
    net.zero_grad()
    double = recorded(net.astype(np.float64), mr.Tensor(vectors().data.astype(np.float64)))
    for quantity in QUANTITIES[:3]:
        np.testing.assert_allclose(single.values(quantity), double.values(quantity), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-30, 1e-44, 1e30])
def test_tiny_and_huge_gradients_are_not_rounded_away(dtype, size):
    net = nn.Sequential(nn.Linear(3, 2)).astype(dtype)
    with mr.record_gradients(net) as record:
        net(vectors(dtype=dtype)).backward(np.full((5, 2), size, dtype))
    np.testing.assert_allclose(record.output_grad_norm, [[np.float64(dtype(size)) * math.sqrt(10)]])


def test_exact_zeros_stay_exact():
    net = Forked()
    with mr.record_gradients(net) as record:
        (net(vectors()) * 0).sum().backward()
    np.testing.assert_array_equal(record.output_grad_norm, np.zeros((1, 4)))
    np.testing.assert_array_equal(record.select(nn.Linear).weight_grad_norm, np.zeros((1, 3)))


@pytest.mark.parametrize(("values", "norm"), [
    ([3, 4], 5), ([3e200, 4e200], 5e200), ([3e-200, 4e-200], 5e-200), ([0, 0], 0), ([], 0), ([np.inf, 1], np.inf),
    ([np.nan, 1], np.nan), ([5e-324], 5e-324),
])
def test_the_norm_of_float64_values_neither_overflows_nor_vanishes(values, norm):
    np.testing.assert_allclose(euclidean_norm(np.array(values, np.float64)), norm)


@pytest.mark.parametrize(("values", "norm"), [([3e30, 4e30], 5e30), ([3e-30, 4e-30], 5e-30), ([-np.inf], np.inf)])
def test_the_norm_of_float32_values_is_taken_in_float64(values, norm):
    result = euclidean_norm(np.array(values, np.float32))
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, norm, rtol=1e-7)


# ---- passes


def test_each_backward_pass_is_a_row():
    net = Forked()
    with mr.record_gradients(net) as record:
        loss = loss_of(net, vectors(0))
        loss.backward(retain_graph=True)
        loss.backward()
        loss_of(net, vectors(1)).backward()
    assert record.output_grad_norm.shape == (3, 4)
    np.testing.assert_array_equal(record.output_grad_norm[0], record.output_grad_norm[1])
    assert not np.isclose(record.output_grad_norm[1], record.output_grad_norm[2]).any()


def test_a_module_that_joins_later_is_missing_in_the_rows_before():
    net = Forked()
    with mr.record_gradients(net) as record:
        net.stem(vectors()).sum().backward()
        loss_of(net, vectors()).backward()
    assert record.names == ["stem", "branch", "act", "head"]
    np.testing.assert_array_equal(record.missing("output_grad_norm"), [[False, True, True, True], [False] * 4])
    assert np.isnan(record.output_grad_norm[0, 1:]).all()


def test_forwards_without_gradients_leave_nothing():
    net = Forked()
    with mr.record_gradients(net) as record:
        with mr.no_grad():
            net(vectors())
        net(vectors())  # a forward without a backward
    assert len(record) == 0
    assert record.output_grad_norm.shape == (0, 4)


def test_a_pass_through_another_net_is_no_row():
    net, other = Forked(), Forked()
    with mr.record_gradients(net) as record:
        loss_of(other, vectors()).backward()
    assert (len(record), record.names) == (0, [])


def test_two_recorders_at_once_record_the_same():
    net = Forked()
    with mr.record_gradients(net) as outer, mr.record_gradients(net) as inner:
        loss_of(net, vectors()).backward()
    np.testing.assert_array_equal(outer.output_grad_norm, inner.output_grad_norm)
    assert outer.names == inner.names


def test_an_interrupted_pass_leaves_no_row_and_nothing_in_the_next():
    net = Forked()
    with mr.record_gradients(net) as record:
        for step in mr.backward_steps(loss_of(net, vectors(0))):
            if step.name == "branch":
                break
        loss_of(net, vectors(1)).backward()
    assert len(record) == 1
    np.testing.assert_array_equal(record.output_grad_norm, recorded(net, vectors(1)).output_grad_norm)


def test_a_pass_that_fails_leaves_no_row():
    net = Forked()
    with mr.record_gradients(net) as record:
        y = net(vectors())
        y.op.saved = None  # so that the backward of the last layer cannot run
        with pytest.raises(TypeError):
            y.sum().backward()
    assert len(record) == 0


def test_the_block_can_end_between_forward_and_backward():
    net = Forked()
    with mr.record_gradients(net) as record:
        loss = loss_of(net, vectors())
    loss.backward()
    assert len(record) == 0


# ---- watching changes nothing


def test_recording_changes_no_gradient_by_a_single_bit():
    for watched in (small_net(), small_net(residual=False, batch_norm=False)):
        loss_of(watched, images()).backward()
        gradients = {name: parameter.grad for name, parameter in watched.named_parameters()}
        watched.zero_grad()
        recorded(watched, images())
        for name, parameter in watched.named_parameters():
            np.testing.assert_array_equal(parameter.grad, gradients[name], err_msg=name)


def test_recording_changes_no_update_by_a_single_bit():
    def train(watch):
        net = small_net(seed=1)
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        with mr.record_gradients(net, optimizer) if watch else contextlib.nullcontext():
            for seed in range(2):
                net.zero_grad()
                loss_of(net, images(seed)).backward()
                optimizer.step()
        return net.state_dict()

    watched, alone = train(True), train(False)
    for name in alone:
        np.testing.assert_array_equal(watched[name], alone[name], err_msg=name)


def hooks_of(net, optimizer):
    return sum(len(module.forward_hooks) for _, module in net.named_modules()) + len(optimizer.hooks)


def test_all_hooks_are_gone_after_the_block_and_those_of_others_stay():
    net = Forked()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    net.stem.forward_hooks.append(lambda module, inputs, output: None)
    with mr.record_gradients(net, optimizer):
        assert hooks_of(net, optimizer) == 1 + 4 + 1
    assert hooks_of(net, optimizer) == 1
    assert mr.engine.state.state.hooks == ()


def test_all_hooks_are_gone_after_an_exception():
    net = Forked()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    recorder = mr.record_gradients(net, optimizer)
    with pytest.raises(ShapeError), recorder as record:
        net(vectors(shape=(5, 7)))
    assert hooks_of(net, optimizer) == 0
    assert mr.engine.state.state.hooks == ()
    loss_of(net, vectors()).backward()
    assert len(record) == 0


def test_no_graph_is_kept_alive():
    net = Forked()
    with mr.record_gradients(net) as record:
        loss = loss_of(net, vectors())
        stem = loss.op
        while stem.layer != "stem":
            stem = next(op for op in stem.inputs if isinstance(op, mr.Op))
        op = weakref.ref(stem)
        del stem
        loss.backward(retain_graph=True)
        assert op() is not None
        del loss
        gc.collect()
        assert op() is None
    assert len(record) == 1


def test_an_output_that_is_not_used_is_not_kept_alive():
    net = Forked()
    with mr.record_gradients(net) as record:
        output = weakref.ref(net(vectors()))
        gc.collect()
        assert output() is None
    assert len(record) == 0


# ---- selecting


def test_select_takes_classes_and_names_and_keeps_the_order():
    record = recorded(small_net(), images())
    assert record.select(models.Block).names == ["layer1.0", "layer2.0", "layer3.0"]
    assert record.select(nn.Conv2d).names == [name for name in record.names if name.rpartition(".")[2].startswith("conv")]
    chosen = record.select("fc", "conv1", models.Block)
    assert chosen.names == ["conv1", "layer1.0", "layer2.0", "layer3.0", "fc"]
    places = [record.names.index(name) for name in chosen.names]
    for quantity in QUANTITIES:
        np.testing.assert_array_equal(chosen.values(quantity), record.values(quantity)[:, places])
    assert len(chosen) == len(record)


@pytest.mark.parametrize("kinds", [(nn.Sigmoid,), ("no.such.layer",), ()])
def test_a_selection_of_nothing_is_an_error_that_lists_the_types(kinds):
    with pytest.raises(UnknownNameError, match=r"select: no recorded module is a .*; recorded types are Linear, Tanh$"):
        recorded(Forked(), vectors()).select(*kinds)


def test_a_selection_is_by_class_or_name():
    net = Forked()
    with pytest.raises(DTypeError, match=r"select: got a Linear, expected classes of modules or names"):
        recorded(net, vectors()).select(next(module for name, module in net.named_modules() if name))


@pytest.mark.parametrize(("model", "optimizer", "message"), [
    ([nn.ReLU()], None, "got a list, expected a model"), (mr.Tensor([1.0]), None, "got a Tensor, expected a model"),
    (nn.ReLU(), 0.1, "optimizer is a float, expected an optimizer"),
], ids=["list", "tensor", "learning rate"])
def test_what_cannot_be_watched_is_refused_at_the_call(model, optimizer, message):
    with pytest.raises(DTypeError, match=f"record_gradients: {message}"):
        mr.record_gradients(model, optimizer)


def test_a_gradient_scaler_is_for_pytorch():
    with pytest.raises(ArgumentError, match="grad_scaler is for a PyTorch model"):
        mr.record_gradients(Forked(), grad_scaler=object())


def test_a_selection_of_an_empty_record_says_that_it_is_empty():
    with mr.record_gradients(Forked()) as record:
        pass
    with pytest.raises(UnknownNameError, match="none: no backward pass was recorded"):
        record.select(nn.Linear)


def test_layers_are_what_has_a_kernel_or_a_matrix():
    layers = recorded(small_net(shortcut="B"), images()).layers()
    assert set(layers.types) == {"Conv2d", "Linear"}
    assert layers.names == ["conv1", "layer1.0.conv1", "layer1.0.conv2",
                            "layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0",
                            "layer3.0.conv1", "layer3.0.conv2", "layer3.0.downsample.0", "fc"]


@pytest.mark.parametrize(("options", "stem"), [
    ({}, "relu"), ({"residual": False}, "relu"), ({"batch_norm": False}, "relu"),
    ({"preactivation": True}, "conv1"), ({"preactivation": True, "batch_norm": False}, "conv1"),
])
def test_the_stream_is_what_enters_the_first_block_and_what_leaves_each(options, stem):
    net = small_net(**options)
    outputs = kept_outputs(net)
    stream = recorded(net, images()).stream()
    assert stream.names == [stem, "layer1.0", "layer2.0", "layer3.0"]
    np.testing.assert_allclose(stream.output_grad_norm[0], [np.linalg.norm(outputs[name][0].grad) for name in stream.names],
                               rtol=1e-5)


def test_the_stream_of_a_net_whose_blocks_come_first_is_their_outputs():
    net = nn.Sequential(models.BasicBlock(1, 2, shortcut="B"), models.BasicBlock(2, 2), nn.GlobalAvgPool2d())
    assert recorded(net, images()).stream().names == ["0", "1"]


def test_a_net_without_blocks_has_no_stream():
    with pytest.raises(UnknownNameError, match="no recorded module is a Block"):
        recorded(Forked(), vectors()).stream()


def test_an_unknown_quantity_is_named_with_those_that_there_are():
    record = recorded(Forked(), vectors())
    for read in (record.values, record.missing):
        with pytest.raises(UnknownNameError, match=r"unknown quantity 'norm': known are output_grad_norm, weight_grad_norm"):
            read("norm")


# ---- as a table


def test_a_record_is_printed_as_a_table_of_medians():
    columns = [Column("a", nn.Conv2d, True, 1), Column("<b>", nn.ReLU, False, 1)]
    rows = [{("output_grad_norm", "a"): value, ("output_grad_norm", "<b>"): 2 * value} for value in (1.0, 5.0, 3.0)]
    rows[0]["weight_norm", "a"] = 0.5
    record = mr.GradientRecord(columns, rows)
    assert str(record).splitlines() == [
        "<GradientRecord: 3 passes x 2 modules>",
        "column  type    output_grad_norm  weight_norm",
        "---------------------------------------------",
        "a       Conv2d                 3          0.5",
        "<b>     ReLU                   6"]
    page = record._repr_html_()
    assert "<td style=\"text-align:left\">&lt;b&gt;</td>" in page
    assert "<td style=\"text-align:right\">0.5</td>" in page
    assert "&lt;GradientRecord: 3 passes x 2 modules&gt;" in page


def test_the_table_of_a_deep_net_shows_its_beginning_and_its_end():
    columns = [Column(f"layer{i}", nn.Conv2d, True, i) for i in range(200)]
    text = str(mr.GradientRecord(columns, [{("output_grad_norm", column.name): 1e-30 for column in columns}]))
    lines = text.splitlines()
    assert len(lines) < 40
    assert "layer0 " in text
    assert "layer199" in text
    assert "layer100" not in text
    shown = sum(line.startswith("layer") for line in lines)
    assert f"… {200 - shown} more" in text


def test_an_empty_record_is_a_table_too():
    assert str(mr.GradientRecord()).splitlines()[1:] == ["column  type", "------------"]
    assert "0 passes" in mr.GradientRecord()._repr_html_()
    values = [np.nan, np.inf, np.inf]
    record = mr.GradientRecord([Column("a", nn.ReLU, False, 0)], [{("output_grad_norm", "a"): value} for value in values])
    assert str(record).endswith("nan")


# ---- files and stacks


def test_a_csv_in_long_form_gives_every_number_back_exactly(tmp_path):
    net = Forked()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with mr.record_gradients(net, optimizer) as record:
        for seed in range(2):
            loss_of(net, vectors(seed)).backward()
            optimizer.step()
    path = tmp_path / "record.csv"
    record.to_csv(path)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["pass", "module", "type", "quantity", "value"]
    assert len(rows) == 2 * 4 * 4
    for quantity in QUANTITIES:
        of_quantity = [row for row in rows if row["quantity"] == quantity]
        assert [(row["module"], row["type"]) for row in of_quantity] == \
            list(zip(record.names, record.types, strict=True)) * 2
        assert [int(row["pass"]) for row in of_quantity] == [0] * 4 + [1] * 4
        values = np.array([float(row["value"] or "nan") for row in of_quantity]).reshape(2, 4)
        np.testing.assert_array_equal(values, record.values(quantity))


def test_an_empty_record_is_a_csv_with_a_head_only(tmp_path):
    mr.GradientRecord().to_csv(tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text(encoding="utf-8").splitlines() == [
        "pass,module,type,quantity,value,depth,role,use_of,use,part,after,lines"]


def test_a_csv_that_cannot_be_written_is_a_file_error(tmp_path):
    record = recorded(Forked(), vectors())
    with pytest.raises(FileError, match="to_csv: cannot write"):
        record.to_csv(tmp_path / "no such folder" / "record.csv")


def test_stacked_records_are_the_passes_of_all():
    records = [recorded(small_net(seed=seed), images()) for seed in range(3)]
    stacked = mr.stack_records(iter(records))
    assert len(stacked) == 3
    assert stacked.names == records[0].names
    assert stacked.stream().names == records[0].stream().names
    for quantity in QUANTITIES:
        np.testing.assert_array_equal(stacked.values(quantity), np.concatenate([r.values(quantity) for r in records]))


def test_records_of_different_nets_are_not_stacked():
    with pytest.raises(ArgumentError, match="the records are of different modules"):
        mr.stack_records([recorded(Forked(), vectors()), recorded(nn.Sequential(nn.Linear(3, 2)), vectors())])
    with pytest.raises(ArgumentError, match="got no record"):
        mr.stack_records([])
