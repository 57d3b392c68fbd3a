"""The Python blocks of a documentation page, to be run as a reader would."""
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs"


def python_blocks(name):
    """The content of each ```python block of docs/NAME, in order."""
    return re.findall(r"^```python\n(.*?)^```", (FOLDER / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(blocks, names=None):
    """Run blocks one after the other in one namespace, which is returned."""
    names = {} if names is None else names
    for block in blocks:
        exec(compile(block, "a block of a page", "exec"), names)
    return names
