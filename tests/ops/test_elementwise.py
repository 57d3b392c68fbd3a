"""exp, log, abs and sqrt."""
import numpy as np
import pytest

import minires as mr
from minires import ops


def test_they_are_numpys():
    x = np.linspace(0.1, 5, 20)
    np.testing.assert_array_equal(ops.exp(mr.Tensor(x)).data, np.exp(x))
    np.testing.assert_array_equal(ops.log(mr.Tensor(x)).data, np.log(x))
    np.testing.assert_array_equal(ops.sqrt(mr.Tensor(x)).data, np.sqrt(x))
    np.testing.assert_array_equal(ops.abs(mr.Tensor(1 - x)).data, np.abs(1 - x))


def test_they_are_methods_of_a_tensor_too():
    x = mr.Tensor([0.5, 2.0])
    np.testing.assert_array_equal(x.exp().data, ops.exp(x).data)
    np.testing.assert_array_equal(x.log().data, ops.log(x).data)


def test_one_undoes_the_other_in_values_and_gradients():
    x = mr.Tensor(np.linspace(-3, 3, 7), requires_grad=True)
    y = x.exp().log()
    y.backward(np.arange(7.0))
    np.testing.assert_allclose(y.data, x.data, atol=1e-15)
    np.testing.assert_allclose(x.grad, np.arange(7.0), rtol=1e-14)


@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 3)])
def test_the_gradient_is_right_in_any_shape(shape):
    x = np.random.default_rng(0).uniform(0.5, 2, shape)
    mr.gradcheck(ops.exp, [x])
    mr.gradcheck(ops.log, [x])
    mr.gradcheck(ops.sqrt, [x])
    mr.gradcheck(ops.abs, [1.2 - x])


def test_the_log_of_0_and_of_negative_numbers_is_numpys_with_its_warning():
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert ops.log(mr.Tensor([0.0])).data[0] == -np.inf
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(ops.log(mr.Tensor([-1.0])).data[0])


def test_the_gradient_of_abs_is_the_sign_and_0_at_0():
    x = mr.Tensor([-2.0, -0.0, 0.0, 3.0], requires_grad=True)
    ops.abs(x).backward(np.array([5, 5, 5, 5]))
    np.testing.assert_array_equal(x.grad, [-5, 0, 0, 5])


def test_sqrt_is_infinitely_steep_at_0_and_nan_below_with_numpys_warnings():
    x = mr.Tensor([0.0, 4.0], requires_grad=True)
    y = ops.sqrt(x)
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        y.sum().backward()
    np.testing.assert_array_equal(x.grad, [np.inf, 0.25])
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(ops.sqrt(mr.Tensor([-1.0])).data[0])
