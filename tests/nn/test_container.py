"""Sequential: modules one after another, which can be indexed like a list."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError


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
