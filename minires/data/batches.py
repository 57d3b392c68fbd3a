"""Batches: the examples in small groups, in a new order each epoch that only the seed decides."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minires.arguments import array_of, flag, shown, whole_number
from minires.errors import ArgumentError, DTypeError, LabelError, ShapeError


class Batches:
    """The images and labels of a data set as batches; each loop over it is one epoch.

        for images, labels in Batches(train_images, train_labels, batch_size=64, seed=0):
            ...   # images (B, C, H, W), labels (B,), with B = 64, or fewer in the last batch of an epoch

    images: an array (N, ...), whose type the batches keep; labels: integers (N,). With shuffle, the order of an epoch
    is drawn from (seed, epoch) alone, so that a run can be repeated; without it, the order is that of the arrays.
    With drop_last, a last batch of fewer than batch_size examples is left out.

    `epoch` is the number of the epoch that the next loop draws: 0 at first, and one more for each loop begun, even if
    the loop is left early. Set it to go on where an earlier run stopped.

    Raises ShapeError if images and labels differ in length or are empty, DTypeError if the images are not a NumPy
    array, LabelError if the labels are not integers (N,), and ArgumentError if the batch size is not a whole number
    of at least 1, drop_last would leave no batch, the seed is not a whole number of at least 0, or a flag is neither
    True nor False.
    """

    def __init__(self, images: np.ndarray, labels: ArrayLike, batch_size: int, seed: int = 0, shuffle: bool = True,
                 drop_last: bool = False) -> None:
        labels = array_of("Batches", "labels", labels)
        drop_last = flag("Batches", "drop_last", drop_last)
        check_examples(images, labels)
        check_batch_size(batch_size, len(labels), drop_last)
        self.images = images
        self.labels: np.ndarray = labels
        self.batch_size: int = int(batch_size)
        self.seed: int = whole_number("Batches", "seed", seed, smallest=0)
        self.shuffle: bool = flag("Batches", "shuffle", shuffle)
        self.drop_last: bool = drop_last
        self.epoch: int = 0

    def __len__(self) -> int:
        """The number of batches in one epoch."""
        whole, rest = divmod(len(self.labels), self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Begin an epoch: return an iterator over its batches, (images, labels)."""
        order = self.order(self.epoch)
        self.epoch += 1
        return self.batches(order)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The indices of the examples in the order in which an epoch visits them: integers (N,)."""
        epoch = whole_number("Batches", "epoch", epoch, smallest=0)
        N = len(self.labels)
        if not self.shuffle:
            return np.arange(N)
        return np.random.default_rng([self.seed, epoch]).permutation(N)

    def batches(self, order: NDArray[np.int64]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (images, labels) for each batch of the examples in the given order.

        Raises ArgumentError unless these are the indices of examples.
        """
        order = check_order(order, len(self.labels))
        for batch in range(len(self)):
            indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]  # (B,)
            yield self.images[indices], self.labels[indices]  # (N, ...) -> (B, ...), (N,) -> (B,)


def check_examples(images: np.ndarray, labels: np.ndarray) -> None:
    """Raise an error unless images (N, ...) and integer labels (N,) belong together, N at least 1."""
    if not isinstance(images, np.ndarray) or images.ndim == 0:
        raise DTypeError(
            f"Batches: got images of type {type(images).__name__}; expected a NumPy array with one image for each "
            "label, (N, ...). A tensor gives one with .numpy()."
        )
    if labels.dtype.kind not in "iu" and labels.size:
        raise LabelError(
            f"Batches: got labels of dtype {labels.dtype}; expected integers, the number of the class of each image. "
            "Convert them with labels.astype(np.int64)."
        )
    if labels.ndim != 1:
        raise LabelError(
            f"Batches: got labels of shape {labels.shape}; expected (N,), one class number for each image. "
            "One-hot labels (N, classes) become class numbers with labels.argmax(axis=1)."
        )
    if len(images) != len(labels):
        raise ShapeError(
            f"Batches: got {len(images)} images and {len(labels)} labels, of shapes {images.shape} and {labels.shape}; "
            "expected as many labels as images."
        )
    if len(labels) == 0:
        raise ShapeError(f"Batches: got no examples, images of shape {images.shape}; expected at least one.")


def check_order(order: ArrayLike, N: int) -> NDArray[np.int64]:
    """Return the indices of examples as an array; raises ArgumentError unless they are integers from 0 to N - 1."""
    indices = array_of("Batches", "order", order)
    are_integers = indices.ndim == 1 and (indices.dtype.kind in "iu" or indices.size == 0)
    if not are_integers or (indices.size and (indices.min() < 0 or indices.max() >= N)):
        raise ArgumentError(f"Batches: order is {shown(order)}; expected a list of integers from 0 to {N - 1}.")
    return indices.astype(np.int64)


def check_batch_size(batch_size: int, N: int, drop_last: bool) -> None:
    """Raise ArgumentError unless the batch size is a whole number of at least 1 that leaves a batch of N examples."""
    whole_number("Batches", "batch_size", batch_size)
    if drop_last and batch_size > N:
        raise ArgumentError(
            f"Batches: got batch_size {batch_size} for {N} examples with drop_last=True, which leaves no batch. "
            f"Give a batch_size of at most {N}, or drop_last=False."
        )
