"""The command `minires`: run lessons, list them, gather what they found, print the table of a net's layers."""
import argparse
import bdb
import os
import runpy
import sys
from pathlib import Path

import minires
from minires.cli import doctor
from minires.cli import draw as draw_command
from minires.cli import train as train_command
from minires.course import claims_page, lesson, lessons, report
from minires.course.run import run_course
from minires.errors import MiniresError
from minires.text.files import write_text
from minires.text.terminal import accept_any_text

COURSE = "minires-output/course"  # where the results of all lessons go


def main(argv=None) -> int:
    """Run the command line; returns the exit status. A `MiniresError` becomes one line, not a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    accept_any_text()
    try:
        if arguments[:1] == ["lesson"] and len(arguments) > 1 and not arguments[1].startswith("-"):
            return run_lesson(arguments[1], arguments[2:])  # the rest belongs to the lesson's own options
        chosen = parser.parse_args(arguments)
        return chosen.run(chosen)
    except MiniresError as error:
        print(f"minires: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nminires: interrupted", file=sys.stderr)
        return 130
    except bdb.BdbQuit:
        print("\nminires: ended in the debugger", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def run_lesson(name: str, arguments) -> int:
    """Run a lesson in this process, as if its file had been started, with its own options; "all" runs the course."""
    if name == "all":
        return run_all_lessons(arguments)
    path = str(lessons.find_lesson(name).path)
    outer = sys.argv
    sys.argv = [path, *arguments]
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv = outer
    return 0


def run_all_lessons(arguments) -> int:
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


def write_claims(chosen) -> int:
    """Write the claims page, made from the results of the lessons."""
    page = claims_page.claims_page(claims_page.read_course(chosen.folder))
    if chosen.out is None:
        print(page, end="")
    else:
        write_text(chosen.out, page)
        print(f"The claims: {chosen.out}")
    return 0


def list_lessons(chosen) -> int:
    """Print number, name, time and question of every lesson."""
    for found in lessons.all_lessons():
        print(f"{found.number}  {found.name}  ({found.time})\n    {found.question}")
    print("\nRun one with: minires lesson NAME    (its options: minires lesson NAME --help)\n"
          "Run all with: minires lesson all")
    return 0


def print_summary(chosen) -> int:
    """Print the layers of a named net, with output shapes, parameters and multiply-adds."""
    model = minires.models.make(chosen.model, init=minires.nn.init.zeros_)
    size = chosen.size or (224 if model.maxpool is not None else 32)
    print(minires.summary(model, (1, 3, size, size)))
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="minires", description="See a gradient: lessons on plain and residual nets.")
    parser.add_argument("--version", action="version", version=f"minires {minires.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser("lesson", help="run a lesson, or all: minires lesson plain_vs_residual")
    run.add_argument("name", metavar="NAME", help='its name or number, as minires lessons lists them, or "all"')
    run.set_defaults(run=lambda chosen: run_lesson(chosen.name, []))
    listing = commands.add_parser("lessons", help="list the lessons")
    listing.set_defaults(run=list_lessons)
    claims = commands.add_parser("claims", help="what the lessons found on every claim, after minires lesson all")
    claims.add_argument("folder", metavar="DIR", nargs="?", default=COURSE,
                        help="the course's folder (default: %(default)s)")
    claims.add_argument("--out", metavar="FILE", help="write the page (Markdown) here, not to the screen")
    claims.set_defaults(run=write_claims)
    summary = commands.add_parser("summary", help="print the layers of a net: minires summary resnet20")
    summary.add_argument("model", metavar="MODEL", help=f"one of {', '.join(minires.models.NAMED)}")
    summary.add_argument("--size", type=_positive, help="height and width of the images (default: 32, or 224 for ImageNet)")
    summary.set_defaults(run=print_summary)
    draw_command.add_command(commands)
    train = commands.add_parser("train", help="train a net: minires train resnet20 --data cifar10 --epochs 10")
    train_command.add_options(train)
    train.set_defaults(run=train_command.run)
    checkup = commands.add_parser("doctor", help="what is installed here, and what a GPU would need")
    checkup.set_defaults(run=doctor.run)
    return parser


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)
