"""Code of a user, as an editor sees it: each line is right, and each `assert_type` is what a checker must know.

Run by `test_types.py` through mypy and pyright, and as a program.
"""
import pathlib
import tempfile
from typing import assert_type

import numpy as np
from matplotlib.axes import Axes

import minires as mr
from minires import models, nn, ops, optim


class Net(nn.Module):
    """A net of one's own."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(4, classes)

    def forward(self, x: mr.Tensor) -> mr.Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        x = self.relu(self.bn(self.conv(x)))
        x = self.body(x)
        return self.fc(x.mean(axis=(2, 3)))


class Untyped(nn.Module):
    """A net without annotations, as most are."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x)


class TwoInputs(nn.Module):
    """A net of two inputs."""

    def forward(self, x: mr.Tensor, y: mr.Tensor) -> mr.Tensor:
        return x + y


class Double(mr.Op):
    """y = 2 x"""

    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


class TypedDouble(mr.Op):
    """y = 2 x, with annotations."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return 2 * x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return 2 * dy


class Watch(mr.BackwardHook):
    """Notes which ops ran."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def before_step(self, step: mr.BackwardStep) -> None:
        self.seen.append(f"{step.name} {step.grad_output.shape}")

    def after_step(self, step):
        self.seen.append(step.name)


# ---- tensors

a = mr.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
b = mr.Tensor(np.ones((2, 2), np.float32), name="b")
assert_type(a * 2 + b, mr.Tensor)
assert_type(2 - a, mr.Tensor)
assert_type(2 * a / 3, mr.Tensor)
assert_type(a @ b, mr.Tensor)
assert_type(-a, mr.Tensor)
assert_type(a ** 2, mr.Tensor)
assert_type(a[0], mr.Tensor)
assert_type(a[:, 1], mr.Tensor)
assert_type(a.T, mr.Tensor)
assert_type(a.sum(), mr.Tensor)
assert_type(a.mean(axis=0, keepdims=True), mr.Tensor)
assert_type(a.reshape(4, 1).exp().detach(), mr.Tensor)
assert_type([row for row in a], list[mr.Tensor])  # noqa: C416
assert_type(a.shape, tuple[int, ...])
assert_type(a.sum().item(), float)
a.data[0] = 0
print(a.data.mean(), a.name, a.device, a.op is None)
(a * b).sum().backward()
print(a.grad.shape, abs(a.grad).max())
assert_type(Double()(a), mr.Tensor)
assert_type(TypedDouble()(a), mr.Tensor)

# ---- nets

x = mr.Tensor(np.random.default_rng(0).standard_normal((1, 3, 32, 32)))
model = Net()
y = model(x)
assert_type(y, mr.Tensor)
assert_type(model.conv(x), mr.Tensor)
assert_type(model.bn(model.conv(x)), mr.Tensor)
assert_type(model.relu(x), mr.Tensor)
assert_type(model.body(model.conv(x)), mr.Tensor)
assert_type(nn.Linear(2, 3)(a), mr.Tensor)
assert_type(nn.Flatten()(x), mr.Tensor)
assert_type(models.resnet20()(x), mr.Tensor)
assert_type(Untyped()(mr.Tensor(np.ones((1, 3)))), mr.Tensor)
assert_type(TwoInputs()(a, b), mr.Tensor)
print(y.shape, y.data.argmax(axis=1), model.conv.weight.shape, model.fc.weight.data.std())
assert_type(model.conv.weight, mr.Tensor)
assert_type(list(model.parameters()), list[mr.Tensor])
assert_type(dict(model.named_parameters()), dict[str, mr.Tensor])
assert_type(model.train(), Net)
assert_type(model.eval(), Net)

# ---- ops

weight = mr.Tensor(np.ones((2, 3, 3, 3), np.float32), requires_grad=True)
assert_type(ops.conv2d(x, weight, stride=2, padding=(1, 1)), mr.Tensor)
assert_type(ops.relu(x), mr.Tensor)
loss = ops.cross_entropy(y, np.array([3]))
assert_type(loss, mr.Tensor)
print(f"{loss:.3f}", float(loss))

# ---- the backward pass

for step in mr.backward_steps(loss, retain_graph=True):
    assert_type(step, mr.BackwardStep)
    assert_type(step.op, mr.Op)
    assert_type(step.name, str)
    assert_type(step.where(), str)
    print(step.op.title, abs(step.grad_output).max())
    if step.op.needs_grad[0]:
        print(step.grad_inputs[0].shape)
watch = Watch()
with watch:
    loss.backward(retain_graph=True)
assert_type(watch.seen, list[str])
print(mr.describe(x), mr.describe(x.data).shape, mr.describe(a.grad).norm)
table = mr.explain(loss)
assert_type([gradient.norm_text for row in table.rows for gradient in row.gradients], list[str])
report = mr.gradcheck(ops.relu, [np.array([1.0, 2.0])])
assert_type([argument.wrong for argument in report.arguments], list[int])
mr.gradcheck(TwoInputs(), (np.ones(2), np.ones(2)))
with mr.no_grad():
    assert_type(model(x), mr.Tensor)
with mr.detect_anomaly(), mr.detect_writes(), mr.reference_ops():
    ops.cross_entropy(model(x), np.array([3])).backward()
mr.debug.break_at("conv", when="forward", if_=lambda step: step.op is None)
mr.debug.break_at(model.conv, op="Conv2d", first="zero")

# ---- training and recording

optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
with mr.record_gradients(model, optimizer, shortcut_flow=True) as record:
    assert_type(record, mr.GradientRecord)
    for _ in range(2):
        model.zero_grad()
        ops.cross_entropy(model(x), np.array([3])).backward()
        optimizer.step()
print(record.output_grad_norm.shape, np.log10(record.update_ratio).max(), len(record))
assert_type(record.names, list[str])
assert_type(record.select(nn.Conv2d, "fc").layers(), mr.GradientRecord)
assert_type(mr.stack_records([record, record]), mr.GradientRecord)
assert_type(mr.plot.gradient_norms([record], labels=["mine"]), Axes)
assert_type(mr.plot.gradient_norms(record, quantity="weight_norm"), Axes)
assert_type(mr.plot.gradient_heatmap(record), Axes)
summary = mr.summary(model, (1, 3, 32, 32))
assert_type(summary.parameters, int)
print(summary)

adam = optim.AdamW([{"params": model.conv.parameters(), "lr": 0.01}, {"params": model.fc.parameters()}], betas=(0.9, 0.99))
assert_type(adam.betas, tuple[float, float])
schedule = optim.LinearWarmup(adam, 10, after=optim.CosineLR(adam, T_max=100))
optim.RMSProp(model.parameters(), alpha=0.9).lr = 0.1
with mr.record_gradients(model, adam):
    ops.cross_entropy(model(x), np.array([3])).backward()
    print(float(optim.clip_grad_norm_(model.parameters(), 1.0)))
    adam.step()
    schedule.step()

# ---- layers that hold others, or are made of several

layers = nn.ModuleList([nn.LayerNorm(6), nn.Dropout(0.1, seed=1)])
assert_type(layers.append(nn.RMSNorm(6)), nn.ModuleList)
heads = nn.ModuleDict({"a": nn.Linear(6, 2), "b": nn.Linear(6, 3)})
assert_type(heads.keys(), list[str])
words = nn.Embedding(10, 6)([[1, 2, 3]])
for layer in layers:
    words = layer(words)
output, weights = nn.MultiheadAttention(6, 2).forward(words, attn_mask=np.triu(np.ones((3, 3), bool), 1))
assert_type(weights, mr.Tensor | None)
print(heads["a"](output[:, 0]), nn.Parameter(output).requires_grad)

# ---- saving

state = model.state_dict()
assert_type(state, dict[str, np.ndarray])
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "net.npz"
    mr.save(model, path)
    model.load_state_dict(mr.load(path))
    assert_type(mr.load(str(path)), dict[str, np.ndarray])
    record.to_csv(path.with_suffix(".csv"))
