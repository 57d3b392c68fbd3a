"""`minires train MODEL`: the training of a named net, with progress, a table of numbers, checkpoints and a picture."""
import json
import math
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from minires import data, models
from minires.arrays.backend import usable_device
from minires.errors import ArgumentError, DataError, FileError
from minires.nn.saving import load, save
from minires.optim import SGD, MultiStepLR
from minires.text.files import append_csv, output_folder, write_csv, write_figure
from minires.text.terminal import duration
from minires.training.loop import Row, Training
from minires.training.settings import DATA, add_options, settings_of, settle_length

__all__ = ["add_options", "make_model", "make_training", "read_checkpoint", "run"]

CHECKPOINT, METRICS, PICTURE = "checkpoint.npz", "metrics.csv", "training.png"
SAVE_EVERY = 600  # seconds; also after each epoch, at the end, and at Ctrl-C


def run(chosen) -> int:
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
    checkpoint, made_with = read_checkpoint(out / CHECKPOINT) if chosen.resume else (None, None)
    settings = settings_of(chosen, made_with, out)
    settings["device"] = usable_device(settings["device"])
    training = make_training(settings)
    settle_length(settings, chosen, len(training.batches))
    training.row_every = settings["row_every"]
    training.schedule = MultiStepLR(training.optimizer, settings["milestones"])
    if checkpoint is not None:
        training.load_state_dict(checkpoint)
    output_folder(out)
    return _run(training, settings, out)


def make_training(settings) -> Training:
    """The training that the settings describe, at its first step, without a schedule."""
    images, labels = _read_images(settings, "train")
    mean, std = data.channel_mean_and_std(images)
    augment = DATA[settings["data"]].augment if settings["augment"] is None else settings["augment"]

    def prepare(batch, generator):
        """Standardise a batch of bytes, and augment it while training: afterwards, so that the border is the mean colour."""
        batch, _mean, _std = data.standardize(batch, mean, std)
        return data.shift_and_flip(batch, generator) if augment and generator is not None else batch

    model = make_model(settings["model"], images.shape[1], settings["seed"])
    optimizer = SGD(model.parameters(), settings["lr"], settings["momentum"], settings["weight_decay"])
    batches = data.Batches(images, labels, settings["batch"], settings["seed"])
    return Training(model, optimizer, batches, None, prepare, _read_images(settings, "test"), settings["device"])


def _read_images(settings, split):
    try:
        return DATA[settings["data"]].read(settings["data_dir"], split)
    except FileError as error:
        raise FileError(f"{error} minires train looks in --data-dir, which is {settings['data_dir']!r}.") from error


def make_model(name, channels, seed):
    """The net of this name, for 10 classes of images with so many channels.

    Raises:
        UnknownNameError: there is no such net.
        ArgumentError: it is a net for colour images only.
    """
    if channels == 3:
        return models.make(name, num_classes=10, seed=seed)
    try:
        return models.make(name, num_classes=10, seed=seed, in_channels=channels)
    except ArgumentError as error:
        raise ArgumentError(f"{name} is a net for colour images: train it with --data cifar10, or take a net of the CIFAR "
                            "family, such as resnet20") from error


def read_checkpoint(path) -> tuple:
    """(the state of a training, the settings that it was made with).

    Raises:
        ArgumentError: there is no such file.
        FileError, DataError: it cannot be read, or is not a checkpoint of `minires train`.
    """
    if not path.exists():
        raise ArgumentError(f"--resume: there is no {path}: name the folder of the run with --out, or begin one without "
                            "--resume")
    checkpoint = load(path)
    if "settings" not in checkpoint:
        raise DataError(f"--resume: {path} is not a checkpoint of minires train")
    return checkpoint, json.loads(str(checkpoint.pop("settings")))


# ---- the run

def _run(training, settings, out):
    steps = settings["steps"]
    print(f"{settings['model']} on {settings['data']}: {len(training.batches.labels)} images, batches of "
          f"{settings['batch']}, {steps} steps ({steps / len(training.batches):.3g} epochs), device {training.device}, "
          f"results in {out}")
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
                save(training.state_dict() | {"settings": np.array(json.dumps(settings))}, out / CHECKPOINT)
                saved_at = time.monotonic()
            if stop.requested:
                break
    if training.rows:
        _draw(training.rows, f"{settings['model']} on {settings['data']}", out / PICTURE)
    if training.step < steps:
        print(f"Stopped after step {training.step} of {steps}; nothing is lost. Go on with:\n"
              f"    minires train {settings['model']} --out {out} --resume")
        return 130
    _print_result(training.rows[-1], out)
    return 0


class StopAfterStep:
    """A `with` block in which Ctrl-C, or a request to end the process, lets the current step end first.

    A second Ctrl-C ends at once. `requested` says whether there was a first one.
    """

    def __init__(self):
        self.requested = False
        self._outer = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._outer = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception):
        for number, handler in self._outer.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nending after this step, with a checkpoint; press Ctrl-C again to end at once", file=sys.stderr, flush=True)


class Progress:
    """Lines on stderr: one for each test, and on a terminal one that counts the steps between them."""

    def __init__(self, training, steps):
        self.training = training
        self.steps = steps
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self.start, self.first_step = time.perf_counter(), training.step
        self.last = "" if not training.rows else self._numbers(training.rows[-1])

    def show(self, row):
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


def _draw(rows, title, path):
    from matplotlib import pyplot  # here, so that a run that fails early does not wait for it

    from minires.training.plot import training_curves
    figure = training_curves(rows)
    figure.suptitle(title)
    write_figure(path, figure)
    pyplot.close(figure)


def _print_result(row, out):
    print(f"After {row.step} steps, in {duration(row.seconds)}: training loss {row.train_loss:.3f} "
          f"({row.train_error:.1%} wrong), test loss {row.test_loss:.3f} ({row.test_error:.1%} wrong)\n"
          f"{out / METRICS}: the numbers; {out / PICTURE}: the curves; {out / CHECKPOINT}: weights and state, for --resume")
