"""Max, average and global average pooling against PyTorch."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal

# (kernel size, stride, padding)
WINDOWS = [
    (2, None, 0), (3, 2, 1), (3, 1, 1), (3, None, 0), (2, 3, 1), (1, 2, 0), (5, 2, 2),
    ((2, 3), None, 0), ((3, 2), (1, 2), (1, 0)), ((3, 4), (2, 1), (1, 2)), ((1, 3), (3, 1), (0, 1)),
]


@pytest.mark.parametrize("shape", [(2, 3, 8, 7), (1, 1, 5, 5), (3, 2, 6, 9)], ids=str)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("ours", "theirs"), [
    (ops.max_pool2d, torch.nn.functional.max_pool2d), (ops.avg_pool2d, torch.nn.functional.avg_pool2d),
], ids=["max", "average"])
def test_pooling_over_windows_strides_and_paddings(ours, theirs, window, shape, dtype):
    assert_parity(lambda x: ours(x, *window), lambda x: theirs(x, *window), [normal(*shape)], dtype)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_first_of_equal_maxima_gets_the_gradient(window, dtype):
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 8, 7))  # three values only, so that nearly every window has a tie
    assert_parity(lambda x: ops.max_pool2d(x, *window), lambda x: torch.nn.functional.max_pool2d(x, *window), [x], dtype)


def test_padding_never_wins_over_negative_values(dtype):
    x = -1 - np.abs(normal(2, 3, 6, 6))
    assert_parity(lambda x: ops.max_pool2d(x, 3, 2, 1), lambda x: torch.nn.functional.max_pool2d(x, 3, 2, 1), [x], dtype)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (3, 2, 1, 7)], ids=str)
def test_global_average_pooling_is_the_mean_of_each_image(shape, dtype):
    assert_parity(ops.global_avg_pool2d, lambda x: torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1),
                  [normal(*shape)], dtype)
