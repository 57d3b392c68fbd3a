"""A net copies no images from one memory order to another, but for the batch that comes in: all ops leave channels last."""
import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from minires.ops.kernels.layout import channels_last

N = 7  # images; no other length is 7, so that images can be told from kernels


def is_in_order(x):
    """Do the axes of x follow each other in memory? Those of a part, such as an image without its border, may."""
    strides = [stride for length, stride in zip(x.shape, x.strides, strict=True) if length > 1]
    return strides == sorted(strides, reverse=True)


class MemoryOrders(mr.BackwardHook):
    """Notes the ops whose images, forward or backward, do not lie with their channels last."""

    def __init__(self):
        self.images, self.wrong = 0, []

    def look_at(self, what, array):
        if array is not None and array.ndim == 4 and len(array) == N:
            self.images += 1
            if not is_in_order(array.transpose(0, 2, 3, 1)):
                self.wrong.append(what)

    def after_forward(self, op, inputs, output):
        self.look_at(f"the output of {op.title}", output)

    def before_step(self, step):
        self.look_at(f"the gradient of the output of {step.op.title}", step.grad_output)

    def after_step(self, step):
        for gradient in step.grad_inputs:
            self.look_at(f"a gradient that {step.op.title} made", gradient)


@pytest.fixture
def copies(monkeypatch):
    """The shapes (N, H, W, C) of the images that were copied to another memory order."""
    shapes, original = [], np.ascontiguousarray

    def counting(array, *arguments, **options):
        result = original(array, *arguments, **options)
        if result.ndim == 4 and len(result) == N and not is_in_order(array):
            shapes.append(result.shape)
        return result

    monkeypatch.setattr(np, "ascontiguousarray", counting)
    return shapes


def images(channels=3, size=16):
    return np.random.default_rng(0).standard_normal((N, channels, size, size)).astype(np.float32)


def two_steps(net, x, copies):
    """A step, and one in the steady state: the copies and the memory orders of that one."""
    optimizer = mr.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for _ in range(2):
        copies.clear()
        with MemoryOrders() as orders:
            loss = ops.cross_entropy(net(mr.Tensor(x)), np.arange(N))
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
    return orders


NETS = {
    "ResNet-20": lambda: models.resnet20(),
    "plain-20": lambda: models.plain20(),
    "ResNet-20 with projections": lambda: models.resnet20(width=4, shortcut="C"),
    "pre-activation": lambda: models.resnet20(width=4, preactivation=True, shortcut="B"),
    "without batch norm": lambda: models.resnet20(width=4, batch_norm=False),
    "with checkpoints": lambda: models.resnet20(width=4, checkpoint_every=2),
    "flat, tanh": lambda: models.flat_net(4, width=5, in_channels=3, activation="tanh", batch_norm=True),
    "flat, sigmoid": lambda: models.flat_net(4, width=5, in_channels=3, activation="sigmoid"),
    "ImageNet's stem and bottlenecks": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=2, padding=3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1),
        models.Bottleneck(8, 4, stride=2, shortcut="B"), models.PreactivationBottleneck(16, 4, shortcut="B"),
        nn.AvgPool2d(2, padding=1), nn.GlobalAvgPool2d(), nn.Linear(16, 10)),
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_the_batch_of_images_alone_is_copied(make, copies):
    x = images()
    orders = two_steps(make(), x, copies)
    assert orders.wrong == []
    assert orders.images > 20
    # conv1 makes the copy in forward, and once more for the gradient of its weight, rather than hold it all the while
    assert set(copies) == {(N, 16, 16, 3)}
    assert len(copies) <= 2


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_nothing_is_copied_where_the_images_lie_with_their_channels_last(make, copies):
    x = channels_last(images()).transpose(0, 3, 1, 2)
    two_steps(make(), x, copies)
    assert copies == []


class Straightened(mr.Op):
    """y = x, in the other memory order: what an op must not do."""

    def __init__(self, direction):
        self.direction = direction

    def forward(self, x):
        return np.array(x, order="C" if self.direction == "forward" else "K")

    def backward(self, dy):
        return np.array(dy, order="C" if self.direction == "backward" else "K")


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_an_op_that_leaves_the_other_memory_order_is_noticed(direction, copies):
    class Straightening(nn.Module):
        def forward(self, x):
            return Straightened(direction)(x)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Straightening(), nn.Conv2d(4, 5, 3), nn.ReLU(),
                        nn.GlobalAvgPool2d(), nn.Linear(5, 10))
    orders = two_steps(net, images(), copies)
    assert (N, 14, 14, 4) in copies
    assert any("Straightened" in what for what in orders.wrong)
