"""The norms on the edges: those of a backward pass, which nobody notices; and what is told in place of a norm."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.drawing.diagram import NOT_COMPUTED, NOT_KEPT, NOT_WANTED, gradient_label
from tests.drawing.nets import Users, loss_of, script, small


def gradients(diagram):
    """{(name of the source, name of the target): what stands on the edge}."""
    name = {node.key: node.name or node.label for node in diagram.nodes}
    return {(name[edge.source], name[edge.target]): edge.gradient for edge in diagram.edges}


def norms_of_a_pass(loss):
    """{(layer or op, number of the input): ‖gradient handed back‖} of a backward pass of its own."""
    return {(step.op.layer or type(step.op).__name__, i): float(np.linalg.norm(gradient.astype(float)))
            for step in mr.backward_steps(loss) for i, gradient in enumerate(step.grad_inputs) if gradient is not None}


def test_each_edge_has_the_norm_of_what_comes_back_along_it():
    expected = norms_of_a_pass(loss_of(small()))
    found = gradients(mr.draw(loss_of(small()), gradients=True))
    checked = 0
    for (source, target), norm in found.items():
        if source != "input":
            is_shortcut = (source, target) in {("relu", "layer1.0"), ("layer2.0.downsample", "layer2.0"),
                                               ("layer3.0.downsample", "layer3.0")}
            assert norm == pytest.approx(expected[target, int(is_shortcut)], rel=1e-5), (source, target)
            checked += 1
    assert checked == 31
    assert found["input", "conv1"] == NOT_WANTED


def test_norms_by_hand():
    x = mr.Tensor([3.0, 4.0], requires_grad=True, name="x")
    found = gradients(mr.draw((x * x + x).sum(), gradients=True))
    assert found["Add", "Sum"] == pytest.approx(2 ** 0.5)
    assert found["x", "Multiply"] == pytest.approx(10)  # (6, 8): x is used twice by one op
    assert found["x", "Add"] == pytest.approx(2 ** 0.5)  # what comes through the shortcut alone


def test_a_layer_of_several_ops_hands_back_the_gradient_of_its_input():
    x = mr.Tensor([0.5, -1.0], requires_grad=True, name="input")

    class Layer(mr.nn.Module):
        def forward(self, x):
            return (x * 2).exp()

    class Net(mr.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Layer()

        def forward(self, x):
            return self.layer(x).sum()

    found = gradients(mr.draw(Net()(x), gradients=True))
    assert found["input", "layer"] == pytest.approx(np.linalg.norm(2 * np.exp([1.0, -2.0])), rel=1e-6)


def test_a_checkpointed_part_hands_back_what_its_layers_would():
    [fork] = [float(np.linalg.norm(step.grad_output)) for step in mr.backward_steps(loss_of(small()))
              if step.name == "relu"]  # both ways through layer1 lead back there
    net = small()
    net.layer1.checkpoint_every = 1
    diagram = mr.draw(loss_of(net), gradients=True)
    [checkpoint] = [node for node in diagram.nodes if node.kind == "Checkpoint"]
    [edge] = diagram.edges_to(checkpoint.key)
    assert diagram.node(edge.source).name == "relu"
    assert edge.gradient == pytest.approx(fork, rel=1e-5)
    assert checkpoint.key in diagram.backward_order


def test_backward_order_is_the_forward_order_backwards_on_the_main_way():
    diagram = mr.draw(loss_of(small()), gradients=True)
    ops_on_main = [node.key for node in diagram.nodes if node.is_main and node.kind != "Leaf"]
    order = [key for key in diagram.backward_order if diagram.node(key).is_main]
    assert order == ops_on_main[::-1]
    assert len(diagram.backward_order) == len(diagram.nodes) - 1


def test_nobody_notices_the_pass():
    net = small()
    loss = loss_of(net)
    features = loss.op.inputs[0].output  # the logits, if somebody holds them
    assert features is None
    weight = net.fc.weight
    weight.grad = np.full(weight.shape, 7.0, np.float32)
    kept = weight.grad
    with mr.record_gradients(net) as record:
        mr.draw(loss, gradients=True)
    assert len(record) == 0
    assert weight.grad is kept
    np.testing.assert_array_equal(kept, 7.0)
    assert all(parameter.grad is None for parameter in net.parameters() if parameter is not weight)
    loss.backward()  # the graph is still there
    assert net.conv1.weight.grad is not None
    assert weight.grad is kept
    assert not np.all(kept == 7)


def test_no_hook_of_the_users_sees_the_pass():
    class Counter(mr.BackwardHook):
        steps = 0

        def before_step(self, step):
            self.steps += 1

    loss = script()
    with Counter() as counter:
        mr.draw(loss, gradients=True)
        assert counter.steps == 0
        loss.backward()
    assert counter.steps == 5


def test_retained_gradients_are_left_as_they_were():
    x = mr.Tensor([1.0, 2.0], requires_grad=True, name="x")
    y = x * 3
    y.retain_grad()
    mr.draw(y.sum(), gradients=True)
    assert y.grad is None
    assert x.grad is None


def test_an_interrupted_pass_leaves_everything_as_it_was(monkeypatch):
    loss, hook = script(), mr.BackwardHook()
    leaves = [x for x in mr.engine.backward.topological_order(loss.op) if isinstance(x, mr.Tensor)]
    for leaf in leaves:
        leaf.grad = np.ones(leaf.shape)

    def interrupted(self, dy):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(loss.op.inputs[0].inputs[0].inputs[0]), "backward", interrupted)
    with hook, pytest.raises(KeyboardInterrupt):
        mr.draw(loss, gradients=True)
    assert mr.engine.state.state.hooks == ()
    assert [leaf.grad.tolist() for leaf in leaves] == [np.ones(leaf.shape).tolist() for leaf in leaves]


def test_before_a_backward_pass_nothing_is_computed_yet():
    diagram = mr.draw(loss_of(small()))
    assert {edge.gradient for edge in diagram.edges} == {NOT_COMPUTED, NOT_WANTED}
    assert not diagram.has_gradients
    assert diagram.backward_order == []


def test_after_a_backward_pass_what_was_not_kept_says_so():
    loss = loss_of(small())
    loss.backward(retain_graph=True)
    found = gradients(mr.draw(loss))
    assert found.pop(("input", "conv1")) == NOT_WANTED
    assert set(found.values()) == {NOT_KEPT}
    assert {edge.gradient for edge in mr.draw(loss, gradients=False).edges} == {NOT_COMPUTED, NOT_WANTED}


def test_what_was_kept_is_shown_and_an_exact_zero_is_a_zero():
    x = mr.Tensor([-1.0, -2.0], requires_grad=True, name="x")
    y = ops.relu(x)
    y.retain_grad()
    loss = (y * 2).sum()
    loss.backward(retain_graph=True)
    found = gradients(mr.draw(loss))
    assert found["x", "ReLU"] == 0
    assert found["ReLU", "Multiply"] == pytest.approx(8 ** 0.5)
    assert found["Multiply", "Sum"] == NOT_KEPT


def test_the_gradient_of_a_fork_is_not_that_of_one_of_its_edges():
    x = mr.Tensor([1.0, 2.0], requires_grad=True, name="x")
    loss = (x * 2 + x).sum()
    loss.backward(retain_graph=True)
    assert gradients(mr.draw(loss))["x", "Add"] == NOT_KEPT


@pytest.mark.parametrize(("gradient", "label"), [
    (0.0, "0"), (1e-30, "1e-30"), (0.05678, "0.057"), (123456.0, "1.2e+05"), (float("nan"), "nan"), (float("inf"), "inf"),
    (NOT_COMPUTED, "not computed yet"), (NOT_KEPT, "not kept"), (NOT_WANTED, "none wanted"),
])
def test_labels_tell_zero_from_none(gradient, label):
    assert gradient_label(gradient) == label


def test_a_result_of_several_elements_has_no_gradients():
    x = mr.Tensor(np.ones((2, 4)), requires_grad=True)
    with pytest.raises(mr.ArgumentError, match=r"one element, got shape \(2, 3\)"):
        mr.draw(Users().astype(np.float64)(x), gradients=True)


def test_a_model_has_no_gradients():
    with pytest.raises(mr.ArgumentError, match="got a model: run it"):
        mr.draw(small(), gradients=True)
