"""The pages that use PyTorch, and their notebooks: they run as written, and print and show what the page says."""
import json
import re
import runpy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the page needs PyTorch: pip install minires[parity]")

from matplotlib import pyplot

from tests.docs.page import FOLDER, python_blocks, run

NAME = "your_pytorch_model"
PAGES = {NAME: "pytorch_model.py", "four_nets": "four_nets.py"}


@pytest.fixture(scope="module")
def make():
    """What docs/make_pages.py defines."""
    return runpy.run_path(str(FOLDER / "make_pages.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_page_prints_and_shows_what_stands_below_each_block(make, tmp_path, name):
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    made = make["with_outputs"](page, make["run"](page, PAGES[name], tmp_path))
    assert made.count("```text") == page.count("```text") >= 2
    assert made == page, "run python docs/make_pages.py"
    shown = re.findall(r"!\[.+\]\(images/(.+)\)", page)
    assert sorted(shown) == sorted(path.name for path in tmp_path.glob("*.png"))
    for name in shown:
        committed, drawn = pyplot.imread(FOLDER / "images" / name), pyplot.imread(tmp_path / name)
        assert committed.shape == drawn.shape, f"{name} is an old one: run python docs/make_pages.py"
        assert np.abs(committed - drawn).mean() < 0.02, f"{name} shows something else: run python docs/make_pages.py"
        assert (FOLDER / "images" / name).stat().st_size < 120_000


def test_the_gradient_vanishes_in_the_plain_net_alone_and_that_of_a_convolution_is_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(python_blocks(f"{NAME}.md")[:2])
    pyplot.close("all")
    plain, residual = [record.layers().output_grad_norm[0] for record in (names["plain"], names["residual"])]
    assert plain[0] < 1e-6 * plain[-2]
    assert residual[0] > 0.1 * residual[-2]
    net = names["net"](residual=True)
    outputs = []
    unit = net.units[4]
    unit.relu.inplace = False  # so that the output of conv1 stays what it was
    unit.conv1.register_forward_hook(lambda module, inputs, output: outputs.append(output) or output.retain_grad())
    torch.nn.functional.cross_entropy(net(names["images"]), names["labels"]).backward()
    np.testing.assert_allclose(names["residual"].select("units.4.conv1").output_grad_norm[0, 0],
                               float(outputs[0].grad.double().norm()), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [(NAME, "the gradient is"), ("four_nets", "the same in all passes: True")])
def test_the_notebook_is_the_page_and_runs(make, tmp_path, name, said):
    ipykernel = pytest.importorskip("ipykernel", reason='the notebook needs a kernel: pip install "minires[test]"')
    nbclient = pytest.importorskip("nbclient", reason='the notebook is run by nbclient: pip install "minires[test]"')
    nbformat = pytest.importorskip("nbformat")
    assert ipykernel
    page, committed = [(FOLDER / name).with_suffix(kind).read_text(encoding="utf-8") for kind in (".md", ".ipynb")]
    committed = json.loads(committed)
    assert committed == make["notebook_of"](page), "run python docs/make_pages.py"
    assert not any("```" in "".join(cell["source"]) for cell in committed["cells"])
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MPLBACKEND", raising=False)  # else the kernel shows no figures
        warnings.simplefilter("ignore")  # of Jupyter's own, about event loops
        notebook = nbformat.reads(json.dumps(committed), as_version=4)
        nbformat.validate(notebook)
        nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3",
                                resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    printed = "".join(output.text for output in shown if output.output_type == "stream")
    assert said in printed
