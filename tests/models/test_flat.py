"""The flat nets: so many convolutions in a row, and nothing else."""
import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.errors import ArgumentError, UnknownNameError


def images(shape=(2, 1, 6, 5)):
    return np.random.default_rng(1).standard_normal(shape)


@pytest.mark.parametrize("depth", [1, 3, 12])
def test_depth_is_the_number_of_convolutions(depth):
    net = models.flat_net(depth, width=4)
    assert sum(isinstance(module, nn.Conv2d) for _, module in net.named_modules()) == depth
    # 1 -> 4 channels, then depth - 1 times 4 -> 4, and a linear layer to 10 classes with a bias
    assert sum(parameter.size for parameter in net.parameters()) == 36 + (depth - 1) * 144 + 40 + 10


def test_every_layer_keeps_the_size_of_the_image():
    rows = {row.name: row.output_shape for row in mr.summary(models.flat_net(3, width=4, in_channels=2), (2, 2, 6, 5)).rows}
    assert [rows[f"layer{i}"] for i in (1, 2, 3)] == [(2, 4, 6, 5)] * 3
    assert rows["avgpool"] == (2, 4)
    assert rows[""] == (2, 10)


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid)])
def test_the_activation_follows_each_convolution(activation, kind):
    net = models.flat_net(2, width=4, activation=activation)
    assert [type(module) for module in net.layer2] == [nn.Conv2d, nn.Identity, kind]
    assert [name for name, _ in net.layer2.named_children()] == ["conv", "bn", "act"]


def test_batch_norm_stands_between_convolution_and_activation():
    net = models.flat_net(2, width=4, batch_norm=True)
    assert [type(module) for module in net.layer1] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]


@pytest.mark.parametrize("options", [{}, {"activation": "tanh"}, {"activation": "sigmoid", "batch_norm": True}], ids=str)
def test_the_gradient_is_right_in_every_parameter(options):
    net = models.flat_net(3, width=2, **options).astype(np.float64)
    mr.gradcheck(net, [images((2, 1, 4, 4))])


def test_the_seed_and_the_name_decide_each_weight():
    shallow, deep, other = (models.flat_net(depth, width=4, seed=seed).state_dict()
                            for depth, seed in ((2, 0), (5, 0), (2, 1)))
    for name in shallow:
        np.testing.assert_array_equal(shallow[name], deep[name], err_msg=name)
    assert not np.isclose(shallow["layer1.conv.weight"], other["layer1.conv.weight"]).any()
    assert not np.isclose(deep["layer2.conv.weight"], deep["layer3.conv.weight"]).any()


def test_batch_norm_shifts_no_weight():
    without, with_it = (models.flat_net(2, width=4, batch_norm=batch_norm).state_dict() for batch_norm in (False, True))
    for name in without:
        np.testing.assert_array_equal(without[name], with_it[name], err_msg=name)


def test_init_draws_the_convolutions():
    net = models.flat_net(2, width=4, in_channels=4, init=nn.init.delta_orthogonal_, activation="tanh")
    for layer in (net.layer1, net.layer2):
        centre = layer.conv.weight.data[:, :, 1, 1]
        np.testing.assert_allclose(centre @ centre.T, np.eye(4), atol=1e-6)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"depth": 0}, "flat_net: depth is 0"),
    ({"depth": 2.5}, "flat_net: depth is 2.5"),
    ({"depth": 2, "width": 0}, "flat_net: width is 0"),
    ({"depth": 2, "in_channels": 0}, "in_channels is 0"),
])
def test_bad_numbers_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        models.flat_net(**arguments)


def test_an_unknown_activation_is_named_with_those_that_there_are():
    with pytest.raises(UnknownNameError, match=r"^flat_net: unknown activation 'gelu': known are relu, tanh, sigmoid"):
        models.flat_net(2, activation="gelu")
