"""Fresh processes: what `import minires` takes, and the central lesson from its command to its last figure."""
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.case import Case
from benchmarks.timing import Candidate

LESSON = "plain_vs_residual"
ROOT = Path(__file__).resolve().parent.parent


def run(arguments, threads, folder=None):
    """Run Python in a process of its own, on so many threads, with minires from this clone.

    Raises:
        RuntimeError: it ended with an error, which the message quotes.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=os.environ | pinned | {"PYTHONPATH": path},
                          capture_output=True, text=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} ended with status {done.returncode}: "
                           f"{done.stderr.strip()[-2000:]}")


def build_imports(engines, threads) -> dict:
    """Candidates that import one package each; "Python alone" imports nothing, and is part of all of them."""
    rivals = {"minires": "import minires", "Python alone": "pass", "NumPy alone": "import numpy"}
    if "PyTorch" in engines:
        rivals["PyTorch"] = "import torch"
    return {name: Candidate({"import": functools.partial(run, ["-c", code], threads)}) for name, code in rivals.items()}


def run_lesson(threads):
    """The central lesson in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run(["-m", "minires", "lesson", LESSON], threads, folder)


def build_lesson(engines, threads) -> dict:
    """The one candidate."""
    return {"minires": Candidate({"run": functools.partial(run_lesson, threads)})}


CASES = [
    Case("startup", "import, in a fresh process", build_imports, rounds=10, budget=12.0, quick=True),
    Case("startup", f"the lesson {LESSON}, from command to figures", build_lesson, rounds=2, budget=1.0, least=1, warm_up=0),
]
