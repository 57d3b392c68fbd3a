"""Fashion-MNIST: a sample that comes with minires, so that a lesson needs no network, and the whole set from its files.

Fashion-MNIST: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv:1708.07747, 2017. Copyright 2017 Zalando SE, MIT licence: FASHION_MNIST_LICENSE stands
beside the sample. benchmarks/make_fashion_mnist_sample.py makes the sample from the published files.
"""

import importlib.resources
import io
import os
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minires.arguments import known_name, path_of
from minires.data.idx import read_idx, read_idx_header
from minires.errors import DataError, FileError

SAMPLE_FILE = "fashion_mnist_sample.npz"
SPLITS = ("train", "test")
FILES = {  # of the published set, with or without .gz: (images, labels, how many)
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60_000),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10_000),
}
GET_IT = ("get the four .gz files from https://github.com/zalandoresearch/fashion-mnist (on Debian and Ubuntu: the package "
          "dataset-fashion-mnist, in /usr/share/datasets/fashion-mnist), and give their folder")

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


def fashion_mnist_sample(split: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (images, labels) of the bundled sample of Fashion-MNIST, in a shuffled order that never changes.

    images: uint8 (N, 1, 28, 28), 0 for the black background to 255; labels: int64 (N,), 0 to 9, named by
    FASHION_MNIST_CLASSES. N is 10,000 for "train" (1,000 a class, from the published training set) and 2,000 for
    "test" (200 a class, from the published test set).

    Raises UnknownNameError for another split, and FileError if the bundled file is missing or damaged.
    """
    split = known_name("fashion_mnist_sample", "split", split, SPLITS)
    return read_sample(importlib.resources.files("minires.data") / SAMPLE_FILE, split)


def read_sample(file: Traversable, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (images, labels) of one split from a sample file, given as a Path or a package resource.

    Raises FileError if the file is missing or damaged.
    """
    try:
        content = io.BytesIO(file.read_bytes())
        with np.load(content, allow_pickle=False) as arrays:
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    except Exception as error:  # zipfile, zlib and NumPy raise errors of a dozen classes on damaged bytes
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


def fashion_mnist(folder: str | os.PathLike[str], split: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (images, labels) of the whole of Fashion-MNIST, in the order of its published files.

    folder: where the four IDX files are, gzipped or plain. images: uint8 (N, 1, 28, 28), 0 for the black background to
    255; labels: int64 (N,), 0 to 9, named by FASHION_MNIST_CLASSES. N is 60,000 for "train" and 10,000 for "test".

    Raises DTypeError for what is no path, UnknownNameError for another split, FileError if a file is missing or cannot be
    read, and DataError if one is damaged, cut short or not a file of Fashion-MNIST.
    """
    split, folder = known_name("fashion_mnist", "split", split, SPLITS), path_of("fashion_mnist", folder)
    images_name, labels_name, N = FILES[split]
    images_path, labels_path = find_file(folder, images_name), find_file(folder, labels_name)
    for path, expected in ((images_path, (N, 28, 28)), (labels_path, (N,))):
        dtype, shape = read_idx_header(path)  # before anything is expanded
        if dtype != np.uint8 or shape != expected:
            raise DataError(
                f"fashion_mnist: {path.name} in {folder} holds {dtype.newbyteorder('=')} values of shape {shape}; expected "
                f"uint8 {expected}: it is not the file of Fashion-MNIST."
            )
    images, labels = read_idx(images_path), read_idx(labels_path)
    if labels.max() >= len(FASHION_MNIST_CLASSES):
        raise DataError(f"fashion_mnist: {labels_name} in {folder} holds the label {labels.max()}; expected 0 to 9.")
    return images[:, np.newaxis], labels.astype(np.int64)  # (N, 28, 28) -> (N, 1, 28, 28)


def find_file(folder: str | os.PathLike[str], name: str) -> Path:
    """Return the path of the file of this name in the folder, gzipped or plain; raises FileError if neither is there."""
    for path in (Path(folder) / f"{name}.gz", Path(folder) / name):
        if path.exists():
            return path
    raise FileError(f"fashion_mnist: neither {name}.gz nor {name} is in {folder}: {GET_IT}.")
