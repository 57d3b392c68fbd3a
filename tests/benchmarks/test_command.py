"""The command: what it chooses, what it stores and when, and what an interruption leaves."""
import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.case import Case
from benchmarks.timing import Candidate


class FakeEngine:
    """Stands for an engine that is installed."""

    version = "1.0"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(cases, *arguments) -> (exit status, what was stored or None); no engine is imported, and no time measured."""
    monkeypatch.setattr(command, "load_engines", lambda: (dict.fromkeys(command.NEEDED, FakeEngine()), {}))
    monkeypatch.setattr(command.environment, "describe", lambda engines: {"CPU": "a processor"})
    monkeypatch.setattr(command, "EXTRA_PARTS", ())

    def run(cases, *arguments):
        monkeypatch.setattr(command, "CASES", cases)
        status = command.main([*arguments, "--out", str(tmp_path)])
        path = tmp_path / "benchmarks.json"
        return status, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    return run


def case(name, part="steps", quick=False, action=lambda: None):
    """A case whose three rivals all run `action`."""
    return Case(part, name, lambda engines, threads: {rival: Candidate({"step": action}) for rival in engines}, rounds=2,
                least=1, quick=quick)


def stored_names(stored, threads="1"):
    return [entry["name"] for entry in stored["runs"][threads]["cases"]]


def interrupt():
    raise KeyboardInterrupt


def fail():
    raise ArithmeticError("seven")


def test_cases_are_measured_in_order_and_page_and_figure_are_written(run, tmp_path, capsys):
    status, stored = run([case("first"), case("second", part="ops")])
    assert status == 0
    assert stored_names(stored) == ["first", "second"]
    assert "### Training steps" in (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert (tmp_path / "images" / "benchmarks_1_thread.png").exists()
    captured = capsys.readouterr()
    assert [line.rpartition("/")[2] for line in captured.out.split()] == ["benchmarks.md", "benchmarks_1_thread.png"]
    assert "[2/2," in captured.err


def test_ctrl_c_keeps_what_was_measured(run, tmp_path, capsys):
    status, stored = run([case("first"), case("second", action=interrupt), case("third")])
    assert status == 130
    assert stored_names(stored) == ["first"]
    assert "| first |" in (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "interrupted: 1 of 3 are kept" in capsys.readouterr().err


def test_a_case_that_fails_is_left_out_and_told_and_the_others_go_on(run, capsys):
    status, stored = run([case("first", action=fail), case("second")])
    assert status == 1
    assert stored_names(stored) == ["second"]
    assert "ArithmeticError: seven" in capsys.readouterr().err


@pytest.mark.slow
def test_only_takes_parts_and_words_of_names(run):
    cases = [case("ResNet-20, batch 32"), case("batch norm", part="ops"), case("ReLU", part="ops")]
    assert stored_names(run(cases, "--only", "relu")[1]) == ["ReLU"]
    assert stored_names(run(cases, "--only", "ops", "resnet")[1]) == ["ReLU", "ResNet-20, batch 32", "batch norm"]


def test_quick_runs_the_quick_cases_and_marks_them(run, tmp_path):
    _status, stored = run([case("slow"), case("quick", quick=True)], "--quick")
    assert [(entry["name"], entry["quick"]) for entry in stored["runs"]["1"]["cases"]] == [("quick", True)]
    assert "A quick look only" in (tmp_path / "benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_threads_make_runs_of_their_own(run, tmp_path):
    run([case("first")])
    _status, stored = run([case("first")], "--threads", "2")
    assert sorted(stored["runs"]) == ["1", "2"]
    assert (tmp_path / "images" / "benchmarks_2_threads.png").exists()


def test_list_measures_nothing(run, capsys):
    status, stored = run([case("first", action=fail)], "--list")
    assert (status, stored) == (0, None)
    assert capsys.readouterr().out == "steps: first\n"


def test_report_writes_page_and_figure_again_and_measures_nothing(run, tmp_path):
    _status, before = run([case("first")])
    page, picture = tmp_path / "benchmarks.md", tmp_path / "images" / "benchmarks_1_thread.png"
    text = page.read_text(encoding="utf-8")
    page.unlink()
    picture.unlink()
    assert run([case("first", action=fail)], "--report") == (0, before)
    assert page.read_text(encoding="utf-8") == text
    assert picture.exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--only", "nothing"], "no part or case matches nothing"),
    (["--threads", "0"], "expected a positive integer, got '0'"),
    (["--threads", "two"], "expected a positive integer, got 'two'"),
])
def test_arguments_that_make_no_sense_end_with_status_2(run, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        run([case("first")], *arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_parts_that_are_no_races_bring_their_own_section_and_figure(run, tmp_path, monkeypatch):
    module = SimpleNamespace(
        measure=lambda threads, quick: {"peak": 7, "threads": threads, "quick": quick},
        section=lambda measured, image: f"### Memory\n\n{measured['peak']} MB ![]({image})\n",
        draw=lambda measured, path: path.write_bytes(b"a figure"),
    )
    monkeypatch.setattr(command, "EXTRA_PARTS", ("memory",))
    for place in ("benchmarks.__main__.extra_module", "benchmarks.page.extra_module"):
        monkeypatch.setattr(place, {"memory": module}.get)
    status, stored = run([case("first")], "--threads", "2")
    assert status == 0
    assert stored["runs"]["2"]["extra"]["memory"]["measured"] == {"peak": 7, "threads": 2, "quick": False}
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "### Memory\n\n7 MB ![](images/memory_2_threads.png)" in text
    assert (tmp_path / "images" / "memory_2_threads.png").read_bytes() == b"a figure"
    _status, stored = run([case("first")], "--only", "memory")
    assert stored["runs"]["1"]["cases"] == []
    assert "memory" in stored["runs"]["1"]["extra"]


def test_without_pytorch_it_says_what_to_install(run, monkeypatch, capsys):
    missing = dict.fromkeys(command.NEEDED[1:], "gone")
    monkeypatch.setattr(command, "load_engines", lambda: ({"minires": FakeEngine()}, missing))
    with pytest.raises(SystemExit):
        run([case("first")])
    assert 'PyTorch cannot be used (gone): pip install -e ".[bench]"' in capsys.readouterr().err


def test_the_resnet20_step_comes_first_and_names_are_unique():
    assert command.CASES[0].name.startswith("ResNet-20, batch 128")
    assert len({(case.part, case.name) for case in command.CASES}) == len(command.CASES)


def test_the_short_form_gives_the_ratio_of_minima():
    seconds = {"minires": {"forward": np.array([1.0, 9.0]), "backward": np.array([1.0, 9.0])},
               "PyTorch": {"forward": np.array([3.0, 2.0]), "backward": np.array([4.0, 2.0])}}
    assert command.in_short(seconds) == "minires 2e+03 ms; PyTorch 0.50"
