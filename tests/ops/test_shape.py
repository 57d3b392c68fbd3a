"""reshape, flatten, transpose and indexing: ops that move values and change none."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ShapeError


def numbered(*shape):
    """An array whose values are all different: 0, 1, 2, …"""
    return np.arange(float(np.prod(shape))).reshape(shape)


# ---- reshape and flatten

@pytest.mark.parametrize("shape", [(6, 4), (24,), (2, -1, 2), (-1,), (1, 24, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reshape_reads_and_fills_in_row_major_order(shape, order):
    x = np.array(numbered(2, 3, 4), order=order)
    np.testing.assert_array_equal(ops.reshape(mr.Tensor(x), shape).data, numbered(24).reshape(shape))
    mr.gradcheck(lambda x: ops.reshape(x, shape), [x])


def test_a_tensor_takes_the_new_shape_as_a_tuple_or_as_arguments():
    x = mr.Tensor(numbered(2, 3, 4))
    for y in (x.reshape(4, 6), x.reshape((4, 6)), x.reshape([4, -1])):
        np.testing.assert_array_equal(y.data, numbered(4, 6))
    assert x.reshape(-1).shape == (24,)
    assert mr.Tensor([5.0]).reshape(()).shape == ()


def test_reshape_of_no_values():
    assert ops.reshape(mr.Tensor(np.zeros((0, 3))), (2, 0, 5)).shape == (2, 0, 5)
    assert ops.reshape(mr.Tensor(np.zeros((0, 3))), (-1, 3)).shape == (0, 3)


@pytest.mark.parametrize("shape", [(5,), (2, 2), (-1, 4), (-1, -1), (-2, 3), (-1, 0), ()])
def test_shapes_that_do_not_hold_the_values(shape):
    with pytest.raises(ShapeError, match=r"^Reshape: shape \(2, 3\) has 6 values, which do not fit into \("):
        ops.reshape(mr.Tensor(numbered(2, 3)), shape)


@pytest.mark.parametrize(("shape", "flat"), [((2, 3, 4), (2, 12)), ((2, 3), (2, 3)), ((3,), (3, 1)), ((0, 3, 2), (0, 6))])
def test_flatten_keeps_the_first_axis(shape, flat):
    x = mr.Tensor(numbered(*shape), requires_grad=True)
    y = ops.flatten(x)
    y.backward(numbered(*flat))
    np.testing.assert_array_equal(y.data, numbered(*flat))
    np.testing.assert_array_equal(x.grad, numbered(*shape))


def test_a_scalar_cannot_be_flattened():
    with pytest.raises(ShapeError, match="Flatten: a scalar has no first axis"):
        ops.flatten(mr.Tensor(1.0))


# ---- transpose

@pytest.mark.parametrize("axes", [(), (0, 1, 2), (2, 0, 1), (1, 2, 0), (0, -1, 1), (-1, -3, -2)])
def test_transpose_is_numpys_and_its_gradient_goes_back_to_where_the_values_came_from(axes):
    x = numbered(2, 3, 4)
    y = ops.transpose(mr.Tensor(x), axes)
    np.testing.assert_array_equal(y.data, x.transpose(axes or None))
    mr.gradcheck(lambda x: ops.transpose(x, axes), [x])


def test_a_tensor_takes_the_axes_as_a_tuple_or_as_arguments():
    x = mr.Tensor(numbered(2, 3, 4))
    assert x.transpose(1, 2, 0).shape == x.transpose((1, 2, 0)).shape == x.transpose([1, 2, 0]).shape == (3, 4, 2)
    assert x.T.shape == x.transpose().shape == (4, 3, 2)
    assert mr.Tensor(1.0).T.shape == ()


@pytest.mark.parametrize("axes", [(0, 1), (0, 1, 1), (0, 1, 3), (0, 1, 5), (0, 1, -4), (0, 1, 2, 3)])
def test_axes_that_are_not_an_order_of_the_axes(axes):
    with pytest.raises(ShapeError, match=r"^Transpose: axes \(.*\) are not an order of the 3 axes of \(2, 3, 4\)"):
        ops.transpose(mr.Tensor(numbered(2, 3, 4)), axes)


# ---- indexing

KEYS = {
    "an integer": 1,
    "a negative integer": -1,
    "a slice": slice(1, 3),
    "a slice backwards": slice(None, None, -2),
    "an empty tuple": (),
    "integers and slices": (0, slice(None), 2),
    "an ellipsis": (..., 1),
    "a new axis": (slice(None), None, 1),
    "a list": [0, 2],
    "a list with an index twice": [2, 0, 2, 2],
    "pairs, one of them twice": ([0, 1, 0], [1, 2, 1]),
    "a matrix of indices": np.array([[0, 1], [1, 1]]),
    "a mask": np.array([True, False, True]),
    "an array and a slice": (np.array([1, 1]), slice(None, 2)),
    "a NumPy integer": np.int64(1),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_indexing_is_numpys_and_its_gradient_adds_up_where_a_value_was_taken_twice(key):
    x = numbered(3, 4, 3)
    np.testing.assert_array_equal(mr.Tensor(x)[key].data, x[key])
    mr.gradcheck(lambda x: x[key], [x])


def test_a_value_taken_three_times_gets_three_gradients():
    x = mr.Tensor([10.0, 20.0, 30.0], requires_grad=True)
    x[[1, 1, 2, 1]].backward(np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(x.grad, [0, 7, 3])


def test_an_index_that_selects_nothing_has_a_gradient_of_zero():
    x = mr.Tensor(numbered(3, 2), requires_grad=True)
    y = x[1:1]
    y.sum().backward()
    assert y.shape == (0, 2)
    np.testing.assert_array_equal(x.grad, np.zeros((3, 2)))


@pytest.mark.parametrize("key", [3, -4, (0, 2), (0, 0, 0), [0, 5], 1.5, "a"], ids=repr)
def test_indices_that_do_not_exist(key):
    with pytest.raises(ShapeError, match=r"^Index: x\[.*\] does not exist in shape \(3, 2\)"):
        _ = mr.Tensor(numbered(3, 2))[key]
