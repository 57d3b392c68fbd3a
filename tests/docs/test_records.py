"""docs/records.md runs as written, and what it says of files and figures holds."""
import csv
import re

import pytest
from matplotlib import pyplot

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
    assert re.findall(r"`(\w+)`", table) == head
    assert names["again"].types == names["record"].types
