"""The flow through the shortcuts of PyTorch's modules: what is a shortcut, and both terms where its ways part."""
import copy
import gc
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")

from matplotlib import pyplot
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

import minires as mr
from minires import models, ops
from minires.recording.numbers import ALL_QUANTITIES, FLOW_QUANTITIES
from tests.parity.comparison import normal, to_torch
from tests.parity.torch_nets import CifarNet

LABELS = np.array([3, 1, 4, 1])


def vectors(*shape, seed=0):
    return torch.from_numpy(normal(*shape, seed=seed))


class Residual(nn.Module):
    """x + f(x), added as `add` says."""

    def __init__(self, f, add=lambda y, x: y + x):
        super().__init__()
        self.f, self.add = f, add

    def forward(self, x):
        return self.add(self.f(x), x)


def add_in_place(y, x):
    y += x
    return y


class Add(nn.Module):
    def forward(self, a, b):
        return a + b


def net_around(block):
    return nn.Sequential(nn.Linear(3, 3), block, nn.Linear(3, 2)).double()


def recorded(net, x, passes=1, **options):
    with mr.record_gradients(net, shortcut_flow=True, **options) as record:
        for _ in range(passes):
            net(x).square().sum().backward()
    return record


def terms_by_hand(net, shortcut, branch, x):
    """(the gradient through the shortcut, through the branch) of the second module of a net, which adds these two."""
    x = net[0](x).detach().requires_grad_()
    one, other = x.detach().clone().requires_grad_(), x.detach().clone().requires_grad_()
    net[2](shortcut(one) + branch(other)).square().sum().backward()
    return one.grad.numpy(), other.grad.numpy()


def assert_flow(record, column, shortcut, branch, rtol=1e-10):
    norms = [np.linalg.norm(shortcut), np.linalg.norm(branch), np.linalg.norm(shortcut + branch)]
    expected = [*norms, (shortcut * branch).sum() / norms[0] / norms[1]]
    for quantity, number in zip(FLOW_QUANTITIES, expected, strict=True):
        np.testing.assert_allclose(record.select(column).values(quantity)[0, 0], number, rtol=rtol, err_msg=quantity)


@pytest.mark.parametrize("options", [{}, {"shortcut": "B"}, {"shortcut": "C"}, {"preactivation": True},
                                     {"batch_norm": False}],
                         ids=["padding", "projections", "projections everywhere", "preactivation", "no batch norm"])
def test_cifar_nets_have_the_flow_of_their_twins_in_minires(options):
    ours = models.cifar_net(8, width=4, seed=2, **options).astype(np.float64)
    theirs = CifarNet(8, width=4, **options).double()
    theirs.load_state_dict(to_torch(ours.state_dict()), strict=False)
    x = normal(4, 3, 8, 8)
    with mr.record_gradients(ours, shortcut_flow=True) as one:
        for _ in range(2):
            ops.cross_entropy(ours(mr.Tensor(x)), LABELS).backward()
    with mr.record_gradients(theirs, shortcut_flow=True) as two:
        for _ in range(2):
            cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(LABELS)).backward()
    assert one.names == two.names
    assert (~two.missing("flow_together")).sum() == 6
    for quantity in ALL_QUANTITIES:
        np.testing.assert_array_equal(one.missing(quantity), two.missing(quantity), err_msg=quantity)
        np.testing.assert_allclose(one.values(quantity), two.values(quantity), rtol=1e-10, err_msg=quantity)
    assert len(mr.plot.shortcut_flow(two).collections) > 2
    pyplot.close("all")


@pytest.mark.parametrize("add", [lambda y, x: y + x, lambda y, x: x + y, add_in_place, Add(), torch.add],
                         ids=["+", "the other way round", "+=", "a module", "torch.add"])
def test_both_terms_are_those_of_a_graph_that_was_cut_by_hand(add):
    f = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 3))
    net, x = net_around(Residual(f, add)), vectors(5, 3)
    record = recorded(net, x)
    assert (~record.missing("flow_together")).sum() == 1
    assert_flow(record, "1", *terms_by_hand(net, lambda x: x, f, x))


def test_a_branch_may_use_its_input_twice_and_its_weights_without_a_module():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.v = nn.Parameter(vectors(3, 3)), nn.Parameter(vectors(3, 3, seed=1))

        def forward(self, x):
            return torch.tanh(x @ self.w) * (x @ self.v)

    f = Gated()
    net, x = net_around(Residual(f)), vectors(5, 3)
    assert_flow(recorded(net, x), "1", *terms_by_hand(net, lambda x: x, f, x))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_projection_is_the_shortcut_as_it_has_fewer_layers(frozen):
    class Projected(nn.Module):
        def __init__(self):
            super().__init__()
            self.proj, self.f = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))

        def forward(self, x):
            return self.proj(x) + self.f(x)

    block = Projected()
    net, x = net_around(block), vectors(5, 3)
    if frozen:
        block.requires_grad_(False)
    assert_flow(recorded(net, x), "1", *terms_by_hand(net, block.proj, block.f, x))


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_two_additions_of_a_transformer_layer_are_numbered(norm_first):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True, norm_first=norm_first),
                        nn.Linear(4, 1)).double()
    x = vectors(2, 5, 3)
    record = recorded(net, x)
    adds = record.select("1.shortcut_add1", "1.shortcut_add2")
    assert adds.types == ["ShortcutAdd"] * 2
    order = ["1.self_attn", "1.shortcut_add1", "1.norm2" if norm_first else "1.norm1", "1.linear2", "1.shortcut_add2", "1"]
    assert [name for name in record.names if name in order] == order
    layer, h = net[1], net[0](x).detach()
    attention = lambda x: layer.self_attn(x, x, x)[0]  # noqa: E731
    rest = lambda x: layer.linear2(torch.relu(layer.linear1(x)))  # noqa: E731
    if norm_first:
        middle = h + attention(layer.norm1(h))
        one, other = [middle.detach().requires_grad_() for _ in range(2)]
        net[2](one + rest(layer.norm2(other))).square().sum().backward()
    else:
        middle = layer.norm1(h + attention(h))
        one, other = [middle.detach().requires_grad_() for _ in range(2)]
        net[2](layer.norm2(one + rest(other))).square().sum().backward()
    assert_flow(record, "1.shortcut_add2", one.grad.numpy(), other.grad.numpy())


def test_additions_of_the_net_itself_are_numbered_and_runs_are_uses():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.f, self.block = nn.Linear(3, 3), nn.Linear(3, 3), Residual(nn.Linear(3, 3))

        def forward(self, x):
            x = self.stem(x)
            x = x + self.f(x)
            return self.block(self.block(x)).tanh() + x

    record = recorded(Net().double(), vectors(5, 3))
    with_flow = [name for name, missing in zip(record.names, record.missing("flow_together")[0], strict=True) if not missing]
    assert with_flow == ["shortcut_add1", "block", "block@2", "shortcut_add2"]


@pytest.mark.parametrize("f", [
    lambda x: 0.5 * x * (1 + torch.tanh(x + 0.044 * x ** 3)), lambda x: x.sin() + x.cos() * 2, lambda x: x * 2 + 1,
], ids=["gelu", "functions", "a number"])
def test_a_sum_without_a_layer_is_no_shortcut_and_where_there_is_none_a_warning_says_so(f):
    class Own(nn.Module):
        def forward(self, x):
            return f(x)

    with pytest.warns(UserWarning, match="no flow is recorded"):
        record = recorded(net_around(Own()), vectors(5, 3))
    assert not record.has_flow


def test_two_parts_of_one_tensor_have_nothing_in_common():
    class Coupled(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.f = nn.Linear(3, 4), nn.Linear(2, 2)

        def forward(self, x):
            one, other = self.stem(x).chunk(2, dim=1)
            return self.f(one) + other

    with pytest.warns(UserWarning, match="no flow is recorded"):
        assert not recorded(Coupled().double(), vectors(5, 3)).has_flow


def test_two_ways_that_are_equally_long_are_named():
    class Twins(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.a(x) + self.b(x)

    with pytest.warns(UserWarning, match="'1' adds two ways of equally many layers") as found:
        record = recorded(net_around(Twins()), vectors(5, 3), passes=2)
    assert len(found) == 1
    assert not record.has_flow


def test_a_sum_of_what_has_nothing_in_common_or_only_a_weight_is_no_shortcut():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
            self.b[0].weight = self.a.weight

        def forward(self, x):
            return self.a(x) + self.b(2 * x)

    with pytest.warns(UserWarning, match="no flow is recorded"):  # the images want no gradient
        recorded(Tied().double(), vectors(5, 3))
    assert recorded(Tied().double(), vectors(5, 3).requires_grad_()).names[-1] == "shortcut_add1"


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_block_has_the_same_flow(reentrant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block = nn.Linear(3, 3), Residual(nn.Linear(3, 3))

        def forward(self, x, reentrant=None):
            x = self.stem(x)
            return self.block(x) if reentrant is None else checkpoint(self.block, x, use_reentrant=reentrant)

    net, x = Net().double(), vectors(5, 3)
    with mr.record_gradients(net, shortcut_flow=True) as record:
        net(x, reentrant).square().sum().backward()
    alone = recorded(net, x)
    assert record.names == alone.names
    for quantity in ALL_QUANTITIES:
        np.testing.assert_allclose(record.values(quantity), alone.values(quantity), rtol=1e-12, err_msg=quantity)


def test_a_graph_that_is_walked_twice_has_the_flow_of_each_pass_and_the_scale_is_taken_out():
    net, x = net_around(Residual(nn.Linear(3, 3))), vectors(5, 3)
    alone = recorded(net, x)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    with mr.record_gradients(net, shortcut_flow=True, grad_scaler=scaler) as record:
        loss = scaler.scale(net(x).square().sum())
        loss.backward(retain_graph=True)
        (2 * loss).backward()
    for quantity in FLOW_QUANTITIES:
        factor = 1 if quantity == "flow_cosine" else 2
        np.testing.assert_allclose(record.values(quantity)[:, 2], alone.values(quantity)[0, 2] * np.array([1, factor]),
                                   rtol=1e-12, err_msg=quantity)


def test_recording_changes_no_gradient_by_a_single_bit_and_keeps_no_graph():
    net = CifarNet(8, width=4)
    twin = copy.deepcopy(net)
    x = vectors(4, 3, 8, 8).float()
    with mr.record_gradients(net, shortcut_flow=True):
        y = net(x)
        alive = weakref.ref(y)
        y.sum().backward()
        gc.disable()
        try:
            del y
            assert alive() is None
        finally:
            gc.enable()
    twin(x).sum().backward()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_without_the_option_nothing_of_it_is_recorded():
    net = net_around(Residual(nn.Linear(3, 3)))
    with mr.record_gradients(net) as record:
        net(vectors(5, 3)).sum().backward()
    assert not record.has_flow
