"""The command `minires summary`: the table of a net's layers."""
from __future__ import annotations

import argparse

from minires import models, nn
from minires.nn.summary import summary


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `summary` to the commands of `minires`."""
    parser = commands.add_parser("summary", help="print the layers of a net: minires summary resnet20")
    parser.add_argument("model", metavar="MODEL", help=f"one of {', '.join(models.NAMED)}")
    parser.add_argument("--size", type=_positive, help="height and width of the images (default: 32, or 224 for ImageNet)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print the layers of a named net, with output shapes, parameters and multiply-adds."""
    model = models.make(chosen.model, init=nn.init.zeros_)
    size = chosen.size or (224 if model.maxpool is not None else 32)
    print(summary(model, (1, 3, size, size)))
    return 0


def _positive(text):
    if not text.isdecimal() or len(text) > 6 or int(text) < 1:  # more pixels than a million have no place in memory
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)
