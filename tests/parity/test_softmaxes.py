"""softmax, log_softmax and logsumexp against PyTorch."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal

FUNCTIONS = [(ops.softmax, torch.softmax), (ops.log_softmax, torch.log_softmax), (ops.logsumexp, torch.logsumexp)]
each_function = pytest.mark.parametrize(("ours", "theirs"), FUNCTIONS, ids=lambda function: function.__name__)


@each_function
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("scale", [1, 30])
def test_along_any_axis(ours, theirs, axis, scale, dtype):
    assert_parity(lambda x: ours(x, axis), lambda x: theirs(x, axis), [scale * normal(2, 5, 3)], dtype)


def test_logsumexp_over_several_axes(dtype):
    assert_parity(lambda x: ops.logsumexp(x, (0, 2), keepdims=True), lambda x: torch.logsumexp(x, (0, 2), keepdim=True),
                  [normal(2, 5, 3)], dtype)


@each_function
def test_numbers_that_would_overflow(ours, theirs, dtype):
    x = [[1e4, 1e4 - 1, 9e3], [-1e4, -1e4 - 1, -9e3], [5, 0, -1e4]]
    assert_parity(lambda x: ours(x, 1), lambda x: theirs(x, 1), [x], dtype)


def test_masked_places(dtype):
    x = normal(3, 4)
    x[0, 1] = x[1, :3] = -np.inf
    assert_parity(ops.softmax, lambda x: torch.softmax(x, -1), [x], dtype)
    assert_parity(lambda x: ops.logsumexp(x, 1), lambda x: torch.logsumexp(x, 1), [x], dtype)
