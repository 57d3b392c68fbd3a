"""The linear layer's op and cross-entropy against PyTorch."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal


@pytest.mark.parametrize(("N", "I", "O"), [(4, 7, 3), (1, 1, 1), (1, 5, 2), (6, 1, 4)])
def test_linear_with_and_without_bias(N, I, O, dtype):
    inputs = [normal(N, I), normal(O, I, seed=2), normal(O, seed=3)]
    assert_parity(ops.linear, torch.nn.functional.linear, inputs, dtype)
    assert_parity(ops.linear, torch.nn.functional.linear, inputs[:2], dtype)


@pytest.mark.parametrize(("scale", "N", "K"), [(1, 6, 10), (30, 6, 10), (1, 1, 4), (1e-3, 64, 3)])
def test_cross_entropy_of_small_and_large_logits(scale, N, K, dtype):
    labels = np.random.default_rng(0).integers(0, K, N)
    assert_parity(lambda x: ops.cross_entropy(x, labels),
                  lambda x: torch.nn.functional.cross_entropy(x, torch.from_numpy(labels)), [scale * normal(N, K)], dtype)


def test_cross_entropy_of_logits_that_would_overflow(dtype):
    labels = np.array([0, 2, 1])
    logits = [[1e4, 1e4, -1e4], [5e3, 0, 5e3 - 1], [-2e4, -2e4 + 2, -2e4]]
    assert_parity(lambda x: ops.cross_entropy(x, labels),
                  lambda x: torch.nn.functional.cross_entropy(x, torch.from_numpy(labels)), [logits], dtype)
