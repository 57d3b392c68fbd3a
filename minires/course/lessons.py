"""The lessons as a course: where they are, what their heads say, and running them all, each in a process of its own."""
import importlib.util
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import minires
from minires.course import checks
from minires.course.lesson import output_folder
from minires.errors import FileError, UnknownNameError


class Lesson(NamedTuple):
    """A lesson, as its file and the head of its docstring describe it."""

    number: str  # "07"
    name: str  # "plain_vs_residual"
    path: Path
    title: str
    question: str
    time: str
    before: str  # what to know before


def lessons_folder() -> Path:
    """Where the lessons are: the installed package `minires.lessons`, or lessons/ of a clone that is not installed.

    Raises:
        FileError: neither is there.
    """
    spec = importlib.util.find_spec("minires.lessons")
    if spec is not None:
        return Path(next(iter(spec.submodule_search_locations)))
    folder = Path(minires.__file__).resolve().parent.parent / "lessons"
    if not folder.is_dir():
        raise FileError(f"the lessons are missing: neither minires.lessons nor {str(folder)!r}: install minires again")
    return folder


def all_lessons() -> list:
    """Every lesson, in order of its number."""
    return [read_lesson(path) for path in sorted(lessons_folder().glob("[0-9]*_*.py"))]


def find_lesson(name: str) -> Lesson:
    """The lesson of this name or number.

    Raises:
        UnknownNameError: there is none; the message lists those that there are.
    """
    lessons = all_lessons()
    for lesson in lessons:
        if name in (lesson.name, lesson.path.stem, lesson.number, str(int(lesson.number))):
            return lesson
    raise UnknownNameError(f"unknown lesson {name!r}. Known are {', '.join(lesson.name for lesson in lessons)}, "
                           'and "all" for the whole course')


def read_lesson(path: Path) -> Lesson:
    """A lesson's title and fields, from the docstring at the head of its file, which is not run."""
    text = path.read_text(encoding="utf-8")
    title = re.search(r'\A"""\s*(.+)', text)
    fields = dict(re.findall(r"^:(Question|Time|Before this): (.+(?:\n {4}.+)*)", text, re.MULTILINE))
    question, minutes, before = (" ".join(fields.get(key, "").split()) for key in ("Question", "Time", "Before this"))
    number, _, name = path.stem.partition("_")
    return Lesson(number, name, path, title.group(1) if title else name, question, minutes, before)


@dataclass
class Run:
    """How one lesson of a course went."""

    lesson: Lesson
    folder: Path  # with its figures, numbers and output.txt
    status: int | None = None  # the exit status of its process; None where it did not come to its end
    seconds: float = 0.0
    results: dict | None = None  # of `checks.read_results`; None where it left none

    @property
    def outcome(self) -> str:
        """In a few words: "as predicted", "not as predicted: 2 of 30 rows", "failed", "interrupted", "not run"."""
        if self.status is None:
            return "interrupted" if self.seconds else "not run"
        if self.results is None:
            return "failed"
        rows = self.results["rows"]
        if self.results["tiny"]:
            return "ran (tiny: not judged)"
        wrong = sum(not check.agrees for check in rows)
        if wrong:
            return f"not as predicted: {wrong} of {len(rows)} rows"
        return "as predicted" if self.status == 0 else "failed"

    @property
    def succeeded(self) -> bool:
        """Did the lesson come to its end with status 0?"""
        return self.status == 0 and self.results is not None


def run_course(out, arguments=()) -> list:
    """Run every lesson in a process of its own, one after the other; a failing one does not stop the rest.

    Ctrl-C ends the lesson that is running and leaves the rest out.

    Args:
        out: the folder; each lesson gets a folder in it.
        arguments: options for every lesson, such as ["--full"].

    Returns:
        A `Run` for each lesson.
    """
    out = output_folder(out)
    runs = [Run(lesson, out / lesson.path.stem) for lesson in all_lessons()]
    start = time.perf_counter()
    try:
        for i, run in enumerate(runs):
            print(f"[{i + 1}/{len(runs)}] {run.lesson.number} {run.lesson.title} ({run.lesson.time})", file=sys.stderr,
                  flush=True)
            _run_lesson(run, arguments)
            print(f"        {run.outcome}, {run.seconds:.0f} s; {time.perf_counter() - start:.0f} s so far",
                  file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("\nminires: interrupted; what is done is kept", file=sys.stderr)
    return runs


def _run_lesson(run, arguments):
    """Run one lesson; its standard output goes to output.txt in its folder, progress and errors to standard error."""
    output_folder(run.folder)
    (run.folder / checks.RESULTS).unlink(missing_ok=True)
    command = [sys.executable, "-m", "minires", "lesson", run.lesson.path.stem, "--out", str(run.folder), *arguments]
    environment = {"MPLBACKEND": "Agg", **os.environ, "PYTHONIOENCODING": "utf-8"}
    start = time.perf_counter()
    with open(run.folder / "output.txt", "w", encoding="utf-8") as output, \
            subprocess.Popen(command, stdout=output, env=environment) as process:
        try:
            run.status = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            raise
        finally:
            run.seconds = time.perf_counter() - start
    if (run.folder / checks.RESULTS).is_file():
        run.results = checks.read_results(run.folder / checks.RESULTS)
