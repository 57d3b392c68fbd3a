"""Sums, means and maxima against PyTorch."""
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal

AXES = [None, 0, 1, -1, (0, 2), (-1, 0), (0, 1, 2)]
REDUCTIONS = [(ops.sum, torch.sum), (ops.mean, torch.mean), (ops.max, torch.amax)]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize(("ours", "theirs"), REDUCTIONS, ids=lambda function: function.__name__)
def test_reductions_over_any_axes(ours, theirs, axis, keepdims, dtype):
    dim = (0, 1, 2) if axis is None else axis
    assert_parity(lambda x: ours(x, axis, keepdims), lambda x: theirs(x, dim=dim, keepdim=keepdims), [1 + normal(3, 4, 5)],
                  dtype)


@pytest.mark.parametrize("axis", [None, 0, 1], ids=str)
def test_equal_maxima_share_the_gradient(axis, dtype):
    dim = (0, 1) if axis is None else axis
    x = [[1.0, 5.0, 5.0], [5.0, 2.0, 5.0], [0.0, 0.0, 5.0]]
    assert_parity(lambda x: ops.max(x, axis), lambda x: torch.amax(x, dim=dim), [x], dtype)


def test_a_reduction_broadcast_back_over_its_input(dtype):
    assert_parity(lambda x: x - x.mean(axis=1, keepdims=True), lambda x: x - x.mean(dim=1, keepdim=True), [normal(3, 4)],
                  dtype)
