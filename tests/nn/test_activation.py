"""The activation layers: the ops of the same name, without parameters."""
import re

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError, UnknownNameError

WITHOUT_ARGUMENTS = [(nn.ReLU, ops.relu), (nn.SiLU, ops.silu), (nn.Sigmoid, ops.sigmoid), (nn.Tanh, ops.tanh)]
LAYERS = [*WITHOUT_ARGUMENTS, (nn.LeakyReLU, ops.leaky_relu), (nn.ELU, ops.elu), (nn.Softplus, ops.softplus),
          (nn.GELU, ops.gelu), (nn.Softmax, ops.softmax), (nn.LogSoftmax, ops.log_softmax)]


@pytest.mark.parametrize(("layer", "op"), LAYERS)
@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4, 5)])
def test_the_layer_is_the_op_and_keeps_the_shape(layer, op, shape):
    x = mr.Tensor(np.random.default_rng(0).standard_normal(shape))
    y = layer()(x)
    assert y.shape == shape
    np.testing.assert_array_equal(y.data, op(x).data)


@pytest.mark.parametrize(("layer", "op"), WITHOUT_ARGUMENTS)
def test_it_has_no_parameters_and_a_plain_repr(layer, op):
    assert layer().state_dict() == {}
    assert repr(layer()) == f"{layer.__name__}()"


@pytest.mark.parametrize(("layer", "op"), LAYERS)
def test_the_gradient_is_right(layer, op):
    mr.gradcheck(layer(), [np.random.default_rng(0).standard_normal((3, 4))])


@pytest.mark.parametrize(("layer", "op", "text"), [
    (nn.LeakyReLU(0.25), lambda x: ops.leaky_relu(x, 0.25), "LeakyReLU(negative_slope=0.25)"),
    (nn.LeakyReLU(), ops.leaky_relu, "LeakyReLU(negative_slope=0.01)"),
    (nn.ELU(2), lambda x: ops.elu(x, 2.0), "ELU(alpha=2)"),
    (nn.Softplus(3, 1.5), lambda x: ops.softplus(x, 3, 1.5), "Softplus(beta=3, threshold=1.5)"),
    (nn.GELU("tanh"), lambda x: ops.gelu(x, "tanh"), "GELU(approximate='tanh')"),
    (nn.Softmax(0), lambda x: ops.softmax(x, 0), "Softmax(dim=0)"),
    (nn.LogSoftmax(dim=np.int64(1)), lambda x: ops.log_softmax(x, 1), "LogSoftmax(dim=1)"),
])
def test_the_arguments_reach_the_op_and_the_repr(layer, op, text):
    x = mr.Tensor(np.random.default_rng(0).standard_normal((3, 4)))
    np.testing.assert_array_equal(layer(x).data, op(x).data)
    assert repr(layer) == text
    assert layer.state_dict() == {}


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: nn.LeakyReLU("0.1"), ArgumentError, "LeakyReLU: negative_slope is '0.1', expected a finite number"),
    (lambda: nn.ELU(-1), ArgumentError, "ELU: alpha is -1, expected a finite number that is not negative"),
    (lambda: nn.Softplus(0), ArgumentError, "Softplus: beta is 0, expected a positive number"),
    (lambda: nn.Softplus(1, -1), ArgumentError, "Softplus: threshold is -1, expected a number that is not negative"),
    (lambda: nn.GELU("erf"), UnknownNameError, "GELU: unknown approximate 'erf': known are none, tanh"),
    (lambda: nn.Softmax(None), ArgumentError, "Softmax: dim is None, expected an integer: 0 for the first axis, -1 for the"),
    (lambda: nn.LogSoftmax(1.0), ArgumentError, "LogSoftmax: dim is 1.0, expected an integer"),
])
def test_arguments_are_checked_where_the_layer_is_made(make, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        make()
