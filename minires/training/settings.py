"""The settings of a run of `minires train`: all that decides it, resolved once, before anything is built."""
import json
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np

from minires.arguments import is_whole_number
from minires.arrays.backend import usable_device
from minires.errors import ArgumentError
from minires.training.images import read_images

EPOCHS = 10  # where no length is given
MAY_CHANGE = ("data_dir", "device", "steps", "milestones")  # when a run goes on
MOST_STEPS = 10**12  # far beyond any run, and within what every part can count


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is made of. It stands in the checkpoint, so that the run goes on as it began.

    The defaults are the recipe of He et al. 2015, section 4.2, except that their CIFAR-10 runs take 64,000 steps.
    """

    model: str  # one of `models.NAMED`
    data: str = "fashion-mnist-sample"  # one of `training.images.DATA`
    data_dir: str = "data"  # the folder of its files
    batch: int = 128  # images in a batch
    lr: float = 0.1  # the learning rate at the start
    momentum: float = 0.9
    weight_decay: float = 1e-4
    augment: bool | None = None  # shift and mirror the training images at random; None: if that is usual for the data
    milestones: list[int]  # the steps after which the learning rate is divided by 10
    seed: int = 0  # of weights, order and augmentation
    device: str = "cpu"  # in full: "cuda:0"
    steps: int  # of the whole run
    row_every: int  # how many steps a row of numbers is made of

    def lr_after(self, step: int) -> float:
        """The learning rate after so many steps: that of the start, divided by 10 at each milestone up to there."""
        lr = self.lr
        for milestone in sorted(set(self.milestones)):
            if milestone <= step:
                lr *= 0.1 ** self.milestones.count(milestone)  # in the order of `optim.MultiStepLR`, for the same bits
        return lr

    def to_json(self) -> str:
        """The settings as text, for the checkpoint."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """The settings from the text in a checkpoint; one that an earlier version did not know has its default.

        Raises:
            ValueError, TypeError: it is not the text of settings, or one has a value that it cannot have.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError(f"expected settings by name, got {text[:40]!r}")
        known = {field.name for field in fields(cls)}
        unknown = ", ".join(map(repr, values.keys() - known))
        if unknown:
            raise ValueError(f"this version knows no {unknown}")
        missing = ", ".join(sorted(known - DEFAULTS.keys() - values.keys()))
        if missing:
            raise ValueError(f"it lacks {missing}")
        for name, value in values.items():
            if not _is_possible(name, value):
                raise ValueError(f"{name} is {value!r}"[:200])
        return cls(**values)


def default_milestones(steps: int) -> list[int]:
    """At a half and at three quarters of the run."""
    return sorted({steps // 2, steps * 3 // 4} - {0})


def _is_possible(name: str, value: Any) -> bool:
    """Can a setting in a checkpoint have this value?"""
    if name in ("model", "data", "data_dir", "device"):
        return isinstance(value, str)
    if name == "augment":
        return value is None or isinstance(value, bool)
    if name == "milestones":
        return isinstance(value, list) and all(_is_count(step, 1) for step in value)
    if name in ("lr", "momentum", "weight_decay"):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
    return _is_count(value, 0 if name == "seed" else 1)


def _is_count(value, smallest):
    return is_whole_number(value, smallest) and (smallest == 0 or value <= MOST_STEPS)


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Settings) if field.default is not MISSING}


def resolve(given: Mapping[str, Any], out: str | os.PathLike[str], earlier: Settings | None = None,
            ) -> tuple[Settings, tuple[np.ndarray, np.ndarray]]:
    """The settings of a run: what is given, then those of the run that goes on, then the defaults.

    The length of the run depends on the number of training images, so these are read here, once.

    Args:
        given: {name: value} of the settings that were asked for; "epochs" may stand there in place of "steps". Where a run
            goes on with another length, milestones that were the default of the old one become those of the new one.
        out: the folder of the run, for the message.
        earlier: the settings of the run that goes on, or None for a new one.

    Returns:
        (settings, (images (N, C, H, W), labels (N,)) to train on).

    Raises:
        ArgumentError: what is given contradicts the run that goes on.
        DeviceError, FileError, DataError: the device or the images cannot be used; the message says what to do.
    """
    given = dict(given)
    epochs = given.pop("epochs", None)
    if earlier is not None:
        _check_agreement(given, earlier, out)
    values = (DEFAULTS if earlier is None else asdict(earlier)) | given
    values["device"] = usable_device(values["device"])
    images, labels = read_images(values["data"], values["data_dir"], "train")
    if epochs is not None or "steps" not in values:
        per_epoch = math.ceil(len(labels) / values["batch"])
        values["steps"] = _steps_of(EPOCHS if epochs is None else epochs, per_epoch)
    steps = values["steps"]
    if earlier is not None and "milestones" not in given and earlier.milestones == default_milestones(earlier.steps):
        values["milestones"] = default_milestones(steps)  # they were those of its length, and follow the new one
    values.setdefault("milestones", default_milestones(steps))
    values.setdefault("row_every", min(20, max(1, steps // 50)))
    return Settings(**values), (images, labels)


def _steps_of(epochs: float, per_epoch: int) -> int:
    if not epochs * per_epoch <= MOST_STEPS:
        raise ArgumentError(f"--epochs {epochs:g} of {per_epoch} steps each are more than {MOST_STEPS:.0e} steps: "
                            "give fewer")
    return max(1, round(epochs * per_epoch))


def _check_agreement(given: Mapping[str, Any], earlier: Settings, out: str | os.PathLike[str]) -> None:
    """Raise where a run cannot go on with what is given."""
    for name, before in asdict(earlier).items():
        if name not in MAY_CHANGE and name in given and given[name] != before:
            raise ArgumentError(f"--resume: the run in {out} has {name} {before}, and got {given[name]}: leave the option "
                                "out, or begin a new run in another folder with --out")
