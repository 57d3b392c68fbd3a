"""Real images with no network, and what is done to them before a net sees them."""

from minires.data.batches import Batches
from minires.data.fashion_mnist import FASHION_MNIST_CLASSES, fashion_mnist_sample
from minires.data.idx import read_idx
from minires.data.preprocessing import average_2x2, standardize

__all__ = ["FASHION_MNIST_CLASSES", "Batches", "average_2x2", "fashion_mnist_sample", "read_idx", "standardize"]
