"""Real images, and what is done to them before a net sees them."""

from minires.data.augmentation import random_crop, random_flip, shift_and_flip
from minires.data.batches import Batches
from minires.data.cifar10_files import CIFAR10_CLASSES, cifar10
from minires.data.fashion_mnist_files import FASHION_MNIST_CLASSES, fashion_mnist, fashion_mnist_sample
from minires.data.idx import read_idx
from minires.data.preprocessing import average_2x2, channel_mean_and_std, standardize

__all__ = [
    "CIFAR10_CLASSES",
    "FASHION_MNIST_CLASSES",
    "Batches",
    "average_2x2",
    "channel_mean_and_std",
    "cifar10",
    "fashion_mnist",
    "fashion_mnist_sample",
    "random_crop",
    "random_flip",
    "read_idx",
    "shift_and_flip",
    "standardize",
]
