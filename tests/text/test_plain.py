"""Names from anywhere, in every format: no control character, and nothing that a file cannot hold, gets through."""
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

import minires as mr
from minires.drawing.output import formats
from minires.text.files import append_csv, write_csv
from minires.text.plain import plain, plain_line
from minires.text.tables import html_cell, markdown_text

BAD = [chr(code) for code in (*range(0x20), *range(0x7f, 0xa0), 0xd800, 0xdfff, 0xfffe, 0xffff) if chr(code) != "\n"]


def drawing(name, title):
    x = mr.Tensor([[1.0, 2.0]], requires_grad=True, name=name)
    return mr.draw((x * x).sum(), title=title)


def test_each_bad_character_is_written_as_python_writes_it_and_others_stay():
    for character in BAD:
        assert plain(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"
    assert plain("a\n‖dy‖ ² 漢 😀") == "a\n‖dy‖ ² 漢 😀"
    assert plain_line("a\nb\x1b") == "a\\nb\\x1b"


def test_an_svg_with_any_name_is_xml():
    text = formats.svg([drawing("".join(BAD), "".join(BAD))])
    words = "".join(ElementTree.fromstring(text).itertext())
    assert "\\x1b" in words
    assert "\\ud800" in words


@pytest.mark.parametrize("kind", ["dot", "mermaid"])
def test_a_diagram_as_text_holds_no_control_character(kind):
    text = getattr(drawing("".join(BAD), "".join(BAD)), kind)()
    assert not set(text) & set(BAD)
    text.encode("utf-8")


@pytest.mark.parametrize("name", ["$x$", "$\\bad{$", "a$", "\\$"])
def test_a_dollar_in_a_name_begins_no_formula(name):
    words = "".join(ElementTree.fromstring(formats.svg([drawing(name, "t")])).itertext())
    assert "$" in words


def test_tables_hold_no_control_character():
    for text in (html_cell("".join(BAD)), markdown_text("".join(BAD))):
        assert not set(text) & set(BAD)
    assert "\n" not in markdown_text("a\nb")  # it would end the row


def test_half_of_a_pair_does_not_end_a_table(tmp_path):
    write_csv(tmp_path / "a.csv", ["name"], [["\ud800"]])
    append_csv(tmp_path / "a.csv", [["\udfff"]])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").split() == ["name", "\\ud800", "\\udfff"]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_who_tells_goes_on_where_nobody_reads(stream):
    code = ("import sys\nfrom minires.text.terminal import tell\nsys.stdin.readline()\n"
            f"for _ in range(3): tell('a' * 100_000, sys.{stream})\nsys.exit(7)")
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True, **{stream: subprocess.PIPE})
    getattr(process, stream).close()
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(timeout=60) == 7
