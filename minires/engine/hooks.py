"""`BackwardHook`: what can watch the ops and the backward passes of a thread."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minires.engine.state import EVENTS, Hooks, state

if TYPE_CHECKING:
    from minires.arrays.backend import Array
    from minires.engine.backward import BackwardStep
    from minires.engine.op import Op
    from minires.engine.tensor import Tensor


class BackwardHook:
    """What can watch the ops and the backward passes of a thread, inside `with hook:`. Override what you need.

    Breakpoints, the gradient recorder and progress displays are hooks.
    """

    watches: tuple[str, ...] = ()  # the events that a subclass looks at: the methods below which it defines

    def __init_subclass__(cls) -> None:
        cls.watches = tuple([event for event in EVENTS if getattr(cls, event) is not getattr(BackwardHook, event)])

    def before_forward(self, op: Op, inputs: list[Array | None]) -> None:
        """An op is about to run on `inputs`, arrays (None for an absent bias)."""

    def after_forward(self, op: Op, inputs: list[Array | None], output: Array) -> None:
        """An op has computed `output` from `inputs`, all arrays (None for an absent bias)."""

    def start_of_pass(self, root: Tensor) -> None:
        """A backward pass from the tensor `root` begins."""

    def before_step(self, step: BackwardStep) -> None:
        """An op's gradient is complete and its `backward` is about to run."""

    def after_rebuild(self, op: Op, last: Op) -> None:
        """The part for which the checkpoint `op` stood was made again: its op `last` makes the same output in its place."""

    def after_step(self, step: BackwardStep) -> None:
        """An op's `backward` has run, and `step.grad_inputs` holds what it returned."""

    def leaf_gradient(self, leaf: Tensor, gradient: Array) -> None:
        """This pass contributes `gradient` (all of it) to a leaf such as a weight."""

    def end_of_pass(self) -> None:
        """The last op has run."""

    def __enter__(self) -> Any:
        state.hooks = Hooks((*state.hooks, self))
        return self

    def __exit__(self, *exception: object) -> None:
        state.hooks = Hooks([hook for hook in state.hooks if hook is not self])
