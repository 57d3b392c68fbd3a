"""no_grad, reference_ops, hooks: they hold for their block and their thread; and which line called an op."""
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.engine import state as context
from minires.engine.state import no_grad, state
from minires.errors import DTypeError

SETTINGS = [(mr.no_grad, "grad_enabled", False), (mr.reference_ops, "reference", True)]
each_setting = pytest.mark.parametrize(("setting", "field", "value"), SETTINGS, ids=["no_grad", "reference_ops"])


@each_setting
def test_a_setting_holds_for_its_block_however_it_is_left(setting, field, value):
    before = getattr(state, field)
    with setting():
        assert getattr(state, field) is value
        assert value is not before
    assert getattr(state, field) is before
    with pytest.raises(ZeroDivisionError), setting():
        _ = 1 / 0
    assert getattr(state, field) is before


@each_setting
def test_blocks_can_be_nested_also_the_same_one(setting, field, value):
    before, block = getattr(state, field), setting()
    with block:
        with block:
            assert getattr(state, field) is value
        assert getattr(state, field) is value
    assert getattr(state, field) is before


@each_setting
def test_a_setting_can_decorate_a_function(setting, field, value):
    @setting()
    def countdown(n):
        return [getattr(state, field)] + (countdown(n - 1) if n else [])

    before = getattr(state, field)
    assert countdown(2) == [value] * 3
    assert getattr(state, field) is before


@each_setting
def test_a_setting_holds_for_its_thread_only(setting, field, value):
    seen, before = [], getattr(state, field)
    with setting():
        thread = threading.Thread(target=lambda: seen.append(getattr(state, field)))
        thread.start()
        thread.join()
    assert seen == [before]


def test_under_no_grad_nothing_is_recorded():
    x = mr.Tensor([1.0], requires_grad=True)
    with mr.no_grad():
        y = ops.relu(x) * 2
    assert not y.requires_grad
    assert y.op is None
    assert (x * 2).requires_grad


@pytest.fixture
def nobody_was_told():
    context._say_that_the_definition_runs.cache_clear()
    yield
    context._say_that_the_definition_runs.cache_clear()


def traced(work):
    """What work() returns while a tracer is set, as by pdb."""
    outer = sys.gettrace()
    sys.settrace(lambda frame, event, argument: None)
    try:
        return work()
    finally:
        sys.settrace(outer)


def test_under_a_tracer_ops_run_their_definition_and_it_says_so_once(nobody_was_told, capsys):
    x = mr.Tensor([1.0], requires_grad=True)
    assert TwoForms()(x).item() == 2
    assert traced(lambda: [TwoForms()(x).item(), TwoForms()(x).item()]) == [3, 3]
    assert TwoForms()(x).item() == 2
    assert capsys.readouterr().err.count("under a debugger, ops run the form that states their definition") == 1


def test_the_backward_runs_its_definition_too(nobody_was_told):
    x = mr.Tensor([1.0], requires_grad=True)
    y = TwoForms()(x)
    traced(y.backward)
    assert x.grad == [20]


def test_the_fast_form_can_be_kept_under_a_tracer(nobody_was_told, capsys):
    x = mr.Tensor([1.0], requires_grad=True)

    def work():
        with mr.reference_ops(False):
            return TwoForms()(x).item()

    assert traced(work) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="sys.monitoring is new in Python 3.12")
def test_a_debugger_that_monitors_counts_as_one(nobody_was_told):
    x = mr.Tensor([1.0], requires_grad=True)
    sys.monitoring.use_tool_id(sys.monitoring.DEBUGGER_ID, "a debugger")
    try:
        assert TwoForms()(x).item() == 3
    finally:
        sys.monitoring.free_tool_id(sys.monitoring.DEBUGGER_ID)
    assert TwoForms()(x).item() == 2


def test_a_tracer_that_measures_coverage_is_no_debugger(monkeypatch):
    tracer = type("CTracer", (), {"__module__": "coverage.tracer"})()
    monkeypatch.setattr(sys, "gettrace", lambda: tracer)
    assert not context.runs_definition()


class TwoForms(mr.Op):
    """An op whose forms can be told apart."""

    def forward(self, x):
        return x + 1

    def plain_forward(self, x):
        return x + 2

    def backward(self, dy):
        return 10 * dy

    def plain_backward(self, dy):
        return 20 * dy


@pytest.mark.parametrize("plain_forward", [False, True])
@pytest.mark.parametrize("plain_backward", [False, True])
def test_reference_ops_chooses_the_plain_form_of_forward_and_of_backward(plain_forward, plain_backward):
    x = mr.Tensor(np.zeros(1), requires_grad=True)
    state.reference = plain_forward
    try:
        y = TwoForms()(x)
        state.reference = plain_backward
        y.backward()
    finally:
        state.reference = None
    assert y.item() == (2 if plain_forward else 1)
    assert x.grad == (20 if plain_backward else 10)


# ---- hooks

class Diary(mr.BackwardHook):
    """Writes down what happens."""

    def __init__(self):
        self.events = []

    def after_forward(self, op, inputs, output):
        self.events.append(("forward", type(op).__name__, [x.shape for x in inputs], output.shape))

    def start_of_pass(self, root):
        self.events.append(("start", root))

    def before_step(self, step):
        self.events.append(("before", type(step.op).__name__, step.grad_inputs))

    def after_step(self, step):
        self.events.append(("after", type(step.op).__name__, len(step.grad_inputs)))

    def leaf_gradient(self, leaf, gradient):
        self.events.append(("leaf", leaf.name, gradient.tolist(), leaf.grad))

    def end_of_pass(self):
        self.events.append(("end",))


def test_a_hook_sees_each_op_before_and_after_its_backward_and_each_leaf_before_it_is_added_to():
    x = mr.Tensor(np.array([2.0, 3.0]), requires_grad=True, name="x")
    with Diary() as diary:
        loss = (x * 5).sum()
        loss.backward()
    assert diary.events == [
        ("forward", "Multiply", [(2,), ()], (2,)),
        ("forward", "Sum", [(2,)], ()),
        ("start", loss),
        ("before", "Sum", None),
        ("after", "Sum", 1),
        ("before", "Multiply", None),
        ("after", "Multiply", 2),
        ("leaf", "x", [5, 5], None),
        ("end",),
    ]


def test_a_hook_watches_inside_its_block_only_and_several_may_watch():
    x = mr.Tensor([2.0], requires_grad=True)
    first, second = Diary(), Diary()
    with first:
        with second:
            ops.relu(x)
        ops.tanh(x)
    ops.exp(x)
    assert [event[1] for event in first.events] == ["ReLU", "Tanh"]
    assert [event[1] for event in second.events] == ["ReLU"]


def test_a_hook_that_does_nothing_changes_nothing():
    x = mr.Tensor([2.0], requires_grad=True)
    with mr.BackwardHook():
        (x * x).backward()
    np.testing.assert_array_equal(x.grad, [4])


def test_a_hook_leaves_with_an_error():
    with pytest.raises(ZeroDivisionError), mr.BackwardHook():
        _ = 1 / 0
    assert state.hooks == ()


# ---- the line that called an op

def this_line():
    """(file, line) of the caller."""
    return __file__, sys._getframe(1).f_lineno


def test_an_op_knows_the_users_line_that_called_it():
    x = mr.Tensor(np.ones((2, 3)), requires_grad=True)
    made = [
        (ops.relu(x), this_line()),
        (x * 2, this_line()),
        (x.sum(), this_line()),
        (x[0], this_line()),
        (nn.Linear(3, 2)(x), this_line()),
        (nn.Sequential(nn.Tanh(), nn.Sequential(nn.ReLU()))(x), this_line()),
    ]
    for y, line in made:
        assert y.op.where == line


def test_an_op_in_a_module_of_the_users_own_knows_the_line_inside_of_its_forward():
    class Net(nn.Module):
        def forward(self, x):
            self.line = this_line()[1] + 1
            return ops.relu(x)

    net = Net()
    y = net(mr.Tensor([1.0], requires_grad=True))
    assert y.op.where == (__file__, net.line)


def test_blocks_that_end_in_another_order_than_they_began_leave_what_was():
    first, second = no_grad(), no_grad()
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert not state.grad_enabled
    second.__exit__()
    assert state.grad_enabled


def test_a_block_that_another_thread_runs_too_ends_in_each_by_itself():
    block, inside = no_grad(), []
    with block, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: inside.append(block.__enter__() and state.grad_enabled) or block.__exit__()).result()
        assert not state.grad_enabled
    assert inside == [False]
    assert state.grad_enabled


def test_a_function_that_pauses_cannot_be_decorated():
    def generator():
        yield 1

    async def coroutine():
        return 1

    for pausing in (generator, coroutine):
        with pytest.raises(DTypeError, match="which pauses"):
            no_grad()(pausing)
