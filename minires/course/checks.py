"""A lesson's checks: measured numbers beside what was predicted, as a table, as CSV, and as data for the claims page."""
from __future__ import annotations

import json
import math
import os
import statistics
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from minires.course.claims import Claim, find_claim
from minires.errors import ArgumentError, DataError, file_errors
from minires.text.files import write_csv, write_text
from minires.text.numbers import range_text, short, whole
from minires.text.tables import text_table

if TYPE_CHECKING:
    from minires.course.lesson import Options

AGREES, CONTRADICTS, NOT_SEEN = "agrees", "contradicts", "not seen in this run"
RESULTS = "results.json"  # the name of the file that `Checks.finish` leaves in a lesson's folder
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
        results = {"lesson": options.lesson, "seeds": options.seeds, "full": options.full, "tiny": options.tiny,
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
            results = json.loads(Path(path).read_text(encoding="utf-8"))
        missing = {"lesson", "seeds", "full", "tiny", "figures", "take_home", "rows"} - set(results)
        if missing:
            raise KeyError(*sorted(missing))
        results["rows"] = Checks(_from_dict(row) for row in results["rows"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the results of a lesson ({error!r}): run the lesson again") from error
    return results


def _to_dict(check, all_seeds):
    """A row for results.json, with its verdict for people; infinities and NaN as text, as JSON has no word for them."""
    claim = check.claim and {"id": check.claim.id, "text": check.claim.text, "source": check.claim.source}
    return {"what": check.what, "values": [_to_json(value) for value in check.values], "measured": _to_json(check.measured),
            "low": _to_json(check.low), "high": _to_json(check.high),
            "contrary": check.contrary and [_to_json(value) for value in check.contrary], "source": check.source,
            "seeds": all_seeds if check.seeds is None else check.seeds, "published": check.published, "claim": claim,
            "expect": check.expect, "verdict": check.verdict, "comment": check.comment}


def _from_dict(row):
    """The `Check` of a row of results.json."""
    claim = row["claim"] and Claim(row["claim"]["text"], row["claim"]["source"], row["claim"]["id"])
    contrary = row["contrary"] and tuple(float(value) for value in row["contrary"])
    return Check(row["what"], tuple(float(value) for value in row["values"]), float(row["low"]), float(row["high"]),
                 row["source"], row["seeds"], claim, contrary, row["expect"], row["published"], row["comment"])


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


