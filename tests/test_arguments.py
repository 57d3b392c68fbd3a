"""The checks of layers' arguments: what passes, and what the errors name."""
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest

from minires.arguments import (
    array_of,
    flag,
    floating_dtype,
    function,
    instance,
    is_one_of,
    is_whole_number,
    known_name,
    list_of,
    nearest,
    number,
    pair,
    path_of,
    random_generator,
    shape_of,
    shown,
    state_of,
    text,
    whole_number,
    whole_numbers,
)
from minires.errors import ArgumentError, DTypeError, StateError, UnknownNameError


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


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, -math.inf, np.float32(math.inf), 10**400, "1", None, True, 1j])
def test_what_is_no_number_or_too_small_is_refused(value):
    with pytest.raises(ArgumentError, match=r"^SGD: lr is .*, expected a finite number that is not negative$"):
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


@pytest.mark.parametrize(("value", "said"), [
    ("weight_norms", "'weight_norms': known are grad_norm, weight_norm. Did you mean 'weight_norm'?"),
    ("loss", "'loss': known are grad_norm, weight_norm"), (None, "None: known are grad_norm, weight_norm")])
def test_an_unknown_name_is_told_the_known_ones_and_the_nearest(value, said):
    with pytest.raises(UnknownNameError, match=rf"^plot: unknown quantity {re.escape(said)}$"):
        known_name("plot", "quantity", value, ["grad_norm", "weight_norm"])


def test_a_number_may_have_a_largest_and_no_smallest():
    assert number("BatchNorm2d", "momentum", 1, largest=1) == 1.0
    with pytest.raises(ArgumentError, match=r"^BatchNorm2d: momentum is 1\.5, expected a number from 0 to 1$"):
        number("BatchNorm2d", "momentum", 1.5, largest=1)
    assert number("init", "gain", -2, smallest=-math.inf) == -2.0
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ArgumentError, match=rf"^init: gain is {value}, expected a finite number$"):
            number("init", "gain", value, smallest=-math.inf)
    assert number("clip", "high", math.inf, largest=math.inf) == math.inf


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_, 0, 1, np.int64(1)])
def test_a_flag_is_a_bool(value):
    assert flag("sum", "keepdims", value) is bool(value)


@pytest.mark.parametrize("value", [None, "no", "", [], 2, -1, 0.0, 1.0, np.ones(3), np.array(True), 1j, object()])
def test_what_only_has_a_truth_is_no_flag(value):
    with pytest.raises(ArgumentError, match=r"^sum: keepdims is .*, expected True or False$"):
        flag("sum", "keepdims", value)


@pytest.mark.parametrize("value", ["C", "", None, ["A"], {}, np.array(["A", "B"]), 1, b"A"])
def test_a_name_is_one_of_the_known_ones(value):
    known = {"A": "zero padding", "B": "a convolution"}
    assert known_name("net", "shortcut", "A", known) == "A"
    assert is_one_of("B", known)
    assert not is_one_of(value, known)
    with pytest.raises(UnknownNameError, match=r"^net: unknown shortcut .*: known are A \(zero padding\), B \(a conv"):
        known_name("net", "shortcut", value, known)
    with pytest.raises(UnknownNameError, match=r": known are A, B$"):
        known_name("net", "shortcut", value, list(known))


def test_a_text_is_a_text():
    assert text("draw", "title", "a net") == "a net"
    with pytest.raises(ArgumentError, match=r"^draw: title is 3, expected a text$"):
        text("draw", "title", 3)


def test_a_path_is_a_text_or_a_path(tmp_path):
    assert path_of("load", "a.npz") == path_of("load", Path("a.npz")) == Path("a.npz")


class BytesPath(os.PathLike):
    """A path of bytes, which `pathlib` does not take."""

    def __fspath__(self):
        return b"a"


@pytest.mark.parametrize("path", [1, True, None, 1.5, b"a", ["a"], BytesPath()])
def test_a_number_is_no_path(path):
    with pytest.raises(DTypeError, match=r"^load: the path is .*, expected a text or a pathlib\.Path$"):
        path_of("load", path)


@pytest.mark.parametrize("path", ["a\0b", Path("a\0b")])
def test_what_no_path_can_hold_is_refused(path):
    with pytest.raises(ArgumentError, match=r"^load: the path is .*a\\x00b.*, which holds a character that no path"):
        path_of("load", path)


def test_an_instance_a_generator_and_a_function_are_what_they_are():
    generator = np.random.default_rng(0)
    assert random_generator("Conv2d", generator) is generator
    assert function("net", "init", len) is len
    assert instance("net", "x", 3, int, "a number") == 3
    with pytest.raises(DTypeError, match=r"^Conv2d: generator is 0, expected a np\.random\.Generator: np\.random\.def"):
        random_generator("Conv2d", 0)
    with pytest.raises(DTypeError, match=r"^net: init is 'he', expected an initialiser$"):
        function("net", "init", "he", "an initialiser")
    with pytest.raises(DTypeError, match=r"^net: x is 'a', expected a number$"):
        instance("net", "x", "a", int, "a number")


@pytest.mark.parametrize(("dtype", "result"), [("float32", np.float32), (float, np.float64), (np.dtype("f8"), np.float64),
                                               (np.float32, np.float32)])
def test_a_floating_dtype_has_two_values(dtype, result):
    assert floating_dtype("astype", dtype) == result


@pytest.mark.parametrize(("dtype", "got"), [(None, "None"), ("x", "'x'"), (int, "int64"), (1.5, "1.5"), ([], r"\[\]"),
                                            ("(", r"'\('"), (np.float16, "float16"), (np.ones(2), "array")])
def test_another_dtype_is_refused(dtype, got):
    with pytest.raises(DTypeError, match=rf"^astype: expected np\.float32 or np\.float64, got {got}"):
        floating_dtype("astype", dtype)


@pytest.mark.parametrize("values", [["a", "b"], ("a", "b"), np.array(["a", "b"]), iter("ab")])
def test_a_list_of_texts(values):
    assert list_of("plot", "labels", values, str, "a list of texts") == ["a", "b"]


@pytest.mark.parametrize("values", ["ab", b"ab", {"a", "b"}, {"a": 1}, None, 3, np.array("ab")])
def test_what_is_no_list_or_has_no_order_is_refused(values):
    with pytest.raises(DTypeError, match=r"^plot: labels is .*, expected a list of texts"):
        list_of("plot", "labels", values, str, "a list of texts")


def test_one_value_in_place_of_a_list_is_told_so_and_each_value_is_looked_at():
    with pytest.raises(ArgumentError, match=r"^plot: labels is 'ab', expected a list of texts: \['ab'\]$"):
        list_of("plot", "labels", "ab", str, "a list of texts", ArgumentError)
    with pytest.raises(DTypeError, match=r"^plot: labels holds 3, expected a list of texts$"):
        list_of("plot", "labels", ["a", 3], str, "a list of texts")


def test_whole_numbers_are_a_list():
    assert whole_numbers("MultiStepLR", "milestones", (3, np.int64(5)), "a milestone") == [3, 5]
    with pytest.raises(ArgumentError, match=r"^MultiStepLR: milestones is '123', expected a list: \['123'\]$"):
        whole_numbers("MultiStepLR", "milestones", "123", "a milestone")
    with pytest.raises(ArgumentError, match=r"^MultiStepLR: a milestone is True, expected an integer of at least 1$"):
        whole_numbers("MultiStepLR", "milestones", [3, True], "a milestone")


def test_an_array_is_made_or_not():
    np.testing.assert_array_equal(array_of("Batches", "labels", [1, 2]), [1, 2])
    with pytest.raises(DTypeError, match=r"^Batches: labels is \[\[1\], \[1, 2\]\], of which no array can be made: "):
        array_of("Batches", "labels", [[1], [1, 2]])


@pytest.mark.parametrize(("state", "got"), [("steps", "expected a dict of arrays, got str"),
                                            (["steps"], "expected a dict of arrays, got list"),
                                            ({1: 2}, "expected names for keys, got 1")])
def test_a_state_is_a_dict_with_texts_for_keys(state, got):
    assert state_of({"a": 1}) == {"a": 1}
    with pytest.raises(StateError, match=f"^load_state_dict: {got}"):
        state_of(state)


def test_what_is_shown_is_short_and_in_one_line():
    assert shown("a") == "'a'"
    assert shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
    assert len(shown("a" * 1000)) == 80
    assert shown("a" * 1000).endswith("…")
@pytest.mark.parametrize(("name", "near"), [("resnet21", "resnet20"), ("resnet45", "resnet44"), ("resnet99", "resnet110"),
                                            ("plain1202", "plain110"), ("resnt34", "resnet34")])
def test_of_names_with_a_number_the_nearest_number_is_near(name, near):
    known = ["resnet20", "resnet32", "resnet34", "resnet44", "resnet110", "plain20", "plain110"]
    assert nearest(name, known) == f" Did you mean {near!r}?"


def test_a_number_of_thousands_of_digits_is_near_nothing():
    assert nearest("9" * 5000, ["7", "8"]) == ""
