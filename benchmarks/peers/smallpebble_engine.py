"""SmallPebble, whose images are shaped (N, H, W, C) and kernels (KH, KW, C, O)."""
import importlib.metadata

import numpy as np
import smallpebble as sp

from benchmarks.peers.engine import BaseEngine


class Engine(BaseEngine):
    """Batch norm is made of its own operations; it has no square root, so that is taken through exp and log."""

    name, version = "SmallPebble", importlib.metadata.version("smallpebble")

    def image(self, array, wants_gradient):
        return sp.Variable(self.cotangent(array))

    def parameter(self, array):
        return sp.Variable(np.ascontiguousarray(array.transpose(2, 3, 1, 0)) if array.ndim == 4 else np.array(array))

    def cotangent(self, array):
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else np.array(array)

    def gradients(self, y, inputs, dy):
        # It starts from ones. A variable whose local gradient is dL/dy starts it from there, and costs nothing.
        seeded = sp.Variable(y.array, [(y, lambda ones: dy)])
        found = sp.get_gradients(seeded)
        return [found[x] for x in inputs]

    def image_to_numpy(self, value):
        array = value.array if isinstance(value, sp.Variable) else value
        return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array

    def parameter_to_numpy(self, value):
        return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value

    def conv2d(self, x, weight, stride, padding):
        if padding:  # its own "SAME" pads one side only where the stride is 2
            x = sp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        return sp.conv2d(x, weight, padding="VALID", strides=(stride, stride))

    def batch_norm(self, x, weight, bias):
        N, H, W, _C = x.shape
        dtype = x.dtype.type
        one_over_count = sp.Variable(np.array(1 / (N * H * W), dtype))
        centered = x - sp.sum(x, axis=(0, 1, 2)) * one_over_count
        variance = sp.sum(sp.square(centered), axis=(0, 1, 2)) * one_over_count
        log_variance = sp.log(variance + sp.Variable(np.array(1e-5, dtype)))
        return centered * sp.exp(log_variance * sp.Variable(np.array(-0.5, dtype))) * weight + bias

    def relu(self, x):
        return sp.leaky_relu(x, alpha=0.0)

    def shortcut_add(self, residual, shortcut):
        return residual + shortcut

    def negate(self, x):
        return -x
