"""Mistakes that a checker must see before the program runs: an error on each line that ends with `# error`, and no other.

Never imported or run; `test_types.py` gives it to mypy and to pyright.
"""
import numpy as np

import minires as mr
from minires import models, nn, ops, optim

x = mr.Tensor(np.ones((1, 3, 32, 32)), requires_grad=True)
model = models.resnet20()
y = model(x)
loss = ops.cross_entropy(y, np.array([3]))

print(x.shpae)  # error
print(mr.Tensor([1.0]).no_such)  # error
print((x * 2 + 1).no_such)  # error
print(ops.relu(x).no_such)  # error
print(model(x).no_such)  # error
print(nn.Linear(2, 3)(x).no_such)  # error
mr.Tensr([1.0])  # error
mr.debug.brake_at("conv1")  # error
nn.Conv2D(3, 4, 3)  # error
ops.no_such(x)  # error
models.resnet21()  # error
mr.Tensor([1.0], requires_gradient=True)  # error
mr.Tensor([1.0], name=3)  # error
x.sum(axis="rows")  # error
x.to(0)  # error
loss.backward(retain="graph")  # error
nn.Conv2d("3", 4, 3)  # error
nn.Conv2d(3, 4)  # error
nn.Linear(2, "3")  # error
optim.SGD(model.parameters(), lr="x")  # error
optim.SGD(model.parameters())  # error
optim.SGD(0.1, lr=0.1)  # error
ops.conv2d(x)  # error
mr.explain(model)  # error
mr.describe("x")  # error
mr.gradcheck(ops.relu, x)  # error
mr.summary(ops.relu, (1, 3, 32, 32))  # error
mr.record_gradients(loss)  # error
mr.debug.break_at(step="first")  # error
mr.load(3)  # error
for step in mr.backward_steps(loss):
    print(step.gradient)  # error
    print(step.name.no_such)  # error
with mr.record_gradients(model) as record:
    print(record.output_gradient_norm)  # error
    print(record.output_grad_norm.no_such)  # error
mr.plot.gradient_norm(record)  # error
mr.plot.gradient_norms(record, label="mine")  # error
print(mr.plot.gradient_norms(record).no_such)  # error
print(mr.summary(model, (1, 3, 32, 32)).parameters.no_such)  # error
print(model.state_dict()[0])  # error
