"""Norms, ratios and cosines of arrays."""
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
