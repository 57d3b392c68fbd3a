"""Images with their channels last in memory, and pairs of sizes."""
import numpy as np
import pytest

from minires.errors import ArgumentError
from minires.ops.convolution import Conv2d
from minires.ops.kernels.layout import channels_last, pair, zeros_channels_last


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


@pytest.mark.parametrize(("value", "expected"), [(2, (2, 2)), ((1, 2), (1, 2)), ([3, 4], (3, 4)), (np.int64(5), (5, 5))])
def test_an_int_stands_for_rows_and_columns(value, expected):
    assert pair(Conv2d(), "stride", value) == expected


@pytest.mark.parametrize("value", [1.0, (1,), (1, 2, 3), "11", None, (1, 2.5), np.ones(2)], ids=repr)
def test_what_is_neither_an_int_nor_a_pair_of_ints(value):
    with pytest.raises(ArgumentError, match=r"^Conv2d: stride is .*, expected an int or a pair \(rows, columns\) of ints"):
        pair(Conv2d(), "stride", value)
