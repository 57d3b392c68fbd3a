"""The convolution layer: its weight, its bias, and the op that they go into."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError

OPTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": (0, 2), "dilation": (2, 1)},
    {"groups": 2},
    {"bias": False},
    {"kernel_size": (1, 3), "stride": (1, 2)},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_layer_is_the_op(options):
    layer = nn.Conv2d(4, 6, **{"kernel_size": 3, **options})
    if layer.bias is not None:
        layer.bias.data += np.arange(6)
    x = mr.Tensor(np.random.default_rng(0).standard_normal((2, 4, 7, 8)))
    y = layer(x)
    arguments = {name: options[name] for name in options if name in ("stride", "padding", "dilation", "groups")}
    expected = ops.conv2d(x, layer.weight, layer.bias, **arguments)
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.data, expected.data)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_gradient_is_right_in_x_weight_and_bias(options):
    layer = nn.Conv2d(2, 4, **{"kernel_size": 3, **options}, generator=np.random.default_rng(1)).astype(np.float64)
    mr.gradcheck(layer, [np.random.default_rng(0).standard_normal((2, 2, 5, 4))])


def test_the_weight_has_the_shape_of_a_group_and_the_bias_is_zero():
    layer = nn.Conv2d(4, 6, (3, 5), groups=2)
    assert layer.weight.shape == (6, 2, 3, 5)
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.bias.data, np.zeros(6))
    assert nn.Conv2d(4, 6, 3, bias=False).bias is None


def test_the_output_has_the_shape_that_the_arguments_say():
    x = mr.Tensor(np.zeros((2, 3, 8, 9)))
    assert nn.Conv2d(3, 5, 3)(x).shape == (2, 5, 6, 7)
    assert nn.Conv2d(3, 5, 3, padding=1)(x).shape == (2, 5, 8, 9)
    assert nn.Conv2d(3, 5, 3, stride=2, padding=1)(x).shape == (2, 5, 4, 5)
    assert nn.Conv2d(3, 5, 3, dilation=2)(x).shape == (2, 5, 4, 5)


def test_a_generator_decides_the_weight():
    first, second, other = (nn.Conv2d(2, 3, 3, generator=np.random.default_rng(seed)).weight.data for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert not np.array_equal(nn.Conv2d(2, 3, 3).weight.data, nn.Conv2d(2, 3, 3).weight.data)


def test_the_weight_is_he_normal():
    drawn = nn.init.he_normal_(mr.Tensor(np.zeros((3, 2, 5, 5), np.float32)), np.random.default_rng(0))
    np.testing.assert_array_equal(nn.Conv2d(2, 3, 5, generator=np.random.default_rng(0)).weight.data, drawn.data)


@pytest.mark.parametrize(("options", "shown"), [
    ({}, "kernel_size=(3, 3), stride=(1, 1)"),
    ({"stride": 2, "padding": 1}, "kernel_size=(3, 3), stride=(2, 2), padding=(1, 1)"),
    ({"dilation": 2, "groups": 2}, "kernel_size=(3, 3), stride=(1, 1), dilation=(2, 2), groups=2"),
    ({"bias": False}, "kernel_size=(3, 3), stride=(1, 1), bias=False"),
])
def test_repr_shows_what_differs_from_the_defaults(options, shown):
    assert repr(nn.Conv2d(4, 6, 3, **options)) == f"Conv2d(4, 6, {shown})"


@pytest.mark.parametrize(("arguments", "message"), [
    ((0, 6, 3), "in_channels is 0"),
    ((4, 6.0, 3), "out_channels is 6.0"),
    ((4, 6, 0), "kernel_size is 0"),
    ((4, 6, (3, 3, 3)), "kernel_size is \\(3, 3, 3\\)"),
    ((4, 6, 3, 0), "stride is 0"),
    ((4, 6, 3, 1, -1), "padding is -1"),
    ((4, 6, 3, 1, "same"), "padding is 'same'"),
    ((4, 6, 3, 1, 0, 0), "dilation is 0"),
    ((4, 6, 3, 1, 0, 1, 0), "groups is 0"),
    ((4, 6, 3, 1, 0, 1, 4), "4 input and 6 output channels cannot be split into 4 groups"),
])
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=f"^Conv2d: {message}"):
        nn.Conv2d(*arguments)
