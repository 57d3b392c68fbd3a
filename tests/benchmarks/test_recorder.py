"""What the recorder costs: the table, and a step that is measured."""
import pytest

from benchmarks import recorder


def test_the_table_has_a_row_for_each_kind():
    kinds = {"norms": (12.34, 10.0, 1.234, 1.25), "norms, activations": (15.0, 10.0, 1.5, 1.5)}
    rows = recorder.table({("minires", 32): kinds}).splitlines()[2:]
    assert rows == ["| minires | 32 | norms | 12.3 | 10.0 | **1.234** | 1.250 |",
                    "| minires | 32 | norms, activations | 15.0 | 10.0 | **1.500** | 1.500 |"]


def test_each_kind_is_measured():
    pytest.importorskip("threadpoolctl")
    measured = recorder.measure("minires", batch=1, threads=1, rounds=1)
    assert list(measured) == list(recorder.KINDS)
    for with_it, without, minima, medians in measured.values():
        assert min(with_it, without) > 0
        assert minima == medians == with_it / without
