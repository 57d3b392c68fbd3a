"""Training on both backends: optimizers, the recorder, a whole step without a wait, a lesson."""
import csv

import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.arrays.backend import device_of, to_device, to_host
from minires.recording.numbers import ALL_QUANTITIES
from tests.backends.comparison import assert_same
from tests.lessons.test_lessons import FILES, run_tiny
from tests.ops.test_every_op import normal
from tests.strict_cupy import no_sync

LABELS = np.array([0, 1, 2, 0])


def net(device, **options):
    return models.cifar_net(8, width=4, **options).astype(np.float64).to(device)


def train(model, optimizer, steps, device):
    """The losses of so many steps, moved to the host at the end."""
    losses = []
    for _ in range(steps):
        loss = mr.ops.cross_entropy(model(mr.Tensor(normal(4, 3, 8, 8)).to(device)), LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    return [loss.item() for loss in losses]


OPTIMIZERS = {"plain": {}, "momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True},
              "weight decay": {"momentum": 0.9, "weight_decay": 0.01}}


@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_the_loss_falls_and_is_on_the_device_what_it_is_on_the_cpu(settings, cuda):
    losses, states = [], []
    for device in ("cpu", "cuda"):
        model = net(device)
        optimizer = mr.optim.SGD(model.parameters(), lr=0.05, **OPTIMIZERS[settings])
        losses.append(train(model, optimizer, 4, device))
        states.append(model.state_dict())
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    assert_same(states[1].values(), states[0].values(), rtol=1e-5, atol=1e-7)


def test_a_model_may_move_in_the_middle_and_its_momentum_follows(cuda):
    straight, moving = net("cpu"), net("cpu")
    optimizers = [mr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9) for model in (straight, moving)]
    train(straight, optimizers[0], 3, "cpu")
    for device in ("cpu", "cuda:1", "cuda:0"):
        moving.to(device)
        train(moving, optimizers[1], 1, device)
        assert {device_of(v) for v in optimizers[1].velocities} == {device}
    assert_same(moving.state_dict().values(), straight.state_dict().values(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("kind", "options"), [
    (mr.optim.Adam, {"weight_decay": 0.1, "amsgrad": True}), (mr.optim.AdamW, {}),
    (mr.optim.RMSProp, {"momentum": 0.5, "centered": True, "eps": 0.1})])
def test_adaptive_optimizers_with_clipping_are_on_the_device_what_they_are_on_the_cpu(kind, options, cuda):
    states = []
    for devices in (["cpu"] * 3, ["cpu", "cuda:0", "cuda:1"]):  # the arrays that are kept follow
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).astype(np.float64)
        model.load_state_dict({"1.weight": 0.1 * normal(4, 192), "1.bias": normal(4)})
        optimizer = kind([{"params": model[1].weight}, {"params": model[1].bias, "lr": 0.1}], lr=0.01, **options)
        for device in devices:
            model.to(device)
            images = mr.Tensor(normal(4, 3, 8, 8)).to(device)
            optimizer.zero_grad()
            with no_sync():
                mr.ops.cross_entropy(model(images), LABELS).backward()
                norm = mr.optim.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
            kept = [array for arrays in optimizer.arrays.values() for array in arrays]
            assert {device_of(array) for array in (norm, *kept) if array is not None} == {device}
        states.append(model.state_dict())
    assert_same(states[1].values(), states[0].values(), rtol=1e-6, atol=1e-8)


def test_gradients_on_two_devices_are_clipped_by_their_norm_together(cuda):
    tensors = [mr.Tensor(to_device(np.zeros(2), device), requires_grad=True) for device in ("cuda:1", "cpu", "cuda:0")]
    for i, tensor in enumerate(tensors):
        tensor.grad = to_device(np.array([1.0, i]), tensor.device)
    norm = mr.optim.clip_grad_norm_(tensors, 1)
    assert device_of(norm) == "cuda:1"
    np.testing.assert_allclose(to_host(norm), 8 ** 0.5)
    assert [tensor.device for tensor in tensors] == [device_of(tensor.grad) for tensor in tensors]
    np.testing.assert_allclose(to_host(tensors[2].grad), np.array([1, 2]) / 8 ** 0.5, rtol=1e-5)


def test_two_nets_on_two_devices_can_be_trained_in_turn(cuda):
    devices = ("cuda:0", "cuda:1")
    images = [mr.Tensor(normal(4, 3, 8, 8)).to(device) for device in devices]  # CuPy's current device is the last one now
    nets = [net(device) for device in devices]
    optimizers = [mr.optim.SGD(one.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01) for one in nets]
    for _ in range(2):
        losses = [mr.ops.cross_entropy(one(x) * 1.5, LABELS) for one, x in zip(nets, images, strict=True)]
        for loss in losses:
            loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    assert [loss.device for loss in losses] == list(devices)
    assert [{device_of(v) for v in optimizer.velocities} for optimizer in optimizers] == [{device} for device in devices]
    assert_same(*[one.state_dict().values() for one in nets], rtol=0, atol=0)


def test_a_learning_rate_schedule_keeps_the_precision(cuda):
    model = models.cifar_net(8, width=4).to("cuda")
    optimizer = mr.optim.SGD(model.parameters(), lr=np.float64(0.1), momentum=np.float64(0.9))
    schedule = mr.optim.MultiStepLR(optimizer, [1], gamma=np.float64(0.1))
    mr.ops.cross_entropy(model(mr.Tensor(normal(4, 3, 8, 8).astype(np.float32)).to("cuda")), LABELS).backward()
    optimizer.step()
    schedule.step()
    optimizer.step()
    assert {array.dtype for p in model.parameters() for array in (p.data, p.grad)} == {np.dtype(np.float32)}
    assert type(optimizer.lr) is type(optimizer.momentum) is float  # a scalar of NumPy's would make w's steps float64


# ---- a training step of ResNet-20: what it uploads, and that nothing waits

class Step:
    """One training step of ResNet-20, on a batch that is uploaded in it."""

    def __init__(self, batch_size=4):
        generator = np.random.default_rng(0)
        self.model = models.resnet20().to("cuda")
        self.optimizer = mr.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        self.images = generator.standard_normal((batch_size, 3, 32, 32)).astype(np.float32)
        self.labels = generator.integers(0, 10, batch_size)

    @property
    def batch(self):
        """The bytes of the two uploads."""
        return [self.images.nbytes, self.labels.nbytes]

    def __call__(self):
        loss = mr.ops.cross_entropy(self.model(mr.Tensor(self.images).to("cuda")), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def test_a_step_uploads_its_batch_and_nothing_else_moves_or_waits(cuda):
    step = Step()
    step()
    cuda.reset()
    with no_sync():
        loss = step()
    assert (cuda.uploads, cuda.downloads) == (step.batch, [])
    assert np.isfinite(loss.item())
    assert cuda.downloads == [4]


def test_a_step_makes_few_launches_however_large_its_batch(cuda):
    counts = []
    for batch_size in (2, 32):
        step = Step(batch_size)
        step()
        cuda.reset()
        step()
        counts.append(cuda.launches.copy())
    assert counts[0] == counts[1]
    assert counts[0].total() < 2600, counts[0]  # 2416 when this was written: 390 of them SGD's, 6 for each parameter
    assert counts[0]["matmul"] < 140  # of 19 convolutions: 1 forward, 2 backward, and 4 + 1 where the stride is 2
    assert counts[0]["add.at"] == 0


@pytest.mark.parametrize("shortcut_flow", [False, True])
def test_the_recorder_adds_one_small_vector_a_step_and_no_wait(shortcut_flow, cuda):
    step = Step()
    with mr.record_gradients(step.model, step.optimizer, shortcut_flow=shortcut_flow) as record:
        step()
        cuda.reset()
        with no_sync():
            step()
            step()
    assert (cuda.uploads, cuda.downloads) == (step.batch * 2, [])
    assert np.isfinite(record.output_grad_norm).all()  # here the vectors are moved
    assert len(cuda.downloads) == len(record) == 3
    assert max(cuda.downloads) < 4000
    assert np.isfinite(record.select(nn.Conv2d).update_ratio).all()
    assert len(cuda.downloads) == 3


def test_the_record_is_that_of_the_cpu(cuda):
    records = []
    for device in ("cpu", "cuda"):
        model = net(device)
        optimizer = mr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        with mr.record_gradients(model, optimizer, shortcut_flow=True) as record:
            train(model, optimizer, 2, device)
        records.append(record)
    for quantity in ALL_QUANTITIES:
        np.testing.assert_allclose(records[1].values(quantity), records[0].values(quantity), rtol=1e-6, atol=1e-9)


def test_an_anomaly_is_found_and_described_on_the_device(device):
    x = mr.Tensor(to_device(np.array([1.0, 0.0, -1.0]), device), requires_grad=True)
    message = r"Log: the output is -inf at \[1\]"
    with np.errstate(all="ignore"), mr.detect_anomaly(), pytest.raises(mr.AnomalyError, match=message):
        x.log()


def test_stepping_shows_the_same_steps(device):
    model = net(device)
    loss = mr.ops.cross_entropy(model(mr.Tensor(normal(4, 3, 8, 8)).to(device)), LABELS)
    steps = [(step.name, type(step.op).__name__, step.grad_output.shape) for step in mr.backward_steps(loss)]
    assert steps[0][1] == "CrossEntropy"
    assert {"layer3.0.conv2", "conv1", "fc"} <= {name for name, _, _ in steps}


# ---- gradients and labels from the wrong place

def test_a_gradient_from_another_device_is_refused_with_both_named(cuda):
    x = mr.Tensor(to_device(np.ones(3), "cuda"), requires_grad=True)
    with pytest.raises(mr.DeviceError, match=r"gradient is on cpu, expected cuda:0"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(mr.DeviceError, match=r"gradient is on cuda:0, expected cpu"):
        (mr.Tensor(np.ones(3), requires_grad=True) * 2).backward(x.data)


def test_labels_on_a_device_are_refused_as_they_could_not_be_checked_without_waiting(cuda):
    logits = mr.Tensor(normal(4, 3)).to("cuda")
    with pytest.raises(mr.DeviceError, match=r"CrossEntropy: labels are on cuda:0.*on the host"):
        mr.ops.cross_entropy(logits, to_device(LABELS, "cuda"))


def test_a_wrong_label_is_found_before_it_moves(cuda):
    logits = mr.Tensor(normal(4, 3)).to("cuda")
    cuda.reset()
    with pytest.raises(mr.LabelError, match=r"label 3 is out of range"):
        mr.ops.cross_entropy(logits, [0, 1, 2, 3])
    assert not cuda.uploads


@pytest.mark.parametrize("key", [[0, 3], np.array([-4]), (slice(None), [0, 5])])
def test_an_index_out_of_range_is_found_on_the_host(key, device):
    x = mr.Tensor(normal(3, 3)).to(device)
    with pytest.raises(mr.ShapeError, match=r"Index: x"):
        x[key]


@pytest.mark.parametrize(("x_device", "statistics_device"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_running_statistics_on_another_device_are_named(x_device, statistics_device, cuda):
    x, weight, bias = [mr.Tensor(array).to(x_device) for array in (normal(4, 3), normal(3), normal(3))]
    mean, var = [to_device(array, statistics_device) for array in (np.zeros(3), np.ones(3))]
    with pytest.raises(mr.DeviceError, match=r"BatchNorm: got x on .*running_mean on"):
        mr.ops.batch_norm(x, weight, bias, mean, var, training=True)


def test_an_error_for_mixed_devices_names_the_arguments_and_what_to_do(cuda):
    conv = nn.Conv2d(3, 4, 3).to("cuda")
    with pytest.raises(mr.DeviceError, match=r"Conv2d: got x on cpu, weight on cuda:0, bias on cuda:0: move .*\.to\(…\)"):
        conv(mr.Tensor(normal(2, 3, 5, 5)))


def test_a_tensor_takes_python_numbers_without_an_upload(cuda):
    tensors = [mr.Tensor(normal(3)).to(device) for device in ("cuda:0", "cuda:1")]
    cuda.reset()
    for x in tensors:
        y = 2 * x + 1
        assert y.device == x.device
        np.testing.assert_allclose(y.numpy(), 2 * normal(3) + 1)
    assert not cuda.uploads


def test_a_graph_may_pass_through_both_devices(cuda):
    x = mr.Tensor(to_device(normal(3), "cuda:0"), requires_grad=True)
    y = (x * 2) + (x.to("cuda:1") * 3 + x.to("cpu").to("cuda:1")).to("cuda:0") + x
    y.sum().backward()
    np.testing.assert_allclose(to_host(x.grad), 7.0)
    assert device_of(x.grad) == "cuda:0"


# ---- a lesson

def measured(run):
    """{check: the number that a lesson measured} of one of its runs."""
    with open(run.folder / "checks.csv", encoding="utf-8", newline="") as file:
        return {row["what"]: float(row["measured"]) for row in csv.DictReader(file)}


@pytest.mark.slow  # tests/lessons/test_devices.py has some lessons among the fast tests
def test_a_lesson_measures_on_the_device_what_it_measures_on_the_cpu(cuda, tmp_path):
    [file] = [file for file in FILES if file.name == "exploding"]
    here, there = [measured(run_tiny(file, tmp_path / device, "--device", device)) for device in ("cpu", "cuda")]
    assert cuda.launches.total() > 10_000
    assert len(here) > 5
    assert list(there) == list(here)
    np.testing.assert_allclose(list(there.values()), list(here.values()), rtol=1e-3)
