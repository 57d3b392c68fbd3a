"""Optimizers and schedules against PyTorch, over up to 50 steps of a small net."""
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


# ---- Adam, AdamW, RMSProp

ADAPTIVE = {
    "Adam": (optim.Adam, torch.optim.Adam, {"lr": 0.01}),
    "Adam, settings": (optim.Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    "Adam, amsgrad": (optim.Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.7), "amsgrad": True}),
    "AdamW": (optim.AdamW, torch.optim.AdamW, {"lr": 0.01}),
    "AdamW, settings": (optim.AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True}),
    "RMSProp": (optim.RMSProp, torch.optim.RMSprop, {}),
    "RMSProp, momentum": (optim.RMSProp, torch.optim.RMSprop, {"alpha": 0.9, "momentum": 0.5, "weight_decay": 0.1}),
    "RMSProp, centered": (optim.RMSProp, torch.optim.RMSprop, {"alpha": 0.9, "eps": 0.1, "centered": True}),
}
each_adaptive = pytest.mark.parametrize(("kind", "kind_torch", "settings"), ADAPTIVE.values(), ids=ADAPTIVE.keys())


@each_adaptive
def test_parameters_of_adaptive_optimizers_stay_equal_over_30_steps(kind, kind_torch, settings):
    ours, theirs = pair_of_nets(np.float64)
    optimizer, optimizer_torch = kind(ours.parameters(), **settings), kind_torch(theirs.parameters(), **settings)
    for step in range(30):
        train_both(ours, theirs, optimizer, optimizer_torch, step, np.float64)
        assert_same_state(ours, theirs, 1e-8)


@each_adaptive
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_not_finite_reaches_the_weights_that_it_reaches_in_pytorch(kind, kind_torch, settings):
    w = mr.Tensor(np.ones(5, np.float32), requires_grad=True)
    w_torch = torch.ones(5, requires_grad=True)
    optimizer, optimizer_torch = kind([w], **settings), kind_torch([w_torch], **settings)
    for gradient in ([np.nan, np.inf, -np.inf, 0, 1e15], [1, 1, 1, np.inf, 0.0], [0.0, 1, -1, 1, 1]):
        w.grad = np.array(gradient, np.float32)
        w_torch.grad = torch.tensor(gradient)
        optimizer.step()
        optimizer_torch.step()
        np.testing.assert_allclose(w.data, w_torch.detach().numpy(), rtol=1e-5)


def test_the_settings_that_are_left_out_are_those_of_pytorch():
    for kind, kind_torch in ((optim.Adam, torch.optim.Adam), (optim.AdamW, torch.optim.AdamW),
                             (optim.RMSProp, torch.optim.RMSprop)):
        optimizer = kind([mr.Tensor([1.0], requires_grad=True)])
        theirs = kind_torch([torch.ones(1, requires_grad=True)]).param_groups[0]
        assert {name: theirs[name] for name in optimizer.setting_names} == \
            {name: optimizer.param_groups[0][name] for name in optimizer.setting_names}


# ---- groups, clipping and schedules

@pytest.mark.parametrize(("kind", "kind_torch"), [(optim.SGD, torch.optim.SGD), (optim.Adam, torch.optim.Adam),
                                                  (optim.RMSProp, torch.optim.RMSprop)])
def test_groups_are_those_of_pytorch_also_under_a_schedule(kind, kind_torch):
    def groups(net):
        return [{"params": net[0].parameters(), "lr": 0.01}, {"params": net[4].parameters(), "weight_decay": 0.3}]

    ours, theirs = pair_of_nets(np.float64)
    optimizer, optimizer_torch = kind(groups(ours), lr=0.02), kind_torch(groups(theirs), lr=0.02)
    schedule = optim.MultiStepLR(optimizer, [3], gamma=0.5)
    schedule_torch = torch.optim.lr_scheduler.MultiStepLR(optimizer_torch, [3], gamma=0.5)
    for step in range(6):
        train_both(ours, theirs, optimizer, optimizer_torch, step, np.float64)
        schedule.step()
        schedule_torch.step()
        assert_same_state(ours, theirs, 1e-8)
    assert [group["lr"] for group in optimizer.param_groups] == schedule_torch.get_last_lr() == [0.005, 0.01]


@pytest.mark.parametrize("max_norm", [0.05, 1e3])
def test_clipped_gradients_are_those_of_pytorch(max_norm, dtype):
    ours, theirs = pair_of_nets(dtype)
    images, labels = batch(0, dtype)
    ops.cross_entropy(ours(mr.Tensor(images)), labels).backward()
    torch.nn.functional.cross_entropy(theirs(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
    norm = optim.clip_grad_norm_(ours.parameters(), max_norm)
    norm_torch = torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)
    assert norm == pytest.approx(norm_torch.item(), rel=1e-5)
    assert_same_gradients(ours, theirs)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("max_norm", [1.0, np.inf])
def test_clipping_what_is_not_finite_does_as_pytorch(bad, max_norm):
    gradients = [np.array([1, bad, 0], np.float32), np.array([2], np.float32)]
    tensors = [mr.Tensor(np.ones_like(gradient), requires_grad=True) for gradient in gradients]
    tensors_torch = [torch.ones(gradient.shape, requires_grad=True) for gradient in gradients]
    for tensor, tensor_torch, gradient in zip(tensors, tensors_torch, gradients, strict=True):
        tensor.grad, tensor_torch.grad = gradient, torch.from_numpy(gradient.copy())
    np.testing.assert_array_equal(optim.clip_grad_norm_(tensors, max_norm),
                                  torch.nn.utils.clip_grad_norm_(tensors_torch, max_norm))
    for tensor, tensor_torch in zip(tensors, tensors_torch, strict=True):
        np.testing.assert_array_equal(tensor.grad, tensor_torch.grad)


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step:UserWarning",
                            "ignore:The epoch parameter in .scheduler.step:UserWarning")
@pytest.mark.parametrize("warmup", [False, True])
def test_schedules_are_those_of_pytorch(warmup):
    schedulers = torch.optim.lr_scheduler
    optimizer = optim.SGD([mr.Tensor([1.0], requires_grad=True)], lr=0.4)
    optimizer_torch = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.4)
    schedule, schedule_torch = optim.CosineLR(optimizer, 7, 0.1), None
    if warmup:
        schedule = optim.LinearWarmup(optimizer, 3, 0.25, after=schedule)
        parts = [schedulers.LinearLR(optimizer_torch, 0.25, total_iters=3),
                 schedulers.CosineAnnealingLR(optimizer_torch, 7, 0.1)]
        schedule_torch = schedulers.SequentialLR(optimizer_torch, parts, [3])
    else:
        schedule_torch = schedulers.CosineAnnealingLR(optimizer_torch, 7, 0.1)
    for _ in range(12):
        assert optimizer.lr == pytest.approx(optimizer_torch.param_groups[0]["lr"], rel=1e-10)
        schedule.step()
        schedule_torch.step()
