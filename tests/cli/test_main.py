"""The command `minires`: lessons by name and number, clear errors, exit statuses."""
import io
import os
import subprocess
import sys

import pytest

import minires as mr
from minires.cli import main as cli
from minires.course import lessons as course
from minires.engine.state import state
from tests.pdb_session import ONE_STEP, Session


def run(capsys, *arguments):
    """(exit status, standard output, standard error) of the command, in this process."""
    status = cli.main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


def test_lessons_are_listed_in_order_with_time_and_question(capsys):
    status, out, _ = run(capsys, "lessons")
    assert status == 0
    assert out.index("vanishing") < out.index("plain_vs_residual")
    for lesson in course.all_lessons():
        assert lesson.question.endswith("?")
        assert lesson.time
        assert lesson.question in out


@pytest.mark.parametrize("name", ["plain_vs_residual", "07_plain_vs_residual", "07", "7"])
def test_a_lesson_is_found_by_name_and_number(name):
    assert course.find_lesson(name).name == "plain_vs_residual"


def test_an_unknown_lesson_lists_the_known_ones(capsys):
    status, _, err = run(capsys, "lesson", "degradatoin")
    assert status == 1
    assert "unknown lesson 'degradatoin'. Did you mean 'degradation'?" in err
    assert "plain_vs_residual" in err


def test_an_unknown_model_lists_the_known_ones(capsys):
    status, _, err = run(capsys, "summary", "resnet21")
    assert status == 1
    assert "Did you mean 'resnet20'?" in err
    assert "resnet20" in err
    assert "plain110" in err


def test_summary_prints_the_published_number_of_parameters(capsys):
    status, out, _ = run(capsys, "summary", "resnet20")
    assert status == 0
    assert "parameters: 269,722" in out


def test_the_smallest_image_has_a_summary(capsys):
    status, out, _ = run(capsys, "summary", "resnet20", "--size", "1")
    assert (status, "multiply-adds" in out) == (0, True)


@pytest.mark.parametrize("arguments", [("summary", "resnet20", "--size", "0"), ("summary", "resnet20", "--size", "9" * 20),
                                       ("fly",), ()])
def test_wrong_usage_ends_with_status_2(arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


def test_python_m_minires_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "minires", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"minires {mr.__version__}"


@pytest.mark.parametrize("backend", ["module://no_such_package.backend_inline",
                                     pytest.param("QtAgg", marks=pytest.mark.slow)])
@pytest.mark.parametrize("arguments", [
    ("draw", "block"),
    pytest.param(("train", "resnet20", "--batch", "4", "--steps", "1"), marks=pytest.mark.slow),
    ("doctor",),
    pytest.param(("lesson", "what_is_a_resnet", "--tiny"), marks=pytest.mark.slow),
], ids=lambda arguments: arguments[0])
def test_a_backend_that_is_not_there_ends_no_command(tmp_path, backend, arguments):
    """A notebook hands the name of its own to what it starts, whose environment may lack it."""
    environment = {**os.environ, "MPLBACKEND": backend}
    done = subprocess.run([sys.executable, "-m", "minires", *arguments], capture_output=True, text=True, cwd=tmp_path,
                          env=environment, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "not known:" not in done.stdout  # of the doctor
    assert arguments == ("doctor",) or list(tmp_path.rglob("*.png"))


def test_too_little_memory_is_a_line(capsys, monkeypatch):
    def no_memory(chosen):
        raise MemoryError("Unable to allocate 9 EiB")

    monkeypatch.setattr(cli.summary, "run", no_memory)
    status, _, err = run(capsys, "summary", "resnet20")
    assert (status, err) == (1, "minires: there is not enough memory for this: Unable to allocate 9 EiB\n")


def a_lesson(monkeypatch, tmp_path, body):
    """Make a folder with one lesson the lessons' folder."""
    head = '"""\nA toy\n=====\n\n:Question: Is it?\n:Time: none\n"""\n'
    (tmp_path / "01_toy.py").write_text(head + body, encoding="utf-8")
    monkeypatch.setattr(course, "lessons_folder", lambda: tmp_path)


def test_an_interrupted_lesson_says_so_without_a_traceback(capsys, monkeypatch, tmp_path):
    a_lesson(monkeypatch, tmp_path, "raise KeyboardInterrupt\n")
    status, _, err = run(capsys, "lesson", "toy")
    assert status == 130
    assert "interrupted" in err


def test_what_the_encoding_of_the_output_lacks_does_not_end_a_lesson(monkeypatch, tmp_path):
    a_lesson(monkeypatch, tmp_path, "print('dy\u1d40 x')\n")
    page = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # as on Windows, where the output goes to a file
    monkeypatch.setattr(sys, "stdout", page)
    assert cli.main(["lesson", "toy"]) == 0
    page.flush()
    assert page.buffer.getvalue().split() == [b"dy?", b"x"]


def test_the_options_after_the_name_are_the_lessons_own(capsys, monkeypatch, tmp_path):
    a_lesson(monkeypatch, tmp_path, "import sys\nprint(sys.argv[1:])\n")
    before = list(sys.argv)
    status, out, _ = run(capsys, "lesson", "toy", "--seeds", "3")
    assert (status, out.strip()) == (0, "['--seeds', '3']")
    assert sys.argv == before


def test_an_output_folder_that_cannot_be_written_is_named(capsys, monkeypatch, tmp_path):
    a_lesson(monkeypatch, tmp_path, "from minires.course import lesson\nlesson.options(__doc__)\n")
    (tmp_path / "file").write_text("", encoding="utf-8")
    status, _, err = run(capsys, "lesson", "toy", "--out", str(tmp_path / "file" / "below"))
    assert status == 1
    assert "cannot write results" in err
    assert "--out" in err


BACKWARD = """
import minires as mr
from minires.course import lesson
options = lesson.options(__doc__)
checks = lesson.Checks()
net = mr.models.cifar_net(8, width=2, in_channels=1)
x = mr.Tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[0.0, 2.0], [0.0, 4.0]]]])
loss = mr.ops.cross_entropy(net(x), [3, 4])
loss.backward()
checks.add("loss", loss.item(), 0, 99, "a guess")
checks.finish(options)
"""


@pytest.fixture
def stepping_lesson(monkeypatch, tmp_path):
    """A lesson with a backward pass, whose options come from here; what it leaves behind when it is quit is put away."""
    a_lesson(monkeypatch, tmp_path, BACKWARD)
    monkeypatch.setattr(state, "hooks", ())
    monkeypatch.setattr(state, "reference", False)
    monkeypatch.setattr(state, "blocks", [])
    monkeypatch.setattr(state, "outside", {})
    return "lesson", "toy", "--out", str(tmp_path / "out"), "--break-at"


def test_a_lesson_is_stopped_in_a_layer_by_name_and_goes_on(capsys, stepping_lesson, tmp_path):
    with Session(*ONE_STEP, "p dy.shape, step.name", "continue") as session:
        status, out, _ = run(capsys, *stepping_lesson, "layer3.0.conv2")
    assert session.answers[1 + len(ONE_STEP)].strip() == "((2, 8, 1, 1), 'layer3.0.conv2')"
    assert status == 0
    assert "backward of Conv2d (layer 'layer3.0.conv2')" in out
    assert (tmp_path / "out" / "checks.csv").exists()
    assert state.hooks == ()
    assert not state.reference


def test_a_layer_that_no_lesson_has_is_an_error_that_lists_near_ones_and_loses_no_result(capsys, stepping_lesson, tmp_path):
    status, _, err = run(capsys, *stepping_lesson, "layer3.9.conv2")
    assert status == 1
    first = next(line for line in err.splitlines() if "Waiting for another pass" in line)  # at the end of the first pass
    assert "; it is of a ResNet of 8 convolutions and linear layers. " in first
    last = err.splitlines()[-1]
    assert last.endswith("; what ran is a ResNet of 8 convolutions and linear layers")
    assert last.startswith("minires: break_at: nothing of the name 'layer3.9.conv2' has run. Near it are layer3.0.conv2, ")
    assert (tmp_path / "out" / "checks.csv").exists()


def test_who_quits_the_debugger_gets_no_traceback(capsys, stepping_lesson):
    with Session("quit"):
        status, _, err = run(capsys, *stepping_lesson, "Conv2d")
    assert (status, err.strip()) == (1, "minires: ended in the debugger")


def test_all_lessons_at_once_cannot_be_stopped_in_a_layer(capsys, stepping_lesson):
    with pytest.raises(SystemExit) as ended:
        cli.main(["lesson", "all", "--break-at", "fc"])
    assert ended.value.code == 2
    assert "--break-at stops in one lesson" in capsys.readouterr().err
