"""Files and folders of results."""
from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minires.arguments import path_of
from minires.errors import file_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ELSEWHERE = "Give the path of a file in a folder that exists and can be written to"


def output_folder(path: str | os.PathLike[str]) -> Path:
    """The folder at `path`, made if need be, and proven to be writable before minutes are spent on results.

    Raises:
        FileError: it cannot be made or written to.
    """
    folder = path_of("the folder of results", path)
    with file_errors("cannot write results to the folder", path, "Name another with --out DIR"):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".minires-write-test"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process, which writes here too, may have been faster
    return folder


def write_text(path: str | os.PathLike[str], text: str, attempt: str = "cannot write") -> None:
    """Write a text as UTF-8.

    Args:
        attempt: how the message begins, up to the path.

    Raises:
        FileError: the file cannot be written.
    """
    path = path_of(attempt, path)
    with file_errors(attempt, path, ELSEWHERE):
        path.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(path: str | os.PathLike[str], head: Iterable[Any], rows: Iterable[Iterable[Any]],
              attempt: str = "cannot write") -> None:
    """Write a table as CSV: the titles of its columns, then a line for each row.

    Raises:
        FileError: the file cannot be written.
    """
    path = path_of(attempt, path)  # not a number: of those, `open` writes to the standard output, and closes it
    with file_errors(attempt, path, ELSEWHERE), _open_csv(path, "w") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


def append_csv(path: str | os.PathLike[str], rows: Iterable[Iterable[Any]]) -> None:
    """Add rows to a table that `write_csv` wrote.

    Raises:
        FileError: the file cannot be written.
    """
    path = path_of("cannot write", path)
    with file_errors("cannot write", path, ELSEWHERE), _open_csv(path, "a") as file:
        csv.writer(file).writerows(rows)


def _open_csv(path, mode):
    """Half of a surrogate pair, which UTF-8 has no bytes for, is written as Python writes it: "\\ud800"."""
    return open(path, mode, encoding="utf-8", errors="backslashreplace", newline="")


def write_figure(path: str | os.PathLike[str], figure: Figure) -> None:
    """Write a matplotlib figure as PNG.

    Raises:
        FileError: the file cannot be written.
    """
    path = path_of("cannot write the figure", path)
    with file_errors("cannot write the figure", path, ELSEWHERE):
        figure.savefig(path, dpi=130)
