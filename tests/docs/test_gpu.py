"""docs/gpu.md: its blocks run, on the CPU and on the strict double of CuPy; its commands and messages are the real ones."""
import contextlib
import re
import shlex
import sys

import numpy as np
import pytest

import minires as mr
from benchmarks import gpu
from minires.arrays import backend
from minires.cli import main as cli
from minires.course import lesson, lessons
from tests.docs.page import FOLDER, python_blocks, run
from tests.strict_cupy import installed

PAGE = (FOLDER / "gpu.md").read_text(encoding="utf-8")


def commands():
    """The lines of the page's ```sh blocks, without comments and the notebook's exclamation mark."""
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)).splitlines()
    return [command.strip().removeprefix("!") for line in lines for command in line.partition("#")[0].split("&&")]


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_the_blocks_run_on_either_device(device, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if device == "cpu":
        monkeypatch.setitem(sys.modules, "cupy", None)
    with installed() if device != "cpu" else contextlib.nullcontext():
        names = run(python_blocks("gpu.md"))
        assert names["device"] == device
        assert {loss.device for loss in names["losses"]} == {device}
        assert {backend.device_of(velocity) for velocity in names["optimizer"].velocities} == {device}
        state = names["model"].state_dict()
    out = capsys.readouterr().out
    assert ("on the CPU, as a CUDA device needs CuPy" in out) == (device == "cpu")
    assert re.search(r"\[\d\.\d+, \d\.\d+, \d\.\d+\]", out)
    assert {parameter.device for parameter in names["again"].parameters()} == {"cpu"}
    for name, array in names["again"].state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    assert all(isinstance(velocity, np.ndarray) for velocity in names["its_optimizer"].velocities)


def test_the_minires_commands_of_the_page_are_understood(monkeypatch):
    parser, understood = cli._parser(), 0
    for command in commands():
        words = shlex.split(command)
        if words[:1] == ["minires"]:
            if words[1] == "lesson":
                chosen = lesson.options_parser(words[2], "a lesson", 5).parse_args(words[3:])
                assert lessons.find_lesson(words[2])
            else:
                chosen = parser.parse_args(words[1:])
            assert getattr(chosen, "device", "cuda") in ("cuda", "cpu")
            understood += 1
    assert understood == 5
    assert "python -m benchmarks.gpu" in commands()
    assert gpu.main is not None


def test_the_messages_in_the_table_are_those_of_the_program():
    source = (FOLDER.parent / "minires" / "arrays" / "cuda.py").read_text(encoding="utf-8")
    begins = re.findall(r"^\| ((?:a CUDA device|CuPy found)[^|]+?) \|", PAGE, re.MULTILINE)
    assert len(begins) == 3
    for begin in begins:
        assert begin in source


def test_what_the_page_says_to_install_is_what_the_messages_say(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(mr.DeviceError) as error:
        backend.usable_device("cuda")
    for command in re.findall(r"`(pip install \"cupy[^`]+)`", PAGE):
        assert command in str(error.value)
    for driver in re.findall(r"^\| (\d+) or later \|", PAGE, re.MULTILINE):
        assert f"from {driver} on" in str(error.value)


def test_a_step_copies_what_the_page_says():
    launches, uploads, downloads = gpu.count_launches(8, depth=8)  # the images are there already
    assert launches
    assert len(uploads) == 1
    assert downloads == []
