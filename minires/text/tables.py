"""Tables as text, as HTML and as Markdown."""
import html
from collections.abc import Collection, Iterable, Sequence

from minires.text.plain import plain, plain_line

MARKUP = "\\|*_<>[]`"  # characters that end a cell of a Markdown table, or start markup in it


def text_table(rows: Iterable[Sequence[str]], head: Sequence[str] | None = None, right: Collection[int] = (),
               between: str = "  ", rule: str = "-") -> list[str]:
    """A table as lines of text, in which each column is as wide as its widest cell. No line ends in spaces.

    Args:
        rows: sequences of texts, one for each column.
        head: the titles of the columns; below it stands a line.
        right: the indices of the columns whose cells end at the same place; those of the others begin at the same place.
        between: what stands between two columns.
        rule: the character of the line below the head.

    Returns:
        The lines: the head and the line below it, where there is a head, and one for each row.
    """
    rows = list(rows) if head is None else [head, *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [between.join(cell.rjust(width) if i in right else cell.ljust(width)
                          for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
    if head is not None:
        crossing = between.replace(" ", rule).replace("|", "+")
        lines.insert(1, crossing.join(rule * width for width in widths))
    return lines


def html_table(rows: Iterable[str], between: str = "") -> str:
    """A table in HTML, of rows that `html_row` made; `between` stands between its lines."""
    return between.join(["<table>", *rows, "</table>"])


def html_row(cells: Collection[object], tag: str = "td", align: Iterable[str] | None = None, style: str = "",
             escape: bool = True) -> str:
    """A row of a table in HTML.

    Args:
        cells: anything that has a text.
        tag: of the cells, "th" for those of the head.
        align: "left" or "right" for each cell; None leaves it to the page.
        style: CSS of the row.
        escape: False where the cells are HTML already.
    """
    aligns = [""] * len(cells) if align is None else align
    start = f'<tr style="{style}">' if style else "<tr>"
    return f"{start}{''.join(html_cell(*cell, tag, escape) for cell in zip(cells, aligns, strict=True))}</tr>"


def html_cell(content: object, align: str = "", tag: str = "td", escape: bool = True) -> str:
    """A cell of a table in HTML, as `html_row` takes it."""
    style = f' style="text-align:{align}"' if align else ""
    return f"<{tag}{style}>{html.escape(plain(str(content))) if escape else content}</{tag}>"


def markdown_table(head: Collection[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table in Markdown, as lines. The cells are Markdown: plain text goes through `markdown_text` first."""
    return [markdown_row(head), "|" + "---|" * len(head), *map(markdown_row, rows)]


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def markdown_text(text: str) -> str:
    """Plain text as Markdown: it cannot end a cell of a table or start markup in it."""
    text = plain_line(text)
    for character in MARKUP:
        text = text.replace(character, "\\" + character)
    return text
