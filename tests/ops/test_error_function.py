"""The complementary error function against Python's own, which knows one number at a time."""
import math

import numpy as np
import pytest

from minires.ops.error_function import FAR, NEAR, erfc

EDGES = [edge * sign * (1 + tiny) for edge in (NEAR, FAR) for sign in (1, -1) for tiny in (-1e-15, 0, 1e-15)]


def exact(x):
    return np.array([math.erfc(value) for value in x.tolist()])


def test_in_float64_it_is_that_of_python_to_the_last_digits():
    x = np.concatenate([np.linspace(-7, 26, 9001), np.geomspace(1e-300, 1, 500), EDGES])
    error = np.abs(erfc(x) - exact(x)) / exact(x)
    assert (error / np.maximum(1, x * x)).max() <= 1e-15
    assert error[x <= 1].max() <= 1e-15


def test_in_float32_it_rounds_a_few_times():
    x = np.concatenate([np.linspace(-7, 8, 3001), EDGES]).astype(np.float32)
    y, right = erfc(x), exact(x)
    assert y.dtype == np.float32
    assert (np.abs(y - right) / right / np.maximum(1, x * x)).max() <= 5e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_away_and_at_0_it_is_exact_and_nan_stays(dtype):
    x = np.array([-np.inf, -1e30, -40, -0.0, 0.0, 40, 1e30, np.inf], dtype)
    np.testing.assert_array_equal(erfc(x), [2, 2, 2, 1, 1, 0, 0, 0])
    assert np.isnan(erfc(np.array([np.nan], dtype)))


def test_a_single_number_is_taken_too():
    assert erfc(np.array(0.25)) == pytest.approx(math.erfc(0.25), rel=1e-15)
