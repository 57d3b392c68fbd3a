"""The images that `minires train` can train on."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minires import data
from minires.arguments import nearest
from minires.errors import FileError, UnknownNameError


class Images(NamedTuple):
    """A data set: how to read a split of it from a folder, and whether it is augmented by default."""

    read: Callable[[str, str], tuple[np.ndarray, np.ndarray]]  # (folder, split) -> (images (N, C, H, W), labels (N,))
    augment: bool


DATA: dict[str, Images] = {
    "fashion-mnist-sample": Images(lambda folder, split: data.fashion_mnist_sample(split), augment=False),
    "fashion-mnist": Images(data.fashion_mnist, augment=False),
    "cifar10": Images(data.cifar10, augment=True),
}


def read_images(name: str, folder: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(images (N, C, H, W) of bytes, labels (N,)) of a data set in DATA.

    Raises:
        UnknownNameError: there is no such data set.
        FileError: its files are not in the folder; the message names the option for it.
        DataError: they are damaged.
    """
    if name not in DATA:
        raise UnknownNameError(f"unknown data {name!r}.{nearest(name, DATA)} Known are {', '.join(DATA)}")
    try:
        return DATA[name].read(folder, split)
    except FileError as error:
        raise FileError(f"{error} minires train looks in --data-dir, which is {folder!r}.") from error
