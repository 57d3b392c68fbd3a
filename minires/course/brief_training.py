"""The first steps of a training, as a curve: the loss of each step, and the gradients on the way. For comparing nets."""
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minires.arrays.backend import Array, MaybeNone, to_host
from minires.data import Batches
from minires.nn.module import Module
from minires.optim import SGD
from minires.recording.record import GradientRecord, stack_records
from minires.recording.recorder import record_gradients
from minires.training.loop import train_step


class Curve(NamedTuple):
    """What a net did in its first steps."""

    losses: np.ndarray  # (steps,): the mean loss of each step's batch before the step was made, in nats
    record: GradientRecord | MaybeNone  # a row for each of the recorded steps; None where there are none

    def last(self, steps: int) -> float:
        """The mean loss over the last steps."""
        return float(self.losses[-steps:].mean())


def train_briefly(make_model: Callable[..., Module], images: np.ndarray, labels: np.ndarray, seed: int, steps: int,
                  lr: ArrayLike = 0.1, batch_size: int = 64, record_steps: Collection[int] = (),
                  device: str = "cpu") -> Curve:
    """Train a net for some steps of SGD with momentum 0.9 and weight decay 1e-4, as He et al. 2015, section 4.2.

    Args:
        make_model: called as make_model(seed=seed), gives the net: functools.partial(models.cifar_net, 20), say.
        images, labels: floats (N, C, H, W) and integers (N,), on the host.
        seed: decides the initial weights and the order of the images.
        steps: how many.
        lr: the learning rate, or one for each step.
        batch_size: images in a step.
        record_steps: the steps whose gradients are recorded; 0 is the first, from the initial weights.
        device: "cpu" or "cuda".
    """
    model = make_model(seed=seed).to(device)
    rates = np.broadcast_to(lr, steps)
    optimizer = SGD(model.parameters(), lr=float(rates[0]), momentum=0.9, weight_decay=1e-4)
    batches = Batches(images, labels, batch_size, seed=seed, drop_last=True)
    losses: list[Array] = []
    records: list[GradientRecord] = []
    while len(losses) < steps:
        for x, y in batches:
            step = len(losses)
            optimizer.lr = float(rates[step])
            if step in record_steps:
                with record_gradients(model) as record:
                    losses.append(train_step(model, optimizer, x, y, device)[1])
                records.append(record)
            else:
                losses.append(train_step(model, optimizer, x, y, device)[1])
            if len(losses) == steps:
                break
    return Curve(np.array([float(to_host(loss)) for loss in losses]), stack_records(records) if records else None)
