"""The contracts of setup.cfg on which file may import which: kept, and broken by an arrow that is planted."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minires as mr

PACKAGE = Path(mr.__file__).parent
SETTINGS = PACKAGE.parent / "setup.cfg"

PLANTED = {  # what is planted: (file, line, a word of the contract's name)
    "upward": ("engine/hooks.py", "from minires.debug import prompt", "Arrows point one way"),
    "inside a function": ("nn/init.py", "def late():\n    from minires.training import loop", "Arrows point one way"),
    "to a sibling": ("drawing/model.py", "from minires.recording import record", "Arrows point one way"),
    "to the root": ("ops/loss.py", "import minires", "package as a whole"),
    "to cupy": ("arrays/backend.py", "import cupy", "cupy"),
    "to torch": ("recording/recorder.py", "import torch", "torch"),
    "to matplotlib": ("recording/record.py", "from matplotlib import pyplot", "matplotlib"),
    "to html": ("engine/op.py", "import html", "HTML"),
    "from a writer to the net": ("drawing/output/text.py", "from minires.drawing.graph import Graph", "only data"),
    "in a circle": ("data/idx.py", "from minires.data import fashion_mnist_files", "circle"),
}


def check(folder):
    """What import-linter says of the package `minires` in a folder."""
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return subprocess.run([sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, encoding="utf-8",
                          env={"PYTHONPATH": str(folder), "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"})


@pytest.fixture
def copy(tmp_path):
    """A copy of the package's sources, to plant something in."""
    shutil.copytree(PACKAGE, tmp_path / "minires", ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    shutil.copy(SETTINGS, tmp_path)
    return tmp_path


def test_every_contract_is_kept(copy):
    done = check(copy)
    assert done.returncode == 0, done.stdout
    assert ", 0 broken" in done.stdout


@pytest.mark.parametrize(("file", "line", "contract"), PLANTED.values(), ids=PLANTED)
def test_a_planted_arrow_is_found(copy, file, line, contract):
    with open(copy / "minires" / file, "a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    done = check(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(contract in line and "BROKEN" in line for line in done.stdout.splitlines()), done.stdout


def test_a_new_file_needs_a_place(copy):
    (copy / "minires" / "helpers.py").write_text('"""Of no row."""\n', encoding="utf-8")
    done = check(copy)
    assert done.returncode == 1
    assert "helpers" in done.stdout
