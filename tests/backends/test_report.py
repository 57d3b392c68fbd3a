"""The end of a test run says whether any GPU code was run."""
from types import SimpleNamespace

import pytest

from tests.conftest import pytest_terminal_summary


def report(*marks, when="call"):
    return SimpleNamespace(when=when, is_marked_gpu="gpu" in marks)


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


@pytest.mark.parametrize("name", ["gpu"])
def test_a_parameter_of_that_name_is_no_mark(name, request):
    assert name in request.node.keywords
    assert request.node.get_closest_marker("gpu") is None
