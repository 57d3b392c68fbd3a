"""The scripts of .ci: which types are complete enough, and which blocks of the README are run."""
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[1] / ".ci"
LACKING = {"name": "minires.no_type", "isExported": True, "isTypeKnown": False, "isTypeAmbiguous": False,
           "diagnostics": [{"message": 'Type annotation for parameter "x" is missing\n  more'}]}
WHOLE = {"name": "minires.whole", "isExported": True, "isTypeKnown": True, "isTypeAmbiguous": False, "diagnostics": []}


@pytest.fixture
def judge():
    """A function that lets the script judge a report of pyright."""
    main = runpy.run_path(str(CI / "type_completeness.py"))["main"]

    def judge(score, symbols):
        main.__globals__["report"] = lambda folder: {"completenessScore": score, "symbols": symbols}
        main()
    return judge


def test_types_that_are_complete_enough_pass(judge, capsys):
    judge(0.95, [WHOLE, LACKING])
    assert capsys.readouterr().out == "the types of minires are 95.0% complete\n"


@pytest.mark.parametrize(("score", "symbols", "message"), [
    (0.949, [WHOLE, LACKING], "the types of minires are 94.9% complete, and 95% are the least"),
    (0.0, [], "pyright found no public names of minires"),
])
def test_types_that_are_not_fail_and_the_names_are_printed(judge, capsys, score, symbols, message):
    with pytest.raises(SystemExit, match=message):
        judge(score, symbols)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ['minires.no_type: Type annotation for parameter "x" is missing'][:len(symbols)]


def blocks_of(folder, readme):
    """Run the script on a README with this text, as .ci/run does."""
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return subprocess.run([sys.executable, str(CI / "readme_blocks.py"), "README.md", "."], cwd=folder, capture_output=True,
                          encoding="utf-8")


def test_the_blocks_of_the_readme_are_those_that_ci_runs(tmp_path):
    readme = (CI.parent / "README.md").read_text(encoding="utf-8")
    assert blocks_of(tmp_path, readme).returncode == 0
    for name, command in (("lesson", "minires lesson plain_vs_residual"), ("tests", "python -m pytest")):
        lines = (tmp_path / f"{name}.sh").read_text(encoding="utf-8").splitlines()
        assert lines[-1] == command
        assert "\n".join(lines) in readme


def test_a_readme_without_its_two_blocks_is_refused(tmp_path):
    done = blocks_of(tmp_path, "# No block\n\n```sh\npytest\n```\n")
    assert done.returncode == 1
    assert "expected two blocks" in done.stderr


# ---- mutants

TOY = '''
"""A toy."""


def least(values: list[int] | None = None) -> int:
    best = 0
    for value in values or [best]:
        best = value if value < best else best
    return best
'''
TOY_OP = '''
class Double:
    def backward(self, dy):
        return 2 * dy
'''


@pytest.fixture
def toy(tmp_path):
    """A function that writes a toy repository with these tests of its one file, and judges its mutants as .ci/run does."""
    pytest.importorskip("cosmic_ray")

    def judge(tests, may_live="", sample=100):
        files = {"minires/__init__.py": "", "minires/text/least.py": TOY, "minires/ops/double.py": TOY_OP,
                 "tests/text/test_least.py": tests, ".ci/mutants.py": (CI / "mutants.py").read_text(encoding="utf-8"),
                 ".ci/mutants_that_may_live.txt": may_live,
                 "setup.cfg": "[tool:pytest]\n[coverage:run]\nsource = minires\ndynamic_context = test_function\n"}
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        settings = {**os.environ, "PYTHONPATH": str(tmp_path)}
        for command in (["-m", "coverage", "run", "-m", "pytest", "-q", "--import-mode=importlib"],
                        [".ci/mutants.py", "--sample", str(sample)]):
            done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=settings, capture_output=True,
                                  encoding="utf-8")
        return done.returncode, done.stdout + done.stderr
    return judge


THOROUGH = '''
from minires.text.least import least

def test_least():
    assert least([3, -2, 4]) == -2
    assert least([3]) == least() == 0
'''


@pytest.mark.slow
def test_a_listed_mutant_may_live_among_many_and_backward_methods_and_annotations_have_none(toy):
    alive = "minires/text/least.py: best = value if value < best else best -> best = value if value <= best else best"
    code, said = toy(THOROUGH, f"# why\n{alive}\n  the same number\n")
    assert "; 1 live, 0 of which are not listed" in said
    assert code == 0, said
    assert said.count(" noticed  ") >= 4
    assert "double.py" not in said
    assert "list[int]" not in said


@pytest.mark.slow
def test_a_test_that_notices_nothing_leaves_mutants_alive_that_are_named(toy):
    code, said = toy("from minires.text.least import least\n\ndef test_least():\n    least([1])\n", sample=2)
    assert code == 1
    assert "0 of 2 mutants were noticed; 2 live, 2 of which are not listed" in said
    assert said.count("let a test notice it, or list it in mutants_that_may_live.txt") == 2
    assert "more than 1 live" in said


@pytest.mark.slow
def test_coverage_of_another_kind_is_no_judge(toy):
    code, said = toy("def test_nothing(): pass\n", sample=1)
    assert code == 1
    assert "does not say which test ran which line" in said
