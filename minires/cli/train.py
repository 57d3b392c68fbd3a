"""`minires train MODEL`: the training of a named net, with progress, a table of numbers, checkpoints and a picture."""
from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from minires.cli.interruption import StopAfterStep
from minires.cli.train_options import add_options, given_settings
from minires.cli.train_progress import Progress
from minires.errors import AnomalyError, ArgumentError, DataError, file_errors
from minires.nn.saving import load, save
from minires.text.files import append_csv, output_folder, write_csv
from minires.text.terminal import duration, tell
from minires.training.build import make_training
from minires.training.loop import Row, Training
from minires.training.settings import Settings, resolve

CHECKPOINT, METRICS, PICTURE = "checkpoint.npz", "metrics.csv", "training.png"
GOOD = "checkpoint-good.npz"  # the last one that is known to be sound, where the newest is not
RUINED = "checkpoint-ruined.npz"  # the newest one, where training from it led to a loss that is not finite
SAVE_EVERY = 600  # seconds; also after each epoch, at the end, and at Ctrl-C
TRY_AGAIN_AFTER = 60  # seconds, where a checkpoint could not be written
VERSION = 1  # of a checkpoint


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train` to the commands of `minires`."""
    parser = commands.add_parser("train", help="train a net: minires train resnet20 --data cifar10 --epochs 10")
    add_options(parser)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Train as the options say. Returns 0 at the end of the run, 130 after Ctrl-C, which loses nothing.

    Where something could not be written, or the last test loss is not finite, it returns 1.

    Raises:
        ArgumentError: the folder holds a run already and --resume is not given, or holds none and it is, or an option
            contradicts the run that goes on.
        DeviceError, FileError, DataError, AnomalyError, UnknownNameError: the message says what to do.
    """
    out = Path(chosen.out or f"minires-output/train-{chosen.model}")
    if not chosen.resume and (out / CHECKPOINT).exists():
        raise ArgumentError(f"{out} holds the checkpoint of an earlier run: go on from it with --resume, name another "
                            f"folder with --out, or delete {out / CHECKPOINT}")
    checkpoint, earlier = read_checkpoint(out / CHECKPOINT) if chosen.resume else (None, None)
    settings, (images, labels) = resolve(given_settings(chosen), out, earlier)
    training = make_training(settings, images, labels)
    if checkpoint is not None and earlier is not None:
        training.load_state_dict(checkpoint)
        if settings.milestones != earlier.milestones:
            training.optimizer.lr = settings.lr_after(training.step)
    output_folder(out)
    return _run(training, settings, out, earlier)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Settings]:
    """(the state of a training, the `Settings` that it was made with).

    Raises:
        ArgumentError: there is no such file.
        FileError, DataError: it cannot be read, or is not a checkpoint of `minires train`.
    """
    if not path.exists():
        raise ArgumentError(f"--resume: there is no {path}: name the folder of the run with --out, or begin one without "
                            "--resume")
    checkpoint = load(path)
    version = checkpoint.pop("version", np.array(1))  # which the first ones did not state
    if version.shape == () and version.dtype.kind in "iu" and version > VERSION:
        raise DataError(f"--resume: {path} is a checkpoint of version {version}, and this minires reads up to {VERSION}: "
                        "use a newer one")
    try:
        settings = Settings.from_json(str(checkpoint.pop("settings", "")))
        _check_steps(checkpoint, settings)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"--resume: {path} is not a checkpoint of minires train ({error})") from error
    return checkpoint, settings


def _check_steps(checkpoint, settings):
    """Raise ValueError or KeyError unless all that counts steps has counted the same."""
    step = checkpoint["step"]
    if step.shape != () or step.dtype.kind not in "iu" or not 0 <= step <= settings.steps:
        raise ValueError(f"it made {step!r} of {settings.steps} steps")
    if not np.array_equal(checkpoint["schedule.steps"], step):
        raise ValueError(f"it made {step} steps, and its schedule {checkpoint['schedule.steps']!r}")
    rows = checkpoint["rows"]
    if rows.dtype.kind == "f" and rows.ndim == 2 and rows.size and not rows[-1, 0] <= step:
        raise ValueError(f"it made {step} steps, and has a row of step {rows[-1, 0]:g}")


# ---- the run

def _run(training: Training, settings: Settings, out: Path, earlier: Settings | None) -> int:
    steps = settings.steps
    title = f"{settings.model} on {settings.data}"
    print(f"{title}: {len(training.batches.labels)} images, batches of {settings.batch}, {steps} steps "
          f"({steps / len(training.batches):.3g} epochs), device {training.device}, results in {out}")
    if training.step >= steps:
        print(f"The run has made its {training.step} steps. Train further with --resume and a larger --steps or --epochs; "
              "--milestones says when the learning rate is divided by 10, else at a half and three quarters of the new "
              "length, if it was so before.")
        return 0
    if training.step:
        print(f"Going on after step {training.step}.")
    if earlier is not None:
        print(_milestones_text(settings, earlier, training.step))
    files = RunFiles(training, settings, out)
    with StopAfterStep() as stop:
        try:
            _train(training, steps, files, stop)
        except AnomalyError as error:
            files.add_row(training.rows[-1])
            files.draw(title)
            raise AnomalyError(f"{error}. {files.set_ruined_aside()}") from error
        files.draw(title)
    return _report(training, steps, files)


def _train(training: Training, steps: int, files: RunFiles, stop: StopAfterStep) -> None:
    """Make the steps, and write on the way what is known, until the end or a request to stop."""
    progress = Progress(training, steps)
    for row in training.run(steps):
        progress.show(row)
        if row is not None:
            files.add_row(row)
        is_tested = row is not None and training.step % len(training.batches) == 0
        if is_tested or training.step == steps or stop.requested or files.is_due():
            files.save()
        if stop.requested:
            break


def _milestones_text(settings: Settings, earlier: Settings, step: int) -> str:
    """Which milestones hold in a run that goes on, and where they come from."""
    at = f"after steps {', '.join(map(str, settings.milestones))}" if settings.milestones else "never"
    if settings.milestones != earlier.milestones:
        before = ", ".join(map(str, earlier.milestones)) or "none"
        why = f" (before: {before}; --milestones gives others)"
    else:
        why = " (as before; --milestones gives others)"
    return f"The learning rate is divided by 10 {at}{why}; the next step has {settings.lr_after(step):.3g}."


def _report(training: Training, steps: int, files: RunFiles) -> int:
    """Say how the run ended, and return the exit status."""
    again = f"minires train {files.settings.model} --out {files.out} --resume"
    if files.problem:
        made = "Made" if training.step >= steps else "Stopped after"
        tell(f"{made} step {training.step} of {steps}, but {files.problem}. {files.what_is_saved()}", sys.stderr)
        return 1
    if training.step < steps:
        tell(f"Stopped after step {training.step} of {steps}; nothing is lost. Go on with:\n    {again}")
        return 130
    row = training.rows[-1]
    test = f"test loss {row.test_loss:.3f} ({row.test_error:.1%} wrong)" if row.is_tested else "not tested"
    tell(f"After {row.step} steps, in {duration(row.seconds)}: training loss {row.train_loss:.3f} "
         f"({row.train_error:.1%} wrong), {test}\n{files.out / METRICS}: the numbers; {files.out / PICTURE}: the curves; "
         f"{files.out / CHECKPOINT}: weights and state, for --resume")
    if row.is_tested and not math.isfinite(row.test_loss):
        tell(f"minires: the test loss is {row.test_loss}: the net gives no finite answers in evaluation mode, whose batch "
             f"norm uses running statistics. Try a lower learning rate than {files.settings.lr:g}", sys.stderr)
        return 1
    return 0


class RunFiles:
    """The files of a run: numbers, checkpoints, picture. What cannot be written is tried again, and the run goes on.

    Beside a checkpoint that is not known to be sound, the last one that is stays under a second name. A checkpoint is sound
    if its numbers are finite and so is its test loss, or the training loss that came later.

    Attributes:
        out: the folder.
        settings: of the run.
        problem: what could not be written at the last attempt, and why; "" where all is there.
    """

    def __init__(self, training: Training, settings: Settings, out: Path) -> None:
        self.out = out
        self.settings = settings
        self._training = training
        self._problems: dict[str, str] = {}  # {name of a file: why it could not be written}
        self._saved_step: int = training.step  # 0: there is no checkpoint yet
        self._saved_at: float = time.monotonic()
        self._is_sound = training.step > 0 and _is_sound(training, training.state_dict())
        if training.step == 0:  # what an earlier run has left is not of this one
            for name in (GOOD, RUINED):
                with file_errors("cannot delete", out / name):
                    (out / name).unlink(missing_ok=True)
        self._write_numbers()

    @property
    def problem(self) -> str:
        """What could not be written at the last attempt, and why."""
        return "; ".join(self._problems.values())

    def is_due(self) -> bool:
        """Is it time for a checkpoint, wherever in an epoch the run is?"""
        wait = TRY_AGAIN_AFTER if self._problems else SAVE_EVERY
        return time.monotonic() - self._saved_at > wait

    def add_row(self, row: Row) -> None:
        """Write a row of numbers."""
        self._is_sound = self._is_sound or (self._saved_step > 0 and math.isfinite(row.train_loss))
        if METRICS not in self._problems:  # else all of them are written with the next checkpoint
            with self._trying(METRICS):
                append_csv(self.out / METRICS, [_fields(row)])

    def save(self) -> None:
        """Write a checkpoint, and what could not be written before."""
        state = self._training.state_dict()
        is_sound = _is_sound(self._training, state)
        extra = {"settings": np.array(self.settings.to_json()), "version": np.array(VERSION)}
        self._saved_at = time.monotonic()
        with self._trying(CHECKPOINT):
            self.out.mkdir(parents=True, exist_ok=True)  # it may have been deleted
            if self._is_sound and not is_sound:
                _second_name(self.out / CHECKPOINT, self.out / GOOD)
            save(state | extra, self.out / CHECKPOINT)
            self._saved_step, self._is_sound = self._training.step, is_sound
            if is_sound:
                (self.out / GOOD).unlink(missing_ok=True)  # the newest is the last good one
        if METRICS in self._problems:
            with self._trying(METRICS):
                self._write_numbers()

    def draw(self, title: str) -> None:
        """Write the curves so far, where there is a row."""
        if not self._training.rows:
            return
        from minires.training.plot import write_curves  # here, so that a run that fails early does not wait for matplotlib

        with self._trying(PICTURE):
            write_curves(self._training.rows, title, self.out / PICTURE)

    def set_ruined_aside(self) -> str:
        """After a loss that is not finite: leave as the checkpoint the last one that is sound; says what is there."""
        newest, good, ruined = self.out / CHECKPOINT, self.out / GOOD, self.out / RUINED
        if not self._is_sound and newest.exists():
            with self._trying(CHECKPOINT):
                _second_name(newest, ruined)
                if good.exists():
                    os.replace(good, newest)
                else:
                    newest.unlink()
        told = f"The newest checkpoint led there, and is now {ruined}. " if ruined.exists() else ""
        if newest.exists():
            return (f"{told}{newest} is from before: --resume with --milestones of a step up to there goes on from it at a "
                    "lower rate")
        return f"{told}There is no checkpoint from before: begin again with a lower --lr"

    def what_is_saved(self) -> str:
        """A sentence on the checkpoint that there is."""
        path = self.out / CHECKPOINT
        if not path.exists():
            return f"There is no checkpoint in {self.out}"
        return f"{path} is that of step {self._saved_step}: go on from it with --resume"

    def _write_numbers(self):
        """All rows so far, in one move: the old file stays whole where the disk is full."""
        beside = self.out / f"{METRICS}.tmp"
        try:
            write_csv(beside, Row._fields, map(_fields, self._training.rows))
            os.replace(beside, self.out / METRICS)
        finally:
            beside.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _trying(self, name):
        """A block that writes a file: an error is told, once, and does not end the run."""
        try:
            yield
        except OSError as error:
            reason = getattr(error.__cause__, "strerror", None) or error.strerror or error  # ours come from the system's
            if name not in self._problems and name != PICTURE:
                tell(f"\nminires: cannot write {self.out / name} ({reason}). The run goes on, and tries again with the next "
                     "checkpoint: make room, or the folder writable", sys.stderr)
            self._problems[name] = f"{self.out / name} could not be written ({reason})"
        else:
            self._problems.pop(name, None)


def _is_sound(training: Training, state: dict[str, Any]) -> bool:
    """Is this state known to give finite numbers: all of its own are finite, and it was tested with a finite loss?"""
    row = training.rows[-1] if training.rows else None
    if row is None or row.step != training.step or not row.is_tested or not math.isfinite(row.test_loss):
        return False
    return all(np.isfinite(value).all() for name, value in state.items() if name.startswith(("model.", "optimizer.")))


def _second_name(path: Path, name: Path) -> None:
    """Give the file another name too, in one move; a copy of it where the disk knows no links."""
    temporary = name.with_name(f"{name.name}.tmp")
    temporary.unlink(missing_ok=True)
    if not path.exists():
        return
    try:
        os.link(path, temporary)
    except OSError:
        shutil.copyfile(path, temporary)
    os.replace(temporary, name)


def _fields(row):
    """A row for the CSV file; empty is what was not measured, and "nan" what is no number. Numbers are written whole, so
    that equal runs make equal files."""
    return ["" if name.startswith("test_") and not row.is_tested else repr(value)
            for name, value in zip(Row._fields, row, strict=True)]
