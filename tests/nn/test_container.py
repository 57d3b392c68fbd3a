"""Sequential, ModuleList and ModuleDict: modules that can be asked for as in a list or a dict."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError, DTypeError, ModuleError, PlaceError, UnknownNameError


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_it_runs_its_modules_in_order():
    layers = net()
    x = mr.Tensor(np.random.default_rng(0).standard_normal((5, 3)))
    expected = ops.linear(ops.tanh(ops.linear(x, layers[0].weight, layers[0].bias)), layers[2].weight, layers[2].bias)
    assert layers(x).shape == (5, 2)
    np.testing.assert_array_equal(layers(x).data, expected.data)


def test_names_are_the_places_or_those_of_the_dict():
    assert [name for name, _ in net().named_children()] == ["0", "1", "2"]
    named = nn.Sequential({"conv": nn.Conv2d(1, 1, 1), "act": nn.ReLU()})
    assert [name for name, _ in named.named_children()] == ["conv", "act"]
    assert named.conv.weight.name == "conv.weight"
    assert named[1] is named.act


def test_indexing_length_and_iteration_work_as_on_a_list():
    layers = net()
    assert len(layers) == 3
    assert list(layers) == [layers[0], layers[1], layers[2]]
    assert layers[-1] is layers[2]
    with pytest.raises(IndexError):
        _ = layers[3]


def test_a_slice_is_a_sequential_of_the_same_modules_which_keep_their_names():
    layers = net()
    part = layers[1:]
    assert isinstance(part, nn.Sequential)
    assert list(part) == [layers[1], layers[2]]
    assert layers[2].path == "2"
    assert [name for name, _ in layers.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    x = mr.Tensor(np.random.default_rng(0).standard_normal((5, 3)))
    np.testing.assert_array_equal(layers[1:](layers[:1](x)).data, layers(x).data)


def test_a_module_may_run_twice():
    layer = nn.Linear(3, 3)
    layers = nn.Sequential(layer, layer)
    assert len(layers) == 2
    assert len(list(layers.parameters())) == 2
    mr.gradcheck(layers.astype(np.float64), [np.random.default_rng(0).standard_normal((2, 3))])


def test_an_empty_one_returns_its_input():
    x = mr.Tensor([1.0])
    assert nn.Sequential()(x) is x


def test_the_gradient_of_a_chain_is_right():
    mr.gradcheck(net().astype(np.float64), [np.random.default_rng(0).standard_normal((2, 3))])


@pytest.mark.parametrize("argument", [ops.relu, [nn.ReLU()], nn.ReLU, None])
def test_what_is_no_module_is_refused(argument):
    with pytest.raises(ArgumentError, match=f"argument 1 is a {type(argument).__name__}, expected modules"):
        nn.Sequential(nn.ReLU(), argument)


def test_a_dict_of_functions_is_refused_by_name():
    with pytest.raises(ArgumentError, match="argument 'act' is a function, expected modules"):
        nn.Sequential({"act": ops.relu})


def test_a_module_is_replaced_added_and_removed_as_in_a_list():
    layers = net()
    layers[1] = nn.ReLU()
    assert isinstance(layers[1], nn.ReLU)
    assert layers.append(nn.Identity()) is layers
    layers.insert(1, nn.Flatten())
    assert [type(layer).__name__ for layer in layers] == ["Linear", "Flatten", "ReLU", "Linear", "Identity"]
    del layers[1], layers[-1]
    assert [name for name, _ in layers.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert layers[2].weight.name == "2.weight"
    del layers[1:]
    assert len(layers) == 1


def test_names_given_in_a_dict_survive_insertions():
    named = nn.Sequential({"conv": nn.Conv2d(1, 1, 1), "act": nn.ReLU()})
    named.insert(0, nn.Identity())
    assert [name for name, _ in named.named_children()] == ["0", "conv", "act"]


@pytest.mark.parametrize("change", [lambda layers: layers.append(len), lambda layers: layers.insert(1.5, nn.ReLU()),
                                    lambda layers: layers.__setitem__(0, "relu"),
                                    lambda layers: layers.__setitem__("0", nn.ReLU()),
                                    lambda layers: layers.__delitem__(7), lambda layers: layers.__setitem__(-4, nn.ReLU())])
def test_what_is_no_module_or_no_place_is_refused_and_changes_nothing(change):
    layers = net()
    before = list(layers.named_children())
    with pytest.raises(ArgumentError):
        change(layers)
    assert list(layers.named_children()) == before


# ---- ModuleList and ModuleDict


class Parts(nn.Module):
    """x through a list of layers, and then one of several heads."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.heads = nn.ModuleDict({"shape": nn.Linear(3, 2), "colour": nn.Linear(3, 4)})

    def forward(self, x, head):
        for layer in self.layers:
            x = ops.tanh(layer(x))
        return self.heads[head](x)


def test_modules_in_a_list_and_a_dict_are_parts_of_the_net():
    net = Parts()
    assert list(net.state_dict()) == [f"{name}.{kind}" for name in ("layers.0", "layers.1", "heads.shape", "heads.colour")
                                      for kind in ("weight", "bias")]
    x = mr.Tensor(np.random.default_rng(0).standard_normal((5, 3)))
    net.astype(np.float64)
    with mr.record_gradients(net) as record:
        net(x, head="colour").sum().backward()
    assert record.names == ["layers.0", "layers.1", "heads.colour"]
    assert np.isfinite(record.output_grad_norm).all()
    assert net.heads["shape"].weight.grad is None
    assert net.layers[1].path == "layers.1"
    assert "(layers): ModuleList(" in repr(net)
    assert [row.name for row in mr.summary(nn.Sequential(net.layers[0]), (1, 3)).rows] == ["", "0"]


def test_a_list_of_modules_is_used_as_a_list():
    first, second, third, fourth = [nn.ReLU() for _ in range(4)]
    layers = nn.ModuleList([first])
    assert layers.append(second) is layers
    layers.insert(0, third)
    assert layers.extend(iter([fourth])) is layers
    assert list(layers) == [third, first, second, fourth]
    assert (len(layers), layers[-1], first.path, fourth.path) == (4, fourth, "1", "3")
    layers[1] = nn.Tanh()
    del layers[0]
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2"]
    part = layers[1:]
    assert isinstance(part, nn.ModuleList)
    assert list(part) == [second, fourth]
    assert list(nn.ModuleList()) == []
    with pytest.raises(PlaceError, match="ModuleList: index is 3, expected one of its 3 places"):
        _ = layers[3]
    with pytest.raises(ModuleError, match="ModuleList: has no forward"):
        layers(mr.Tensor([1.0]))


def test_a_dict_of_modules_is_used_as_a_dict():
    first, second = nn.ReLU(), nn.Tanh()
    heads = nn.ModuleDict({"a": first})
    heads["b"] = second
    assert (heads["b"], len(heads), "a" in heads, "c" in heads) == (second, 2, True, False)
    assert (list(heads), heads.keys(), heads.values()) == (["a", "b"], ["a", "b"], [first, second])
    heads.update({"b": first, "c": second})
    assert heads.items() == [("a", first), ("b", first), ("c", second)]
    del heads["a"]
    assert heads.keys() == ["b", "c"]
    assert len(nn.ModuleDict()) == 0


@pytest.mark.parametrize(("make", "error", "said"), [
    (lambda: nn.ModuleList(3), DTypeError, "ModuleList: modules is 3, expected a list of modules"),
    (lambda: nn.ModuleList([nn.ReLU(), ops.relu]), ArgumentError, "ModuleList: argument 1 is a function, expected modules"),
    (lambda: nn.ModuleDict([nn.ReLU()]), DTypeError, "ModuleDict: modules is .*expected a dict of modules"),
    (lambda: nn.ModuleDict({"a": 3}), ArgumentError, "ModuleDict: 'a' is a int, expected a module"),
    (lambda: nn.ModuleDict({"items": nn.ReLU()}), ArgumentError, "the attribute 'items' has a meaning for every ModuleDict"),
    (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), ArgumentError, r"'a\.b' cannot name a part of a module"),
    (lambda: nn.ModuleDict({"head": nn.ReLU()})["heads"], UnknownNameError, "known are head. Did you mean 'head'?"),
])
def test_what_does_not_fit_in_a_list_or_a_dict_is_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()
