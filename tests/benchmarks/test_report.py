"""Tables, page and figure, made from stored results: no measurement runs here."""
import re

import numpy as np
import pytest
from PIL import Image

from benchmarks import figure, tables
from benchmarks.page import figure_name, page
from benchmarks.results import Results


def entry(part, name, seconds, operations=1, quick=False):
    return {"part": part, "name": name, "date": "2026-01-31", "quick": quick, "operations": operations, "seconds": seconds}


STEP = entry("steps", "ResNet-20, batch 32", {
    "minires": {"step": [0.2, 0.1, 0.3]},
    "PyTorch": {"step": [0.1, 0.08, 0.3]},
    "PyTorch, channels last": {"step": [0.08, 0.05, 0.1]},
    "DeZero, float32": {"step": [0.4, 0.5]},
})
LESSON_NET = entry("steps", "lesson net", {"minires": {"step": [0.01]}, "PyTorch": {"step": [0.02]}})
CONVOLUTION = entry("ops", "3 × 3 convolution", {
    "minires": {"forward": [0.01], "backward": [0.03]},
    "PyTorch": {"forward": [0.02], "backward": [0.03]},
    "SmallPebble": {"forward": [0.01], "backward": [6.0]},
})
CHAIN = entry("tape", "chain of 500 negations", {
    "minires": {"forward": [0.001], "backward": [0.0005]},
    "PyTorch": {"forward": [0.0004], "backward": [0.0003]},
    "NumPy alone": {"forward": [0.0002], "backward": [0.0001]},
}, operations=500)
IMPORT = entry("startup", "import, in a fresh process", {"minires": {"import": [0.3, 0.2, 0.4]}})


def results_of(*cases, threads=1, missing=None):
    results = Results("none.json")
    results.start(threads, {"CPU": "a processor", "NumPy": "2.4"}, missing or {})
    results.runs[threads]["cases"] = list(cases)
    return results


def cells(markdown):
    """The rows of a Markdown table as lists of texts, without the line under the head."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("|")]
    return [row for row in rows if not set("".join(row)) <= {"-", " "}]


def test_a_race_shows_minima_in_ms_and_both_ratios():
    head, resnet, lesson_net = cells(tables.race_table([STEP, LESSON_NET], "step"))
    assert head == ["step", "minires, ms", "PyTorch, ms: ratio", "PyTorch, channels last, ms: ratio",
                    "DeZero, float32, ms: ratio"]
    # minima 100 / 80; the rounds' ratios are 2, 1.25, 1. DeZero took part in two: 0.5 and 0.2
    assert resnet == ["ResNet-20, batch 32", "100", "80.0: **1.25** / 1.25", "50.0: **2.00** / 2.50", "400: **0.25** / 0.35"]
    assert lesson_net == ["lesson net", "10.0", "20.0: **0.50** / 0.50", "–", "–"]


def test_an_operation_has_a_row_for_each_stage():
    _head, forward, backward = cells(tables.race_table([CONVOLUTION], "operation"))
    assert forward == ["3 × 3 convolution", "forward", "10.0", "20.0: **0.50** / 0.50", "10.0: **1.00** / 1.00"]
    assert backward == ["", "backward", "30.0", "30.0: **1.00** / 1.00", "6000: **0.005** / 0.005"]


def test_the_tape_is_in_microseconds_an_operation_less_what_numpy_takes():
    _head, ours, torch, numpy = cells(tables.tape_table(CHAIN))
    assert ours == ["minires", "2.00", "1.00", "3.00", "**2.40**"]
    assert torch == ["PyTorch", "0.80", "0.60", "1.40", "–"]  # its kernels are not NumPy's
    assert numpy == ["NumPy alone", "0.40", "0.20", "0.60", "–"]


def test_processes_are_in_seconds():
    assert cells(tables.seconds_table([IMPORT]))[1] == ["import, in a fresh process", "minires", "0.20", "0.30", "3"]


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1234"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"),
                                             (0.01234, "0.0123"), (0, "0"), (9.999, "10.0")])
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert tables.number(value) == text


def test_the_page_says_machine_versions_date_and_threads():
    text = page(results_of(STEP, CHAIN, CONVOLUTION, IMPORT, threads=2))
    for part in ("## 2 threads", "Measured on 2026-01-31.", "CPU a processor, NumPy 2.4.", "### Training steps",
                 "### The tape", "### Single operations", "### Starting", "## What is not comparable",
                 "(images/benchmarks_2_threads.png)"):
        assert part in text
    assert "quick look only" not in text


def test_the_page_owns_up_to_a_quick_look_and_to_missing_engines():
    text = page(results_of(STEP | {"quick": True}, missing={"DeZero": "ModuleNotFoundError: No module named 'dezero'"}))
    assert "A quick look only" in text
    assert "DeZero is not in these tables: it could not be imported (ModuleNotFoundError: No module named 'dezero')" in text


def test_the_page_gives_the_first_and_the_last_date():
    assert "Measured on 2026-01-30 to 2026-01-31." in page(results_of(STEP, LESSON_NET | {"date": "2026-01-30"}))


def test_a_part_that_was_not_measured_has_no_section():
    text = page(results_of(IMPORT))
    assert "### Training steps" not in text
    assert "benchmarks_1_thread.png" not in text
    assert "Nothing was measured yet" in page(results_of())


def test_the_figure_has_a_point_for_each_rival_and_stage():
    drawn = figure.make_figure({"steps": [STEP, LESSON_NET], "ops": [CONVOLUTION]}, threads=1)
    steps, operations = drawn.axes
    ratios = [line.get_xdata()[0] for ax in (steps, operations) for line in ax.lines if line.get_linestyle() == "None"]
    assert sorted(ratios) == pytest.approx(sorted([1.25, 2.0, 0.25, 0.5, 0.5, 1.0, 1.0, 0.005]))
    assert [label.get_text() for label in steps.get_yticklabels()] == ["ResNet-20, batch 32", "lesson net"]
    low, high = operations.get_xlim()
    assert low < 0.005
    assert high >= 2
    assert len(figure.STYLES) == len({marker for marker, _colour in figure.STYLES.values()})


def test_the_figure_is_written_where_there_is_a_race(tmp_path):
    path = tmp_path / "images" / figure_name(1)
    assert not figure.draw(results_of(IMPORT).runs[1], 1, path)
    assert not path.exists()
    assert figure.draw(results_of(STEP).runs[1], 1, path)
    with Image.open(path) as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    assert re.fullmatch(r"benchmarks_\d+_threads?\.png", path.name)
