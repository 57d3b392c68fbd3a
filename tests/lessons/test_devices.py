"""The lessons on device arrays: each runs, tiny, on the strict double of CuPy, and measures what it measures on the CPU.

No GPU was used here.
"""
import csv

import matplotlib.pyplot as plt
import pytest

from minires.cli import main as cli
from minires.course import lessons as course
from tests.strict_cupy import installed, meter

FAST = {"autograd_by_hand", "batch_norm_and_shortcuts"}  # without a net, and with one at initialisation
WITHOUT_NETS = {"what_is_a_resnet", "autograd_by_hand"}  # lessons that move nothing: they count, or compute a few numbers
AT_THE_END_OF_FLOAT32 = "dead"  # in rows that count zeros: CuPy flushes denormals, so numbers die a little earlier
A_DIFFERENCE_OF_LOSSES = "one direction for both"  # nearly equal ones, whose ratio moves with the last digits of float32


def checks(folder):
    with open(folder / "checks.csv", encoding="utf-8", newline="") as file:
        return [(row["what"], float(row["measured"])) for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", [
    pytest.param(lesson.name, marks=() if lesson.name in FAST else pytest.mark.slow) for lesson in course.all_lessons()])
def test_a_lesson_measures_the_same_on_device_arrays(name, tmp_path, capsys):
    command = ["lesson", name, "--tiny", "--seeds", "1"]
    assert cli.main([*command, "--out", str(tmp_path / "cpu")]) == 0
    with installed():
        assert cli.main([*command, "--device", "cuda", "--out", str(tmp_path / "cuda")]) == 0
        assert meter.launches.total() > 1000 or name in WITHOUT_NETS
    assert plt.get_fignums() == []
    found, expected = checks(tmp_path / "cuda"), checks(tmp_path / "cpu")
    assert [what for what, _ in found] == [what for what, _ in expected]
    for (what, value), (_, reference) in zip(found, expected, strict=True):
        if AT_THE_END_OF_FLOAT32 not in what:
            smallest = 0.1 if A_DIFFERENCE_OF_LOSSES in what else 1e-6  # 0.1: the range that its lesson predicts
            assert value == pytest.approx(reference, rel=0.05, abs=smallest, nan_ok=True), what
