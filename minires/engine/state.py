"""What holds for the code that now runs: gradients on or off, fast or plain ops, the layer, who watches."""
import contextlib
import functools
import os
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


class BackwardHook:
    """What can watch the ops and the backward passes of a thread, inside `with hook:`. Override what you need.

    Breakpoints, the gradient recorder and progress displays are hooks.
    """

    def before_forward(self, op, inputs):
        """An op is about to run on `inputs`, arrays (None for an absent bias)."""

    def after_forward(self, op, inputs, output):
        """An op has computed `output` from `inputs`, all arrays (None for an absent bias)."""

    def start_of_pass(self, root):
        """A backward pass from the tensor `root` begins."""

    def before_step(self, step):
        """An op's gradient is complete and its `backward` is about to run."""

    def after_rebuild(self, op, last):
        """The part for which the checkpoint `op` stood was made again: its op `last` makes the same output in its place."""

    def after_step(self, step):
        """An op's `backward` has run, and `step.grad_inputs` holds what it returned."""

    def leaf_gradient(self, leaf, gradient):
        """This pass contributes `gradient` (all of it) to a leaf such as a weight."""

    def end_of_pass(self):
        """The last op has run."""

    def __enter__(self):
        state.hooks = (*state.hooks, self)
        return self

    def __exit__(self, *exception):
        state.hooks = tuple(hook for hook in state.hooks if hook is not self)


_ENGINE = os.path.dirname(os.path.abspath(__file__))
_OUR_CODE = tuple(os.path.join(os.path.dirname(_ENGINE), folder, "") for folder in ("engine", "ops", "nn"))
_BACKWARD_PASS = os.path.join(_ENGINE, "backward.py")


@functools.cache
def _is_our_code(file):
    return file.startswith(_OUR_CODE)


def call_site() -> tuple:
    """(code, offset) of the nearest caller outside engine, ops and nn; `line_of` looks up its line when asked."""
    frame = sys._getframe(2)
    rebuilding = state.rebuilding
    while frame.f_back is not None and _is_our_code(frame.f_code.co_filename):
        if rebuilding and frame.f_code.co_filename == _BACKWARD_PASS:
            return rebuilding  # where the forward was called, and not where backward() was
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def line_of(code, offset) -> tuple:
    """(file, line) of a call site."""
    lines = [line for start, stop, line in code.co_lines() if start <= offset < stop and line is not None]
    return code.co_filename, lines[0] if lines else code.co_firstlineno
