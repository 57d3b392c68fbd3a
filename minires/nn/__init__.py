"""Modules: layers with parameters, and what holds them together."""
from typing import TYPE_CHECKING

from minires.arguments import attribute_error
from minires.nn import init
from minires.nn.activation import (
    ELU,
    GELU,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from minires.nn.attention import MultiheadAttention
from minires.nn.checkpointing import checkpoint
from minires.nn.container import ModuleDict, ModuleList, Sequential
from minires.nn.convolution import Conv1d, Conv2d, ConvTranspose2d
from minires.nn.dropout import Dropout
from minires.nn.embedding import Embedding
from minires.nn.identity import Identity
from minires.nn.linear import Flatten, Linear
from minires.nn.module import Module
from minires.nn.normalization import BatchNorm2d, GroupNorm, LayerNorm, RMSNorm
from minires.nn.parameter import Parameter
from minires.nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from minires.nn.upsampling import Upsample

__all__ = [
    "ELU", "GELU", "AvgPool2d", "BatchNorm2d", "Conv1d", "Conv2d", "ConvTranspose2d", "Dropout", "Embedding", "Flatten",
    "GlobalAvgPool2d", "GroupNorm", "Identity", "LayerNorm", "LeakyReLU", "Linear", "LogSoftmax", "MaxPool2d", "Module",
    "ModuleDict", "ModuleList", "MultiheadAttention", "Parameter", "RMSNorm", "ReLU", "Sequential", "SiLU", "Sigmoid",
    "Softmax", "Softplus", "Tanh", "Upsample", "checkpoint", "init",
]


if not TYPE_CHECKING:  # a type checker would take any name for one that this gives

    def __getattr__(name):
        raise attribute_error("minires.nn", name, __all__)
