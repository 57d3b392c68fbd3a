"""The end of a test run says whether any GPU code was run."""
from types import SimpleNamespace

import pytest

from tests.conftest import pytest_terminal_summary


def report(*keywords, when="call"):
    return SimpleNamespace(when=when, keywords=dict.fromkeys(keywords, 1))


@pytest.mark.parametrize(("stats", "expected"), [
    ({}, "No GPU code was run"),
    ({"passed": [report("test_x")], "skipped": [report("gpu", when="setup")]}, "No GPU code was run"),
    ({"passed": [report("gpu"), report("gpu", when="setup"), report("test_x")], "failed": [report("gpu")]},
     "GPU: 2 tests ran on a CUDA GPU"),
])
def test_the_report_says_whether_a_gpu_was_used(stats, expected):
    lines = []
    pytest_terminal_summary(SimpleNamespace(stats=stats, write_line=lines.append))
    assert len(lines) == 1
    assert lines[0].startswith(expected)
