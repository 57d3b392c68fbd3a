"""Fail where fewer than 95 % of the public names of minires have a complete type, as pyright counts them.

    python .ci/type_completeness.py            # needs pyright: pip install -e ".[dev]"

pyright looks at a package that is installed with its py.typed, so it is installed into a folder of its own first: of an
editable install it finds nothing. It is built from a copy, as a build/ of an earlier day would be installed as well. The
lessons are left out: they are scripts, whose variables nobody imports; mypy and pyright check them as such.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LEAST = 0.95
REPOSITORY = Path(__file__).resolve().parents[1]
NOT_COPIED = shutil.ignore_patterns(".*", "build", "dist", "venv", "*.egg-info", "__pycache__", "minires-output")


def report(folder):
    """What `pyright --verifytypes` says of minires, copied to and installed into a folder that is empty."""
    source, installed = Path(folder) / "source", Path(folder) / "installed"
    shutil.copytree(REPOSITORY, source, ignore=NOT_COPIED)
    install = ["pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(source)]
    subprocess.run([sys.executable, "-m", *install], check=True)
    shutil.rmtree(installed / "minires" / "lessons")
    verify = ["pyright", "--verifytypes", "minires", "--ignoreexternal", "--outputjson"]
    done = subprocess.run([sys.executable, "-m", *verify], cwd=installed, env={**os.environ, "PYTHONPATH": str(installed)},
                          capture_output=True, encoding="utf-8")
    try:
        return json.loads(done.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        sys.exit(f"pyright --verifytypes gave no report: {done.stdout}{done.stderr}")


def incomplete(symbols):
    """The public names whose type is not complete, with what pyright says of each."""
    for symbol in symbols:
        if symbol["isExported"] and (not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]):
            yield symbol["name"], *[found["message"].strip().splitlines()[0] for found in symbol["diagnostics"]][:1]


def main():
    """Print the share, and the names that miss it; exit with 1 below the least."""
    with tempfile.TemporaryDirectory() as folder:
        found = report(folder)
    score = found["completenessScore"]
    if not found["symbols"]:
        sys.exit("pyright found no public names of minires")
    if score < LEAST:
        for line in incomplete(found["symbols"]):
            print(": ".join(line))
        sys.exit(f"the types of minires are {score:.1%} complete, and {LEAST:.0%} are the least")
    print(f"the types of minires are {score:.1%} complete")


if __name__ == "__main__":
    main()
