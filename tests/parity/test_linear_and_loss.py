"""The linear layer's op and the losses against PyTorch."""
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


@pytest.mark.parametrize(("label_smoothing", "ignore_index"), [(0.1, -100), (1.0, -100), (0.0, 2), (0.3, 2)])
def test_cross_entropy_with_label_smoothing_and_ignored_labels(label_smoothing, ignore_index, dtype):
    labels = np.array([0, 2, 1, 2, 3, 1])
    assert_parity(lambda x: ops.cross_entropy(x, labels, label_smoothing, ignore_index),
                  lambda x: torch.nn.functional.cross_entropy(x, torch.from_numpy(labels), label_smoothing=label_smoothing,
                                                              ignore_index=ignore_index), [3 * normal(6, 4)], dtype)


@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("shape", [(5,), (4, 3, 2)])
def test_binary_cross_entropy_with_logits_and_mean_squared_error(shape, scale, dtype):
    inputs = [scale * normal(*shape), np.random.default_rng(0).random(shape)]
    assert_parity(ops.binary_cross_entropy_with_logits, torch.nn.functional.binary_cross_entropy_with_logits, inputs, dtype)
    assert_parity(ops.mse_loss, torch.nn.functional.mse_loss, inputs, dtype)
