"""Every lesson in lessons/: it has a lesson's parts, runs as a script, writes what it says, and repeats itself."""
import contextlib
import io
import re
import runpy
import sys
from typing import NamedTuple

import matplotlib.pyplot as plt
import pytest

from minires.course import checks, lesson
from minires.course import lessons as course

PNG = b"\x89PNG\r\n\x1a\n"
FILES = course.all_lessons()
FAST = {"autograd_by_hand", "degradation"}  # run among the fast tests: the second in processes
PARAMS = [pytest.param(file, id=file.path.stem, marks=() if file.name in FAST else pytest.mark.slow) for file in FILES]


class TinyRun(NamedTuple):
    """A lesson that was run with --tiny, in this process, as if its file had been started."""

    file: course.Lesson
    folder: object  # what it wrote
    output: str  # what it printed
    namespace: dict  # its variables at the end


def run_tiny(file, folder, *arguments):
    """Run a lesson as a script with --tiny."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        patch.setattr(sys, "argv", [str(file.path), "--tiny", "--out", str(folder), *arguments])
        namespace = runpy.run_path(str(file.path), run_name="__main__")
    return TinyRun(file, folder, output.getvalue(), namespace)


@pytest.fixture(scope="module", params=PARAMS)
def run(request, tmp_path_factory):
    """One tiny run of each lesson, which several tests look at."""
    return run_tiny(request.param, tmp_path_factory.mktemp(request.param.name))


@pytest.fixture(params=FILES, ids=lambda file: file.path.stem)
def text(request):
    """The source of each lesson."""
    return request.param.path.read_text(encoding="utf-8")


def test_there_are_lessons_and_no_number_or_name_stands_twice():
    assert len(FILES) >= 2
    assert len({file.number for file in FILES}) == len({file.name for file in FILES}) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path.stem)
def test_a_head_has_title_question_time_and_prerequisites(file):
    assert file.title != file.name
    assert file.question.endswith("?")
    assert re.search(r"\d+ s|second|minute", file.time)
    assert file.before


def test_questions_stand_in_the_docstring_and_exercises_after_the_end(text):
    docstring, rest = text.removeprefix('"""').split('"""', 1)
    first = re.search(r"^Think about first\n-+\n\n((?:\* .+\n(?:  .+\n)*)+)", docstring, re.MULTILINE)
    assert first, "the docstring needs a section 'Think about first' with a list of questions"
    assert first.group(1).count("\n* ") + 1 >= 2
    assert "?" in first.group(1)
    last = re.search(r"^# %%\n# Exercises\n# -+\n((?:#.*\n)+)\Z", rest, re.MULTILINE)
    assert last, "the file ends with a block '# %%' of exercises"
    assert len(re.findall(r"^# \d\. ", last.group(1), re.MULTILINE)) >= 2


def test_section_titles_are_underlined_in_full(text):
    comment = "\n".join(line.removeprefix("# ") for line in text.splitlines())
    for title, line in re.findall(r"^(.+)\n([-=]{4,})$", comment, re.MULTILINE):
        assert len(title) <= len(line), title


def test_a_lesson_writes_the_figures_that_it_lists_and_leaves_none_open(run):
    figures = [figure["file"] for figure in run.namespace["options"].figures]
    assert figures
    assert {path.name for path in run.folder.glob("*.png")} == set(figures)
    assert all((run.folder / name).read_bytes().startswith(PNG) for name in figures)
    assert all(figure["caption"] for figure in run.namespace["options"].figures)
    assert plt.get_fignums() == []


def test_a_lesson_prints_its_table_and_where_its_results_are(run):
    assert run.output.startswith(run.file.title)
    assert re.search(r"^what +\| measured +\| predicted +\| source +\| agrees\?$", run.output, re.MULTILINE)
    assert str(run.folder) in run.output


def test_the_names_of_a_lessons_files_are_ascii(run):
    assert all(path.name.isascii() for path in run.folder.iterdir())


def test_a_lesson_leaves_its_rows_as_data(run):
    results = checks.read_results(run.folder / checks.RESULTS)
    rows = run.namespace["checks"]
    assert len(rows) >= 3
    assert [row.what for row in results["rows"]] == [row.what for row in rows]
    assert len({row.what for row in rows}) == len(rows), "two rows have one name"
    assert results["lesson"] == run.file.path.stem
    assert results["tiny"]


@pytest.mark.parametrize("run", PARAMS, indirect=True)
def test_the_same_run_gives_the_same_numbers(run, tmp_path):
    again = run_tiny(run.file, tmp_path / "again")
    assert (again.folder / checks.RESULTS).read_bytes() == (run.folder / checks.RESULTS).read_bytes()


def test_a_lesson_reads_its_options_and_uses_no_other_random_numbers(text):
    assert "lesson.options(__doc__" in text
    assert not re.search(r"np\.random\.(?!default_rng\(\S|Generator|SeedSequence)", text)
    assert "default_rng()" not in text


def test_the_options_of_the_tests_are_those_of_a_lesson():
    assert {"--tiny", "--out", "--seed", "--seeds", "--full", "--check"} <= {
        option for action in lesson.options_parser("x", "X", 5)._actions for option in action.option_strings}
