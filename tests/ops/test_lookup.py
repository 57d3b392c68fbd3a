"""Embedding: rows that are looked up, and the gradient of those that are looked up several times."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import DTypeError, PlaceError, ShapeError
from tests.ops.test_every_op import normal


@pytest.mark.parametrize("indices", [3, [], [1, 1, 0], [[2], [3]], np.array([[[0, 1], [2, 2]]], np.uint8), (np.int32(1), 2)])
def test_each_index_gives_its_row_and_each_use_its_gradient(indices):
    weight = mr.Tensor(normal(4, 3), requires_grad=True)
    y = ops.embedding(indices, weight)
    assert y.shape == (*np.shape(indices), 3)
    dy, expected = normal(*y.shape), np.zeros((4, 3))
    for place in np.ndindex(np.shape(indices)):
        row = int(np.asarray(indices)[place])
        np.testing.assert_array_equal(y.data[place], weight.data[row])
        expected[row] += dy[place]
    y.backward(dy)
    np.testing.assert_allclose(weight.grad, expected, rtol=1e-12)


def test_the_gradients_of_many_uses_are_added_up_in_float64():
    weight = mr.Tensor(np.zeros((2, 1), np.float32), requires_grad=True)
    dy = np.full((2**16 + 1, 1), 2.0**-24, np.float32)
    dy[0] = 1  # float32 has no number between 1 and 1 + 2**-23
    ops.embedding(np.zeros(2**16 + 1, int), weight).backward(dy)
    np.testing.assert_array_equal(weight.grad, [[1 + 2.0**-8], [0]])


def test_indices_may_change_before_the_backward_pass():
    weight, indices = mr.Tensor(normal(4, 3), requires_grad=True), np.array([1, 1])
    y = ops.embedding(indices, weight)
    indices[:] = 0
    y.sum().backward()
    np.testing.assert_array_equal(weight.grad, [[0] * 3, [2] * 3, [0] * 3, [0] * 3])


W = mr.Tensor(normal(4, 3))


@pytest.mark.parametrize(("indices", "weight", "error", "said"), [
    ([0, 4], W, PlaceError, "Embedding: index 4 is out of range: the weight has the rows 0 to 3"),
    ([-1, 0], W, PlaceError, "Embedding: index -1 is out of range"),
    ([0.0], W, DTypeError, "Embedding: indices have dtype float64, expected integers from 0 to 3"),
    (mr.Tensor([0.0]), W, DTypeError, "Embedding: indices are a Tensor; pass a NumPy array"),
    ([[0], [1, 2]], W, DTypeError, "Embedding: indices is .* of which no array can be made"),
    ([0], mr.Tensor([1.0]), ShapeError, r"Embedding: expected weight \(V, D\), got shape \(1,\)"),
])
def test_what_does_not_fit_is_named(indices, weight, error, said):
    with pytest.raises(error, match=said):
        ops.embedding(indices, weight)
