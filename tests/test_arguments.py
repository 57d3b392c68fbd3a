"""The checks of layers' arguments: what passes, and what the errors name."""
import numpy as np
import pytest

from minires.arguments import pair, positive_integer
from minires.errors import ArgumentError


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_positive_integers_pass_as_python_integers(value):
    result = positive_integer("Layer", "size", value)
    assert result == value
    assert type(result) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None, np.float32(2)])
def test_anything_else_is_named_with_its_owner(value):
    with pytest.raises(ArgumentError, match=r"^Layer: size is .*, expected an integer of at least 1$"):
        positive_integer("Layer", "size", value)


@pytest.mark.parametrize(("value", "result"), [(3, (3, 3)), ((1, 2), (1, 2)), ([4, 5], (4, 5)), (np.int64(2), (2, 2))])
def test_an_integer_is_a_pair_of_it(value, result):
    assert pair("Layer", "size", value) == result


@pytest.mark.parametrize("value", [(1,), (1, 2, 3), (), []])
def test_a_pair_has_two_items(value):
    with pytest.raises(ArgumentError, match=r"expected an integer or a pair \(vertical, horizontal\)"):
        pair("Layer", "size", value)


@pytest.mark.parametrize("value", [-1, (0, -1), (0, 0.5), "same"])
def test_each_item_of_a_pair_is_checked(value):
    with pytest.raises(ArgumentError, match=r"^Layer: size is .*, expected an integer of at least 0$"):
        pair("Layer", "size", value, smallest=0)


def test_a_smallest_of_zero_lets_zero_pass():
    assert pair("Layer", "padding", 0, smallest=0) == (0, 0)
