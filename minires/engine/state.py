"""What holds for the code that now runs: gradients on or off, fast or plain ops, the layer, who watches."""
import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any, Self, TypeVar

from minires.arguments import flag
from minires.errors import DTypeError

F = TypeVar("F", bound=Callable[..., Any])
EVENTS = ("before_forward", "after_forward", "start_of_pass", "before_step", "after_rebuild", "after_step", "leaf_gradient",
          "end_of_pass")  # the methods of a `BackwardHook`


class Hooks(tuple):
    """The `BackwardHook`s that watch, in the order in which their blocks began.

    For each event it has the methods of those that look at it: `for see in hooks.before_step: see(step)`.
    """

    def __init__(self, hooks: Any = ()):
        self.__dict__.update({event: [getattr(hook, event) for hook in self if event in hook.watches] for event in EVENTS})


class State(threading.local):
    """What holds for the code that now runs, in each thread: these class attributes are the defaults."""

    grad_enabled: bool = True  # False inside no_grad()
    reference: bool | None = None  # True inside reference_ops(), False in reference_ops(False); None: see `runs_definition`
    layer: str | None = None  # dotted name of the module whose forward runs, such as "layer2.0.conv1"
    hooks: Any = Hooks()  # what watches every forward and backward pass
    rebuilding: tuple[CodeType, int] | None = None  # while a backward pass runs a checkpoint's forward again: its call site

    def __init__(self) -> None:
        self.blocks: list[temporarily] = []  # those that the thread is inside of, as often as it has entered them
        self.outside: dict[str, Any] = {}  # what their fields held outside of all of them


state: State = State()


class temporarily(contextlib.ContextDecorator):
    """A `with` block (or decorator) in which these fields of `state` have other values.

    It holds for the thread that enters it. Blocks may be nested, also the same one, and left in any order.
    """

    def __init__(self, **fields: Any):
        self.fields = fields

    def __enter__(self) -> Self:
        for name, value in self.fields.items():
            if not any(name in block.fields for block in state.blocks):
                state.outside[name] = getattr(state, name)
            setattr(state, name, value)
        state.blocks.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        del state.blocks[max(i for i, block in enumerate(state.blocks) if block is self)]
        for name in self.fields:
            values = [block.fields[name] for block in state.blocks if name in block.fields]
            setattr(state, name, values[-1] if values else state.outside[name])

    def __call__(self, function: F) -> F:
        """`@no_grad()`: the function runs inside the block; not one that pauses, as other code would run in between."""
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise DTypeError(f"{type(self).__name__}: cannot decorate {function.__qualname__}, which pauses (yield or "
                             "await): write the with block inside it, around what does not pause")
        return super().__call__(function)


class no_grad(temporarily):
    """`with no_grad():` ops record nothing, so their outputs want no gradient and hold no graph."""

    def __init__(self):
        super().__init__(grad_enabled=False)


class reference_ops(temporarily):
    """`with reference_ops():` every op runs the form that states its definition, forward and backward, in one thread.

    It is slower, and equal to the fast form up to rounding; this is the form to step through. Under a debugger, ops run it
    by themselves; `with reference_ops(False):` keeps the fast one, for what would take too long.
    """

    def __init__(self, enabled: bool = True):
        super().__init__(reference=flag("reference_ops", "enabled", enabled))


def runs_definition() -> bool:
    """Do ops now run the form that states their definition? Where that is not set, they do under a debugger."""
    if state.reference is not None:
        return state.reference
    tracer, monitoring = sys.gettrace(), getattr(sys, "monitoring", None)
    if tracer is not None:
        is_debugged = not type(tracer).__module__.startswith("coverage")
    else:  # from Python 3.12 on, a debugger may be registered instead
        is_debugged = monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None
    if is_debugged:
        _say_that_the_definition_runs()
    return is_debugged


@functools.cache
def _say_that_the_definition_runs():
    """Tell once why everything is slow now."""
    print("minires: under a debugger, ops run the form that states their definition, which is slow on large nets; "
          "`with minires.reference_ops(False):` keeps the fast form", file=sys.stderr)
