"""Make what the pages that end in code show, such as "Your own net" and "Records": `python docs/make_pages.py [folder]`.

The blocks of a page are run as its reader would, as a script in an empty folder. From this come the figures, in images/;
the text that a page prints, put below the block that prints it; and the notebooks that pages name, which are the same
without outputs. Without a folder, the files in docs/ are made anew; the pages that use PyTorch where that is installed.
"""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
MARK = "---- the output of the next block ----"


def main(out=DOCS):
    """Make all files, in the folder `out`."""
    out = Path(out)
    (out / "images").mkdir(parents=True, exist_ok=True)
    make_page("your_own_net.md", "own_net.py", out)
    make_page("records.md", "records.py", out)
    make_page("your_own_op.md", "own_op.py", out)
    if importlib.util.find_spec("torch") is not None:
        make_page("your_pytorch_model.md", "pytorch_model.py", out)
        make_page("four_nets.md", "four_nets.py", out)


def make_page(name, script, out):
    """Make the figures of a page, the page with what it prints, and its notebook if it names one."""
    page = (DOCS / name).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        printed = run(page, script, folder)
        for figure in sorted(Path(folder).glob("*.png")):
            shutil.copy(figure, out / "images" / figure.name)
    made = with_outputs(page, printed)
    (out / name).write_text(made, encoding="utf-8", newline="\n")
    notebook = Path(name).with_suffix(".ipynb").name
    if notebook in page:
        text = json.dumps(notebook_of(made), indent=1, ensure_ascii=False) + "\n"
        (out / notebook).write_text(text, encoding="utf-8", newline="\n")


def run(page, script, folder):
    """Run the Python blocks of a page, one after the other, as a script in `folder`; returns what each printed."""
    blocks = [code for kind, code in BLOCK.findall(page) if kind == "python"]
    # the mark stands where a reader leaves one line free between two blocks, so that the numbers of lines are the same
    (Path(folder) / script).write_text(f'print("{MARK}")\n'.join(blocks), encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, script], cwd=folder, env=environment, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr}")
    return [text.strip("\n") for text in done.stdout.split(f"{MARK}\n")]


def with_outputs(page, outputs):
    """The page, with the content of each ```text block replaced by what the Python block before it printed."""
    remaining, printed = iter(outputs), None

    def filled(block):
        nonlocal printed
        if block[1] == "python":
            printed = next(remaining)
            return block[0]
        return f"```text\n{printed}\n```\n"

    return BLOCK.sub(filled, page)


def notebook_of(page):
    """The page as a notebook: a cell for each block, and the text between; outputs appear as the cells run."""
    cells = []
    page = re.sub(r"^```text\n.*?^```\n", "", page, flags=re.MULTILINE | re.DOTALL)
    for i, part in enumerate(re.split(r"^```python\n(.*?)^```\n", page, flags=re.MULTILINE | re.DOTALL)):
        is_code = i % 2 == 1
        paragraphs = [part.strip()] if is_code else [text.strip() for text in part.split("\n\n")]
        text = "\n\n".join(p for p in paragraphs if p and not p.startswith("![") and ".ipynb)" not in p)
        if text:
            cell = {"cell_type": "code" if is_code else "markdown", "id": f"cell-{len(cells)}", "metadata": {},
                    "source": text.splitlines(keepends=True)}
            cells.append(cell | {"execution_count": None, "outputs": []} if is_code else cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
            "nbformat": 4, "nbformat_minor": 5}


if __name__ == "__main__":
    main(*sys.argv[1:])
