"""The ops: functions on tensors. Each is a class with `forward` and `backward` on raw arrays, one file a family."""
from typing import TYPE_CHECKING

from minires.arguments import attribute_error
from minires.ops.activation import relu, sigmoid, tanh
from minires.ops.arithmetic import add, divide, matmul, multiply, negate, power, subtract
from minires.ops.conversion import cast, to_device
from minires.ops.convolution import conv2d
from minires.ops.convolution_1d import conv1d
from minires.ops.elementwise import abs, exp, log, sqrt
from minires.ops.fully_connected import linear
from minires.ops.joining import concatenate, pad, split, stack
from minires.ops.layer_normalization import group_norm, layer_norm, rms_norm
from minires.ops.lookup import embedding
from minires.ops.loss import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from minires.ops.normalization import batch_norm
from minires.ops.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from minires.ops.random_mask import dropout
from minires.ops.rectifiers import elu, gelu, leaky_relu, silu, softplus
from minires.ops.reduction import max, mean, sum
from minires.ops.selection import clip, where
from minires.ops.shape import flatten, index, reshape, transpose
from minires.ops.shortcut import shortcut_add, zero_pad_shortcut
from minires.ops.softmaxes import log_softmax, logsumexp, softmax
from minires.ops.transposed_convolution import conv_transpose2d
from minires.ops.upsampling import upsample

__all__ = [
    "abs", "add", "avg_pool2d", "batch_norm", "binary_cross_entropy_with_logits", "cast", "clip", "concatenate", "conv1d",
    "conv2d", "conv_transpose2d", "cross_entropy", "divide", "dropout", "elu", "embedding", "exp", "flatten", "gelu",
    "global_avg_pool2d", "group_norm", "index", "layer_norm", "leaky_relu", "linear", "log", "log_softmax", "logsumexp",
    "matmul", "max", "max_pool2d", "mean", "mse_loss", "multiply", "negate", "pad", "power", "relu", "reshape", "rms_norm",
    "shortcut_add", "sigmoid", "silu", "softmax", "softplus", "split", "sqrt", "stack", "subtract", "sum", "tanh",
    "to_device", "transpose", "upsample", "where", "zero_pad_shortcut",
]


if not TYPE_CHECKING:  # a type checker would take any name for one that this gives

    def __getattr__(name):
        raise attribute_error("minires.ops", name, __all__)
