"""SGD and its schedule against PyTorch, over 50 steps of a small net."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
import minires as mr
from minires import nn, ops, optim
from tests.parity.comparison import assert_same_gradients, assert_same_state, normal, to_torch

STEPS = 50
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-10}  # in float32, 50 steps add up rounding
SETTINGS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.9, "nesterov": True},
    "weight decay": {"weight_decay": 0.01},
    "momentum and weight decay": {"momentum": 0.8, "weight_decay": 0.01},
    "Nesterov and weight decay": {"momentum": 0.8, "weight_decay": 0.01, "nesterov": True},
}


def pair_of_nets(dtype):
    """A net of both libraries with the same weights. It is smooth: at a ReLU's kink, rounding would decide."""
    ours = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3))
    theirs = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.Tanh(),
                                 torch.nn.Flatten(), torch.nn.Linear(36, 3))
    ours.astype(dtype)
    ours.load_state_dict({name: 0.3 * normal(*array.shape, seed=i) + name.endswith("running_var")
                          for i, (name, array) in enumerate(ours.state_dict().items())})
    theirs.to(torch.float32 if dtype == np.float32 else torch.float64)
    theirs.load_state_dict(to_torch(ours.state_dict()), strict=False)
    return ours, theirs


def batch(step, dtype):
    return normal(8, 2, 5, 5, seed=step).astype(dtype), np.random.default_rng(step).integers(0, 3, 8)


def train_both(ours, theirs, optimizer, optimizer_torch, step, dtype):
    images, labels = batch(step, dtype)
    optimizer.zero_grad()
    ops.cross_entropy(ours(mr.Tensor(images)), labels).backward()
    optimizer.step()
    optimizer_torch.zero_grad()
    torch.nn.functional.cross_entropy(theirs(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
    optimizer_torch.step()


@pytest.mark.parametrize("scheduled", [False, True], ids=["one rate", "MultiStepLR"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_parameters_stay_equal_over_50_steps(settings, scheduled, dtype):
    ours, theirs = pair_of_nets(dtype)
    optimizer = optim.SGD(ours.parameters(), lr=0.1, **settings)
    optimizer_torch = torch.optim.SGD(theirs.parameters(), lr=0.1, **settings)
    milestones = [10, 25, 25, 40] if scheduled else []  # one of them twice
    schedule = optim.MultiStepLR(optimizer, milestones, gamma=0.3)
    schedule_torch = torch.optim.lr_scheduler.MultiStepLR(optimizer_torch, milestones, gamma=0.3)
    before = ours.state_dict()
    for step in range(STEPS):
        train_both(ours, theirs, optimizer, optimizer_torch, step, dtype)
        schedule.step()
        schedule_torch.step()
        assert optimizer.lr == pytest.approx(schedule_torch.get_last_lr()[0], rel=1e-12)
        assert_same_state(ours, theirs, TOLERANCE[dtype])
    assert optimizer.lr == pytest.approx(0.1 * 0.3 ** len(milestones), rel=1e-12)
    assert all(np.abs(values - before[name]).max() > 0.01 for name, values in ours.state_dict().items())


def test_a_rate_that_is_set_by_hand_acts_at_once():
    ours, theirs = pair_of_nets(np.float64)
    optimizer = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    optimizer_torch = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for step in range(6):
        optimizer.lr = optimizer_torch.param_groups[0]["lr"] = 0.1 / (1 + step)
        train_both(ours, theirs, optimizer, optimizer_torch, step, np.float64)
        assert_same_state(ours, theirs, TOLERANCE[np.float64])


def test_a_parameter_without_a_gradient_stays_and_keeps_its_velocity():
    start, gradients = normal(5), [normal(5, seed=1), None, normal(5, seed=2)]
    w, w_torch = mr.Tensor(start.copy(), requires_grad=True), torch.from_numpy(start.copy()).requires_grad_()
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1)
    optimizer_torch = torch.optim.SGD([w_torch], lr=0.1, momentum=0.9, weight_decay=0.1)
    for gradient in gradients:
        w.grad = gradient
        w_torch.grad = None if gradient is None else torch.from_numpy(gradient.copy())
        optimizer.step()
        optimizer_torch.step()
        np.testing.assert_allclose(w.data, w_torch.detach().numpy(), rtol=1e-12)


def test_gradients_that_are_not_reset_add_up_and_leave_the_velocity_alone():
    ours, theirs = pair_of_nets(np.float64)
    optimizer = optim.SGD(ours.parameters(), lr=0.01, momentum=0.9)
    optimizer_torch = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9)
    for step in range(4):
        images, labels = batch(step, np.float64)
        ops.cross_entropy(ours(mr.Tensor(images)), labels).backward()
        torch.nn.functional.cross_entropy(theirs(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
        optimizer.step()
        optimizer_torch.step()
        assert_same_gradients(ours, theirs)
        assert_same_state(ours, theirs)
