"""What is drawn in these tests."""
import numpy as np

import minires as mr
from minires import models, nn, ops


def loss_of(net, shape=(2, 3, 16, 16), seed=0):
    """The cross-entropy of a net on noise."""
    generator = np.random.default_rng(seed)
    x = mr.Tensor(generator.standard_normal(shape).astype(np.float32))
    return ops.cross_entropy(net(x), generator.integers(0, 10, shape[0]))


def small(**options):
    """A net of 8 layers and three blocks, of which two change the shape."""
    return models.cifar_net(8, width=4, **options)


class Gated(nn.Module):
    """x + relu(a(x)) * sigmoid(gate(x)): a shortcut that is an ordinary sum, and a branch that parts and meets."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.gate = nn.Linear(6, 6)

    def forward(self, x):
        return x + ops.relu(self.a(x)) * ops.sigmoid(self.gate(x))


class Users(nn.Module):
    """A net of a user's own, which calls one module twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.cell = Gated()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.cell(self.cell(self.first(x))))


def script():
    """A loss without modules: mean((x @ w + b - 1)²)."""
    generator = np.random.default_rng(3)
    x = mr.Tensor(generator.standard_normal((5, 4)))
    w = mr.Tensor(generator.standard_normal((4, 2)), requires_grad=True, name="w")
    b = mr.Tensor(np.zeros(2), requires_grad=True, name="b")
    return ((x @ w + b - 1) ** 2).mean()
