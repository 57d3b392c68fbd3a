"""A pdb that is typed into stops inside the backward of every op, at its first line, and changes no gradient."""
import ast
import inspect
import linecache
import sys
import textwrap
import types
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.debug.prompt import breakpoint_hook, with_breakpoint
from minires.ops.arithmetic import MatMul
from minires.ops.normalization import BatchNorm
from minires.ops.pooling import MaxPool2d
from tests.ops.test_every_op import CASES, NAMES, Case, batch_norm, call, cotangent, normal, results
from tests.pdb_session import ONE_STEP, Session

PACKAGE = Path(mr.__file__).parent
BACKWARDS = [(op, form) for op in dict.fromkeys(case.op for case in CASES) for form in ("backward", "plain_backward")
             if getattr(op, form)]
# Cases for the lines that the table of all ops leaves out.
BRANCHES = [Case(BatchNorm, "frozen", batch_norm(True, True), (normal(4, 3, 2, 2), normal(3), normal(3))),
            Case(BatchNorm, "not finite", batch_norm(True), (normal(4, 3, 2, 2), normal(3) * np.inf, normal(3))),
            Case(MaxPool2d, "not finite", lambda x: ops.max_pool2d(x, 3, 2, 1), (normal(2, 2, 5, 4) * np.nan,)),
            Case(MatMul, "vector, matrix", ops.matmul, (normal(3), normal(3, 2)))]

each_case = pytest.mark.parametrize("case", CASES, ids=NAMES)
each_backward = pytest.mark.parametrize(("op", "form"), BACKWARDS, ids=[f"{op.__name__}.{form}" for op, form in BACKWARDS])


def definition(op, direction):
    """The form of an op that runs under reference_ops()."""
    return getattr(op, f"plain_{direction}") or getattr(op, direction)


def first_line(function):
    """The number of the first line of a function's body, after its docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    return function.__code__.co_firstlineno + tree.body[1 if ast.get_docstring(tree) else 0].lineno - 1


def shown_at(function, line):
    """What pdb shows where it stands at this line of the function."""
    return f"> {function.__code__.co_filename}({line}){function.__name__}()"


@each_case
def test_the_debugger_stops_at_the_first_line_of_every_backward_and_changes_no_gradient(case, capsys):
    with mr.reference_ops():
        _, *expected = results(case, case.arrays)
        tensors, y = call(case, case.arrays)
    dy = cotangent(y)
    commands = ["p dy.shape, dy.dtype.name", "p type(self).__name__, step.op is self", "p step.where()", "return",
                "several = [value for each in locals().values() if isinstance(each, (list, tuple)) for value in each]",
                "p sorted(value.shape for value in [*locals().values(), *several] if hasattr(value, 'nbytes'))", "continue"]
    with Session(*ONE_STEP, *commands) as session, mr.debug.break_at(op=case.op) as stop:
        y.backward(dy)
    assert stop.stops == 1
    shown, dys, step, where, returned, _, shapes, _ = session.answers[len(ONE_STEP):]
    backward = definition(case.op, "backward")
    assert shown_at(backward, first_line(backward)) in shown
    assert dys.strip() == str((dy.shape, "float64"))
    assert step.strip() == str((case.op.__name__, True))
    assert "test_every_op.py:" in where
    assert "--Return--" in returned
    assert {x.shape for x in case.arrays} <= set(ast.literal_eval(shapes))  # among the locals, each argument's gradient
    for x, right in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(x.grad, right)


@each_case
def test_in_forward_the_inputs_are_locals_and_the_output_stays_the_same(case, capsys):
    with mr.reference_ops():
        _, expected = call(case, case.arrays)
    forward = definition(case.op, "forward")
    first = list(inspect.signature(forward).parameters.values())[1]
    x = f"{first.name}[0]" if first.kind is first.VAR_POSITIONAL else first.name
    commands = [f"p {x}.shape, step.op is self, step.inputs[0] is {x}", "continue"]
    with Session(*ONE_STEP, *commands) as session, mr.debug.break_at(op=case.op, when="forward") as stop:
        _, y = call(case, case.arrays)
    assert stop.stops == 1
    shown, answer, _ = session.answers[len(ONE_STEP):]
    assert shown_at(forward, first_line(forward)) in shown
    assert answer.strip() == str((case.arrays[0].shape, True, True))
    np.testing.assert_array_equal(y.data, expected.data)


@each_case
def test_between_a_call_of_backward_and_the_arithmetic_stand_two_frames_of_ours(case, monkeypatch, capsys):
    stack = []

    def record():
        frame = sys._getframe(1)
        while frame.f_code is not this_test:
            stack.append((frame.f_code.co_name, Path(frame.f_code.co_filename).name))
            frame = frame.f_back

    this_test = sys._getframe().f_code
    monkeypatch.setattr(sys, "breakpointhook", record)
    _, y = call(case, case.arrays)
    with mr.debug.break_at(op=case.op):
        y.backward(cotangent(y))
    op_frame, *between = stack
    assert op_frame[0] == definition(case.op, "backward").__name__
    assert between == [("_run_backward", "backward.py"), ("backward", "tensor.py")]


# What the backward of a definition may call of ours, besides `array_module`, which names NumPy or CuPy: sum and mean that
# are rounded once, the sum over the axes along which an operand was broadcast, the place of a window's first largest, and
# the copy from device to device.
BELOW = defaultdict(set, {
    **{op: {"unbroadcast", "sum_over"} for op in ("Add", "Subtract", "Multiply", "Divide", "Power", "MatMul",
                                                        "Where")},
    **{op: {"sum_over"} for op in ("Softmax", "LogSoftmax")},
    **{op: {"sum_over"} for op in ("Conv2d", "Conv1d", "ConvTranspose2d", "UpsampleNearest")},
    **{op: {"sum_over", "mean_over"} for op in ("LayerNorm", "GroupNorm", "RMSNorm")},
    "MaxPool2d": {"first_largest"},
    "ToDevice": {"to_device", "parse_device", "to_host"},
})


@each_case
def test_below_the_arithmetic_of_a_definition_there_is_no_frame_of_ours(case):
    backward, below = definition(case.op, "backward").__code__, set()

    def watch(frame, event, argument):
        code, above = frame.f_code, frame.f_back
        if event == "call" and Path(code.co_filename).is_relative_to(PACKAGE) and not code.co_name.startswith("<"):
            while above is not None and above.f_code is not backward:
                above = above.f_back
            if above is not None:
                below.add(code.co_name)

    with mr.reference_ops():
        _, y = call(case, case.arrays)
        dy = cotangent(y)
        sys.setprofile(watch)
        y.backward(dy)
        sys.setprofile(None)
    assert below - {"array_module"} <= BELOW[case.op.__name__]


def lines_of(function):
    """The numbers of the lines of its body that hold code."""
    code = function.__code__
    return {line for _, _, line in code.co_lines() if line} - {code.co_firstlineno}


@each_backward
def test_every_line_of_every_backward_holds_a_breakpoint_and_stops_there(op, form):
    function = getattr(op, form)
    file, lines = function.__code__.co_filename, sorted(lines_of(function))
    assert function.__name__ == form  # a def of its own, no lambda
    assert len(lines) > 1
    reached = set()
    for case in [case for case in (*CASES, *BRANCHES) if case.op is op]:
        _, y = call(case, case.arrays)
        commands = [f"tbreak {file}:{line}" for line in lines] + ["continue"] * (len(lines) + 1)
        with Session(*commands) as session, mr.reference_ops(form == "plain_backward"), np.errstate(all="ignore"):
            breakpoint()
            y.backward(cotangent(y))
        _, *answers = session.answers
        assert all(f" at {file}:{line}\n" in answer for line, answer in zip(lines, answers, strict=False))
        reached |= {line for line in lines if any(shown_at(function, line) in answer for answer in answers)}
    assert reached == set(lines)


# ---- the copy that holds the breakpoint


class Base(mr.Op):
    def backward(self, dy):
        return 10 * dy


def decorated(function):
    return function


class Unusual(Base):
    """Functions of forms that an op of somebody else may have."""

    stopped_step = "the step"
    factor = 3

    def one_line(self, dy): return self.factor * dy

    def only_text(self, dy):
        """Nothing else."""

    def own_step(self, dy, step=2):
        step += 1
        return step * dy

    def of_the_base(self, dy):
        return super().backward(dy) + 1

    @decorated
    def with_decorator(self, dy, *, plus=1):
        result = dy + plus
        return result


@pytest.mark.parametrize(("name", "expected"), [("one_line", 6), ("only_text", None), ("own_step", 6), ("of_the_base", 21),
                                                ("with_decorator", 3)])
def test_a_copy_stops_before_the_first_statement_and_returns_the_same(name, expected, monkeypatch):
    function, seen = getattr(Unusual, name), []
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(dict(sys._getframe(1).f_locals)))
    op = Unusual()
    assert with_breakpoint(function)(op, 2) == expected
    assert function(op, 2) == expected
    assert len(seen) == 1  # of the copy alone
    assert seen[0]["dy"] == 2
    assert seen[0]["step"] == (2 if name == "own_step" else "the step")


def test_a_function_in_one_line_is_stopped_before_it_has_run(capsys):
    with Session(*ONE_STEP, "p dy", "next", "continue") as session:
        with_breakpoint(Unusual.one_line)(Unusual(), 2)
    shown, dy, returned, _ = session.answers[len(ONE_STEP):]
    assert shown_at(Unusual.one_line, Unusual.one_line.__code__.co_firstlineno) in shown
    assert dy.strip() == "2"
    assert "--Return--" in returned
    assert "->6" in returned


def test_variables_of_a_function_around_an_op_are_seen_from_the_copy(monkeypatch):
    monkeypatch.setattr(sys, "breakpointhook", lambda: None)
    scale = 7

    class Local(mr.Op):
        stopped_step = None

        def backward(self, dy):
            return scale * dy

    assert with_breakpoint(Local.backward)(Local(), 2) == 14


BEFORE = "def backward(self, dy):\n    return 2 * dy\n"


def test_without_a_source_there_is_no_copy():
    names = {}
    exec("class Typed:\n    def backward(self, dy):\n        return dy\n", names)
    assert with_breakpoint(names["Typed"].backward) is None
    assert with_breakpoint(len) is None
    assert with_breakpoint(None) is None


def test_a_lambda_has_no_place_for_a_stop_so_it_is_not_copied():
    class Short:
        backward = lambda self, dy: 2 * dy  # noqa: E731

    assert with_breakpoint(Short.backward) is None


@pytest.mark.parametrize("now", [BEFORE.replace("2", "3"), "def backward(self, dy:\n", "", "\n" + BEFORE])
def test_a_file_that_has_changed_since_it_was_imported_is_not_copied(tmp_path, now):
    path, names = tmp_path / "op.py", {}
    path.write_text(BEFORE, encoding="utf-8")
    exec(compile(BEFORE, str(path), "exec"), names)
    assert with_breakpoint(names["backward"]) is not None
    path.write_text(now, encoding="utf-8")
    linecache.checkcache()
    assert with_breakpoint(names["backward"]) is None


# ---- which debugger


def debugpys_hook():
    """Stands for the hook that a notebook's kernel sets."""


debugpys_hook.__module__ = "debugpy._vendored.force_pydevd"


@pytest.mark.parametrize(("hook", "is_attached", "in_ipython", "expected"), [
    (debugpys_hook, False, True, "IPython's"), (debugpys_hook, True, True, debugpys_hook),
    (debugpys_hook, False, False, debugpys_hook), (sys.__breakpointhook__, False, True, sys.__breakpointhook__)])
def test_in_a_notebook_that_no_debugger_is_attached_to_the_prompt_is_ipythons(hook, is_attached, in_ipython, expected,
                                                                             monkeypatch):
    monkeypatch.setattr(sys, "breakpointhook", hook)
    monkeypatch.setitem(sys.modules, "debugpy", types.SimpleNamespace(is_client_connected=lambda: is_attached))
    ipython = types.SimpleNamespace(set_trace="IPython's") if in_ipython else None
    monkeypatch.setitem(sys.modules, "IPython.core.debugger", ipython)
    assert breakpoint_hook() == expected
