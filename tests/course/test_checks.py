"""A lesson's checks: a table that cannot agree with what was not measured, verdicts on claims, results as data."""
import csv
import json
import math
import re

import pytest

import minires as mr
from minires.course import checks, lesson
from minires.course.checks import AGREES, CONTRADICTS, NOT_SEEN

CLAIM = checks.Claim("Water is wet.", "Everybody 2020")


def options(tmp_path, *arguments):
    return lesson.options("A title\n=======\n", argv=["--out", str(tmp_path / "out"), *arguments])


@pytest.mark.parametrize(("measured", "agrees"), [(1, True), (2, True), (3, True), (0.99, False), (3.01, False),
                                                  (math.nan, False), (math.inf, False)])
def test_a_check_agrees_only_inside_its_range(measured, agrees):
    rows = checks.Checks()
    rows.add("x", measured, 1, 3, "theory")
    assert rows[0].agrees is agrees
    assert ("yes" in rows.table()) is agrees


def test_the_take_home_is_printed_only_where_all_rows_agree(tmp_path, capsys):
    for measured, said in ((2, True), (9, False)):
        rows = checks.Checks()
        rows.add("the number", measured, 1, 3, "theory")
        rows.finish(options(tmp_path), take_home=["All is well."])
        out = capsys.readouterr().out
        assert ("All is well." in out) is said
        assert ("Not as predicted in this run: the number." in out) is not said


def test_check_ends_with_a_status_where_a_row_disagrees_or_there_is_none(tmp_path):
    good, bad, none = checks.Checks(), checks.Checks(), checks.Checks()
    good.add("x", 2, 1, 3, "theory")
    bad.add("x", 4, 1, 3, "theory")
    good.finish(options(tmp_path, "--check"))
    for rows in (bad, none):
        with pytest.raises(SystemExit) as ended:
            rows.finish(options(tmp_path, "--check"))
        assert "disagree" in ended.value.code


def test_the_rows_are_kept_as_csv(tmp_path):
    rows = checks.Checks()
    rows.add("‖dL/dW‖", 1 / 3, 0, 1, "π")
    rows.to_csv(tmp_path / "checks.csv")
    with open(tmp_path / "checks.csv", encoding="utf-8", newline="") as file:
        row, = csv.DictReader(file)
    assert row["what"] == "‖dL/dW‖"
    assert float(row["measured"]) == 1 / 3
    assert row["agrees"] == "True"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (2.345, "2.35"), (940, "940"), (3000, "3000"), (7.1e-11, "7.1e-11"),
                                             (3e7, "3e7"), (1727962, "1.7e6"), (0.00123, "0.00123"), (math.nan, "nan")])
def test_numbers_are_written_in_three_digits(value, text):
    assert checks.short(value) == text


def test_a_count_is_written_to_its_last_digit():
    rows = checks.Checks()
    rows.add("multiply-adds", 2829238913, 2829238912, 2829238912, "counting", seeds=0)
    assert re.search(r"2,829,238,913 +\| exactly 2,829,238,912 +\| counting +\| NO$", rows.table(), re.MULTILINE)
    assert checks.whole(0.5) == "0.5"
    assert checks.whole(math.nan) == "nan"


@pytest.mark.parametrize(("measured", "verdict"), [
    (2, AGREES), ([1, 3], AGREES), (-1, CONTRADICTS), ([-1, 0], CONTRADICTS), (0.5, NOT_SEEN), ([2, 0.5], NOT_SEEN),
    ([2, -1], NOT_SEEN), ([-1, 0.5], NOT_SEEN), (math.nan, NOT_SEEN), ([2, math.nan], NOT_SEEN)])
def test_a_claim_needs_every_seed_for_a_verdict(measured, verdict):
    rows = checks.Checks()
    rows.claim(CLAIM, "x", measured, 1, 3, contrary=(-math.inf, 0), expect=None)
    assert rows[0].verdict == verdict
    assert verdict in rows.table()


def test_a_claim_without_a_contrary_range_is_never_contradicted():
    rows = checks.Checks()
    rows.claim(CLAIM, "x", -100, 1, 3)
    assert rows[0].verdict == NOT_SEEN
    assert not rows[0].agrees


@pytest.mark.parametrize("expect", [AGREES, CONTRADICTS, NOT_SEEN, None])
def test_check_insists_on_the_expected_verdict_of_a_claim(tmp_path, expect):
    for measured, verdict in ((2, AGREES), (-1, CONTRADICTS), (0.5, NOT_SEEN)):
        rows = checks.Checks()
        rows.claim(CLAIM, "x", measured, 1, 3, contrary=(-1, 0), expect=expect)
        assert rows[0].agrees is (expect in (verdict, None))
        assert ("(!)" in rows.table()) is not rows[0].agrees
        if rows[0].agrees:
            rows.finish(options(tmp_path, "--check"))
        else:
            with pytest.raises(SystemExit):
                rows.finish(options(tmp_path, "--check"))


@pytest.mark.parametrize("arguments", [{"contrary": (2, 5)}, {"expect": "yes"}, {"expect": CONTRADICTS},
                                       {"expect": None, "comment": "Water is wet."}])
def test_a_claim_that_could_not_be_judged_is_refused(arguments):
    with pytest.raises(mr.errors.ArgumentError, match="claim 'x'"):
        checks.Checks().claim(CLAIM, "x", 2, 1, 3, **arguments)


def test_a_statement_that_the_post_does_not_make_is_refused():
    with pytest.raises(mr.UnknownNameError, match="unknown claim 'S16': expected S1 to S15"):
        checks.Checks().claim("S16", "x", 2, 1, 3)


def test_a_row_that_is_not_required_reports_and_does_not_fail(tmp_path):
    rows = checks.Checks()
    rows.add("x", 9, 1, 3, "theory", required=False)
    assert rows[0].verdict == CONTRADICTS
    assert rows.table().endswith("| no")
    rows.finish(options(tmp_path, "--check"))


def test_of_several_seeds_the_median_is_judged_and_the_range_is_shown():
    rows = checks.Checks()
    rows.add("x", [5, 2, 2.5], 1, 3, "theory")
    assert rows[0].agrees
    assert rows[0].measured == 2.5
    assert "2.5 (2 to 5)" in rows.table()
    rows.add("y", [2, math.nan, 2.5], 1, 3, "theory")
    assert not rows[1].agrees


@pytest.mark.parametrize("measured", [[], ()])
def test_nothing_measured_is_no_row(measured):
    with pytest.raises(mr.errors.ArgumentError, match="got no number"):
        checks.Checks().add("x", measured, 1, 3, "theory")


def a_result(tmp_path, *arguments):
    """The rows that were written, and the path of results.json."""
    rows = checks.Checks()
    rows.add("of the seeds", [1.5, 2.5], 1, math.inf, "theory")
    rows.add("of all", math.nan, 1, 3, "theory", required=False)
    rows.add("counted", 7, 7, 7, "counting", seeds=0)
    rows.claim("S5", "claimed", -math.inf, 1, 3, contrary=(-math.inf, 0), expect=CONTRADICTS, comment="It is not so.")
    rows.claim(CLAIM, "published", 2, 1, 3, published=True)
    chosen = options(tmp_path, *arguments)
    rows.finish(chosen, take_home=["All is well."])
    return rows, chosen.out / "results.json"


def test_results_come_back_from_the_file_as_they_were(tmp_path):
    rows, path = a_result(tmp_path, "--seeds", "4")
    results = checks.read_results(path)
    assert results["take_home"] == ["All is well."]
    assert results["seeds"] == [0, 1, 2, 3]
    assert [check.seeds for check in results["rows"]] == [2, 4, 0, 4, 4]
    for before, after in zip(rows, results["rows"], strict=True):
        assert (after.what, after.verdict, after.agrees, after.predicted) == (
            before.what, before.verdict, before.agrees, before.predicted)
        assert (after.claim, after.contrary, after.published, after.comment) == (
            before.claim, before.contrary, before.published, before.comment)
    json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)  # strict JSON: no NaN, no Infinity


def test_a_verdict_is_made_from_the_numbers_not_read(tmp_path):
    _, path = a_result(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"verdict": "contradicts"', '"verdict": "agrees"'), encoding="utf-8")
    assert checks.read_results(path)["rows"][3].verdict == CONTRADICTS


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"rows": 3}', "not JSON"])
def test_other_files_are_not_results(tmp_path, text):
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(mr.DataError, match="not the results of a lesson"):
        checks.read_results(tmp_path / "results.json")
    with pytest.raises(mr.FileError, match="cannot read"):
        checks.read_results(tmp_path / "none.json")


def test_a_tiny_run_says_that_it_proves_nothing(tmp_path, capsys):
    _, path = a_result(tmp_path, "--tiny")
    out = capsys.readouterr().out
    assert "its numbers prove nothing" in out
    assert "All is well" not in out
    assert checks.read_results(path)["take_home"] == []
