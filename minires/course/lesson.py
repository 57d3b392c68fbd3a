"""What the lessons share: their options, progress on a terminal, the table of checks, the folder of results."""
from __future__ import annotations

import argparse
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from minires.arrays.backend import usable_device
from minires.course.checks import RESULTS, Check, Checks
from minires.course.claims import Claim
from minires.debug.breakpoints import break_at
from minires.text.files import output_folder, write_figure
from minires.text.terminal import accept_any_text, progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Check", "Checks", "Claim", "Options", "accept_any_text", "file_name", "lesson_name", "options",
           "output_folder", "progress", "save_figure"]


NOTEBOOK = "notebook"  # what a lesson is called there, where it does not know its file

MOST = 10**6  # seeds: no lesson ends with more

T = TypeVar("T")


class Options(argparse.Namespace):
    """The options of a run; see `options()`."""

    lesson: str
    out: Path
    seed: int
    seeds: list[int]
    full: bool
    tiny: bool
    check: bool
    device: str
    figures: list[dict[str, str]]
    breakpoint: break_at | None = None

    def pick(self, *, tiny: T, default: T, full: T) -> T:
        """The one of three sizes (a depth, a list of widths, a number of steps) that this run is to have."""
        return tiny if self.tiny else full if self.full else default

    @property
    def processes(self) -> int | None:
        """How many processes `processes.in_processes` may use: None, one a core; 1 with a GPU, --break-at or --tiny."""
        return 1 if self.tiny or self.breakpoint is not None or self.device != "cpu" else None


def options(doc: str | None, seeds: int = 5, argv: Sequence[str] | None = None) -> Options:
    """The command-line options of a lesson, with its output folder made.

    Args:
        doc: the lesson's docstring; its first line is shown by --help, the lesson's name where there is none.
        seeds: how many seeds the lesson runs by default: twice as many with --full, at most two with --tiny.
        argv: the arguments, sys.argv's where None; in a notebook there are none.

    Returns:
        lesson: the name of the lesson's file; out: a `Path`, the folder for figures and CSV files; seed: the first seed;
        seeds: a list of seeds; full: run larger; tiny: run so small that the numbers prove nothing; check: end with
        status 1 where a check disagrees; device: "cpu" or "cuda:0", where nets and batches are to go; breakpoint: the
        `debug.break_at` of --break-at, or None; figures: what `save_figure` has written so far. And `pick(tiny=…,
        default=…, full=…)`, the size for this run.

    Raises:
        FileError: the folder cannot be made or written to.
        DeviceError: the device of --device cannot be used; the message says why.
        ArgumentError: --break-at names nothing.
    """
    path = Path(sys.argv[0])
    if path.stem == "ipykernel_launcher":  # a notebook, whose command line is the kernel's
        path, argv, doc = Path(NOTEBOOK), [], "A minires lesson"
    title = (doc or "").strip().partition("\n")[0] or lesson_name(path)  # sphinx-gallery and python -OO take it away
    parser = options_parser(lesson_name(path), title, seeds)
    accept_any_text()
    given = parser.parse_args(argv)
    if given.tiny and given.check:
        parser.error("--check needs more than a --tiny run")
    chosen = Options(**vars(given))
    count = given.seeds or seeds
    count = chosen.pick(tiny=min(count, 2), default=count, full=2 * count)
    chosen.seeds = list(range(chosen.seed, chosen.seed + count))
    chosen.device = usable_device(chosen.device)
    chosen.out = output_folder(chosen.out)
    (chosen.out / RESULTS).unlink(missing_ok=True)  # an earlier run's: this one may end before it has results
    chosen.lesson = path.stem
    chosen.figures = []
    if given.break_at is not None:
        chosen.breakpoint = break_at(given.break_at).__enter__()  # `Checks.finish` ends it
    print(f"{title}\n")
    return chosen


def options_parser(name: str, title: str, seeds: int | None) -> argparse.ArgumentParser:
    """The parser of a lesson's options, with the lesson's name, title and usual number of seeds, None for all lessons."""
    parser = argparse.ArgumentParser(prog=f"minires lesson {name}", description=title)
    parser.add_argument("--out", metavar="DIR", default=f"minires-output/{name}",
                        help="folder for figures and CSV files (default: %(default)s)")
    parser.add_argument("--seed", type=_count(0), default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--seeds", type=_count(1), help=f"how many seeds (default: {seeds or 'as the lesson says'})")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="run larger: twice the seeds, and deeper nets in some lessons")
    size.add_argument("--tiny", action="store_true", help="run in seconds, to see that it works: proves nothing")
    parser.add_argument("--check", action="store_true", help="end with status 1 where a measurement disagrees")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1: where the nets run (default: %(default)s)")
    parser.add_argument("--break-at", metavar="LAYER",
                        help="open the debugger in the backward of this layer (layer3.1.conv2), or of a type of op (Conv2d)")
    return parser


def lesson_name(path: str | os.PathLike[str]) -> str:
    """The name by which a lesson is called: its file's, without number and suffix."""
    return Path(path).stem.lstrip("0123456789").lstrip("_")


def file_name(text: str) -> str:
    """What stands for a text in the name of a file, on every system: "N(0, 0.01²)" as "N-0-0.01-2"."""
    text = re.sub("(?=[²³¹⁰-⁹])", "-", text)  # or 0.01² would be 0.012
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^A-Za-z0-9.]+", "-", plain).strip("-.")


def save_figure(figure: Figure, options: Options, name: str) -> None:
    """Write a matplotlib figure as PNG into the lesson's folder; its title is kept as the caption for the report.

    Args:
        figure: the figure; its suptitle, or the title of its first Axes, is the sentence that it proves.
        options: of `options()`.
        name: the file's name: "by_depth.png".

    Raises:
        FileError: the file cannot be written.
    """
    path = options.out / name
    write_figure(path, figure)
    caption = figure.get_suptitle() or (figure.axes[0].get_title() if figure.axes else "")
    options.figures.append({"file": name, "caption": " ".join(caption.split())})
    if options.lesson == NOTEBOOK:
        from IPython.display import Image, display  # it is there, as a notebook is running
        display(Image(filename=str(path)))  # the figure itself may be closed before the cell ends


def _count(least: int):
    """An argparse type: an integer of at least `least`."""
    def parse(text):
        value = int(text)
        if not least <= value <= MOST:
            raise argparse.ArgumentTypeError(f"expected an integer from {least} to {MOST:,}, got {value}")
        return value
    parse.__name__ = "integer"
    return parse
