"""Images with their channels last in memory."""
import numpy as np
import pytest

from minires.ops.kernels.layout import channels_last, zeros_channels_last


def test_channels_last_is_a_contiguous_view_where_the_image_lies_so_and_one_copy_otherwise():
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    y = channels_last(x)
    assert y.flags.c_contiguous
    assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(y, np.moveaxis(x, 1, 3))
    back = y.transpose(0, 3, 1, 2)
    assert np.shares_memory(channels_last(back), y)
    np.testing.assert_array_equal(channels_last(back), y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_lie_with_their_channels_last(dtype):
    x = zeros_channels_last((2, 3, 4, 5), np.ones(1, dtype))
    assert x.shape == (2, 3, 4, 5)
    assert x.dtype == dtype
    assert np.shares_memory(channels_last(x), x)
    np.testing.assert_array_equal(x, 0)
