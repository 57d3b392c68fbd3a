"""`evaluation`: each module is then in the mode that it was in."""
import pytest

from minires import nn
from minires.nn.modes import evaluation


def frozen_net():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    net[1].eval()
    return net


def modes(net):
    return [module.training for _, module in net.named_modules()]


def test_all_modules_are_in_evaluation_mode_inside_and_as_before_afterwards():
    net = frozen_net()
    with evaluation(net):
        assert modes(net) == [False, False, False]
    assert modes(net) == [True, True, False]


def test_an_error_inside_leaves_them_as_before_too():
    net = frozen_net()
    with pytest.raises(ZeroDivisionError), evaluation(net):
        _ = 1 / 0
    assert modes(net) == [True, True, False]
