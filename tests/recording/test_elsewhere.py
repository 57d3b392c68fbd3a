"""Numbers from elsewhere as a record: what is taken, what is refused, and that all works on it."""
import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.errors import ArgumentError, DTypeError, ShapeError, UnknownNameError
from minires.recording.numbers import FLOW_QUANTITIES, QUANTITIES

make = mr.GradientRecord.from_arrays
NAMES = ["conv1", "relu", "fc"]


@pytest.mark.parametrize("array", [[[3, 2, 1]], [3, 2, 1], (3.0, 2.0, 1.0), np.array([[3, 2, 1]], np.float32)],
                         ids=["passes", "one pass", "tuple", "float32"])
def test_an_array_has_a_number_for_each_name_in_one_pass_or_several(array):
    record = make(NAMES, {"output_grad_norm": array})
    assert (record.names, record.types, len(record)) == (NAMES, ["Module"] * 3, 1)
    np.testing.assert_array_equal(record.output_grad_norm, [[3, 2, 1]])
    assert not record.missing("output_grad_norm").any()
    assert record.missing("weight_norm").all()


def test_none_and_what_is_masked_was_not_recorded_and_nan_was():
    numbers = np.array([[1, np.nan, 2], [3, 4, 5.0]])
    mask = [[False, False, True], [True, False, False]]
    record = make(NAMES, {"weight_norm": np.ma.array(numbers, mask=mask),
                          "output_grad_norm": [[None, 1, np.nan], [1, 2, 3]]})
    np.testing.assert_array_equal(record.weight_norm, [[1, np.nan, np.nan], [np.nan, 4, 5]])
    assert record.missing("weight_norm").tolist() == mask
    assert record.missing("output_grad_norm").tolist() == [[True, False, False], [False] * 3]
    again = make(record.names, {"weight_norm": np.ma.array(record.weight_norm, mask=record.missing("weight_norm"))})
    np.testing.assert_array_equal(again.missing("weight_norm"), record.missing("weight_norm"))


def test_types_are_classes_or_names():
    record = make(NAMES, {"output_grad_norm": [1, 2, 3]}, types=["Conv2d", nn.ReLU, "MyLinear"])
    assert record.types == ["Conv2d", "ReLU", "MyLinear"]
    assert record.select(nn.Conv2d, "fc").names == ["conv1", "fc"]
    blocks = make(["stem", "a", "b"], {"output_grad_norm": [1, 2, 3]}, types=["Conv2d", "BasicBlock", models.Bottleneck])
    assert blocks.stream().names == ["stem", "a", "b"]
    assert blocks.over_uses().names == ["stem", "a", "b"]


def test_all_plots_tables_and_files_take_it(tmp_path):
    passes = np.abs(np.random.default_rng(0).standard_normal((4, 3)))
    passes[1, 1], passes[2, 0] = 0, np.inf
    values = dict.fromkeys(QUANTITIES, passes) | dict.fromkeys(FLOW_QUANTITIES, np.clip(passes, 0, 1))
    record = make(iter(NAMES), values)
    for quantity in QUANTITIES:
        ax = mr.plot.gradient_norms([record, record.select("fc", "conv1")], quantity=quantity)
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3])
        mr.plot.gradient_heatmap(record, quantity)
    mr.plot.shortcut_flow(record)
    pyplot.close("all")
    assert record.has_flow
    assert "flow_cosine" in str(record)
    record.to_csv(tmp_path / "record.csv")
    found = mr.GradientRecord.from_csv(tmp_path / "record.csv")
    assert (found.names, found.types) == (record.names, record.types)
    for quantity in values:
        np.testing.assert_array_equal(found.values(quantity), record.values(quantity))
    assert len(mr.stack_records([record, found])) == 8


@pytest.mark.parametrize(("arguments", "error", "message"), [
    (("conv1", {}), DTypeError, r"names is 'conv1', expected a list of texts, .*: \['conv1'\]"),
    (([], {}), ArgumentError, "got no names"),
    (([1], {}), DTypeError, "names holds 1, expected a list of texts"),
    ((["a", "b", "a"], {}), ArgumentError, "the name 'a' stands there twice: .* 'a' and 'a@2'"),
    ((NAMES, [1, 2, 3]), DTypeError, r"values is \[1, 2, 3\], expected a dict such as"),
    ((NAMES, {"norm": [1, 2, 3]}), UnknownNameError, "unknown quantity 'norm': known are output_grad_norm"),
    ((NAMES, {"weight_norm": [1, 2]}), ShapeError,
     r"weight_norm has shape \(2,\), expected \(3,\) for one backward pass, or \(passes, 3\)"),
    ((NAMES, {"weight_norm": np.ones((3, 2))}), ShapeError, r"weight_norm has shape \(3, 2\)"),
    ((NAMES, {"weight_norm": np.ones((1, 1, 3))}), ShapeError, r"weight_norm has shape \(1, 1, 3\)"),
    ((NAMES, {"weight_norm": 1.0}), ShapeError, r"weight_norm has shape \(\)"),
    ((NAMES, {"weight_norm": [[1, 2, 3]], "update_ratio": np.ones((2, 3))}), ShapeError,
     "the arrays have different numbers of passes: weight_norm 1, update_ratio 2"),
    ((NAMES, {"weight_norm": ["1", "2", "3"]}), DTypeError, "weight_norm is .*, expected numbers"),
    ((NAMES, {"weight_norm": [None, "x", 1]}), DTypeError, "weight_norm is .*, expected numbers"),
    ((NAMES, {"weight_norm": [1, -2, 3]}), ArgumentError, r"weight_norm holds -2, expected numbers that are not negative"),
    ((NAMES, {}, ["Conv2d"]), ArgumentError, "got 1 types for 3 names"),
    ((NAMES, {}, [nn.ReLU()] * 3), DTypeError, "types holds ReLU.*, expected a list of classes or of their names"),
    ((NAMES, {}, ["a\0b"] * 3), ArgumentError, "the type is .*, which no class can be called"),
])
def test_what_cannot_be_a_record_is_refused(arguments, error, message):
    with pytest.raises(error, match=f"GradientRecord.from_arrays: {message}"):
        make(*arguments)


def test_a_cosine_may_be_negative():
    assert make(["a"], {"flow_cosine": [-0.5]}).flow_cosine == -0.5
