"""`minires train`: what it writes and prints, how it goes on after Ctrl-C, and what it says where it cannot."""
import csv
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import minires as mr
from minires.cli import main as cli
from minires.cli import train as train_command
from minires.cli.train import CHECKPOINT, GOOD, METRICS, PICTURE, RUINED, Progress
from minires.text.terminal import duration
from minires.training.images import DATA
from minires.training.loop import Training
from tests.strict_cupy import installed
from tests.tiny_images import TINY

pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")

PER_EPOCH = 5  # batches of 8


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch):
    monkeypatch.setitem(DATA, "tiny", TINY)


def train(*arguments):
    """The exit status of the command on the tiny images."""
    return cli.main(["train", "resnet20", *map(str, arguments)])


def begin(out, steps=12, *arguments):
    return train("--data", "tiny", "--batch", 8, "--steps", steps, "--out", out, *arguments)


def metrics(out):
    """The rows of the CSV file, without the time that was taken."""
    with open(out / METRICS, encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def state(out):
    """What the checkpoint holds of the net and the optimizer."""
    return {name: array for name, array in mr.load(out / CHECKPOINT).items() if name not in ("seconds", "rows")}


def press_ctrl_c(monkeypatch, *steps):
    """Let Ctrl-C come after each of these steps."""
    def show(progress, row):
        if progress.training.step in steps:
            signal.raise_signal(signal.SIGINT)
        usual(progress, row)

    usual = Progress.show
    monkeypatch.setattr(Progress, "show", show)


# ---- a run

def test_a_run_leaves_numbers_curves_and_a_checkpoint(tmp_path, capsys):
    assert begin(tmp_path) == 0
    out, err = capsys.readouterr()
    assert "40 images, batches of 8, 12 steps (2.4 epochs), device cpu" in out
    assert "After 12 steps" in out
    assert err.count("step ") == 3  # the ends of two epochs and of the run
    assert "step 12/12, loss" in err
    rows = metrics(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows if row["test_loss"]] == ["5", "10", "12"]
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.1] * 6 + [0.01] * 3 + [0.001] * 3)
    assert (tmp_path / PICTURE).stat().st_size > 20_000
    model = mr.models.resnet20()
    model.load_state_dict({name.removeprefix("model."): array for name, array in state(tmp_path).items()
                           if name.startswith("model.")})


def test_the_same_command_gives_the_same_numbers_and_another_seed_others(tmp_path):
    for name, seed in (("1", 3), ("2", 3), ("3", 4)):
        begin(tmp_path / name, 6, "--seed", seed)
    first, second, third = [metrics(tmp_path / name) for name in ("1", "2", "3")]
    assert first == second
    assert first != third


def test_epochs_may_be_fractions(tmp_path, capsys):
    train("--data", "tiny", "--batch", 8, "--epochs", 0.4, "--out", tmp_path)
    assert "2 steps (0.4 epochs)" in capsys.readouterr().out


def test_milestones_may_be_given(tmp_path):
    begin(tmp_path, 5, "--milestones", "2,3", "--lr", "1")
    assert [float(row["lr"]) for row in metrics(tmp_path)] == pytest.approx([1, 1, 0.1, 0.01, 0.01])


# ---- going on

@pytest.mark.parametrize("stop", [3, *[pytest.param(stop, marks=pytest.mark.slow) for stop in (5, 11)]])
def test_ctrl_c_loses_nothing_and_the_run_goes_on_bit_for_bit(tmp_path, capsys, monkeypatch, stop):
    begin(tmp_path / "whole")
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, stop)
        assert begin(tmp_path / "parts") == 130
    out, err = capsys.readouterr()
    assert "press Ctrl-C again" in err
    assert f"Stopped after step {stop} of 12; nothing is lost" in out
    command = out.strip().splitlines()[-1].split()
    assert command == ["minires", "train", "resnet20", "--out", str(tmp_path / "parts"), "--resume"]
    assert (tmp_path / "parts" / PICTURE).exists()
    assert cli.main(command[1:]) == 0
    assert f"Going on after step {stop}." in capsys.readouterr().out
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_a_second_ctrl_c_ends_at_once(tmp_path, capsys, monkeypatch):
    def show(progress, row):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "show", show)
    before = signal.getsignal(signal.SIGINT)
    assert begin(tmp_path) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (tmp_path / CHECKPOINT).exists()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_in_a_terminal(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "minires", "train", "resnet20", "--batch", "4", "--steps", "100000", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 300
        while not (out / METRICS).exists() or (out / METRICS).read_text().count("\n") < 2:  # a head and a row
            assert time.monotonic() < deadline, "no row of numbers came"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "nothing is lost" in printed
    assert int(mr.load(out / CHECKPOINT)["step"]) >= 20


def test_a_run_can_be_made_longer(tmp_path, capsys):
    begin(tmp_path, 4)
    assert train("--out", tmp_path, "--resume") == 0
    assert "has made its 4 steps" in capsys.readouterr().out
    assert train("--out", tmp_path, "--resume", "--epochs", 2) == 0
    assert [int(row["step"]) for row in metrics(tmp_path)] == list(range(1, 11))


def test_a_checkpoint_is_written_after_each_epoch_and_after_some_time(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(train_command, "save", lambda state, path: saved.append(state["step"]))
    begin(tmp_path / "1")
    assert saved == [5, 10, 12]
    saved.clear()
    monkeypatch.setattr(train_command, "SAVE_EVERY", -1)
    begin(tmp_path / "2", 4)
    assert saved == [1, 2, 3, 4]


def test_a_run_on_another_device_goes_on_from_the_file(tmp_path):
    """On the strict double of CuPy: nothing here was run on a GPU."""
    begin(tmp_path / "whole", 6)
    with installed():
        begin(tmp_path / "moved", 3, "--device", "cuda", "--milestones", "3,4")
    assert train("--out", tmp_path / "moved", "--resume", "--steps", 6, "--device", "cpu") == 0
    for one, other in zip(metrics(tmp_path / "moved")[:2], metrics(tmp_path / "whole")[:2], strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-3)


# ---- what cannot be done

def test_a_folder_with_a_checkpoint_is_not_overwritten(tmp_path, capsys):
    begin(tmp_path, 2)
    before = (tmp_path / CHECKPOINT).read_bytes()
    assert begin(tmp_path, 2) == 1
    assert "holds the checkpoint of an earlier run: go on from it with --resume" in capsys.readouterr().err
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path, capsys):
    assert train("--out", tmp_path, "--resume") == 1
    assert f"there is no {tmp_path / CHECKPOINT}" in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint_is_not_resumed(tmp_path, capsys):
    mr.save(mr.models.resnet20(), tmp_path / CHECKPOINT)
    assert train("--out", tmp_path, "--resume") == 1
    assert "is not a checkpoint of minires train" in capsys.readouterr().err
    mr.save({"settings": np.array('{"model": "resnet20", "speed": 3}')}, tmp_path / CHECKPOINT)
    assert train("--out", tmp_path, "--resume") == 1
    assert "is not a checkpoint of minires train" in capsys.readouterr().err
    (tmp_path / CHECKPOINT).write_bytes(b"")
    assert train("--out", tmp_path, "--resume") == 1
    assert "it is empty" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value", "said"), [("--batch", 4, "has batch 8, and got 4"), ("--lr", 0.2, "has lr 0.1"),
                                                       ("--seed", 1, "has seed 0"), ("--data", "cifar10", "has data tiny")])
def test_an_option_that_contradicts_the_run_is_refused(tmp_path, capsys, option, value, said):
    begin(tmp_path, 3)
    assert train("--out", tmp_path, "--resume", option, value) == 1
    assert said in capsys.readouterr().err
    assert train("--out", tmp_path, "--resume", "--batch", 8) == 0  # the same as before


def test_another_net_is_not_resumed(tmp_path, capsys):
    begin(tmp_path, 2)
    assert cli.main(["train", "plain20", "--out", str(tmp_path), "--resume"]) == 1
    assert "has model resnet20, and got plain20" in capsys.readouterr().err


def test_a_loss_that_explodes_is_said_and_keeps_the_last_checkpoint(tmp_path, capsys):
    begin(tmp_path, 2)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with np.errstate(all="ignore"):
        assert begin(tmp_path / "2", 12, "--lr", "1e30") == 1
    assert "try a lower learning rate than 1e+30" in capsys.readouterr().err
    assert not (tmp_path / "2" / CHECKPOINT).exists()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("data", ["cifar10", "fashion-mnist"])
def test_where_the_images_are_missing_the_option_for_them_is_named(tmp_path, capsys, data):
    assert cli.main(["train", "resnet20", "--data", data, "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "get " in err
    assert f"minires train looks in --data-dir, which is {str(tmp_path)!r}" in err
    assert not (tmp_path / "out").exists()


def test_a_net_for_colour_images_is_told_from_an_unknown_one(tmp_path, capsys):
    assert cli.main(["train", "resnet18", "--out", str(tmp_path / "out")]) == 1
    assert "resnet18 is a net for colour images" in capsys.readouterr().err
    assert cli.main(["train", "resnet21", "--out", str(tmp_path / "out")]) == 1
    assert "unknown model 'resnet21'" in capsys.readouterr().err


def test_without_cupy_a_gpu_is_an_error_before_anything_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert begin(tmp_path / "out", 2, "--device", "cuda") == 1
    assert "needs CuPy, which is not installed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert begin(tmp_path / "file" / "below", 2) == 1
    assert "cannot write results to the folder" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--steps", "0"), ("--steps", "1.5"), ("--epochs", "-1"), ("--batch", "none"),
                                       ("--lr", "-0.1"), ("--lr", "nan"), ("--momentum", "inf"), ("--seed", "-1"),
                                       ("--milestones", "3,0"), ("--milestones", "a"), ("--data", "mnist"),
                                       ("--steps", "3", "--epochs", "1"), ("--steps", "1" + "0" * 20),
                                       ("--epochs", "1e308"), ("--batch", "9" * 20)])
def test_senseless_options_end_with_status_2(arguments):
    with pytest.raises(SystemExit) as ended:
        train(*arguments)
    assert ended.value.code == 2



def test_a_weight_decay_of_0_is_none(tmp_path):
    assert begin(tmp_path, 1, "--weight-decay", "0", "--momentum", "0") == 0

# ---- a longer run

def test_a_longer_run_has_the_milestones_of_its_length_and_says_so(tmp_path, capsys):
    begin(tmp_path, 12)
    assert train("--out", tmp_path, "--resume", "--steps", 20) == 0
    out = capsys.readouterr().out
    assert "divided by 10 after steps 10, 15 (before: 6, 9; --milestones gives others); the next step has 0.01" in out
    rates = {int(row["step"]): float(row["lr"]) for row in metrics(tmp_path)}
    assert [rates[step] for step in (12, 13, 15, 16, 20)] == pytest.approx([0.001, 0.01, 0.01, 0.001, 0.001])


def test_milestones_that_were_asked_for_stay_and_are_said(tmp_path, capsys):
    begin(tmp_path, 4, "--milestones", 3)
    assert train("--out", tmp_path, "--resume", "--steps", 6) == 0
    assert "divided by 10 after steps 3 (as before; --milestones gives others); the next step has 0.01" in \
        capsys.readouterr().out
    assert float(metrics(tmp_path)[-1]["lr"]) == pytest.approx(0.01)


def test_milestones_may_be_given_when_a_run_goes_on(tmp_path):
    begin(tmp_path, 4)
    assert train("--out", tmp_path, "--resume", "--steps", 8, "--milestones", "2,6") == 0
    rates = {int(row["step"]): float(row["lr"]) for row in metrics(tmp_path)}
    assert [rates[step] for step in (5, 6, 7, 8)] == pytest.approx([0.01, 0.01, 0.001, 0.001])
    assert train("--out", tmp_path, "--resume", "--steps", 9) == 0  # and they stay
    assert float(metrics(tmp_path)[-1]["lr"]) == pytest.approx(0.001)


# ---- other signals than Ctrl-C

@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.parametrize("number", ["SIGHUP", "SIGTERM"])
def test_a_closed_terminal_and_a_request_to_end_lose_nothing_even_twice(tmp_path, monkeypatch, number):
    def show(progress, row):
        signal.raise_signal(getattr(signal, number))
        signal.raise_signal(getattr(signal, number))

    monkeypatch.setattr(Progress, "show", show)
    before = signal.getsignal(getattr(signal, number))
    assert begin(tmp_path) == 130
    assert int(state(tmp_path)["step"]) == 1
    assert signal.getsignal(getattr(signal, number)) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_under_nohup_the_run_outlives_its_terminal(tmp_path, monkeypatch):
    def show(progress, row):
        signal.raise_signal(signal.SIGHUP)

    monkeypatch.setattr(Progress, "show", show)
    outer = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert begin(tmp_path, 2) == 0
    finally:
        signal.signal(signal.SIGHUP, outer)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_that_is_gone_costs_no_step(tmp_path):
    import pty

    command = [sys.executable, "-m", "minires", "train", "resnet20", "--batch", "4", "--steps", "100000", "--out",
               str(tmp_path / "run")]
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        deadline = time.monotonic() + 300
        path = tmp_path / "run" / METRICS
        while not path.exists() or path.read_text().count("\n") < 2:
            assert time.monotonic() < deadline, "no row of numbers came"
            os.read(master, 10_000)
        os.close(master)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=300) == 130
    finally:
        process.kill()
    assert int(mr.load(tmp_path / "run" / CHECKPOINT)["step"]) >= 20


# ---- a loss that is not finite

def break_the_weights(monkeypatch, *steps):
    """Let the update of each of these steps end in weights that are no numbers."""
    def make_step(training, images, labels):
        usual(training, images, labels)
        if training.step in steps:
            training.model.conv1.weight.data[:] = np.nan

    usual = Training._make_step
    monkeypatch.setattr(Training, "_make_step", make_step)


def test_the_row_that_is_not_finite_is_written_and_drawn(tmp_path, capsys, monkeypatch):
    break_the_weights(monkeypatch, 7)
    assert begin(tmp_path) == 1
    assert "is nan" in capsys.readouterr().err
    assert [row["train_loss"] == "nan" for row in metrics(tmp_path)] == [False] * 7 + [True]
    assert (tmp_path / PICTURE).exists()
    assert int(state(tmp_path)["step"]) == 5


def test_the_last_sound_checkpoint_stays_where_the_newest_is_ruined(tmp_path, capsys, monkeypatch):
    """One step an epoch: each step has a checkpoint, and that of step 3 is the ruined one."""
    with monkeypatch.context() as patch:
        break_the_weights(patch, 3)
        assert train("--data", "tiny", "--batch", 40, "--steps", 6, "--out", tmp_path) == 1
    err = capsys.readouterr().err
    assert str(tmp_path / RUINED) in err
    assert "--resume with --milestones" in err
    assert int(mr.load(tmp_path / RUINED)["step"]) == 3
    assert int(state(tmp_path)["step"]) == 2
    assert not (tmp_path / GOOD).exists()
    assert [row["test_loss"] for row in metrics(tmp_path)][2:] == ["nan", "nan"]
    assert train("--out", tmp_path, "--resume") == 0
    assert int(state(tmp_path)["step"]) == 6


def test_beside_a_checkpoint_that_may_not_be_sound_stays_the_last_good_one(tmp_path, monkeypatch):
    press_ctrl_c(monkeypatch, 7)
    assert begin(tmp_path) == 130
    assert [int(mr.load(tmp_path / name)["step"]) for name in (GOOD, CHECKPOINT)] == [5, 7]
    assert train("--out", tmp_path, "--resume") == 0
    assert not (tmp_path / GOOD).exists()


def test_a_run_whose_first_checkpoint_is_ruined_may_begin_again(tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        break_the_weights(patch, 1)
        assert train("--data", "tiny", "--batch", 40, "--steps", 3, "--out", tmp_path) == 1
    assert "There is no checkpoint from before: begin again with a lower --lr" in capsys.readouterr().err
    assert train("--data", "tiny", "--batch", 40, "--steps", 2, "--out", tmp_path) == 0
    assert not (tmp_path / RUINED).exists()


def test_a_test_loss_that_is_no_number_is_told_from_one_that_was_not_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Training, "test", lambda training: (np.nan, 0.9))
    assert begin(tmp_path, 6) == 1
    out, err = capsys.readouterr()
    assert "test loss nan" in out
    assert "the test loss is nan" in err
    assert [row["test_loss"] for row in metrics(tmp_path)] == ["", "", "", "", "nan", "nan"]


# ---- a disk that is full, a folder that is gone

def fail_to_save(monkeypatch, *steps):
    """Let the checkpoints of these steps find no room."""
    def save(state, path):
        if state["step"] in steps:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        mr.save(state, path)

    monkeypatch.setattr(train_command, "save", save)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(tmp_path, capsys, monkeypatch):
    fail_to_save(monkeypatch, 5)
    assert begin(tmp_path) == 0
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert int(state(tmp_path)["step"]) == 12


@pytest.mark.parametrize("stop", [None, 7])
def test_a_last_checkpoint_that_cannot_be_written_is_said_with_what_there_is(tmp_path, capsys, monkeypatch, stop):
    fail_to_save(monkeypatch, 7, 10, 12)
    if stop:
        press_ctrl_c(monkeypatch, stop)
    assert begin(tmp_path) == 1
    out, err = capsys.readouterr()
    assert "nothing is lost" not in out
    assert "could not be written" in err.splitlines()[-1]
    assert f"{tmp_path / CHECKPOINT} is that of step 5: go on from it with --resume" in err.splitlines()[-1]
    assert int(state(tmp_path)["step"]) == 5


def test_a_folder_that_was_deleted_is_made_again(tmp_path, capsys, monkeypatch):
    def show(progress, row):
        if progress.training.step == 3:
            shutil.rmtree(tmp_path / "out")
        usual(progress, row)

    usual = Progress.show
    monkeypatch.setattr(Progress, "show", show)
    assert begin(tmp_path / "out") == 0
    assert "The run goes on" in capsys.readouterr().err
    assert [int(row["step"]) for row in metrics(tmp_path / "out")] == list(range(1, 13))
    assert int(state(tmp_path / "out")["step"]) == 12


# ---- checkpoints of odd content

@pytest.mark.parametrize("changed", [
    {"step": 3.7}, {"step": 10**15}, {"step": -1}, {"step": [2, 2]}, {"step": "two"}, {"seconds": "long"}, {"seconds": -1},
    {"seconds": np.nan}, {"rows": np.zeros(3)}, {"rows": np.zeros((2, 3))}, {"rows": np.full((1, 8), np.nan)},
    {"rows": np.array([["a"] * 8])}, {"answers.losses": 3.0}, {"answers.losses": np.zeros(4)}, {"answers.wrong": "no"},
    {"answers.counts": np.array([1.5])}, {"schedule.steps": 10**15}, {"schedule.steps": "none"}, {"optimizer.lr": np.nan},
    {"optimizer.lr": np.ones(2)}, {"model.conv1.weight": np.zeros(2)}, {"settings": 3}, {"settings": "[]"}, {"version": 2},
    {"settings": "[" * 100_000}, {"step": 10**15, "schedule.steps": 10**15}], ids=str)
def test_a_checkpoint_of_odd_content_is_an_error_of_ours(tmp_path, capsys, one_checkpoint, changed):
    mr.save(one_checkpoint | {name: np.array(value) for name, value in changed.items()}, tmp_path / CHECKPOINT)
    assert train("--out", tmp_path, "--resume", "--steps", 3) == 1
    assert capsys.readouterr().err.startswith("minires: ")


@pytest.mark.parametrize("missing", ["step", "seconds", "rows", "answers.wrong", "schedule.steps", "optimizer.lr",
                                     "settings", "model.conv1.weight"])
def test_a_checkpoint_that_lacks_something_is_an_error_of_ours(tmp_path, capsys, one_checkpoint, missing):
    mr.save({name: value for name, value in one_checkpoint.items() if name != missing}, tmp_path / CHECKPOINT)
    assert train("--out", tmp_path, "--resume", "--steps", 3) == 1
    assert capsys.readouterr().err.startswith("minires: ")


def test_a_checkpoint_without_a_version_is_of_the_first(tmp_path, one_checkpoint):
    mr.save({name: value for name, value in one_checkpoint.items() if name != "version"}, tmp_path / CHECKPOINT)
    assert train("--out", tmp_path, "--resume", "--steps", 3) == 0


@pytest.fixture(scope="module")
def one_checkpoint(tmp_path_factory):
    """What the checkpoint of a run of two steps holds."""
    out = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATA, "tiny", TINY)
        assert begin(out, 2) == 0
    return mr.load(out / CHECKPOINT)


# ---- the line on a terminal

class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_one_line_counts_the_steps(tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    begin(tmp_path, 6)
    lines = terminal.getvalue().split("\n")
    assert len(lines) == 3  # two tests, and nothing after them
    assert lines[0].count("\r") == 5  # a step each
    assert "step 4/6, loss" in lines[0]
    assert "left" in lines[0]


@pytest.mark.parametrize(("seconds", "text"), [(12.3, "12 s"), (150, "2 min"), (9000, "2.5 h")])
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
