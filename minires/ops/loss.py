"""Losses: cross-entropy of classes and of yes or no, mean squared error. Each is a mean, and so a scalar."""
import math

import numpy as np
from numpy.typing import ArrayLike

from minires.arguments import array_of, is_whole_number, number, shown
from minires.arrays.backend import Array, array_module, device_of, is_array, plain_array
from minires.arrays.sums import mean_over, sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DeviceError, DTypeError, LabelError, ShapeError
from minires.ops.activation import logistic
from minires.ops.arithmetic import BinaryOp, Operand


def cross_entropy(logits: Tensor, labels: ArrayLike, label_smoothing: float = 0.0,
                  ignore_index: int | None = None) -> Tensor:
    """The mean over the batch of -log softmax(logits)[label].

    Args:
        logits: (N, K), one unnormalised score for each of K classes.
        labels: N integers from 0 to K - 1, on the host: a NumPy array or a list.
        label_smoothing: ε from 0 to 1, the part of each target that is spread evenly over the K classes (Szegedy et al.
            2015, arXiv:1512.00567, section 7): an example costs -(1 - ε) log p[label] - ε Σ log p[k] / K.
        ignore_index: the label of examples to leave out: the mean is that of the others. PyTorch leaves out -100 without
            being asked; here None is the default, so that a negative label that nobody meant is refused.

    Returns:
        A scalar, in nats: ln K for logits that are all equal.

    Raises:
        ShapeError: the logits are not (N, K) with N and K at least 1.
        LabelError: the labels are not N integers from 0 to K - 1, or `ignore_index`; or all are to be ignored.
        DeviceError: the labels are on a GPU.
        ArgumentError: `label_smoothing` is not a number from 0 to 1, or `ignore_index` no integer.
    """
    return CrossEntropy(labels, label_smoothing, ignore_index)(logits)


def binary_cross_entropy_with_logits(logits: Tensor, target: Operand) -> Tensor:
    """The mean of -t log σ(x) - (1 - t) log(1 - σ(x)) over all elements, with σ(x) = 1 / (1 + e⁻ˣ).

    Args:
        logits: x, of any shape: the unnormalised score of yes.
        target: t, of the same shape: 1 for yes, 0 for no, or a probability between them; a tensor or an array. (What lies
            outside is not looked for, as on a GPU that would have to wait.)

    Returns:
        A scalar, in nats: ln 2 for logits of 0.

    Raises:
        ShapeError: the shapes differ, or there are no elements.
    """
    return BinaryCrossEntropyWithLogits()(logits, target)


def mse_loss(prediction: Tensor, target: Operand) -> Tensor:
    """The mean of (prediction - target)² over all elements.

    Args:
        prediction: of any shape.
        target: of the same shape, as nothing is broadcast: a tensor or an array.

    Raises:
        ShapeError: the shapes differ, or there are no elements.
    """
    return MSELoss()(prediction, target)


class CrossEntropy(Op):
    """y = mean over n of -log p[n, label[n]], with p = softmax(logits)."""

    def __init__(self, labels: ArrayLike, label_smoothing: float = 0.0, ignore_index: int | None = None):
        self.labels: ArrayLike = labels
        self.label_smoothing: float = number("CrossEntropy", "label_smoothing", label_smoothing, 0, 1)
        self.ignore_index: int | None = ignore_index
        if ignore_index is not None and not is_whole_number(ignore_index, -math.inf):
            raise ArgumentError(f"CrossEntropy: ignore_index is {shown(ignore_index)}, expected an integer, or None")

    def forward(self, logits: Array) -> Array:
        if logits.ndim != 2 or 0 in logits.shape:
            raise ShapeError(f"{self.title}: expected logits (N, K), at least one example of one class, got shape "
                             f"{logits.shape}")
        xp = array_module(logits)
        N, K = logits.shape
        labels = self.checked_labels(N, K)
        if self.ignore_index is None:
            rows = xp.arange(N)                                              # (M,): those that count, here all
        else:
            counted = np.flatnonzero(labels != self.ignore_index)
            rows, labels = xp.array(counted), labels[counted]
        labels = xp.array(labels)                                            # (M,): a copy, kept for backward
        shifted = logits - logits.max(axis=1, keepdims=True)                 # (N, K): no exp overflows
        exps = xp.exp(shifted)                                               # (N, K)
        sums = sum_over(exps, 1, keepdims=True)                              # (N, K) -> (N, 1)
        log_sums = xp.log(sums[rows, 0])                                     # (N, 1) -> (M,)
        log_p = shifted[rows, labels] - log_sums                             # (N, K) -> (M,)
        self.saved = exps / sums, rows, labels
        if self.label_smoothing > 0:
            log_p *= 1 - self.label_smoothing
            log_p += self.label_smoothing * (mean_over(shifted, 1)[rows] - log_sums)
        return -mean_over(log_p, 0)                                          # (M,) -> ()

    def backward(self, dy: Array) -> Array:
        """dlogits = (p - one_hot(label)) dy / N.

        With label smoothing ε, (1 - ε) one_hot(label) + ε / K takes the place of one_hot(label). Rows that are ignored
        get 0, and N does not count them.
        """
        p, rows, labels = self.saved
        xp = array_module(p)
        N, K = p.shape
        share = dy / len(rows)                                               # of each row that counts
        shares = xp.zeros((N, 1), dtype=p.dtype)                             # and 0 of those that are ignored
        shares[rows] = share
        dlogits = (p - self.label_smoothing / K) * shares                    # (N, K)
        dlogits[rows, labels] -= (1 - self.label_smoothing) * share
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
        counted = labels if self.ignore_index is None else labels[labels != self.ignore_index]
        if len(counted) == 0:
            raise LabelError(f"{self.title}: all {N} labels are {self.ignore_index}, which is ignored: the mean would be "
                             "over no examples. Leave such a batch out")
        if counted.min() < 0 or counted.max() >= K:
            wrong = counted.max() if counted.max() >= K else counted.min()
            remedy = f". To leave such examples out, pass ignore_index={wrong}" if wrong < 0 else ""
            raise LabelError(f"{self.title}: label {wrong} is out of range: logits ({N}, {K}) have the classes 0 to "
                             f"{K - 1}{remedy}")
        return labels


class BinaryCrossEntropyWithLogits(BinaryOp):
    """y = mean of -t log σ(x) - (1 - t) log(1 - σ(x)), which is (1 - t) x - log σ(x)."""

    def forward(self, logits: Array, target: Array) -> Array:
        xp = array_module(logits)
        check_loss_shapes(self, "logits", logits, target)
        self.saved = logits, target, logistic(logits)
        log_s = xp.minimum(logits, 0) - xp.log1p(xp.exp(-xp.abs(logits)))    # log σ(x), where no exp overflows
        losses = (1 - target) * logits - log_s
        return mean_over(losses, tuple(range(losses.ndim)))                  # any shape -> ()

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dlogits = (s - target) dy / count, with s = σ(logits)
        dtarget = -logits dy / count
        """
        logits, target, s = self.saved
        share = dy / logits.size
        dlogits = (s - target) * share
        dtarget = -logits * share
        return dlogits, dtarget


class MSELoss(BinaryOp):
    """y = mean of (prediction - target)²."""

    def forward(self, prediction: Array, target: Array) -> Array:
        check_loss_shapes(self, "prediction", prediction, target)
        difference = prediction - target
        self.saved = difference
        return mean_over(difference * difference, tuple(range(difference.ndim)))    # any shape -> ()

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dprediction = 2 (prediction - target) dy / count
        dtarget = -2 (prediction - target) dy / count
        """
        difference = self.saved
        dprediction = difference * (2 * dy / difference.size)
        dtarget = -dprediction
        return dprediction, dtarget


def check_loss_shapes(op: Op, name: str, x: Array, target: Array) -> None:
    """Raise where the shapes differ: (N, 1) and (N,), say, would broadcast to (N, N) pairs, and train on those."""
    if x.shape != target.shape:
        raise ShapeError(f"{op.title}: {name} has shape {x.shape} and target {target.shape}; they must be equal. Reshape "
                         "one of them")
    if x.size == 0:
        raise ShapeError(f"{op.title}: {name} has shape {x.shape}: the mean would be over no values")
