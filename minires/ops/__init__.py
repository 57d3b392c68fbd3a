"""The ops: functions on tensors. Each is a class with `forward` and `backward` on raw arrays, one file a family."""
from minires.ops.activation import relu, sigmoid, tanh
from minires.ops.arithmetic import add, divide, matmul, multiply, negate, power, subtract
from minires.ops.conversion import cast, to_device
from minires.ops.convolution import conv2d
from minires.ops.convolution_1d import conv1d
from minires.ops.dropout import dropout
from minires.ops.elementwise import exp, log
from minires.ops.embedding import embedding
from minires.ops.fully_connected import linear
from minires.ops.layer_normalization import group_norm, layer_norm, rms_norm
from minires.ops.loss import cross_entropy
from minires.ops.normalization import batch_norm
from minires.ops.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from minires.ops.reduction import max, mean, sum
from minires.ops.shape import flatten, index, reshape, transpose
from minires.ops.shortcut import shortcut_add, zero_pad_shortcut
from minires.ops.transposed_convolution import conv_transpose2d
from minires.ops.upsampling import upsample

__all__ = [
    "add", "avg_pool2d", "batch_norm", "cast", "conv1d", "conv2d", "conv_transpose2d", "cross_entropy", "divide",
    "dropout", "embedding", "exp", "flatten", "global_avg_pool2d", "group_norm", "index", "layer_norm", "linear", "log",
    "matmul", "max", "max_pool2d", "mean", "multiply", "negate", "power", "relu", "reshape", "rms_norm", "shortcut_add",
    "sigmoid", "subtract", "sum", "tanh", "to_device", "transpose", "upsample", "zero_pad_shortcut",
]
