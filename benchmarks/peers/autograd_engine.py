"""HIPS autograd, which differentiates functions of NumPy arrays: no convolution, and batch norm from its definition."""
import importlib.metadata

import autograd
import numpy as np
from autograd import numpy as anp

from benchmarks.peers.engine import BaseEngine, Trial


class Engine(BaseEngine):
    """Functional: the forward returns the output, and a function that maps dL/dy to the gradients."""

    name, version = "autograd", importlib.metadata.version("autograd")

    def image(self, array, wants_gradient):
        return np.array(array)

    def parameter(self, array):
        return np.array(array)

    def cotangent(self, array):
        return np.array(array)

    def gradients(self, y, inputs, dy):
        vjp, _output = y
        return vjp(dy)

    def image_to_numpy(self, value):
        return value[1] if isinstance(value, tuple) else value

    def trial(self, arrays):
        trial = super().trial(arrays)
        if trial is not None:
            trial.function = Traced(trial)
        return trial

    def batch_norm(self, x, weight, bias):
        mean = anp.mean(x, axis=(0, 2, 3), keepdims=True)
        centered = x - mean
        variance = anp.mean(centered * centered, axis=(0, 2, 3), keepdims=True)
        x_hat = centered / anp.sqrt(variance + 1e-5)
        return anp.reshape(weight, (1, -1, 1, 1)) * x_hat + anp.reshape(bias, (1, -1, 1, 1))

    def relu(self, x):
        return anp.maximum(x, 0)

    def shortcut_add(self, residual, shortcut):
        return residual + shortcut

    def negate(self, x):
        return -x


class Traced:
    """Calls a function so that autograd traces it; returns (vjp, output)."""

    def __init__(self, trial: Trial):
        wanted = tuple(i for i, name in enumerate(trial.inputs) if name in trial.names)
        self.traced = autograd.make_vjp(trial.function, wanted)

    def __call__(self, *inputs):
        return self.traced(*inputs)
