"""The clipping of gradients by their norm."""
import numpy as np
import pytest

import minires as mr
from minires import optim
from minires.errors import AnomalyError, ArgumentError, DTypeError


def with_gradients(*gradients):
    tensors = []
    for i, gradient in enumerate(gradients):
        tensors.append(mr.Tensor(np.zeros_like(gradient), requires_grad=True, name=f"w{i}"))
        tensors[-1].grad = gradient
    return tensors


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_gradients_are_scaled_by_one_factor_to_the_norm(dtype):
    tensors = with_gradients(np.array([3.0, 0], dtype), np.array([[4.0]], dtype), np.array(12.0, dtype))
    norm = optim.clip_grad_norm_(iter(tensors), 2)
    assert norm == pytest.approx(13)
    assert norm.shape == ()
    np.testing.assert_allclose(tensors[0].grad, [6 / 13, 0], rtol=1e-6)
    np.testing.assert_allclose(tensors[2].grad, 24 / 13, rtol=1e-6)
    assert {tensor.grad.dtype for tensor in tensors} == {np.dtype(dtype)}


def test_gradients_within_the_norm_stay_and_arrays_are_not_written_to():
    gradient = np.array([3.0, 4.0])
    gradient.flags.writeable = False
    [w, other] = with_gradients(gradient, gradient)  # one array for two, as an addition hands it on
    assert optim.clip_grad_norm_([w, other], 100) == pytest.approx(50 ** 0.5)
    np.testing.assert_array_equal(w.grad, gradient)
    optim.clip_grad_norm_([w, other], 1)
    np.testing.assert_allclose(np.concatenate([w.grad, other.grad]), np.array([3, 4, 3, 4]) / 50 ** 0.5, rtol=1e-5)
    np.testing.assert_array_equal(gradient, [3, 4])


def test_tensors_without_a_gradient_are_passed_over():
    [w] = with_gradients(np.array([2.0]))
    assert optim.clip_grad_norm_([mr.Tensor([1.0]), w], 1) == 2
    assert optim.clip_grad_norm_(mr.Tensor([1.0], requires_grad=True), 1) == 0
    assert optim.clip_grad_norm_(w, 0) == pytest.approx(1)
    assert w.grad == 0


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(("bad", "expected"), [(np.inf, [0, np.nan, 0]), (np.nan, [np.nan] * 3)])
def test_a_gradient_that_is_not_finite_is_not_hidden(bad, expected):
    tensors = with_gradients(np.array([1.0, bad]), np.array([2.0]))
    norm = optim.clip_grad_norm_(tensors, 1)
    np.testing.assert_array_equal(norm, abs(bad))
    np.testing.assert_array_equal(np.concatenate([tensor.grad for tensor in tensors]), expected)


def test_it_is_an_error_if_that_is_asked_for_which_names_the_parameter():
    tensors = with_gradients(np.array([1.0]), np.array([2.0, np.inf]))
    with pytest.raises(AnomalyError, match=r"the norm of the gradients is inf: that of Tensor.'w1'.* is inf"):
        optim.clip_grad_norm_(tensors, 1, error_if_nonfinite=True)
    assert tensors[0].grad == 1


def test_float32_gradients_whose_squares_overflow_have_a_norm():
    [w] = with_gradients(np.full(4, 1e30, np.float32))
    assert optim.clip_grad_norm_([w], 1) == pytest.approx(2e30)
    np.testing.assert_allclose(w.grad, 0.5, rtol=1e-6)


def test_arguments_that_do_not_fit_are_named():
    with pytest.raises(ArgumentError, match="clip_grad_norm_: max_norm is -1"):
        optim.clip_grad_norm_([], -1)
    with pytest.raises(DTypeError, match="clip_grad_norm_: parameters holds 'x', expected tensors"):
        optim.clip_grad_norm_(["x"], 1)
