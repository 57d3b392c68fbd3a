"""What decides a run of `minires train`: its options and their defaults, and the settings of the run that goes on."""
import argparse
import math
from typing import NamedTuple

from minires import data, models
from minires.errors import ArgumentError


class Images(NamedTuple):
    """A data set: how to read a split of it from a folder, and whether it is augmented by default."""

    read: object  # a function of (folder, split), which returns (images (N, C, H, W), labels (N,))
    augment: bool


DATA = {
    "fashion-mnist-sample": Images(lambda folder, split: data.fashion_mnist_sample(split), augment=False),
    "fashion-mnist": Images(data.fashion_mnist, augment=False),
    "cifar10": Images(data.cifar10, augment=True),
}

# What --help states; the recipe of He et al. 2015, section 4.2, except that their CIFAR-10 runs take 64,000 steps.
DEFAULTS = {"data": "fashion-mnist-sample", "data_dir": "data", "batch": 128, "lr": 0.1, "momentum": 0.9,
            "weight_decay": 1e-4, "augment": None, "milestones": None, "seed": 0, "device": "cpu"}
EPOCHS = 10
MAY_CHANGE = ("steps", "data_dir", "device")  # when a run goes on


def add_options(parser):
    """The options of `minires train`. What is not given is None, so that --resume can tell it from what is."""
    parser.add_argument("model", metavar="MODEL", help=f"one of {', '.join(models.NAMED)}")
    parser.add_argument("--data", choices=DATA, help=f"the images (default: {DEFAULTS['data']}, which comes with minires)")
    parser.add_argument("--data-dir", metavar="DIR",
                        help=f"folder of the files of cifar10 or fashion-mnist (default: {DEFAULTS['data_dir']})")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_positive(float), help=f"how often to see all images (default: {EPOCHS})")
    length.add_argument("--steps", type=_positive(int), help="how many steps to make; the paper's CIFAR-10 runs take 64000")
    parser.add_argument("--batch", type=_positive(int), help=f"images in a batch (default: {DEFAULTS['batch']})")
    parser.add_argument("--lr", type=_not_negative, help=f"the learning rate (default: {DEFAULTS['lr']})")
    parser.add_argument("--milestones", type=_whole_numbers, metavar="STEPS",
                        help="divide the learning rate by 10 after these steps, as in 32000,48000 (default: at a half and "
                             "three quarters of the run)")
    parser.add_argument("--momentum", type=_not_negative, help=f"(default: {DEFAULTS['momentum']})")
    parser.add_argument("--weight-decay", type=_not_negative, help=f"(default: {DEFAULTS['weight_decay']})")
    parser.add_argument("--augment", action=argparse.BooleanOptionalAction,
                        help="shift and mirror the images at random (default: for cifar10)")
    parser.add_argument("--seed", type=_whole_number,
                        help=f"of weights, order and augmentation (default: {DEFAULTS['seed']})")
    parser.add_argument("--device", help=f"cpu, cuda or cuda:1 (default: {DEFAULTS['device']})")
    parser.add_argument("--out", metavar="DIR", help="folder of the results (default: minires-output/train-MODEL)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder of the results")


def settings_of(chosen, made_with, out) -> dict:
    """All that decides a run: the options, then what the run that goes on was made with, then the defaults.

    Args:
        chosen: the parsed options.
        made_with: the settings in the checkpoint of the run that goes on, or None for a new one.
        out: the folder of the run, for the message.

    Raises:
        ArgumentError: an option contradicts the run that goes on.
    """
    given = {name: getattr(chosen, name) for name in ("model", *DEFAULTS) if getattr(chosen, name) is not None}
    if made_with is None:
        return DEFAULTS | {"steps": None, "row_every": None} | given
    for name, value in given.items():
        if name not in MAY_CHANGE and value != made_with[name]:
            raise ArgumentError(f"--resume: the run in {out} has {name} {made_with[name]}, and got {value}: leave the "
                                "option out, or begin a new run in another folder with --out")
    return made_with | given


def settle_length(settings, chosen, per_epoch):
    """Fill in what depends on the length of the run: its steps, the milestones, how many steps a row of numbers has."""
    settings["steps"] = _number_of_steps(chosen, settings, per_epoch)
    if settings["milestones"] is None:
        settings["milestones"] = sorted({settings["steps"] // 2, settings["steps"] * 3 // 4} - {0})
    if settings["row_every"] is None:
        settings["row_every"] = min(20, max(1, settings["steps"] // 50))


def _number_of_steps(chosen, settings, per_epoch):
    if chosen.steps is not None:
        return chosen.steps
    if chosen.epochs is not None or settings["steps"] is None:
        return max(1, round((chosen.epochs or EPOCHS) * per_epoch))
    return settings["steps"]


# ---- argparse types

def _positive(kind):
    def parse(text):
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
        return value
    parse.__name__ = "whole number" if kind is int else "number"
    return parse


def _not_negative(text):
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def _whole_number(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _whole_numbers(text):
    numbers = [_whole_number(part.strip()) for part in text.split(",")]
    if 0 in numbers:
        raise argparse.ArgumentTypeError(f"expected steps of at least 1, separated by commas, got {text!r}")
    return numbers
