"""Leaky ReLU, ELU, softplus, SiLU and GELU: their values, their slopes at 0 and far away, their arguments."""
import math
import re

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ArgumentError, UnknownNameError

FUNCTIONS = {"leaky_relu": ops.leaky_relu, "elu": ops.elu, "softplus": ops.softplus, "silu": ops.silu, "gelu": ops.gelu,
             "gelu, tanh": lambda x: ops.gelu(x, "tanh")}
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def values(function, x, dtype=np.float64):
    return function(mr.Tensor(np.array(x, dtype))).data


def slopes(function, x, dtype=np.float64):
    """f'(x) for each x."""
    x = mr.Tensor(np.array(x, dtype), requires_grad=True)
    function(x).sum().backward()
    return x.grad


def test_they_are_what_their_formulas_say():
    x = np.linspace(-6, 6, 49)
    normal_cdf = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    np.testing.assert_allclose(values(ops.silu, x), x / (1 + np.exp(-x)), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(values(ops.gelu, x), x * normal_cdf, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(values(lambda x: ops.softplus(x, 2.0), x), np.log(1 + np.exp(2 * x)) / 2, rtol=1e-13,
                               atol=1e-15)
    np.testing.assert_allclose(values(lambda x: ops.elu(x, 1.5), x), np.where(x > 0, x, 1.5 * (np.exp(x) - 1)), rtol=1e-13)
    np.testing.assert_allclose(values(lambda x: ops.leaky_relu(x, 0.2), x), np.where(x > 0, x, 0.2 * x), rtol=1e-15)


def test_the_formula_with_tanh_differs_from_gelu_as_little_as_is_said():
    x = np.linspace(-6, 6, 2001)
    difference = np.abs(values(ops.gelu, x) - values(FUNCTIONS["gelu, tanh"], x)).max()
    assert 4e-4 < difference < 5e-4


def test_gelu_keeps_its_digits_far_below_0():
    x = np.array([-5.0, -10.0, -20.0])
    right = [value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in x]
    np.testing.assert_allclose(values(ops.gelu, x), right, rtol=1e-12)


def test_slopes_at_0():
    at_0 = [0.0, -0.0]
    np.testing.assert_array_equal(slopes(lambda x: ops.leaky_relu(x, 0.2), at_0), [0.2, 0.2])
    np.testing.assert_array_equal(slopes(lambda x: ops.elu(x, 1.5), at_0), [1.5, 1.5])
    for name in ("softplus", "silu", "gelu", "gelu, tanh"):
        np.testing.assert_array_equal(slopes(FUNCTIONS[name], at_0), [0.5, 0.5])


def test_softplus_is_x_above_the_threshold():
    x = np.array([1.9, 2.0, 2.1])
    np.testing.assert_array_equal(values(lambda x: ops.softplus(x, 1, 2), x)[2], 2.1)
    np.testing.assert_array_equal(slopes(lambda x: ops.softplus(x, 1, 2), x) == 1, [False, False, True])
    np.testing.assert_allclose(values(lambda x: ops.softplus(x, 1, math.inf), [800.0, -800.0]), [800, 0])


@each_function
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_0_nothing_overflows(function, dtype):
    """NumPy's warnings are errors here."""
    x = [-1e30, -1000, -100, 100, 1000, 1e30]
    flat = 0.01 if function is ops.leaky_relu else 0
    low = {ops.leaky_relu: [-1e28, -10, -1], ops.elu: [-1] * 3}.get(function, [0] * 3)
    np.testing.assert_allclose(values(function, x, dtype), [*low, 100, 1000, 1e30], rtol=1e-6, atol=1e-40)
    np.testing.assert_allclose(slopes(function, x, dtype), [flat] * 3 + [1] * 3, rtol=1e-6, atol=1e-40)


@each_function
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 3)])
def test_any_shape_is_kept(function, shape):
    x = mr.Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
    assert function(x).shape == shape
    if x.size:
        mr.gradcheck(function, [x])


@pytest.mark.parametrize(("function", "error", "message"), [
    (lambda x: ops.leaky_relu(x, None), ArgumentError, "LeakyReLU: negative_slope is None, expected a number"),
    (lambda x: ops.elu(x, -1), ArgumentError, "ELU: alpha is -1, expected a number that is not negative"),
    (lambda x: ops.softplus(x, 0), ArgumentError, "Softplus: beta is 0, expected a positive number"),
    (lambda x: ops.softplus(x, 1, -1), ArgumentError, "Softplus: threshold is -1, expected a number that is not negative"),
    (lambda x: ops.gelu(x, "erf"), UnknownNameError, "gelu: unknown approximate 'erf': known are none, tanh"),
    (lambda x: ops.gelu(x, True), UnknownNameError, "gelu: unknown approximate True"),
])
def test_arguments_that_are_refused(function, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        function(mr.Tensor([1.0]))
