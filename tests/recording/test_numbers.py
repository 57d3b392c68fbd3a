"""The numbers behind a record: tables that grow with passes and columns, and what was not recorded."""
import gc
import sys
import tracemalloc

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.recording import numbers
from minires.recording.column import Column
from minires.recording.numbers import FLOW_QUANTITIES, Passes, PassNumbers


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
    table = np.random.default_rng(0).standard_normal((count, columns))
    passes, names = Passes(), [f"layer{i}" for i in range(columns)]
    for i, values in enumerate(table):
        some = names[:i + 1] if i < columns else names  # columns join one by one
        passes.add_row(row(**dict(zip(some, values.tolist(), strict=False))))
    expected = np.where(np.arange(columns) <= np.arange(count)[:, None], table, np.nan)
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
        one = kind()
        one.add([(("output_grad_norm", "a"), np.float64(value))])
        passes.add(one)
    with pytest.raises(KeyboardInterrupt):
        passes.values("output_grad_norm", ["a"])
    assert len(passes) == 3
    assert passes.values("output_grad_norm", ["a"]).tolist() == [[1], [2], [3]]


def test_runs_of_one_module_are_one_number():
    one = PassNumbers()
    runs = [(3.0, 1.0, 5.0, 0.5), (4.0, 1.0, 12.0, -0.25)]
    for run in runs:
        keys = [(quantity, "block") for quantity in FLOW_QUANTITIES]
        one.add(list(zip(keys, map(np.float64, run), strict=True)))
    found = one.on_host()
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


# ---- memory


@pytest.mark.slow
def test_a_pass_that_nobody_asked_for_takes_little_more_than_its_numbers():
    """Whose names are shared: at first they took fifteen times as much as the numbers."""
    keys = [(quantity, f"layer{i}") for quantity in FLOW_QUANTITIES for i in range(250)]
    passes, count = Passes(), 400

    def add_a_pass():
        one = PassNumbers()
        one.add([((quantity, column), np.float64(1.0)) for quantity, column in keys])
        passes.add(one)
        passes.add_to_last([(("update_ratio", f"layer{i}"), np.float64(1.0)) for i in range(50)])

    add_a_pass()
    gc.collect()
    tracemalloc.start()
    for _ in range(count):
        add_a_pass()
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 1.3 * count * 1050 * 8
    assert passes.values("update_ratio", ["layer49"]).shape == (count + 1, 1)


def test_the_tables_hold_what_was_recorded_and_little_more():
    passes, count = Passes(), 1000
    tracemalloc.start()
    for _ in range(count):
        passes.add_row({(quantity, f"layer{i}"): 1.0 for quantity in ("output_grad_norm", "weight_norm") for i in range(50)})
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 2.2 * count * 100 * 8  # a byte for each to say that it was recorded, and room for more passes


def test_a_long_run_leaves_a_bounded_number_of_passes_on_the_device_and_loses_none(monkeypatch):
    monkeypatch.setattr(numbers, "MOST_ON_DEVICE", 4)
    moved = []

    class Counted(PassNumbers):
        def on_host(self):
            moved.append(self)
            return super().on_host()

    passes = Passes()
    for i in range(12):
        one = Counted()
        one.add([(("output_grad_norm", "a"), np.float64(i))])
        passes.add(one)
        assert i < 4 or one not in moved  # the last one may still run
        passes.add_to_last([(("update_ratio", "a"), np.float64(-i))])
        assert len(passes) - len(moved) <= 4
    assert passes.values("output_grad_norm", ["a"])[:, 0].tolist() == list(range(12))
    assert passes.values("update_ratio", ["a"])[:, 0].tolist() == [-i for i in range(12)]


@pytest.mark.parametrize("asked", [False, True])
def test_what_comes_after_the_last_pass_is_written_there_whether_or_not_somebody_has_asked_for_it(asked):
    passes = Passes()
    passes.add_to_last([(("update_ratio", "a"), np.float64(9))])  # there is no pass
    for i in range(2):
        one = PassNumbers()
        one.add([(("output_grad_norm", "a"), np.float64(i))])
        passes.add(one)
        if asked:
            passes.values("output_grad_norm", ["a"])
    passes.add_to_last([(("update_ratio", "a"), np.float64(3))])
    np.testing.assert_array_equal(passes.values("update_ratio", ["a"]), [[np.nan], [3]])
    assert passes.recorded("update_ratio", ["a"]).tolist() == [[False], [True]]


def test_a_zero_branch_in_one_of_two_runs_leaves_the_cosine_of_the_other():
    parts = {("flow_through_shortcut", "a"): [1.0, 2.0], ("flow_through_branch", "a"): [0.0, 3.0],
             ("flow_cosine", "a"): [np.nan, 0.5]}
    together = numbers.combined(("flow_cosine", "a"), parts)
    assert together == pytest.approx(2 * 3 * 0.5 / (np.hypot(1, 2) * 3))
    parts["flow_through_branch", "a"] = [0.0, 0.0]
    assert np.isnan(numbers.combined(("flow_cosine", "a"), parts))
    parts["flow_through_branch", "a"] = [1.0, np.inf]
    assert np.isnan(numbers.combined(("flow_cosine", "a"), parts))
