"""docs/your_own_op.md: its blocks run as written and print what stands below them."""
import re
import runpy

import numpy as np
import pytest

import minires as mr
from tests.docs.page import FOLDER, python_blocks, run

PAGE = FOLDER / "your_own_op.md"
LINE = re.compile(r"(minires/\S+):\d+ *")  # lines of our own code may move


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the page defines; it is run in an empty folder, in which it leaves a figure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("own_op"))
        return run(python_blocks("your_own_op.md"))


def test_the_page_prints_what_stands_below_each_block(tmp_path):
    make = runpy.run_path(str(FOLDER / "make_pages.py"))
    page = PAGE.read_text(encoding="utf-8")
    made = make["with_outputs"](page, make["run"](page, "own_op.py", tmp_path))
    assert made.count("```text") == 4
    assert LINE.sub(r"\1", made) == LINE.sub(r"\1", page), "run python docs/make_pages.py"


def test_swish_is_right_and_the_forgetful_one_is_not(names):
    x = mr.Tensor(np.linspace(-3, 3, 7))
    np.testing.assert_allclose(names["swish"](x).numpy(), x.data / (1 + np.exp(-x.data)))
    mr.gradcheck(names["swish"], [x])
    with pytest.raises(mr.GradcheckError, match="Forgetful"):
        mr.gradcheck(lambda x: names["Forgetful"]()(x), [x])


def test_the_op_is_in_the_table_and_in_the_recorder(names):
    loss = mr.ops.cross_entropy(names["model"](names["x"]), [0, 1, 2, 0, 1])
    [row] = [row for row in mr.explain(loss).rows if row.op == "Swish"]
    assert row.layer == "swish"
    assert [gradient.formula for gradient in row.gradients] == ["dy", "dx = dy (s + y (1 - s))"]
    assert names["record"].names == ["hidden", "swish", "out"]


def test_the_table_of_a_step_is_html(names):
    loss = mr.ops.cross_entropy(names["model"](names["x"]), [0, 1, 2, 0, 1])
    html = [step._repr_html_() for step in mr.backward_steps(loss)]
    assert sum("y = x σ(x)" in text for text in html) == 1


def test_the_image_of_the_page_is_the_one_that_it_makes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(python_blocks("your_own_op.md"))
    shown = re.findall(r"!\[.+\]\(images/(.+)\)", PAGE.read_text(encoding="utf-8"))
    assert shown == [path.name for path in tmp_path.glob("*.png")] == ["own_op_graph.png"]
    assert 0 < (FOLDER / "images" / "own_op_graph.png").stat().st_size < 80_000
