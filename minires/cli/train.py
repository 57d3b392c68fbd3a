"""`minires train MODEL`: the training of a named net, with progress, a table of numbers, checkpoints and a picture."""
from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from minires.cli.train_options import add_options, given_settings
from minires.errors import ArgumentError, DataError
from minires.nn.saving import load, save
from minires.text.files import append_csv, output_folder, write_csv
from minires.text.terminal import duration
from minires.training.build import make_training
from minires.training.loop import Row, Training
from minires.training.settings import Settings, resolve

CHECKPOINT, METRICS, PICTURE = "checkpoint.npz", "metrics.csv", "training.png"
SAVE_EVERY = 600  # seconds; also after each epoch, at the end, and at Ctrl-C


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train` to the commands of `minires`."""
    parser = commands.add_parser("train", help="train a net: minires train resnet20 --data cifar10 --epochs 10")
    add_options(parser)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Train as the options say. Returns 0 at the end of the run, 130 after Ctrl-C, which loses nothing.

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
    if checkpoint is not None:
        training.load_state_dict(checkpoint)
    output_folder(out)
    return _run(training, settings, out)


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
    try:
        return checkpoint, Settings.from_json(str(checkpoint.pop("settings", "")))
    except (ValueError, TypeError) as error:
        raise DataError(f"--resume: {path} is not a checkpoint of minires train") from error


# ---- the run

def _run(training: Training, settings: Settings, out: Path) -> int:
    steps = settings.steps
    title = f"{settings.model} on {settings.data}"
    print(f"{title}: {len(training.batches.labels)} images, batches of {settings.batch}, {steps} steps "
          f"({steps / len(training.batches):.3g} epochs), device {training.device}, results in {out}")
    if training.step >= steps:
        print(f"The run has made its {training.step} steps. Train further with --resume and a larger --steps or --epochs.")
        return 0
    if training.step:
        print(f"Going on after step {training.step}.")
    write_csv(out / METRICS, Row._fields, map(_fields, training.rows))
    progress = Progress(training, steps)
    saved_at = time.monotonic()
    with StopAfterStep() as stop:
        for row in training.run(steps):
            progress.show(row)
            if row is not None:
                append_csv(out / METRICS, [_fields(row)])
            is_tested = row is not None and training.step % len(training.batches) == 0
            if is_tested or training.step == steps or stop.requested or time.monotonic() - saved_at > SAVE_EVERY:
                save(training.state_dict() | {"settings": np.array(settings.to_json())}, out / CHECKPOINT)
                saved_at = time.monotonic()
            if stop.requested:
                break
    if training.rows:
        from minires.training.plot import write_curves  # here, so that a run that fails early does not wait for matplotlib

        write_curves(training.rows, title, out / PICTURE)
    if training.step < steps:
        print(f"Stopped after step {training.step} of {steps}; nothing is lost. Go on with:\n"
              f"    minires train {settings.model} --out {out} --resume")
        return 130
    _print_result(training.rows[-1], out)
    return 0


class StopAfterStep:
    """A `with` block in which Ctrl-C, or a request to end the process, lets the current step end first.

    A second Ctrl-C ends at once. `requested` says whether there was a first one.
    """

    def __init__(self) -> None:
        self.requested: bool = False
        self._outer: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopAfterStep:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._outer = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._outer.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nending after this step, with a checkpoint; press Ctrl-C again to end at once", file=sys.stderr, flush=True)


class Progress:
    """Lines on stderr: one for each test, and on a terminal one that counts the steps between them."""

    def __init__(self, training: Training, steps: int) -> None:
        self.training = training
        self.steps = steps
        self.is_terminal: bool = sys.stderr is not None and sys.stderr.isatty()
        self.start: float = time.perf_counter()
        self.first_step: int = training.step
        self.last: str = "" if not training.rows else self._numbers(training.rows[-1])

    def show(self, row: Row | None) -> None:
        """Tell of the step that was made, and of the row that it ended, if it did."""
        if row is not None:
            self.last = self._numbers(row)
        step = self.training.step
        elapsed = time.perf_counter() - self.start
        left = elapsed / (step - self.first_step) * (self.steps - step)
        line = f"step {step}/{self.steps}, {self.last}{duration(elapsed)} passed, {duration(left)} left"
        is_kept = row is not None and not math.isnan(row.test_loss)
        if self.is_terminal:
            print(f"\r{line:<110}", end="\n" if is_kept else "", file=sys.stderr, flush=True)
        elif is_kept:
            print(line, file=sys.stderr, flush=True)

    @staticmethod
    def _numbers(row):
        test = "" if math.isnan(row.test_loss) else f"test {row.test_loss:.3f} ({row.test_error:.1%} wrong), "
        return f"loss {row.train_loss:.3f} ({row.train_error:.1%} wrong), {test}"


def _fields(row):
    """A row for the CSV file, NaN as an empty field; numbers are written whole, so that equal runs make equal files."""
    return ["" if math.isnan(value) else repr(value) for value in row]


def _print_result(row, out):
    print(f"After {row.step} steps, in {duration(row.seconds)}: training loss {row.train_loss:.3f} "
          f"({row.train_error:.1%} wrong), test loss {row.test_loss:.3f} ({row.test_error:.1%} wrong)\n"
          f"{out / METRICS}: the numbers; {out / PICTURE}: the curves; {out / CHECKPOINT}: weights and state, for --resume")
