"""`Sequential`: modules one after another."""
from collections.abc import Iterator
from typing import Any

from minires.engine.tensor import Tensor
from minires.errors import ArgumentError
from minires.nn.checkpointing import run_in_turn
from minires.nn.module import Module


class Sequential(Module):
    """Runs its modules in order, each on the output of the one before.

    Args:
        modules: the modules, which are then called "0", "1", …; or one dict {name: module}.

    Attributes:
        checkpoint_every: None; or k, to run the modules in checkpoints of k, which takes less memory and more time: see
            `nn.checkpoint`. May be set at any time.

    `net[i]`, `net[i:j]` (a `Sequential` of the same modules, which keep their names), `len(net)` and iteration work as
    on a list.

    Raises:
        ArgumentError: an argument is not a module.
    """

    def __init__(self, *modules: Module | dict[str, Module]):
        super().__init__()
        self.checkpoint_every: int | None = None
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else dict(enumerate(modules))
        for name, module in named.items():
            if not isinstance(module, Module):
                raise ArgumentError(f"Sequential: argument {name!r} is a {type(module).__name__}, expected modules: "
                                    "an activation is nn.ReLU(), a list is passed as Sequential(*modules)")
            setattr(self, str(name), module)

    def forward(self, x: Tensor) -> Tensor:
        """x through each module in turn."""
        return run_in_turn(list(self.children()), x, self.checkpoint_every)

    def __len__(self) -> int:
        return len(self._child_names)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        chosen: Any = list(self.children())[index]
        return Sequential(*chosen) if isinstance(index, slice) else chosen
