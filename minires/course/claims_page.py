"""The claims page: what the lessons found on every claim, as Markdown."""
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import minires
from minires.course import checks
from minires.course.checks import AGREES, CONTRADICTS, NOT_SEEN, Check, Results
from minires.course.claims import POST, Claim
from minires.errors import DataError, FileError
from minires.text.tables import markdown_table, markdown_text

HEAD = ("what", "measured", "predicted", "source", "seeds", "agrees?")
Found: TypeAlias = list[tuple[Results, Check]]  # the rows that speak of one claim, each with the lesson it comes from


def read_course(folder: str | os.PathLike[str]) -> list[Results]:
    """The results of the lessons in the folders of a course, in the lessons' order.

    Raises:
        FileError: there are none.
        DataError: one is of a tiny run, whose numbers prove nothing, or damaged.
    """
    paths = sorted(Path(folder).glob(f"*/{checks.RESULTS}"))
    if not paths:
        raise FileError(f"no lesson's results in {str(folder)!r}: run `minires lesson all --out {folder}` first")
    results = [checks.read_results(path) for path in paths]
    tiny = [result["lesson"] for result in results if result["tiny"]]
    if tiny:
        raise DataError(f"the results of {', '.join(tiny)} are of a tiny run, which proves nothing: run without --tiny")
    return sorted(results, key=lambda result: result["lesson"])


def claims_page(results: Sequence[Results]) -> str:
    """The claims of the post and of the literature with what the lessons measured, as Markdown.

    Args:
        results: of the lessons, see `read_course`.
    """
    post, literature = rows_by_claim(results)
    lines = ["# Every claim, measured", "",
             "Made from the results of the lessons by `minires claims`; do not edit it by hand. A claim *agrees* or is",
             "*contradicted* where all seeds of the run say so; otherwise it is *not seen in this run*, which does not mean",
             "that it is wrong. Where numbers are published ones and not measured here, the page says so.", "",
             f"minires {minires.__version__}; {runs_text(results)}.", "",
             "## The statements of the post", "",
             "A Japanese introduction to ResNets of December 2016, from whose explanation minires grew.", ""]
    lines += _table(("", "the post says", "verdict", "lessons"),
                    [(key, claim.text, overall_verdict(post[key]), lessons_of(post[key])) for key, claim in POST.items()])
    for key, claim in POST.items():
        if post[key]:
            lines += ["", f"### {key}", "", f"> {claim.text}", "", *_claim_details(post[key])]
    lines += ["", "## Claims of the literature", ""]
    for claim, found in literature.items():
        lines += [f"### {markdown_text(claim.source)}", "", f"> {claim.text}", "",
                  f"Verdict: {overall_verdict(found)}.", "", *_claim_details(found), ""]
    lines += ["## Theory, lesson by lesson", ""]
    for result in results:
        rows = [row for row in result["rows"] if row.claim is None]
        if rows:
            lines += [f"### Lesson {_number(result)}, {_name(result)}", "",
                      *_table(HEAD, [row_cells(row) for row in rows]), ""]
    return "\n".join(lines).rstrip() + "\n"


def overall_verdict(found: Found) -> str:
    """What several rows say of one claim together."""
    if not found:
        return "not measured in this run"
    rows = [row for _, row in found]
    count = Counter(row.verdict for row in rows)
    if len(count) == 1:
        verdict = rows[0].verdict
    else:
        words = {AGREES: "agrees", CONTRADICTS: "contradicted", NOT_SEEN: "not seen"}
        verdict = "in part: " + ", ".join(f"{words[key]} in {count[key]}" for key in words if count[key]) + " rows"
    verdict = {CONTRADICTS: "contradicted"}.get(verdict, verdict)
    if all(row.published for row in rows):
        verdict += " (by published numbers)"
    return verdict


def rows_by_claim(results: Sequence[Results]) -> tuple[dict[str, Found], dict[Claim, Found]]:
    """({post's id: what was found}, {claim of the literature: what was found})."""
    post: dict[str, Found] = {key: [] for key in POST}
    literature: dict[Claim, Found] = {}
    for result in results:
        for row in result["rows"]:
            if row.claim is not None and row.claim.id:
                post[row.claim.id].append((result, row))
            elif row.claim is not None:
                literature.setdefault(row.claim, []).append((result, row))
    return post, literature


def _claim_details(rows):
    """The rows of one claim as a table, and the comments that came out as expected."""
    cells = [(f"{_number(result)}: {row.what}", *row_cells(row)[1:3], *row_cells(row)[4:]) for result, row in rows]
    lines = _table(("lesson", "measured", "if the claim is right", "seeds", "verdict"), cells)
    for _, row in rows:
        if row.comment and row.agrees:
            lines += ["", row.comment]
    return lines


def row_cells(row: Check) -> tuple[str, ...]:
    """A check as (what, measured, predicted, source, seeds, agrees?)."""
    seeds = "-" if row.seeds == 0 else str(row.seeds)
    measured = f"{row.measured_text} (published)" if row.published else row.measured_text
    return row.what, measured, row.predicted, row.source, "-" if row.published else seeds, row.agrees_text


def runs_text(results: Sequence[Results]) -> str:
    """With how many seeds, at which size and on which devices the lessons ran."""
    counts = sorted({len(result["seeds"]) for result in results})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    sizes = {"tiny" if result["tiny"] else "--full" if result["full"] else "default" for result in results}
    devices = sorted({str(result["device"]) for result in results})
    return f"{len(results)} lessons, {seeds} seeds each, size: {', '.join(sorted(sizes))}, device: {', '.join(devices)}"


def lessons_of(found: Found) -> str:
    """The numbers of the lessons from which rows come: "02, 07"."""
    return ", ".join(sorted({_number(result) for result, _ in found}))


def _number(result):
    return result["lesson"].partition("_")[0]


def _name(result):
    return result["lesson"].partition("_")[2].replace("_", " ")


def _table(head, rows):
    """The lines of a table whose cells are plain text."""
    return markdown_table(head, [map(markdown_text, row) for row in rows])
