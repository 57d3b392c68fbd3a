"""Batches: every example once an epoch, in an order that only the seed and the epoch decide."""

import itertools

import numpy as np
import pytest

from minires.data import Batches
from minires.errors import ArgumentError, DTypeError, LabelError, ShapeError


def numbered_examples(N):
    """Images whose every pixel is their own number, and labels that are that number too."""
    labels = np.arange(N)
    images = np.broadcast_to(labels[:, None, None, None], (N, 1, 2, 2)).astype(np.float32)
    return images, labels


def visited(batches):
    """The numbers of the examples in the order in which one epoch visits them."""
    return np.concatenate([labels for _, labels in batches])


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("N", "batch_size"), [(10, 3), (12, 4), (5, 8), (7, 1), (1, 1)])
def test_each_example_comes_exactly_once_an_epoch_with_its_own_label(N, batch_size, shuffle):
    batches = Batches(*numbered_examples(N), batch_size, shuffle=shuffle)
    for _ in range(3):
        sizes, numbers = [], []
        for images, labels in batches:
            assert images.shape == (len(labels), 1, 2, 2)
            assert labels.shape == (len(labels),)
            assert (images == labels[:, None, None, None]).all()
            sizes.append(len(labels))
            numbers.extend(labels)
        assert sorted(numbers) == list(range(N))
        assert len(sizes) == len(batches)
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
        assert 1 <= sizes[-1] <= batch_size


def test_types_are_kept():
    for dtype in (np.uint8, np.float32, np.float64):
        images, labels = next(iter(Batches(np.zeros((4, 1, 2, 2), dtype), np.arange(4, dtype=np.int32), 2)))
        assert images.dtype == dtype
        assert labels.dtype == np.int32


def test_without_shuffle_the_order_is_that_of_the_arrays():
    batches = Batches(*numbered_examples(10), 4, shuffle=False)
    np.testing.assert_array_equal(visited(batches), np.arange(10))
    np.testing.assert_array_equal(visited(batches), np.arange(10))


def test_same_seed_same_order_and_another_seed_another_order():
    first, second, other = (Batches(*numbered_examples(100), 32, seed=seed) for seed in (3, 3, 4))
    for _ in range(3):
        order = visited(first)
        np.testing.assert_array_equal(order, visited(second))
        assert not np.array_equal(order, visited(other))


def test_each_epoch_has_an_order_of_its_own():
    batches = Batches(*numbered_examples(100), 32)
    orders = [tuple(visited(batches)) for _ in range(5)]
    assert len(set(orders)) == 5
    assert tuple(range(100)) not in orders


def test_the_order_does_not_depend_on_the_batch_size():
    np.testing.assert_array_equal(
        visited(Batches(*numbered_examples(50), 7)), visited(Batches(*numbered_examples(50), 50))
    )


def test_an_epoch_can_be_resumed_by_its_number():
    batches = Batches(*numbered_examples(50), 8)
    orders = [visited(batches) for _ in range(3)]
    assert batches.epoch == 3
    resumed = Batches(*numbered_examples(50), 8)
    resumed.epoch = 2
    np.testing.assert_array_equal(visited(resumed), orders[2])


def test_an_epoch_that_is_left_early_still_counts():
    batches, whole = (Batches(*numbered_examples(50), 8) for _ in range(2))
    next(iter(batches))
    visited(whole)
    np.testing.assert_array_equal(visited(batches), visited(whole))


def test_two_loops_at_once_do_not_disturb_each_other():
    batches = Batches(*numbered_examples(20), 5)
    first, second = [], []
    for (_, one), (_, two) in zip(batches, batches, strict=True):
        first.extend(one)
        second.extend(two)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_drop_last_leaves_only_whole_batches():
    batches = Batches(*numbered_examples(10), 4, drop_last=True)
    sizes = [len(labels) for _, labels in batches]
    assert sizes == [4, 4]
    assert len(batches) == 2
    assert len(Batches(*numbered_examples(12), 4, drop_last=True)) == 3


@pytest.mark.parametrize(("N", "batch_size", "expected"), [(10, 3, 4), (12, 4, 3), (5, 8, 1), (10_000, 64, 157)])
def test_len_counts_the_batches(N, batch_size, expected):
    assert len(Batches(np.zeros((N, 1)), np.zeros(N, int), batch_size)) == expected


def test_batches_are_copies():
    images, labels = numbered_examples(6)
    for shuffle in (True, False):
        for batch_images, batch_labels in Batches(images, labels, 3, shuffle=shuffle):
            batch_images[:] = -1
            batch_labels[:] = -1
    np.testing.assert_array_equal(labels, np.arange(6))
    assert images.min() == 0


def test_labels_may_be_a_list():
    images, _ = numbered_examples(3)
    numbers = itertools.chain.from_iterable(labels for _, labels in Batches(images, [7, 8, 9], 2))
    assert sorted(numbers) == [7, 8, 9]


def test_lengths_that_differ():
    images, labels = numbered_examples(10)
    with pytest.raises(ShapeError, match="10 images and 9 labels"):
        Batches(images, labels[:9], 4)


def test_no_examples():
    with pytest.raises(ShapeError, match="no examples"):
        Batches(np.zeros((0, 1, 2, 2)), np.zeros(0, int), 4)
    with pytest.raises(ShapeError, match="no examples"):
        Batches(np.zeros((0, 1, 2, 2)), [], 4)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, "4", None])
def test_batch_sizes_that_are_refused(batch_size):
    with pytest.raises(ArgumentError, match=r"batch_size is .* expected an integer of at least 1"):
        Batches(*numbered_examples(10), batch_size)


@pytest.mark.parametrize("seed", [-1, 0.5, None, "a"])
def test_seeds_that_are_refused(seed):
    with pytest.raises(ArgumentError, match=r"seed is .* expected an integer of at least 0"):
        Batches(*numbered_examples(10), 4, seed=seed)


def test_drop_last_that_leaves_nothing():
    with pytest.raises(ArgumentError, match=r"batch_size 11 for 10 examples.*leaves no batch"):
        Batches(*numbered_examples(10), 11, drop_last=True)


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, object, str])
def test_labels_that_are_not_integers(dtype):
    images, labels = numbered_examples(10)
    with pytest.raises(LabelError, match="expected integers"):
        Batches(images, labels.astype(dtype), 4)


def test_one_hot_labels():
    images, labels = numbered_examples(10)
    with pytest.raises(LabelError, match=r"shape \(10, 10\).*argmax"):
        Batches(images, np.eye(10, dtype=int)[labels], 4)


def test_images_that_are_not_an_array():
    with pytest.raises(DTypeError, match="type list"):
        Batches([[1.0], [2.0]], [0, 1], 1)
