"""The lessons as a course: where they are, what their heads say, and running them all, each in a process of its own."""
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

import minires
from minires.arguments import nearest
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
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    folder = Path(minires.__file__).resolve().parent.parent / "lessons"
    if not folder.is_dir():
        raise FileError(f"the lessons are missing: neither minires.lessons nor {str(folder)!r}: install minires again")
    return folder


def all_lessons() -> list[Lesson]:
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
    names = [lesson.name for lesson in lessons]
    raise UnknownNameError(f"unknown lesson {name!r}.{nearest(name, [*names, 'all'])} Known are {', '.join(names)}, and "
                           '"all" for the whole course')


def read_lesson(path: Path) -> Lesson:
    """A lesson's title and fields, from the docstring at the head of its file, which is not run."""
    text = path.read_text(encoding="utf-8")
    title = re.search(r'\A"""\s*(.+)', text)
    fields = dict(re.findall(r"^:(Question|Time|Before this): (.+(?:\n {4}.+)*)", text, re.MULTILINE))
    question, minutes, before = (" ".join(fields.get(key, "").split()) for key in ("Question", "Time", "Before this"))
    number, _, name = path.stem.partition("_")
    return Lesson(number, name, path, title.group(1) if title else name, question, minutes, before)


