"""The activation layers: the ops of the same name, without parameters."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops

LAYERS = [(nn.ReLU, ops.relu), (nn.Sigmoid, ops.sigmoid), (nn.Tanh, ops.tanh)]


@pytest.mark.parametrize(("layer", "op"), LAYERS)
@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4, 5)])
def test_the_layer_is_the_op_and_keeps_the_shape(layer, op, shape):
    x = mr.Tensor(np.random.default_rng(0).standard_normal(shape))
    y = layer()(x)
    assert y.shape == shape
    np.testing.assert_array_equal(y.data, op(x).data)


@pytest.mark.parametrize(("layer", "op"), LAYERS)
def test_it_has_no_parameters_and_a_plain_repr(layer, op):
    assert layer().state_dict() == {}
    assert repr(layer()) == f"{layer.__name__}()"


@pytest.mark.parametrize(("layer", "op"), LAYERS)
def test_the_gradient_is_right(layer, op):
    mr.gradcheck(layer(), [np.random.default_rng(0).standard_normal((3, 4))])
