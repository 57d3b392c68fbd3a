"""A sample of Fashion-MNIST that comes with minires, so that a lesson needs no network.

Fashion-MNIST: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv:1708.07747, 2017. Copyright 2017 Zalando SE, MIT licence: FASHION_MNIST_LICENSE stands
beside the sample. benchmarks/make_fashion_mnist_sample.py makes the sample from the published files.
"""

import importlib.resources
import io
import zipfile
import zlib

import numpy as np

from minires.errors import FileError, UnknownNameError

SAMPLE_FILE = "fashion_mnist_sample.npz"
SPLITS = ("train", "test")

# The class of label k is FASHION_MNIST_CLASSES[k].
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def fashion_mnist_sample(split="train"):
    """Return (images, labels) of the bundled sample of Fashion-MNIST, in a shuffled order that never changes.

    images: uint8 (N, 1, 28, 28), 0 for the black background to 255; labels: int64 (N,), 0 to 9, named by
    FASHION_MNIST_CLASSES. N is 10,000 for "train" (1,000 a class, from the published training set) and 2,000 for
    "test" (200 a class, from the published test set).

    Raises UnknownNameError for another split, and FileError if the bundled file is missing or damaged.
    """
    if split not in SPLITS:
        raise UnknownNameError(
            f"fashion_mnist_sample: unknown split {split!r}. The splits are {', '.join(map(repr, SPLITS))}."
        )
    return read_sample(importlib.resources.files("minires.data") / SAMPLE_FILE, split)


def read_sample(file, split):
    """Return (images, labels) of one split from a sample file, given as a Path or a package resource.

    Raises FileError if the file is missing or damaged.
    """
    try:
        content = io.BytesIO(file.read_bytes())
        with np.load(content, allow_pickle=False) as arrays:
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(
            f"fashion_mnist_sample: cannot read the bundled sample {file} ({type(error).__name__}: {error}). "
            "Install minires again, or make the file with benchmarks/make_fashion_mnist_sample.py."
        ) from error
    if images.dtype != np.uint8 or images.shape != (len(labels), 28, 28):
        raise FileError(
            f"fashion_mnist_sample: {file} holds {split} images of type {images.dtype} and shape {images.shape} for "
            f"{len(labels)} labels; expected uint8 ({len(labels)}, 28, 28). Install minires again."
        )
    return images[:, np.newaxis], labels.astype(np.int64)  # (N, 28, 28) -> (N, 1, 28, 28)
