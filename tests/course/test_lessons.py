"""The course: heads of lessons, a process for each, failures and interruptions, the report and the claims page."""
import functools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import minires as mr
from minires.cli import main as cli
from minires.course import checks, lesson
from minires.course import lessons as course
from minires.course.checks import CONTRADICTS
from minires.course.claims_page import claims_page
from minires.course.run import Run

pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")

HEAD = '''"""
{title}
=======

:Question: Is it, or
    is it not?
:Time: no time
:Before this: nothing
"""
import math
from matplotlib import pyplot
from minires.course import lesson

options = lesson.options(__doc__, seeds=3)
checks = lesson.Checks()
'''
GOOD = '''
figure, ax = pyplot.subplots()
ax.set_title("A line & a <sentence>")
lesson.save_figure(figure, options, "line.png")
checks.add("seeds", [1.0] * len(options.seeds), 1, 1, "counting")
checks.claim("S5", "ratio", 0.1, 1, math.inf, contrary=(0, 0.5), expect="contradicts", comment="The input's end | starves.")
checks.claim(lesson.Claim("Water is <wet>.", "Everybody 2020"), "wetness", 2, 1, 3, published=True)
print("said by the lesson")
checks.finish(options, take_home=["All is well."])
'''


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """A function that makes lessons of bodies, and these the course; processes of their own find them too."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        f"import minires.course.lessons as course, pathlib\ncourse.lessons_folder = lambda: pathlib.Path({str(folder)!r})\n",
        encoding="utf-8")
    root = str(Path(mr.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{root}")
    monkeypatch.setattr(course, "lessons_folder", lambda: folder)

    def make(**bodies):
        for i, (name, body) in enumerate(bodies.items()):
            (folder / f"{i:02}_{name}.py").write_text(HEAD.format(title=f"The {name} one") + body, encoding="utf-8")
    return make


def test_the_head_of_a_lesson_is_read_without_running_it(lessons):
    lessons(good="raise SystemExit")
    found, = course.all_lessons()
    assert (found.number, found.name, found.title) == ("00", "good", "The good one")
    assert (found.question, found.time, found.before) == ("Is it, or is it not?", "no time", "nothing")


@pytest.mark.parametrize("name", ["good", "00_good", "00", "0"])
def test_a_lesson_is_found_by_name_and_number_also_zero(lessons, name):
    lessons(good="")
    assert course.find_lesson(name).name == "good"


def test_a_failing_lesson_does_not_stop_the_rest(lessons, tmp_path, capfd):
    lessons(bad="1 / 0\n", good=GOOD, wrong='checks.add("x", 5, 1, 3, "theory")\nchecks.finish(options)\n')
    assert cli.main(["lesson", "all", "--out", str(tmp_path / "out"), "--seeds", "2"]) == 1
    out, err = capfd.readouterr()
    assert re.search(r"bad: failed, \d+ s\n.*good: as predicted, \d+ s\n.*wrong: not as predicted: 1 of 1 rows", out)
    assert "ZeroDivisionError" in err
    assert "[2/3] 01 The good one (no time)" in err
    assert (tmp_path / "out" / "01_good" / "output.txt").read_text(encoding="utf-8").count("said by the lesson") == 1
    assert checks.read_results(tmp_path / "out" / "01_good" / "results.json")["seeds"] == [0, 1]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    for text in ("The bad one", "failed", "The good one", "as predicted", "not as predicted: 1 of 1 rows", "All is well.",
                 "A line &amp; a &lt;sentence&gt;", "Water is &lt;wet&gt;.", "The input&#x27;s end | starves."):
        assert text in page
    assert page.count("data:image/png;base64,") == 1
    assert "src=\"http" not in page


@pytest.mark.slow
def test_the_course_succeeds_where_every_lesson_does(lessons, tmp_path, capfd):
    lessons(good=GOOD)
    assert cli.main(["lesson", "all", "--out", str(tmp_path / "out"), "--check"]) == 0
    assert cli.main(["lesson", "all", "--out", str(tmp_path / "out"), "--tiny"]) == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "ran (tiny: not judged)" in page
    assert "contradict" not in page
    assert "All is well." not in page


def test_with_check_a_disagreement_fails_the_course(lessons, tmp_path, capfd):
    lessons(wrong='checks.add("x", 5, 1, 3, "theory")\nchecks.finish(options)\n')
    assert cli.main(["lesson", "all", "--out", str(tmp_path / "out")]) == 0
    assert cli.main(["lesson", "all", "--out", str(tmp_path / "out"), "--check"]) == 1


def test_wrong_options_are_refused_before_any_lesson_runs(lessons, tmp_path, capfd):
    lessons(good=GOOD)
    with pytest.raises(SystemExit):
        cli.main(["lesson", "all", "--out", str(tmp_path / "out"), "--no-such"])
    assert not (tmp_path / "out").exists()


def test_a_lesson_that_did_not_begin_was_not_interrupted(tmp_path):
    run = Run(course.Lesson("00", "x", tmp_path / "00_x.py", "X", "Is it?", "", ""), tmp_path)
    assert run.outcome == "not run"
    run.seconds = 1.0
    assert run.outcome == "interrupted"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal as a terminal on Unix does")
def test_an_interrupted_course_keeps_what_is_done_and_writes_the_report(lessons, tmp_path):
    lessons(good=GOOD, slow="import time\n(options.out / 'started').touch()\ntime.sleep(60)\n", never=GOOD)
    process = subprocess.Popen([sys.executable, "-m", "minires", "lesson", "all", "--out", str(tmp_path / "out")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    deadline = time.monotonic() + 50
    while not (tmp_path / "out" / "01_slow" / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=50)
    assert process.returncode == 130
    assert "interrupted; what is done is kept" in err
    assert "good: as predicted" in out
    assert "slow: interrupted" in out
    assert "never: not run" in out
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert "interrupted" in page


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of Unix")
def test_a_lesson_ends_with_a_course_that_is_killed(lessons, tmp_path):
    """It holds this pipe's other end: communicate() returns when it has ended."""
    lessons(slow="import time\nopen(options.out / 'started', 'w').close()\ntime.sleep(3600)\n")
    process = subprocess.Popen([sys.executable, "-m", "minires", "lesson", "all", "--out", str(tmp_path / "out")],
                               stderr=subprocess.PIPE)
    deadline = time.monotonic() + 50
    while not (tmp_path / "out" / "00_slow" / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    assert (tmp_path / "out" / "00_slow" / "started").exists()


# ---- the claims page

def results_of(tmp_path, name, fill, tiny=False):
    """Write and read the results of a lesson; `fill(rows)` adds its checks."""
    folder = tmp_path / name
    folder.mkdir(parents=True)
    rows = checks.Checks()
    fill(rows)
    options = lesson.Options(lesson=name, out=folder, seeds=[0, 1, 2], full=False, tiny=tiny, figures=[])
    rows.to_json(options)
    return checks.read_results(folder / "results.json")


def s5(measured, expect="contradicts"):
    return lambda rows: rows.claim("S5", "a | b", measured, 1, 9, contrary=(-9, 0), expect=expect,
                                   comment="The truth of it.")


@pytest.mark.parametrize(("measured", "verdict", "comment"), [
    (-1, "contradicted", True), (2, "agrees", False), ([-1, -2, 0.5], "not seen in this run", False)])
def test_the_claims_page_says_what_the_run_says_and_no_more(tmp_path, measured, verdict, comment):
    page = claims_page([results_of(tmp_path, "02_toy", s5(measured))])
    assert re.search(rf"^\| S5 \| .* \| {verdict} \| 02 \|$", page, re.MULTILINE)
    assert ("The truth of it." in page) is comment
    assert r"02: a \| b" in page


def test_a_statement_without_a_row_is_listed_as_not_measured(tmp_path):
    page = claims_page([results_of(tmp_path, "02_toy", s5(2))])
    assert len(re.findall(r"^\| S\d+ \|.*not measured in this run \|", page, re.MULTILINE)) == 14


def test_lessons_that_disagree_are_counted(tmp_path):
    results = [results_of(tmp_path, "02_toy", s5(2)), results_of(tmp_path, "07_toy", s5(-1)),
               results_of(tmp_path, "08_toy", s5(-2))]
    page = claims_page(results)
    assert re.search(r"^\| S5 \| .* \| in part: agrees in 1, contradicted in 2 rows \| 02, 07, 08 \|$", page, re.MULTILINE)


def test_published_numbers_are_called_that(tmp_path):
    claim = checks.Claim("Deeper is better.", "He et al. 2015, table 6")
    page = claims_page([results_of(
        tmp_path, "02_toy", lambda rows: rows.claim(claim, "error of 110 - 56", -0.5, -1, 0, published=True))])
    assert "Verdict: agrees (by published numbers)." in page
    assert "-0.5 (published)" in page
    assert page.index("He et al. 2015, table 6") > page.index("## Claims of the literature")


def test_the_page_can_be_made_again_from_the_folders_but_not_from_tiny_runs(tmp_path, capsys):
    results_of(tmp_path, "07_toy", s5(-1))
    results_of(tmp_path, "02_toy", lambda rows: rows.add("x", [1, 2, 3], 1, 3, "theory"))
    assert cli.main(["claims", str(tmp_path), "--out", str(tmp_path / "claims.md")]) == 0
    page = (tmp_path / "claims.md").read_text(encoding="utf-8")
    assert "| x | 2 (1 to 3) | 1 to 3 | theory | 3 | yes |" in page
    assert "2 lessons, 3 seeds each, size: default, device: cpu" in page
    results_of(tmp_path, "08_toy", s5(-1), tiny=True)
    capsys.readouterr()
    assert cli.main(["claims", str(tmp_path)]) == 1
    assert "08_toy are of a tiny run, which proves nothing" in capsys.readouterr().err


def test_without_results_the_claims_say_what_to_run(tmp_path, capsys):
    assert cli.main(["claims", str(tmp_path)]) == 1
    assert "run `minires lesson all --out" in capsys.readouterr().err


# ---- results of odd content

ODD = (None, True, 3, -1.5, "S99", "", [], [None], ["x"], [[1]], {}, {"a": 1}, 10**400)


def places(value, path=()):
    """The path to each entry of an object of JSON, and to what it holds."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def altered(value, path, new):
    """A copy of the object with something else in one place; nothing at all where it is KeyError."""
    value = json.loads(json.dumps(value))
    *outer, last = path
    inner = functools.reduce(lambda found, key: found[key], outer, value)
    if new is KeyError:
        del inner[last]
    else:
        inner[last] = new
    return value


@pytest.mark.slow
def test_results_of_odd_content_are_read_or_are_an_error_of_ours(tmp_path, capsys):
    def fill(rows):
        s5([-1, 2])(rows)
        rows.claim(checks.Claim("Deeper is better.", "He"), "error", -0.5, -1, 0, published=True)
        rows.add("x", [1, math.nan, 3], 1, math.inf, "theory")

    results_of(tmp_path, "02_toy", fill)
    path = tmp_path / "02_toy" / "results.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    refused = 0
    for place in places(whole):
        for new in (KeyError, *ODD):
            path.write_text(json.dumps(altered(whole, place, new)), encoding="utf-8")
            status = cli.main(["claims", str(tmp_path)])
            out, err = capsys.readouterr()
            assert (status, out == "") in ((0, False), (1, True)), (place, new)
            assert err == "" or err.startswith("minires: "), (place, new)
            refused += status
    assert refused > 300


@pytest.mark.parametrize("text", ["", "[]", "null", '"lesson"', "{", "[" * 100_000, '{"version": 2}'])
def test_other_text_is_no_results(tmp_path, capsys, text):
    (tmp_path / "02_toy").mkdir()
    (tmp_path / "02_toy" / "results.json").write_text(text, encoding="utf-8")
    assert cli.main(["claims", str(tmp_path)]) == 1
    assert "not the results of a lesson" in capsys.readouterr().err


def test_results_of_a_version_that_had_fewer_entries_are_read(tmp_path):
    results_of(tmp_path, "02_toy", s5(-1))
    path = tmp_path / "02_toy" / "results.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    del found["version"], found["device"], found["rows"][0]["comment"], found["rows"][0]["published"]
    path.write_text(json.dumps(found), encoding="utf-8")
    read = checks.read_results(path)
    assert read["device"] == "cpu"
    assert (read["rows"][0].verdict, read["rows"][0].comment) == (CONTRADICTS, "")
