"""The dropout layer: seeded masks, evaluation, and checkpoints, whose second forward draws the same mask."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError


def ones(*shape):
    return mr.Tensor(np.ones(shape), requires_grad=True)


def test_each_mask_is_another_one_and_the_run_can_be_repeated():
    runs = []
    for _ in range(2):
        net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
        runs.append([net[i](ones(10, 10)).data for i in (0, 0, 1)])
    np.testing.assert_array_equal(*runs)
    first, second, of_another_layer = runs[0]
    assert (first != second).any()
    assert (first != of_another_layer).any()
    assert (nn.Dropout(0.5, seed=1)(ones(10, 10)).data != nn.Dropout(0.5)(ones(10, 10)).data).any()


def test_in_evaluation_it_does_nothing():
    layer, x = nn.Dropout(0.9), ones(3)
    assert layer.eval()(x) is x
    assert layer.draws == 0
    assert nn.Dropout(0)(x) is x


def test_a_run_goes_on_from_the_number_of_its_draws():
    whole, later = nn.Dropout(), nn.Dropout()
    masks = [whole(ones(10, 10)).data for _ in range(3)]
    later.draws = 2
    np.testing.assert_array_equal(later(ones(10, 10)).data, masks[2])


def test_what_is_no_probability_or_seed_is_refused():
    with pytest.raises(ArgumentError, match=r"Dropout: p is 1.5, expected a number from 0 to 1"):
        nn.Dropout(1.5)
    with pytest.raises(ArgumentError, match="Dropout: seed is -1, expected an integer of at least 0"):
        nn.Dropout(seed=-1)
    assert repr(nn.Dropout(0.25)) == "Dropout(p=0.25, seed=0)"


# ---- in checkpoints


class Net(nn.Module):
    """Dropout twice in one checkpoint, one layer of it in two, and a checkpoint in a checkpoint."""

    def __init__(self, use):
        super().__init__()
        self.use = use
        self.linear = nn.Linear(6, 6, generator=np.random.default_rng(0))
        self.first, self.second = nn.Dropout(0.4), nn.Dropout(0.3)
        self.astype(np.float64)

    def part(self, x):
        return ops.tanh(self.second(self.linear(self.first(x))))

    def twice(self, x):
        return self.use(self.part, self.first(self.use(self.part, x)))

    def forward(self, x):
        return self.use(self.twice, self.use(self.part, x)) + self.first(x)


def directly(function, x):
    return function(x)


def test_the_forward_that_runs_again_draws_the_same_masks():
    results = []
    for use in (directly, nn.checkpoint):
        net, x = Net(use), mr.Tensor(np.random.default_rng(1).standard_normal((5, 6)), requires_grad=True)
        losses = [net(x).sum() for _ in range(2)]  # both forwards before either backward
        for loss in losses:
            loss.backward()
        last = net(x)
        results.append([*(loss.data for loss in losses), x.grad, net.linear.weight.grad, last.data])
        assert (net.first.draws, net.second.draws) == (15, 9)  # 5 and 3 times in each of three forwards, none counted twice
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_graph_of_checkpoints_that_is_kept_draws_the_same_masks_each_time():
    net, x = Net(nn.checkpoint), ones(5, 6)
    y = net(x).sum()
    gradients = []
    for retain_graph in (True, False):
        x.grad = None
        y.backward(retain_graph=retain_graph)
        gradients.append(x.grad)
    np.testing.assert_array_equal(*gradients)


def test_the_gradient_of_a_net_with_dropout_is_right_for_the_mask_of_its_forward():
    net = Net(directly)

    def function(x):
        net.first.draws = net.second.draws = 0
        return net(x)

    mr.gradcheck(function, [np.random.default_rng(2).standard_normal((3, 6))])
