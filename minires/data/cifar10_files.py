"""CIFAR-10 from its binary version: 60,000 photographs of 32 x 32 pixels in ten classes.

A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report, University of Toronto, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. Each of its six files holds 10,000 records, and each record is the label, one
byte, and then the red, the green and the blue pixels, row by row, 3 * 32 * 32 bytes.

The version for Python holds pickles, which can run any code when they are read: it is not read here.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minires.arguments import known_name, path_of
from minires.errors import DataError, FileError, file_errors

# The class of label k is CIFAR10_CLASSES[k].
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FOLDER = "cifar-10-batches-bin"  # which the published archive unpacks to
GET_IT = ("get cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html (162 MB), unpack it, and give the "
          "folder that then holds cifar-10-batches-bin")
SPLITS = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
RECORDS = 10_000  # in each file
IMAGE_SHAPE = (3, 32, 32)
MD5 = {  # of the published files
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}


def cifar10(folder: str | os.PathLike[str], split: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (images, labels) of a split of CIFAR-10, in the order of its files.

    folder: where cifar-10-batches-bin/ is, or that folder itself. images: uint8 (N, 3, 32, 32), 0 to 255; labels: int64
    (N,), 0 to 9, named by CIFAR10_CLASSES. N is 50,000 for "train" and 10,000 for "test".

    Raises DTypeError for what is no path, UnknownNameError for another split, FileError if a file is missing or cannot be
    read, and DataError if one is cut short, too long, or differs from the published one in any byte.
    """
    split = known_name("cifar10", "split", split, SPLITS)
    folder = find_folder(folder)
    batches = [read_batch(folder / name) for name in SPLITS[split]]
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return images, labels.astype(np.int64)


def find_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the folder of the .bin files: this one, or the one in it that the published archive unpacks to.

    Raises FileError if neither holds them; the message says so if it found the pickles of the version for Python.
    """
    folder = path_of("cifar10", folder)
    for place in (folder, folder / FOLDER):
        if any((place / name).exists() for name in MD5):
            return place
    if any((place / "data_batch_1").exists() for place in (folder, folder / "cifar-10-batches-py")):
        raise FileError(
            f"cifar10: {folder} holds the version for Python, which is pickled, and reading a pickle can run any code. "
            f"Use the binary version: {GET_IT}."
        )
    raise FileError(f"cifar10: no {FOLDER} in {folder}: {GET_IT}.")


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (images, labels) of one file: uint8 (10000, 3, 32, 32) and uint8 (10000,).

    Raises FileError if the file is missing or cannot be read, and DataError if it is not the published one.
    """
    record_size = 1 + int(np.prod(IMAGE_SHAPE))
    expected_size = RECORDS * record_size
    with file_errors("cifar10: cannot read", path, f"Unpack the archive again, or {GET_IT}."), open(path, "rb") as file:
        content = file.read(expected_size + 1)  # whatever its size is: a byte too many tells enough
        size = max(len(content), os.fstat(file.fileno()).st_size)
    if size != expected_size:
        wrong = "cut short" if size < expected_size else "too long"
        raise DataError(
            f"cifar10: {path} is {wrong}: it holds {size:,} bytes; expected {expected_size:,}, {RECORDS:,} records "
            f"of {record_size:,} bytes. Unpack the archive again, or {GET_IT}."
        )
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != MD5[path.name]:
        raise DataError(
            f"cifar10: {path} is damaged or not the published file: its MD5 is {md5}; expected {MD5[path.name]}. "
            f"Unpack the archive again, or {GET_IT}."
        )
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, record_size)
    return records[:, 1:].reshape(RECORDS, *IMAGE_SHAPE), records[:, 0]  # (N, 1 + CHW) -> (N, C, H, W), (N,)
