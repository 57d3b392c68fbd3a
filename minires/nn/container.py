"""Modules that hold others: `Sequential`, one after another; `ModuleList` and `ModuleDict`, for a forward of your own."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from minires.arguments import list_of, nearest, shown, whole_number
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError, PlaceError, UnknownNameError
from minires.nn.checkpointing import run_in_turn
from minires.nn.module import Module


class _ListOfModules(Module):
    """What `Sequential` and `ModuleList` share: places from 0, which can be asked, set, deleted and inserted at."""

    def __len__(self) -> int:
        return len(self._child_names)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        named = list(self.named_children())
        if isinstance(index, slice):
            return self._of_part(dict(named[index]))
        return named[self._place(index)][1]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._child_names[self._place(index)], self._checked(index, module))

    def __delitem__(self, index: int | slice) -> None:
        named = list(self.named_children())
        del named[index if isinstance(index, slice) else self._place(index)]
        self._hold(named)

    def append(self, module: Module) -> Self:
        """Add a module at the end. Returns this one."""
        return self.insert(len(self), module)

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before the one at `index`. Returns this one."""
        named = list(self.named_children())
        place = whole_number(type(self).__name__, "index", index, smallest=0)
        named.insert(place, (str(len(named)), self._checked(index, module)))
        return self._hold(named)

    def _of_part(self, named):
        """Another one, of some of these modules, under the same names."""
        raise NotImplementedError

    def _hold(self, named):
        """Hold these modules, (name, module) pairs; numbers count anew."""
        for name in list(self._child_names):
            delattr(self, name)
        for i, (name, module) in enumerate(named):
            setattr(self, str(i) if name.isdecimal() else name, module)
        return self

    def _place(self, index):
        """A place from the end, -1 say, as one from the start."""
        kind = type(self).__name__
        if not isinstance(index, (int, np.integer)):
            raise ArgumentError(f"{kind}: index is {index!r}, expected an integer or a slice")
        if not -len(self) <= index < len(self):
            raise PlaceError(f"{kind}: index is {index}, expected one of its {len(self)} places, counted from 0, or "
                             "from -1 at the end")
        return int(index) % len(self)

    def _checked(self, argument, module):
        if not isinstance(module, Module):
            kind = type(self).__name__
            raise ArgumentError(f"{kind}: argument {argument!r} is a {type(module).__name__}, expected modules: "
                                f"an activation is nn.ReLU(), a list is passed as {kind}({self._of_a_list})")
        return module

    _of_a_list = "modules"  # how a list is passed


class Sequential(_ListOfModules):
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

    _of_a_list = "*modules"

    def __init__(self, *modules: Module | dict[str, Module]):
        super().__init__()
        self.checkpoint_every: int | None = None
        named: Any = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else dict(enumerate(modules))
        for name, module in named.items():
            setattr(self, str(name), self._checked(name, module))

    def forward(self, x: Tensor) -> Tensor:
        """x through each module in turn."""
        return run_in_turn(list(self.children()), x, self.checkpoint_every)

    def _of_part(self, named):
        return Sequential(named)


class ModuleList(_ListOfModules):
    """A list of modules, which are found as parts: trained, saved, moved and recorded. It runs nothing by itself.

        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(5)])          # "layers.0", "layers.1", …
        for layer in self.layers:
            x = ops.relu(layer(x))

    Args:
        modules: the modules, which are then called "0", "1", …

    As a list: `layers[i]`, `layers[i] = module`, `del layers[i]`, `append`, `extend`, `insert`, `len(layers)` and iteration.
    `layers[i:j]` is a `ModuleList` of the same modules under the same names. After an insertion or a deletion they are
    numbered anew.

    Raises:
        ArgumentError: an element is not a module.
        DTypeError: this is no list.
        PlaceError: there is no such place.
    """

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add several modules at the end. Returns this one."""
        found = list_of(type(self).__name__, "modules", modules, object, "a list of modules")
        for module in [self._checked(len(self) + i, module) for i, module in enumerate(found)]:  # all, before the first
            self.append(module)
        return self

    def _of_part(self, named):
        part = ModuleList()
        for name, module in named.items():
            setattr(part, name, module)
        return part


class ModuleDict(Module):
    """Modules by name, which are found as parts: trained, saved, moved and recorded. It runs nothing by itself.

        self.heads = nn.ModuleDict({"shape": nn.Linear(8, 2), "colour": nn.Linear(8, 3)})
        y = self.heads[name](x)

    Args:
        modules: {name: module}.

    As a dict: `heads[name]`, `heads[name] = module`, `del heads[name]`, `name in heads`, `keys`, `values`, `items`,
    `update`, `len(heads)` and iteration over the names. A name cannot hold a dot, nor be
    that of an attribute, such as "items".

    Raises:
        ArgumentError: a value is not a module, or a name cannot be one.
        DTypeError: this is no dict.
        UnknownNameError: there is no module of this name.
    """

    def __init__(self, modules: Mapping[str, Module] | None = None):
        super().__init__()
        self.update({} if modules is None else modules)

    def __len__(self) -> int:
        return len(self._child_names)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._child_names))

    def __contains__(self, name: object) -> bool:
        return name in self._child_names

    def __getitem__(self, name: str) -> Any:
        return getattr(self, self._known(name))

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise ArgumentError(f"ModuleDict: {shown(name)} is a {type(module).__name__}, expected a module: an activation "
                                "is nn.ReLU()")
        if isinstance(name, str) and name not in self and hasattr(self, name):
            raise ArgumentError(f"ModuleDict: the attribute {name!r} has a meaning for every ModuleDict: choose another "
                                "name")
        setattr(self, name, module)

    def __delitem__(self, name: str) -> None:
        delattr(self, self._known(name))

    def keys(self) -> list[str]:
        """The names, in order."""
        return list(self._child_names)

    def values(self) -> list[Module]:
        """The modules, in order."""
        return list(self.children())

    def items(self) -> list[tuple[str, Module]]:
        """(name, module) pairs, in order."""
        return list(self.named_children())

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add the modules of a dict; one whose name is known takes the place of that one."""
        if not isinstance(modules, Mapping):
            raise DTypeError(f"ModuleDict: modules is {shown(modules)}, expected a dict of modules")
        for name, module in modules.items():
            self[name] = module

    def _known(self, name):
        if name not in self:
            known = ", ".join(self._child_names) or "none"
            raise UnknownNameError(f"ModuleDict: has no module {shown(name)}: known are {known}."
                                   f"{nearest(name, self._child_names)}")
        return name
