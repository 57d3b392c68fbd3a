"""The options of `minires train`."""
import argparse
import dataclasses
import math
from typing import Any

from minires import models
from minires.training.images import DATA
from minires.training.settings import EPOCHS, MOST_STEPS, Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options. What is not given is None, so that --resume can tell it from what is."""
    parser.add_argument("model", metavar="MODEL", help=f"one of {', '.join(models.NAMED)}")
    parser.add_argument("--data", choices=DATA, help=f"the images (default: {Settings.data}, which comes with minires)")
    parser.add_argument("--data-dir", metavar="DIR",
                        help=f"folder of the files of cifar10 or fashion-mnist (default: {Settings.data_dir})")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_positive(float), help=f"how often to see all images (default: {EPOCHS})")
    length.add_argument("--steps", type=_positive(int), help="how many steps to make; the paper's CIFAR-10 runs take 64000")
    parser.add_argument("--batch", type=_positive(int), help=f"images in a batch (default: {Settings.batch})")
    parser.add_argument("--lr", type=_not_negative, help=f"the learning rate (default: {Settings.lr})")
    parser.add_argument("--milestones", type=_whole_numbers, metavar="STEPS",
                        help="divide the learning rate by 10 after these steps, as in 32000,48000 (default: at a half and "
                             "three quarters of the run); may be given with --resume")
    parser.add_argument("--momentum", type=_not_negative, help=f"(default: {Settings.momentum})")
    parser.add_argument("--weight-decay", type=_not_negative, help=f"(default: {Settings.weight_decay})")
    parser.add_argument("--augment", action=argparse.BooleanOptionalAction,
                        help="shift and mirror the images at random (default: for cifar10)")
    parser.add_argument("--seed", type=_whole_number,
                        help=f"of weights, order and augmentation (default: {Settings.seed})")
    parser.add_argument("--device", help=f"cpu, cuda or cuda:1 (default: {Settings.device})")
    parser.add_argument("--out", metavar="DIR", help="folder of the results (default: minires-output/train-MODEL)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder of the results")


def given_settings(chosen: argparse.Namespace) -> dict[str, Any]:
    """{name: value} of the settings that stand on the command line, for `training.settings.resolve`."""
    names = ["epochs", *(field.name for field in dataclasses.fields(Settings))]
    return {name: value for name, value in vars(chosen).items() if name in names and value is not None}


# ---- argparse types

def _positive(kind):
    def parse(text):
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
        if value > MOST_STEPS:
            raise argparse.ArgumentTypeError(f"expected a number of at most {MOST_STEPS:,}, got {text}")
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
