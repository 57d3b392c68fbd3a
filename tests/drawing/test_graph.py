"""The diagram of a graph: which ops are one node, which edges there are, what is the main way and what goes past it."""
from itertools import pairwise

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from tests.drawing.nets import Gated, Users, loss_of, script, small


def names(diagram, is_main=True):
    return [node.name or node.label for node in diagram.nodes if node.is_main is is_main]


def edges(diagram):
    """{(name of the source, name of the target): kind}."""
    name = {node.key: node.name or node.label for node in diagram.nodes}
    return {(name[edge.source], name[edge.target]): edge.kind for edge in diagram.edges}


def test_a_loss_has_a_node_for_each_layer_in_forward_order():
    diagram = mr.draw(loss_of(small()))
    block = ["conv1", "bn1", "relu1", "conv2", "bn2"]
    assert names(diagram) == [
        "input", "conv1", "bn1", "relu",
        *[f"layer1.0.{layer}" for layer in block], "layer1.0", "layer1.0.relu2",
        *[f"layer2.0.{layer}" for layer in block], "layer2.0", "layer2.0.relu2",
        *[f"layer3.0.{layer}" for layer in block], "layer3.0", "layer3.0.relu2",
        "avgpool", "fc", "CrossEntropy"]
    assert names(diagram, is_main=False) == ["layer2.0.downsample", "layer3.0.downsample"]


def test_nodes_tell_kind_label_and_shape():
    diagram = mr.draw(loss_of(small()))
    found = {node.name: (node.kind, node.label, node.shape) for node in diagram.nodes}
    assert found["conv1"] == ("Conv2d", "Conv2d 3×3, 4", (2, 4, 16, 16))
    assert found["layer2.0.conv1"] == ("Conv2d", "Conv2d 3×3, 8, /2", (2, 8, 8, 8))
    assert found["layer2.0.downsample"] == ("ZeroPadShortcut", "ZeroPadShortcut 8, /2", (2, 8, 8, 8))
    assert found["fc"] == ("Linear", "Linear 10", (2, 10))
    assert found["input"] == ("Leaf", "leaf", (2, 3, 16, 16))
    assert found[""] == ("CrossEntropy", "CrossEntropy", ())


class MaxPool2d(mr.Op):
    """A user's own op, which has the name of one of ours and not its attributes."""

    def forward(self, x):
        return x.max(axis=(2, 3))

    def backward(self, dy):
        raise NotImplementedError


def test_an_own_op_with_the_name_of_one_of_ours_is_drawn_by_its_name():
    x = mr.Tensor(np.zeros((1, 2, 4, 4)), requires_grad=True)
    assert mr.draw(MaxPool2d()(x)).nodes[-1].label == "MaxPool2d"
    assert mr.draw(ops.max_pool2d(x, 2)).nodes[-1].label == "MaxPool2d 2×2, /2"


def test_shortcuts_go_past_the_layers_that_they_skip():
    found = edges(mr.draw(loss_of(small())))
    assert found["relu", "layer1.0"] == "shortcut"
    assert found["layer1.0.bn2", "layer1.0"] == "main"
    assert found["layer1.0.relu2", "layer2.0.downsample"] == "downsample"
    assert found["layer2.0.downsample", "layer2.0"] == "downsample"
    assert list(found.values()).count("shortcut") == 1
    assert list(found.values()).count("downsample") == 4


def test_edges_are_those_of_the_ops():
    """The edges between single ops, counted on the graph itself: no grouping here, as each layer is one op."""
    loss = loss_of(small())
    order = [op for op in mr.engine.backward.topological_order(loss.op) if isinstance(op, mr.Op)]
    pairs = {(id(x), id(op)) for op in order for x in op.inputs if isinstance(x, mr.Op)}
    diagram = mr.draw(loss)
    assert len(diagram.nodes) == len(order) + 1
    assert len(diagram.edges) == len(pairs) + 1  # the input


@pytest.mark.parametrize(("options", "expected"), [
    ({}, [1, 2, 2]),  # edges of each shortcut: x itself; padding between two
    ({"shortcut": "B"}, [1, 3, 3]),  # convolution and batch norm
    ({"shortcut": "C"}, [3, 3, 3]),
    ({"preactivation": True, "shortcut": "B"}, [1, 2, 2]),
    ({"batch_norm": False}, [1, 2, 2]),
    ({"residual": False}, []),
])
def test_shortcuts_of_every_kind_of_net(options, expected):
    diagram = mr.draw(loss_of(small(**options)))
    assert [len(way) for way in diagram.shortcuts] == expected
    for way in diagram.shortcuts:
        assert diagram.node(way[-1].target).kind == "ShortcutAdd"
        assert all(one.target == other.source for one, other in pairwise(way))


def test_the_main_way_is_the_branch_even_where_the_shortcut_is_longer():
    class Long(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = nn.Linear(4, 4)
            self.one, self.two, self.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return ops.shortcut_add(self.branch(x), self.three(self.two(self.one(x))))

    diagram = mr.draw(Long(), input_shape=(2, 4))
    assert names(diagram) == ["input", "branch", "ShortcutAdd"]
    assert names(diagram, is_main=False) == ["one", "two", "three"]


def test_an_ordinary_sum_is_a_shortcut_too():
    found = edges(mr.draw(Gated(), input_shape=(2, 6)))
    assert found["input", "Add"] == "shortcut"
    assert found["gate", "Sigmoid"] == "downsample"
    assert found["Sigmoid", "Multiply"] == "downsample"


def test_ops_of_one_layer_are_one_node_and_two_calls_are_two():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = Scaled()

        def forward(self, x):
            return self.act(self.act(x))

    class Scaled(nn.Module):
        def forward(self, x):
            return (x * 2).exp()

    diagram = mr.draw(Twice(), input_shape=(3,))
    assert [(node.name, node.label) for node in diagram.nodes[1:]] == [("act", "Multiply + Exp")] * 2


def test_a_sum_is_a_node_of_its_own_though_its_block_does_more():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return ops.relu(ops.shortcut_add(self.fc(x) * 2, x))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(x)

    diagram = mr.draw(Net(), input_shape=(2, 4))
    assert [node.label for node in diagram.nodes] == ["leaf", "Linear 4", "Multiply", "ShortcutAdd", "ReLU"]


def test_groups_never_lead_back_into_themselves():
    class Around(nn.Module):
        """Its ops lie before and after those of its child."""

        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            y = x * 2
            return self.inner(y.exp()) + y

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.around = Around()

        def forward(self, x):
            return self.around(x)

    diagram = mr.draw(Net(), input_shape=(2, 4))
    assert all(int(edge.source[1:]) < int(edge.target[1:]) for edge in diagram.edges)
    assert [node.label for node in diagram.nodes] == ["leaf", "Multiply + Exp", "Linear 4", "Add"]
    assert edges(diagram)["around", "around"] == "shortcut"


def test_parameters_of_a_layer_are_part_of_it_and_weights_of_a_script_are_nodes():
    diagram = mr.draw(script())
    assert names(diagram) == ["input", "MatMul", "Add", "Subtract", "Power", "Mean"]
    assert names(diagram, is_main=False) == ["w", "b"]
    assert edges(diagram)["w", "MatMul"] == "input"
    assert diagram.shortcuts == []


def test_a_weight_that_two_layers_share_is_part_of_one_and_shown_at_the_other():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.two(self.one(x))

    assert edges(mr.draw(Tied(), input_shape=(1, 3)))["one.weight", "two"] == "input"


def test_a_tensor_that_is_used_twice_by_one_op_has_one_edge():
    x = mr.Tensor([1.0, 2.0], requires_grad=True, name="x")
    assert edges(mr.draw((x * x).sum())) == {("x", "Multiply"): "main", ("Multiply", "Sum"): "main"}


def test_a_checkpointed_part_is_one_node_of_a_loss():
    diagram = mr.draw(loss_of(models.cifar_net(14, width=4, checkpoint_every=1)))
    assert [node.kind for node in diagram.nodes].count("Checkpoint") == 6
    assert diagram.shortcuts == []


def test_a_frozen_stem_begins_the_graph_where_gradients_begin():
    net = small()
    net.conv1.weight.requires_grad = False
    diagram = mr.draw(loss_of(net))
    assert names(diagram)[:3] == ["input", "bn1", "relu"]


def test_user_net_calls_one_cell_twice():
    diagram = mr.draw(Users(), input_shape=(2, 4))
    assert names(diagram).count("cell.a") == 2
    assert len([way for way in diagram.shortcuts if len(way) == 1]) == 2


@pytest.mark.parametrize(("tensor", "message"), [
    (lambda: mr.Tensor([1.0]), "has no graph"),
    (lambda: mr.Tensor([1.0], requires_grad=True), "has no graph"),
    (lambda: script().detach(), "has no graph"),
])
def test_a_tensor_without_graph_says_so(tensor, message):
    with pytest.raises(mr.BackwardError, match=message):
        mr.draw(tensor())


def test_a_graph_that_backward_has_freed_says_what_to_do():
    loss = script()
    loss.backward()
    with pytest.raises(mr.BackwardError, match=r"freed by its backward\(\).*gradients=True.*retain_graph=True"):
        mr.draw(loss)


@pytest.mark.parametrize("thing", [None, 3, "resnet20", np.zeros(3)])
def test_what_cannot_be_drawn_is_a_type_error(thing):
    with pytest.raises(mr.DTypeError, match="expected a model"):
        mr.draw(thing)


def test_a_diagram_is_one_line_at_a_prompt():
    diagram = mr.draw(script())
    assert repr(diagram) == f"<Diagram 'loss': {len(diagram.nodes)} boxes, {len(diagram.edges)} arrows>"


def test_convolutions_of_other_kinds_say_their_sizes():
    net = nn.Sequential(nn.ConvTranspose2d(2, 4, 3, (2, 1), groups=2), nn.Upsample(2), nn.GroupNorm(2, 4))
    labels = [node.label for node in mr.draw(net, input_shape=(1, 2, 5, 5)).nodes]
    assert labels[1:] == ["ConvTranspose2d 3×3, 4, ×2×1", "UpsampleNearest", "GroupNorm"]
    [_, node] = mr.draw(nn.Sequential(nn.Conv1d(2, 6, 3, 2)), input_shape=(1, 2, 9)).nodes
    assert (node.label, node.shape) == ("Conv1d 3, 6, /2", (1, 6, 4))
