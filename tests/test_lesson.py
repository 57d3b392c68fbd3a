"""What the lessons share: a table that cannot agree with what was not measured, seeds, and folders."""
import csv
import math

import pytest

from minires import lesson


def options(tmp_path, *arguments):
    return lesson.options("A title\n=======\n", argv=["--out", str(tmp_path / "out"), *arguments])


def test_seeds_are_consecutive_and_full_doubles_them(tmp_path):
    assert options(tmp_path).seeds == [0, 1, 2, 3, 4]
    assert options(tmp_path, "--seed", "7", "--seeds", "2").seeds == [7, 8]
    assert options(tmp_path, "--seeds", "2", "--full").seeds == [0, 1, 2, 3]


@pytest.mark.parametrize("arguments", [("--seeds", "0"), ("--seed", "-1"), ("--seeds", "two"), ("--no-such",)])
def test_senseless_options_are_refused(tmp_path, arguments):
    with pytest.raises(SystemExit) as ended:
        options(tmp_path, *arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(("measured", "agrees"), [(1, True), (2, True), (3, True), (0.99, False), (3.01, False),
                                                  (math.nan, False), (math.inf, False)])
def test_a_check_agrees_only_inside_its_range(measured, agrees):
    checks = lesson.Checks()
    checks.add("x", measured, 1, 3, "theory")
    assert checks[0].agrees is agrees
    assert ("yes" in checks.table()) is agrees


def test_the_take_home_is_printed_only_where_all_rows_agree(tmp_path, capsys):
    for measured, said in ((2, True), (9, False)):
        checks = lesson.Checks()
        checks.add("the number", measured, 1, 3, "theory")
        checks.finish(options(tmp_path), take_home=["All is well."])
        out = capsys.readouterr().out
        assert ("All is well." in out) is said
        assert ("Not as predicted in this run: the number." in out) is not said


def test_check_ends_with_a_status_where_a_row_disagrees_or_there_is_none(tmp_path):
    good, bad, none = lesson.Checks(), lesson.Checks(), lesson.Checks()
    good.add("x", 2, 1, 3, "theory")
    bad.add("x", 4, 1, 3, "theory")
    good.finish(options(tmp_path, "--check"))
    for checks in (bad, none):
        with pytest.raises(SystemExit) as ended:
            checks.finish(options(tmp_path, "--check"))
        assert "disagree" in ended.value.code


def test_the_rows_are_kept_as_csv(tmp_path):
    checks = lesson.Checks()
    checks.add("‖dL/dW‖", 1 / 3, 0, 1, "π")
    checks.to_csv(tmp_path / "checks.csv")
    with open(tmp_path / "checks.csv", encoding="utf-8", newline="") as file:
        row, = csv.DictReader(file)
    assert row["what"] == "‖dL/dW‖"
    assert float(row["measured"]) == 1 / 3
    assert row["agrees"] == "True"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (2.345, "2.35"), (940, "940"), (3000, "3000"), (7.1e-11, "7.1e-11"),
                                             (3e7, "3e7"), (0.00123, "0.00123"), (math.nan, "nan")])
def test_numbers_are_written_in_three_digits(value, text):
    assert lesson._short(value) == text


def test_progress_yields_everything_and_is_silent_without_a_terminal(capsys):
    assert list(lesson.progress(range(3), "counting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
