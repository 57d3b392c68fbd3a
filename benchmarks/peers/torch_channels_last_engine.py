"""PyTorch told to keep images with channels last in memory, its faster order on most processors."""
import torch

from benchmarks.peers import torch_engine


class Engine(torch_engine.Engine):
    """`memory_format=torch.channels_last`, for images and kernels."""

    name = "PyTorch, channels last"
    memory_format = torch.channels_last
