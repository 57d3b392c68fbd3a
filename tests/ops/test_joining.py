"""concatenate, stack, split and pad: where each value goes, and where its gradient comes from."""
import re

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ArgumentError, DTypeError, ShapeError
from minires.ops.kernels.layout import channels_last


def numbered(*shape):
    """An array whose values are all different: 0, 1, 2, …"""
    return np.arange(float(np.prod(shape))).reshape(shape)


def tensors(*shapes):
    return [mr.Tensor(numbered(*shape) + 100 * i, requires_grad=True) for i, shape in enumerate(shapes)]


# ---- concatenate and stack

@pytest.mark.parametrize(("shapes", "axis"), [
    ([(2, 3), (4, 3)], 0), ([(2, 3), (2, 1), (2, 2)], 1), ([(2, 3), (2, 1)], -1), ([(3,)], 0), ([(0, 2), (3, 2)], 0),
    ([(1, 2, 1), (1, 5, 1)], -2),
])
def test_concatenate_is_numpys_and_each_part_gets_its_own_gradient(shapes, axis):
    parts = tensors(*shapes)
    y = ops.concatenate(parts, axis)
    np.testing.assert_array_equal(y.data, np.concatenate([x.data for x in parts], axis))
    y.backward(10 * y.data)
    for x in parts:
        np.testing.assert_array_equal(x.grad, 10 * x.data)


@pytest.mark.parametrize(("shape", "count", "axis"), [((2, 3), 3, 0), ((2, 3), 2, 1), ((2, 3), 2, -1), ((), 4, 0),
                                                       ((3,), 1, 1)])
def test_stack_is_numpys_and_each_gets_its_own_gradient(shape, count, axis):
    parts = tensors(*[shape] * count)
    y = ops.stack(parts, axis)
    np.testing.assert_array_equal(y.data, np.stack([x.data for x in parts], axis))
    y.backward(10 * y.data)
    for x in parts:
        np.testing.assert_array_equal(x.grad, 10 * x.data)


def test_a_tensor_that_is_joined_to_itself_gets_the_sum():
    x = mr.Tensor([1.0, 2.0], requires_grad=True)
    ops.concatenate((x, x, x)).backward(np.arange(6))
    np.testing.assert_array_equal(x.grad, [0 + 2 + 4, 1 + 3 + 5])


def test_images_with_their_channels_last_are_joined_and_padded_so():
    x = mr.Tensor(channels_last(numbered(2, 3, 4, 5)).transpose(0, 3, 1, 2))
    for y in (ops.concatenate([x, x], 1), ops.pad(x, ((0, 0), (0, 0), (1, 1), (2, 0)))):
        assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("function", [ops.concatenate, ops.stack])
def test_what_is_no_list_of_tensors_is_refused(function):
    name = function.__name__
    with pytest.raises(DTypeError, match=rf"{name}: got one tensor, Tensor\(.*expected a list of tensors: \[x\]"):
        function(mr.Tensor(numbered(2, 3)))
    with pytest.raises(DTypeError, match=rf"{name}: tensors holds array\(.*expected a list of tensors"):
        function([mr.Tensor([1.0]), np.ones(1)])
    with pytest.raises(ArgumentError, match=rf"{name}: got no tensors"):
        function([])


@pytest.mark.parametrize(("shapes", "axis", "message"), [
    ([(2, 3), (2, 4)], 0, "Concatenate: tensor 0 has shape (2, 3) and tensor 1 (2, 4): they must be equal in every axis but "
                          "axis 0"),
    ([(2, 3), (2, 3), (6,)], 1, "Concatenate: tensor 0 has shape (2, 3) and tensor 2 (6,)"),
    ([(2, 3)], 2, "Concatenate: axis 2 does not exist in shape (2, 3)"),
    ([()], 0, "Concatenate: axis 0 does not exist in shape ()"),
    ([(2, 3)], None, "Concatenate: axis None does not exist in shape (2, 3)"),
])
def test_shapes_that_cannot_be_concatenated(shapes, axis, message):
    with pytest.raises(ShapeError, match="^" + re.escape(message)):
        ops.concatenate(tensors(*shapes), axis)


def test_shapes_that_cannot_be_stacked():
    with pytest.raises(ShapeError, match=r"Stack: tensor 0 has shape \(2,\) and tensor 1 \(3,\): they must be equal"):
        ops.stack(tensors((2,), (3,)))
    with pytest.raises(ShapeError, match=r"Stack: axis 2 does not exist in shape \(1, 2\)"):
        ops.stack(tensors((2,)), 2)


# ---- split

@pytest.mark.parametrize(("sizes", "axis"), [([1, 2, 3], 1), ((6,), -1), ([0, 6], 1), (3, 1), (1, 0), (np.int64(2), 0)])
def test_split_cuts_into_parts_that_concatenate_joins_again(sizes, axis):
    x = mr.Tensor(numbered(4, 6), requires_grad=True)
    parts = ops.split(x, sizes, axis)
    assert isinstance(parts, tuple)
    lengths = list(sizes) if isinstance(sizes, (list, tuple)) else [x.shape[axis] // sizes] * int(sizes)
    assert [part.shape[axis] for part in parts] == lengths
    y = ops.concatenate(parts, axis)
    np.testing.assert_array_equal(y.data, x.data)
    y.backward(10 * x.data)
    np.testing.assert_array_equal(x.grad, 10 * x.data)


def test_a_part_that_is_not_used_gets_no_gradient():
    x = mr.Tensor(numbered(5), requires_grad=True)
    first, _, last = ops.split(x, [2, 2, 1])
    (first.sum() + 3 * last.sum()).backward()
    np.testing.assert_array_equal(x.grad, [1, 1, 0, 0, 3])


@pytest.mark.parametrize(("sizes", "axis", "error", "message"), [
    ([2, 2], 0, ShapeError, "the sizes [2, 2] add up to 4, expected 5, the length of axis 0 of shape (5, 2)"),
    (2, 0, ShapeError, "axis 0 of shape (5, 2) has length 5, which 2 does not divide: give the length of each part"),
    (1, 2, ShapeError, "axis 2 does not exist in shape (5, 2)"),
    (0, 0, ArgumentError, "sizes_or_count is 0, expected a list of lengths, or how many parts of equal length"),
    ([], 0, ArgumentError, "sizes_or_count is []"),
    ([6, -1], 0, ArgumentError, "sizes_or_count is [6, -1]"),
    (2.0, 0, ArgumentError, "sizes_or_count is 2.0"),
])
def test_sizes_that_do_not_fit(sizes, axis, error, message):
    with pytest.raises(error, match="^split: " + re.escape(message)):
        ops.split(mr.Tensor(numbered(5, 2)), sizes, axis)


def test_an_array_cannot_be_split():
    with pytest.raises(DTypeError, match=r"split: expected a tensor, got ndarray: wrap arrays in mr\.Tensor"):
        ops.split(numbered(4), 2)


# ---- pad

@pytest.mark.parametrize("pad_width", [0, 2, (1, 2), [3, 0], ((1, 2),), ((0, 1), (2, 0)), [[0, 0], [1, np.int64(1)]]],
                         ids=str)
@pytest.mark.parametrize("value", [0.0, -1.5, -np.inf])
def test_pad_is_numpys_and_the_gradient_is_that_of_the_inside(pad_width, value):
    x = mr.Tensor(numbered(2, 3), requires_grad=True)
    y = ops.pad(x, pad_width, value)
    np.testing.assert_array_equal(y.data, np.pad(x.data, pad_width, constant_values=value))
    y.backward(10 * y.data)
    np.testing.assert_array_equal(x.grad, 10 * x.data)


def test_a_list_of_widths_that_changes_after_the_call_changes_nothing():
    widths, x = [[1, 0], [0, 1]], mr.Tensor(numbered(2, 2), requires_grad=True)
    y = ops.pad(x, widths)
    widths[0][0] = 5
    y.backward(10 * y.data)
    np.testing.assert_array_equal(x.grad, 10 * x.data)


@pytest.mark.parametrize(("pad_width", "message"), [
    (-1, "pad_width is -1, expected integers of at least 0"), ((1, -1), "pad_width is (1, -1)"), (1.5, "pad_width is 1.5"),
    ((), "pad_width is ()"), ((1, 2, 3), "pad_width is (1, 2, 3)"), (((1, 2), 3), "pad_width is ((1, 2), 3)"),
    (True, "pad_width is True"),
    (((0, 1), (1, 0), (2, 2)), "pad_width has 3 pairs, but x has 2 axes: give a pair (before, after) for each axis"),
])
def test_widths_that_are_refused(pad_width, message):
    with pytest.raises(ArgumentError, match="^Pad: " + re.escape(message)):
        ops.pad(mr.Tensor(numbered(2, 3)), pad_width)


@pytest.mark.parametrize("value", [np.nan, None, "0", [0.0]])
def test_a_border_is_a_number(value):
    with pytest.raises(ArgumentError, match=r"Pad: value is .*, expected a number that is not NaN"):
        ops.pad(mr.Tensor(numbered(2, 3)), 1, value)
