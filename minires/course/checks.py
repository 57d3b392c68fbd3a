"""A lesson's checks: measured numbers beside what was predicted, as a table, as CSV, and as data for the claims page."""
from __future__ import annotations

import json
import math
import os
import statistics
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from minires.course.claims import POST, Claim, find_claim
from minires.errors import ArgumentError, DataError, file_errors
from minires.text.files import write_csv, write_text
from minires.text.numbers import range_text, short, whole
from minires.text.tables import text_table

if TYPE_CHECKING:
    from minires.course.lesson import Options

AGREES, CONTRADICTS, NOT_SEEN = "agrees", "contradicts", "not seen in this run"
RESULTS = "results.json"  # the name of the file that `Checks.finish` leaves in a lesson's folder
VERSION = 1  # of that file; one that states none is of the first
NUMBER = (int, float, str)  # infinities and NaN are texts
Results: TypeAlias = dict[str, Any]  # of a lesson, as `read_results` gives them


@dataclass(frozen=True)
class Check:
    """One row of a lesson's table: what was measured, and what a theory or a claim predicts for it."""

    what: str
    values: tuple[float, ...]  # the measured numbers: one a seed, or one that stands for all seeds
    low: float  # the range that is predicted
    high: float
    source: str  # of the prediction
    seeds: int | None = None  # how many the values rest on; 0 of what no seed touches; None: all of the lesson's
    claim: Claim | None = None
    contrary: tuple[float, ...] | None = None  # a claim's opposite: (low, high)
    expect: str | None = AGREES  # what --check insists on; None: nothing, the row only reports
    published: bool = False  # are the values somebody else's, printed beside ours?
    comment: str = ""  # a sentence that the row supports where it comes out as expected

    @property
    def measured(self) -> float:
        """The median of the values; NaN where one of them is."""
        return math.nan if any(math.isnan(value) for value in self.values) else statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """AGREES, CONTRADICTS, or NOT_SEEN: the run does not decide it.

        A theory's row is judged by the median of its values, and one that is not in its range contradicts it. A claim has
        to hold, or to fail, on every seed; anything else is NOT_SEEN.
        """
        if self.claim is None:
            return AGREES if self.low <= self.measured <= self.high else CONTRADICTS
        if all(self.low <= value <= self.high for value in self.values):
            return AGREES
        if self.contrary and all(self.contrary[0] <= value <= self.contrary[1] for value in self.values):
            return CONTRADICTS
        return NOT_SEEN

    @property
    def agrees(self) -> bool:
        """Is the verdict what the lesson expects? True for a row that only reports."""
        return self.expect is None or self.verdict == self.expect

    @property
    def predicted(self) -> str:
        """The predicted range as text."""
        return range_text(self.low, self.high)

    @property
    def measured_text(self) -> str:
        """The median, and the range of the seeds where there are several values."""
        text = whole if self.low == self.high else short
        if len(self.values) == 1:
            return text(self.measured)
        return f"{text(self.measured)} ({text(min(self.values))} to {text(max(self.values))})"

    @property
    def agrees_text(self) -> str:
        """The last column of the table: yes or NO for a theory, a claim's verdict, with ! where it is not the expected."""
        if self.claim is None:
            if self.expect is None:
                return "yes" if self.verdict == AGREES else "no"
            return "yes" if self.agrees else "NO"
        return self.verdict if self.agrees else f"{self.verdict} (!)"


class Checks(list[Check]):
    """A lesson's checks, printed as `measured | predicted | source | agrees?`."""

    def add(self, what: str, measured: ArrayLike, low: float, high: float, source: str, seeds: int | None = None,
            required: bool = True) -> None:
        """Add a row: `measured` is predicted to lie in [low, high], by `source`.

        Args:
            what: the quantity, in words.
            measured: a number, or one number for each seed; then the median is judged, and the range is shown too.
            low, high: the range, `math.inf` where it is open.
            source: a formula, or a paper with its section.
            seeds: how many seeds the number rests on: left out, one for each of several numbers, or all of the lesson's.
                0 for what no seed touches, such as a count.
            required: False where the row only reports, so that --check does not insist on it.
        """
        self.append(Check(what, _numbers(what, measured), low, high, source, _seeds(measured, seeds),
                          expect=AGREES if required else None))

    def claim(self, claim: str | Claim, what: str, measured: ArrayLike, low: float, high: float,
              contrary: Sequence[float] | None = None, expect: str | None = AGREES, seeds: int | None = None,
              published: bool = False, comment: str = "") -> None:
        """Add a row for a claim: if the claim is right, `measured` lies in [low, high].

        The verdict is "agrees" where it does so on every seed, "contradicts" where it lies in `contrary` on every seed, and
        "not seen in this run" otherwise.

        Args:
            claim: "S1" to "S15", a statement of the post, or a `Claim(text, source)` of the literature.
            what, measured, low, high, seeds: as in `add`; `low` and `high` are the claim's prediction, right or wrong.
            contrary: (low, high), the range that speaks against the claim; it may not overlap the other.
            expect: the verdict that --check insists on, "agrees", "contradicts" or "not seen in this run"; None for one
                that is only reported.
            published: True where the numbers are published ones, not measured here.
            comment: a sentence that this row supports, such as what is right in place of a wrong claim. The claims page
                shows it where the verdict is the expected one.

        Raises:
            UnknownNameError: the post has no such statement.
            ArgumentError: the two ranges overlap, a verdict is expected that cannot come, or a comment has no verdict to
                rest on.
        """
        claim = find_claim(claim)
        if contrary is not None and not (contrary[1] < low or contrary[0] > high):
            raise ArgumentError(f"claim {what!r}: [{low}, {high}] and the contrary range {list(contrary)} overlap")
        if expect not in (AGREES, CONTRADICTS, NOT_SEEN, None):
            raise ArgumentError(f"claim {what!r}: cannot expect {expect!r}: expected {AGREES!r}, {CONTRADICTS!r}, "
                                f"{NOT_SEEN!r} or None")
        if expect == CONTRADICTS and contrary is None:
            raise ArgumentError(f"claim {what!r}: without a contrary range nothing can contradict it")
        if comment and expect is None:
            raise ArgumentError(f"claim {what!r}: a comment needs an expected verdict to rest on")
        self.append(Check(what, _numbers(what, measured), low, high, claim.source, _seeds(measured, seeds), claim,
                          tuple(contrary) if contrary else None, expect, published, comment))

    def table(self) -> str:
        """The table as text, columns aligned."""
        head = ("what", "measured", "predicted", "source", "agrees?")
        rows = [(check.what, check.measured_text + (" (published)" if check.published else ""), check.predicted,
                 check.source, check.agrees_text) for check in self]
        return "\n".join(text_table(rows, head, between=" | "))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as CSV: what, measured, low, high, source, verdict, agrees."""
        head = ["what", "measured", "low", "high", "source", "verdict", "agrees"]
        rows = [[check.what, repr(check.measured), check.low, check.high, check.source, check.verdict, check.agrees]
                for check in self]
        write_csv(path, head, rows, "cannot write the checks")

    def finish(self, options: Options, take_home: Iterable[str] = ()) -> None:
        """Print the table, keep it as checks.csv and results.json, say what to take home and where the results lie.

        Args:
            options: of `lesson.options()`. With --check the program ends with status 1 where a row is not as expected, or
                there is none.
            take_home: sentences that all rows together support. Where a row is not as expected, it is named instead: a
                lesson never says more than its own numbers do. After a --tiny run nothing is said.
        """
        wrong = [check.what for check in self if not check.agrees]
        said = [] if wrong or not self or options.tiny else list(take_home)
        self.to_csv(options.out / "checks.csv")
        self.to_json(options, said)
        print(self.table())
        print()
        if options.tiny:
            print("This was a tiny run, to see that the lesson works: its numbers prove nothing.")
        elif wrong:
            print("Not as predicted in this run: " + "; ".join(wrong) + ".")
        for sentence in said:
            print(textwrap.fill(sentence, width=100))
        print(f"\nFigures and numbers are in {options.out}")
        if options.breakpoint is not None:
            options.breakpoint.__exit__(None, None, None)  # it says so where it never stopped
        if options.check and (wrong or not self):
            sys.exit(f"{len(wrong)} of {len(self)} checks disagree: {'; '.join(wrong) or 'there was nothing to check'}")

    def to_json(self, options: Options, take_home: Iterable[str] = ()) -> None:
        """Write options, figures and rows as results.json: what the report and the claims page are made of."""
        results = {"version": VERSION, "lesson": options.lesson, "seeds": options.seeds, "full": options.full,
                   "tiny": options.tiny,
                   "device": getattr(options, "device", None) or "cpu", "figures": options.figures,
                   "take_home": list(take_home), "rows": [_to_dict(check, len(options.seeds)) for check in self]}
        text = json.dumps(results, ensure_ascii=False, indent=1, allow_nan=False)
        write_text(options.out / RESULTS, text + "\n", "cannot write the results")


def read_results(path: str | os.PathLike[str]) -> Results:
    """What a lesson left in results.json, its rows as `Check`s: verdicts are made anew from the numbers, not read.

    Raises:
        FileError: it cannot be read.
        DataError: it is not a lesson's results.
    """
    try:
        with file_errors("cannot read the results", path):
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        if entry(found, "version", int, VERSION) > VERSION:
            raise ValueError(f"they are of version {found['version']}, and this minires reads up to {VERSION}")
        return _results(found)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise DataError(f"{path}: not the results of a lesson ({error}): run the lesson again") from error


def _to_dict(check, all_seeds):
    """A row for results.json, with its verdict for people; infinities and NaN as text, as JSON has no word for them."""
    claim = check.claim and {"id": check.claim.id, "text": check.claim.text, "source": check.claim.source}
    return {"what": check.what, "values": [_to_json(value) for value in check.values], "measured": _to_json(check.measured),
            "low": _to_json(check.low), "high": _to_json(check.high),
            "contrary": check.contrary and [_to_json(value) for value in check.contrary], "source": check.source,
            "seeds": all_seeds if check.seeds is None else check.seeds, "published": check.published, "claim": claim,
            "expect": check.expect, "verdict": check.verdict, "comment": check.comment}


def entry(found: Any, name: str, kind: type | tuple[type, ...], default: Any = MISSING) -> Any:
    """What stands under a name in an object of JSON.

    Args:
        kind: what it has to be; True is no number.
        default: what to return where there is none.

    Raises:
        TypeError: this is no object, or the entry is of another kind.
        ValueError: there is none, and no default.
    """
    if not isinstance(found, dict):
        raise TypeError(f"expected {name!r} in an object, got {type(found).__name__}")
    if name not in found:
        if default is MISSING:
            raise ValueError(f"{name!r} is missing")
        return default
    value = found[name]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{name!r} is a {type(value).__name__}")
    return value


def _entries(found, name, kind, default=MISSING):
    """A list, each member of which is of this kind."""
    values = entry(found, name, list, default)
    return [entry({name: value}, name, kind) for value in values]


def _results(found):
    """The results of a lesson, of what stands in results.json."""
    return {"lesson": entry(found, "lesson", str), "seeds": _entries(found, "seeds", int),
            "full": entry(found, "full", bool), "tiny": entry(found, "tiny", bool),
            "device": entry(found, "device", str, "cpu"),
            "figures": [{"file": _file_name(figure), "caption": entry(figure, "caption", str, "")}
                        for figure in _entries(found, "figures", dict)],
            "take_home": _entries(found, "take_home", str),
            "rows": Checks(_from_dict(row) for row in _entries(found, "rows", dict))}


def _file_name(figure):
    """The name of a figure's file, which lies beside the results."""
    name = entry(figure, "file", str)
    if Path(name).name != name:
        raise ValueError(f"'file' is {name!r}, expected the name of a file beside it")
    return name


def _from_dict(row):
    """The `Check` of a row of results.json."""
    values = tuple(float(value) for value in _entries(row, "values", NUMBER))
    if not values:
        raise ValueError("'values' is empty")
    contrary = _entries(row, "contrary", NUMBER, []) if row.get("contrary") is not None else []
    if len(contrary) not in (0, 2):
        raise ValueError(f"'contrary' holds {len(contrary)} numbers, expected two")
    expect = entry(row, "expect", (str, NoneType), AGREES)
    if expect not in (AGREES, CONTRADICTS, NOT_SEEN, None):
        raise ValueError(f"'expect' is {expect!r}")
    seeds = entry(row, "seeds", (int, NoneType), None)
    return Check(entry(row, "what", str), values, float(entry(row, "low", NUMBER)), float(entry(row, "high", NUMBER)),
                 entry(row, "source", str), seeds, _claim(entry(row, "claim", (dict, NoneType), None)),
                 tuple(map(float, contrary)) or None, expect, entry(row, "published", bool, False),
                 entry(row, "comment", str, ""))


def _claim(found):
    """The `Claim` of a row, None where it is of a theory."""
    if found is None:
        return None
    key = entry(found, "id", (str, NoneType), None)
    if key and key not in POST:
        raise ValueError(f"the post has no statement {key!r}")
    return Claim(entry(found, "text", str), entry(found, "source", str), key or "")


def _to_json(value):
    """A float, or its name where JSON has no number for it: float() reads both."""
    return float(value) if math.isfinite(value) else str(float(value))


def _numbers(what, measured):
    """The measured number, or numbers, as a tuple of floats."""
    values = tuple(float(value) for value in np.ravel(measured))
    if not values:
        raise ArgumentError(f"check {what!r}: got no number")
    return values


def _seeds(measured, seeds):
    """How many seeds a row rests on; None: all of the lesson's."""
    return len(measured) if seeds is None and np.ndim(measured) else seeds


