"""MyGrad, with its memory guarding off, as its documentation advises where speed matters."""
import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu
from mygrad.nnet.layers import batchnorm, conv_nd

from benchmarks.peers.engine import BaseEngine


class Engine(BaseEngine):
    """Convolution, batch norm and ReLU are its own."""

    name, version = "MyGrad", mg.__version__

    def image(self, array, wants_gradient):
        return mg.tensor(array, constant=not wants_gradient)

    def parameter(self, array):
        return mg.tensor(array, constant=False)

    def cotangent(self, array):
        return np.array(array)

    def gradients(self, y, inputs, dy):
        with mg.mem_guard_off:
            y.backward(dy)
        return [x.grad for x in inputs]

    def trial(self, arrays):
        if arrays.op == "conv2d":
            (size, kernel), padding = (arrays.inputs[name].shape[2] for name in ("x", "weight")), arrays.options["padding"]
            if (size + 2 * padding - kernel) % arrays.options["stride"]:
                return None  # it refuses strides that leave rows or columns over, as each of a ResNet does
        return super().trial(arrays)

    def conv2d(self, x, weight, stride, padding):
        with mg.mem_guard_off:
            return conv_nd(x, weight, stride=stride, padding=padding)

    def batch_norm(self, x, weight, bias):
        with mg.mem_guard_off:
            return batchnorm(x, gamma=weight, beta=bias, eps=1e-5)

    def relu(self, x):
        with mg.mem_guard_off:
            return relu(x)

    def shortcut_add(self, residual, shortcut):
        with mg.mem_guard_off:
            return residual + shortcut

    def chain(self, x):
        with mg.mem_guard_off:
            return super().chain(x)

    def negate(self, x):
        return -x
