"""break_at: it stops at the op that was named and nowhere else, and says so where it never stopped."""
import sys
import warnings

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from minires.engine.state import state
from minires.ops.convolution import Conv2d
from minires.ops.pooling import Pool2d
from tests.pdb_session import ONE_STEP, Session, run_script

SCRIPT = '''\
import numpy as np
import minires

model = minires.models.cifar_net(8, width=2, in_channels=1, seed=0)
images = minires.Tensor(np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32))
loss = minires.ops.cross_entropy(model(images), [0, 1])
with minires.debug.break_at("layer2.0.conv1", when="backward", if_=lambda step: np.isfinite(step.grad_output).all()):
    loss.backward()
print("norm", np.linalg.norm(model.layer2[0].conv1.weight.grad))
'''


class Stops(list):
    """What stands for the debugger: it notes each frame in which `breakpoint()` was called, and goes on."""

    def __call__(self):
        frame = sys._getframe(1)
        names = frame.f_locals
        self.append((names["step"].name, frame.f_code.co_name, state.reference, names.get("self")))

    @property
    def names(self):
        return [name for name, *_ in self]


@pytest.fixture
def stops(monkeypatch):
    stops = Stops()
    monkeypatch.setattr(sys, "breakpointhook", stops)
    yield stops
    assert state.hooks == ()
    assert not state.reference


@pytest.fixture
def net():
    """A small residual net; its layers are conv1, bn1, layer1.0.conv1, …, fc."""
    return models.cifar_net(8, width=2, in_channels=1)


def loss_of(net, seed=0):
    x = np.random.default_rng(seed).standard_normal((2, 1, 8, 8)).astype(np.float32)
    return ops.cross_entropy(net(mr.Tensor(x)), [0, 1])


def tensor(values, name=None):
    return mr.Tensor(np.asarray(values, dtype=np.float64), requires_grad=True, name=name)


# ---- where it stops


def test_it_stops_at_the_layer_of_this_name_in_the_form_that_is_the_definition(net, stops, capsys):
    loss = loss_of(net)
    with mr.debug.break_at("layer2.0.conv1", when="backward") as stop:
        loss.backward()
    assert [each[:3] for each in stops] == [("layer2.0.conv1", "plain_backward", True)]
    assert stop.stops == 1
    assert capsys.readouterr().out.startswith("\nminires: backward of Conv2d (layer 'layer2.0.conv1'), step ")


def test_the_pass_runs_fast_up_to_the_stop_and_plain_from_there_on(net, stops, capsys):
    loss = loss_of(net)
    modes = []
    with mr.debug.break_at("layer2.0.conv1"):
        for step in mr.backward_steps(loss):
            modes.append((step.name, bool(state.reference)))
            assert "plain_backward" not in vars(step.op)  # its own again
        assert not state.reference  # the pass has ended
    names = [name for name, _ in modes]
    at = names.index("layer2.0.conv1")
    assert 3 < at < len(names) - 3
    assert [plain for _, plain in modes] == [False] * at + [True] * (len(names) - at)


def test_inside_reference_ops_the_block_leaves_everything_as_it_was(net, stops, capsys):
    with mr.reference_ops():
        loss = loss_of(net)
        with mr.debug.break_at("fc"):
            loss.backward()
        assert state.reference
    assert stops.names == ["fc"]


@pytest.mark.parametrize("given", [lambda net: net.layer2[0].conv1, lambda net: "layer2.0.conv1"])
def test_a_module_stands_for_its_name(given, net, stops, capsys):
    loss = loss_of(net)
    with mr.debug.break_at(given(net)):
        loss.backward()
    assert stops.names == ["layer2.0.conv1"]


def test_a_module_that_is_called_as_a_type_of_op_is_stands_for_its_name_too(stops, capsys):
    net = nn.Sequential({"Linear": nn.ReLU(), "out": nn.Linear(2, 2)})
    with mr.debug.break_at(net.Linear):
        net(tensor([[1.0, 2.0]])).sum().backward()
    assert stops.names == ["Linear"]
    assert "backward of ReLU" in capsys.readouterr().out


def test_a_tensor_that_was_named_is_found(stops, capsys):
    y = tensor([1.0, 2.0]) * 3
    y.name = "scaled"
    z = y + 1
    with mr.debug.break_at("scaled"):
        z.sum().backward()
    assert stops.names == ["scaled"]


@pytest.mark.parametrize("arguments", [{"op": "Conv2d"}, {"op": Conv2d}, {"layer_or_op": "Conv2d"}, {"layer_or_op": Conv2d}])
def test_it_stops_at_each_op_of_a_type(arguments, net, stops, capsys):
    convolutions = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    loss = loss_of(net)
    with mr.debug.break_at(**arguments) as stop:
        loss.backward()
    assert sorted(stops.names) == sorted(convolutions)
    assert stop.stops == len(convolutions) > 5


@pytest.mark.parametrize("kind", [Pool2d, "Pool2d"])
def test_the_base_of_several_ops_names_them_all(kind, stops, capsys):
    x = tensor(np.ones((1, 1, 4, 4)))
    with mr.debug.break_at(op=kind):
        (ops.max_pool2d(x, 2) + ops.avg_pool2d(x, 2)).sum().backward()
    assert sorted(stops.names) == ["AvgPool2d", "MaxPool2d"]


def test_steps_are_counted_as_enumerate_counts_them_and_from_0_in_each_pass(net, stops, capsys):
    names = [step.name for step in mr.backward_steps(loss_of(net))]
    with mr.debug.break_at(step=7):
        loss_of(net).backward()
        loss_of(net).backward()
    assert stops.names == [names[7], names[7]]


def test_a_pass_that_was_left_does_not_count(net, stops, capsys):
    names = [step.name for step in mr.backward_steps(loss_of(net))]
    with mr.debug.break_at(step=7):
        for _ in range(3):
            next(mr.backward_steps(loss_of(net)))
        loss_of(net).backward()
    assert stops.names == [names[7]]


def test_all_that_is_given_must_hold(net, stops, capsys):
    names = [(step.name, type(step.op).__name__) for step in mr.backward_steps(loss_of(net))]
    number = names.index(("layer1.0.conv2", "Conv2d"))
    with mr.debug.break_at("layer1.0.conv2", op="Conv2d", step=number, if_=lambda step: step.grad_output.ndim == 4) as stop:
        loss_of(net).backward()
    assert stops.names == ["layer1.0.conv2"]
    for other in ({"op": "ReLU"}, {"step": number + 1}, {"if_": lambda step: step.grad_output.ndim == 2}):
        given = {"op": "Conv2d", "step": number, "if_": None, **other}
        with pytest.warns(UserWarning, match="never stopped"), mr.debug.break_at("layer1.0.conv2", **given) as stop:
            loss_of(net).backward()
        assert stop.stops == 0


def test_the_condition_is_asked_for_the_named_layer_alone_with_its_gradient(net, stops, capsys):
    asked = []
    with mr.debug.break_at("layer2.0.conv1", if_=lambda step: asked.append((step.name, step.grad_output.shape)) or True):
        loss_of(net).backward()
    assert asked == [("layer2.0.conv1", (2, 4, 4, 4))]
    assert stops.names == ["layer2.0.conv1"]


def test_it_stops_in_each_pass_where_the_condition_holds(net, stops, capsys):
    with mr.debug.break_at("fc", if_=lambda step: not np.isfinite(step.grad_output).all()):
        loss_of(net).backward()
        net.fc.weight.data[...] = np.nan
        loss_of(net).backward()
        loss_of(net).backward()
    assert stops.names == ["fc", "fc"]


def test_in_forward_it_stops_before_the_output_is_made(net, stops, capsys):
    with mr.debug.break_at("layer2.0.conv1", when="forward", if_=lambda step: step.inputs[0].ndim == 4):
        loss = loss_of(net)
        assert state.reference  # on, until the pass has ended
        loss.backward()
        assert not state.reference
    assert [each[:3] for each in stops] == [("layer2.0.conv1", "plain_forward", True)]
    assert capsys.readouterr().out.startswith("\nminires: forward of Conv2d (layer 'layer2.0.conv1'), step ")


def test_a_stop_says_in_which_net_it_is_where_the_forward_was_seen(stops, capsys):
    with mr.debug.break_at("layer2.0.conv1"):
        for depth in (8, 14):
            loss_of(models.cifar_net(depth, width=2, in_channels=1)).backward()
    said = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line.partition(", in ")[2].partition(", called at ")[0] for line in said] == [
        f"a ResNet of {depth} convolutions and linear layers" for depth in (8, 14)]


def test_a_checkpointed_layer_stops_once_in_forward_and_once_in_backward(stops, capsys):
    net = models.cifar_net(8, width=2, in_channels=1, checkpoint_every=1)
    for when in ("forward", "backward"):
        with mr.debug.break_at("layer2.0.conv1", when=when):
            loss_of(net).backward()
    assert [each[1] for each in stops] == ["plain_forward", "plain_backward"]


def test_a_graph_that_is_kept_stops_in_every_pass_over_it(net, stops, capsys):
    loss = loss_of(net)
    with mr.debug.break_at("fc"):
        loss.backward(retain_graph=True)
        loss.backward(retain_graph=True)
    loss.backward()  # and not after the block
    assert stops.names == ["fc", "fc"]


# ---- the first gradient that is not finite, or zero


def test_the_first_gradient_that_is_not_finite_stops_in_the_op_that_makes_it(stops, capsys):
    x = tensor([4.0, 0.0])
    with np.errstate(divide="ignore"), mr.debug.break_at(first="non-finite") as stop:
        for _ in range(2):
            ((x ** 0.5) * 2).sum().backward()  # d√x/dx is infinite at 0; what comes in is finite
    assert stops.names == ["Power"]
    assert stop.stops == 1


def test_a_gradient_that_begins_not_finite_stops_in_the_first_op(stops, capsys):
    y = tensor([1.0, 2.0]) * 2
    with mr.debug.break_at(first="non-finite"):
        y.backward(np.array([1.0, np.nan]))
    assert stops.names == ["Multiply"]


def test_the_first_gradient_that_is_exactly_zero_stops_in_the_op_that_makes_it(stops, capsys):
    x = tensor([-1.0, -2.0])
    y = ops.relu(ops.exp(x) - 5) * 3
    with mr.debug.break_at(first="zero"):
        y.sum().backward()
    assert stops.names == ["ReLU"]  # whose inputs are all negative
    np.testing.assert_array_equal(x.grad, [0, 0])


def test_gradients_that_nobody_wants_do_not_count(stops):
    x, zeros = tensor([1.0, 2.0]), mr.Tensor(np.zeros(2))
    y = ops.linear(mr.Tensor(np.ones((2, 3))), tensor(np.zeros((1, 3)))).sum() + (x + zeros * 2).sum()  # dx = dy · 0
    with pytest.warns(UserWarning, match="none met the condition"), mr.debug.break_at(first="zero"):
        y.backward()
    assert stops == []


def test_the_first_output_that_is_not_finite_stops_in_its_forward_and_statistics_move_once(stops, capsys):
    def run(breaking):
        net = models.cifar_net(8, width=2, in_channels=1)
        net.layer2[0].conv2.weight.data[0, 0] = np.inf
        with np.errstate(all="ignore"), breaking:
            loss_of(net)
        return net.state_dict()

    disturbed = run(mr.debug.break_at(first="non-finite", when="forward"))
    assert stops.names == ["layer2.0.conv2"]
    undisturbed = run(mr.no_grad())
    for name, values in undisturbed.items():
        np.testing.assert_allclose(disturbed[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_an_error_of_the_op_is_raised_as_usual_while_the_first_zero_is_looked_for():
    class Broken(mr.Op):
        """y = x, with a backward that fails."""

        def forward(self, x):
            return x.copy()

        def backward(self, dy):
            raise RuntimeError("broken")

    y = Broken()(tensor([1.0]))
    with pytest.raises(RuntimeError, match="broken") as raised, mr.debug.break_at(first="zero"):
        y.backward()
    assert "in the backward of Broken" in raised.value.__notes__[0]


# ---- what it says where it never stopped


def test_a_name_that_nothing_has_raises_and_lists_near_ones(net, stops, capsys):
    stop = mr.debug.break_at("layr2.0.conv1").__enter__()
    loss_of(net).backward()
    err = capsys.readouterr().err
    with pytest.raises(mr.UnknownNameError, match=r"'layr2\.0\.conv1'.*Near it are layer2\.0\.conv1"):
        stop.__exit__(None, None, None)
    assert "nothing of the name 'layr2.0.conv1' in this backward pass. Near it are layer2.0.conv1" in err  # at once
    assert stops == []


def test_of_many_nets_the_first_are_named_and_the_others_counted():
    stop = mr.debug.break_at("layer9").__enter__()
    for depth in range(1, 8):
        net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(depth)])
        net(tensor([[1.0, 2.0]])).sum().backward()
    with pytest.raises(mr.UnknownNameError, match=r"a Sequential of 1 .* of 5 convolutions and linear layers and 2 more$"):
        stop.__exit__(None, None, None)


def test_of_a_part_that_runs_no_op_itself_the_layers_below_are_listed(net):
    with pytest.raises(mr.UnknownNameError, match=r"'layer2' has run\. Below it are layer2\.0"), mr.debug.break_at("layer2"):
        loss_of(net).backward()


@pytest.mark.parametrize("arguments", [{"op": "Conv3d"}, {"op": "conv2d"}])
def test_an_unknown_type_of_op_raises_at_once(arguments):
    with pytest.raises(mr.UnknownNameError, match=r"Near it are .*Conv2d"):
        mr.debug.break_at(**arguments)


@pytest.mark.parametrize("arguments", [
    {"when": "sideways"}, {"op": nn.Conv2d}, {"layer_or_op": nn.Conv2d}, {"op": 3}, {"layer_or_op": 3}, {"layer_or_op": ""},
    {"step": -1}, {"step": 1.5}, {"if_": True}, {"first": "nan"}, {"layer_or_op": "Conv2d", "op": "ReLU"},
    {"layer_or_op": nn.ReLU()}])
def test_senseless_arguments_are_refused(arguments):
    with pytest.raises(mr.ArgumentError, match="break_at: "):
        mr.debug.break_at(**arguments)


def run_nothing(net):
    pass


def run_forward(net):
    loss_of(net)


def run_both(net):
    loss_of(net).backward()


def run_without_fc(net):
    net.fc.weight.requires_grad = net.fc.bias.requires_grad = False
    x = mr.Tensor(np.ones((1, net.fc.weight.shape[1]), np.float32))
    (net.fc(x) * tensor(2.0)).sum().backward()


@pytest.mark.parametrize(("arguments", "run", "reason"), [
    ({"layer_or_op": "fc"}, run_nothing, "no backward pass ran inside the block"),
    ({"layer_or_op": "fc"}, run_forward, "no backward pass ran inside the block"),
    ({"layer_or_op": "fc", "when": "forward"}, run_nothing, "no op ran inside the block"),
    ({"layer_or_op": "fc"}, run_without_fc, "'fc' ran in forward, but no gradient reached it"),
    ({"layer_or_op": "fc", "if_": lambda step: False}, run_both, "one step was looked at, and none met the condition"),
    ({"op": "Exp"}, run_both, "none of the [0-9]{2} steps fitted; their ops were .*BatchNorm, Conv2d, "),
    ({"step": 1000}, run_both, "none of the [0-9]{2} steps fitted"),
])
def test_a_block_that_ends_without_a_stop_says_what_was_seen(arguments, run, reason, net):
    with pytest.warns(UserWarning, match=f"never stopped: .*{reason}") as caught, mr.debug.break_at(**arguments):
        run(net)
    assert caught[0].filename == __file__


def test_an_error_inside_the_block_is_not_hidden_behind_a_missing_stop():
    with warnings.catch_warnings(record=True) as caught, pytest.raises(KeyError), mr.debug.break_at("no_such_layer"):
        raise KeyError("mine")
    assert caught == []


def test_what_stops_can_be_read_from_its_repr():
    def is_large(step):
        return True

    assert repr(mr.debug.break_at("fc", if_=is_large)) == "break_at('fc', when='backward', if_=is_large)"
    assert repr(mr.debug.break_at(op=Conv2d, first="zero", step=3)) == \
        "break_at(when='backward', op=Conv2d, step=3, first='zero')"


# ---- in a real debugger


def test_where_shows_the_line_of_the_user(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("def f(mr, x):\n    y = mr.ops.exp(x)   # mine\n    return y\n", encoding="utf-8")
    names = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    [step] = mr.backward_steps(names["f"](mr, tensor([1.0])))
    assert step.where() == f"{path}:2: y = mr.ops.exp(x)   # mine"
    path.unlink()
    sys.modules["linecache"].checkcache()
    assert step.where() == f"{path}:2"


def test_an_op_whose_source_cannot_be_read_stops_just_before(capsys):
    names = {"mr": mr}
    exec("class Typed(mr.Op):\n    def forward(self, x):\n        return 2 * x\n"
         "    def backward(self, dy):\n        return 2 * dy\n", names)
    x = tensor([1.0])
    with Session("p step.name", "continue") as session, mr.debug.break_at(op="Typed"):
        names["Typed"]()(x).backward()
    assert session.answers[1].strip() == "'Typed'"
    assert "the source of Typed.backward cannot be read" in capsys.readouterr().out
    np.testing.assert_array_equal(x.grad, [2])


def test_quitting_the_debugger_leaves_nothing_behind(net, capsys):
    import bdb

    loss = loss_of(net)
    with Session("quit"), pytest.raises(bdb.BdbQuit), mr.debug.break_at("fc"):
        loss.backward()
    assert state.hooks == ()
    assert not state.reference
    assert "backward" not in vars(loss.op)


def test_as_a_script_pdb_opens_in_the_op_and_the_gradient_stays_the_same(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    undisturbed, status = run_script(script, PYTHONBREAKPOINT="0")
    assert status == 0
    printed, status = run_script(script, *ONE_STEP, "p dy.shape", "p step.where()", "where", "continue")
    assert status == 0
    answers = printed.split("(Pdb) ")[len(ONE_STEP):]
    assert "convolution.py(" in answers[0]
    assert ")plain_backward()" in answers[0]
    assert answers[1].strip() == "(2, 4, 4, 4)"
    assert "block.py:" in answers[2]
    assert "conv1(x)" in answers[2]
    assert "-> loss.backward()" in answers[3]
    norm, expected = [float(text.split("norm")[1]) for text in (printed, undisturbed)]
    assert norm == pytest.approx(expected, rel=1e-4)
    assert norm > 0


def test_the_debugger_is_the_one_that_the_environment_names(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "mydebugger.py").write_text(
        "import sys\ndef open():\n    print('opened in', sys._getframe(1).f_code.co_name)\n", encoding="utf-8")
    printed, status = run_script(script, PYTHONBREAKPOINT="mydebugger.open")
    assert status == 0
    assert "opened in plain_backward" in printed
