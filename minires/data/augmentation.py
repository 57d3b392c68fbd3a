"""The augmentation of He et al. 2015, section 4.2: images are shifted by up to 4 pixels, and half of them mirrored.

Everything is drawn by NumPy's generator on the host, so that a run on a GPU sees the images of the run on the CPU.
"""

import numpy as np

from minires.arguments import random_generator, whole_number
from minires.errors import DTypeError, ShapeError


def shift_and_flip(images: np.ndarray, generator: np.random.Generator, padding: int = 4) -> np.ndarray:
    """Return the images, each cropped at random from itself with a border of zeros, and mirrored with probability 1/2.

    images: (N, C, H, W), standardised, so that the zeros of the border are the mean colour; padding: the width of the
    border, so that an image moves by up to that many pixels, down, up and to each side.

    Source: He et al. 2015 (arXiv:1512.03385), section 4.2: "4 pixels are padded on each side, and a 32 x 32 crop is
    randomly sampled from the padded image or its horizontal flip".

    Raises as `random_crop` does.
    """
    return random_flip(random_crop(images, generator, padding), generator)


def random_crop(images: np.ndarray, generator: np.random.Generator, padding: int = 4) -> np.ndarray:
    """Return a crop of each image's own size from the image with a border of zeros: (N, C, H, W), each place as likely.

    Raises DTypeError if the images are not a NumPy array or the generator is none of NumPy's, ShapeError if the images are
    not (N, C, H, W), and ArgumentError if the padding is not a whole number of at least 0.
    """
    check_images(images, "random_crop")
    padding = whole_number("random_crop", "padding", padding, smallest=0)
    generator = random_generator("random_crop", generator)
    N, C, H, W = images.shape
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), images.dtype)
    padded[:, :, padding : padding + H, padding : padding + W] = images
    tops, lefts = generator.integers(0, 2 * padding + 1, size=(2, N))
    crops = np.empty_like(images, order="C")
    for n, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        crops[n] = padded[n, :, top : top + H, left : left + W]
    return crops


def random_flip(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the images, each mirrored (left to right) with probability 1/2: (N, C, H, W).

    Raises DTypeError if the images are not a NumPy array or the generator is none of NumPy's, and ShapeError if the images
    are not (N, C, H, W).
    """
    check_images(images, "random_flip")
    is_flipped = random_generator("random_flip", generator).random(len(images)) < 0.5  # (N,)
    flipped = images.copy()
    flipped[is_flipped] = images[is_flipped, :, :, ::-1]
    return flipped


def check_images(images: np.ndarray, function: str) -> None:
    """Raise DTypeError or ShapeError unless the images are a NumPy array (N, C, H, W); `function` is for the messages."""
    if not isinstance(images, np.ndarray):
        raise DTypeError(
            f"{function}: got images of type {type(images).__name__}; expected a NumPy array (N, C, H, W): images are "
            "augmented on the host, before they move."
        )
    if images.ndim != 4:
        raise ShapeError(f"{function}: got images of shape {images.shape}; expected (N, C, H, W).")
