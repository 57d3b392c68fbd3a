"""Standardisation and 2 x 2 averaging, against plain loops and known values."""

import numpy as np
import pytest

from minires.data import average_2x2, channel_mean_and_std, fashion_mnist_sample, standardize
from minires.errors import ArgumentError, DTypeError, ShapeError

FUNCTIONS = [standardize, average_2x2]


def random_pixels(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_standardized_channels_have_mean_0_and_standard_deviation_1():
    images = random_pixels((20, 3, 8, 6))
    images[:, 1] //= 7
    before = images.copy()
    result, mean, std = standardize(images)
    assert result.shape == images.shape
    assert result.dtype == mean.dtype == std.dtype == np.float32
    for channel in range(3):
        pixels = [float(pixel) for pixel in images[:, channel].ravel()]
        expected_mean = sum(pixels) / len(pixels)
        expected_std = (sum((pixel - expected_mean) ** 2 for pixel in pixels) / len(pixels)) ** 0.5
        assert mean[channel] == pytest.approx(expected_mean, rel=1e-6)
        assert std[channel] == pytest.approx(expected_std, rel=1e-6)
        assert result[:, channel].mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
        assert result[:, channel].std(dtype=np.float64) == pytest.approx(1, abs=1e-6)
        assert result[4, channel, 5, 2] == pytest.approx(
            (images[4, channel, 5, 2] - expected_mean) / expected_std, rel=1e-5
        )
    np.testing.assert_array_equal(images, before)


def test_given_statistics_are_used_as_they_are():
    images = random_pixels((4, 2, 4, 4))
    result, mean, std = standardize(images, mean=[10, 20], std=(2.0, 4.0))
    np.testing.assert_array_equal(mean, [10, 20])
    np.testing.assert_array_equal(std, [2, 4])
    np.testing.assert_array_equal(result[:, 0], (images[:, 0].astype(np.float32) - 10) / 2)
    np.testing.assert_array_equal(result[:, 1], (images[:, 1].astype(np.float32) - 20) / 4)
    assert result.dtype == mean.dtype == std.dtype == np.float32


def test_test_images_get_the_training_images_function():
    train, mean, std = standardize(fashion_mnist_sample("train")[0])
    test, test_mean, test_std = standardize(fashion_mnist_sample("test")[0], mean, std)
    np.testing.assert_array_equal(test_mean, mean)
    np.testing.assert_array_equal(test_std, std)
    assert train.dtype == test.dtype == np.float32
    assert train.mean() == pytest.approx(0, abs=1e-4)
    assert train.std() == pytest.approx(1, abs=1e-4)
    assert test.mean() == pytest.approx(0, abs=0.03)
    assert test.std() == pytest.approx(1, abs=0.03)


def test_float_images_are_not_changed_in_place():
    images = np.random.default_rng(0).normal(size=(3, 1, 4, 4)).astype(np.float32)
    before = images.copy()
    standardize(images)
    average_2x2(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.uint8, np.float32),
        (np.int64, np.float32),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
def test_result_is_float32_unless_the_images_are_float64(function, given, expected):
    result = function(random_pixels((2, 1, 4, 4)).astype(given))
    results = result if isinstance(result, tuple) else (result,)
    assert [array.dtype for array in results] == [np.dtype(expected)] * len(results)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_channel_is_refused_by_name(value, dtype):
    images = random_pixels((5, 2, 6, 6)).astype(dtype)
    images[:, 1] = value
    with pytest.raises(ArgumentError, match=r"channel 1 has mean .* positive standard deviation"):
        standardize(images)


@pytest.mark.parametrize("std", [0.0, -1.0, np.nan, np.inf])
def test_a_given_std_that_cannot_be_divided_by_is_refused(std):
    with pytest.raises(ArgumentError, match="channel 0"):
        standardize(random_pixels((2, 1, 4, 4)), mean=[0.0], std=[std])


def test_images_that_are_not_finite_are_refused():
    images = random_pixels((2, 1, 4, 4)).astype(np.float32)
    images[1, 0, 2, 2] = np.nan
    with pytest.raises(ArgumentError, match="not finite"):
        standardize(images)


def test_only_one_statistic_is_refused():
    with pytest.raises(ArgumentError, match="got only mean"):
        standardize(random_pixels((2, 1, 4, 4)), mean=[0.0])
    with pytest.raises(ArgumentError, match="got only std"):
        standardize(random_pixels((2, 1, 4, 4)), std=[1.0])


def test_statistics_of_another_number_of_channels_are_refused():
    with pytest.raises(ShapeError, match=r"mean of shape \(3,\).*expected \(1,\)"):
        standardize(random_pixels((2, 1, 4, 4)), mean=[0, 0, 0], std=[1, 1, 1])
    with pytest.raises(ShapeError, match=r"std of shape \(\)"):
        standardize(random_pixels((2, 1, 4, 4)), mean=[0], std=1)


@pytest.mark.parametrize("shape", [(3, 2, 8, 6), (1, 1, 2, 2), (2, 1, 28, 28)])
def test_averaging_equals_a_plain_loop(shape):
    images = random_pixels(shape)
    result = average_2x2(images)
    N, C, H, W = shape
    expected = np.empty((N, C, H // 2, W // 2))
    for n, c, h, w in np.ndindex(*expected.shape):
        block = [int(images[n, c, 2 * h + i, 2 * w + j]) for i in (0, 1) for j in (0, 1)]
        expected[n, c, h, w] = sum(block) / 4
    assert result.shape == expected.shape
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)  # quarters of small integers are exact in float32


@pytest.mark.parametrize("shape", [(2, 1, 7, 8), (2, 1, 8, 7), (2, 1, 1, 1)])
def test_averaging_refuses_odd_sizes(shape):
    with pytest.raises(ShapeError, match=rf"average_2x2: got images of {shape[2]} x {shape[3]} pixels.*even"):
        average_2x2(random_pixels(shape))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (2, 1, 1, 4, 4), (0, 1, 4, 4)])
def test_other_ranks_and_no_images_are_refused(function, shape):
    with pytest.raises(ShapeError, match=rf"{function.__name__}: got images of shape.*expected \(N, C, H, W\)"):
        function(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.bool_, np.complex64, object])
def test_images_that_are_not_numbers_are_refused(function, dtype):
    with pytest.raises(DTypeError, match=f"{function.__name__}: got images of dtype"):
        function(np.ones((2, 1, 4, 4), dtype))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_list_is_refused(function):
    with pytest.raises(DTypeError, match="type list; expected a NumPy array"):
        function([[[[1, 2], [3, 4]]]])


@pytest.mark.parametrize("chunk", [1, 7, 20, 1000])
def test_statistics_by_chunks_are_those_of_the_whole(chunk):
    images = random_pixels((20, 3, 8, 6))
    mean, std = channel_mean_and_std(images, chunk)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, images.mean(axis=(0, 2, 3), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(std, images.std(axis=(0, 2, 3), dtype=np.float64), rtol=1e-6)


def test_batches_standardised_by_them_are_the_standardised_set():
    images = random_pixels((20, 3, 8, 6))
    mean, std = channel_mean_and_std(images)
    whole, _, _ = standardize(images)
    for n in range(0, 20, 5):
        np.testing.assert_allclose(standardize(images[n:n + 5], mean, std)[0], whole[n:n + 5], rtol=1e-5, atol=1e-6)


def test_statistics_of_what_are_no_images_are_refused():
    with pytest.raises(ShapeError, match="channel_mean_and_std"):
        channel_mean_and_std(np.ones((3, 4)))
    with pytest.raises(DTypeError, match="channel_mean_and_std"):
        channel_mean_and_std(np.full((1, 1, 2, 2), "a"))
