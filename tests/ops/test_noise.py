"""Dropout: what is dropped, how the rest is scaled, and when nothing is done."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ArgumentError, DTypeError
from tests.ops.test_every_op import normal


def seeded(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_p_is_dropped_and_the_mean_stays(p):
    x = mr.Tensor(np.ones((100, 100)), requires_grad=True)
    y = ops.dropout(x, p, generator=seeded())
    assert abs((y.data == 0).mean() - p) < 0.02
    np.testing.assert_allclose(np.unique(y.data), [0, 1 / (1 - p)])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)  # of x = 1, both are the noise


def test_a_seed_is_a_mask_in_either_precision():
    masks = [ops.dropout(mr.Tensor(np.ones((20, 20), dtype)), 0.5, True, seeded()).data != 0
             for dtype in (np.float32, np.float64)]
    np.testing.assert_array_equal(*masks)
    other = ops.dropout(mr.Tensor(np.ones((20, 20))), 0.5, True, seeded(1)).data != 0
    assert (other != masks[0]).any()
    unseeded = [ops.dropout(mr.Tensor(np.ones((20, 20))), 0.5).data for _ in range(2)]
    assert (unseeded[0] != unseeded[1]).any()


def test_in_evaluation_and_with_p_0_it_is_x():
    x = mr.Tensor(normal(3, 4), requires_grad=True)
    assert ops.dropout(x, 0.5, training=False) is x
    assert ops.dropout(x, 0.0) is x


def test_with_p_1_nothing_is_left():
    x = mr.Tensor(normal(3, 4), requires_grad=True)
    y = ops.dropout(x, 1)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, np.zeros((3, 4)))
    np.testing.assert_array_equal(x.grad, np.zeros((3, 4)))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_an_infinity_that_is_dropped_is_nan_as_in_pytorch():
    y = ops.dropout(mr.Tensor([np.inf] * 50), 0.5, generator=seeded()).data
    assert np.isnan(y).any()
    assert np.isposinf(y[~np.isnan(y)]).all()


@pytest.mark.parametrize(("arguments", "error", "said"), [
    ((2.0, 0.5), DTypeError, "dropout: expected a tensor, got float"),
    ((mr.Tensor([1.0]), 1.5), ArgumentError, "Dropout: p is 1.5, expected a number from 0 to 1"),
    ((mr.Tensor([1.0]), 0.5, "no"), ArgumentError, "dropout: training is 'no'"),
    ((mr.Tensor([1.0]), 0.5, True, 3), DTypeError, "dropout: generator is 3, expected a np.random.Generator"),
])
def test_what_does_not_fit_is_named(arguments, error, said):
    with pytest.raises(error, match=said):
        ops.dropout(*arguments)
