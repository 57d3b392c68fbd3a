"""Running all lessons as a course, each in a process of its own."""
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minires.course import checks
from minires.course.lessons import Lesson, all_lessons
from minires.course.processes import PIPE_OF_PARENT
from minires.text.files import output_folder


@dataclass
class Run:
    """How one lesson of a course went."""

    lesson: Lesson
    folder: Path  # with its figures, numbers and output.txt
    status: int | None = None  # the exit status of its process; None where it did not come to its end
    seconds: float = 0.0
    results: checks.Results | None = None  # of `checks.read_results`; None where it left none

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


def run_course(out: str | os.PathLike[str], arguments: Sequence[str] = ()) -> list[Run]:
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
    """Run one lesson; its standard output goes to output.txt in its folder, progress and errors to standard error.

    Its standard input is a pipe that nobody writes to: it ends with this process, and the lesson with it.
    """
    output_folder(run.folder)
    (run.folder / checks.RESULTS).unlink(missing_ok=True)
    command = [sys.executable, "-m", "minires", "lesson", run.lesson.path.stem, "--out", str(run.folder), *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", PIPE_OF_PARENT: "stdin"}
    start = time.perf_counter()
    with open(run.folder / "output.txt", "w", encoding="utf-8") as output, \
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, env=environment) as process:
        try:
            run.status = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            raise
        finally:
            run.seconds = time.perf_counter() - start
    if (run.folder / checks.RESULTS).is_file():
        run.results = checks.read_results(run.folder / checks.RESULTS)
