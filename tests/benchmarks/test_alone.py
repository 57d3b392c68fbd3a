"""A function in a process of its own: its peak memory is its own, and its error is told."""
import sys

import numpy as np
import pytest

from benchmarks import alone

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak memory")
MB = 10 ** 6


def holds(megabytes):
    """For `alone`: hold so many megabytes for a moment."""
    before = alone.resident_bytes()
    np.ones(megabytes * MB // 8)
    return {"before": before, "megabytes": megabytes}


def fails():
    """For `alone`: an error in the other process."""
    raise ValueError("out of luck")


@pytest.fixture
def importable(monkeypatch):
    """Makes this file a module that another process can import."""
    for function in (holds, fails):
        monkeypatch.setattr(function, "__module__", "test_alone")
    monkeypatch.setenv("PYTHONPATH", str(alone.ROOT / "tests" / "benchmarks"))


@pytest.mark.slow
@pytest.mark.usefixtures("importable")
def test_the_peak_is_that_of_the_other_process_at_its_highest():
    large = np.ones(300 * MB // 8)  # held here, and not there
    peaks = {}
    for megabytes in (1, 200):
        result = alone.alone(holds, {"megabytes": megabytes})
        assert result["megabytes"] == megabytes
        peaks[megabytes] = result["peak"]
    assert peaks[1] < 150 * MB
    assert 180 * MB < peaks[200] - peaks[1] < 220 * MB
    assert alone.peak_bytes() > large.nbytes


@pytest.mark.usefixtures("importable")
def test_an_error_in_the_other_process_is_quoted():
    with pytest.raises(RuntimeError, match=r"fails\(\{\}\) ended with status 1: (.|\n)*ValueError: out of luck"):
        alone.alone(fails, {})
