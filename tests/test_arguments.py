"""The checks of layers' arguments: what passes, and what the errors name."""
import numpy as np
import pytest

from minires.arguments import is_whole_number, nearest, number, pair, shape_of, whole_number
from minires.errors import ArgumentError


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_whole_numbers_pass_as_python_integers(value):
    result = whole_number("Layer", "size", value)
    assert result == value
    assert type(result) is int


@pytest.mark.parametrize("value", [1, np.int64(3), np.uint8(3), np.int64(-3)])
def test_the_question_of_a_whole_number_is_answered_in_python(value):
    assert is_whole_number(value, 1) is bool(value > 0)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None, np.float32(2)])
def test_anything_else_is_named_with_its_owner(value):
    with pytest.raises(ArgumentError, match=r"^Layer: size is .*, expected an integer of at least 1$"):
        whole_number("Layer", "size", value)


@pytest.mark.parametrize(("value", "result"), [(3, (3, 3)), ((1, 2), (1, 2)), ([4, 5], (4, 5)), (np.int64(2), (2, 2))])
def test_an_integer_is_a_pair_of_it(value, result):
    assert pair("Layer", "size", value) == result


@pytest.mark.parametrize("value", [(1,), (1, 2, 3), (), []])
def test_a_pair_has_two_items(value):
    with pytest.raises(ArgumentError, match=r"^Layer: size is .*, expected an integer of at least 1, or a pair \(vertical,"):
        pair("Layer", "size", value)


@pytest.mark.parametrize("value", [-1, (0, -1), (0, 0.5), "same"])
def test_each_item_of_a_pair_is_checked(value):
    with pytest.raises(ArgumentError, match=r"^Layer: size is .*, expected an integer of at least 0, or a pair \(vertical,"):
        pair("Layer", "size", value, smallest=0)


def test_a_smallest_of_zero_lets_zero_pass():
    assert pair("Layer", "padding", 0, smallest=0) == (0, 0)


@pytest.mark.parametrize("value", [0, 1.5, np.float32(2), np.int64(3)])
def test_a_number_becomes_pythons(value):
    assert number("SGD", "lr", value) == value
    assert type(number("SGD", "lr", value)) is float


@pytest.mark.parametrize("value", [-0.1, float("nan"), "1", None, True, 1j])
def test_what_is_no_number_or_too_small_is_refused(value):
    with pytest.raises(ArgumentError, match=r"^SGD: lr is .*, expected a number that is not negative$"):
        number("SGD", "lr", value)


@pytest.mark.parametrize(("value", "shape"), [((1, 3), (1, 3)), ([2, np.int64(4)], (2, 4)), (5, (5,))])
def test_a_shape_is_a_tuple_of_lengths(value, shape):
    assert shape_of("summary", "input_shape", value) == shape


@pytest.mark.parametrize("value", [(), (0, 3), (1, -1), (1.0, 3), "1,3", None, 0, (True, 3)])
def test_what_is_no_shape_is_refused(value):
    with pytest.raises(ArgumentError, match=r"^summary: input_shape is .* expected positive integers such as \(1, 3"):
        shape_of("summary", "input_shape", value)


def test_the_nearest_name_is_told_or_none():
    assert nearest("resnt20", ["plain20", "resnet20"]) == " Did you mean 'resnet20'?"
    assert nearest(None, ["resnet20"]) == ""
