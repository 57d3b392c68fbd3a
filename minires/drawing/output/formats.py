"""Diagrams as files: the ending of the path names the format."""
import io
import os
from collections.abc import Sequence
from pathlib import Path

from minires.drawing.diagram import Diagram
from minires.drawing.output import text
from minires.errors import ArgumentError, file_errors
from minires.text.files import ELSEWHERE

PICTURES = (".png", ".svg", ".pdf")
ENDINGS = (*PICTURES, ".dot", ".gv", ".mmd", ".html")
DPI = 130


def check_ending(path: str | os.PathLike[str]) -> str:
    """The ending of a path, in small letters.

    Raises:
        ArgumentError: no format has it.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise ArgumentError(f"draw: {str(path)!r} ends in {ending!r}, expected .png, .svg or .pdf (a figure), .dot or .gv "
                            "(Graphviz), .mmd (Mermaid) or .html (an animation of the backward pass)")
    return ending


def save(diagrams: Sequence[Diagram], path: str | os.PathLike[str]) -> None:
    """Write diagrams, side by side, to a file.

    Raises:
        ArgumentError: no format has the path's ending, or an animation is wanted of what has no gradients.
        FileError: the file cannot be written.
    """
    ending = check_ending(path)
    content: str | bytes
    if ending == ".html":
        from minires.drawing.output import animation

        content = animation.html(diagrams)
    elif ending in PICTURES:
        content = picture(diagrams, ending[1:])
    else:
        content = text.mermaid(diagrams) if ending == ".mmd" else text.dot(diagrams)
    with file_errors("draw: cannot write", path, ELSEWHERE):
        Path(path).write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def picture(diagrams: Sequence[Diagram], kind: str) -> bytes:
    """The figure as "png", "svg" or "pdf": the same bytes for the same diagram."""
    from matplotlib import rc_context

    from minires.drawing.output import figure

    no_date = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    target = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "minires", "pdf.fonttype": 42}):  # text stays text
        figure.draw_figure(diagrams).savefig(target, format=kind, dpi=DPI, metadata=no_date)
    return target.getvalue()


def svg(diagrams: Sequence[Diagram]) -> str:
    """The figure as SVG text, for a notebook."""
    return picture(diagrams, "svg").decode("utf-8")
