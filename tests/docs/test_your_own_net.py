"""docs/your_own_net.md and its notebook: both run as written, and neither can drift from the other."""
import csv
import json
import re
import runpy
import warnings

import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from tests.docs.page import FOLDER, python_blocks, run


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    pyplot.close("all")


def notebook_of_the_page():
    make = runpy.run_path(str(FOLDER / "make_pages.py"))
    return make["notebook_of"]((FOLDER / "your_own_net.md").read_text(encoding="utf-8"))


def committed_notebook():
    return json.loads((FOLDER / "your_own_net.ipynb").read_text(encoding="utf-8"))


def test_the_page_records_and_plots_the_gradients_of_the_readers_net(tmp_path, capsys):
    names = run(python_blocks("your_own_net.md"))
    record, model = names["record"], names["model"]
    assert record.names[:2] == ["stem", "units.0.conv1"]
    assert len(record) == 1
    with open(tmp_path / "own_net_gradients.csv", encoding="utf-8", newline="") as file:
        written = {(row["module"], row["quantity"]): float(row["value"] or "nan") for row in csv.DictReader(file)}
    assert written["head", "output_grad_norm"] == record.output_grad_norm[0, record.names.index("head")]
    assert written["units.3", "flow_cosine"] == record.flow_cosine[0, record.names.index("units.3")]
    printed = re.findall(r"^units\.\d: (\S+) through the shortcut, (\S+) through the branch, cosine (\S+)$",
                         capsys.readouterr().out, re.MULTILINE)
    assert len(printed) == 8
    units = record.select(names["Unit"])
    np.testing.assert_allclose([float(row[1]) for row in printed], units.flow_through_branch[0], atol=5e-5)
    assert len(names["table"]) == 60  # loss, head, pool, stem, and seven ops in each of eight units
    before = [parameter.grad.copy() for parameter in model.parameters()]
    names["loss"].backward()  # "works afterwards as before": the same gradient once more
    for parameter, gradient in zip(model.parameters(), before, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * gradient, rtol=1e-5, atol=1e-7)


def test_the_two_parts_are_nearly_perpendicular_as_the_page_says():
    units = run(python_blocks("your_own_net.md"))["record"].select("units.0", "units.4", "units.7")
    squares = units.flow_through_shortcut ** 2 + units.flow_through_branch ** 2
    np.testing.assert_allclose(units.flow_together ** 2, squares, rtol=0.15)


def test_the_images_of_the_page_are_those_that_it_makes(tmp_path):
    shown = re.findall(r"!\[.+\]\(images/(.+)\)", (FOLDER / "your_own_net.md").read_text(encoding="utf-8"))
    run(python_blocks("your_own_net.md"))
    assert sorted(shown) == sorted(path.name for path in tmp_path.glob("*.png")) == ["own_net_flow.png",
                                                                                   "own_net_gradients.png"]
    for name in shown:
        committed, made = pyplot.imread(FOLDER / "images" / name), pyplot.imread(tmp_path / name)
        assert committed.shape == made.shape, f"{name} is an old one: run python docs/make_pages.py"
        assert (FOLDER / "images" / name).stat().st_size < 80_000


def test_the_training_loop_that_the_text_describes_can_be_recorded():
    names = run(python_blocks("your_own_net.md")[:1])
    model, images, labels = names["model"], names["images"], names["labels"]
    optimizer = mr.optim.SGD(model.parameters(), lr=0.05)
    with mr.record_gradients(model, optimizer) as record:
        for _ in range(2):
            model.zero_grad()
            mr.ops.cross_entropy(model(images), labels).backward()
            optimizer.step()
    assert len(mr.plot.gradient_heatmap(record).images) == 2
    mr.plot.gradient_norms(record.select(names["Unit"]))


def test_the_notebook_is_the_page():
    committed = committed_notebook()
    assert committed == notebook_of_the_page(), "run python docs/make_pages.py"
    code = ["".join(cell["source"]) for cell in committed["cells"] if cell["cell_type"] == "code"]
    assert code == [block.strip() for block in python_blocks("your_own_net.md")]
    assert all(cell.get("outputs", []) == [] for cell in committed["cells"])


@pytest.mark.slow
def test_the_notebook_runs_and_shows_its_figures_and_its_table(tmp_path, monkeypatch):
    pytest.importorskip("ipykernel", reason='the notebook needs a kernel: pip install "minires[test]"')
    nbclient = pytest.importorskip("nbclient", reason='the notebook is run by nbclient: pip install "minires[test]"')
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # else the kernel shows no figures
    notebook = nbformat.reads(json.dumps(committed_notebook()), as_version=4)
    nbformat.validate(notebook)
    notebook.cells[-2].source += "\ntable"  # the last cell of code: its value is shown
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own, about event loops
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3",
                                resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    tables = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert len(tables) == 1
    assert "dx = dy W" in tables[0]
    printed = "".join(output.text for output in shown if output.output_type == "stream")
    assert printed.count("through the shortcut") == 8
    assert "code of the backward" not in printed  # explain leaves it to the notebook to show the table
    assert (tmp_path / "own_net_gradients.csv").exists()
