"""What the lessons share: their options, progress on a terminal, the table of checks, the folder of results."""
import argparse
import csv
import math
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

from minires.errors import FileError


def options(doc: str, seeds: int = 5, argv=None) -> argparse.Namespace:
    """The command-line options of a lesson, with its output folder made.

    Args:
        doc: the lesson's docstring; its first line is shown by --help.
        seeds: how many seeds the lesson runs by default.
        argv: the arguments, sys.argv's where None.

    Returns:
        out: a `Path`, the folder for figures and CSV files; seed: the first seed; seeds: a list of seeds;
        full: run larger; check: end with status 1 where a check disagrees.

    Raises:
        FileError: the folder cannot be made or written to.
    """
    name = lesson_name(sys.argv[0])
    title = doc.strip().splitlines()[0]
    parser = argparse.ArgumentParser(prog=f"minires lesson {name}", description=title)
    parser.add_argument("--out", metavar="DIR", default=f"minires-output/{name}",
                        help="folder for figures and CSV files (default: %(default)s)")
    parser.add_argument("--seed", type=_count(0), default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--seeds", type=_count(1), default=seeds, help="how many seeds (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="run larger: twice the seeds, and deeper nets in some lessons")
    parser.add_argument("--check", action="store_true", help="end with status 1 where a measurement disagrees")
    chosen = parser.parse_args(argv)
    count = chosen.seeds * 2 if chosen.full else chosen.seeds
    chosen.seeds = list(range(chosen.seed, chosen.seed + count))
    chosen.out = output_folder(chosen.out)
    print(f"{title}\n")
    return chosen


def lesson_name(path) -> str:
    """The name by which a lesson is called: its file's, without number and suffix."""
    return Path(path).stem.lstrip("0123456789").lstrip("_")


def output_folder(path) -> Path:
    """The folder at `path`, made if need be, and proven to be writable before minutes are spent on results.

    Raises:
        FileError: it cannot be made or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".minires-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FileError(f"cannot write results to the folder {str(path)!r}: {error.strerror or error}. "
                        "Name another with --out DIR") from error
    return folder


def save_figure(figure, path):
    """Write a matplotlib figure as PNG.

    Raises:
        FileError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise FileError(f"cannot write the figure {str(path)!r}: {error.strerror or error}") from error


def progress(items, label: str):
    """The items, with a line that counts them on a terminal; silent in a file, a test or a notebook."""
    items = list(items)
    shown = sys.stderr is not None and sys.stderr.isatty()
    start = time.perf_counter()
    for i, item in enumerate(items):
        if shown:
            elapsed = time.perf_counter() - start
            print(f"\r{label}: {i}/{len(items)}, {elapsed:.0f} s ", end="", file=sys.stderr, flush=True)
        yield item
    if shown:
        seconds = time.perf_counter() - start
        print(f"\r{label}: {len(items)}/{len(items)}, {seconds:.0f} s ", file=sys.stderr, flush=True)


@dataclass
class Check:
    """One row of a lesson's table: a measured number, and the range that was predicted for it."""

    what: str
    measured: float
    low: float
    high: float
    source: str

    @property
    def agrees(self) -> bool:
        """Does the measurement lie in the predicted range? NaN never does."""
        return self.low <= self.measured <= self.high

    @property
    def predicted(self) -> str:
        """The range as text."""
        if self.low == self.high:
            return f"exactly {_short(self.low)}"
        if math.isinf(self.high):
            return f"at least {_short(self.low)}"
        if math.isinf(self.low) or self.low == 0:
            return f"at most {_short(self.high)}"
        return f"{_short(self.low)} to {_short(self.high)}"


class Checks(list):
    """A lesson's checks, printed as `measured | predicted | source | agrees?`."""

    def add(self, what: str, measured: float, low: float, high: float, source: str):
        """Add a row: `measured` is predicted to lie in [low, high], by `source`."""
        self.append(Check(what, float(measured), low, high, source))

    def table(self) -> str:
        """The table as text, columns aligned."""
        head = ("what", "measured", "predicted", "source", "agrees?")
        rows = [(c.what, _short(c.measured), c.predicted, c.source, "yes" if c.agrees else "NO") for c in self]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                 for row in [head, *rows]]
        return "\n".join([lines[0], "-+-".join("-" * width for width in widths), *lines[1:]])

    def to_csv(self, path):
        """Write the rows as CSV: what, measured, low, high, source, agrees."""
        try:
            with open(path, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["what", "measured", "low", "high", "source", "agrees"])
                writer.writerows([c.what, repr(c.measured), c.low, c.high, c.source, c.agrees] for c in self)
        except OSError as error:
            raise FileError(f"cannot write the checks {str(path)!r}: {error.strerror or error}") from error

    def finish(self, options, take_home=()):
        """Print the table, keep it as checks.csv, say what to take home and where the results lie.

        Args:
            options: of `options()`. With --check the program ends with status 1 where a row disagrees, or there is none.
            take_home: sentences that all rows together support. Where a row disagrees, it is named instead: a lesson
                never says more than its own numbers do.
        """
        self.to_csv(options.out / "checks.csv")
        print(self.table())
        wrong = [check.what for check in self if not check.agrees]
        print()
        if wrong:
            print("Not as predicted in this run: " + "; ".join(wrong) + ".")
        else:
            for sentence in take_home:
                print(textwrap.fill(sentence, width=100))
        print(f"\nFigures and numbers are in {options.out}")
        if options.check and (wrong or not self):
            sys.exit(f"{len(wrong)} of {len(self)} checks disagree: {'; '.join(wrong) or 'there was nothing to check'}")


def _short(value: float) -> str:
    """Three digits, in the form a reader expects: 0, 2.35, 3000, 7.1e-11, 3e7."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def _count(least: int):
    """An argparse type: an integer of at least `least`."""
    def parse(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, got {value}")
        return value
    parse.__name__ = "integer"
    return parse
