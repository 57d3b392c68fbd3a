"""The numbers behind a record: tables that grow with passes and columns, and what was not recorded."""
import sys

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.recording.numbers import FLOW_QUANTITIES, Passes, PassNumbers
from minires.recording.record import Column


def row(**numbers):
    return {("output_grad_norm", name): value for name, value in numbers.items()}


def test_columns_that_join_later_and_those_that_are_left_out_are_nan_and_not_recorded():
    passes = Passes()
    passes.add_row(row(a=1.0))
    passes.add_row(row(b=2.0) | {("weight_norm", "c"): 3.0})
    passes.add_row({})
    columns = ["c", "b", "a", "never"]
    np.testing.assert_array_equal(passes.values("output_grad_norm", columns),
                                  [[np.nan, np.nan, 1, np.nan], [np.nan, 2, np.nan, np.nan], [np.nan] * 4])
    np.testing.assert_array_equal(passes.recorded("output_grad_norm", columns),
                                  [[False, False, True, False], [False, True, False, False], [False] * 4])
    np.testing.assert_array_equal(passes.values("weight_norm", columns)[:, 0], [np.nan, 3, np.nan])
    assert len(passes) == 3


def test_a_recorded_nan_is_recorded():
    passes = Passes()
    passes.add_row(row(a=float("nan")))
    assert passes.recorded("output_grad_norm", ["a", "b"]).tolist() == [[True, False]]


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 40), (100, 17), (40, 1)])
def test_tables_of_any_size_hold_each_number_in_its_place(count, columns):
    numbers = np.random.default_rng(0).standard_normal((count, columns))
    passes, names = Passes(), [f"layer{i}" for i in range(columns)]
    for i, values in enumerate(numbers):
        some = names[:i + 1] if i < columns else names  # columns join one by one
        passes.add_row(row(**dict(zip(some, values.tolist(), strict=False))))
    expected = np.where(np.arange(columns) <= np.arange(count)[:, None], numbers, np.nan)
    np.testing.assert_array_equal(passes.values("output_grad_norm", names), expected)


def test_what_is_asked_for_is_the_callers_own():
    passes = Passes()
    passes.add_row(row(a=1.0))
    passes.values("output_grad_norm", ["a"])[0, 0] = 7
    assert passes.values("output_grad_norm", ["a"]) == [[1]]


def test_an_interruption_while_numbers_are_fetched_loses_and_doubles_nothing():
    class Interrupts(PassNumbers):
        def on_host(self):
            if interrupted:
                return super().on_host()
            interrupted.append(True)
            raise KeyboardInterrupt

    passes, interrupted = Passes(), []
    for kind, value in ((PassNumbers, 1.0), (Interrupts, 2.0), (PassNumbers, 3.0)):
        numbers = kind()
        numbers.add([(("output_grad_norm", "a"), np.float64(value))])
        passes.add(numbers)
    with pytest.raises(KeyboardInterrupt):
        passes.values("output_grad_norm", ["a"])
    assert len(passes) == 3
    assert passes.values("output_grad_norm", ["a"]).tolist() == [[1], [2], [3]]


def test_runs_of_one_module_are_one_number():
    numbers = PassNumbers()
    runs = [(3.0, 1.0, 5.0, 0.5), (4.0, 1.0, 12.0, -0.25)]
    for run in runs:
        keys = [(quantity, "block") for quantity in FLOW_QUANTITIES]
        numbers.add(list(zip(keys, map(np.float64, run), strict=True)))
    found = numbers.on_host()
    assert found["flow_through_shortcut", "block"] == 5
    assert found["flow_together", "block"] == 13
    products = [s * b * cosine for s, b, _, cosine in runs]  # of the terms, as if the runs were one long vector
    assert found["flow_cosine", "block"] == pytest.approx(sum(products) / (5 * np.sqrt(2)))


def test_a_long_record_is_read_without_being_built_anew():
    columns = [Column(f"layer{i}", nn.Conv2d, True, i) for i in range(73)]
    values = np.random.default_rng(0).random((2000, 73))
    rows = [row(**{column.name: value for column, value in zip(columns, line.tolist(), strict=True)}) for line in values]
    record = mr.GradientRecord(columns, rows)
    np.testing.assert_array_equal(record.output_grad_norm, values)
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        _ = record.output_grad_norm
    finally:
        sys.setprofile(None)
    assert len(calls) < 500  # some for each column, none for each pass: when each access made the table anew, 146,000
