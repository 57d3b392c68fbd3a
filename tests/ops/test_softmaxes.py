"""softmax, log_softmax and logsumexp: their values, numbers of any size, rows that hold -inf."""
import math
import re

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ArgumentError, ShapeError


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


@pytest.mark.parametrize(("shape", "axis"), [((4,), 0), ((2, 3), -1), ((2, 3), 0), ((2, 3, 4), 1), ((3, 1), 1), ((0, 3), 1)])
def test_shares_are_those_of_the_exponentials_and_their_logs_agree(shape, axis):
    x = normal(*shape)
    exps = np.exp(x)
    shares = exps / exps.sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(ops.softmax(mr.Tensor(x), axis).data, shares, rtol=1e-14)
    np.testing.assert_allclose(ops.log_softmax(mr.Tensor(x), axis).data, np.log(shares), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(ops.logsumexp(mr.Tensor(x), axis).data, np.log(exps.sum(axis=axis)), rtol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_the_gradients_are_right_along_any_axis(axis):
    for function in (ops.softmax, ops.log_softmax, ops.logsumexp):
        mr.gradcheck(lambda x, function=function: function(x, axis), [normal(2, 3, 4)])


@pytest.mark.parametrize(("axis", "keepdims", "shape"), [
    (None, False, ()), (None, True, (1, 1, 1)), ((0, 2), False, (3,)), ([-1], True, (2, 3, 1)), ((), False, (2, 3, 4)),
])
def test_logsumexp_reduces_as_sum_does(axis, keepdims, shape):
    x = normal(2, 3, 4)
    y = ops.logsumexp(mr.Tensor(x), axis, keepdims)
    assert y.shape == shape
    np.testing.assert_allclose(y.data, ops.log(ops.sum(ops.exp(mr.Tensor(x)), axis, keepdims)).data, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shift", [1e4, -1e4, 1e30])
def test_huge_numbers_neither_overflow_nor_vanish(dtype, shift):
    x = mr.Tensor(np.array([1, 0], dtype) * np.array(shift, dtype), requires_grad=True)
    np.testing.assert_array_equal(ops.softmax(x).data, [1, 0] if shift > 0 else [0, 1])
    np.testing.assert_allclose(ops.log_softmax(x).data, [0, -shift] if shift > 0 else [shift, 0], rtol=1e-6)
    y = ops.logsumexp(x)
    y.backward()
    assert y.item() == max(x.data)
    np.testing.assert_array_equal(x.grad, [1, 0] if shift > 0 else [0, 1])


def test_log_softmax_keeps_the_digits_that_the_log_of_a_softmax_loses():
    x = mr.Tensor(np.array([0.0, 800.0, -800.0]))
    np.testing.assert_array_equal(ops.log_softmax(x).data, [-800, 0, -1600])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_masked_by_minus_infinity_has_no_share_and_no_gradient(dtype):
    x = mr.Tensor(np.array([[1, -np.inf, 2], [-np.inf, -np.inf, 5]], dtype), requires_grad=True)
    y = ops.softmax(x)
    y.backward(normal(2, 3))
    share = 1 / (1 + math.e)
    np.testing.assert_allclose(y.data, [[share, 0, 1 - share], [0, 0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(x.grad[[0, 1, 1, 1], [1, 0, 1, 2]], 0)
    assert np.isfinite(x.grad).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rows_of_minus_infinity_alone():
    x = mr.Tensor(np.full((2, 3), -np.inf))
    assert np.isnan(ops.softmax(x).data).all()
    assert np.isnan(ops.log_softmax(x).data).all()
    np.testing.assert_array_equal(ops.logsumexp(x, 1).data, [-np.inf, -np.inf])
    assert ops.logsumexp(mr.Tensor([np.inf, 1.0, 2.0])).item() == np.inf


@pytest.mark.parametrize("function", [ops.softmax, ops.log_softmax, ops.logsumexp])
def test_axes_that_are_refused(function):
    name = {"logsumexp": "LogSumExp", "softmax": "Softmax", "log_softmax": "LogSoftmax"}[function.__name__]
    for axis in (2, -3, 1.0, "0"):
        with pytest.raises(ShapeError, match="^" + re.escape(f"{name}: axis {axis!r} does not exist in shape (2, 3)")):
            function(mr.Tensor(normal(2, 3)), axis)
    with pytest.raises(ShapeError, match=rf"^{name}: .*\(2, 0\).*(has length 0|is over no values)"):
        function(mr.Tensor(np.zeros((2, 0))), 1)
    with pytest.raises(ArgumentError, match="LogSumExp: keepdims is 'no', expected True or False"):
        ops.logsumexp(mr.Tensor(normal(2)), keepdims="no")
