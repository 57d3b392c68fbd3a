"""The Python blocks of a documentation page, to be run as a reader would."""
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs"


def blocks(name, language):
    """The content of each block of docs/NAME in this language, in order."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def python_blocks(name):
    """The content of each ```python block of docs/NAME, in order."""
    return blocks(name, "python")


def run(blocks, names=None):
    """Run blocks one after the other in one namespace, which is returned."""
    names = {} if names is None else names
    for block in blocks:
        exec(compile(block, "a block of a page", "exec"), names)
    return names
