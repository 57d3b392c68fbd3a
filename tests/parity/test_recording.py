"""The recorder on PyTorch's modules: the numbers of minires' twins, and what only PyTorch has."""
import copy
import csv
import gc
import math
import pickle
import threading
import warnings
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")

from matplotlib import pyplot
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

import minires as mr
from minires import models, nn, ops, optim
from minires.errors import ArgumentError, DTypeError, StateError
from minires.recording.numbers import QUANTITIES
from tests.parity.comparison import normal, to_numpy, to_torch
from tests.parity.torch_nets import CifarNet
from tests.parity.torchvision_import import import_torchvision

TOLERANCE = 1e-10  # in float64, as a share of each number
LABELS = np.array([3, 1, 4, 1])


def images(*shape, dtype=torch.float64):
    return torch.from_numpy(normal(*shape)).to(dtype)


def recorded(net, x, passes=1, **options):
    """The record of backward passes of the sum of a PyTorch net's output."""
    with mr.record_gradients(net, **options) as record:
        for _ in range(passes):
            net(x).sum().backward()
    return record


def kept(module):
    """The module's outputs, with their gradients, in the order of its runs."""
    outputs = []

    def keep(module, inputs, output):
        output.retain_grad()
        outputs.append(output)

    module.register_forward_hook(keep)
    return outputs


def assert_same_record(ours, theirs, tolerance=TOLERANCE, quantities=QUANTITIES, with_depth=True):
    """The records have the same columns, and the same numbers where both have one, up to a share of each."""
    assert ours.names == theirs.names
    assert not with_depth or [column.depth for column in ours.columns] == [column.depth for column in theirs.columns]
    for quantity in quantities:
        np.testing.assert_array_equal(ours.missing(quantity), theirs.missing(quantity), err_msg=quantity)
        np.testing.assert_allclose(ours.values(quantity), theirs.values(quantity), rtol=tolerance, atol=0,
                                   err_msg=quantity)


# ---- twins


@pytest.mark.parametrize("options", [{"residual": True}, {"residual": False}, {"shortcut": "B"}, {"preactivation": True}],
                         ids=["residual", "plain", "projections", "preactivation"])
def test_cifar_nets_have_the_record_of_their_twins_in_minires(options):
    ours = models.cifar_net(8, width=4, seed=2, **options).astype(np.float64)
    theirs = CifarNet(8, width=4, **options).double()
    theirs.load_state_dict(to_torch(ours.state_dict()), strict=False)
    x = normal(4, 3, 8, 8)
    optimizer = mr.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    with mr.record_gradients(ours, optimizer) as one:
        for _ in range(2):
            ours.zero_grad()
            ops.cross_entropy(ours(mr.Tensor(x)), LABELS).backward()
            optimizer.step()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    with mr.record_gradients(theirs, optimizer) as two:
        for _ in range(2):
            optimizer.zero_grad()
            cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(LABELS)).backward()
            optimizer.step()
    assert len(one) == len(two) == 2
    assert_same_record(one, two)
    assert not two.missing("update_ratio").all()


@pytest.mark.parametrize("options", [{"residual": True}, {"preactivation": True}], ids=["residual", "preactivation"])
def test_activations_and_histograms_are_those_of_the_twin(options):
    ours = models.cifar_net(8, width=4, seed=2, **options).astype(np.float64)
    theirs = CifarNet(8, width=4, **options).double()
    theirs.load_state_dict(to_torch(ours.state_dict()), strict=False)
    for relu in (module for module in theirs.modules() if isinstance(module, torch.nn.ReLU)):
        relu.inplace = True  # after which the output of the layer before is another one
    x = normal(4, 3, 8, 8)
    with mr.record_gradients(ours, activations=True, histograms=True) as one:
        ops.cross_entropy(ours(mr.Tensor(x)), LABELS).backward()
    with mr.record_gradients(theirs, activations=True, histograms=True) as two:
        cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(LABELS)).backward()
    assert_same_record(one, two, quantities=("activation_std", "activation_zeros"))
    np.testing.assert_allclose(two.activation_mean, one.activation_mean, rtol=TOLERANCE, atol=1e-14)  # batch norm's is 0
    assert one.output_grad_histogram.sum() > 10_000
    for name in ("output_grad_histogram", "output_grad_zeros", "output_grad_not_finite"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


EDGES = [1e-3, 1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_counts_of_edges_zeros_and_what_is_not_finite(dtype):
    net = torch.nn.Sequential(torch.nn.Identity(), Doubled())
    x = torch.ones(9, dtype=dtype, requires_grad=True)
    dy = torch.tensor([0.0, 1e-4, 0.5, 1.0, 1.5, -2.0, 1e30, math.inf, math.nan], dtype=dtype)
    with mr.record_gradients(net, histograms=EDGES) as record:
        net(x).backward(dy)
    assert record.output_grad_histogram.tolist() == [[[1, 1, 2, 2]]]
    assert record.output_grad_zeros.tolist() == [[1]]
    assert record.output_grad_not_finite.tolist() == [[2]]


def test_activations_of_tuples_empty_outputs_and_large_numbers():
    net = Around(Returning(lambda a, b: (a, b)), lambda y: y[0] + y[1]).double()
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(net.inner.b.bias, 1e300)
    record = recorded(net, images(2, 3), activations=True)
    assert record.names == ["inner.a", "inner.b", "inner", "inner[0]", "inner[1]"]
    np.testing.assert_allclose(record.activation_mean, [[0, 1e300, 5e299, 0, 1e300]])
    np.testing.assert_allclose(record.activation_std, [[0, 0, 5e299, 0, 0]], atol=1e285)
    np.testing.assert_array_equal(record.activation_zeros, [[1, 0, 0.5, 1, 0]])
    assert np.isnan(recorded(net, images(0, 3), activations=True).activation_mean).all()


@pytest.mark.slow
@pytest.mark.parametrize("copied_from", ["minires", "torchvision"])
def test_resnet18_has_the_record_of_torchvision_s(copied_from):
    ours = models.imagenet_net(18, seed=1).astype(np.float64)
    torch.manual_seed(1)
    theirs = import_torchvision().models.resnet18().double()
    if copied_from == "minires":
        theirs.load_state_dict(to_torch(ours.state_dict()), strict=False)
    else:
        ours.load_state_dict(to_numpy(theirs.state_dict()))
    x, dy = normal(4, 3, 64, 64), normal(4, 1000, seed=1)  # at 32 x 32, the last batch norms have two values each
    with mr.record_gradients(ours) as one:
        ours(mr.Tensor(x)).backward(dy)
    with mr.record_gradients(theirs) as two:
        theirs(torch.from_numpy(x)).backward(torch.from_numpy(dy))
    used_twice = [name for name in two.names if name.endswith(".relu")]  # relu1 and relu2 in minires
    for name in used_twice:
        for use, twin in ((name, f"{name}1"), (f"{name}@2", f"{name}2")):
            np.testing.assert_allclose(two.select(use).output_grad_norm[:, 0], one.select(twin).output_grad_norm[:, 0],
                                       rtol=TOLERANCE)
    assert len(used_twice) == 8
    shared = [name for name in one.names if name in two.names]
    assert len(shared) == len(one.names) - 16
    assert_same_record(one.select(*shared), two.select(*shared))


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.x, self.h, self.act = nn.Linear(3, 3), nn.Linear(3, 3), nn.Tanh()

    def forward(self, x, h):
        return self.act(self.x(x) + self.h(h))


class TorchCell(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.x, self.h, self.act = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), torch.nn.Tanh()

    def forward(self, x, h):
        return self.act(self.x(x) + self.h(h))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = Cell(), nn.Linear(3, 2)

    def forward(self, steps):
        h = mr.Tensor(np.zeros((2, 3)))
        for x in steps:
            h = self.cell(mr.Tensor(x), h)
        return self.head(h)


class TorchRecurrent(torch.nn.Module):
    def __init__(self, reentrant=None):
        super().__init__()
        self.cell, self.head, self.reentrant = TorchCell(), torch.nn.Linear(3, 2), reentrant

    def forward(self, steps):
        h = torch.zeros(2, 3, dtype=torch.float64, requires_grad=self.reentrant is True)  # for a checkpoint of that form
        for x in steps:
            if self.reentrant is None:
                h = self.cell(torch.from_numpy(x), h)
            else:
                h = checkpoint(self.cell, torch.from_numpy(x), h, use_reentrant=self.reentrant)
        return self.head(h)


@pytest.mark.parametrize("reentrant", [None, False, True], ids=["plain", "checkpoint", "reentrant checkpoint"])
def test_a_recurrent_net_has_the_uses_of_its_twin_checkpointed_or_not(reentrant):
    ours, theirs = Recurrent().astype(np.float64), TorchRecurrent(reentrant).double()
    theirs.load_state_dict(to_torch(ours.state_dict()))
    with mr.record_gradients(ours) as one, mr.record_gradients(theirs) as two:
        for length in (2, 4, 1):
            steps = [normal(2, 3, seed=i) for i in range(length)]
            ours(steps).sum().backward()
            theirs(steps).sum().backward()
    assert two.names[-1] == "head"
    assert two.select("cell").names == ["cell", "cell@2", "cell@3", "cell@4"]
    assert_same_record(one, two, with_depth=not reentrant)  # such a checkpoint hides what was computed from what


E, L = 8, 5  # the length of the vectors, and of the sequences


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), and y + layers(norm(y)): the pre-norm form."""

    def __init__(self):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(E), nn.MultiheadAttention(E, num_heads=2)
        self.norm2, self.wide, self.act, self.narrow = nn.LayerNorm(E), nn.Linear(E, 16), nn.GELU(), nn.Linear(16, E)

    def forward(self, x):
        N, L, E = x.shape
        x = x + self.attention(self.norm1(x))[0]
        y = self.norm2(x).reshape(N * L, E)                         # (N, L, E) -> (N·L, E)
        return x + self.narrow(self.act(self.wide(y))).reshape(N, L, E)


class TorchAttention(torch.nn.Module):
    """As `nn.MultiheadAttention` has it, whose first three products are layers, and PyTorch's are none."""

    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = [torch.nn.Linear(E, E) for _ in range(4)]

    def forward(self, x):
        q, k, v = [layer(x).unflatten(2, (2, E // 2)).transpose(1, 2)  # (N, L, E) -> (N, H, L, D)
                   for layer in (self.q_proj, self.k_proj, self.v_proj)]
        weights = (q @ k.transpose(2, 3) / math.sqrt(E // 2)).softmax(dim=3)
        y = (weights @ v).transpose(1, 2).flatten(2)                # (N, H, L, D) -> (N, L, E)
        return self.out_proj(y), weights.mean(dim=1)


class TorchTransformerBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention, self.norm2 = torch.nn.LayerNorm(E), TorchAttention(), torch.nn.LayerNorm(E)
        self.wide, self.act, self.narrow = torch.nn.Linear(E, 16), torch.nn.GELU(), torch.nn.Linear(16, E)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))[0]
        return x + self.narrow(self.act(self.wide(self.norm2(x))))


def test_a_small_transformer_has_the_record_of_its_twin():
    ours = nn.Sequential(nn.Embedding(7, E), TransformerBlock(), TransformerBlock(), nn.LayerNorm(E)).astype(np.float64)
    theirs = torch.nn.Sequential(torch.nn.Embedding(7, E), TorchTransformerBlock(), TorchTransformerBlock(),
                                 torch.nn.LayerNorm(E)).double()
    ours.load_state_dict({name: normal(*array.shape, seed=i) for i, (name, array) in enumerate(ours.state_dict().items())})
    theirs.load_state_dict(to_torch(ours.state_dict()))
    words = np.random.default_rng(0).integers(7, size=(3, L))
    optimizers = optim.AdamW(ours.parameters(), lr=0.01), torch.optim.AdamW(theirs.parameters(), lr=0.01)
    recorders = [mr.record_gradients(net, optimizer, activations=True, histograms=True)
                 for net, optimizer in zip((ours, theirs), optimizers, strict=True)]
    with recorders[0] as one, recorders[1] as two:
        for i in range(3):
            dy = normal(3, L, E, seed=i)
            for optimizer in optimizers:
                optimizer.zero_grad()
            ours(words).backward(dy)
            theirs(torch.from_numpy(words)).backward(torch.from_numpy(dy))
            for optimizer in optimizers:
                optimizer.step()
    assert {"1.attention.q_proj", "1.attention.out_proj", "2.attention[0]"} <= set(two.names)
    assert_same_record(one, two)
    assert_same_record(one, two, quantities=("activation_std", "activation_zeros"))
    np.testing.assert_array_equal(two.output_grad_counts, one.output_grad_counts)


# ---- whose weights are in a column


class LastOf(torch.nn.Module):
    """The last output of a layer that returns several."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(*[x] * (3 if isinstance(self.layer, torch.nn.MultiheadAttention) else 1))[0][:, -1]


class Bilinear(torch.nn.Module):
    """x A B x, with weights of its own names."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.scale = [torch.nn.Parameter(images(*shape)) for shape in ((4, 3), (3, 4), (4,))]

    def forward(self, x):
        return [x * self.scale * (x @ self.a @ self.b)]


@pytest.mark.parametrize(("layer", "weights"), [
    (torch.nn.LSTM(4, 3, num_layers=2, batch_first=True), ["weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"]),
    (torch.nn.GRUCell(4, 3), ["weight_ih", "weight_hh"]),
    (torch.nn.MultiheadAttention(4, 2, batch_first=True), ["in_proj_weight", "out_proj.weight"]),
    (Bilinear(), ["a", "b"]),
], ids=["LSTM", "GRUCell", "attention", "own"])
def test_a_layer_without_a_weight_of_this_name_has_all_its_matrices_in_its_column(layer, weights):
    net = (torch.nn.Sequential(layer) if isinstance(layer, torch.nn.GRUCell) else LastOf(layer)).double()
    weights = [layer.get_parameter(name) for name in weights]
    before = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with mr.record_gradients(net, optimizer) as record:
        net(images(*([2, 4] if isinstance(layer, torch.nn.GRUCell) else [2, 5, 4]))).square().sum().backward()
        optimizer.step()
    column = record.columns[record.names.index("0" if "0" in record.names else "layer")]
    assert (column.is_layer, column.depth) == (True, 1)

    def norm(tensors):
        return math.hypot(*[float(x.norm()) for x in tensors])

    at = record.select(column.name).names.index(column.name)
    found = {quantity: record.select(column.name).values(quantity)[0, at] for quantity in QUANTITIES[1:]}
    moves = [weight.detach() - old for weight, old in zip(weights, before, strict=True)]
    expected = norm([weight.grad for weight in weights]), norm(before), norm(moves) / norm(before)
    assert found == pytest.approx(dict(zip(QUANTITIES[1:], expected, strict=True)), rel=1e-12)


def test_parameters_of_a_block_and_scales_are_no_weights():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.position, self.layer = torch.nn.Parameter(images(5, 4)), torch.nn.Linear(4, 4).double()

        def forward(self, x):
            return self.layer(x + self.position)

    with pytest.warns(FutureWarning, match="weight_norm"):
        normed = torch.nn.utils.weight_norm(torch.nn.Linear(4, 4).double())
    net = torch.nn.Sequential(Block(), normed, torch.nn.RMSNorm(4).double())
    record = recorded(net, images(2, 5, 4))
    assert record.names == ["0.layer", "0", "1", "2"]
    assert [column.depth for column in record.columns] == [1, 1, 2, 2]
    assert record.missing("weight_grad_norm").tolist() == [[False, True, True, False]]


# ---- what a column is


class Doubled(torch.nn.Module):
    def forward(self, x):
        return x * 2


class Returning(torch.nn.Module):
    """Returns what `form` makes of two tensors."""

    def __init__(self, form):
        super().__init__()
        self.a, self.b, self.form = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), form

    def forward(self, x):
        return self.form(self.a(x), self.b(x))


class Around(torch.nn.Module):
    def __init__(self, inner, read):
        super().__init__()
        self.inner, self.read = inner, read

    def forward(self, x):
        return self.read(self.inner(x))


@pytest.mark.parametrize(("form", "read", "parts"), [
    (lambda a, b: (a, b), lambda y: y[0] + 2 * y[1], ["[0]", "[1]"]),
    (lambda a, b: [a, None, (b, 3)], lambda y: y[0] + 2 * y[2][0], ["[0]", "[2][0]"]),
    (lambda a, b: {"a": a, "b": b}, lambda y: y["a"] + 2 * y["b"], ['["a"]', '["b"]']),
], ids=["tuple", "list", "dict"])
def test_tensors_in_tuples_lists_and_dicts_have_columns(form, read, parts):
    net = Around(Returning(form), read).double()
    record = recorded(net, images(2, 3))
    assert record.names == ["inner.a", "inner.b", "inner", *(f"inner{part}" for part in parts)]
    one = np.sqrt(6)
    np.testing.assert_allclose(record.output_grad_norm, [[one, 2 * one, np.sqrt(5) * one, one, 2 * one]])


def test_a_module_whose_output_cannot_be_recorded_is_named_once():
    class Holder:
        def __init__(self, *tensors):
            self.tensors = tensors

    net = Around(Returning(Holder), lambda y: y.tensors[0] + y.tensors[1]).double()
    with pytest.warns(UserWarning, match=r"'inner' returned a Holder, whose gradient cannot be recorded") as found:
        record = recorded(net, images(2, 3), passes=2)
    assert len(found) == 1
    assert found[0].filename == __file__
    assert record.names == ["inner.a", "inner.b"]


def test_of_a_lstm_the_tensors_that_are_used_have_a_gradient():
    net = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 5), "head": torch.nn.Linear(5, 1)}).double()
    with mr.record_gradients(net) as record:
        _, (h, _) = net["lstm"](images(7, 2, 3))
        h.retain_grad()
        net["head"](h).sum().backward()
    assert record.names == ["lstm", "lstm[0]", "lstm[1][0]", "lstm[1][1]", "head"]
    assert record.missing("output_grad_norm").tolist() == [[False, True, False, True, False]]
    np.testing.assert_allclose(record.output_grad_norm[0, [0, 2]], float(h.grad.norm()))


def test_what_returns_its_input_made_no_output_and_what_changed_it_in_place_did():
    class Double(torch.nn.Module):
        def forward(self, x):
            return x.mul_(2)

    layers = [torch.nn.Linear(3, 3), torch.nn.Identity(), Double(), torch.nn.Sequential(torch.nn.ReLU(inplace=True)),
              torch.nn.Dropout(0.5, inplace=True).eval(), torch.nn.Linear(3, 1)]
    record = recorded(torch.nn.Sequential(*layers).double(), images(5, 3))
    assert record.names == ["0", "2", "3.0", "3", "5"]
    np.testing.assert_allclose(record.output_grad_norm[0, 1] * 2, record.output_grad_norm[0, 0])


def test_inputs_in_lists_and_by_name_are_inputs():
    class Choose(torch.nn.Module):
        def forward(self, tensors, *, other):
            return [*tensors, other, tensors[0] + other]

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.choose = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), Choose()

        def forward(self, x):
            return sum(self.choose([self.a(x), None], other=self.b(x))[2:])

    record = recorded(Net().double(), images(2, 3))
    assert record.names == ["a", "b", "choose", "choose[3]"]  # the other tensors are those that it was given


@pytest.mark.parametrize("functional", [False, True])
def test_a_relu_in_place_leaves_the_gradient_of_what_was_there_before(functional):
    class Net(torch.nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.conv, self.bn = torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)
            self.relu = torch.nn.Identity() if functional else torch.nn.ReLU(inplace)
            self.last, self.inplace = torch.nn.Conv2d(3, 1, 3), inplace

        def forward(self, x):
            y = self.relu(self.bn(self.conv(x)))
            return self.last(torch.nn.functional.relu(y, self.inplace) if functional else y)

    net, other = Net(False).double(), Net(True).double()
    other.load_state_dict(net.state_dict())
    x = images(2, 2, 6, 6)
    one, two = recorded(net, x), recorded(other, x)
    assert two.names == ["conv", "bn", *([] if functional else ["relu"]), "last"]
    assert_same_record(one, two, tolerance=1e-12)


def test_a_view_that_is_changed_in_place_is_named_as_pytorch_forgets_its_gradient():
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Unflatten(1, (2, 2)), torch.nn.ReLU(inplace=True)).double()
    with pytest.warns(UserWarning, match=r"'1' returned a view of a tensor, which '2' changed in place") as found:
        record = recorded(net, images(3, 4), passes=2)
    assert len(found) == 1
    assert record.missing("output_grad_norm").tolist() == [[False, True, False]] * 2


def test_a_shared_module_and_a_tied_weight_have_the_columns_that_they_have_in_minires():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
            self.b.weight = self.a.weight
            self.again = self.a

        def forward(self, x):
            return self.again(self.b(self.a(x)))

    net = Net().double()
    outputs = kept(net.a)
    record = recorded(net, images(2, 3))
    assert record.names == ["a", "b", "a@2"]
    np.testing.assert_allclose(record.select("a").output_grad_norm, [[float(output.grad.norm()) for output in outputs]])
    np.testing.assert_allclose(record.weight_grad_norm[0, :2], float(net.a.weight.grad.norm()))
    assert np.isnan(record.weight_grad_norm[0, 2])


def test_a_parametrized_layer_counts_as_one_and_has_no_weight_of_its_own():
    net = torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 3)), torch.nn.Linear(3, 1))
    record = recorded(net.double(), images(2, 3)).select("0", "1")
    assert [column.depth for column in record.columns] == [1, 2]
    assert record.missing("weight_norm").tolist() == [[True, False]]


@pytest.mark.parametrize("how", ["requires_grad_(False)", "no_grad"])
def test_what_stands_behind_a_frozen_stem_is_as_deep_as_if_it_were_not(how):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
            self.downsample, self.head = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)

        def forward(self, x):
            with torch.set_grad_enabled(how != "no_grad"):
                x = self.stem(x)
            return self.head(x + self.downsample(x))

    net = Net().double()
    if how != "no_grad":
        net.stem.requires_grad_(False)
    record = recorded(net, images(2, 3))
    assert record.names == ["downsample", "head"]
    assert [column.depth for column in record.columns] == [3, 3]  # what lies on a shortcut adds nothing to what follows
    net.stem.requires_grad_(True)
    if how != "no_grad":
        assert [column.depth for column in recorded(net, images(2, 3)).layers().columns] == [1, 2, 3, 3]


def test_a_frozen_weight_has_no_gradient_and_one_that_thaws_has():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)).double()
    net[1].weight.requires_grad_(False)
    with mr.record_gradients(net) as record:
        net(images(2, 3)).sum().backward()
        net[1].weight.requires_grad_(True)
        net(images(2, 3)).sum().backward()
    assert record.missing("weight_grad_norm").tolist() == [[False, True], [False, False]]
    assert not record.missing("output_grad_norm").any()


def test_columns_are_selected_by_classes_of_pytorch():
    record = recorded(CifarNet(8, width=4).double(), images(4, 3, 8, 8))
    assert record.select(torch.nn.Conv2d).types == ["Conv2d"] * 7
    assert record.select(torch.nn.BatchNorm2d, "fc").names[-1] == "fc"
    assert record.layers().names == [*record.select(torch.nn.Conv2d).names, "fc"]


def test_the_record_is_plotted_printed_and_written_as_any_other(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).double()
    record = recorded(net, images(2, 3), passes=2)
    line = mr.plot.gradient_norms([record], labels=["torch"]).lines[0]
    np.testing.assert_array_equal(line.get_ydata(), record.layers().output_grad_norm[0])
    assert len(mr.plot.gradient_heatmap(record, "weight_grad_norm").images) == 2
    pyplot.close("all")
    assert "Linear" in str(record)
    record.to_csv(tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * len(QUANTITIES)
    assert float(rows[0]["value"]) == record.output_grad_norm[0, 0]
    assert len(mr.stack_records([record, record])) == 4


# ---- what a row is


def test_accumulated_passes_are_rows_of_their_own_gradients_and_the_step_belongs_to_the_last():
    net = torch.nn.Sequential(torch.nn.Linear(3, 1)).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    with mr.record_gradients(net, optimizer) as record:
        for scale in (1.0, 2.0):
            (scale * net(torch.ones(1, 3, dtype=torch.float64))).sum().backward()
        before = net[0].weight.detach().clone()
        optimizer.step()
        after = net[0].weight.detach().clone()
        optimizer.step()  # a second step after the pass is not recorded
    np.testing.assert_allclose(record.weight_grad_norm[:, 0], [np.sqrt(3), 2 * np.sqrt(3)])
    assert record.missing("update_ratio")[:, 0].tolist() == [True, False]
    np.testing.assert_allclose(record.update_ratio[1, 0], float((after - before).norm() / before.norm()))


def test_a_graph_that_is_walked_twice_is_two_rows():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)).double()
    with mr.record_gradients(net) as record:
        loss = net(images(2, 3)).sum()
        loss.backward(retain_graph=True)
        (2 * loss).backward(retain_graph=True)
        torch.autograd.grad(loss, [net[0].weight])
    assert len(record) == 3
    np.testing.assert_allclose(record.output_grad_norm[1], 2 * record.output_grad_norm[0])
    np.testing.assert_allclose(record.output_grad_norm[2], record.output_grad_norm[0])
    assert record.missing("weight_grad_norm")[2].tolist() == [False, True]  # only that of the first was asked for


def test_a_gradient_of_a_gradient_is_a_pass_and_keeps_no_graph():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    x = images(2, 3).requires_grad_()
    with mr.record_gradients(net) as record:
        gradient, = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert len(record) == 2
    assert all(type(number) is np.float64 for number in record.output_grad_norm[1])
    np.testing.assert_allclose(record.weight_grad_norm[1, 0], float(net[0].weight.grad.norm()))


def test_evaluation_is_recorded_and_forwards_without_gradients_are_not():
    net = CifarNet(8, width=4).double().eval()
    x = images(4, 3, 8, 8)
    with mr.record_gradients(net) as record:
        with torch.no_grad():
            net(x)
        with torch.inference_mode():
            net(x)
        net(x).sum().backward()
    assert len(record) == 1
    alone = recorded(net, x)
    assert_same_record(record, alone, tolerance=1e-12)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_net_that_is_checkpointed_as_a_whole_is_one_row_a_pass(reentrant):
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    x = images(2, 3).requires_grad_()
    with mr.record_gradients(net) as record:
        for _ in range(2):
            checkpoint(net, x, use_reentrant=reentrant).sum().backward()
    assert len(record) == 2
    assert_same_record(record, recorded(net, x, passes=2), tolerance=1e-12)


@pytest.mark.parametrize("inside_first", [False, True])
def test_a_weight_inside_and_outside_of_a_reentrant_checkpoint_is_recorded_or_named(inside_first):
    a, b = torch.nn.Linear(3, 3).double(), torch.nn.Linear(3, 3).double()
    b.weight = a.weight
    net = torch.nn.ModuleDict({"a": a, "b": b})
    x = images(2, 3).requires_grad_()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with mr.record_gradients(net) as record:
            y = b(checkpoint(a, x, use_reentrant=True)) if inside_first else checkpoint(a, b(x), use_reentrant=True)
            y.sum().backward()
    assert len(record) == 1
    if inside_first:  # so that its part of the gradient comes last, when the other one has gone
        [warning] = found
        assert str(warning.message).startswith("record_gradients: the weight of 'b' is used inside a checkpoint and outside")
        assert record.missing("weight_grad_norm").all()
        assert not record.missing("output_grad_norm").any()
    else:
        assert not found
        np.testing.assert_allclose(record.weight_grad_norm[0], float(a.weight.grad.norm()))


def test_a_pass_that_fails_leaves_no_row_and_nothing_in_the_next():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)).double()
    with mr.record_gradients(net) as record:
        loss = net(images(2, 3)).sum()
        handle = net[0].weight.register_hook(lambda gradient: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            loss.backward()
        handle.remove()
        net(images(2, 3)).sum().backward()
    assert len(record) == 1
    assert_same_record(record, recorded(net, images(2, 3)), tolerance=1e-12)


def test_two_recorders_at_once_record_the_same_and_another_net_is_no_row():
    net, other = torch.nn.Sequential(torch.nn.Linear(3, 1)).double(), torch.nn.Linear(3, 1).double()
    with mr.record_gradients(net) as one, mr.record_gradients(net) as two:
        net(images(2, 3)).sum().backward()
        other(images(2, 3)).sum().backward()
    assert len(one) == len(two) == 1
    assert_same_record(one, two, tolerance=0)


def test_threads_that_train_at_once_have_rows_of_their_own():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(inplace=True), torch.nn.Linear(3, 1)).double()
    both = threading.Barrier(2)
    x = images(2, 3)

    def train(scale):
        for _ in range(5):
            loss = (scale * net(x)).sum()
            both.wait()
            loss.backward()

    with mr.record_gradients(net) as record:
        threads = [threading.Thread(target=train, args=(scale,)) for scale in (1.0, 4.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted((record.output_grad_norm[:, -1] / np.sqrt(2)).round(9)) == [1.0] * 5 + [4.0] * 5
    assert record.names == ["0", "1", "2"]


def test_the_block_can_end_between_forward_and_backward():
    net = torch.nn.Sequential(torch.nn.Linear(3, 1)).double()
    with mr.record_gradients(net) as record:
        loss = net(images(2, 3)).sum()
    loss.backward()
    assert len(record) == 0


# ---- mixed precision


def test_what_autocast_makes_in_bfloat16_is_recorded_as_it_is():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    outputs = [kept(module) for module in net]
    with mr.record_gradients(net) as record:
        with torch.autocast("cpu", torch.bfloat16):
            loss = net(images(5, 3, dtype=torch.float32)).float().sum()
        loss.backward()
    assert outputs[0][0].dtype == torch.bfloat16
    np.testing.assert_allclose(record.output_grad_norm[0], [float(run.grad.double().norm()) for run, in outputs], rtol=1e-12)
    np.testing.assert_allclose(record.weight_grad_norm[0, 0], float(net[0].weight.grad.double().norm()))


def test_the_scale_of_a_gradient_scaler_is_taken_out():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x = images(5, 3, dtype=torch.float32)
    alone = recorded(net, x, histograms=True)
    optimizer.zero_grad()
    with mr.record_gradients(net, optimizer, histograms=True, grad_scaler=scaler) as record:
        scaler.scale(net(x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scaler.scale(net(x).sum() * float("inf")).backward()
        scaler.step(optimizer)  # which it skips
    np.testing.assert_allclose(record.output_grad_norm[0], alone.output_grad_norm[0], rtol=1e-6)
    np.testing.assert_allclose(record.weight_grad_norm[0], alone.weight_grad_norm[0], rtol=1e-6)
    np.testing.assert_allclose(record.weight_norm[0], alone.weight_norm[0], rtol=1e-6)
    np.testing.assert_allclose(record.update_ratio[0], 0.1 * alone.weight_grad_norm[0] / alone.weight_norm[0], rtol=1e-5)
    np.testing.assert_array_equal(record.output_grad_histogram[0], alone.output_grad_histogram[0])
    assert not np.isfinite(record.output_grad_norm[1]).any()
    assert record.output_grad_not_finite[1].all()
    assert record.missing("update_ratio")[1].all()


# ---- what is refused


def compiled_in_place():
    net = torch.nn.Sequential(torch.nn.Linear(3, 1))
    net[0].compile(backend="eager")
    return net


def sharded():
    """A net as `fully_shard` leaves it: that needs several processes."""
    class FSDPModule:
        pass

    FSDPModule.__module__ = "torch.distributed.fsdp"
    return type("Sharded", (FSDPModule, torch.nn.Linear), {})(3, 1)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: torch.compile(torch.nn.Linear(3, 1), backend="eager"), "the model, of class OptimizedModule, is compiled"),
    (compiled_in_place, "the model's part '0' is compiled by torch.compile"),
    (lambda: torch.jit.script(torch.nn.Linear(3, 1)), "of class RecursiveScriptModule|of class ScriptModule"),
    (lambda: torch.nn.DataParallel(torch.nn.Linear(3, 1)), "of class DataParallel, runs copies .* model.module"),
    (sharded, "of class FSDPModule, keeps the weights of its modules in pieces"),
], ids=["torch.compile", "compile()", "script", "data parallel", "sharded"])
def test_a_model_that_cannot_be_recorded_is_refused_in_words(make, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit's own, that it is deprecated
        net = make()
    with pytest.raises(ArgumentError, match=message):
        mr.record_gradients(net)


@pytest.mark.parametrize(("optimizer", "scaler", "message"), [
    (0.1, None, "optimizer is a float, expected one of PyTorch"),
    (mr.optim.SGD(nn.Linear(3, 1).parameters(), lr=0.1), None, "optimizer is a SGD, expected one of PyTorch"),
    (None, 1024.0, "grad_scaler is a float, expected the torch.amp.GradScaler"),
])
def test_optimizers_and_scalers_of_others_are_refused(optimizer, scaler, message):
    with pytest.raises(DTypeError, match=message):
        mr.record_gradients(torch.nn.Linear(3, 1), optimizer, grad_scaler=scaler)


def test_a_torch_optimizer_is_refused_for_a_net_of_minires():
    optimizer = torch.optim.SGD(torch.nn.Linear(3, 1).parameters(), lr=0.1)
    with pytest.raises(DTypeError, match="optimizer is a SGD, expected an optimizer such as"):
        mr.record_gradients(nn.Linear(3, 1), optimizer)


def test_a_block_in_which_the_model_does_not_run_says_so():
    with (pytest.warns(UserWarning, match=r"no module of the model ran in this block.*torch\.compile"),
          mr.record_gradients(torch.nn.Sequential(torch.nn.Linear(3, 1)))):
        pass
    with pytest.raises(KeyError), mr.record_gradients(torch.nn.Linear(3, 1)):  # an error has its own words
        raise KeyError


def test_a_model_without_modules_inside_is_named_with_what_to_do():
    layer = torch.nn.Linear(3, 1)
    with pytest.warns(UserWarning, match=r"record nn.Sequential\(model\)") as found, mr.record_gradients(layer) as record:
        layer(torch.ones(1, 3)).sum().backward()
    assert found[0].filename == __file__
    assert len(record) == 0


def test_transforms_of_functions_are_refused_in_words():
    net = torch.nn.Sequential(torch.nn.Linear(3, 1))
    with pytest.raises(ArgumentError, match=r"inside a transform of torch\.func"), mr.record_gradients(net):
        torch.func.grad(lambda x: net(x).sum())(torch.ones(3))


def test_a_watched_model_is_not_pickled_and_its_copy_is_not_recorded():
    net = torch.nn.Sequential(torch.nn.Linear(3, 1)).double()
    with mr.record_gradients(net) as record:
        with pytest.raises(StateError, match=r"save model\.state_dict\(\), or save the model after the block"):
            pickle.dumps(net)
        copy.deepcopy(net)(images(2, 3)).sum().backward()
        assert len(record) == 0
        net(images(2, 3)).sum().backward()
    assert len(record) == 1


# ---- what it leaves behind


def hooks_of(net):
    return [hook for module in net.modules() for hook in (*module._forward_hooks, *module._forward_pre_hooks)] + [
        hook for parameter in net.parameters() for hook in parameter._backward_hooks or ()]


@pytest.mark.parametrize("error", [False, True])
def test_all_hooks_are_gone_after_the_block(error):
    net = CifarNet(8, width=4).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    try:
        with mr.record_gradients(net, optimizer):
            net(images(4, 3, 8, 8)).sum().backward()
            assert hooks_of(net)
            if error:
                raise KeyError
    except KeyError:
        assert error
    assert hooks_of(net) == []
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_no_graph_is_kept_alive():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).double()
    with mr.record_gradients(net):
        hidden = net[1](net[0](images(2, 3)))
        alive = weakref.ref(hidden)
        net[2](hidden).sum().backward()
        gc.disable()
        try:
            del hidden
            assert alive() is None
        finally:
            gc.enable()


def test_recording_changes_no_gradient_and_no_update_by_a_single_bit():
    net = CifarNet(8, width=4)
    twin = copy.deepcopy(net)
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9) for each in (net, twin)]
    x = images(4, 3, 8, 8, dtype=torch.float32)
    for _ in range(2):
        with mr.record_gradients(net, optimizers[0]):
            net(x).sum().backward()
            optimizers[0].step()
        twin(x).sum().backward()
        optimizers[1].step()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a.grad, b.grad)
