"""The file that holds every time: written after each case, read again, and never mixed with another machine's."""
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.results import Results

MACHINE = {"CPU": "one", "NumPy": "2.4"}


def case(name="ResNet-20", part="steps"):
    return SimpleNamespace(part=part, name=name, operations=1)


def seconds(*values):
    return {"minires": {"step": np.array(values)}}


def started(path, environment=MACHINE):
    results = Results.read(path)
    results.start(1, environment, {})
    return results


def names(results, threads=1):
    return [stored["name"] for stored in results.runs[threads]["cases"]]


def test_no_file_is_no_results(tmp_path):
    assert Results.read(tmp_path / "none.json").runs == {}


def test_every_case_is_in_the_file_as_soon_as_it_is_added(tmp_path):
    path = tmp_path / "new folder" / "benchmarks.json"
    results = started(path)
    results.add(1, case("first"), seconds(1.5, 0.123456789), "2026-01-31", quick=False)
    assert names(Results.read(path)) == ["first"]
    results.add(1, case("second"), seconds(1.0), "2026-01-31", quick=True)
    stored = Results.read(path).runs[1]
    assert [entry["quick"] for entry in stored["cases"]] == [False, True]
    assert stored["cases"][0]["seconds"] == {"minires": {"step": [1.5, 0.123457]}}
    assert stored["environment"] == MACHINE


def test_a_list_of_times_is_one_line_of_the_file(tmp_path):
    started(tmp_path / "b.json").add(1, case(), seconds(1.5, 2e-7, 3.0), "2026-01-31", quick=False)
    assert "[1.5, 2e-07, 3.0]" in (tmp_path / "b.json").read_text(encoding="utf-8")


def test_a_case_that_is_measured_again_takes_the_place_of_the_first(tmp_path):
    results = started(tmp_path / "b.json")
    for name in ("first", "second"):
        results.add(1, case(name), seconds(1.0), "2026-01-31", quick=False)
    again = started(tmp_path / "b.json")
    again.add(1, case("first"), seconds(7.0), "2026-02-01", quick=False)
    assert names(again) == ["first", "second"]
    assert again.runs[1]["cases"][0]["seconds"]["minires"]["step"] == [7.0]


def test_the_same_name_in_another_part_is_another_case(tmp_path):
    results = started(tmp_path / "b.json")
    results.add(1, case(part="steps"), seconds(1.0), "2026-01-31", quick=False)
    results.add(1, case(part="ops"), seconds(1.0), "2026-01-31", quick=False)
    assert len(results.runs[1]["cases"]) == 2


def test_runs_on_other_numbers_of_threads_stay(tmp_path):
    results = started(tmp_path / "b.json")
    results.add(1, case(), seconds(1.0), "2026-01-31", quick=False)
    results.start(2, MACHINE, {})
    results.add(2, case(), seconds(0.6), "2026-01-31", quick=False)
    assert sorted(Results.read(tmp_path / "b.json").runs) == [1, 2]


def test_results_of_other_versions_are_dropped_and_this_is_told(tmp_path):
    results = started(tmp_path / "b.json")
    results.add(1, case(), seconds(1.0), "2026-01-31", quick=False)
    assert not Results.read(tmp_path / "b.json").start(1, dict(MACHINE), {})
    other = Results.read(tmp_path / "b.json")
    assert other.start(1, MACHINE | {"NumPy": "2.5"}, {})
    assert other.runs[1]["cases"] == []


def test_what_is_no_race_is_stored_beside_the_cases(tmp_path):
    started(tmp_path / "b.json").add_extra(1, "memory", {"peak": 1}, "2026-01-31", quick=False)
    assert Results.read(tmp_path / "b.json").runs[1]["extra"]["memory"]["measured"] == {"peak": 1}


def test_an_interrupted_write_leaves_the_last_good_file(tmp_path, monkeypatch):
    results = started(tmp_path / "b.json")
    results.add(1, case("first"), seconds(1.0), "2026-01-31", quick=False)

    def interrupt(*_paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        results.add(1, case("second"), seconds(1.0), "2026-01-31", quick=False)
    assert names(Results.read(tmp_path / "b.json")) == ["first"]


@pytest.mark.parametrize("text", ["{", "[]", '"text"', json.dumps({"format": 99, "runs": {}}), "{}"])
def test_a_foreign_file_is_refused_with_what_to_do(tmp_path, text):
    (tmp_path / "b.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.json.*--out"):
        Results.read(tmp_path / "b.json")
