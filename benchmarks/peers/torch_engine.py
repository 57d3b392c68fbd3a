"""PyTorch as it comes: channels before rows and columns in memory."""
import numpy as np
import torch
from torch.nn import functional

from benchmarks.peers.engine import BaseEngine


class Engine(BaseEngine):
    """`torch.autograd.grad`, which hands over the gradients and adds them to nothing."""

    name, version = "PyTorch", torch.__version__
    memory_format = torch.contiguous_format

    def image(self, array, wants_gradient):
        return self.cotangent(array).requires_grad_(wants_gradient)

    def parameter(self, array):
        return self.cotangent(array).requires_grad_(True)

    def cotangent(self, array):
        tensor = torch.from_numpy(np.array(array))
        return tensor.to(memory_format=self.memory_format) if tensor.ndim == 4 else tensor

    def gradients(self, y, inputs, dy):
        return torch.autograd.grad(y, inputs, dy)

    def image_to_numpy(self, value):
        return value.detach().numpy()

    def use_threads(self, count):
        torch.set_num_threads(count)

    def conv2d(self, x, weight, stride, padding):
        return functional.conv2d(x, weight, None, stride, padding)

    def batch_norm(self, x, weight, bias):
        channels, dtype = x.shape[1], x.dtype
        return functional.batch_norm(x, torch.zeros(channels, dtype=dtype), torch.ones(channels, dtype=dtype), weight, bias,
                                     training=True)

    def relu(self, x):
        return functional.relu(x)

    def shortcut_add(self, residual, shortcut):
        return residual + shortcut

    def zero_pad_shortcut(self, x, out_channels):
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, out_channels - x.shape[1]))

    def negate(self, x):
        return -x
