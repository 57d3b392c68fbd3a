"""The two tiers of tests: what is marked `slow` is left out and counted, unless -m on the command line asks for it."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TOY = '''
import pytest

def test_fast(): pass

@pytest.mark.slow
@pytest.mark.parametrize("i", range(3))
def test_slow(i): pass
'''


@pytest.fixture
def run(tmp_path):
    """A function that runs toy tests in a folder with our settings and our conftest: (exit code, lines that it printed)."""
    shutil.copy(TESTS.parent / "setup.cfg", tmp_path)
    (tmp_path / "tests").mkdir()
    shutil.copy(TESTS / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_toy.py").write_text(TOY, encoding="utf-8")

    def run(*arguments):
        done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments], cwd=tmp_path,
                              capture_output=True, encoding="utf-8")
        return done.returncode, done.stdout.splitlines()
    return run


def test_slow_tests_are_left_out_and_the_last_line_says_how_many_and_how_to_run_them(run):
    code, lines = run()
    assert code == 0
    assert "1 passed, 3 deselected" in lines[-2]
    assert lines[-1].startswith("3 slow tests were left out: python -m pytest -m slow runs them")


@pytest.mark.parametrize(("expression", "summary"), [("slow", "3 passed, 1 deselected"), ("slow or not slow", "4 passed")])
def test_an_expression_on_the_command_line_takes_the_place_of_ours(run, expression, summary):
    code, lines = run("-m", expression)
    assert code == 0
    assert summary in lines[-1]


def test_what_a_keyword_leaves_out_is_not_called_slow(run):
    _, lines = run("-k", "fast")
    assert "1 passed, 3 deselected" in lines[-1]
    _, lines = run("-k", "fast or 2")
    assert lines[-1].startswith("1 slow test was left out")
