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


@pytest.mark.slow
@pytest.mark.parametrize("named", [[], ["tests"]], ids=["all tests", "a folder"])
def test_all_tests_are_shared_out_among_the_cores_and_those_of_a_folder_are_not(run, named):
    _, lines = run(*named)
    assert any("workers" in line or "bringing up nodes" in line for line in lines) == (not named)


@pytest.mark.slow
def test_a_watched_process_runs_all_tests_itself(run, tmp_path):
    program = "import pytest, sys; sys.settrace(lambda *_: None); sys.exit(pytest.main(['-p', 'no:cacheprovider']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0
    assert "workers" not in done.stdout


@pytest.mark.parametrize("options", [[], ["-n0"]], ids=["in several processes", "in one"])
def test_slow_tests_are_left_out_and_the_last_line_says_how_many_and_how_to_run_them(run, options):
    code, lines = run(*options)
    assert code == 0
    assert "1 passed" in lines[-2]
    assert lines[-1].startswith("3 slow tests were left out: python -m pytest -m slow runs them")


@pytest.mark.slow
@pytest.mark.parametrize(("expression", "summary"), [("slow", "3 passed"), ("slow or not slow", "4 passed")])
def test_an_expression_on_the_command_line_takes_the_place_of_ours(run, expression, summary):
    code, lines = run("-m", expression)
    assert code == 0
    assert summary in lines[-1]


@pytest.mark.slow
def test_what_a_keyword_leaves_out_is_not_called_slow(run):
    _, lines = run("-k", "fast")
    assert "1 passed" in lines[-1]
    _, lines = run("-k", "fast or 2")
    assert lines[-1].startswith("1 slow test was left out")
