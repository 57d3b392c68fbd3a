"""Does a device compute what the CPU computes? Checks for `python -m benchmarks.gpu` and for the tests marked `gpu`.

Each takes two devices, the one that is checked and the one that it is compared with, and returns a sentence with what it
measured, or raises `AssertionError`. With the CPU as both, their logic runs on any machine.
"""
import contextlib
import tempfile
from pathlib import Path

import numpy as np

import minires as mr
from minires.arrays.backend import all_finite, beside, device_of, to_device, to_host, usable_device
from minires.ops.conversion import ToDevice
from tests.ops.test_every_op import CASES, NAMES, cotangent

TOLERANCES = {np.float32: 1e-4, np.float64: 1e-9}  # of the largest value; rounding differs in every sum
SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}


def op_parity(device, reference, dtype) -> str:
    """Values and gradients of every op in the tests' table, in both forms."""
    worst, count = (0.0, "all are equal"), 0
    for case, name in zip(CASES, NAMES, strict=True):
        for form in ("fast", "plain") if case.op.plain_forward else ("fast",):
            one, other = [_values_and_gradients(case, dtype, place, form) for place in (device, reference)]
            for i, (a, b) in enumerate(zip(one, other, strict=True)):
                difference = relative_difference(a, b)
                assert difference <= TOLERANCES[dtype], f"{name}, {form} form, {_part(i)}: differs by {difference:.1e}"
                count += 1
                if difference > worst[0]:
                    worst = difference, f"{name}, {form} form"
    return f"{count} arrays of {len(CASES)} calls agree within {TOLERANCES[dtype]:g}; worst {worst[0]:.1e} ({worst[1]})"


def _part(i):
    return "the value" if i == 0 else f"the gradient of argument {i - 1}"


def _values_and_gradients(case, dtype, device, form):
    """[the output, dL/d(each argument)] on the host, for a random dL/dy."""
    leaves = [mr.Tensor(to_device(array.astype(dtype), device), requires_grad=True) for array in case.arrays]
    with mr.reference_ops() if form == "plain" else contextlib.nullcontext():
        y = case.function(*leaves)
        place = device_of(y.data)
        assert place == device or case.op is ToDevice, f"{case.op.__name__}: the output is on {place}, expected {device}"
        y.backward(beside(cotangent(y), y.data))
    assert all(device_of(x.grad) == device for x in leaves), f"{case.op.__name__}: a gradient is on another device"
    return [to_host(y.data), *[to_host(x.grad) for x in leaves]]


def relative_difference(a, b) -> float:
    """The largest difference of two host arrays over the largest value, which counts as 1 if it is less; inf for NaN."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{a.dtype} {a.shape} beside {b.dtype} {b.shape}"
    if a.size == 0:
        return 0.0
    difference = float(np.abs(a.astype(np.float64) - b).max() / max(1.0, float(np.abs(a).max()), float(np.abs(b).max())))
    return difference if np.isfinite(difference) else float("inf")


def gradient_check(device, reference=None) -> str:
    """Every op's gradient against numerical derivatives that are taken on the device, in float64."""
    for case in CASES:
        mr.gradcheck(case.function, [mr.Tensor(to_device(x, device), requires_grad=True) for x in case.arrays])
    return f"the gradients of {len(CASES)} calls of ops agree with numerical derivatives"


def training_steps(device, reference, dtype, steps=20, depth=20, width=16, size=32, batch=32) -> str:
    """A ResNet's losses over some steps of SGD, from the same weights on the same images.

    The losses of float32 runs drift apart: each step feeds the rounding of the one before. So the first step must agree
    closely, and the others within what twenty steps make of it.
    """
    runs = [_losses(place, dtype, steps, depth, width, size, batch) for place in (device, reference)]
    one, other = [np.array([loss.item() for loss in losses]) for losses in runs]  # asked for after the last step
    differences = np.abs(one - other) / np.maximum(1.0, np.abs(other))
    allowed = (1e-4, 0.05) if dtype == np.float32 else (1e-9, 1e-4)
    assert all_finite(one), f"the losses on {device} are {one}"
    assert differences[0] <= allowed[0], f"the first loss differs by {differences[0]:.1e}: {one[0]} beside {other[0]}"
    assert differences.max() <= allowed[1], f"a later loss differs by {differences.max():.1e}: {one} beside {other}"
    assert one[-1] != one[0], "the losses do not change: nothing was trained"
    return (f"{steps} steps of ResNet-{depth}, batch {batch}: the loss goes from {one[0]:.4f} to {one[-1]:.4f}; it differs "
            f"by {differences[0]:.1e} in the first step and by {differences.max():.1e} at most")


def _losses(device, dtype, steps, depth, width, size, batch):
    """The losses, as tensors on the device."""
    step = Step(device, depth, width, size, batch, dtype)
    return [step() for _ in range(steps)]


class Step:
    """A training step of a ResNet for CIFAR on one batch of random images; the loss stays on the device."""

    def __init__(self, device, depth=20, width=16, size=32, batch=128, dtype=np.float32):
        generator = np.random.default_rng(0)
        images = generator.standard_normal((batch, 3, size, size)).astype(dtype)
        self.model = mr.models.cifar_net(depth, width=width, seed=0).astype(dtype).to(device)
        self.optimizer = mr.optim.SGD(self.model.parameters(), **SGD)
        self.images, self.labels = mr.Tensor(images).to(device), generator.integers(0, 10, batch)

    def __call__(self):
        loss = mr.ops.cross_entropy(self.model(self.images), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def save_and_load(device, reference, depth=20, width=16, size=32, batch=16) -> str:
    """A net and its optimizer, saved after three steps on each device, are loaded bit for bit on both and go on."""
    for source in (device, reference):
        saved = Step(source, depth, width, size, batch)
        for _ in range(3):
            saved()
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder) / "model.npz", Path(folder) / "optimizer.npz"
            mr.save(saved.model, paths[0])
            mr.save(saved.optimizer.state_dict(), paths[1])
            states = [mr.load(path) for path in paths]
        for target in (device, reference):
            loaded = Step(target, depth, width, size, batch)
            loaded.model.load_state_dict(states[0])
            loaded.optimizer.load_state_dict(states[1])
            for before, after in ((saved.model, loaded.model), (saved.optimizer, loaded.optimizer)):
                before, after = before.state_dict(), after.state_dict()
                different = [name for name in before if not np.array_equal(before[name], after[name])]
                assert not different, f"saved on {source}, loaded on {target}: {', '.join(different)} differ"
            _check_that_it_is_all_there(loaded, target)
    return f"saved on {device} and on {reference}, loaded on both, equal in every bit; a further step runs"


def _check_that_it_is_all_there(step, device):
    """Weights, buffers, gradients and velocities are on the device, after one step more."""
    step()
    places = {device_of(array) for _name, array in step.model.named_buffers()}
    places |= {device_of(array) for parameter in step.model.parameters() for array in (parameter.data, parameter.grad)}
    places |= {device_of(velocity) for velocity in step.optimizer.velocities}
    assert places == {usable_device(device)}, f"on {device} there should be everything, and something is on {places}"


def moving_on(device, reference, depth=8, width=8, size=16, batch=8) -> str:
    """A net that moves in the middle of its training takes its gradients, buffers and velocities with it."""
    moving, staying = Step(reference, depth, width, size, batch), Step(reference, depth, width, size, batch)
    for step in (moving, staying):
        step()
    moving.model.to(device)
    moving.images = moving.images.to(device)
    assert all(device_of(parameter.grad) == usable_device(device) for parameter in moving.model.parameters())
    losses = [(moving().item(), staying().item()) for _ in range(3)]
    _check_that_it_is_all_there(moving, device)
    worst = max(abs(one - other) for one, other in losses)
    assert worst < 1e-2, f"the losses are {losses}"
    return f"trained on {reference}, moved to {device}, trained on: the losses differ by {worst:.1e} at most"


def checks(device, reference) -> list:
    """(what it is about, function without arguments) of all checks."""
    return [
        ("every op, float32", lambda: op_parity(device, reference, np.float32)),
        ("every op, float64", lambda: op_parity(device, reference, np.float64)),
        ("gradient check, float64", lambda: gradient_check(device)),
        ("20 training steps, float32", lambda: training_steps(device, reference, np.float32)),
        ("20 training steps, float64", lambda: training_steps(device, reference, np.float64)),
        ("save and load", lambda: save_and_load(device, reference)),
        ("moving in mid-training", lambda: moving_on(device, reference)),
    ]
