"""The command `minires`: run a lesson, list the lessons, print the table of a net's layers."""
import argparse
import importlib.util
import os
import re
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import minires
from minires.errors import FileError, MiniresError, UnknownNameError


class Lesson(NamedTuple):
    """A lesson, as its file and the head of its docstring describe it."""

    number: str  # "07"
    name: str  # "plain_vs_residual"
    path: Path
    title: str
    question: str
    time: str


def main(argv=None) -> int:
    """Run the command line; returns the exit status. A `MiniresError` becomes one line, not a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
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
    except BrokenPipeError:  # the reader, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def run_lesson(name: str, arguments) -> int:
    """Run a lesson in this process, as if its file had been started, with its own options."""
    lesson = find_lesson(name)
    outer = sys.argv
    sys.argv = [str(lesson.path), *arguments]
    try:
        runpy.run_path(str(lesson.path), run_name="__main__")
    finally:
        sys.argv = outer
    return 0


def find_lesson(name: str) -> Lesson:
    """The lesson of this name or number.

    Raises:
        UnknownNameError: there is none; the message lists those that there are.
    """
    lessons = all_lessons()
    for lesson in lessons:
        if name in (lesson.name, lesson.path.stem, lesson.number, lesson.number.lstrip("0")):
            return lesson
    raise UnknownNameError(f"unknown lesson {name!r}. Known are {', '.join(lesson.name for lesson in lessons)}")


def all_lessons() -> list:
    """Every lesson, in order of its number."""
    paths = sorted(path for path in lessons_folder().glob("[0-9]*_*.py"))
    return [read_lesson(path) for path in paths]


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


def read_lesson(path: Path) -> Lesson:
    """A lesson's title and fields, from the docstring at the head of its file, which is not run."""
    text = path.read_text(encoding="utf-8")
    title = re.search(r'\A"""\s*(.+)', text)
    fields = dict(re.findall(r"^:(Question|Time): (.+(?:\n {4}.+)*)", text, re.MULTILINE))
    number, _, name = path.stem.partition("_")
    return Lesson(number, name, path, title.group(1) if title else name,
                  " ".join(fields.get("Question", "").split()), " ".join(fields.get("Time", "").split()))


def list_lessons(chosen) -> int:
    """Print number, name, time and question of every lesson."""
    for lesson in all_lessons():
        print(f"{lesson.number}  {lesson.name}  ({lesson.time})\n    {lesson.question}")
    print("\nRun one with: minires lesson NAME    (its options: minires lesson NAME --help)")
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
    lesson = commands.add_parser("lesson", help="run a lesson: minires lesson plain_vs_residual")
    lesson.add_argument("name", metavar="NAME", help="its name or number; minires lessons lists them")
    lesson.set_defaults(run=lambda chosen: run_lesson(chosen.name, []))
    lessons = commands.add_parser("lessons", help="list the lessons")
    lessons.set_defaults(run=list_lessons)
    summary = commands.add_parser("summary", help="print the layers of a net: minires summary resnet20")
    summary.add_argument("model", metavar="MODEL", help=f"one of {', '.join(minires.models.NAMED)}")
    summary.add_argument("--size", type=_positive, help="height and width of the images (default: 32, or 224 for ImageNet)")
    summary.set_defaults(run=print_summary)
    return parser


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)
