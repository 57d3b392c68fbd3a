"""The training loop: a net through a number of steps, its numbers on the way, and a state from which it goes on.

A step is decided by the seed and its number alone: which images, in which order, and how they are augmented. All of that is
drawn on the host, and the loss stays on the device until a row of numbers is made. So a run on a GPU starts as the run on
the CPU does, and a run that was interrupted goes on as if it had not been.
"""
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minires import nn, ops
from minires.arrays.backend import Array, array_module, as_host_array, to_host, usable_device
from minires.data import Batches
from minires.engine.state import no_grad
from minires.engine.tensor import Tensor
from minires.errors import AnomalyError, ArgumentError, StateError
from minires.nn.modes import evaluation
from minires.optim import Optimizer, Schedule

# Makes of a batch of images what the net is to see; the generator is None while testing.
Prepare: TypeAlias = Callable[[np.ndarray, np.random.Generator | None], np.ndarray]

AUGMENTATION = 1  # tells the generators of the augmentation from those of the order of the images


class Row(NamedTuple):
    """The numbers after a step. Losses are in nats, errors are shares of wrong answers from 0 to 1, NaN if not measured.

    A measured loss may be NaN too, and its error is then a number: `is_tested` tells one from the other.
    """

    step: int  # how many steps were made
    epoch: float  # how many times the training images were seen
    lr: float  # the learning rate of this step
    train_loss: float  # the mean over the steps since the last row, as the steps saw it, with their augmentation
    train_error: float
    test_loss: float
    test_error: float
    seconds: float  # of training and testing so far

    @property
    def is_tested(self) -> bool:
        """Was it tested after this step, whatever came of it?"""
        return not math.isnan(self.test_error)


class Training:
    """A net and its optimizer on the way through the batches of a data set.

        training = Training(model, optimizer, batches, schedule, prepare, (test_images, test_labels), device="cuda")
        for row in training.run(steps=64000):
            ...   # a `Row` after the steps that have one, None after the others

    Args:
        model: an `nn.Module` that makes logits of images; it is moved to the device.
        optimizer: of the model's parameters.
        batches: a `data.Batches`, whose seed decides the augmentation too.
        schedule: what is stepped after each step, such as `optim.MultiStepLR`, or None.
        prepare: a function of (images, generator) which makes of a batch what the net is to see, an array of floats; the
            generator is None while testing. None: the images are taken as they are.
        test_data: (images, labels), tested at the end of each epoch and of the run, or None.
        device: "cpu", "cuda", "cuda:1".
        row_every: how many steps a row of numbers is made of; each waits for the device once.

    Attributes:
        step: how many steps were made.
        rows: the `Row`s so far.

    Raises:
        DeviceError: the device cannot be used; the message says why.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, batches: Batches, schedule: Schedule | None = None,
                 prepare: Prepare | None = None, test_data: tuple[np.ndarray, np.ndarray] | None = None,
                 device: str = "cpu", row_every: int = 20) -> None:
        self.device: str = usable_device(device)
        self.model: nn.Module = model.to(self.device)
        self.optimizer = optimizer
        self.batches = batches
        self.schedule = schedule
        self.prepare: Prepare = prepare or _as_they_are
        self.test_data = test_data
        self.row_every = row_every
        self.step: int = 0
        self.rows: list[Row] = []
        self.seconds: float = 0.0
        self._answers = Answers()  # of the steps since the last row

    def run(self, steps: int) -> Iterator[Row | None]:
        """Train until `steps` steps were made in all; yields after each the `Row` that it ended, or None.

        Leave the loop when you like: between two steps the training can be saved, and be run further.

        Raises:
            AnomalyError: the loss is not a finite number any more.
        """
        per_epoch = len(self.batches)
        while self.step < steps:
            epoch, done = divmod(self.step, per_epoch)
            order = self.batches.order(epoch)
            for images, labels in itertools.islice(self.batches.batches(order), done, done + steps - self.step):
                start = time.perf_counter()
                lr = self.optimizer.lr
                self._make_step(images, labels)
                is_last_of_epoch = self.step % per_epoch == 0 or self.step == steps
                row = None
                if is_last_of_epoch or self.step % self.row_every == 0:
                    row = self._make_row(lr, is_last_of_epoch)
                self.seconds += time.perf_counter() - start
                if row is not None:
                    row = row._replace(seconds=self.seconds)
                    self.rows.append(row)
                    self._check_finite(row)
                yield row

    def _make_step(self, images, labels):
        generator = np.random.default_rng([self.batches.seed, AUGMENTATION, self.step])
        images = self.prepare(images, generator)
        logits, loss = train_step(self.model, self.optimizer, images, labels, self.device)
        if self.schedule is not None:
            self.schedule.step()
        self._answers.add(logits, loss, labels)
        self.step += 1

    def _make_row(self, lr, with_test):
        train_loss, train_error = self._answers.means()
        self._answers = Answers()
        test_loss, test_error = math.nan, math.nan
        if with_test and self.test_data is not None:
            test_loss, test_error = self.test()
        return Row(self.step, self.step / len(self.batches), lr, train_loss, train_error, test_loss, test_error, 0.0)

    def _check_finite(self, row):
        if not math.isfinite(row.train_loss):
            raise AnomalyError(f"training: the loss of the steps up to step {row.step} is {row.train_loss}: try a lower "
                               f"learning rate than {row.lr:g}, or a warm-up. mr.detect_anomaly() finds the op")

    def test(self) -> tuple[float, float]:
        """(mean loss, share of wrong answers) on the test data.

        Raises:
            ArgumentError: there is none.
        """
        if self.test_data is None:
            raise ArgumentError("Training: there is no data to test on: make it with test_data=(images, labels), or call "
                                "evaluate(model, images, labels)")
        images, labels = self.test_data
        return evaluate(self.model, images, labels, self.prepare, self.device)

    # ---- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """A flat dict of host arrays and numbers, for `mr.save`: all that the next step depends on, and the rows so far."""
        parts = (("model", self.model), ("optimizer", self.optimizer), ("schedule", self.schedule),
                 ("answers", self._answers))
        state: dict[str, Any] = {"step": self.step, "seconds": self.seconds,
                 "rows": np.array(self.rows, dtype=np.float64).reshape(-1, len(Row._fields))}
        for prefix, part in parts:
            if part is not None:
                state |= {f"{prefix}.{name}": value for name, value in part.state_dict().items()}
        return state | {f"draws.{name}": layer.draws for name, layer in self._dropouts().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state: of the same net, optimizer, data and batch size, on whichever device.

        Raises:
            StateError: the state is of another net or optimizer, or not of a training. (What was loaded before that was
                noticed stays.)
        """
        missing = {"step", "seconds", "rows", "answers.losses", "answers.wrong", "answers.counts"} - set(state_dict)
        if missing:
            raise StateError(f"load_state_dict: this is no state of a training: it lacks {', '.join(sorted(missing))}")
        step, seconds = _count(state_dict["step"]), _seconds(state_dict["seconds"])
        rows = _rows(state_dict["rows"])
        draws = {name: _count(value, f"draws.{name}") for name, value in _part(state_dict, "draws").items()}
        self.model.load_state_dict(_part(state_dict, "model"))
        self.optimizer.load_state_dict(_part(state_dict, "optimizer"))
        if self.schedule is not None:
            self.schedule.load_state_dict(_part(state_dict, "schedule"))
        answers = Answers()
        answers.load_state_dict(_part(state_dict, "answers"))
        for name, layer in self._dropouts().items():
            layer.draws = draws.get(name, 0)
        self._answers, self.step, self.seconds, self.rows = answers, step, seconds, rows

    def _dropouts(self):
        """{name: layer} of the layers whose masks depend on how many there were."""
        return {name: layer for name, layer in self.model.named_modules() if isinstance(layer, nn.Dropout)}


def train_step(model: nn.Module, optimizer: Optimizer, images: np.ndarray, labels: np.ndarray,
               device: str = "cpu") -> tuple[Array, Array]:
    """One step of gradient descent; returns (logits (N, K), loss) as arrays on the device: nothing waits for them.

    Args:
        images: floats (N, C, H, W) on the host; labels: integers (N,) on the host.
    """
    logits = model(Tensor(images).to(device))
    loss = ops.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return logits.data, loss.data


def evaluate(model: nn.Module, images: np.ndarray, labels: np.ndarray, prepare: Prepare | None = None,
             device: str = "cpu", batch_size: int = 256) -> tuple[float, float]:
    """(mean loss, share of wrong answers) of a net on images (N, C, H, W) and labels (N,), in evaluation mode."""
    prepare = prepare or _as_they_are
    answers = Answers()
    with evaluation(model), no_grad():
        for start in range(0, len(labels), batch_size):
            batch = slice(start, start + batch_size)
            logits = model(Tensor(prepare(images[batch], None)).to(device))
            answers.add(logits.data, ops.cross_entropy(logits, labels[batch]).data, labels[batch])
    return answers.means()


class Answers:
    """What a net answered in some batches. It stays on the device until it is asked for, and is then fetched at once."""

    def __init__(self) -> None:
        # for each batch: loss (), the class of the largest logit (N,); and the labels, on the host
        self._on_device: list[tuple[Array, Array, np.ndarray]] = []
        self.losses: np.ndarray = np.zeros(0)  # of the batches that were fetched, in nats
        self.wrong: np.ndarray = np.zeros(0, dtype=np.int64)  # how many answers were wrong
        self.counts: np.ndarray = np.zeros(0, dtype=np.int64)  # of how many

    def add(self, logits: Array, loss: Array, labels: np.ndarray) -> None:
        """Take the logits (N, K) and the mean loss () of a batch, both on the device, and its labels on the host."""
        self._on_device.append((loss, logits.argmax(axis=1), labels))

    def means(self) -> tuple[float, float]:
        """(mean loss of the examples, share of wrong answers)."""
        self._fetch()
        total = self.counts.sum()
        return float((self.losses * self.counts).sum() / total), float(self.wrong.sum() / total)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The fetched numbers as host arrays."""
        self._fetch()
        return {"losses": self.losses, "wrong": self.wrong, "counts": self.counts}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the numbers of a state dict.

        Raises:
            StateError: they are not three arrays (batches,) of numbers, the last two of whole ones.
        """
        losses, wrong, counts = [np.array(state_dict[name]) for name in ("losses", "wrong", "counts")]
        if losses.dtype.kind != "f" or not {wrong.dtype.kind, counts.dtype.kind} <= {"i", "u"} or losses.ndim != 1 \
                or not losses.shape == wrong.shape == counts.shape or not ((wrong >= 0) & (wrong <= counts)).all():
            raise StateError("load_state_dict: answers: expected losses, wrong and counts of the same batches, wrong from 0 "
                             f"to counts; got {losses!r}, {wrong!r} and {counts!r}")
        self.losses, self.wrong, self.counts = losses, wrong, counts

    def _fetch(self):
        if not self._on_device:
            return
        on_device, classes, labels = zip(*self._on_device, strict=True)
        xp = array_module(classes[0])
        losses = to_host(xp.stack([xp.asarray(loss) for loss in on_device])).astype(np.float64)  # (batches,)
        counts = np.array([len(part) for part in labels])
        is_wrong = to_host(xp.concatenate(classes)) != np.concatenate(labels)                 # (examples,)
        wrong = np.add.reduceat(is_wrong.astype(np.int64), np.cumsum(counts) - counts)        # -> (batches,)
        self.losses = np.concatenate([self.losses, losses])
        self.wrong = np.concatenate([self.wrong, wrong])
        self.counts = np.concatenate([self.counts, counts])
        self._on_device = []


def _part(state_dict, prefix):
    """The entries of a flat dict whose names begin with "PREFIX.", without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in state_dict.items() if name.startswith(start)}


def _count(value, name="step"):
    """A number of steps in a state, or of something else, or a StateError."""
    number = as_host_array(value)
    if number.shape != () or number.dtype.kind not in "iu" or number < 0:
        raise StateError(f"load_state_dict: {name} is {value!r}, expected a whole number of at least 0")
    return int(number)


def _seconds(value):
    number = as_host_array(value)
    if number.shape != () or number.dtype.kind not in "fiu" or not 0 <= number < math.inf:
        raise StateError(f"load_state_dict: seconds is {value!r}, expected a number of at least 0")
    return float(number)


def _rows(value):
    """The `Row`s in a state, or a StateError."""
    table = as_host_array(value)
    if table.dtype.kind != "f" or table.ndim != 2 or table.shape[1] != len(Row._fields):
        raise StateError(f"load_state_dict: rows has dtype {table.dtype} and shape {table.shape}, expected floats of shape "
                         f"(rows, {len(Row._fields)})")
    steps = table[:, 0]
    if not (np.isfinite(steps).all() and (steps == np.floor(steps)).all() and (np.diff(steps, prepend=0) > 0).all()):
        raise StateError(f"load_state_dict: rows are of the steps {steps}, expected whole numbers that rise")
    return [Row(int(values[0]), *map(float, values[1:])) for values in table]


def _as_they_are(images: np.ndarray, generator: np.random.Generator | None) -> np.ndarray:
    return images
