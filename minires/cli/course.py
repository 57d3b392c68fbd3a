"""The commands `minires lesson`, `lessons` and `claims`: run lessons, list them, gather what they found."""
from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from minires.course import claims_page, lesson, lessons, report
from minires.course.processes import end_with_course
from minires.course.run import run_course
from minires.text.files import write_text

COURSE = "minires-output/course"  # where the results of all lessons go


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `lesson`, `lessons` and `claims` to the commands of `minires`."""
    one = commands.add_parser("lesson", help="run a lesson, or all: minires lesson plain_vs_residual")
    one.add_argument("name", metavar="NAME", help='its name or number, as minires lessons lists them, or "all"')
    one.set_defaults(run=lambda chosen: run_lesson(chosen.name, []))
    listing = commands.add_parser("lessons", help="list the lessons")
    listing.set_defaults(run=list_lessons)
    claims = commands.add_parser("claims", help="what the lessons found on every claim, after minires lesson all")
    claims.add_argument("folder", metavar="DIR", nargs="?", default=COURSE,
                        help="the course's folder (default: %(default)s)")
    claims.add_argument("--out", metavar="FILE", help="write the page (Markdown) here, not to the screen")
    claims.set_defaults(run=write_claims)


def run_lesson(name: str, arguments: Sequence[str]) -> int:
    """Run a lesson in this process, as if its file had been started, with its own options; "all" runs the course."""
    if name == "all":
        return run_all_lessons(arguments)
    path = str(lessons.find_lesson(name).path)
    end_with_course()
    outer = sys.argv
    sys.argv = [path, *arguments]
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv = outer
    return 0


def run_all_lessons(arguments: Sequence[str]) -> int:
    """Run every lesson, and write index.html, the report of all; 1 where one of them failed."""
    parser = lesson.options_parser("all", "Run every lesson, and write index.html, the report of all.", seeds=None)
    parser.set_defaults(out=COURSE)
    chosen = parser.parse_args(arguments)
    if chosen.break_at:
        parser.error("--break-at stops in one lesson: give its name in place of all")
    out = Path(chosen.out)
    only_out = argparse.ArgumentParser(add_help=False)
    only_out.add_argument("--out")
    runs = run_course(out, only_out.parse_known_args(arguments)[1])
    write_text(out / "index.html", report.course_report(runs))
    for run in runs:
        print(f"{run.lesson.number}  {run.lesson.name}: {run.outcome}, {run.seconds:.0f} s")
    print(f"\nThe report: {out / 'index.html'}")
    if any(run.status is None for run in runs):
        return 130
    return 0 if all(run.succeeded for run in runs) else 1


def write_claims(chosen: argparse.Namespace) -> int:
    """Write the claims page, made from the results of the lessons."""
    page = claims_page.claims_page(claims_page.read_course(chosen.folder))
    if chosen.out is None:
        print(page, end="")
    else:
        write_text(chosen.out, page)
        print(f"The claims: {chosen.out}")
    return 0


def list_lessons(chosen: argparse.Namespace) -> int:
    """Print number, name, time and question of every lesson."""
    for found in lessons.all_lessons():
        print(f"{found.number}  {found.name}  ({found.time})\n    {found.question}")
    print("\nRun one with: minires lesson NAME    (its options: minires lesson NAME --help)\n"
          "Run all with: minires lesson all")
    return 0
