"""Parameter: a tensor that a module trains."""
import copy
import pickle

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import DTypeError


class Scale(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.scale = nn.Parameter(np.full(3, 2.0), **options)

    def forward(self, x):
        return x * self.scale


def test_it_is_a_leaf_that_wants_a_gradient_and_is_trained_by_its_module():
    net = Scale()
    [(name, parameter)] = net.named_parameters()
    assert (name, parameter.name, parameter.requires_grad, parameter.op) == ("scale", "scale", True, None)
    assert isinstance(parameter, mr.Tensor)
    net(mr.Tensor(np.ones(3))).sum().backward()
    np.testing.assert_array_equal(parameter.grad, [1, 1, 1])
    assert repr(parameter) == "Parameter('scale', shape=(3,), dtype=float64, device=cpu, requires_grad=True)"


def test_one_that_is_frozen_from_the_start_is_saved_and_cast_with_its_module():
    net = Scale(requires_grad=False).astype(np.float32)
    assert list(net.state_dict()) == ["scale"]
    assert net.scale.dtype == np.float32
    assert mr.summary(net, (1, 3)).frozen == 3
    assert net(mr.Tensor([1.0, 2, 3])).op is None


def test_of_a_tensor_it_takes_the_array_without_the_graph():
    x = mr.Tensor([1.0, 2.0], requires_grad=True)
    parameter = nn.Parameter(x * 2)
    assert parameter.op is None
    np.testing.assert_array_equal(parameter.data, [2, 4])
    assert nn.Parameter(x).data is x.data


def test_it_is_copied_and_pickled_as_what_it_is():
    for again in (copy.deepcopy(Scale()), pickle.loads(pickle.dumps(Scale()))):
        assert type(again.scale) is nn.Parameter
        np.testing.assert_array_equal(again.scale.data, [2, 2, 2])


def test_what_holds_no_numbers_is_refused():
    with pytest.raises(DTypeError, match="cannot make an array of numbers of a str"):
        nn.Parameter("x")
