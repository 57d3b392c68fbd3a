"""docs/step_through_a_gradient.md: the sessions show what they show now, and VS Code stops where the page says."""
import inspect
import json
import re
import runpy
import sys

import pytest

from minires.ops.convolution import Conv2d
from minires.ops.normalization import BatchNorm
from tests.docs.page import FOLDER, blocks
from tests.docs.vs_code import VSCode

PAGE = FOLDER / "step_through_a_gradient.md"
MOVING = re.compile(r"(?<=\.py[(:])\d+|^ +\d+ (?= )|^-+> \d+ ", re.MULTILINE)  # the numbers of the lines of our code
CONFIGURATIONS = json.loads(blocks(PAGE.name, "json")[0])["configurations"]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="pdb stops one line earlier; the page was made with an older one")
def test_the_page_shows_what_its_commands_answer():
    pytest.importorskip("jupyter_client")
    page = PAGE.read_text(encoding="utf-8")
    made = runpy.run_path(str(FOLDER / "make_stepping_page.py"))["made"](page)
    assert made.count("(Pdb) ") > 20
    assert made.count("ipdb> ") == 3
    assert "*** " not in made  # pdb's mark of an error
    assert MOVING.sub("", made) == MOVING.sub("", page), "run python docs/make_stepping_page.py"


def first_lines(function):
    """{number: text} of a function's lines that hold code."""
    lines, start = inspect.getsourcelines(function)
    numbers = sorted({line for _, _, line in function.__code__.co_lines() if line} - {start})
    return {number: lines[number - start].strip() for number in numbers}


@pytest.fixture
def folder(tmp_path):
    """The reader's, with train.py."""
    script = blocks(PAGE.name, "python")[0]
    assert script.startswith("# train.py\n")
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_the_first_configuration_of_vs_code_stops_at_the_first_line_of_the_op(folder):
    pytest.importorskip("debugpy")
    settings = CONFIGURATIONS[0]
    assert (settings["type"], settings["request"], settings["program"]) == ("debugpy", "launch", "${file}")
    first, second, *_ = first_lines(BatchNorm.plain_backward)
    with VSCode(["train.py"], folder, settings["justMyCode"]) as editor:
        frames, file, line, variables = editor.stopped()
        assert frames == ["plain_backward", "_run_backward", "backward", "<module>"]
        assert (file, line) == ("normalization.py", first)
        assert {"self", "dy", "step"} <= set(variables)
        assert editor.evaluate("dy.shape") == "(4, 8, 4, 4)"
        assert "block.py:" in editor.evaluate("step.where()")
        editor.go_on("next")
        _, file, line, variables = editor.stopped()
        assert (file, line) == ("normalization.py", second)
        assert {"x", "weight", "mean", "inv_std"} <= set(variables)
        editor.go_on("continue")
        assert "backward of BatchNorm (layer 'layer2.0.bn1')" in editor.output()
    assert editor.process.returncode == 0


@pytest.mark.slow
def test_the_second_configuration_of_vs_code_stops_in_the_lesson(tmp_path):
    pytest.importorskip("debugpy")
    settings = CONFIGURATIONS[1]
    program = ["-m", settings["module"], *settings["args"]]
    with VSCode(program, tmp_path, settings["justMyCode"]) as editor:
        frames, file, line, variables = editor.stopped()
    assert frames[:3] == ["plain_backward", "_run_backward", "backward"]
    assert (file, line) == ("convolution.py", next(iter(first_lines(Conv2d.plain_backward))))
    assert {"self", "dy", "step"} <= set(variables)
