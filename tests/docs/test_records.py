"""docs/records.md runs as written, and what it says of files and figures holds."""
import csv
import re

import pytest
from matplotlib import pyplot

from minires.recording.csv_files import BINS
from tests.docs.page import FOLDER, python_blocks, run


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    pyplot.close("all")


def test_the_page_runs_and_says_what_is_in_the_file(tmp_path, capsys):
    names = run(python_blocks("records.md"))
    assert "['conv1', 'layer1.0.conv1'] ['relu', 'layer1.0']" in capsys.readouterr().out
    with open(tmp_path / "gradients.csv", encoding="utf-8", newline="") as file:
        head = next(csv.reader(file))
    page = (FOLDER / "records.md").read_text(encoding="utf-8")
    table = "\n".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    assert re.findall(r"`(\w+)`", table) == head + BINS
    assert names["again"].types == names["record"].types
    columns = {column.name: column for column in names["branches"].columns}
    assert (columns["side"].depth, columns["layers.2.0"].depth, columns["side"].after) == (3, 3, ("layers.1",))
    shown = re.findall(r"!\[.+\]\(images/(.+)\)", page)
    assert sorted(shown) == sorted(path.name for path in tmp_path.glob("*.png"))
    for name in shown:
        committed, made = pyplot.imread(FOLDER / "images" / name), pyplot.imread(tmp_path / name)
        assert committed.shape == made.shape, f"{name} is an old one: run python docs/make_pages.py"
        assert (FOLDER / "images" / name).stat().st_size < 80_000
