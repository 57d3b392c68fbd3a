"""What holds for the code that now runs: gradients on or off, fast or plain ops, the layer, who watches."""
import contextlib
import functools
import sys
import threading


class State(threading.local):
    """What holds for the code that now runs, in each thread: these class attributes are the defaults."""

    grad_enabled = True  # False inside no_grad()
    reference = None  # True inside reference_ops(), False inside reference_ops(False); None: see `runs_definition`
    layer = None  # dotted name of the module whose forward runs, such as "layer2.0.conv1"
    hooks = ()  # the BackwardHooks that watch every backward pass
    rebuilding = None  # the call site of nn.checkpoint, while a backward pass runs that forward again


state = State()


class _Setting(contextlib.ContextDecorator):
    """A `with` block (or decorator) that gives one field of `state` a value, and the old value back at its end."""

    field: str
    value: object

    def __enter__(self):
        self._outer = [*getattr(self, "_outer", ()), getattr(state, self.field)]  # a stack: blocks may be nested
        setattr(state, self.field, self.value)
        return self

    def __exit__(self, *exception):
        setattr(state, self.field, self._outer.pop())


class no_grad(_Setting):
    """`with no_grad():` ops record nothing, so their outputs want no gradient and hold no graph."""

    field, value = "grad_enabled", False


class reference_ops(_Setting):
    """`with reference_ops():` every op runs the form that states its definition, forward and backward, in one thread.

    It is slower, and equal to the fast form up to rounding; this is the form to step through. Under a debugger, ops run it
    by themselves; `with reference_ops(False):` keeps the fast one, for what would take too long.
    """

    field = "reference"

    def __init__(self, enabled: bool = True):
        self.value = enabled


def runs_definition() -> bool:
    """Do ops now run the form that states their definition? Where that is not set, they do under a debugger."""
    if state.reference is not None:
        return state.reference
    if not _is_traced():
        return False
    _say_that_the_definition_runs()
    return True


def _is_traced():
    """Is a debugger attached? It traces, or from Python 3.12 on is registered as the debugger; coverage does not count."""
    tracer = sys.gettrace()
    if tracer is not None:
        return not type(tracer).__module__.startswith("coverage")
    monitoring = getattr(sys, "monitoring", None)
    return monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None


@functools.cache
def _say_that_the_definition_runs():
    """Tell once why everything is slow now."""
    print("minires: under a debugger, ops run the form that states their definition, which is slow on large nets; "
          "`with minires.reference_ops(False):` keeps the fast form", file=sys.stderr)


