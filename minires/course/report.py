"""What the lessons found, gathered: the claims page (Markdown) and the report of a course (one HTML file)."""
import base64
import html
from collections.abc import Sequence

import minires
from minires.course.claims import POST
from minires.course.claims_page import HEAD, lessons_of, overall_verdict, row_cells, rows_by_claim, runs_text
from minires.course.run import Run
from minires.errors import file_errors
from minires.text.plain import plain
from minires.text.tables import html_row, html_table


def course_report(runs: Sequence[Run]) -> str:
    """The report of a course as one HTML page that needs no other file: every figure, every verdict, and the claims.

    Args:
        runs: of `course.run_course`.
    """
    results = [run.results for run in runs if run.results]
    judged = [result for result in results if not result["tiny"]]
    summary = runs_text(results) if results else "no lesson came to its end"
    parts = ["<h1>minires: the course</h1>",
             f"<p>minires {_escape(minires.__version__)}; {_escape(summary)}.</p>",
             _table(("", "lesson", "outcome", "seconds"),
                    [(run.lesson.number, f'<a href="#{_escape(run.lesson.path.stem)}">{_escape(run.lesson.title)}</a>',
                      _escape(run.outcome), f"{run.seconds:.0f}") for run in runs], is_html=True)]
    parts += [_lesson_section(run) for run in runs]
    if judged:
        post, literature = rows_by_claim(judged)
        parts.append("<h2>The statements of the post</h2>")
        parts.append(_table(("", "the post says", "verdict", "lessons"), [
            (key, claim.text, overall_verdict(post[key]), lessons_of(post[key])) for key, claim in POST.items()]))
        if literature:
            parts.append("<h2>Claims of the literature</h2>")
            parts.append(_table(("source", "claim", "verdict", "lessons"), [
                (claim.source, claim.text, overall_verdict(rows), lessons_of(rows)) for claim, rows in literature.items()]))
    return PAGE.format(body="\n".join(parts))


def _lesson_section(run):
    """One lesson in the report: question, outcome, figures, take-home, and the table of checks."""
    lesson = run.lesson
    parts = [f'<h2 id="{_escape(lesson.path.stem)}">{_escape(lesson.number)} {_escape(lesson.title)}</h2>',
             f"<p><em>{_escape(lesson.question)}</em></p>", f"<p>Outcome: <strong>{_escape(run.outcome)}</strong></p>"]
    if run.results is None:
        return "\n".join(parts)
    for figure in run.results["figures"]:
        path = run.folder / figure["file"]
        with file_errors("cannot read the figure", path, "Run the lesson again"):
            data = base64.b64encode(path.read_bytes()).decode("ascii")
        caption = _escape(figure["caption"])
        parts.append(f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"></figure>')
    parts += [f"<p>{_escape(sentence)}</p>" for sentence in run.results["take_home"]]
    rows = run.results["rows"]
    if run.results["tiny"]:
        parts.append(_table(HEAD[:4], [row_cells(row)[:4] for row in rows]))
        return "\n".join(parts)
    parts.append(_table(HEAD, [row_cells(row) for row in rows]))
    parts += [f"<p>{_escape(row.comment)}</p>" for row in rows if row.comment and row.agrees]
    return "\n".join(parts)


def _escape(text):
    """Plain text as HTML."""
    return html.escape(plain(text))


def _table(head, rows, is_html=False):
    """A table that can be scrolled sideways; `is_html`: the cells are HTML already."""
    lines = [html_row(head, "th"), *(html_row(row, escape=not is_html) for row in rows)]
    return "<div>" + html_table(lines, between="\n") + "</div>"


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>minires: the course</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
h2 {{ border-top: 1px solid #ccc; padding-top: 1rem; margin-top: 3rem; }}
img {{ max-width: 100%; }}
figure {{ margin: 1rem 0; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.85rem; margin: 1rem 0; }}
th, td {{ border-bottom: 1px solid #ddd; padding: 0.3rem 0.7rem; text-align: left; vertical-align: top; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
