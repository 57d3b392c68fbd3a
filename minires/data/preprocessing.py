"""What is done to images once, before training: standardisation and 2 x 2 averaging.

Both work on NumPy arrays (N, C, H, W). Pixels may be integers; the result is float32, or float64 if the images were
float64 to begin with.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minires.arguments import array_of, whole_number
from minires.errors import ArgumentError, DTypeError, ShapeError


def standardize(images: np.ndarray, mean: ArrayLike | None = None, std: ArrayLike | None = None,
                ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (standardized, mean, std): the images shifted and scaled to mean 0 and standard deviation 1 per channel.

        standardized[n, c, h, w] = (images[n, c, h, w] - mean[c]) / std[c]

    images: (N, C, H, W), of integers or floats on any scale. mean, std: (C,), on the scale of the images; where they
    are not given, they are measured over all images and pixels of a channel (the standard deviation divides by NHW).
    Measure them on the training images, and give them for the test images, so that both see the same function:

        train, mean, std = standardize(train_images)
        test, _, _ = standardize(test_images, mean, std)

    Raises ShapeError if the images are not (N, C, H, W) or mean and std are not (C,), DTypeError if the images are
    not numbers, and ArgumentError if only one of mean and std is given, or a channel has no spread to divide by.
    """
    dtype = result_dtype(images, "standardize")
    if (mean is None) != (std is None):
        given = "mean" if std is None else "std"
        raise ArgumentError(f"standardize: got only {given}. Give both mean and std, or neither to have them measured.")
    images = images.astype(dtype)
    if mean is None or std is None:
        mean, std = channel_statistics(images)
    else:
        mean = check_statistic(mean, "mean", images)
        std = check_statistic(std, "std", images)
    check_spread(mean, std)
    images -= mean[:, np.newaxis, np.newaxis]  # (N, C, H, W) - (C, 1, 1)
    images /= std[:, np.newaxis, np.newaxis]  # (N, C, H, W) / (C, 1, 1)
    return images, mean, std


def channel_mean_and_std(images: np.ndarray, chunk: int = 1000) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (mean, std) of each channel over all images and pixels, float32 (C,): what `standardize` wants for batches.

    images: (N, C, H, W), of integers or floats. They are read a chunk at a time, so that a data set may stay in memory as
    bytes, and be standardised a batch at a time.

    Raises ShapeError if the images are not (N, C, H, W), and DTypeError if they are not numbers.
    """
    result_dtype(images, "channel_mean_and_std")
    chunk = whole_number("channel_mean_and_std", "chunk", chunk)
    N, C, H, W = images.shape
    chunks = [images[start : start + chunk] for start in range(0, N, chunk)]
    mean = sum(part.sum(axis=(0, 2, 3), dtype=np.float64) for part in chunks) / (N * H * W)  # (C,)
    centred = (part - mean[:, np.newaxis, np.newaxis] for part in chunks)  # float64, a chunk at a time
    variance = sum(np.square(part, out=part).sum(axis=(0, 2, 3)) for part in centred) / (N * H * W)  # (C,)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def average_2x2(images: np.ndarray) -> np.ndarray:
    """Return the mean of each 2 x 2 block of pixels: (N, C, H, W) -> (N, C, H/2, W/2).

    Raises ShapeError if the images are not (N, C, H, W) or H or W is odd, and DTypeError if they are not numbers.
    """
    dtype = result_dtype(images, "average_2x2")
    H, W = images.shape[2:]
    if H % 2 or W % 2:
        raise ShapeError(
            f"average_2x2: got images of {H} x {W} pixels in the shape {images.shape}; expected an even height and "
            "width. Crop or pad the images by one row or column."
        )
    total = images[:, :, 0::2, 0::2].astype(dtype)  # (N, C, H, W) -> (N, C, H/2, W/2)
    total += images[:, :, 0::2, 1::2]
    total += images[:, :, 1::2, 0::2]
    total += images[:, :, 1::2, 1::2]
    total /= 4
    return total


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each channel, (N, C, H, W) -> (C,), (C,), in the images' type."""
    # Summed in float64: a float32 sum over millions of pixels loses digits that the test images would then lack.
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64).astype(images.dtype)  # (N, C, H, W) -> (C,)
    centred = images - mean[:, np.newaxis, np.newaxis]
    variance = np.square(centred, out=centred).mean(axis=(0, 2, 3), dtype=np.float64)  # (N, C, H, W) -> (C,)
    return mean, np.sqrt(variance).astype(images.dtype)


def check_statistic(statistic: ArrayLike, name: str, images: np.ndarray) -> np.ndarray:
    """Return a given mean or std as an array (C,) of the images' type; raises ShapeError or DTypeError if it is not that."""
    statistic = array_of("standardize", name, statistic)
    C = images.shape[1]
    if statistic.dtype.kind not in "iuf":
        raise DTypeError(f"standardize: got {name} of dtype {statistic.dtype}; expected numbers, ({C},): one for each "
                         "channel.")
    if statistic.shape != (C,):
        raise ShapeError(
            f"standardize: got {name} of shape {statistic.shape} for images of shape {images.shape}; expected ({C},), "
            "one number for each channel."
        )
    return statistic.astype(images.dtype)


def check_spread(mean: np.ndarray, std: np.ndarray) -> None:
    """Raise ArgumentError unless each channel's std is finite and larger than the rounding error of its mean."""
    rounding = np.finfo(std.dtype).eps * np.abs(mean)
    usable = np.isfinite(std) & np.isfinite(mean) & (std > rounding)
    if not usable.all():
        channel = int(np.flatnonzero(~usable)[0])
        raise ArgumentError(
            f"standardize: channel {channel} has mean {mean[channel]} and standard deviation {std[channel]}; expected "
            "finite numbers and a positive standard deviation. All its pixels may be equal, or some not finite: leave "
            "the channel out, or look at the images."
        )


def result_dtype(images: np.ndarray, function: str) -> np.dtype[Any]:
    """Return float64 for float64 images and float32 for other numbers; `function` is for the messages.

    Raises ShapeError unless the images are a NumPy array (N, C, H, W) with at least one pixel, DTypeError unless they
    are integers or floats.
    """
    if not isinstance(images, np.ndarray):
        raise DTypeError(
            f"{function}: got images of type {type(images).__name__}; expected a NumPy array (N, C, H, W). "
            "A tensor gives one with .numpy()."
        )
    if images.ndim != 4 or images.size == 0:
        raise ShapeError(
            f"{function}: got images of shape {images.shape}; expected (N, C, H, W) with no length of 0. "
            "Gray images (N, H, W) become (N, 1, H, W) with images[:, None]."
        )
    if images.dtype.kind not in "iuf":
        raise DTypeError(f"{function}: got images of dtype {images.dtype}; expected integers or floats.")
    return np.dtype(np.float64) if images.dtype == np.float64 else np.dtype(np.float32)
