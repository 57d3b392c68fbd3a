"""ReLU, sigmoid and tanh: their values, their gradients at 0 and far away."""
import contextlib

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import DTypeError


def gradient_at(function, values, dtype=np.float64):
    """f'(x) for each x."""
    x = mr.Tensor(np.array(values, dtype=dtype), requires_grad=True)
    function(x).sum().backward()
    return x.grad


def test_relu_is_the_larger_of_x_and_0():
    y = ops.relu(mr.Tensor([[-1.5, 0.0, 2.5], [3.0, -0.25, -0.0]]))
    np.testing.assert_array_equal(y.data, [[0, 0, 2.5], [3, 0, 0]])


def test_the_gradient_of_relu_passes_where_x_is_positive_and_is_0_at_0():
    np.testing.assert_array_equal(gradient_at(ops.relu, [-2.0, -1e-30, 0.0, -0.0, 1e-30, 3.0]), [0, 0, 0, 0, 1, 1])


def test_relu_keeps_nan_so_that_it_can_be_found():
    assert np.isnan(ops.relu(mr.Tensor([np.nan, 1.0])).data[0])


def test_sigmoid_and_tanh_are_what_their_formulas_say():
    x = np.linspace(-5, 5, 41)
    np.testing.assert_allclose(ops.sigmoid(mr.Tensor(x)).data, 1 / (1 + np.exp(-x)), rtol=1e-14)
    np.testing.assert_allclose(ops.tanh(mr.Tensor(x)).data, (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
                               rtol=1e-13, atol=1e-15)


def test_sigmoid_is_steepest_at_0_with_slope_one_quarter_and_tanh_with_slope_1():
    assert gradient_at(ops.sigmoid, [0.0])[0] == 0.25
    assert gradient_at(ops.tanh, [0.0])[0] == 1.0
    x = np.linspace(-5, 5, 41)
    assert gradient_at(ops.sigmoid, x).max() == 0.25
    assert gradient_at(ops.tanh, x).max() == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("function", "lowest"), [(ops.sigmoid, 0.0), (ops.tanh, -1.0)])
def test_far_from_0_they_saturate_without_overflow(function, lowest, dtype):
    large = np.array([-1e30, -1000, -100, 100, 1000, 1e30], dtype=dtype)
    y = function(mr.Tensor(large))
    np.testing.assert_allclose(y.data, [lowest] * 3 + [1] * 3, atol=1e-40)
    np.testing.assert_allclose(gradient_at(function, large, dtype), 0, atol=1e-40)


def test_sigmoid_keeps_its_digits_where_it_is_small():
    x = np.array([-20.0, -50.0, -80.0])
    np.testing.assert_allclose(ops.sigmoid(mr.Tensor(x)).data, np.exp(x), rtol=1e-8)


@pytest.mark.parametrize("function", [ops.relu, ops.sigmoid, ops.tanh])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 3), (2, 3, 2, 2)])
def test_any_shape_is_kept(function, shape):
    x = mr.Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
    y = function(x)
    assert y.shape == shape
    if x.size:
        mr.gradcheck(function, [x])


@pytest.mark.parametrize("function", [ops.relu, ops.sigmoid, ops.tanh])
def test_an_array_is_refused_and_told_to_be_wrapped(function):
    with pytest.raises(DTypeError, match=r"expected tensors, got ndarray: wrap arrays in mr\.Tensor"):
        function(np.zeros(3))


@pytest.mark.parametrize("form", [contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_lets_the_gradient_of_nan_pass_and_stops_any_where_it_is_dead(form, dtype):
    x = np.array([1, np.nan, -3, np.inf, -np.inf, 0, -1, 2, -0.0], dtype)
    dy = np.array([2, 3, np.inf, 4, np.nan, -np.inf, -5, np.nan, 1], dtype)
    tensor = mr.Tensor(x, requires_grad=True)
    with form():
        ops.relu(tensor).backward(dy)
    np.testing.assert_array_equal(tensor.grad, [2, 3, 0, 4, 0, 0, 0, np.nan, 0])
