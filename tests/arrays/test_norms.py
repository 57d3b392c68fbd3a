"""Norms, ratios and cosines of arrays."""
import math

import numpy as np
import pytest

from minires.arrays import norms

A, B = np.array([3.0, 4.0]), np.array([4.0, 3.0])


def test_a_cosine():
    assert norms.cosine(A, B, np.float64(5.0), np.float64(5.0)) == pytest.approx(0.96, rel=1e-15)


@pytest.mark.parametrize("norm", [0.0, np.inf, np.nan])
def test_a_cosine_with_a_norm_that_is_zero_or_not_finite_is_nan(norm):
    assert np.isnan(norms.cosine(A, B, np.float64(norm), np.float64(5.0)))
    assert np.isnan(norms.cosine(A, B, np.float64(5.0), np.float64(norm)))


def test_a_ratio_to_zero_is_nan():
    assert np.isnan(norms.ratio(np.float64(1.0), np.float64(0.0)))
    assert norms.ratio(np.float64(1.0), np.float64(4.0)) == 0.25


@pytest.mark.parametrize("shape", [(1,), (3, 5), (norms.BLOCK,), (3, norms.BLOCK + 1)])
def test_the_norm_of_float32_values_is_that_of_their_float64_values(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for values in (x, x.T, x[..., ::2], np.float32(1e30) * x, np.float32(1e-30) * x):
        expected = math.sqrt(math.fsum(float(value) ** 2 for value in values.flat))
        assert norms.euclidean_norm(values) == pytest.approx(expected, rel=1e-14)
    assert norms.euclidean_norm(np.zeros((0, 3), np.float32)) == 0
    for value in (np.inf, np.nan):
        x.flat[-1] = value
        np.testing.assert_equal(norms.euclidean_norm(x), value)


def test_a_cosine_of_float32_arrays_in_any_order_of_memory():
    a, b = np.random.default_rng(0).standard_normal((2, 70, 130)).astype(np.float32)
    for one, other in ((a, b), (a.T, b.T), (a.T.copy().T, b), (a[:, ::2], b[:, ::2]), (np.float32(1e25) * a, b)):
        expected = math.fsum(float(x) * float(y) for x, y in zip(one.flat, other.flat, strict=True))
        of_each = norms.euclidean_norm(one), norms.euclidean_norm(other)
        assert norms.cosine(one, other, *of_each) == pytest.approx(expected / of_each[0] / of_each[1], rel=1e-12)
