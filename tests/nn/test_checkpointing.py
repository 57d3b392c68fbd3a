"""Checkpoints: the same numbers, bit for bit, from a graph that holds less; and what is said where that cannot be."""
import sys
import threading
import weakref

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from minires.debug.breakpoints import break_at
from minires.engine.state import runs_definition, state
from minires.errors import AnomalyError, ArgumentError, BackwardError, DTypeError
from minires.nn.checkpointing import run_in_turn
from minires.recording.numbers import QUANTITIES
from tests.saves import Saves, living


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def leaf(values, name=None):
    return mr.Tensor(np.array(values, dtype=np.float64), requires_grad=True, name=name)


def images(N=4, C=1, size=8):
    return mr.Tensor(normal(N, C, size, size).astype(np.float32))


def plainly(function, *inputs):
    """What `nn.checkpoint` is compared with."""
    return function(*inputs)


def gradients(run, function, arrays, captured=()):
    """(the output, the gradients of the arrays as leaves, those of `captured`) of a run with or without a checkpoint."""
    leaves = [leaf(array) for array in arrays]
    for tensor in captured:
        tensor.grad = None
    y = run(function, *leaves)
    y.backward(normal(*y.shape))
    return [y.data] + [x.grad for x in (*leaves, *captured)]


def assert_equal_bits(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        np.testing.assert_array_equal(a, b, strict=True)


class Counted:
    """Calls a function and counts how often, in the first forward and in a backward pass."""

    def __init__(self, function):
        self.function = function
        self.first, self.again = 0, 0

    def __call__(self, *inputs):
        if state.rebuilding:
            self.again += 1
        else:
            self.first += 1
        return self.function(*inputs)


class LeafGradients(mr.BackwardHook):
    """The leaves to which a pass delivers, each time that it does, and how many passes began."""

    def __init__(self):
        self.leaves, self.passes = [], 0

    def start_of_pass(self, root):
        self.passes += 1

    def leaf_gradient(self, leaf, gradient):
        self.leaves.append(leaf)


# ---- nets: everything is what it is without checkpoints

NETS = {
    "residual": lambda **k: models.cifar_net(20, width=2, in_channels=1, **k),
    "plain": lambda **k: models.cifar_net(20, residual=False, width=2, in_channels=1, **k),
    "projections": lambda **k: models.cifar_net(14, width=2, in_channels=1, shortcut="C", **k),
    "pre-activation": lambda **k: models.cifar_net(20, width=2, in_channels=1, shortcut="B", preactivation=True, **k),
    "without batch norm": lambda **k: models.cifar_net(14, width=2, in_channels=1, batch_norm=False, **k),
    "flat": lambda **k: models.flat_net(7, width=3, activation="tanh", batch_norm=True, **k),
}


def trained(make, every, steps=2):
    """(the net, its record, the steps of the last pass, the losses) after some steps of SGD."""
    net = make(checkpoint_every=every)
    optimizer = mr.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    losses = []
    with mr.record_gradients(net, optimizer) as record:
        for _ in range(steps):
            loss = ops.cross_entropy(net(images()), [0, 1, 2, 3])
            optimizer.zero_grad()
            seen = [(step.name, type(step.op).__name__, step.grad_output.copy()) for step in mr.backward_steps(loss)]
            optimizer.step()
            losses.append(loss.item())
    return net, record, seen, losses


@pytest.mark.parametrize("every", [1, 2, 100])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_a_net_with_checkpoints_is_the_same_net_bit_for_bit(make, every):
    net, record, steps, losses = trained(make, None)
    other, other_record, other_steps, other_losses = trained(make, every)
    assert losses == other_losses
    for (name, parameter), (other_name, theirs) in zip(net.named_parameters(), other.named_parameters(), strict=True):
        assert name == other_name
        np.testing.assert_array_equal(parameter.grad, theirs.grad, err_msg=name)
    other_state = other.state_dict()
    for name, array in net.state_dict().items():  # running statistics among them
        np.testing.assert_array_equal(array, other_state[name], err_msg=name)
    assert [step[:2] for step in steps] == [step[:2] for step in other_steps]
    assert_equal_bits([step[2] for step in other_steps], [step[2] for step in steps])
    assert (record.names, record.types, len(record)) == (other_record.names, other_record.types, 2)
    for quantity in QUANTITIES:
        np.testing.assert_array_equal(record.values(quantity), other_record.values(quantity), err_msg=quantity)
    assert np.isfinite(other_record.output_grad_norm).all()


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_an_imagenet_net_too_on_any_number_of_threads(threads, monkeypatch):
    monkeypatch.setattr(mr.arrays.threads, "SMALLEST_SHARED", 1)
    monkeypatch.setitem(mr.arrays.threads._settings, "threads", threads)
    x, results = images(N=2, C=3, size=32), []
    for every in (None, 1):
        net = models.imagenet_net(18, num_classes=3, checkpoint_every=every)
        ops.cross_entropy(net(x), [0, 1]).backward()
        results.append([parameter.grad for parameter in net.parameters()])
    assert_equal_bits(*results)


def test_the_flow_through_the_shortcuts_is_recorded_as_without():
    flows = []
    for every in (None, 2):
        net = models.cifar_net(20, width=2, in_channels=1, checkpoint_every=every)
        with mr.record_gradients(net, shortcut_flow=True) as record:
            ops.cross_entropy(net(images()), [0, 1, 2, 3]).backward()
        flows.append(record.values("flow_through_shortcut"))
    assert np.isfinite(flows[0]).sum() == 9
    np.testing.assert_array_equal(*flows)


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
@pytest.mark.parametrize("family", [models.resnet20, models.resnet18, lambda **k: models.flat_net(3, **k)])
def test_a_number_of_blocks_that_makes_no_sense(family, every):
    with pytest.raises(ArgumentError, match=r"_net: checkpoint_every is .*, expected an integer of at least 1"):
        family(checkpoint_every=every)


@pytest.mark.parametrize(("every", "graph"), [(None, 10), (1, 10), (3, 4), (4, 3), (10, 1), (99, 1)])
def test_modules_in_turn_make_one_checkpoint_for_each_group(every, graph):
    y = run_in_turn([ops.tanh] * 10, leaf(0.01), every)
    names = {"Tanh"} if every is None else {"Checkpoint"}
    order = [node for node in mr.engine.backward.topological_order(y.op) if isinstance(node, mr.Op)]
    assert len(order) == graph
    assert {type(op).__name__ for op in order} == names
    assert len(list(mr.backward_steps(y))) == 10


def test_a_sequential_can_be_told_at_any_time():
    net = nn.Sequential(*[nn.Linear(3, 3) for _ in range(4)])
    x = mr.Tensor(normal(2, 3).astype(np.float32))
    assert [type(net(x).op).__name__] == ["Linear"]
    net.checkpoint_every = 2
    assert [type(net(x).op).__name__] == ["Checkpoint"]
    np.testing.assert_array_equal(net(x).data, nn.Sequential(*net)(x).data)


# ---- functions

WEIGHT = leaf(normal(3, 3), name="weight")
EQUAL_WEIGHT = leaf(WEIGHT.data)
GENERATOR = np.random.default_rng(0)
FUNCTIONS = {
    "one op": (ops.tanh, 1),
    "a chain": (lambda x: (x * 2).exp().log(), 1),
    "a shortcut": (lambda x: ops.tanh(x) + x, 1),
    "two inputs, one twice": (lambda x, z: ops.tanh(x) * z + x, 2),
    "an input that is not used": (lambda x, z: x.exp(), 2),
    "a parameter from outside": (lambda x: x @ WEIGHT, 1),
    "a parameter twice": (lambda x: ops.tanh(x @ WEIGHT) @ WEIGHT, 1),
    "a part under no_grad": (lambda x: x * ops.tanh(x).detach() + mr.no_grad()(ops.exp)(x), 1),
    "one number": (lambda x: (x * x).mean(), 1),
    "a checkpoint inside": (lambda x: nn.checkpoint(lambda h: ops.tanh(h @ WEIGHT), x.exp()) * x, 1),
    "three inside each other": (lambda x: nn.checkpoint(lambda h: nn.checkpoint(ops.tanh, h * 2) + h, x) @ WEIGHT, 1),
    "only a checkpoint inside": (lambda x: nn.checkpoint(ops.tanh, x), 1),
}


@pytest.mark.parametrize(("function", "count"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_values_and_gradients_are_those_without(function, count):
    arrays = [0.3 * normal(3, 3), 0.2 * normal(3, 3) + 0.1][:count]
    expected = gradients(plainly, function, arrays, [WEIGHT])
    assert_equal_bits(gradients(nn.checkpoint, function, arrays, [WEIGHT]), expected)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("an input that is not used",
                                                                             "a part under no_grad")])
def test_gradients_are_the_numerical_ones(name):
    function, count = FUNCTIONS[name]
    mr.gradcheck(lambda *inputs: nn.checkpoint(function, *inputs), [0.3 * normal(3, 3), 0.2 * normal(3, 3) + 0.1][:count])


def test_a_result_from_outside_that_the_function_uses_gets_its_gradient():
    def loss_of(run):
        x = leaf(normal(3))
        h = x * 2
        y = run(lambda z: ops.tanh(z) * h, x.exp())  # h is made before, and is no argument
        (y + h).sum().backward()
        return [x.grad]

    assert_equal_bits(loss_of(nn.checkpoint), loss_of(plainly))


def test_inputs_that_want_no_gradient_and_inputs_that_are_no_tensors():
    x = mr.Tensor(normal(2, 3))

    def function(x, power, scale):
        return (x @ WEIGHT) ** power * scale["by"]

    expected = []
    for run in (plainly, nn.checkpoint):
        WEIGHT.grad = None
        run(function, x, 2, {"by": 3}).sum().backward()
        expected.append(WEIGHT.grad)
    assert_equal_bits(*expected)
    assert x.grad is None


def test_tensors_and_others_may_be_given_by_keyword():
    def scaled(x, weight, factor):
        return ops.tanh(x * weight) * factor

    arrays = [np.random.default_rng(i).standard_normal((2, 3)) for i in range(2)]
    results = []
    for run in (scaled, lambda *inputs, **options: nn.checkpoint(scaled, *inputs, **options)):
        x, weight = [mr.Tensor(array, requires_grad=True) for array in arrays]
        y = run(x, weight=weight, factor=3)
        y.sum().backward()
        results.append((y.data, x.grad, weight.grad))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    y = nn.checkpoint(scaled, x, weight=weight, factor=3)
    weight.data = weight.data * 2
    with pytest.raises(BackwardError, match="were replaced"):
        y.sum().backward()


def test_one_function_in_two_places_delivers_a_shared_weight_once():
    def loss_of(run):
        WEIGHT.grad = None
        layer = Counted(lambda h: ops.tanh(h @ WEIGHT))
        h = leaf(normal(2, 3))
        y = run(layer, run(layer, h) * h)
        with LeafGradients() as hook:
            y.sum().backward()
        return layer, hook, [WEIGHT.grad, h.grad]

    layer, hook, with_checkpoints = loss_of(nn.checkpoint)
    assert (layer.first, layer.again) == (2, 2)
    assert hook.passes == 1
    assert sorted(id(x) for x in hook.leaves) == sorted({id(x) for x in hook.leaves})
    assert len(hook.leaves) == 2
    assert_equal_bits(with_checkpoints, loss_of(plainly)[2])


def test_a_leaf_gets_its_gradient_as_soon_as_all_uses_are_behind():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    y = nn.checkpoint(second, nn.checkpoint(first, leaf(normal(2, 3)).astype(np.float32)))
    steps = mr.backward_steps(y.sum())
    assert [next(steps).name, next(steps).name] == ["Sum", "Linear"]
    assert second.weight.grad is None
    next(steps)
    assert second.weight.grad is not None
    assert first.weight.grad is None


# ---- how often the function runs

def test_the_function_runs_once_in_forward_and_once_in_backward():
    function = Counted(ops.tanh)
    y = nn.checkpoint(function, leaf(normal(3)))
    assert (function.first, function.again) == (1, 0)
    y.sum().backward()
    assert (function.first, function.again) == (1, 1)


@pytest.mark.parametrize("make_x", [lambda: mr.Tensor(normal(3)), lambda: leaf(normal(3))], ids=["constant", "no_grad"])
def test_without_a_gradient_there_is_no_graph(make_x):
    x = make_x()
    with mr.no_grad():
        y = nn.checkpoint(ops.tanh, x)
    assert (y.op, y.requires_grad) == (None, False)


def test_nothing_is_on_the_graph_where_no_input_wants_a_gradient():
    assert nn.checkpoint(ops.tanh, mr.Tensor(normal(3))).op is None


def test_backward_may_run_where_gradients_are_off():
    x = leaf(normal(3))
    y = nn.checkpoint(ops.tanh, x).sum()
    with mr.no_grad():
        y.backward()
        assert not state.grad_enabled
    np.testing.assert_array_equal(x.grad, 1 - np.tanh(x.data) ** 2)


def test_with_retain_graph_it_can_run_again_and_otherwise_says_that_it_cannot():
    function, x = Counted(ops.tanh), leaf(normal(3))
    y = nn.checkpoint(function, x)
    v = normal(3)
    y.backward(v, retain_graph=True)
    once = x.grad.copy()
    y.backward(v)
    np.testing.assert_array_equal(x.grad, 2 * once)
    assert (function.first, function.again) == (1, 2)
    with pytest.raises(BackwardError, match="the graph through Checkpoint was freed by an earlier backward"):
        y.backward(v)


def test_batch_norm_counts_a_batch_once_however_often_the_pass_runs():
    plain, twin = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    x = mr.Tensor(normal(4, 3, 2, 2).astype(np.float32))
    plain(x)
    y = nn.checkpoint(lambda h: nn.checkpoint(twin, h), x).sum()
    for _ in range(2):
        y.backward(retain_graph=True)
    np.testing.assert_array_equal(twin.running_mean, plain.running_mean)
    np.testing.assert_array_equal(twin.running_var, plain.running_var)
    assert (twin.running_mean != 0).all()


# ---- what is returned

def test_an_input_that_is_returned_is_that_input():
    x = leaf(normal(3))
    h = x * 2
    assert nn.checkpoint(lambda x: x, x) is x
    assert nn.checkpoint(lambda x: h, x) is h
    assert nn.checkpoint(nn.Identity(), h) is h


def test_the_function_comes_first():
    with pytest.raises(DTypeError, match="checkpoint: got a Tensor first, expected a function or a module"):
        nn.checkpoint(leaf(1.0), nn.ReLU())


@pytest.mark.parametrize(("result", "got"), [((1, 2), "a tuple of 2"), (None, "a NoneType"), (normal(3), "a ndarray"),
                                             ([leaf(1.0)], "a list of 1")], ids=lambda value: str(value)[:12])
def test_what_is_not_one_tensor(result, got):
    with pytest.raises(DTypeError, match=f"checkpoint: the function returned {got}, expected one tensor"):
        nn.checkpoint(lambda x: result, leaf(1.0))


def test_the_result_keeps_its_name_and_may_keep_its_gradient():
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).astype(np.float64)
    y = nn.checkpoint(net, leaf(normal(4, 3)))
    y.retain_grad()
    assert y.name == "1"
    v = normal(4, 2)
    steps = list(mr.backward_steps(y * 2, v))
    assert [step.name for step in steps] == ["Multiply", "1", "0"]
    np.testing.assert_array_equal(y.grad, 2 * v)


class Checkpointed(nn.Module):
    """Ops without a layer of their own, in a checkpoint."""

    def forward(self, x):
        return nn.checkpoint(lambda x: ops.tanh(x.exp()), x)


def test_the_ops_belong_to_the_layer_that_called_them():
    y = nn.Sequential(Checkpointed(), nn.Tanh())(leaf(normal(3)))
    assert [step.op.layer for step in mr.backward_steps(y, np.ones(3))] == ["1", "0", "0"]


def test_an_empty_batch():
    x = leaf(np.zeros((0, 3)))
    nn.checkpoint(ops.tanh, x).sum().backward()
    assert x.grad.shape == (0, 3)


def test_its_place_on_the_graph_can_be_read():
    y = nn.checkpoint(lambda x: ops.tanh(x @ WEIGHT), leaf(normal(2, 3)))
    assert (y.op.title, y.op.made, y.op.input_shapes) == ("Checkpoint", ((2, 3), np.float64), ((2, 3), (3, 3)))
    assert y.op.inputs[1] is WEIGHT
    assert y.op.output is y
    assert y.op.where[0] == __file__


# ---- where the second run is not the first

@pytest.mark.parametrize("change", [
    lambda x: x * GENERATOR.standard_normal(),
    lambda x: x * 2 if state.rebuilding else x * 1,
    lambda x: ops.tanh(x) if state.rebuilding else ops.exp(x),
    lambda x: (x + 0)[:2] if state.rebuilding else x + 0,
    lambda x: x * 1 * 1 if state.rebuilding else x * 1,
    lambda x: x @ WEIGHT if state.rebuilding else x @ mr.Tensor(WEIGHT.data),
    lambda x: x @ WEIGHT if state.rebuilding else x @ EQUAL_WEIGHT,
    lambda x: None if state.rebuilding else x * 1,
    lambda x: x.detach() if state.rebuilding else x * 1,
], ids=["random", "other numbers", "another op", "another shape", "more ops", "one more input", "another input", "no tensor",
        "no graph"])
def test_a_function_that_computes_something_else_is_refused(change):
    x = leaf(normal(3))
    y = nn.checkpoint(change, x)
    with pytest.raises(BackwardError, match="Checkpoint: the function computed something else when it ran again"):
        y.backward(np.ones(y.shape))


def test_a_net_that_was_switched_to_evaluation_is_refused():
    norm = nn.BatchNorm2d(3)
    y = nn.checkpoint(norm, mr.Tensor(normal(4, 3, 2, 2).astype(np.float32))).sum()
    norm.eval()
    with pytest.raises(BackwardError, match=r"must not depend on .* such as random numbers, or train\(\) and eval\(\)"):
        y.backward()


def test_values_that_are_not_finite_compute_the_same():
    x = leaf([-1.0, 0.0, 4.0])
    with np.errstate(all="ignore"):
        nn.checkpoint(ops.log, x).backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, [-1, np.inf, 0.25])


@pytest.mark.parametrize("which", ["input", "parameter"])
def test_data_that_were_replaced_are_refused(which):
    x, layer = leaf(normal(2, 3)), nn.Linear(3, 3).astype(np.float64)
    y = nn.checkpoint(layer, x).sum()
    tensor = x if which == "input" else layer.weight
    tensor.data = tensor.data + 1
    with pytest.raises(BackwardError, match=r"the data of Tensor.* were replaced between forward and backward"):
        y.backward()


def test_data_that_were_written_to_are_noticed_by_the_output():
    layer = nn.Linear(3, 3)
    y = nn.checkpoint(layer, mr.Tensor(normal(2, 3).astype(np.float32))).sum()
    layer.weight.data += 1
    with pytest.raises(BackwardError, match="computed something else"):
        y.backward()


# ---- what watches

def test_the_second_run_uses_the_forms_of_the_first():
    seen = []
    x = leaf(normal(3))

    def function(x):
        seen.append(runs_definition())
        return ops.tanh(x)

    with mr.reference_ops():
        plain = nn.checkpoint(function, x)
    fast = nn.checkpoint(function, x)
    plain.sum().backward()
    with mr.reference_ops():
        fast.sum().backward()
        assert state.reference
    assert seen == [True, False, True, False]
    assert not state.reference


def test_an_anomaly_inside_is_found_in_forward_and_in_backward():
    x = leaf([4.0, 0.0])
    with mr.detect_anomaly(), np.errstate(divide="ignore"):
        with pytest.raises(AnomalyError, match="Log: the output is -inf"):
            nn.checkpoint(ops.log, x)
        y = nn.checkpoint(lambda x: x ** 0.5, x).sum()
        with pytest.raises(AnomalyError, match="Power: the gradient of its input 0 is inf") as raised:
            y.backward()
    assert f"Called at {__file__}:" in str(raised.value)


def test_writes_are_detected_around_a_checkpoint_and_everything_is_writable_afterwards():
    net = models.cifar_net(8, width=2, in_channels=1, checkpoint_every=1)
    x = images()
    with mr.detect_writes():
        ops.cross_entropy(net(x), [0, 1, 2, 3]).backward()
    assert all(parameter.data.flags.writeable for parameter in net.parameters())
    assert x.data.flags.writeable


def test_a_breakpoint_stops_inside_the_ops_that_were_made_again(monkeypatch):
    frames = []
    monkeypatch.setattr("sys.breakpointhook", lambda *_args, **_options: frames.append(sys._getframe(1).f_code.co_name))
    net = models.cifar_net(8, width=2, in_channels=1, checkpoint_every=1)
    with break_at("layer2.0.conv1") as breakpoint_:
        ops.cross_entropy(net(images()), [0, 1, 2, 3]).backward()
    assert (frames, breakpoint_.stops) == (["plain_backward"], 1)
    assert not state.reference


def test_hooks_of_the_pass_see_each_part_when_it_is_made_again():
    class Watch(mr.BackwardHook):
        def __init__(self):
            self.events = []

        def after_rebuild(self, op, last):
            self.events.append((type(op).__name__, type(last).__name__))

        def before_step(self, step):
            self.events.append(type(step.op).__name__)

    y = nn.checkpoint(lambda x: nn.checkpoint(ops.tanh, x) * 2, leaf(normal(3)))
    with Watch() as watch:
        y.backward(np.ones(3))
    assert watch.events == [("Checkpoint", "Multiply"), "Multiply", ("Checkpoint", "Tanh"), "Tanh"]


def test_the_line_of_an_op_that_was_made_again_is_that_of_its_forward():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).astype(np.float64)
    y = nn.checkpoint(net, leaf(normal(2, 3)))
    line = y.op.where
    h = nn.checkpoint(lambda x: nn.checkpoint(net, x), y)
    *_, first = mr.backward_steps(y * 1, np.ones((2, 3)))
    assert first.op.where == line
    inner_line = h.op.where[0], h.op.where[1]
    assert first.op.where[1] == inner_line[1] - 2


# ---- exceptions

def test_an_error_in_the_second_run_says_where_the_checkpoint_is_and_the_next_step_is_clean():
    calls = []

    def fragile(x):
        calls.append(len(calls))
        if len(calls) == 2:
            raise ZeroDivisionError("the second run")
        return ops.tanh(x)

    x = leaf(normal(3))
    with pytest.raises(ZeroDivisionError) as raised:
        nn.checkpoint(fragile, x).sum().backward()
    assert any("in the recomputed forward of Checkpoint on shapes (3,) float64" in note for note in raised.value.__notes__)
    assert (state.rebuilding, state.grad_enabled, state.layer, state.hooks) == (None, True, None, ())
    assert x.grad is None
    nn.checkpoint(fragile, x).sum().backward()
    np.testing.assert_array_equal(x.grad, 1 - np.tanh(x.data) ** 2)


def test_an_error_in_the_first_run_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError):
        nn.checkpoint(lambda x: 1 / 0, leaf(1.0))
    assert (state.rebuilding, state.hooks) == (None, ())


def test_a_forward_in_one_thread_and_its_backward_in_another():
    x = leaf(normal(3))
    y = nn.checkpoint(ops.tanh, x).sum()
    thread = threading.Thread(target=y.backward)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(x.grad, 1 - np.tanh(x.data) ** 2)


# ---- memory and depth

def five_saves(x):
    for _ in range(5):
        x = Saves()(x)
    return x


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("retain_graph", [False, True])
def test_what_the_ops_of_a_part_save_lives_in_its_backward_only(alive, retain_graph):
    x = leaf([1.0])
    for _ in range(4):
        x = nn.checkpoint(five_saves, x)
    assert living(alive) == 0
    left = [living(alive) for _ in mr.backward_steps(x, retain_graph=retain_graph)]
    assert left == [5, 4, 3, 2, 1] * 4
    assert living(alive) == 0


@pytest.mark.usefixtures("without_gc")
def test_the_inputs_of_a_part_are_freed_with_its_backward(alive):
    h = leaf([1.0]) * 1
    data = weakref.ref(h.data)
    y = nn.checkpoint(five_saves, h)
    del h
    assert data() is not None
    steps = mr.backward_steps(y)
    for _ in range(6):
        next(steps)
    assert list(steps) == []
    assert data() is None
    assert living(alive) == 0
    assert y.op.function is None


@pytest.mark.usefixtures("without_gc")
def test_a_graph_of_checkpoints_that_is_never_differentiated_goes_with_its_last_tensor(alive):
    y = nn.checkpoint(five_saves, leaf([1.0]))
    op = weakref.ref(y.op)
    del y
    assert op() is None
    assert living(alive) == 0


@pytest.mark.slow
def test_a_net_of_1202_layers_takes_a_step_and_its_checkpoints_change_nothing():
    grads = []
    for every in (None, 14):
        net = models.cifar_net(1202, width=2, in_channels=1, preactivation=True, checkpoint_every=every)
        ops.cross_entropy(net(images(N=2)), [0, 1]).backward()
        grads.append([parameter.grad for parameter in net.parameters()])
    assert_equal_bits(*grads)


def test_five_thousand_checkpoints_in_a_row_need_no_recursion():
    h = x = leaf([1.0])
    for _ in range(5000):
        h = nn.checkpoint(lambda h: h + 1, h)
    h.backward()
    np.testing.assert_array_equal((x.grad, h.data), ([1], [5001]))


def test_one_checkpoint_of_five_thousand_ops_needs_no_recursion():
    x = leaf([1.0])
    nn.checkpoint(lambda h: run_in_turn([lambda h: h + 1] * 5000, h), x).backward()
    np.testing.assert_array_equal(x.grad, [1])
