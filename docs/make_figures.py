"""Make what docs/drawing.md shows: `python docs/make_figures.py [folder]`.

The page's commands and blocks are run as its reader would, in an empty folder. Their PNG files go to images/, and what they
print to the page. Without a folder, the files in docs/ are made anew.
"""
import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image

from minires.cli import main as cli

DOCS = Path(__file__).parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
COLOURS = 256  # of a figure's palette: a third of the bytes, and no difference to see


def main(out=DOCS):
    """Make the figures and the page, in the folder `out`."""
    out = Path(out).resolve()
    (out / "images").mkdir(parents=True, exist_ok=True)
    page = (DOCS / "drawing.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        page = run(page, folder)
        for figure in sorted(Path(folder).rglob("*.png")):
            image = Image.open(figure).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            image.save(out / "images" / figure.name, optimize=True)
    (out / "drawing.md").write_text(page, encoding="utf-8", newline="\n")


def run(page: str, folder) -> str:
    """Run the page's blocks in `folder`; returns the page with what they printed in the blocks after them."""
    names, printed = {}, io.StringIO()

    def made(block):
        nonlocal printed
        language, code = block.groups()
        if language not in ("sh", "python"):
            return f"```{language}\n{printed.getvalue().strip()}\n```\n"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if language == "python":
                exec(compile(code, "a block of a page", "exec"), names)
            else:
                run_command(code)
        return block[0]

    with contextlib.chdir(folder):
        return BLOCK.sub(made, page)


def run_command(code: str):
    """Run the command `minires …`."""
    program, *arguments = code.split()
    if program != "minires" or cli.main(arguments) != 0:
        raise RuntimeError(f"this failed: {code}")


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main(*sys.argv[1:])
