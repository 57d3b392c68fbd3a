"""Time and memory against depth: the lines that fit, the report, the figure, and a small net that is measured."""
import math
import sys

import numpy as np
import pytest

from benchmarks import depth

MB = 10 ** 6


def points(*depths):
    """What `depth.measure` returns of nets that take 2 + depth seconds and 10 + 3 depth MB; less memory with checkpoints."""
    of = [{"depth": each, "checkpoint_every": every, "seconds": factor * (2 + each), "before": 50 * MB,
           "peak": 50 * MB + (10 + 3 * each) * MB // share} for each in depths for every, factor, share in ((None, 1, 1),
                                                                                                         (5, 1.5, 2))]
    return {"batch": 8, "checkpoint_every": 5, "points": of, "lesson": []}


def test_the_line_through_points_on_a_line_is_that_line():
    x = np.array([20, 110, 1202])
    a, b, off = depth.line(x, 2 + 0.5 * x)
    np.testing.assert_allclose([a, b, off], [2, 0.5, 0], atol=1e-9)
    a, b, off = depth.line(x, np.array([10, 60, 700]))
    assert 0 < off < 0.2
    assert off == pytest.approx(np.max(np.abs(a + b * x - [10, 60, 700]) / [10, 60, 700]))


def test_the_report_on_depth_has_a_row_for_each_depth_and_the_lines():
    text = depth.section(points(20, 110, 1202), "images/depth.png")
    assert text.startswith("### Depth\n")
    assert "| 110 | 112.00 s | 340 MB | 168.00 s | 170 MB | × 1.50 | × 0.50 |" in text
    assert "* without checkpoints: +2000 ms and 1000.00 ms a layer, at most 0 % off; +10 MB and 3.00 MB a layer" in text
    assert "![Time and memory of a training step against depth](images/depth.png)" in text
    assert "lesson" not in text


def test_the_report_tells_what_the_lessons_nets_learned():
    losses = [3.0] + 34 * [9.0] + 5 * [2.0]
    measured = points(20, 32) | {"lesson": [{"name": "pre-activation", "rate": 0.1, "seed": 3, "losses": losses,
                                             "seconds": 12.3, "peak": 77 * MB}]}
    assert "| pre-activation | 0.1 | 3 | 3.00 | 9.00 | 2.00 | 12 s | 77 MB |" in depth.section(measured)


def test_the_figure_of_depth_is_written(tmp_path):
    depth.draw(points(20, 110, 1202), tmp_path / "depth.png")
    assert (tmp_path / "depth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak memory")
def test_a_net_is_measured_with_and_without_checkpoints():
    measured = depth.measure(quick=True, depths=[8], batch=2, checkpoint_every=1)
    assert [(point["depth"], point["checkpoint_every"]) for point in measured["points"]] == [(8, None), (8, 1)]
    for point in measured["points"]:
        assert 0 < point["seconds"] < math.inf
        assert 0 < point["before"] < point["peak"]
