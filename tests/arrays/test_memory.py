"""Arrays that start at a line of the cache, in the memory order that was asked for."""
import numpy as np
import pytest

from minires.arrays.memory import CACHE_LINE, SMALLEST_ALIGNED, empty, empty_like


def address(x):
    return x.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(SMALLEST_ALIGNED,), (7, 1031), (3, 16, 20, 24)])
def test_large_arrays_start_at_a_line_of_the_cache(shape, dtype):
    kept = [empty(np, shape, dtype) for _ in range(20)]  # kept, so that each has memory of its own
    assert {address(x) % CACHE_LINE for x in kept} == {0}
    assert len({address(x) for x in kept}) == 20
    assert {(x.shape, x.dtype) for x in kept} == {(shape, np.dtype(dtype))}
    assert all(x.flags.c_contiguous and x.flags.writeable for x in kept)


def test_every_element_is_inside_the_memory_that_was_taken():
    x = empty(np, (5, 1000), np.float64)
    memory = x.base
    assert address(x) + x.nbytes <= address(memory) + memory.nbytes


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (4, 5)])
def test_small_and_empty_arrays(shape):
    x = empty(np, shape, np.float32)
    assert (x.shape, x.dtype) == (shape, np.float32)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_a_like_array_has_the_same_memory_order(order):
    x = np.zeros(np.array((6, 8, 10, 20))[list(order)], dtype=np.float32).transpose(np.argsort(order))
    y = empty_like(x)
    assert (y.shape, y.strides, y.dtype) == (x.shape, x.strides, x.dtype)
    assert address(y) % CACHE_LINE == 0
    assert empty_like(x, np.float64).dtype == np.float64


def test_a_like_array_of_one_in_another_order_has_that_order():
    x = np.zeros((20, 10, 8, 6), dtype=np.float32).T
    assert empty_like(x).strides == x.strides


def test_a_like_array_of_one_that_repeats_itself_has_room_for_each_element():
    x = np.broadcast_to(np.zeros((6, 1, 1, 9)), (6, 70, 80, 9))
    y = empty_like(x)
    y[...] = np.arange(x.size).reshape(x.shape)
    np.testing.assert_array_equal(y.reshape(-1), np.arange(x.size))
