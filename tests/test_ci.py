"""The scripts of .ci: which types are complete enough, and which blocks of the README are run."""
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
