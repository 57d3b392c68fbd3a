"""The embedding layer: a trained table."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops, optim
from minires.errors import ArgumentError, PlaceError


def test_it_looks_up_rows_of_its_weight_which_is_standard_normal():
    layer = nn.Embedding(50, 40, generator=np.random.default_rng(0))
    assert layer.weight.shape == (50, 40)
    assert layer.weight.dtype == np.float32
    assert abs(layer.weight.data.std() - 1) < 0.05
    np.testing.assert_array_equal(layer([[3, 0]]).data, layer.weight.data[[[3, 0]]])
    assert repr(layer) == "Embedding(50, 40)"


def test_only_the_rows_that_were_used_are_trained():
    net = nn.Sequential(nn.Embedding(4, 3, generator=np.random.default_rng(0)), nn.Linear(3, 2))
    before = net[0].weight.data.copy()
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    with mr.record_gradients(net, optimizer) as record:
        ops.cross_entropy(net([2, 0, 2]), [0, 1, 1]).backward()
        optimizer.step()
    assert (net[0].weight.data != before).any(axis=1).tolist() == [True, False, True, False]
    assert record.names == ["0", "1"]
    assert np.isfinite(record.update_ratio).all()


def test_an_initialiser_of_the_whole_net_leaves_it_and_norms_alone():
    net = nn.Sequential(nn.Embedding(4, 3), nn.LayerNorm((2, 3)), nn.RMSNorm((2, 3)), nn.Linear(3, 3))
    before = net.state_dict()
    nn.init.initialize_(net, nn.init.he_normal_, seed=0)
    assert [name for name, value in net.state_dict().items() if (value != before[name]).any()] == ["3.weight"]


def test_what_does_not_fit_is_named_with_the_layer():
    with pytest.raises(ArgumentError, match="Embedding: embedding_dim is 0"):
        nn.Embedding(3, 0)
    net = nn.Sequential(nn.Embedding(4, 3))
    with pytest.raises(PlaceError, match=r"Embedding \(layer '0'\): index 4 is out of range"):
        net([4])
