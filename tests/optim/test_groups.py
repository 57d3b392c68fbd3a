"""Groups of parameters: each with settings of its own, in the step, in the state and as attributes of the optimizer."""
import numpy as np
import pytest

import minires as mr
from minires import nn, optim
from minires.errors import ArgumentError, DTypeError, StateError
from tests.optim.test_sgd import parameters, run

OPTIMIZERS = [optim.SGD, optim.Adam, optim.AdamW, optim.RMSProp]


def two_groups(kind=optim.SGD, **settings):
    weight, bias = parameters()
    groups = [{"params": [weight]}, {"params": bias, "lr": 0.5, "weight_decay": 0.0}]
    return kind(groups, lr=0.1, weight_decay=0.3, **settings)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_each_group_is_moved_as_by_an_optimizer_of_its_own(kind):
    together = two_groups(kind)
    run(together, 3)
    for i, settings in enumerate([{"lr": 0.1, "weight_decay": 0.3}, {"lr": 0.5, "weight_decay": 0.0}]):
        alone = kind(parameters(), **settings)
        run(alone, 3)
        np.testing.assert_array_equal(together.params[i].data, alone.params[i].data)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_groups_that_are_saved_and_loaded_go_on_bit_for_bit(kind, tmp_path):
    whole, first = two_groups(kind), two_groups(kind)
    run(whole, 4)
    run(first, 2)
    mr.save(first.state_dict(), tmp_path / "state.npz")
    second = kind([{"params": [parameter]} for parameter in first.params], lr=9)
    second.load_state_dict(mr.load(tmp_path / "state.npz"))
    run(second, 2, first=2)
    for one, other in zip(whole.params, second.params, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_the_settings_of_several_groups_are_told_apart_in_the_state():
    state = two_groups(momentum=0.9).state_dict()
    assert state == {"groups.0.lr": 0.1, "groups.0.momentum": 0.9, "groups.0.weight_decay": 0.3, "groups.0.nesterov": False,
                     "groups.1.lr": 0.5, "groups.1.momentum": 0.9, "groups.1.weight_decay": 0.0, "groups.1.nesterov": False}
    with pytest.raises(StateError, match=r"lr: is missing[\s\S]*groups\.0\.lr: is unexpected"):
        optim.SGD(parameters(), lr=0.1).load_state_dict(state)


def test_an_attribute_is_the_setting_of_the_first_group_and_sets_all_that_are_equal():
    optimizer = two_groups(momentum=0.5)
    assert (optimizer.lr, optimizer.momentum) == (0.1, 0.5)
    optimizer.momentum = np.float64(0.9)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.9]
    assert type(optimizer.momentum) is float
    with pytest.raises(ArgumentError, match=r"lr is 0\.1, 0\.5 in the groups of parameters: set that of each"):
        optimizer.lr = 1
    with pytest.raises(ArgumentError, match="SGD: momentum is -1, expected a finite number that is not negative"):
        optimizer.momentum = -1
    optimizer.param_groups[1]["lr"] = 0.0
    before = optimizer.params[1].data.copy()
    run(optimizer, 1)
    np.testing.assert_array_equal(optimizer.params[1].data, before)


@pytest.mark.parametrize(("groups", "error", "said"), [
    (lambda w, b: [{"params": [w]}, b], DTypeError, "a group of parameters is Tensor.*either all are dicts or none is"),
    (lambda w, b: [w, {"params": [b]}], DTypeError, "either all are dicts or none is"),
    (lambda w, b: [{"lr": 0.1}], DTypeError, "expected a dict such as {'params'"),
    (lambda w, b: {"params": [w]}, DTypeError, "got one dict, expected a list of tensors or of groups"),
    (lambda w, b: [{"params": [w], "Lr": 1, "beta": 2}], ArgumentError, "has Lr, beta, expected params and settings among"),
    (lambda w, b: [{"params": [w], "lr": -1}], ArgumentError, "SGD: lr is -1"),
    (lambda w, b: [{"params": [w], "nesterov": True}], ArgumentError, "nesterov=True looks ahead"),
    (lambda w, b: [{"params": []}], ArgumentError, "got no parameters"),
    (lambda w, b: [{"params": [w, b]}, {"params": [w]}], ArgumentError, "a parameter is listed twice"),
    (lambda w, b: [{"params": [w, 2]}], DTypeError, "got 2, expected leaf tensors"),
])
def test_groups_that_cannot_be_trained_are_refused(groups, error, said):
    with pytest.raises(error, match=said):
        optim.SGD(groups(*parameters()), lr=0.1)


def test_groups_take_the_parameters_of_parts_of_a_net():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    optimizer = optim.SGD([{"params": net[0].parameters(), "lr": 0.0}, {"params": net[1].parameters()}], lr=0.1)
    before = net.state_dict()
    net(mr.Tensor(np.ones((1, 2), np.float32))).sum().backward()
    optimizer.step()
    assert [np.array_equal(before[name], value) for name, value in net.state_dict().items()] == [True, True, False, False]
    assert repr(optimizer) == ("SGD(2 parameters, lr=0, momentum=0, weight_decay=0, nesterov=False; "
                               "2 parameters, lr=0.1, momentum=0, weight_decay=0, nesterov=False)")
