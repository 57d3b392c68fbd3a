"""DeZero, of the book «ゼロから作る Deep Learning ❸», patched to run on NumPy 2."""
import numpy as np

from benchmarks.peers.dezero_patch import import_dezero
from benchmarks.peers.engine import BaseEngine

dezero = import_dezero()
F = dezero.functions


class ZeroPad(dezero.Function):
    """The shortcut of option A. DeZero has none, and its indexing goes through np.add.at; this one is like minires's."""

    def __init__(self, out_channels, stride):
        self.out_channels, self.stride = out_channels, stride

    def forward(self, x):
        kept = x[:, :, ::self.stride, ::self.stride]
        y = np.zeros((len(x), self.out_channels, *kept.shape[2:]), x.dtype)
        y[:, :x.shape[1]] = kept
        return y

    def backward(self, gy):
        return ZeroPadGradient(self.stride, self.inputs[0].shape)(gy)


class ZeroPadGradient(dezero.Function):
    """dL/dx of `ZeroPad`: DeZero's backwards are functions of variables."""

    def __init__(self, stride, shape):
        self.stride, self.shape = stride, shape

    def forward(self, gy):
        gx = np.zeros(self.shape, gy.dtype)
        gx[:, :, ::self.stride, ::self.stride] = gy[:, :self.shape[1]]
        return gx


class Engine(BaseEngine):
    """Its functions, called as its layers call them."""

    name, version = "DeZero", dezero.__version__

    def image(self, array, wants_gradient):
        return dezero.Variable(np.array(array))

    def parameter(self, array):
        return dezero.Parameter(np.array(array))

    def cotangent(self, array):
        return np.array(array)

    def gradients(self, y, inputs, dy):
        for x in inputs:
            x.cleargrad()
        y.grad = dezero.Variable(dy)
        y.backward()
        return [x.grad for x in inputs]

    def image_to_numpy(self, value):
        return value.data

    parameter_to_numpy = image_to_numpy

    def conv2d(self, x, weight, stride, padding):
        return F.conv2d(x, weight, None, stride, padding)

    def batch_norm(self, x, weight, bias):
        channels, dtype = x.shape[1], x.dtype
        return F.batch_nrom(x, weight, bias, np.zeros(channels, dtype), np.ones(channels, dtype), eps=1e-5)

    def relu(self, x):
        return F.relu(x)

    def shortcut_add(self, residual, shortcut):
        return residual + shortcut

    def zero_pad_shortcut(self, x, out_channels):
        return ZeroPad(out_channels, stride=2)(x)

    def negate(self, x):
        return -x
