"""The transposed convolution: both forms against the gradient of a convolution, their gradients, and what is refused."""
import contextlib

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError, ShapeError
from tests.ops.test_every_op import normal

# (shape of x, shape of weight, options)
SIZES = {
    "one after another": ((2, 3, 3, 4), (3, 4, 3, 3), {}),
    "twice as large": ((2, 2, 3, 2), (2, 3, 4, 4), {"stride": 2, "padding": 1}),
    "twice as large, odd kernel": ((1, 2, 3, 2), (2, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "gaps between kernels": ((1, 2, 3, 2), (2, 2, 2, 1), {"stride": 3, "output_padding": (0, 2)}),
    "dilation": ((2, 2, 3, 3), (2, 2, 3, 2), {"dilation": (2, 3), "output_padding": (1, 2), "padding": (0, 1)}),
    "dilation and stride": ((1, 2, 4, 3), (2, 2, 3, 3), {"dilation": 2, "stride": (3, 2), "padding": 2}),
    "groups": ((2, 4, 3, 3), (4, 3, 3, 3), {"groups": 2, "stride": 2}),
    "one channel a group": ((2, 3, 3, 3), (3, 1, 2, 2), {"groups": 3}),
    "1 x 1": ((2, 3, 3, 4), (3, 2, 1, 1), {"stride": 2}),
    "one pixel": ((2, 3, 1, 1), (3, 2, 4, 4), {}),
    "more border than there is on one side": ((1, 2, 4, 4), (2, 2, 2, 2), {"padding": 2}),
    "no image": ((0, 2, 4, 4), (2, 2, 2, 2), {}),
}
each_form = pytest.mark.parametrize("form", [contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])


def gradient_of_conv2d(x, weight, bias, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """dL/dz of a conv2d of z with these arguments, for dL/d(output) = x."""
    sizes = [(n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, more, d in
             zip(x.shape[2:], weight.shape[2:], *[np.broadcast_to(value, 2) for value in
                                                  (stride, padding, output_padding, dilation)], strict=True)]
    z = mr.Tensor(np.zeros((len(x), weight.shape[1] * groups, *map(int, sizes))), requires_grad=True)
    y = ops.conv2d(z, mr.Tensor(weight), None, stride, padding, dilation, groups)
    dy = np.zeros(y.shape)
    dy[:, :, :x.shape[2], :x.shape[3]] = x  # with output padding, there may be more
    y.backward(dy)
    return z.grad + bias[:, None, None]


@each_form
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_it_is_the_gradient_of_a_convolution_and_its_own_gradient_is_right(size, form):
    x_shape, weight_shape, options = size
    arrays = [normal(*x_shape), normal(*weight_shape), normal(weight_shape[1] * options.get("groups", 1))]
    expected = gradient_of_conv2d(*arrays, **options)
    with form():
        y = ops.conv_transpose2d(*map(mr.Tensor, arrays), **options)
        np.testing.assert_allclose(y.data, expected, rtol=1e-10, atol=1e-12)
        if len(arrays[0]):
            mr.gradcheck(lambda *inputs: ops.conv_transpose2d(*inputs, **options), arrays)


@each_form
def test_a_pixel_lays_down_the_kernel_times_itself(form):
    x = np.zeros((1, 1, 2, 2))
    x[0, 0, 0, 1], x[0, 0, 1, 1] = 2, 3
    with form():
        y = ops.conv_transpose2d(mr.Tensor(x), mr.Tensor(np.array([[[[1.0, 10], [100, 1000]]]])), stride=2)
    np.testing.assert_array_equal(y.data[0, 0], [[0, 0, 2, 20], [0, 0, 200, 2000], [0, 0, 3, 30], [0, 0, 300, 3000]])


def call(x, weight, bias=None, **options):
    return ops.conv_transpose2d(mr.Tensor(normal(*x)), mr.Tensor(normal(*weight)),
                                None if bias is None else mr.Tensor(normal(*bias)), **options)


@pytest.mark.parametrize(("arguments", "options", "error", "said"), [
    (((2, 3, 4), (3, 4, 3, 3)), {}, ShapeError, r"ConvTranspose2d: expected x \(N, C, H, W\) with at least one pixel"),
    (((2, 3, 0, 4), (3, 4, 1, 1)), {}, ShapeError, "with at least one pixel"),
    (((2, 3, 4, 4), (4, 3, 3, 3)), {}, ShapeError, "x .* has 3 channels, but weight .* takes 4"),
    (((2, 3, 4, 4), (3, 2, 3, 3)), {"groups": 2}, ShapeError, "the 3 channels must divide into groups=2"),
    (((2, 4, 4, 4), (4, 3, 3, 3), (3,)), {"groups": 2}, ShapeError, r"bias has shape \(3,\), expected \(6,\) .* groups=2"),
    (((2, 3, 1, 1), (3, 2, 2, 2)), {"padding": 1}, ShapeError, r"nothing is left of \(2, 3, 1, 1\) within a border"),
    (((2, 3, 4, 4), (3, 2, 2, 2)), {"stride": 2, "output_padding": (1, 2)}, ArgumentError,
     r"output_padding is \(1, 2\), expected less than the stride \(2, 2\) or the dilation \(1, 1\)"),
    (((2, 3, 4, 4), (3, 2, 2, 2)), {"stride": 0}, ArgumentError, "ConvTranspose2d: stride is 0"),
])
def test_what_does_not_fit_is_named(arguments, options, error, said):
    with pytest.raises(error, match=said):
        call(*arguments, **options)


def test_the_layer_keeps_the_size_of_numbers_and_counts_its_multiply_adds():
    layer = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, generator=np.random.default_rng(0))
    x = mr.Tensor(np.abs(np.random.default_rng(1).standard_normal((2, 64, 8, 8))))
    assert 0.8 < layer(ops.relu(x)).data[:, :, 2:-2, 2:-2].std() / (2 * (x.data ** 2).mean()) ** 0.5 < 1.2
    assert mr.summary(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), (1, 4, 5, 7)).multiply_adds == 4 * 5 * 7 * 3 * 9
    assert repr(nn.ConvTranspose2d(2, 4, 3)) == (
        "ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0), output_padding=(0, 0), groups=1, "
        "bias=True, dilation=(1, 1))")
    before = layer.weight.data.copy()
    nn.init.initialize_(layer, nn.init.he_normal_, seed=0)
    np.testing.assert_array_equal(layer.weight.data, before)
    with pytest.raises(ArgumentError, match="ConvTranspose2d: 3 input and 4 output channels cannot be split into 2 groups"):
        nn.ConvTranspose2d(3, 4, 3, groups=2)
