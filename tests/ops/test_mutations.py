"""Every backward made wrong on purpose, in many ways: `gradcheck` or the engine must notice each of them.

A mutant is one op whose backward returns something else than it should. The general ways to be wrong (negated, flipped, a
gradient missing, …) are tried on each gradient of each op; the ways of one op (the path through the variance forgotten,
the kernel not turned, …) stand in `OWN_WAYS`. Where a mutant returns the right gradient after all, as that of a sum does
not change when it is flipped along a summed axis, `EQUIVALENT` says why, and the test is that the two are indeed equal.

The fast tests try one mutant of each form of each op, and every general way on the first case; the others are slow.
"""
import collections
from typing import NamedTuple

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.engine.backward import GradientTable
from minires.ops import arithmetic
from minires.ops.activation import ReLU, Sigmoid, Tanh
from minires.ops.arithmetic import Add, Divide, MatMul, Multiply, Negate, Power, Subtract
from minires.ops.conversion import Cast, ToDevice
from minires.ops.convolution import Conv2d
from minires.ops.convolution_1d import Conv1d
from minires.ops.elementwise import Abs, Exp, Log, Sqrt
from minires.ops.fully_connected import Linear
from minires.ops.joining import Concatenate, Pad, Stack
from minires.ops.layer_normalization import GroupNorm, LayerNorm, RMSNorm
from minires.ops.lookup import Embedding
from minires.ops.loss import BinaryCrossEntropyWithLogits, CrossEntropy, MSELoss
from minires.ops.normalization import BatchNorm
from minires.ops.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from minires.ops.random_mask import Dropout
from minires.ops.rectifiers import ELU, GELU, LeakyReLU, SiLU, Softplus, TanhGELU
from minires.ops.reduction import Max, Mean, Sum
from minires.ops.selection import Clip, Where
from minires.ops.shape import Flatten, Index, Reshape, Transpose
from minires.ops.shortcut import ShortcutAdd, ZeroPadShortcut
from minires.ops.softmaxes import LogSoftmax, LogSumExp, Softmax
from minires.ops.transposed_convolution import ConvTranspose2d
from minires.ops.upsampling import UpsampleBilinear, UpsampleNearest
from tests.ops.test_every_op import (
    CASES,
    Case,
    batch_norm,
    conv1d,
    conv2d,
    conv_transpose2d,
    dropout,
    normal,
    op_classes,
    positive,
    upsample,
    where,
)

# Beside the table of all ops: square shapes, which a transposed gradient fits, and lengths that all differ.
SQUARE_CASES = [
    Case(Add, "square", ops.add, (normal(3, 3), normal(3, 3) + 1)),
    Case(Subtract, "square", ops.subtract, (normal(3, 3), normal(3, 3) + 1)),
    Case(Multiply, "square", ops.multiply, (normal(3, 3), normal(3, 3) + 1)),
    Case(Divide, "square", ops.divide, (normal(3, 3), positive(3, 3))),
    Case(Power, "square", ops.power, (positive(3, 3), normal(3, 3))),
    Case(Negate, "square", ops.negate, (normal(3, 3),)),
    Case(MatMul, "square", ops.matmul, (normal(3, 3), normal(2, 3, 3))),
    Case(ReLU, "square", ops.relu, (normal(3, 3),)),
    Case(Sigmoid, "square", ops.sigmoid, (normal(3, 3),)),
    Case(Tanh, "square", ops.tanh, (normal(3, 3),)),
    Case(LeakyReLU, "square", lambda x: ops.leaky_relu(x, 0.2), (normal(3, 3),)),
    Case(ELU, "square", lambda x: ops.elu(x, 1.5), (normal(3, 3),)),
    Case(Softplus, "square", lambda x: ops.softplus(x, 2.0), (normal(3, 3),)),
    Case(SiLU, "square", ops.silu, (normal(3, 3),)),
    Case(GELU, "square", ops.gelu, (normal(3, 3),)),
    Case(TanhGELU, "square", lambda x: ops.gelu(x, "tanh"), (normal(3, 3),)),
    Case(Exp, "square", ops.exp, (normal(3, 3),)),
    Case(Log, "square", ops.log, (positive(3, 3),)),
    Case(Abs, "square", ops.abs, (normal(3, 3),)),
    Case(Sqrt, "square", ops.sqrt, (positive(3, 3),)),
    Case(Clip, "square", lambda x: ops.clip(x, -1, 0.3), (normal(3, 3),)),
    Case(Where, "square", where(np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], bool)), (normal(3, 3), normal(3, 3) + 1)),
    Case(Linear, "square", ops.linear, (normal(3, 3), normal(3, 3) + 1, normal(3))),
    Case(Sum, "square", lambda x: ops.sum(x, 0), (normal(2, 3, 3),)),
    Case(Mean, "square", lambda x: ops.mean(x, 0), (normal(2, 3, 3),)),
    Case(Max, "square", lambda x: ops.max(x, 0), (normal(2, 3, 3),)),
    Case(Softmax, "square", lambda x: ops.softmax(x, 0), (normal(3, 3),)),
    Case(LogSoftmax, "square", ops.log_softmax, (normal(3, 3),)),
    Case(LogSumExp, "square", lambda x: ops.logsumexp(x, 0), (normal(2, 3, 3),)),
    Case(Reshape, "square", lambda x: ops.reshape(x, (3, 3, 2)), (normal(2, 3, 3),)),
    Case(Flatten, "square", ops.flatten, (normal(2, 1, 3, 3),)),
    Case(Transpose, "square", lambda x: ops.transpose(x, (2, 0, 1)), (normal(2, 3, 3),)),
    Case(Index, "square", lambda x: ops.index(x, (slice(None), slice(1, None))), (normal(3, 3),)),
    Case(Concatenate, "square", lambda a, b: ops.concatenate([a, b]), (normal(3, 3), normal(3, 3) + 1)),
    Case(Stack, "square", lambda a, b: ops.stack([a, b], 1), (normal(3, 3), normal(3, 3) + 1)),
    Case(Pad, "square", lambda x: ops.pad(x, (1, 2)), (normal(3, 3),)),
    Case(Cast, "square", lambda x: ops.cast(x, x.dtype), (normal(3, 3),)),
    Case(ToDevice, "square", lambda x: ops.to_device(x, "cpu"), (normal(3, 3),)),
    Case(ShortcutAdd, "square", ops.shortcut_add, (normal(1, 2, 3, 3), normal(1, 2, 3, 3) + 1)),
    Case(ZeroPadShortcut, "square", lambda x: ops.zero_pad_shortcut(x, 5, 2), (normal(1, 2, 3, 3),)),
    Case(CrossEntropy, "square", lambda x: ops.cross_entropy(x, [2, 0, 2]), (normal(3, 3),)),
    Case(BinaryCrossEntropyWithLogits, "square", ops.binary_cross_entropy_with_logits, (normal(3, 3), positive(3, 3) / 4)),
    Case(MSELoss, "square", ops.mse_loss, (normal(3, 3), positive(3, 3))),
    Case(MaxPool2d, "square", lambda x: ops.max_pool2d(x, 3, 1, 1), (normal(1, 2, 4, 4),)),
    Case(AvgPool2d, "square", lambda x: ops.avg_pool2d(x, 2, 2, 1), (normal(1, 2, 4, 4),)),
    Case(GlobalAvgPool2d, "square", ops.global_avg_pool2d, (normal(1, 2, 3, 3),)),
    Case(BatchNorm, "square", batch_norm(True), (normal(2, 3, 3, 3), normal(3), normal(3))),
    Case(BatchNorm, "square (N, C)", batch_norm(True), (normal(3, 3), normal(3), normal(3))),
    Case(BatchNorm, "square, eval", batch_norm(False), (normal(2, 3, 3, 3), normal(3), normal(3))),
    Case(LayerNorm, "square", lambda x, w, b: ops.layer_norm(x, 3, w, b), (normal(3, 3, 3), normal(3), normal(3))),
    Case(GroupNorm, "square", lambda x, w, b: ops.group_norm(x, 2, w, b), (normal(2, 4, 3, 3), normal(4), normal(4))),
    Case(RMSNorm, "square", lambda x, w: ops.rms_norm(x, (3, 3), w), (normal(3, 3, 3), normal(3, 3))),
    Case(Dropout, "square", dropout, (normal(4, 4),)),
    Case(Embedding, "square", lambda w: ops.embedding([0, 2, 2], w), (normal(3, 3),)),
    Case(Conv1d, "square", conv1d(1, 1), (normal(1, 4, 4), normal(4, 4, 4), normal(4))),
    Case(ConvTranspose2d, "square", conv_transpose2d(2, 1), (normal(1, 2, 3, 3), normal(2, 3, 3, 3), normal(3))),
    Case(UpsampleNearest, "square", upsample(2, "nearest"), (normal(1, 2, 3, 3),)),
    Case(UpsampleBilinear, "square", upsample(2, "bilinear"), (normal(1, 2, 3, 3),)),
    Case(Conv2d, "square", conv2d(1, 1), (normal(1, 2, 4, 4), normal(3, 2, 3, 3), normal(3))),
    Case(Conv2d, "square, stride", conv2d(2, 1), (normal(1, 2, 4, 4), normal(3, 2, 2, 2), normal(3))),
]
ALL_DIFFERENT_CASES = [
    Case(MatMul, "all different", ops.matmul, (normal(2, 1, 3, 4), normal(5, 4, 6))),
    Case(Linear, "all different", ops.linear, (normal(3, 4), normal(5, 4), normal(5))),
    Case(MaxPool2d, "all different", lambda x: ops.max_pool2d(x, (3, 2), (2, 1), (1, 0)), (normal(2, 3, 5, 4),)),
    Case(AvgPool2d, "all different", lambda x: ops.avg_pool2d(x, (3, 2), (2, 1), (1, 0)), (normal(2, 3, 5, 4),)),
    Case(BatchNorm, "all different", batch_norm(True), (normal(5, 3, 2, 4), normal(3), normal(3))),
    Case(Conv2d, "all different", conv2d((2, 1), (1, 2), (1, 2)), (normal(2, 3, 5, 4), normal(6, 3, 2, 3), normal(6))),
    Case(Conv1d, "all different", conv1d(2, 1, 2), (normal(2, 3, 10), normal(5, 3, 4), normal(5))),
    Case(ConvTranspose2d, "all different", conv_transpose2d((2, 1), (1, 2), (1, 0), 1, (1, 2)),
         (normal(2, 3, 4, 5), normal(3, 5, 2, 3), normal(5))),
    Case(Conv2d, "all different, groups", conv2d((1, 2), (2, 0), 1, 2), (normal(3, 4, 5, 6), normal(2, 2, 3, 2), normal(2))),
]
EVERY_CASE = CASES + SQUARE_CASES + ALL_DIFFERENT_CASES


# ---- ways to be wrong that fit every op: each makes another array of a gradient

def is_square(shape):
    return len(shape) > 1 and shape[-1] == shape[-2] > 1


class Damage(NamedTuple):
    """How to spoil a gradient, and for which shapes that is something else than the gradient itself."""

    spoil: object
    fits: object


DAMAGES = {
    "zeroed": Damage(lambda g: 0 * g, lambda shape: True),
    "negated": Damage(lambda g: -g, lambda shape: True),
    "scaled by 1.01": Damage(lambda g: 1.01 * g, lambda shape: True),
    "flipped": Damage(lambda g: np.flip(g, -1), lambda shape: len(shape) > 0 and shape[-1] > 1),
    "flipped twice": Damage(lambda g: np.flip(g, (-2, -1)), lambda shape: len(shape) > 1 and max(shape[-2:]) > 1),
    "transposed": Damage(lambda g: g.swapaxes(-1, -2), is_square),
    "shifted": Damage(lambda g: np.roll(g, 1), lambda shape: max((1, *shape)) > 1),
    "None": Damage(lambda g: None, lambda shape: True),
}
DAMAGES_OF_DY = {name: DAMAGES[name] for name in ("flipped", "flipped twice", "transposed", "shifted")}


# ---- ways to be wrong that are an op's own: (op, dy, right backward) -> the gradients

def mask_dropped(op, dy, right):
    return dy


def mask_of_the_gradient(op, dy, right):
    """As in guided backpropagation: what is negative does not pass."""
    return dy * (dy > 0)


def slope_forgotten(op, dy, right):
    op.slope = 0
    return right(op, dy)


def alpha_forgotten(op, dy, right):
    op.alpha = 1
    return right(op, dy)


def beta_counted_twice(op, dy, right):
    return op.beta * right(op, dy)


def product_rule_forgotten(op, dy, right):
    """The slope of x σ(x), or of x Φ(x), as if the second factor were constant."""
    return dy * op.saved[1]


def density_without_its_scale(op, dy, right):
    x, below = op.saved
    return dy * (below + x * np.exp(-0.5 * x * x))


def slope_of_u_forgotten(op, dy, right):
    x, inside, t = op.saved
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t))


def sign_forgotten(op, dy, right):
    return dy.copy()


def two_forgotten(op, dy, right):
    return 2 * right(op, dy)


def square_root_forgotten(op, dy, right):
    return dy / (2 * op.saved ** 2)


def condition_forgotten(op, dy, right):
    condition, a_shape, b_shape = op.saved
    return arithmetic.unbroadcast(dy, a_shape), arithmetic.unbroadcast(dy, b_shape)


def condition_negated(op, dy, right):
    condition, *shapes = op.saved
    op.saved = ~condition, *shapes
    return right(op, dy)


def parts_swapped(op, dy, right):
    return right(op, dy)[::-1]


def first_part_for_all(op, dy, right):
    return (right(op, dy)[0],) * len(op.needs_grad)


def border_on_the_other_side(op, dy, right):
    op.saved = tuple([slice(n - inside.stop, n - inside.start) for n, inside in zip(dy.shape, op.saved, strict=True)])
    return right(op, dy)


def taken_twice_counts_once(op, dy, right):
    dx = np.zeros(op.saved)
    dx[op.key] = dy
    return dx


def not_divided_by_the_count(op, dy, right):
    return right(op, dy) * op.saved[2]


def not_divided_by_the_pixels(op, dy, right):
    return right(op, dy) * np.prod(op.saved[2:])


def every_place_of_the_window_gets_it(op, dy, right):
    shape, x_padded, y = op.saved
    op.saved = shape, np.zeros_like(x_padded), np.zeros_like(y)  # all are as large as the largest ...
    dx_padded = np.zeros(x_padded.shape)
    for place in op.places(dx_padded, *y.shape[2:]):
        place += dy                                              # ... and none takes it from the others
    return op.without_padding(dx_padded, shape)


def first_place_of_the_window_gets_it(op, dy, right):
    shape, x_padded, y = op.saved
    op.saved = shape, np.zeros_like(x_padded), np.zeros_like(y)
    return right(op, dy)


def divided_by_the_pixels_inside(op, dy, right):
    N, C, H, W = op.saved
    inside = ops.avg_pool2d(mr.Tensor(np.ones((N, C, H, W))), op.kernel_size, op.stride, op.padding).data
    return right(op, dy / inside)


def last_channels(op, dy, right):
    return right(op, np.roll(dy, op.saved[1], axis=1))


def one_hot_dropped(op, dy, right):
    p, rows, labels = op.saved
    return p * dy / len(rows)


def not_divided_by_N(op, dy, right):
    return right(op, dy) * len(op.saved[1])


def softmax_dropped(op, dy, right):
    p, rows, labels = op.saved
    return right(op, dy) - p * dy / len(rows)


def smoothing_forgotten(op, dy, right):
    op.label_smoothing = 0
    return right(op, dy)


def ignored_rows_counted(op, dy, right):
    p, rows, labels = op.saved
    return right(op, dy) * len(rows) / len(p)


def sigmoid_forgotten(op, dy, right):
    logits, target, _ = op.saved
    return (logits - target) * dy / logits.size, right(op, dy)[1]


def square_not_halved(op, dy, right):
    """As of half the squared error, whose factor 2 is gone."""
    return tuple([gradient / 2 for gradient in right(op, dy)])


def mean_taken_for_a_sum(op, dy, right):
    return tuple([gradient * gradient.size for gradient in right(op, dy)])


def sum_forgotten(op, dy, right):
    """As of a function of each element alone."""
    return op.saved[0] * dy


def sum_forgotten_in_the_log(op, dy, right):
    return dy.copy()


def sum_over_all_axes(op, dy, right):
    y, _ = op.saved
    op.saved = y, tuple(range(y.ndim))
    return right(op, dy)


def shares_equal(op, dy, right):
    x, y = op.saved
    return np.broadcast_to(dy.reshape(y.shape) * (y.size / x.size), x.shape)


def not_divided_by_the_sum(op, dy, right):
    x, y = op.saved
    return dy.reshape(y.shape) * np.exp(x)


def lowered_exponent_forgotten(op, dy, right):
    a, b, y = op.saved
    da, db = right(op, dy)
    return da * a, db


def channels(op, values):
    """A vector (C,) in a shape that lines up with batch norm's x."""
    return values.reshape((1, -1, 1, 1) if op.saved[0].ndim == 4 else (1, -1))


def path_through_the_mean_dropped(op, dy, right):
    x, weight, _, inv_std = op.saved
    dx, dweight, dbias = right(op, dy)
    return dx + channels(op, weight * inv_std * dbias * len(weight) / x.size), dweight, dbias


def path_through_the_variance_dropped(op, dy, right):
    x, weight, mean, inv_std = op.saved
    dx, dweight, dbias = right(op, dy)
    x_hat = (x - channels(op, mean)) * channels(op, inv_std)
    return dx + x_hat * channels(op, weight * inv_std * dweight * len(weight) / x.size), dweight, dbias


def evaluation_in_place_of_training(op, dy, right):
    assert op.training
    op.training = False
    return right(op, dy)


def training_in_place_of_evaluation(op, dy, right):
    assert not op.training
    op.training = True
    return right(op, dy)


def weight_forgotten(op, dy, right):
    x, weight, mean, inv_std = op.saved
    op.saved = x, np.ones_like(weight), mean, inv_std
    return right(op, dy)


def x_not_normalised_in_dweight(op, dy, right):
    dx, dweight, dbias = right(op, dy)
    return dx, (dy * op.saved[0]).sum(axis=tuple(i for i in range(dy.ndim) if i != 1)), dbias


def mean_held(op, dy, right):
    """The path through the mean dropped: its share of dx is put back."""
    dx, *others = right(op, dy)
    x, weight, _, inv_std = op.saved
    dx_hat = dy if weight is None else dy * own_weight(op, weight, dy)
    if isinstance(op, GroupNorm):
        groups = (len(x), op.num_groups, -1)
        through_mean = dx_hat.reshape(groups).mean(axis=2, keepdims=True) * inv_std
        return (dx.reshape(groups) + through_mean).reshape(x.shape), *others
    axes = tuple(range(-len(op.normalized_shape), 0))
    return dx + dx_hat.mean(axis=axes, keepdims=True) * inv_std, *others


def own_weight(op, weight, dy):
    """The weight, lined up with dy."""
    return weight.reshape((-1,) + (1,) * (dy.ndim - 2)) if isinstance(op, GroupNorm) else weight


def statistics_held(op, dy, right):
    """As in evaluation of a batch norm: dx = dx_hat · inv_std."""
    x, weight, *_, inv = op.saved
    dx_hat = dy if weight is None else dy * own_weight(op, weight, dy)
    _, *others = right(op, dy)
    if isinstance(op, GroupNorm):
        return (dx_hat.reshape(len(x), op.num_groups, -1) * inv).reshape(x.shape), *others
    return dx_hat * inv, *others


def weight_left_out(op, dy, right):
    x, weight, *rest = op.saved
    op.saved = x, np.ones_like(weight), *rest
    return right(op, dy)


def x_in_place_of_x_hat(op, dy, right):
    dx, dweight, *others = right(op, dy)
    summed = (0, *range(2, dy.ndim)) if isinstance(op, GroupNorm) else tuple(range(dy.ndim - dweight.ndim))
    return dx, (dy * op.saved[0]).sum(axis=summed), *others


def everything_kept(op, dy, right):
    return dy / (1 - op.p)


def not_scaled(op, dy, right):
    return dy * op.saved[0]


def another_mask(op, dy, right):
    is_kept, scale = op.saved
    op.saved = ~is_kept, scale
    return right(op, dy)


def repeated_row_counts_once(op, dy, right):
    indices, shape = op.saved
    dweight = np.zeros(shape)
    dweight[indices] = dy
    return dweight


def shared_by_the_uses(op, dy, right):
    indices, shape = op.saved
    return right(op, dy) / np.maximum(np.bincount(indices.reshape(-1), minlength=shape[0]), 1)[:, None]


def kernel_not_turned(op, dy, right):
    x, weight, g = op.saved
    op.saved = x, weight[:, :, ::-1, ::-1], g  # it is turned once more; dweight does not depend on it
    return right(op, dy)


def kernel_rows_not_turned(op, dy, right):
    x, weight, g = op.saved
    op.saved = x, weight[:, :, ::-1], g
    return right(op, dy)


def image_turned_in_dweight(op, dy, right):
    x, weight, g = op.saved
    op.saved = x[:, :, ::-1, ::-1], weight, g
    return right(op, dy)


def kernel_place_zeroed(op, dy, right):
    dx, dweight, dbias = right(op, dy)
    dweight = dweight.copy()
    dweight[:, :, -1, 0] = 0
    return dx, dweight, dbias


def part_of_dx_zeroed(name, *place):
    """A backward that forgets some part of dx, such as the border that the padding touches."""
    def backward(op, dy, right):
        dx, dweight, dbias = right(op, dy)
        dx = dx.copy()
        dx[place] = 0
        return dx, dweight, dbias
    backward.__name__ = f"{name}_of_dx_zeroed"
    return backward


def groups_swapped_in_weight(op, dy, right):
    x, weight, g = op.saved
    op.saved = x, np.roll(weight, len(weight) // op.groups, axis=0), g
    return right(op, dy)


def groups_swapped_in_dx(op, dy, right):
    dx, dweight, dbias = right(op, dy)
    return np.roll(dx, dx.shape[1] // op.groups, axis=1), dweight, dbias


def groups_swapped_in_dweight(op, dy, right):
    dx, dweight, dbias = right(op, dy)
    return dx, np.roll(dweight, len(dweight) // op.groups, axis=0), dbias


def mean_in_dbias(op, dy, right):
    *others, dbias = right(op, dy)
    return *others, dbias * len(dbias) / dy.size


def kernel_1d_not_turned(op, dy, right):
    x, weight = op.saved
    op.saved = x, weight[:, :, ::-1]  # dweight does not depend on it
    return right(op, dy)


def last_place_of_dx_zeroed(op, dy, right):
    dx, *others = right(op, dy)
    dx = dx.copy()
    dx[..., -1] = 0
    return dx, *others


def border_in_place_of_the_inside(op, dy, right):
    """dy one pixel off, as with another padding."""
    return right(op, np.roll(dy, 1, axis=2))


def one_of_the_pixels_that_x_became(op, dy, right):
    SH, SW = op.scale_factor
    return dy[:, :, ::SH, ::SW].copy()


def mean_of_the_pixels_that_x_became(op, dy, right):
    return right(op, dy) / np.prod(op.scale_factor)


def nearest_in_place_of_lines(op, dy, right):
    SH, SW = op.scale_factor
    N, C, OH, OW = dy.shape
    return dy.reshape(N, C, OH // SH, SH, OW // SW, SW).sum(axis=(3, 5))


def border_forgotten(op, dy, right):
    """What the pixels beyond the last one's centre send is lost."""
    dy = dy.copy()
    dy[:, :, 0] = 0
    return right(op, dy)


def one_kernel_of_dy_forgotten(op, dy, right):
    dy = dy.copy()
    dy[:, 0] = 0
    return right(op, dy)


EVERY, LAST, FIRST = slice(None), -1, 0
# op: [(way to be wrong, the cases that it is tried on: None for all)]
OWN_WAYS = {
    ReLU: [(mask_dropped, None), (mask_of_the_gradient, None)],
    Power: [(lowered_exponent_forgotten, None)],
    LeakyReLU: [(slope_forgotten, None), (mask_dropped, None)],
    ELU: [(alpha_forgotten, None), (mask_dropped, None)],
    Softplus: [(beta_counted_twice, ["", "square"]), (mask_dropped, None)],
    SiLU: [(product_rule_forgotten, None)],
    GELU: [(product_rule_forgotten, None), (density_without_its_scale, None)],
    TanhGELU: [(slope_of_u_forgotten, None)],
    Abs: [(sign_forgotten, None)],
    Sqrt: [(two_forgotten, None), (square_root_forgotten, None)],
    Clip: [(mask_dropped, None)],
    Where: [(condition_forgotten, None), (condition_negated, None)],
    Concatenate: [(parts_swapped, ["square"]), (first_part_for_all, ["square"])],
    Stack: [(parts_swapped, None), (first_part_for_all, None)],
    Pad: [(border_on_the_other_side, None)],
    Softmax: [(sum_forgotten, None), (sum_over_all_axes, None)],
    LogSoftmax: [(sum_forgotten_in_the_log, None), (sum_over_all_axes, None)],
    LogSumExp: [(shares_equal, None), (not_divided_by_the_sum, None)],
    Index: [(taken_twice_counts_once, ["taken twice"])],
    Mean: [(not_divided_by_the_count, None)],
    GlobalAvgPool2d: [(not_divided_by_the_pixels, None)],
    MaxPool2d: [(every_place_of_the_window_gets_it, None), (first_place_of_the_window_gets_it, None)],
    AvgPool2d: [(divided_by_the_pixels_inside, None)],
    ZeroPadShortcut: [(last_channels, None)],
    CrossEntropy: [(one_hot_dropped, None), (not_divided_by_N, None), (softmax_dropped, None),
                   (smoothing_forgotten, ["smoothed", "ignored"]), (ignored_rows_counted, ["ignored"])],
    BinaryCrossEntropyWithLogits: [(sigmoid_forgotten, None), (mean_taken_for_a_sum, None)],
    MSELoss: [(square_not_halved, None), (mean_taken_for_a_sum, None)],
    Linear: [(mean_in_dbias, ["bias", "square", "all different"])],
    BatchNorm: [
        *[(way, ["training", "training, (N, C)", "square", "square (N, C)", "all different"]) for way in
          (path_through_the_mean_dropped, path_through_the_variance_dropped, evaluation_in_place_of_training)],
        (training_in_place_of_evaluation, ["eval", "square, eval"]),
        (weight_forgotten, None), (x_not_normalised_in_dweight, None), (mean_in_dbias, None),
    ],
    LayerNorm: [(mean_held, None), (statistics_held, None), (weight_left_out, None), (x_in_place_of_x_hat, None)],
    GroupNorm: [(mean_held, None), (statistics_held, None), (weight_left_out, ["", "square"]),
                (x_in_place_of_x_hat, ["", "square"])],
    RMSNorm: [(statistics_held, None), (weight_left_out, None), (x_in_place_of_x_hat, None)],
    Dropout: [(everything_kept, None), (not_scaled, None), (another_mask, None)],
    Embedding: [(repeated_row_counts_once, None), (shared_by_the_uses, None)],
    Conv1d: [(kernel_1d_not_turned, None), (last_place_of_dx_zeroed, None), (one_kernel_of_dy_forgotten, None),
             (mean_in_dbias, ["stride", "square", "all different"])],
    ConvTranspose2d: [(kernel_not_turned, None), (kernel_rows_not_turned, None), (image_turned_in_dweight, None),
                      (last_place_of_dx_zeroed, None), (border_in_place_of_the_inside, None),
                      (one_kernel_of_dy_forgotten, None), (mean_in_dbias, ["stride", "square", "all different"])],
    UpsampleNearest: [(one_of_the_pixels_that_x_became, None), (mean_of_the_pixels_that_x_became, None)],
    UpsampleBilinear: [(nearest_in_place_of_lines, None), (border_forgotten, None)],
    Conv2d: [
        *[(way, ["padding", "stride", "dilation", "groups", "square", "square, stride", "all different",
                 "all different, groups"])
          for way in (kernel_not_turned, kernel_rows_not_turned, kernel_place_zeroed)],
        *[(way, ["groups", "all different, groups"])
          for way in (groups_swapped_in_weight, groups_swapped_in_dx, groups_swapped_in_dweight)],
        (mean_in_dbias, ["padding", "stride", "all different"]),
        (image_turned_in_dweight, None), (one_kernel_of_dy_forgotten, None),
        (part_of_dx_zeroed("last_row", EVERY, EVERY, LAST), None),
        (part_of_dx_zeroed("last_column", EVERY, EVERY, EVERY, LAST), None),
        (part_of_dx_zeroed("first_row", EVERY, EVERY, FIRST), None),
        (part_of_dx_zeroed("first_column", EVERY, EVERY, EVERY, FIRST), None),
        (part_of_dx_zeroed("last_image", LAST), None),
        (part_of_dx_zeroed("last_channel", EVERY, LAST), None),
    ],
}

# (op, case, way to be wrong): why the spoiled gradient is the right one. A test sees that it is.
SUMMED = "the gradient of a sum is the same along the axis that was summed"
ALL_PIXELS = "each pixel gets the same share, so that it does not matter in which order they come"
EQUIVALENT = {
    (Sum, "keepdims", "gradient 0 flipped"): SUMMED,
    (GlobalAvgPool2d, "", "gradient 0 flipped"): ALL_PIXELS,
    (GlobalAvgPool2d, "", "gradient 0 flipped twice"): ALL_PIXELS,
    (GlobalAvgPool2d, "square", "gradient 0 flipped"): ALL_PIXELS,
    (GlobalAvgPool2d, "square", "gradient 0 flipped twice"): ALL_PIXELS,
    (GlobalAvgPool2d, "square", "gradient 0 transposed"): ALL_PIXELS,
}


class Mutant(NamedTuple):
    """A case whose op gets a wrong backward, in place of its fast or its plain one."""

    case: Case
    form: str  # "backward" or "plain_backward"
    name: str
    backward: object  # (op, dy, right backward) -> gradients

    @property
    def label(self):
        form = "plain " if self.form == "plain_backward" else ""
        return f"{self.case.op.__name__} {self.case.name}: {form}{self.name}"

    @property
    def why_equivalent(self):
        """Why its gradient is right after all; None where it is wrong."""
        return EQUIVALENT.get((self.case.op, self.case.name, self.name))


def as_list(gradients):
    return list(gradients) if isinstance(gradients, tuple) else [gradients]


def spoiled_gradient(i, spoil):
    """A backward whose i-th gradient is spoiled."""
    def backward(op, dy, right):
        gradients = as_list(right(op, dy))
        gradients[i] = spoil(gradients[i])
        return tuple(gradients)
    return backward


def spoiled_dy(spoil):
    """A backward that takes the incoming gradient wrongly."""
    def backward(op, dy, right):
        return right(op, spoil(dy))
    return backward


def last_gradient_missing(op, dy, right):
    return tuple(as_list(right(op, dy))[:-1])


def all_mutants():
    """Every mutant of every case, in both forms where there are two."""
    mutants = []
    for case in EVERY_CASE:
        output_shape = case.function(*[mr.Tensor(x) for x in case.arrays]).shape
        ways = [(f"gradient {i} {name}", spoiled_gradient(i, damage.spoil))
                for i, x in enumerate(case.arrays) for name, damage in DAMAGES.items() if damage.fits(x.shape)]
        ways += [(f"dy {name}", spoiled_dy(damage.spoil))
                 for name, damage in DAMAGES_OF_DY.items() if damage.fits(output_shape)]
        ways.append(("last gradient missing", last_gradient_missing))
        ways += [(way.__name__.replace("_", " "), way) for way, names in OWN_WAYS.get(case.op, [])
                 if names is None or case.name in names]
        for form in ["backward", "plain_backward"] if case.op.plain_backward else ["backward"]:
            mutants += [Mutant(case, form, name, backward) for name, backward in ways]
    return mutants


MUTANTS = all_mutants()
WRONG = [mutant for mutant in MUTANTS if not mutant.why_equivalent]
RIGHT_AFTER_ALL = [mutant for mutant in MUTANTS if mutant.why_equivalent]
RESULTS = {}  # (op, mutant) -> was it noticed? Of those that ran, for the report at the end


def is_fast(mutant):
    """Whether the fast tests try it: one mutant of each form of an op, on its first case, and all of the very first case."""
    first = next(case for case in EVERY_CASE if case.op is mutant.case.op)
    return mutant.case is EVERY_CASE[0] or (mutant.case is first and mutant.name == "gradient 0 scaled by 1.01")


def forms_of(op):
    """The names of the backward methods of an op."""
    return ["backward", "plain_backward"] if op.plain_backward else ["backward"]


def check(case, form):
    """`gradcheck` of a case, in one form of its op."""
    if form == "backward":
        return mr.gradcheck(case.function, case.arrays)
    with mr.reference_ops():
        return mr.gradcheck(case.function, case.arrays)


def assert_noticed(owner, label, error, match, function, *arguments):
    """The check must raise: and the report at the end knows whether it did."""
    RESULTS[owner, label] = False
    with pytest.raises(error, match=match):
        function(*arguments)
    RESULTS[owner, label] = True


@pytest.fixture
def break_op(monkeypatch):
    """A function that puts a wrong backward into an op, for the time of one test."""
    def break_op(op, form, backward):
        right = getattr(op, form)
        monkeypatch.setattr(op, form, lambda self, dy: backward(self, dy, right))
        if form == "plain_backward":
            # the numerical derivatives need the forward only, and the fast one leaves the same arrays for backward
            monkeypatch.setattr(op, "plain_forward", op.forward)
    return break_op


@pytest.mark.parametrize("case", EVERY_CASE, ids=[f"{case.op.__name__} {case.name}" for case in EVERY_CASE])
def test_the_right_backward_passes(case, break_op):
    for form in forms_of(case.op):
        break_op(case.op, form, lambda op, dy, right: right(op, dy))  # the way of the mutants, without a mutation
        report = check(case, form)
        assert sum(argument.kinks for argument in report.arguments) == 0


@pytest.mark.parametrize("mutant", [
    pytest.param(mutant, id=mutant.label, marks=() if is_fast(mutant) else pytest.mark.slow) for mutant in WRONG])
def test_a_wrong_backward_is_noticed(mutant, break_op):
    break_op(mutant.case.op, mutant.form, mutant.backward)
    error, match = mr.GradcheckError, r"dL/d\(.*\) of .* is wrong"
    if mutant.name == "last gradient missing":
        error, match = mr.BackwardError, "backward returned . gradients for . inputs"
    elif mutant.name.endswith("None"):
        error, match = mr.BackwardError, "backward returned None for input"
    assert_noticed(mutant.case.op.__name__, mutant.label, error, match, check, mutant.case, mutant.form)


@pytest.mark.parametrize("mutant", RIGHT_AFTER_ALL, ids=[mutant.label for mutant in RIGHT_AFTER_ALL])
def test_a_mutant_that_is_called_equivalent_is(mutant):
    op_class = mutant.case.op
    y = mutant.case.function(*[mr.Tensor(x, requires_grad=True) for x in mutant.case.arrays])
    right = getattr(op_class, mutant.form)
    dy = normal(*y.shape)
    for found, expected in zip(as_list(mutant.backward(y.op, dy, right)), as_list(right(y.op, dy)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_nothing_is_called_equivalent_that_is_no_mutant():
    assert {(m.case.op, m.case.name, m.name) for m in RIGHT_AFTER_ALL} == set(EQUIVALENT)


@pytest.mark.parametrize("op", sorted(op_classes(), key=str), ids=[op.__name__ for op in sorted(op_classes(), key=str)])
def test_every_op_is_broken_in_every_way_that_its_shapes_allow(op):
    for form in forms_of(op):
        names = {mutant.name for mutant in MUTANTS if (mutant.case.op, mutant.form) == (op, form)}
        tried = {name for name in DAMAGES if f"gradient 0 {name}" in names}
        assert tried == set(DAMAGES)
        assert "last gradient missing" in names
        if op not in (CrossEntropy, BinaryCrossEntropyWithLogits, MSELoss):  # whose dy is one number
            assert {"dy flipped", "dy shifted"} <= names


# ---- broadcasting: what every op of two operands leaves to `unbroadcast`

def mean_in_place_of_sum(gradient, shape):
    return UNBROADCAST(gradient, shape) / (gradient.size / np.prod(shape))


def first_in_place_of_sum(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient[0]
    return gradient[tuple(slice(n) for n in shape)]


def not_summed(gradient, shape):
    return gradient


UNBROADCAST = arithmetic.unbroadcast


@pytest.mark.parametrize("wrong", [mean_in_place_of_sum, first_in_place_of_sum, not_summed])
@pytest.mark.parametrize("function", [ops.add, ops.subtract, ops.multiply, ops.divide, ops.power, ops.matmul])
def test_a_wrong_sum_over_broadcast_axes_is_noticed(function, wrong, monkeypatch):
    operands = [positive(1, 3, 3), positive(4, 3, 3) + 0.1]
    for arrays in (operands, operands[::-1]):
        mr.gradcheck(function, arrays)
    monkeypatch.setattr(arithmetic, "unbroadcast", wrong)
    for i, arrays in enumerate((operands, operands[::-1])):
        assert_noticed("unbroadcast", f"{function.__name__}: {wrong.__name__}, operand {i}",
                       (mr.GradcheckError, mr.BackwardError, ValueError),  # a matmul cannot reshape what is not summed
                       "is wrong|returned shape|cannot reshape", mr.gradcheck, function, arrays)


# ---- ties: a place where `gradcheck` sees a kink, and accepts what lies between the slopes. So they are counted here

def assert_first_largest_gets_the_gradient():
    x = mr.Tensor(np.array([[[[1.0, 3, 3], [3, 2, 2], [5, 5, 4], [4, 5, 4]]]]), requires_grad=True)
    ops.max_pool2d(x, 2, (2, 1)).backward(np.array([[[[10.0, 20], [30, 40]]]]))
    np.testing.assert_array_equal(x.grad, [[[[0, 30, 0], [0, 0, 0], [30, 40, 0], [0, 0, 0]]]])


def assert_equal_largest_share_the_gradient():
    x = mr.Tensor(np.array([[1.0, 3, 3], [4, 4, 4]]), requires_grad=True)
    ops.max(x, 1).backward(np.array([10.0, 30]))
    np.testing.assert_array_equal(x.grad, [[0, 5, 5], [10, 10, 10]])


def all_largest_get_it(op, dy, right):
    shape, x_padded, y = op.saved
    dx = np.zeros(x_padded.shape)
    for x_place, dx_place in zip(op.places(x_padded, *y.shape[2:]), op.places(dx, *y.shape[2:]), strict=True):
        dx_place += dy * (x_place == y)
    return dx


def last_largest_gets_it(op, dy, right):
    shape, x_padded, y = op.saved
    dx = np.zeros(x_padded.shape)
    places = zip(op.places(x_padded, *y.shape[2:]), op.places(dx, *y.shape[2:]), strict=True)
    unclaimed = dy.copy()
    for x_place, dx_place in reversed(list(places)):
        dx_place += unclaimed * (x_place == y)
        unclaimed = unclaimed * (x_place != y)
    return dx


def each_of_the_equal_gets_all(op, dy, right):
    x, y, axes = op.saved
    return (x == y) * dy.reshape(y.shape)


@pytest.mark.parametrize(("op", "wrong", "assert_ties"), [
    (MaxPool2d, all_largest_get_it, assert_first_largest_gets_the_gradient),
    (MaxPool2d, last_largest_gets_it, assert_first_largest_gets_the_gradient),
    (Max, each_of_the_equal_gets_all, assert_equal_largest_share_the_gradient),
])
def test_a_wrong_gradient_of_ties_is_noticed(op, wrong, assert_ties, break_op):
    assert_ties()
    break_op(op, "backward", wrong)
    assert_noticed(op.__name__, f"{op.__name__} ties: {wrong.__name__}", AssertionError, "not equal", assert_ties)


# ---- forks: the one routine that adds gradients

def overwrites(table, node, gradient):
    table._gradients[id(node)] = gradient


def keeps_the_first(table, node, gradient):
    table._gradients.setdefault(id(node), gradient)


def adds_into_the_borrowed_array(table, node, gradient):
    if id(node) in table._gradients:
        table._gradients[id(node)] += gradient
    else:
        table._gradients[id(node)] = gradient


def adds_twice(table, node, gradient):
    present = table._gradients.get(id(node))
    table._gradients[id(node)] = gradient if present is None else present + 2 * gradient


def residual_block(x, weight):
    """h + f(h), where h is not a leaf."""
    h = 2 * x
    f = ops.tanh(h * weight)
    return [h, f, ops.shortcut_add(f, h)]


def two_shortcuts(x, weight):
    """p + f(h) + (h + p): the addition hands one array to h and to p, and both wait for another contribution."""
    h, p = 2 * x, 3 * x
    f = h * weight
    s = h + p
    return [h, p, f, s, p * 5 + f + s]


def expected_layer_gradients(function, weight, layers, dy):
    """dL/d(each layer), written out by hand."""
    if function is residual_block:
        h, f, _ = layers
        return [dy + dy * (1 - f * f) * weight, dy, dy]
    return [dy * weight + dy, dy * 5 + dy, dy, dy, dy]


def assert_layer_gradients(function):
    """The gradient of every layer is right, in `grad` and in the steps that a recorder keeps, and dy is as before."""
    x, weight, dy = mr.Tensor(normal(2, 3), requires_grad=True), normal(2, 3) + 1, normal(3, 2).T.copy()
    layers = function(x, mr.Tensor(weight))
    for layer in layers:
        layer.retain_grad()
    expected = expected_layer_gradients(function, weight, [layer.data for layer in layers], dy.copy())
    made_by = {id(layer.op): i for i, layer in enumerate(layers)}
    steps = list(mr.backward_steps(layers[-1], dy))
    for layer, right in zip(layers, expected, strict=True):
        np.testing.assert_allclose(layer.grad, right, rtol=1e-12)
    for step in steps:
        if id(step.op) in made_by:
            np.testing.assert_allclose(step.grad_output, expected[made_by[id(step.op)]], rtol=1e-12)


def check_fork(function):
    mr.gradcheck(lambda x, weight: function(x, weight)[-1], [normal(2, 3), normal(2, 3) + 1])


FORKS = [residual_block, two_shortcuts]
WRONG_ADDS = [overwrites, keeps_the_first, adds_into_the_borrowed_array, adds_twice]


@pytest.mark.parametrize("function", FORKS)
@pytest.mark.parametrize("wrong", WRONG_ADDS)
def test_a_wrong_sum_at_a_fork_is_noticed(function, wrong, monkeypatch):
    check_fork(function)
    assert_layer_gradients(function)
    monkeypatch.setattr(GradientTable, "add", wrong)
    label = f"{function.__name__}: {wrong.__name__}"
    assert_noticed("GradientTable", f"{label}, gradcheck", mr.GradcheckError, "is wrong|wrote to", check_fork, function)
    assert_noticed("GradientTable", f"{label}, layers", AssertionError, "Not equal", assert_layer_gradients, function)


@pytest.mark.parametrize("branch", [0, 1])
def test_a_dropped_branch_of_a_residual_block_is_noticed(branch, break_op):
    break_op(ShortcutAdd, "backward", spoiled_gradient(branch, np.zeros_like))
    label = f"residual block: branch {branch} dropped"
    assert_noticed("ShortcutAdd", f"{label}, gradcheck", mr.GradcheckError, "is wrong", check_fork, residual_block)
    assert_noticed("ShortcutAdd", f"{label}, layers", AssertionError, "Not equal", assert_layer_gradients, residual_block)


# ---- the report

def test_all_mutants_that_ran_were_noticed(record_property):
    """Last in the file: prints how many mutants each op had (`pytest -rP`); none may be left over."""
    if not RESULTS:
        pytest.fail("no mutant ran before this test: run the whole file")
    counts = collections.Counter(owner for owner, _ in RESULTS)
    for owner, count in sorted(counts.items()):
        noticed = sum(killed for (of, _), killed in RESULTS.items() if of == owner)
        print(f"{owner:28} {noticed} of {count} noticed")
        record_property(owner, f"{noticed} of {count}")
    for mutant in RIGHT_AFTER_ALL:
        print(f"equivalent: {mutant.label}: {mutant.why_equivalent}")
    print(f"{sum(RESULTS.values())} of {len(RESULTS)} mutants noticed, {len(RIGHT_AFTER_ALL)} equivalent")
    assert [label for (_, label), noticed in RESULTS.items() if not noticed] == []
