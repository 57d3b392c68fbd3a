"""docs/drawing.md: its commands and blocks run as written, and its figures and outputs are those that they make."""
import re
import runpy

import pytest
from PIL import Image

from tests.docs.page import FOLDER

IMAGE = re.compile(r"!\[(.+)\]\(images/(.+\.png)\)")
NUMBER = re.compile(r"gradient ([\d.e+-]+)")


def page():
    """The text as it is committed."""
    return (FOLDER / "drawing.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder with the page and its figures, made anew."""
    folder = tmp_path_factory.mktemp("drawing")
    runpy.run_path(str(FOLDER / "make_figures.py"))["main"](folder)
    return folder


@pytest.mark.slow
def test_the_figures_of_the_page_are_those_that_its_blocks_write(made):
    shown = {name for _, name in IMAGE.findall(page())}
    assert {path.name for path in (made / "images").iterdir()} == shown
    assert len(shown) == 4
    for name in shown:
        with Image.open(made / "images" / name) as new, Image.open(FOLDER / "images" / name) as committed:
            sizes = zip(committed.size, new.size, strict=True)
        for length, expected in sizes:
            assert length == pytest.approx(expected, rel=0.05), name  # another matplotlib may set the text otherwise
        assert (FOLDER / "images" / name).stat().st_size < 120_000


@pytest.mark.slow
def test_what_the_page_prints_is_what_its_blocks_print(made):
    new = (made / "drawing.md").read_text(encoding="utf-8")
    assert NUMBER.sub("gradient", new) == NUMBER.sub("gradient", page())
    assert [float(number) for number in NUMBER.findall(new)] == pytest.approx(
        [float(number) for number in NUMBER.findall(page())], rel=0.05)
    assert len(NUMBER.findall(new)) == 3
    assert new.count("-.->") == 2
