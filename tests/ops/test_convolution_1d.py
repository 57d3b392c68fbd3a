"""The convolution of sequences: both forms against sliding windows, their gradients, and what is refused."""
import contextlib

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError, ShapeError
from tests.ops.test_every_op import normal

# (shape of x, shape of weight, options)
SIZES = {
    "one after another": ((2, 3, 7), (4, 3, 3), {}),
    "same length": ((2, 2, 5), (3, 2, 3), {"padding": 1}),
    "stride, an end left over": ((2, 2, 8), (3, 2, 3), {"stride": 2}),
    "dilation": ((1, 2, 9), (2, 2, 3), {"dilation": 3, "padding": 2}),
    "groups": ((2, 4, 6), (6, 2, 2), {"groups": 2, "stride": 2}),
    "one channel a group": ((2, 3, 5), (6, 1, 2), {"groups": 3}),
    "kernel of one": ((2, 3, 5), (4, 3, 1), {"padding": 1}),
    "the kernel is the sequence": ((2, 3, 5), (2, 3, 5), {}),
    "no example": ((0, 3, 5), (2, 3, 3), {}),
}


def definition(x, weight, bias, stride=1, padding=0, dilation=1, groups=1):
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (padding, padding))),
                                                       dilation * (weight.shape[2] - 1) + 1, axis=2)
    windows = windows[:, :, ::stride, ::dilation]                                # (N, C, OL, K)
    return np.concatenate([np.einsum("nclk,ock->nol", group, kernels) for group, kernels in
                           zip(np.split(windows, groups, axis=1), np.split(weight, groups), strict=True)],
                          axis=1) + bias[:, None]


@pytest.mark.parametrize("form", [contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_it_is_the_definition_and_its_gradient_is_right(size, form):
    x_shape, weight_shape, options = size
    arrays = [normal(*x_shape), normal(*weight_shape), normal(weight_shape[0])]
    with form():
        y = ops.conv1d(*map(mr.Tensor, arrays), **options)
        np.testing.assert_allclose(y.data, definition(*arrays, **options), rtol=1e-10, atol=1e-12)
        if len(arrays[0]):
            mr.gradcheck(lambda *inputs: ops.conv1d(*inputs, **options), arrays)


def call(x, weight, bias=None, *options):
    return ops.conv1d(mr.Tensor(normal(*x)), mr.Tensor(normal(*weight)), None if bias is None else mr.Tensor(normal(*bias)),
                      *options)


@pytest.mark.parametrize(("arguments", "error", "said"), [
    (((2, 3), (4, 3, 3)), ShapeError, r"Conv1d: expected x \(N, C, L\) with at least one value"),
    (((2, 3, 0), (4, 3, 1)), ShapeError, "with at least one value"),
    (((2, 3, 5), (4, 2, 3)), ShapeError, "has 3 channels, but weight .* with groups=1 takes 2"),
    (((2, 4, 5), (3, 2, 3), None, 1, 0, 1, 2), ShapeError, "its 3 kernels must divide into groups=2"),
    (((2, 3, 5), (4, 3, 3), (3,)), ShapeError, r"bias has shape \(3,\), expected \(4,\)"),
    (((2, 3, 5), (4, 3, 3), None, 1, 0, 3), ShapeError, "the kernel 3 with dilation 3 is larger than the sequence 5"),
    (((2, 3, 5), (4, 3, 3), None, (1, 1)), ArgumentError, r"Conv1d: stride is \(1, 1\), expected an integer of at least 1"),
])
def test_what_does_not_fit_is_named(arguments, error, said):
    with pytest.raises(error, match=said):
        call(*arguments)


def test_the_layer_has_he_normal_weights_and_counts_its_multiply_adds():
    layer = nn.Conv1d(50, 40, 5, padding=2, generator=np.random.default_rng(0))
    assert abs(layer.weight.data.std() - (2 / 250) ** 0.5) < 0.003
    assert not layer.bias.data.any()
    assert mr.summary(layer, (1, 50, 7)).multiply_adds == 40 * 7 * 250
    assert repr(nn.Conv1d(2, 4, 3)) == ("Conv1d(2, 4, kernel_size=3, stride=1, padding=0, dilation=1, groups=1, bias=True)")
    with pytest.raises(ArgumentError, match="Conv1d: 3 input and 4 output channels cannot be split into 2 groups"):
        nn.Conv1d(3, 4, 3, groups=2)
