"""`Sequential`: modules one after another."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minires.arguments import whole_number
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, PlaceError
from minires.nn.checkpointing import run_in_turn
from minires.nn.module import Module


class Sequential(Module):
    """Runs its modules in order, each on the output of the one before.

    Args:
        modules: the modules, which are then called "0", "1", …; or one dict {name: module}.

    Attributes:
        checkpoint_every: None; or k, to run the modules in checkpoints of k, which takes less memory and more time: see
            `nn.checkpoint`. May be set at any time.

    As a list: `net[i]`, `net[i] = module`, `del net[i]`, `append`, `insert`, `len(net)` and iteration. `net[i:j]` is a
    `Sequential` of the same modules under the same names, so that its state dict fits. After an insertion or a deletion
    modules that are called by numbers are numbered anew.

    Raises:
        ArgumentError: an argument is not a module.
        PlaceError: there is no such place.
    """

    def __init__(self, *modules: Module | dict[str, Module]):
        super().__init__()
        self.checkpoint_every: int | None = None
        named: Any = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else dict(enumerate(modules))
        for name, module in named.items():
            setattr(self, str(name), _checked(repr(name), module))

    def forward(self, x: Tensor) -> Tensor:
        """x through each module in turn."""
        return run_in_turn(list(self.children()), x, self.checkpoint_every)

    def __len__(self) -> int:
        return len(self._child_names)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        named = list(self.named_children())
        if isinstance(index, slice):
            return Sequential(dict(named[index]))
        return named[self._place(index)][1]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._child_names[self._place(index)], _checked(repr(index), module))

    def __delitem__(self, index: int | slice) -> None:
        named = list(self.named_children())
        del named[index if isinstance(index, slice) else self._place(index)]
        self._hold(named)

    def append(self, module: Module) -> Sequential:
        """Add a module at the end. Returns this one."""
        return self.insert(len(self), module)

    def insert(self, index: int, module: Module) -> Sequential:
        """Add a module before the one at `index`. Returns this one."""
        named = list(self.named_children())
        place = whole_number("Sequential", "index", index, smallest=0)
        named.insert(place, (str(len(named)), _checked(repr(index), module)))
        return self._hold(named)

    def _hold(self, named):
        """Hold these modules, (name, module) pairs; numbers count anew."""
        for name in list(self._child_names):
            delattr(self, name)
        for i, (name, module) in enumerate(named):
            setattr(self, str(i) if name.isdecimal() else name, module)
        return self

    def _place(self, index):
        """A place from the end, -1 say, as one from the start."""
        if not isinstance(index, (int, np.integer)):
            raise ArgumentError(f"Sequential: index is {index!r}, expected an integer or a slice")
        if not -len(self) <= index < len(self):
            raise PlaceError(f"Sequential: index is {index}, expected one of its {len(self)} places, counted from 0, or "
                             "from -1 at the end")
        return int(index) % len(self)


def _checked(argument, module):
    if not isinstance(module, Module):
        raise ArgumentError(f"Sequential: argument {argument} is a {type(module).__name__}, expected modules: "
                            "an activation is nn.ReLU(), a list is passed as Sequential(*modules)")
    return module
