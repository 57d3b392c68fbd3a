"""What the lessons share: options, sizes, figures and folders."""
import io
import sys
import types

import pytest
from matplotlib import pyplot

from minires.course import lesson
from minires.errors import DeviceError


def options(tmp_path, *arguments):
    return lesson.options("A title\n=======\n", argv=["--out", str(tmp_path / "out"), *arguments])


def test_seeds_are_consecutive_and_full_doubles_them(tmp_path):
    assert options(tmp_path).seeds == [0, 1, 2, 3, 4]
    assert options(tmp_path, "--seed", "7", "--seeds", "2").seeds == [7, 8]
    assert options(tmp_path, "--seeds", "2", "--full").seeds == [0, 1, 2, 3]


def test_a_tiny_run_has_two_seeds_at_most(tmp_path):
    assert options(tmp_path, "--tiny").seeds == [0, 1]
    assert options(tmp_path, "--tiny", "--seeds", "1", "--seed", "4").seeds == [4]


@pytest.mark.parametrize(("arguments", "size"), [((), "default"), (("--tiny",), "tiny"), (("--full",), "full")])
def test_pick_gives_the_size_of_the_run(tmp_path, arguments, size):
    assert options(tmp_path, *arguments).pick(tiny="tiny", default="default", full="full") == size


@pytest.mark.parametrize("arguments", [("--tiny", "--full"), ("--tiny", "--check"),
                                       ("--seeds", "0"), ("--seed", "-1"), ("--seeds", "two"), ("--no-such",)])
def test_senseless_options_are_refused(tmp_path, arguments):
    with pytest.raises(SystemExit) as ended:
        options(tmp_path, *arguments)
    assert ended.value.code == 2


def test_the_device_is_named_in_full_and_one_that_cannot_be_used_is_an_error_before_anything_is_made(tmp_path, monkeypatch):
    assert options(tmp_path).device == "cpu"
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if CuPy was not installed
    with pytest.raises(DeviceError, match="CuPy, which is not installed"):
        lesson.options("A title\n", argv=["--out", str(tmp_path / "new"), "--device", "cuda"])
    assert not (tmp_path / "new").exists()


def test_progress_yields_everything_and_is_silent_without_a_terminal(capsys):
    assert list(lesson.progress(range(3), "counting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_notebook_has_no_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/somewhere/ipykernel_launcher.py", "-f", "kernel.json"])
    chosen = lesson.options("Automatically created module")
    assert (chosen.lesson, chosen.seeds) == ("notebook", [0, 1, 2, 3, 4])
    assert chosen.out.is_dir()


@pytest.mark.parametrize("doc", ["", None])
def test_without_a_docstring_a_lesson_is_called_by_its_name(doc, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lessons/03_exploding.py"])
    lesson.options(doc, argv=["--out", str(tmp_path)])
    assert capsys.readouterr().out == "exploding\n\n"


def test_what_the_encoding_of_the_output_lacks_does_not_end_a_lesson_that_is_run_as_a_script(tmp_path, monkeypatch):
    page = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # as on Windows, where the output goes to a file
    monkeypatch.setattr(sys, "stdout", page)
    lesson.options("The \u03c3 of a layer", argv=["--out", str(tmp_path)])
    page.flush()
    assert page.buffer.getvalue().strip() == b"The ? of a layer"


def test_an_earlier_runs_results_are_gone_before_a_run_has_its_own(tmp_path):
    first = options(tmp_path)
    (first.out / "results.json").write_text("{}", encoding="utf-8")
    assert not (options(tmp_path).out / "results.json").exists()


def test_a_figure_is_kept_with_its_title_as_caption(tmp_path):
    chosen = options(tmp_path)
    figure, axes = pyplot.subplots(1, 2)
    axes[0].set_title("left")
    lesson.save_figure(figure, chosen, "a.png")
    figure.suptitle("Both\nsides")
    lesson.save_figure(figure, chosen, "b.png")
    pyplot.close(figure)
    assert chosen.figures == [{"file": "a.png", "caption": "left"}, {"file": "b.png", "caption": "Both sides"}]
    assert (chosen.out / "b.png").stat().st_size > 1000


def test_in_a_notebook_a_saved_figure_is_shown(tmp_path, monkeypatch):
    shown = []
    display = types.ModuleType("IPython.display")
    display.Image, display.display = (lambda filename: filename), shown.append
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/somewhere/ipykernel_launcher.py"])
    chosen = lesson.options("")
    figure, _ = pyplot.subplots()
    lesson.save_figure(figure, chosen, "a.png")
    pyplot.close(figure)
    assert shown == [str(chosen.out / "a.png")]


@pytest.mark.parametrize(("text", "name"), [("N(0, 0.01²)", "N-0-0.01-2"), ("He / 1.4 (Glorot)", "He-1.4-Glorot"),
                                            ("x₁ é", "x1-e"), ("../up", "up"), ("plain", "plain")])
def test_the_name_of_a_file_is_ascii_without_what_has_a_meaning(text, name):
    assert lesson.file_name(text) == name


@pytest.mark.parametrize("count", ["9" * 20, "0", "-1"])
def test_senseless_numbers_of_seeds_end_with_status_2(tmp_path, count):
    with pytest.raises(SystemExit) as ended:
        lesson.options("A title", argv=["--out", str(tmp_path), "--seeds", count])
    assert ended.value.code == 2
