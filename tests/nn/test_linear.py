"""The linear layer, and Flatten before it."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_the_op(bias):
    layer = nn.Linear(3, 4, bias)
    if bias:
        layer.bias.data += np.arange(4)
    x = mr.Tensor(np.random.default_rng(0).standard_normal((5, 3)))
    assert layer(x).shape == (5, 4)
    np.testing.assert_array_equal(layer(x).data, ops.linear(x, layer.weight, layer.bias).data)
    np.testing.assert_allclose(layer(x).data, x.data @ layer.weight.data.T + (np.arange(4) if bias else 0), rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_the_gradient_is_right_in_x_weight_and_bias(bias):
    layer = nn.Linear(3, 4, bias, generator=np.random.default_rng(1)).astype(np.float64)
    mr.gradcheck(layer, [np.random.default_rng(0).standard_normal((5, 3))])


def test_the_weight_is_he_normal_and_the_bias_zero():
    layer = nn.Linear(3, 4, generator=np.random.default_rng(0))
    drawn = nn.init.he_normal_(mr.Tensor(np.zeros((4, 3), np.float32)), np.random.default_rng(0))
    np.testing.assert_array_equal(layer.weight.data, drawn.data)
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    np.testing.assert_array_equal(layer.bias.data, np.zeros(4))
    assert nn.Linear(3, 4, bias=False).bias is None


def test_repr_shows_the_sizes():
    assert repr(nn.Linear(3, 4)) == "Linear(in_features=3, out_features=4, bias=True)"
    assert repr(nn.Linear(3, 4, bias=False)) == "Linear(in_features=3, out_features=4, bias=False)"


@pytest.mark.parametrize(("arguments", "message"), [((0, 4), "in_features is 0"), ((3, 2.5), "out_features is 2.5")])
def test_bad_sizes_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=f"^Linear: {message}"):
        nn.Linear(*arguments)


@pytest.mark.parametrize(("shape", "flat"), [((2, 3, 4, 5), (2, 60)), ((2, 3), (2, 3)), ((2,), (2, 1))])
def test_flatten_keeps_the_first_axis(shape, flat):
    x = mr.Tensor(np.arange(np.prod(shape)).reshape(shape))
    y = nn.Flatten()(x)
    assert y.shape == flat
    np.testing.assert_array_equal(y.data.ravel(), x.data.ravel())


def test_the_gradient_of_flatten_has_the_shape_of_x():
    mr.gradcheck(nn.Flatten(), [np.random.default_rng(0).standard_normal((2, 3, 2))])
