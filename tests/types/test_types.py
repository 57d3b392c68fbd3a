"""The annotations, as a checker in a user's editor reads them: right code passes, and every mistake is seen."""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minires as mr

HERE = Path(__file__).parent
SOURCES = str(Path(mr.__file__).parent.parent)  # of an editable installation, which checkers do not find by themselves
FILES = ["user_code.py", "wrong_code.py"]


def run(folder, *command, **environment):
    """Run a Python program in a folder that holds no settings but those of this test."""
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, encoding="utf-8",
                          env={**os.environ, **environment})


def mypy(folder):
    """(file, line, message) of each error."""
    done = run(folder, "-m", "mypy", "--check-untyped-defs", "--ignore-missing-imports", *FILES, MYPYPATH=SOURCES)
    assert re.search("^(Success|Found)", done.stdout, re.MULTILINE), done.stdout + done.stderr
    return [(file, int(line), message)
            for file, line, message in re.findall(r"^(\w+\.py):(\d+): error: (.*)$", done.stdout, re.MULTILINE)]


def pyright(folder):
    """(file, line, message) of each error."""
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [SOURCES]}), encoding="utf-8")
    done = run(folder, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable)
    return [(Path(found["file"]).name, found["range"]["start"]["line"] + 1, found["message"])
            for found in json.loads(done.stdout)["generalDiagnostics"] if found["severity"] == "error"]


@pytest.fixture(scope="module", params=[pytest.param(mypy, marks=pytest.mark.slow), pyright], ids=["mypy", "pyright"])
def errors(request, tmp_path_factory):
    """{file: {line: message}} of what a checker says of both files."""
    checker = request.param
    if importlib.util.find_spec(checker.__name__) is None:
        pytest.skip(f"{checker.__name__} is not installed")
    folder = tmp_path_factory.mktemp(checker.__name__)
    for file in FILES:
        shutil.copy(HERE / file, folder)
    found = checker(folder)
    return {name: {line: message for file, line, message in found if file == name} for name in FILES}


def test_right_code_has_the_types_that_it_expects(errors):
    problems = [f"{line}: {message}" for line, message in errors["user_code.py"].items()]
    assert not problems, "\n".join(["user_code.py", *problems])


def test_each_mistake_is_seen_and_nothing_else(errors):
    lines = (HERE / "wrong_code.py").read_text(encoding="utf-8").splitlines()
    mistakes = {i: line for i, line in enumerate(lines, 1) if line.endswith("# error")}
    found = errors["wrong_code.py"]
    problems = [f"{i}: not seen: {line}" for i, line in mistakes.items() if i not in found]
    problems += [f"{i}: no mistake: {message}" for i, message in found.items() if i not in mistakes]
    assert not problems, "\n".join(["wrong_code.py", *problems])


def test_right_code_runs(tmp_path):
    done = run(tmp_path, "-W", "error", HERE / "user_code.py", MPLBACKEND="Agg")
    assert done.returncode == 0, done.stderr
