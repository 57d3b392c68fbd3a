"""Adam, AdamW and RMSProp against the same arithmetic written as a loop over numbers, and their states."""
import math

import numpy as np
import pytest

import minires as mr
from minires import nn, ops, optim
from minires.errors import ArgumentError, StateError
from tests.optim.test_sgd import gradients, parameters, run


def adam(w, slopes, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False):
    """Adam on one number, as the paper states it: one slope for each step."""
    m = v = largest = 0.0
    for t, g in enumerate(slopes, start=1):
        if decoupled:
            w = w - lr * weight_decay * w
        else:
            g = g + weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        largest = max(largest, v)
        m_hat, v_hat = m / (1 - betas[0] ** t), (largest if amsgrad else v) / (1 - betas[1] ** t)
        w = w - lr * m_hat / (math.sqrt(v_hat) + eps)
    return w


def adamw(w, slopes, weight_decay=0.01, **settings):
    return adam(w, slopes, weight_decay=weight_decay, decoupled=True, **settings)


def rmsprop(w, slopes, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    m = v = b = 0.0
    for g in slopes:
        g = g + weight_decay * w
        v = alpha * v + (1 - alpha) * g * g
        m = alpha * m + (1 - alpha) * g
        b = momentum * b + g / (math.sqrt(v - m * m if centered else v) + eps)
        w = w - lr * b
    return w


CASES = [
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.3}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.0, 0.5), "amsgrad": True}),
    (optim.AdamW, adamw, {}),
    (optim.AdamW, adamw, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    (optim.RMSProp, rmsprop, {}),
    (optim.RMSProp, rmsprop, {"lr": 0.1, "alpha": 0.5, "eps": 0.1, "weight_decay": 0.3}),
    (optim.RMSProp, rmsprop, {"momentum": 0.9}),
    (optim.RMSProp, rmsprop, {"momentum": 0.5, "centered": True, "weight_decay": 0.1}),
]
each_case = pytest.mark.parametrize(("kind", "loop", "settings"), CASES,
                                    ids=[f"{kind.__name__} {settings}" for kind, _, settings in CASES])


@each_case
def test_steps_are_those_of_the_loop(kind, loop, settings):
    optimizer = kind(parameters(), **settings)
    run(optimizer, 5)
    slopes = [gradients(step) for step in range(5)]
    for i, (parameter, start) in enumerate(zip(optimizer.params, parameters(), strict=True)):
        for place in np.ndindex(parameter.shape):
            expected = loop(start.data[place], [step[i][place] for step in slopes], **settings)
            np.testing.assert_allclose(parameter.data[place], expected, rtol=1e-10)


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_array_of_a_parameter_stay_and_its_gradient_is_not_written_to(kind, loop, settings, dtype):
    optimizer = kind(parameters(dtype), **settings)
    arrays = [parameter.data for parameter in optimizer.params]
    for step in range(2):
        for parameter, gradient in zip(optimizer.params, gradients(step, dtype), strict=True):
            gradient.flags.writeable = False
            parameter.grad = gradient
        optimizer.step()
    assert all(parameter.data is array for parameter, array in zip(optimizer.params, arrays, strict=True))
    kept = [array for arrays in optimizer.arrays.values() for array in arrays if array is not None]
    assert len(kept) > 0
    assert {array.dtype for array in (*arrays, *kept)} == {np.dtype(dtype)}


@each_case
def test_a_run_that_is_saved_in_a_file_and_loaded_goes_on_bit_for_bit(kind, loop, settings, tmp_path):
    whole, first = kind(parameters(np.float32), **settings), kind(parameters(np.float32), **settings)
    run(whole, 6)
    run(first, 3)
    second = kind([mr.Tensor(p.data.copy(), requires_grad=True, name=p.name) for p in first.params], lr=5)
    mr.save(first.state_dict(), tmp_path / "state.npz")
    run(first, 1, first=3)
    second.load_state_dict(mr.load(tmp_path / "state.npz"))
    assert [second.param_groups[0][name] for name in second.setting_names] == \
        [whole.param_groups[0][name] for name in whole.setting_names]
    run(second, 3, first=3)
    for one, other in zip(whole.params, second.params, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_parameter_without_a_gradient_stays_and_its_steps_do_not_count():
    optimizer = optim.Adam(parameters(), lr=0.1)
    run(optimizer, 2)
    kept = optimizer.params[1].data.copy()
    optimizer.params[1].grad = None
    optimizer.step()
    np.testing.assert_array_equal(optimizer.params[1].data, kept)
    assert optimizer.steps == [3, 2]


def test_the_first_step_of_adam_is_lr_whatever_the_size_of_the_gradient():
    for slope in (1e-4, 1.0, 1e4):
        w = mr.Tensor(np.zeros(()), requires_grad=True)
        w.grad = np.array(slope)
        optim.Adam([w], lr=0.25).step()
        assert w.item() == pytest.approx(-0.25, rel=1e-3)


def test_the_decay_of_adamw_is_not_divided_by_the_size_of_the_gradient():
    moved = []
    for kind in (optim.Adam, optim.AdamW):
        w = mr.Tensor(np.full(2, 10.0), requires_grad=True)
        w.grad = np.array([1.0, 1000.0])
        kind([w], lr=0.1, weight_decay=0.5).step()
        moved.append(10 - w.data)
    np.testing.assert_allclose(moved, [[0.1, 0.1], [0.6, 0.6]], rtol=1e-6)


@pytest.mark.parametrize("make", [lambda w: optim.Adam([w], lr=0.1), lambda w: optim.AdamW([w], lr=0.1, weight_decay=0),
                                  lambda w: optim.RMSProp([w], lr=0.1, alpha=0.9, momentum=0.5, centered=True, eps=1)])
def test_it_minimises(make):
    target = np.array([3.0, -2.0])
    w = mr.Tensor(np.zeros(2), requires_grad=True)
    optimizer = make(w)
    for _ in range(400):
        optimizer.zero_grad()
        ((w - mr.Tensor(target)) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(w.data, target, rtol=1e-3)


def test_a_state_dict_has_an_array_of_each_kind_and_a_count_by_name():
    optimizer = optim.Adam(parameters(), amsgrad=True)
    state = optimizer.state_dict()
    assert {name: value for name, value in state.items() if name != "betas"} == \
        {"lr": 1e-3, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": True}
    np.testing.assert_array_equal(state["betas"], [0.9, 0.999])
    run(optimizer, 2)
    assert list(optimizer.state_dict())[5:] == [
        "mean.weight", "mean.bias", "mean_square.weight", "mean_square.bias", "largest_mean_square.weight",
        "largest_mean_square.bias", "steps.weight", "steps.bias"]
    assert optimizer.state_dict()["steps.bias"] == 2


def test_a_state_that_does_not_fit_is_refused_whole_with_all_that_is_wrong():
    optimizer = optim.Adam(parameters())
    run(optimizer, 1)
    state = optimizer.state_dict()
    del state["mean.weight"]
    wrong = state | {"betas": np.array([0.5, 1.0]), "eps": np.ones(2), "steps.bias": 0, "mean_square.bias": np.zeros(3)}
    with pytest.raises(StateError) as caught:
        optimizer.load_state_dict(wrong)
    for line in ("betas: is 1, expected a number below 1", "eps: has shape (2,), expected one number",
                 "mean_square.bias: has shape (3,), expected (2,)", "mean.weight: is missing, and steps.weight is there",
                 "steps.bias: is array(0), expected one whole number of at least 1"):
        assert line in str(caught.value)
    assert optimizer.steps == [1, 1]
    assert optimizer.betas == (0.9, 0.999)
    with pytest.raises(StateError, match=r"betas: has shape \(\), expected \(2,\)"):
        optimizer.load_state_dict(state | {"betas": 0.5})


@pytest.mark.parametrize(("kind", "settings", "said"), [
    (optim.Adam, {"betas": (0.9, 1)}, "Adam: betas is 1, expected a number below 1"),
    (optim.AdamW, {"betas": 0.9}, "AdamW: betas is 0.9, expected a pair of numbers from 0 to below 1"),
    (optim.Adam, {"eps": -1}, "Adam: eps is -1"),
    (optim.Adam, {"amsgrad": "no"}, "Adam: amsgrad is 'no', expected True or False"),
    (optim.RMSProp, {"alpha": 1.5}, "RMSProp: alpha is 1.5, expected a number from 0 to 1"),
    (optim.RMSProp, {"momentum": None}, "RMSProp: momentum is None"),
])
def test_a_setting_out_of_range_is_named(kind, settings, said):
    with pytest.raises(ArgumentError, match=said):
        kind(parameters(), **settings)


def test_what_is_shown_are_the_settings():
    assert repr(optim.AdamW(parameters())) == \
        "AdamW(2 parameters, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01, amsgrad=False)"


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW, optim.RMSProp])
def test_the_recorder_measures_how_far_its_steps_move_the_weights(kind):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = kind(net.parameters(), lr=0.01)
    expected = []
    with mr.record_gradients(net, optimizer) as record:
        for _ in range(2):
            optimizer.zero_grad()
            ops.cross_entropy(net(mr.Tensor(np.ones((2, 3), np.float32))), [0, 1]).backward()
            before = net[0].weight.data.copy()
            optimizer.step()
            expected.append(np.linalg.norm(net[0].weight.data - before) / np.linalg.norm(before))
    np.testing.assert_allclose(record.select("0").update_ratio[:, 0], expected, rtol=1e-4)
