"""`break_at`: a debugger's prompt at one op of a backward pass or of a forward, by the name of its layer, its type, its
number, or what its gradient holds."""
import difflib
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

from minires.arguments import is_one_of, is_whole_number, shown
from minires.arrays.backend import Array
from minires.debug.dry_run import KINDS, ForwardStep, makes
from minires.debug.prompt import breakpoint_hook, with_breakpoint
from minires.engine.backward import BackwardStep
from minires.engine.call_site import call_site
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.state import state, temporarily
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, UnknownNameError
from minires.nn.convolution import Conv2d
from minires.nn.linear import Linear
from minires.nn.module import Module

NEAR = 5  # names that an error lists


class break_at(BackwardHook):
    """`with break_at("layer2.0.conv1"):` the debugger stops inside that op's backward, before its first line.

    The stop is a call of `breakpoint()`: it opens pdb, or what the environment variable PYTHONBREAKPOINT names, such as
    `ipdb.set_trace`, or the debugger of VS Code or PyCharm where that runs the program. The frame is that of the op, so
    `dy` and what the op saved are locals; `step` is there too, and `step.where()` is the line of your code that made the
    op. From a stop to the end of its pass, ops run the form that states their definition, as in `reference_ops()`; until
    then the fast form runs, so the values are those of an undisturbed run, and come as soon.

    What is given must all hold:

    Args:
        layer_or_op: the dotted name of a layer ("layer2.0.conv1"), a named tensor, or a type of op, as `op`; or a module,
            which stands for its name. All ops, if None.
        when: "backward" or "forward".
        op: a type of op: its class, or the class's name ("Conv2d").
        step: the number of the op in its backward pass, counted from 0, as `enumerate(backward_steps(loss))` counts;
            or in forward, among the ops since the block began or the last backward pass ended.
        if_: a function of the step, which has `op`, `name`, and `grad_output` in backward or `inputs` in forward.
        first: "non-finite" or "zero": stop once, at the op that makes the first gradient which holds a value that is not
            finite, or in which all values are exactly 0; in forward, the first such output. Each op runs twice for that.

    Attributes:
        stops: how often it has stopped.

    Raises:
        UnknownNameError: there is no such type of op; or, at the end of the block, nothing of this name has run.
        ArgumentError: an argument has a value that it cannot have.

    Where the block ends without a stop for another reason, a warning tells what was seen.
    """

    def __init__(self, layer_or_op: str | Module | type[Op] | None = None, *, when: str = "backward",
                 op: str | type[Op] | None = None, step: int | None = None, if_: Callable[[Any], Any] | None = None,
                 first: str | None = None) -> None:
        if isinstance(layer_or_op, type) or (isinstance(layer_or_op, str) and layer_or_op in _op_names()):
            if op is not None:
                raise ArgumentError(f"break_at: got two types of op, {layer_or_op!r} and op={op!r}")
            layer, op = None, layer_or_op
        else:
            layer = layer_or_op.path if isinstance(layer_or_op, Module) else layer_or_op
        self.layer: str | None = layer
        self.op: str | type[Op] | None = op
        self.when: str = when
        self.number: int | None = step
        self.if_: Callable[[Any], Any] | None = if_
        self.first: str | None = first
        self._check_arguments()
        self.stops: int = 0
        self._names: dict[str, dict[str, None]] = {"forward": {}, "backward": {}}  # of what ran; in order, unlike sets
        self._kinds: set[str] = set()  # of op, of which so many steps were looked at ...
        self._looked_at = 0
        self._candidates = 0  # ... and of these, layer, op and number fitted so many
        self._count = 0  # steps of this pass
        self._armed: tuple[Op, str] | None = None  # (op, method) whose copy waits for its call
        self._definition: temporarily | None = None  # ops run it from a stop to the end of its pass
        self._outer_hook: Callable[..., Any] | None = None  # `sys.breakpointhook`, where it was replaced
        self._missed = False  # was it said that the name is not there?
        self._net: str = ""  # what runs in this pass, in words; "" where that is not known yet
        self._nets: dict[str, None] = {}  # what ran in all passes

    # ---- what the passes tell

    def before_forward(self, op: Op, inputs: list[Array | None]) -> None:
        """Stop in this op's forward, if it is the one."""
        if state.rebuilding:
            return  # a checkpoint's second forward
        self._names["forward"].setdefault(op.layer or type(op).__name__)
        if op.layer and not self._net:
            self._net = _net_in_words()
            self._nets.setdefault(self._net)
        if self.when == "forward":
            op.call_site = call_site()
            self._consider(ForwardStep(op, inputs))

    def after_forward(self, op: Op, inputs: list[Array | None], output: Array) -> None:
        """The forward has run: it may run undisturbed the next time."""
        self._disarm()

    def start_of_pass(self, root: Tensor) -> None:
        """Count from 0."""
        self._disarm()
        self._count = 0 if self.when == "backward" else self._count

    def before_step(self, step: BackwardStep) -> None:
        """Stop in this op's backward, if it is the one."""
        self._names["backward"].setdefault(step.name)
        self._names["backward"].setdefault(step.op.layer or step.name)
        if self.when == "backward":
            self._consider(step)

    def after_step(self, step: BackwardStep) -> None:
        """The backward has run: it may run undisturbed the next time."""
        self._disarm()

    def end_of_pass(self) -> None:
        """Back to the fast ops; and the first time that a name was not there, a word at once, as more may take minutes."""
        if self.layer is not None and not self._missed and self.layer not in self._seen():
            self._missed = True
            print(f"minires: break_at: nothing of the name {self.layer!r} in this backward pass. "
                  f"{_near(self.layer, self._seen())}{f'; it is of {self._net}' if self._net else ''}. Waiting for another "
                  "pass", file=sys.stderr)
        self._net = ""
        self._count = 0
        self._restore_ops()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._disarm()
        self._restore_ops()
        if not self.stops and exception[:1] == (None,):
            self._say_why_not()

    # ---- does a step fit?

    def _consider(self, step):
        number, self._count = self._count, self._count + 1
        self._looked_at += 1
        self._kinds.add(type(step.op).__name__)
        if self._fits(step, number):
            self._stop(step, number)

    def _fits(self, step, number):
        if self.layer is not None and self.layer not in (step.name, step.op.layer):
            return False
        if self.op is not None and not _is_a(step.op, self.op):
            return False
        if self.number not in (None, number):
            return False
        self._candidates += 1
        if self.if_ is not None and not self.if_(step):
            return False
        return self.first is None or (self.stops == 0 and makes(step, self.first))

    # ---- the stop

    def _stop(self, step, number):
        self._disarm()
        self.stops += 1
        op, direction = step.op, self.when
        net = f", in {self._net}" if self._net else ""
        print(f"\nminires: {direction} of {op.title}, step {number}{net}, called at {step.where()}", flush=True)
        if self._definition is None:
            self._definition = temporarily(reference=True).__enter__()
        method = f"plain_{direction}" if getattr(op, f"plain_{direction}") else direction
        if breakpoint_hook() is not sys.breakpointhook:
            self._outer_hook, sys.breakpointhook = sys.breakpointhook, breakpoint_hook()
        copy = with_breakpoint(getattr(type(op), method))
        if copy is None:
            print(f"minires: the source of {type(op).__name__}.{method} cannot be read, is a lambda, or has changed since "
                  "its import: this is just before it runs")
            breakpoint()
            self._disarm()
            return
        op.stopped_step = step
        setattr(op, method, copy.__get__(op))  # on this op alone: it hides the method of its class
        self._armed = op, method

    def _disarm(self):
        if self._armed is not None:
            op, method = self._armed
            for name in (method, "stopped_step"):
                op.__dict__.pop(name, None)  # a break_at around this one may have stopped there too
            self._armed = None
        if self._outer_hook is not None:
            sys.breakpointhook = self._outer_hook
            self._outer_hook = None

    def _restore_ops(self):
        if self._definition is not None:
            self._definition.__exit__()
            self._definition = None

    # ---- what to say at the end

    def _say_why_not(self):
        ran = self._names[self.when]
        seen = self._seen()
        if self.layer is not None and seen and self.layer not in seen:
            raise UnknownNameError(f"break_at: nothing of the name {self.layer!r} has run. {_near(self.layer, seen)}"
                                   f"{f'; what ran is {_listed(self._nets)}' if self._nets else ''}")
        if not ran:
            reason = f"no {'op' if self.when == 'forward' else 'backward pass'} ran inside the block"
        elif self.layer is not None and self.layer not in ran:
            reason = f"{self.layer!r} ran in forward, but no gradient reached it in a backward pass"
        elif not self._candidates:
            reason = f"none of the {self._looked_at} steps fitted; their ops were {', '.join(sorted(self._kinds))}"
        else:
            steps = "one step was" if self._candidates == 1 else f"{self._candidates} steps were"
            reason = f"{steps} looked at, and none met the condition"
        warnings.warn(f"{self!r} never stopped: {reason}", stacklevel=3)

    def _seen(self):
        """The names of all that ran."""
        return [name for name in {**self._names["forward"], **self._names["backward"]} if name]

    def __repr__(self) -> str:
        given = {"when": self.when, "op": self.op, "step": self.number, "if_": self.if_, "first": self.first}
        parts = [repr(self.layer)] if self.layer is not None else []
        parts += [f"{name}={getattr(value, '__name__', None) or repr(value)}" for name, value in given.items()
                  if value is not None]
        return f"break_at({', '.join(parts)})"

    def _check_arguments(self):
        if not is_one_of(self.when, ("backward", "forward")):
            raise ArgumentError(f"break_at: when is {shown(self.when)}, expected 'backward' or 'forward'")
        if not isinstance(self.layer, (str, type(None))) or self.layer == "":
            raise ArgumentError(f"break_at: expected the name of a layer, a module that is part of a net, or a type of op, "
                                f"got {shown(self.layer)}")
        if isinstance(self.op, str) and self.op not in _op_names():
            raise UnknownNameError(f"break_at: no type of op is called {self.op!r}. {_near(self.op, _op_names())}")
        if self.op is not None and not isinstance(self.op, str) and not _is_op_class(self.op):
            raise ArgumentError(f"break_at: {shown(self.op)} is no type of op: pass a class of minires.ops, such as "
                                "ops.convolution.Conv2d, or its name, 'Conv2d'")
        if self.number is not None and not is_whole_number(self.number, 0):
            raise ArgumentError(f"break_at: step is {shown(self.number)}, expected the number of a step, counted from 0")
        if self.if_ is not None and not callable(self.if_):
            raise ArgumentError(f"break_at: if_ is {shown(self.if_)}, expected a function of the step")
        if self.first is not None and not is_one_of(self.first, KINDS):
            raise ArgumentError(f"break_at: first is {shown(self.first)}, expected {' or '.join(map(repr, KINDS))}")


# ---- nets

def _net_in_words():
    """The module whose call is the outermost one: "a ResNet of 20 convolutions and linear layers"."""
    net: Module | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        net = caller if isinstance(caller, Module) else net
        frame = frame.f_back
    if net is None:
        return ""
    weighted = sum(isinstance(module, (Conv2d, Linear)) for _, module in net.named_modules())
    return f"a {type(net).__name__} of {weighted} convolutions and linear layers"


def _listed(nets):
    """The first of the nets, and how many more."""
    some = list(nets)
    more = f" and {len(some) - NEAR} more" if len(some) > NEAR else ""
    return ", ".join(some[:NEAR]) + more


# ---- types of op

def _op_classes():
    """Every class of op that has been defined, yours among them."""
    classes = [Op]
    for each in classes:
        classes.extend(each.__subclasses__())  # the list grows while it is walked
    return classes


def _op_names():
    return [each.__name__ for each in _op_classes() if each is not Op]


def _is_op_class(value):
    return isinstance(value, type) and issubclass(value, Op)


def _is_a(op, kind):
    """Is the op of this kind: a class, or the name of its class or of a base that it shares with others?"""
    if isinstance(kind, str):
        return kind in [each.__name__ for each in type(op).__mro__]
    return isinstance(op, kind)


def _near(name, known):
    """"Near it are a, b" or "Below it are …", for the end of an error."""
    below = [each for each in known if each.startswith(f"{name}.")]
    near = difflib.get_close_matches(name, known, n=NEAR, cutoff=0.5)
    some = below or near or list(known)
    more = f" and {len(some) - NEAR} more" if len(some) > NEAR else ""
    return f"{'Below it are' if below else 'Near it are' if near else 'Known are'} {', '.join(some[:NEAR])}{more}"
