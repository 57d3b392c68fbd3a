"""The loss of classification."""
import numpy as np
from numpy.typing import ArrayLike

from minires.arguments import array_of
from minires.arrays.backend import Array, array_module, device_of, is_array, plain_array
from minires.arrays.sums import mean_over, sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import DeviceError, DTypeError, LabelError, ShapeError


def cross_entropy(logits: Tensor, labels: ArrayLike) -> Tensor:
    """The mean over the batch of -log softmax(logits)[label].

    Args:
        logits: (N, K), one unnormalised score for each of K classes.
        labels: N integers from 0 to K - 1, on the host: a NumPy array or a list.

    Returns:
        A scalar, in nats: ln K for logits that are all equal.

    Raises:
        ShapeError: the logits are not (N, K) with N and K at least 1.
        LabelError: the labels are not N integers from 0 to K - 1.
        DeviceError: the labels are on a GPU.
    """
    return CrossEntropy(labels)(logits)


class CrossEntropy(Op):
    """y = mean over n of -log p[n, label[n]], with p = softmax(logits)."""

    def __init__(self, labels: ArrayLike):
        self.labels = labels

    def forward(self, logits: Array) -> Array:
        if logits.ndim != 2 or 0 in logits.shape:
            raise ShapeError(f"{self.title}: expected logits (N, K), at least one example of one class, got shape "
                             f"{logits.shape}")
        xp = array_module(logits)
        N, K = logits.shape
        rows, labels = xp.arange(N), xp.array(self.checked_labels(N, K))     # (N,), (N,): a copy, kept for backward
        shifted = logits - logits.max(axis=1, keepdims=True)                 # (N, K): no exp overflows
        exps = xp.exp(shifted)                                               # (N, K)
        sums = sum_over(exps, 1, keepdims=True)                              # (N, K) -> (N, 1)
        log_p = shifted[rows, labels] - xp.log(sums[:, 0])                   # (N, K) -> (N,)
        self.saved = exps / sums, rows, labels
        return -mean_over(log_p, 0)                                          # (N,) -> ()

    def backward(self, dy: Array) -> Array:
        """dlogits = (p - one_hot(label)) dy / N."""
        p, rows, labels = self.saved
        share = dy / len(rows)
        dlogits = p * share                                                  # (N, K)
        dlogits[rows, labels] -= share                                       # (p - one_hot(label)) dy / N
        return dlogits

    def checked_labels(self, N: int, K: int) -> np.ndarray:
        """The labels as a host array, (N,) integers from 0 to K - 1: on a GPU, a wrong index would wrap silently."""
        if isinstance(self.labels, Tensor):
            raise DTypeError(f"{self.title}: labels are a Tensor; pass a NumPy array or a list of integers")
        if is_array(self.labels) and device_of(self.labels) != "cpu":
            raise DeviceError(f"{self.title}: labels are on {device_of(self.labels)}; they are checked on the host, without "
                              "waiting for the GPU: pass a NumPy array or a list of integers, such as labels.get()")
        labels = self.labels
        if type(labels) is not np.ndarray:
            labels = array_of(type(self).__name__, "labels", plain_array(self.title, labels))
        if labels.shape != (N,):
            raise LabelError(f"{self.title}: labels have shape {labels.shape}, expected ({N},) for logits ({N}, {K}): one "
                             "class number for each row")
        if labels.dtype.kind not in "iu":
            raise LabelError(f"{self.title}: labels have dtype {labels.dtype}, expected integers from 0 to {K - 1}")
        if labels.min() < 0 or labels.max() >= K:
            wrong = labels.max() if labels.max() >= K else labels.min()
            raise LabelError(f"{self.title}: label {wrong} is out of range: logits ({N}, {K}) have the classes 0 to "
                             f"{K - 1}")
        return labels
