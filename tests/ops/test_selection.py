"""where and clip: which value each element takes, and to whom its gradient goes."""
import re

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ArgumentError, DTypeError, ShapeError


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


# ---- where

SHAPES = [((2, 3), (2, 3), (2, 3)), ((3,), (2, 3), (2, 1)), ((2, 3), (), (3,)), ((2, 1, 1), (3,), (4, 1)), ((), (2,), (2,))]


@pytest.mark.parametrize(("condition", "a", "b"), SHAPES, ids=str)
def test_where_is_numpys_and_each_gradient_goes_to_the_one_that_was_taken(condition, a, b):
    condition, a, b = normal(*condition) > 0, normal(*a), normal(*b) + 1
    np.testing.assert_array_equal(ops.where(condition, mr.Tensor(a), mr.Tensor(b)).data, np.where(condition, a, b))
    mr.gradcheck(lambda a, b: ops.where(condition, a, b), [a, b])


def test_where_takes_numbers_arrays_lists_and_a_comparison_of_tensors():
    x = mr.Tensor([-2.0, 3.0, -0.5], requires_grad=True)
    y = ops.where(x > 0, x, 0)
    y.backward(np.array([1, 2, 3]))
    np.testing.assert_array_equal(y.data, [0, 3, 0])
    np.testing.assert_array_equal(x.grad, [0, 2, 0])
    np.testing.assert_array_equal(ops.where([True, False, True], np.arange(3), x).data, [0, 3, 2])
    assert ops.where(x > 0, x, 0).dtype == np.float32


def test_what_was_not_taken_gets_no_gradient_whatever_it_is():
    a = mr.Tensor([np.nan, 1.0], requires_grad=True)
    ops.where([False, True], a, 2.0).backward(np.array([np.inf, 5]))
    np.testing.assert_array_equal(a.grad, [0, 5])


def test_a_condition_that_changes_after_forward_does_not_change_the_gradient():
    condition, x = np.array([True, False]), mr.Tensor([1.0, 2.0], requires_grad=True)
    y = ops.where(condition, x, 0.0).sum()
    condition[:] = False
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 0])


@pytest.mark.parametrize(("condition", "message"), [
    ([1, 0], "the condition holds int64, expected booleans"),
    (np.zeros(2), "the condition holds float64, expected booleans"),
    (mr.Tensor([1.0, 0.0]), r"the condition is Tensor\(.*expected an array of booleans: compare it, as in x > 0"),
    (["a", "b"], "the condition holds <U1"),
    (np.ma.masked_array([True, False], [True, False]), "masked array"),
])
def test_conditions_that_are_refused(condition, message):
    with pytest.raises(DTypeError, match="^Where: .*" + message):
        ops.where(condition, mr.Tensor([1.0, 2.0]), 0.0)


@pytest.mark.parametrize(("condition", "a", "b"), [((3,), (2,), (2,)), ((2,), (2,), (3,)), ((2,), (3,), (2,))], ids=str)
def test_shapes_that_do_not_broadcast(condition, a, b):
    with pytest.raises(ShapeError, match=r"^Where: shapes .* do not broadcast"):
        ops.where(np.ones(condition, bool), mr.Tensor(np.ones(a)), mr.Tensor(np.ones(b)))


# ---- clip

def test_clip_keeps_values_between_its_bounds():
    x = mr.Tensor([-3.0, -1.0, 0.5, 1.0, 7.0, np.inf, -np.inf])
    np.testing.assert_array_equal(ops.clip(x, -1, 1).data, [-1, -1, 0.5, 1, 1, 1, -1])
    np.testing.assert_array_equal(ops.clip(x, low=0).data, [0, 0, 0.5, 1, 7, np.inf, 0])
    np.testing.assert_array_equal(ops.clip(x, high=0.75).data, [-3, -1, 0.5, 0.75, 0.75, 0.75, -np.inf])
    np.testing.assert_array_equal(ops.clip(x, 2, 2).data, [2] * 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_passes_inside_and_at_the_bounds(dtype):
    x = mr.Tensor(np.array([-1.5, -1, 0, 1, 1.5, np.nan], dtype), requires_grad=True)
    y = ops.clip(x, -1, 1)
    y.backward(np.array([2, 3, 4, 5, 6, 7]))
    assert np.isnan(y.data[-1])
    np.testing.assert_array_equal(x.grad, [0, 3, 4, 5, 0, 0])


@pytest.mark.parametrize(("low", "high", "message"), [
    (None, None, "low and high are both None, expected a number for at least one of them"),
    (2, 1, "low is 2, which is above high, 1"),
    ("1", None, "low is '1', expected a number that is not NaN"),
    (None, np.nan, "high is nan, expected a number that is not NaN"),
    ([0.0], 1, "low is [0.0], expected a number"),
])
def test_bounds_that_are_refused(low, high, message):
    with pytest.raises(ArgumentError, match="^Clip: " + re.escape(message)):
        ops.clip(mr.Tensor([1.0]), low, high)
