"""SGD against the same arithmetic written as a loop over numbers."""
import numpy as np
import pytest

import minires as mr
from minires import nn, optim
from minires.errors import ArgumentError, DTypeError, ShapeError, StateError

SETTINGS = [
    {},
    {"momentum": 0.9},
    {"weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.5, "weight_decay": 0.01, "nesterov": True},
]


def parameters(dtype=np.float64):
    """A weight (2, 3) and a bias (2,) with names."""
    generator = np.random.default_rng(0)
    return [mr.Tensor(generator.standard_normal(shape).astype(dtype), requires_grad=True, name=name)
            for shape, name in (((2, 3), "weight"), ((2,), "bias"))]


def gradients(step, dtype=np.float64):
    """The gradients of one step, arbitrary but the same for all who ask."""
    generator = np.random.default_rng([step])
    return [generator.standard_normal(shape).astype(dtype) for shape in ((2, 3), (2,))]


def run(optimizer, steps, first=0):
    for step in range(first, first + steps):
        for parameter, gradient in zip(optimizer.params, gradients(step, optimizer.params[0].dtype), strict=True):
            parameter.grad = gradient
        optimizer.step()


def loop_over_numbers(w, slopes, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """SGD on one number, as the class states it: one slope and one learning rate for each step."""
    v = None
    for slope, rate in zip(slopes, lr, strict=True):
        g = slope + weight_decay * w
        v = g if v is None else momentum * v + g
        w = w - rate * (g + momentum * v if nesterov else v)
    return w


def expected_parameters(lr, **settings):
    """The parameters after len(lr) steps, number by number."""
    steps = [gradients(step) for step in range(len(lr))]
    results = []
    for i, parameter in enumerate(parameters()):
        result = np.empty(parameter.shape)
        for place in np.ndindex(parameter.shape):
            result[place] = loop_over_numbers(parameter.data[place], [step[i][place] for step in steps], lr, **settings)
        results.append(result)
    return results


# ---- the steps


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_are_those_of_the_loop(settings, steps):
    optimizer = optim.SGD(parameters(), lr=0.1, **settings)
    run(optimizer, steps)
    for parameter, expected in zip(optimizer.params, expected_parameters([0.1] * steps, **settings), strict=True):
        np.testing.assert_allclose(parameter.data, expected, rtol=1e-12)


def test_the_first_step_is_lr_times_the_gradient_whatever_the_momentum():
    w = mr.Tensor([1.0], requires_grad=True)
    w.grad = np.array([2.0], np.float32)
    optim.SGD([w], lr=0.25, momentum=0.9).step()
    np.testing.assert_array_equal(w.data, [0.5])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_new_learning_rate_acts_at_once(settings):
    optimizer = optim.SGD(parameters(), lr=0.1, **settings)
    run(optimizer, 3)
    optimizer.lr = 0.01
    run(optimizer, 2, first=3)
    for parameter, expected in zip(optimizer.params, expected_parameters([0.1] * 3 + [0.01] * 2, **settings), strict=True):
        np.testing.assert_allclose(parameter.data, expected, rtol=1e-12)


def test_a_learning_rate_of_zero_moves_nothing():
    optimizer = optim.SGD(parameters(), lr=0, momentum=0.9)
    run(optimizer, 3)
    for parameter, start in zip(optimizer.params, parameters(), strict=True):
        np.testing.assert_array_equal(parameter.data, start.data)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_parameter_without_a_gradient_is_left_as_it_is_with_its_velocity(settings):
    optimizer = optim.SGD(parameters(), lr=0.1, **settings)
    run(optimizer, 2)
    weight, bias = optimizer.params
    kept, velocity = bias.data.copy(), None if optimizer.velocities[1] is None else optimizer.velocities[1].copy()
    before = weight.data.copy()
    bias.grad = None
    optimizer.step()
    np.testing.assert_array_equal(bias.data, kept)
    assert (velocity is None) == (optimizer.velocities[1] is None)
    if velocity is not None:
        np.testing.assert_array_equal(optimizer.velocities[1], velocity)
    assert not np.isclose(weight.data, before).any()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_array_of_a_parameter_stay_and_its_gradient_is_not_written_to(settings, dtype):
    settings = {name: np.float64(value) if name != "nesterov" else value for name, value in settings.items()}
    optimizer = optim.SGD(parameters(dtype), lr=np.float64(0.1), **settings)
    arrays = [parameter.data for parameter in optimizer.params]
    for step in range(3):
        for parameter, gradient in zip(optimizer.params, gradients(step, dtype), strict=True):
            gradient.flags.writeable = False
            parameter.grad = gradient
        optimizer.step()
        for parameter, array, gradient in zip(optimizer.params, arrays, gradients(step, dtype), strict=True):
            assert parameter.data is array
            assert array.dtype == dtype
            np.testing.assert_array_equal(parameter.grad, gradient)
    assert all(velocity is None or velocity.dtype == dtype for velocity in optimizer.velocities)


def test_a_velocity_is_no_alias_of_the_gradient():
    optimizer = optim.SGD(parameters(), lr=0.1, momentum=0.9)
    run(optimizer, 1)
    velocity = optimizer.velocities[0].copy()
    optimizer.params[0].grad[...] = 0
    np.testing.assert_array_equal(optimizer.velocities[0], velocity)


def test_scalars_can_be_trained():
    w = mr.Tensor(2.0, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        (w * w).backward()
        optimizer.step()
    # g = 2 w + w / 2: w = 2 - 0.5 = 1.5, then v = 0.9 * 5 + 3.75 and w = 1.5 - 0.825
    np.testing.assert_allclose(w.data, 0.675, rtol=1e-6)


def test_zero_grad_sets_every_gradient_to_none():
    optimizer = optim.SGD(parameters(), lr=0.1)
    run(optimizer, 1)
    optimizer.zero_grad()
    assert [parameter.grad for parameter in optimizer.params] == [None, None]


def test_hooks_are_called_around_the_update():
    optimizer = optim.SGD(parameters(), lr=0.1)
    seen = []

    class Hook:
        def before_update(self, optimizer):
            seen.append(("before", optimizer.params[0].data.copy()))

        def after_update(self, optimizer):
            seen.append(("after", optimizer.params[0].data.copy()))

    optimizer.hooks.append(Hook())
    run(optimizer, 1)
    assert [when for when, _ in seen] == ["before", "after"]
    np.testing.assert_array_equal(seen[0][1], parameters()[0].data)
    np.testing.assert_array_equal(seen[1][1], optimizer.params[0].data)


def test_it_minimises():
    target = np.array([3.0, -2.0])
    w = mr.Tensor(np.zeros(2), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        ((w - mr.Tensor(target)) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(w.data, target, rtol=1e-6)


# ---- its state


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_run_that_is_saved_and_loaded_goes_on_bit_for_bit(settings):
    whole = optim.SGD(parameters(np.float32), lr=0.1, **settings)
    run(whole, 6)
    first = optim.SGD(parameters(np.float32), lr=0.1, **settings)
    run(first, 3)
    state = first.state_dict()
    second = optim.SGD([mr.Tensor(p.data.copy(), requires_grad=True, name=p.name) for p in first.params], lr=5)
    run(first, 1, first=3)  # what is saved must not move with the optimizer
    second.load_state_dict(state)
    assert (second.lr, second.momentum, second.weight_decay, second.nesterov) == \
        (whole.lr, whole.momentum, whole.weight_decay, whole.nesterov)
    run(second, 3, first=3)
    for one, other in zip(whole.params, second.params, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_state_dict_is_flat_with_a_velocity_by_name_for_each_parameter_that_moved():
    optimizer = optim.SGD(parameters(), lr=0.1, momentum=0.9)
    assert optimizer.state_dict() == {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False}
    run(optimizer, 1)
    state = optimizer.state_dict()
    assert list(state)[4:] == ["velocity.weight", "velocity.bias"]
    np.testing.assert_array_equal(state["velocity.bias"], optimizer.velocities[1])


def test_the_velocities_of_a_net_have_its_dotted_names():
    net = nn.Sequential(nn.Linear(2, 2))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(mr.Tensor(np.ones((1, 2)))).sum().backward()
    optimizer.step()
    assert list(optimizer.state_dict())[4:] == ["velocity.0.weight", "velocity.0.bias"]


def test_parameters_without_a_name_of_their_own_are_known_by_their_place():
    tensors = [mr.Tensor([1.0], requires_grad=True, name=name) for name in (None, "same", "same", "own")]
    optimizer = optim.SGD(tensors, lr=0.1, momentum=0.9)
    for i, tensor in enumerate(tensors):
        tensor.grad = np.array([i], np.float32)
    optimizer.step()
    state = optimizer.state_dict()
    assert {name: value[0] for name, value in list(state.items())[4:]} == \
        {"velocity.0": 0, "velocity.1": 1, "velocity.2": 2, "velocity.own": 3}


def test_a_loaded_velocity_takes_the_dtype_of_its_parameter_and_others_are_cleared():
    optimizer = optim.SGD(parameters(np.float32), lr=0.1, momentum=0.9)
    run(optimizer, 1)
    state = {name: value for name, value in optimizer.state_dict().items() if name != "velocity.bias"}
    state["velocity.weight"] = np.arange(6.0).reshape(2, 3)
    optimizer.load_state_dict(state)
    weight, bias = optimizer.velocities
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, state["velocity.weight"])
    assert bias is None


def test_a_state_that_does_not_fit_is_refused_whole_with_all_that_is_wrong():
    optimizer = optim.SGD(parameters(), lr=0.1, momentum=0.9)
    run(optimizer, 1)
    velocities = [velocity.copy() for velocity in optimizer.velocities]
    wrong = {"lr": 7, "momentum": 0.5, "weight_decay": 0, "velocity.weight": np.zeros(3), "velocity.other": np.zeros(2)}
    with pytest.raises(StateError) as caught:
        optimizer.load_state_dict(wrong)
    message = str(caught.value)
    assert "nesterov: is missing" in message
    assert "velocity.weight: has shape (3,), expected (2, 3)" in message
    assert "velocity.other: is unexpected" in message
    assert len(message.splitlines()) == 4
    assert (optimizer.lr, optimizer.momentum) == (0.1, 0.9)
    for velocity, kept in zip(optimizer.velocities, velocities, strict=True):
        np.testing.assert_array_equal(velocity, kept)


@pytest.mark.parametrize(("setting", "value", "said"), [
    ("lr", np.array([0.1, 0.2]), r"lr: has shape \(2,\), expected one number"),
    ("lr", [0.1], r"lr: has shape \(1,\), expected one number"),
    ("momentum", "much", "momentum: holds <U4 values, expected real numbers"),
    ("weight_decay", None, "weight_decay: holds object values, expected real numbers"),
    ("lr", -1.0, "lr: is -1.0, expected a finite number that is not negative"),
    ("momentum", float("nan"), "momentum: is nan"),
    ("lr", float("inf"), "lr: is inf, expected a finite number that is not negative"),
    ("nesterov", np.zeros(2, bool), r"nesterov: has shape \(2,\), expected one number"),
])
def test_a_setting_that_is_not_one_number_is_refused_with_its_name(setting, value, said):
    optimizer = optim.SGD(parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(StateError, match=said):
        optimizer.load_state_dict(optimizer.state_dict() | {setting: value})
    assert (optimizer.lr, optimizer.momentum) == (0.1, 0.9)


def test_settings_that_a_file_holds_as_arrays_become_python_numbers(tmp_path):
    optimizer = optim.SGD(parameters(), lr=0.1, momentum=0.9, nesterov=True)
    run(optimizer, 1)
    mr.save(optimizer.state_dict(), tmp_path / "optimizer.npz")
    second = optim.SGD(parameters(), lr=1.0)
    second.load_state_dict(mr.load(tmp_path / "optimizer.npz"))
    assert (second.lr, second.momentum, second.nesterov) == (0.1, 0.9, True)
    assert type(second.lr) is type(second.momentum) is float  # NumPy's float64 would promote float32 weights
    np.testing.assert_array_equal(second.velocities[0], optimizer.velocities[0])


# ---- errors


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0.1", None, True])
def test_a_setting_is_a_finite_number_that_is_not_negative(name, value):
    with pytest.raises(ArgumentError, match=f"^SGD: {name} is {value!r}, expected a finite number that is not negative"):
        optim.SGD(parameters(), **{"lr": 0.1, name: value})


def test_nesterov_needs_momentum():
    with pytest.raises(ArgumentError, match="nesterov=True looks ahead along the momentum, but momentum is 0"):
        optim.SGD(parameters(), lr=0.1, nesterov=True)


def test_a_list_of_parameters_is_needed():
    with pytest.raises(DTypeError, match="got one Tensor, expected a list"):
        optim.SGD(parameters()[0], lr=0.1)
    with pytest.raises(DTypeError, match=r"got a ReLU, expected a list of tensors: of a model, model\.parameters\(\)"):
        optim.SGD(nn.ReLU(), lr=0.1)


@pytest.mark.parametrize("make", [list, lambda: nn.ReLU().parameters()])
def test_no_parameters_are_an_error(make):
    with pytest.raises(ArgumentError, match="got no parameters"):
        optim.SGD(make(), lr=0.1)


@pytest.mark.parametrize("make", [lambda: np.zeros(2), lambda: mr.Tensor([1.0]), lambda: parameters()[0] * 2, lambda: "w"])
def test_only_leaves_that_want_a_gradient_can_be_trained(make):
    with pytest.raises(DTypeError, match=r"expected leaf tensors with requires_grad=True"):
        optim.SGD([make()], lr=0.1)


def test_a_parameter_that_is_listed_twice_is_refused():
    weight, bias = parameters()
    with pytest.raises(ArgumentError, match="listed twice"):
        optim.SGD([weight, bias, weight], lr=0.1)


def test_a_gradient_of_another_shape_is_not_broadcast():
    optimizer = optim.SGD(parameters(), lr=0.1)
    optimizer.params[0].grad = np.ones(3)
    with pytest.raises(ShapeError, match=r"'weight'.* has a grad of shape \(3,\)"):
        optimizer.step()


def test_frozen_parameters_are_taken_and_not_moved():
    frozen, trained = mr.Tensor([1.0]), mr.Tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([frozen, trained], lr=0.5, weight_decay=0.1)
    (frozen * trained).backward()
    optimizer.step()
    assert frozen.item() == 1
    assert trained.item() == np.float32(0.45)


def test_a_hook_that_removes_itself_skips_none_of_the_others():
    class Once:
        def before_update(self, optimizer):
            called.append("once")
            optimizer.hooks.remove(self)

        def after_update(self, optimizer):
            called.append("gone")

    class Always:
        def before_update(self, optimizer):
            called.append("before")

        def after_update(self, optimizer):
            called.append("after")

    called = []
    optimizer = optim.SGD([mr.Tensor([1.0], requires_grad=True)], lr=0.1)
    optimizer.hooks += [Once(), Always()]
    optimizer.step()
    assert called == ["once", "before", "after"]


def test_a_read_only_parameter_is_refused_by_name_before_anything_moves():
    first = mr.Tensor([1.0], requires_grad=True, name="first")
    fixed = mr.Tensor(np.broadcast_to(1.0, (1,)), requires_grad=True, name="fixed")
    optimizer = optim.SGD([first, fixed], lr=0.1)
    (first * fixed).backward()
    with pytest.raises(ArgumentError, match=r"fixed.*read-only"):
        optimizer.step()
    assert first.item() == 1


def test_what_is_shown_are_the_settings():
    optimizer = optim.SGD([mr.Tensor([1.0], requires_grad=True)], lr=0.1, momentum=0.9)
    assert repr(optimizer) == "SGD(1 parameters, lr=0.1, momentum=0.9, weight_decay=0, nesterov=False)"


def test_a_velocity_that_the_dtype_cannot_hold_is_not_loaded():
    optimizer = optim.SGD([mr.Tensor(np.float32([1.0]), requires_grad=True, name="w")], lr=0.1, momentum=0.9)
    with pytest.raises(StateError, match=r"velocity\.w: holds numbers that are too large for float32"):
        optimizer.load_state_dict({**optimizer.state_dict(), "velocity.w": np.array([1e300])})
