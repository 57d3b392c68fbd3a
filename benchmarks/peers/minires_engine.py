"""minires itself."""
import numpy as np

import minires as mr
from benchmarks.peers.engine import BaseEngine, blas_controller


def channels_last(array):
    """The same images (N, C, H, W), with channels last in memory, as minires's convolutions leave them."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


class Engine(BaseEngine):
    """Runs the backward of one operation through the engine's own loop, up to where its gradients are ready."""

    name, version = "minires", mr.__version__

    def image(self, array, wants_gradient):
        return mr.Tensor(channels_last(array), requires_grad=wants_gradient)

    def parameter(self, array):
        return mr.Tensor(array, requires_grad=True)

    def cotangent(self, array):
        return channels_last(array)

    def gradients(self, y, inputs, dy):
        if not any(isinstance(node, mr.Op) for node in y.op.inputs):
            # One op. In a net its gradients go on to the ops before it; only those of leaves are copied: stop before that.
            step = next(mr.backward_steps(y, dy))
            return [gradient for gradient, wanted in zip(step.grad_inputs, step.op.needs_grad, strict=True) if wanted]
        for x in inputs:
            x.grad = None
        y.backward(dy)
        return [x.grad for x in inputs]

    def image_to_numpy(self, value):
        return value.data if isinstance(value, mr.Tensor) else value

    def use_threads(self, count):
        blas_controller().limit(limits=count, user_api="blas")
        if hasattr(mr, "set_threads"):
            mr.set_threads(count)

    def conv2d(self, x, weight, stride, padding):
        return mr.ops.conv2d(x, weight, None, stride, padding)

    def batch_norm(self, x, weight, bias):
        channels, dtype = x.shape[1], x.dtype
        return mr.ops.batch_norm(x, weight, bias, np.zeros(channels, dtype), np.ones(channels, dtype), training=True)

    def relu(self, x):
        return mr.ops.relu(x)

    def shortcut_add(self, residual, shortcut):
        return mr.ops.shortcut_add(residual, shortcut)

    def zero_pad_shortcut(self, x, out_channels):
        return mr.ops.zero_pad_shortcut(x, out_channels, stride=2)

    def negate(self, x):
        return mr.ops.negate(x)
