"""A model is run once to be drawn: the shape of its input, and that it is left as it was."""
import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.drawing.model import known_input_shape
from minires.errors import ArgumentError, DTypeError
from tests.drawing.nets import Users, loss_of, small


@pytest.mark.parametrize(("model", "shape"), [
    (lambda: models.resnet20(), (1, 3, 32, 32)),
    (lambda: models.cifar_net(8, in_channels=1), (1, 1, 32, 32)),
    (lambda: models.imagenet_net(18, init=nn.init.zeros_), (1, 3, 224, 224)),
    (lambda: models.flat_net(3), (1, 1, 32, 32)),
])
def test_known_nets_know_the_shape_of_their_input(model, shape):
    assert known_input_shape(model()) == shape


def test_another_model_has_to_be_given_one():
    with pytest.raises(mr.ArgumentError, match=r"a Users has to run once.*input_shape=\(N, C, H, W\)"):
        mr.draw(Users())
    assert mr.draw(Users(), input_shape=(7, 4)).nodes[0].shape == (7, 4)


@pytest.mark.parametrize("shape", [(), (0, 3), (1, 3.0), "3", (1, -2), ((1, 2),)])
def test_a_shape_is_of_positive_integers(shape):
    with pytest.raises(mr.ArgumentError, match="expected positive integers"):
        mr.draw(Users(), input_shape=shape)


def test_the_model_is_left_as_it_was():
    net = small(checkpoint_every=1)
    net.layer2.eval()
    calls = []
    net.fc.forward_hooks.append(lambda *arguments: calls.append(arguments))
    before = net.state_dict()
    with mr.record_gradients(net) as record, mr.no_grad():
        diagram = mr.draw(net)
    assert len(record) == 0
    assert calls == []
    assert len(net.fc.forward_hooks) == 1
    assert (net.training, net.layer1.training, net.layer2.training) == (True, True, False)
    assert (net.layer1.checkpoint_every, net.layer3.checkpoint_every) == (1, 1)
    assert all(parameter.grad is None for parameter in net.parameters())
    for name, values in net.state_dict().items():
        np.testing.assert_array_equal(values, before[name])
    assert len(diagram.shortcuts) == 3  # the checkpointed parts are drawn layer by layer


def test_a_model_that_fails_is_left_as_it_was_too():
    net = small()
    with pytest.raises(mr.ShapeError):
        mr.draw(net, input_shape=(1, 5, 16, 16))
    assert net.training
    assert mr.engine.state.state.hooks == ()


def test_a_frozen_model_is_drawn_whole():
    net = small()
    for parameter in net.parameters():
        parameter.requires_grad = False
    diagram = mr.draw(net)
    assert [node.name for node in diagram.nodes][:3] == ["input", "conv1", "bn1"]
    assert len(diagram.shortcuts) == 3


def test_a_model_has_the_nodes_of_its_loss():
    net = small()
    of_model = [node.name for node in mr.draw(net).nodes]
    assert of_model == [node.name for node in mr.draw(loss_of(net)).nodes][:-1]


@pytest.mark.parametrize(("result", "message"), [
    (lambda x: (x, x), "returned a tuple"), (lambda x: x.detach(), "without a graph"), (lambda x: None, "a NoneType"),
])
def test_a_model_has_to_return_one_tensor(result, message):
    class Odd(nn.Module):
        def forward(self, x):
            return result(x)

    with pytest.raises(mr.BackwardError, match=message):
        mr.draw(Odd(), input_shape=(1,))


def test_float64_models_run_in_float64():
    assert len(mr.draw(small().astype(np.float64)).nodes) > 20


def test_a_shape_may_stand_where_summary_takes_it():
    net = mr.nn.Sequential(mr.nn.Conv2d(3, 4, 3), mr.nn.ReLU())
    for shape in ((1, 3, 16, 16), [1, 3, 16, 16]):
        assert mr.draw(net, shape).nodes[0].shape == (1, 3, 16, 16)


@pytest.mark.parametrize(("arguments", "given", "said"), [
    (((1, 3, 16, 16),), {"input_shape": (1, 3, 16, 16)}, "got two shapes"), ((("a", 3),), {}, "input_shape")])
def test_what_is_neither_a_path_nor_a_shape_is_an_error_of_ours(arguments, given, said):
    with pytest.raises(ArgumentError, match=said):
        mr.draw(mr.nn.Conv2d(3, 4, 3), *arguments, **given)
    with pytest.raises(DTypeError, match="the path is 3, expected a text"):
        mr.draw(mr.nn.Conv2d(3, 4, 3), 3)
