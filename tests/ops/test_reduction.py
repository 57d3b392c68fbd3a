"""sum, mean and max over axes."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ShapeError

REDUCTIONS = {ops.sum: np.sum, ops.mean: np.mean, ops.max: np.max}
AXES = [None, 0, 1, -1, (0, 2), (-1, 0), [1], (0, 1, 2), ()]
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS, ids=[op.__name__ for op in REDUCTIONS])


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


@each_reduction
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 3), (1, 1, 1)], ids=str)
def test_the_values_are_numpys_and_the_gradient_is_right(reduction, shape, axis, keepdims):
    x = normal(*shape)
    y = reduction(mr.Tensor(x), axis, keepdims)
    expected = REDUCTIONS[reduction](x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-14)
    mr.gradcheck(lambda x: reduction(x, axis, keepdims), [x])


@each_reduction
def test_a_scalar_is_its_own_reduction(reduction):
    mr.gradcheck(reduction, [np.array(3.0)])
    assert reduction(mr.Tensor(3.0)).item() == 3


@each_reduction
def test_they_are_methods_of_a_tensor_too(reduction):
    x = mr.Tensor(normal(2, 3, 4))
    y = getattr(x, reduction.__name__)(axis=(0, 2), keepdims=True)
    np.testing.assert_array_equal(y.data, reduction(x, (0, 2), True).data)


def test_the_gradient_of_a_mean_is_the_share_of_each_value():
    x = mr.Tensor(normal(2, 4), requires_grad=True)
    x.mean(axis=1).backward(np.array([1.0, -2.0]))
    np.testing.assert_array_equal(x.grad, [[0.25] * 4, [-0.5] * 4])


def test_equal_largest_values_share_the_gradient_evenly():
    x = mr.Tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -1.0, -1.0]], requires_grad=True)
    x.max(axis=1).backward(np.array([1.0, 3.0, 5.0]))
    np.testing.assert_array_equal(x.grad, [[0, 0.5, 0.5], [1, 1, 1], [5, 0, 0]])


def test_the_sum_over_no_values_is_0():
    x = mr.Tensor(np.zeros((2, 0)), requires_grad=True)
    y = x.sum(axis=1)
    y.backward(np.ones(2))
    np.testing.assert_array_equal(y.data, [0, 0])
    assert x.grad.shape == (2, 0)


@pytest.mark.parametrize(("reduction", "message"), [
    (ops.mean, r"Mean: the mean over axis 1 of shape \(2, 0\) is over no values"),
    (ops.max, r"Max: the maximum over axis 1 of shape \(2, 0\) is over no values"),
])
def test_there_is_no_mean_and_no_maximum_of_no_values(reduction, message):
    assert reduction(mr.Tensor(np.zeros((2, 0))), 0).shape == (0,)
    with pytest.raises(ShapeError, match=message):
        reduction(mr.Tensor(np.zeros((2, 0))), 1)


@each_reduction
@pytest.mark.parametrize(("axis", "message"), [
    (2, r"axis 2 does not exist in shape \(2, 3\)"),
    (-3, r"axis -3 does not exist in shape \(2, 3\)"),
    ((0, 5), r"axis 5 does not exist"),
    ((0, -2), r"axis \(0, -2\) names an axis of shape \(2, 3\) twice"),
    ((1, 1), r"axis \(1, 1\) names an axis of shape \(2, 3\) twice"),
])
def test_axes_that_are_refused(reduction, axis, message):
    with pytest.raises(ShapeError, match=f"^{reduction.__name__.title()}: {message}"):
        reduction(mr.Tensor(np.ones((2, 3))), axis)


@pytest.mark.parametrize(("values", "share"), [
    ([1.0, np.nan, 3.0], [0, 1, 0]), ([np.nan, 5.0, np.nan], [0.5, 0, 0.5]), ([np.inf, 1.0, np.inf], [0.5, 0, 0.5]),
    ([-np.inf] * 3, [1 / 3] * 3),
])
@pytest.mark.parametrize("dy", [1.0, np.inf, np.nan])
def test_a_maximum_that_is_not_finite_gets_the_gradient_and_nothing_else_does(values, share, dy):
    x = mr.Tensor(np.array([values, [0, 1, 2]]), requires_grad=True)
    x.max(axis=1).backward(np.array([dy, 1]))
    np.testing.assert_array_equal(x.grad[0], np.where(share, np.multiply(np.maximum(share, 0.1), dy), 0))
    np.testing.assert_array_equal(x.grad[1], [0, 0, 1])
