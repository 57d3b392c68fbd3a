"""Reshape, flatten, transpose and indexing against PyTorch."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal

REPEATED = np.array([2, 0, 2, 2, 1])
KEYS = {
    "an integer": 1,
    "a negative integer": -1,
    "two integers": (1, 2),
    "a slice": slice(1, None),
    "a slice with a step": (slice(None), slice(None, None, 2)),
    "an ellipsis": (Ellipsis, 0),
    "a new axis": (slice(None), None, 1),
    "repeated integers": REPEATED,
    "negative repeated integers": REPEATED - 3,
    "repeated integers on the second axis": (slice(None), REPEATED),
    "pairs of integers, repeated": (np.array([0, 1, 1, 2]), np.array([3, 0, 0, 2])),
    "a matrix of integers": np.array([[0, 0], [2, 1]]),
    "an integer beside repeated integers": (1, REPEATED),
    "repeated integers after a slice and an axis": (slice(0, 2), slice(None), REPEATED),
    "a mask": np.arange(12).reshape(3, 4) % 3 == 0,
}


def as_torch_key(key):
    """The same index, with PyTorch's arrays in it."""
    if isinstance(key, tuple):
        return tuple([as_torch_key(part) for part in key])
    return torch.from_numpy(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_indexing_adds_up_the_gradients_of_what_is_taken_twice(key, dtype):
    assert_parity(lambda x: x[key], lambda x: x[as_torch_key(key)], [normal(3, 4, 5)], dtype)


@pytest.mark.parametrize("shape", [(12, 5), (5, -1), (60,), (3, 2, 2, 5), (1, 60, 1)], ids=str)
def test_reshape_keeps_the_reading_order(shape, dtype):
    assert_parity(lambda x: ops.reshape(x, shape), lambda x: x.reshape(shape), [normal(3, 4, 5)], dtype)


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4), (3,), (1, 2, 3, 4)], ids=str)
def test_flatten_keeps_the_first_axis(shape, dtype):
    assert_parity(ops.flatten, lambda x: x.reshape(shape[0], -1), [normal(*shape)], dtype)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, -1, 1)], ids=str)
def test_transpose_moves_the_gradient_back(axes, dtype):
    assert_parity(lambda x: ops.transpose(x, axes), lambda x: x.permute(axes), [normal(3, 4, 5)], dtype)


def test_transpose_without_axes_reverses_them(dtype):
    assert_parity(ops.transpose, lambda x: x.permute(2, 1, 0), [normal(3, 4, 5)], dtype)
    assert_parity(lambda x: x.T, lambda x: x.T, [normal(3, 4)], dtype)


def test_a_reshape_of_a_transpose(dtype):
    assert_parity(lambda x: x.transpose(2, 0, 1).reshape(5, 12), lambda x: x.permute(2, 0, 1).reshape(5, 12),
                  [normal(3, 4, 5)], dtype)
