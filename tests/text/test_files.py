"""Folders and files of results: what is in them, in which encoding, and what is said where they cannot be written."""
from pathlib import Path

import pytest
from matplotlib import pyplot

from minires.errors import FileError
from minires.text.files import append_csv, output_folder, write_csv, write_figure, write_text


@pytest.fixture
def figure():
    figure, _axes = pyplot.subplots()
    yield figure
    pyplot.close(figure)


# ---- folders

def test_a_folder_is_made_with_those_above_it_and_nothing_is_left_in_it(tmp_path):
    folder = output_folder(str(tmp_path / "a" / "b"))
    assert folder == tmp_path / "a" / "b"
    assert list(folder.iterdir()) == []
    assert output_folder(folder) == folder


def test_another_process_may_try_the_same_folder_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "touch", lambda path: None)  # as if the other one had just removed what both have made
    assert output_folder(tmp_path) == tmp_path


def test_a_folder_that_cannot_be_made_or_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileError, match=r"cannot write results to the folder .*below \(.*Name another with --out DIR$"):
        output_folder(tmp_path / "file" / "below")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # as in a folder of somebody else's
    with pytest.raises(FileError, match=r"cannot write results to the folder .* \(Permission denied\)"):
        output_folder(tmp_path)


# ---- files

def test_a_text_is_written_as_utf_8(tmp_path):
    write_text(tmp_path / "a.txt", "‖dL/dW‖\n")
    assert (tmp_path / "a.txt").read_bytes().replace(b"\r\n", b"\n") == "‖dL/dW‖\n".encode()
    write_text(str(tmp_path / "a.txt"), "b")
    assert (tmp_path / "a.txt").read_bytes() == b"b"


def test_a_table_is_written_as_csv_and_added_to(tmp_path):
    write_csv(tmp_path / "a.csv", ["what", "value"], ([what, 0.1] for what in ("‖x‖", "a,b")))
    assert (tmp_path / "a.csv").read_bytes() == 'what,value\r\n‖x‖,0.1\r\n"a,b",0.1\r\n'.encode()
    append_csv(tmp_path / "a.csv", [["c", ""]])
    assert (tmp_path / "a.csv").read_bytes().endswith(b'"a,b",0.1\r\nc,\r\n')
    write_csv(tmp_path / "a.csv", ["what"], [])
    assert (tmp_path / "a.csv").read_bytes() == b"what\r\n"


def test_a_figure_is_a_png(tmp_path, figure):
    write_figure(tmp_path / "a.png", figure)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_written_is_named_with_the_reason_and_what_to_do(tmp_path, figure):
    path = tmp_path / "none" / "a"
    for attempt, write in (("cannot write", lambda: write_text(path, "x")),
                           ("cannot write the page", lambda: write_text(path, "x", "cannot write the page")),
                           ("cannot write", lambda: write_csv(path, ["x"], [])),
                           ("cannot write the rows", lambda: write_csv(path, ["x"], [], "cannot write the rows")),
                           ("cannot write", lambda: append_csv(path, [])),
                           ("cannot write the figure", lambda: write_figure(path, figure))):
        with pytest.raises(FileError) as caught:
            write()
        message = str(caught.value)
        assert message.startswith(f"{attempt} {path}")
        assert "(No such file or directory). Give the path of a file in a folder that exists" in message
