"""The identity layer: nothing happens, and nothing is made."""
import minires as mr
from minires import nn


def test_it_returns_the_tensor_itself_and_renames_nothing():
    x = mr.Tensor([1.0], requires_grad=True)
    y = x * 2
    net = nn.Sequential(nn.Identity())
    assert net(x) is x
    assert net[0](y) is y
    assert (x.name, x.op) == (None, None)


def test_the_output_of_a_named_layer_keeps_its_name():
    net = nn.Sequential({"act": nn.ReLU(), "nothing": nn.Identity()})
    assert net(mr.Tensor([1.0], requires_grad=True)).name == "act"


def test_it_has_no_parameters():
    assert nn.Identity().state_dict() == {}
    assert repr(nn.Identity()) == "Identity()"
