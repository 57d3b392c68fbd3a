"""Augmentation: the crops are those of the padded image, every place and side comes up, and only the seed decides."""
import numpy as np
import pytest

from minires.data import random_crop, random_flip, shift_and_flip
from minires.errors import ArgumentError, DTypeError, ShapeError


def numbered(N=64, C=3, H=5, W=6):
    """Images whose pixels are all different, and none is 0."""
    return np.arange(1, N * C * H * W + 1, dtype=np.float32).reshape(N, C, H, W)


def all_crops(image, padding):
    """{bytes of a crop: its place} of one image (C, H, W), by the definition."""
    _, H, W = image.shape
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    return {padded[:, top:top + H, left:left + W].tobytes(): (top, left)
            for top in range(2 * padding + 1) for left in range(2 * padding + 1)}


def test_each_crop_is_one_of_its_own_padded_image_and_all_places_come_up():
    images, seen = numbered(N=500), []
    crops = random_crop(images, np.random.default_rng(0), padding=2)
    assert (crops.shape, crops.dtype) == (images.shape, images.dtype)
    for image, crop in zip(images, crops, strict=True):
        seen.append(all_crops(image, 2)[crop.tobytes()])  # a KeyError where it is none of them
    counts = np.array([seen.count(place) for place in set(seen)])
    assert len(counts) == 25
    assert counts.min() > 4  # of 20 on average: the chance of so few is 1e-5 for each place
    assert counts.max() < 45


def test_a_padding_of_0_changes_nothing():
    np.testing.assert_array_equal(random_crop(numbered(), np.random.default_rng(0), padding=0), numbered())


def test_about_half_of_the_images_are_mirrored_and_the_others_left_as_they_are():
    images = numbered(N=1000, C=2, H=2, W=3)
    flipped = random_flip(images, np.random.default_rng(0))
    same = (flipped == images).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(flipped[~same], images[~same][:, :, :, ::-1])
    assert 430 < same.sum() < 570  # 4.4 standard deviations


def test_both_together_shift_and_mirror():
    images = numbered(N=200)
    both = shift_and_flip(images, np.random.default_rng(0))
    mirrored = 0
    for image, result in zip(images, both, strict=True):
        crops = all_crops(image, 4)
        mirrored += result.tobytes() not in crops
        assert result.tobytes() in crops or result[:, :, ::-1].tobytes() in crops
    assert 60 < mirrored < 140


def test_the_same_seed_gives_the_same_images_and_the_input_stays():
    images = numbered()
    first = shift_and_flip(images, np.random.default_rng([3, 1]))
    np.testing.assert_array_equal(first, shift_and_flip(images, np.random.default_rng([3, 1])))
    assert (first != shift_and_flip(images, np.random.default_rng([3, 2]))).any()
    np.testing.assert_array_equal(images, numbered())


@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_the_type_of_the_values_is_kept(dtype):
    assert shift_and_flip(np.ones((2, 1, 4, 4), dtype), np.random.default_rng(0)).dtype == dtype


@pytest.mark.parametrize("padding", [-1, 1.5, True, None])
def test_a_padding_that_is_none_is_refused(padding):
    with pytest.raises(ArgumentError, match=r"padding is .* expected an integer of at least 0"):
        random_crop(numbered(), np.random.default_rng(0), padding)


@pytest.mark.parametrize("function", [random_crop, random_flip, shift_and_flip])
def test_what_are_no_images_is_refused(function):
    with pytest.raises(ShapeError, match=r"\(3, 4\); expected \(N, C, H, W\)"):
        function(np.ones((3, 4)), np.random.default_rng(0))
    with pytest.raises(DTypeError, match="list"):
        function([[1.0]], np.random.default_rng(0))
