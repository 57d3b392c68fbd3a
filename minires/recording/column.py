"""`Column`: what a record has a number of in each pass: a use of a module, or a tensor that it returned there."""
from __future__ import annotations

import functools
from typing import NamedTuple

from minires import models, nn
from minires.arguments import shown
from minires.errors import ArgumentError
from minires.models import Block


class Column(NamedTuple):
    """A use of a module in a record, or a tensor that it returned there."""

    name: str  # dotted, such as "layer2.0.conv1"
    kind: type  # its class
    is_layer: bool  # its weight is a kernel or a matrix: what counts as depth
    depth: int  # how many such layers are on the longest path to its output, itself included; see branches.py
    module: str = ""  # the module's own name, "layer2.0.conv1" for a column "layer2.0.conv1@2[0]"; "" where it is `name`
    use: int = 1  # which of the module's uses before one backward pass
    part: str = ""  # which tensor of a tuple, list or dict, "[0]" or '["key"]'; "" for all that the module returned
    after: tuple[str, ...] | None = None  # the columns right before it on the graph; None where this is not known

    @property
    def module_name(self) -> str:
        """The module's dotted name, the same for all its uses."""
        return self.module or self.name

    @property
    def is_block(self) -> bool:
        """Is the module a `models.Block`, whose output is the stream?"""
        return issubclass(self.kind, Block)


def kind_named(owner: str, name: str, is_block: bool | None = None) -> type:
    """The class of `minires.nn` or `minires.models` that has this name; for any other, one that stands for it.

    Args:
        owner: who asks, for the error.
        is_block: must it be a `models.Block`? A file says so of classes that this program may not know. None: as it is.

    Raises:
        ArgumentError: no class can have this name.
    """
    known = getattr(nn, name, None) or getattr(models, name, None)
    if isinstance(known, type) and issubclass(known, nn.Module) and is_block in (None, issubclass(known, Block)):
        return known
    try:
        return _stand_in(name, bool(is_block))
    except ValueError as error:  # Python's, of a text with a character that no name has
        raise ArgumentError(f"{owner}: the type is {shown(name)}, which no class can be called: {error}") from error


@functools.cache
def _stand_in(name, is_block):
    """A class of this name, the same whenever it is asked for: a selection by class compares it."""
    return type(name, (Block if is_block else nn.Module,), {"__doc__": "Stands for a class that a file or a list names."})
