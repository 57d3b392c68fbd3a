"""The theory beside which lessons print their numbers: published values, limits, and a fit that finds a known slope."""
import math

import numpy as np
import pytest

import minires as mr
from minires.course import measures, theory


@pytest.mark.parametrize(("v", "squared"), [(1, 0.05572), (16, 0.3989)])
def test_sigmoid_has_the_mean_field_factors_that_are_known(v, squared):
    # fixed points q* = 0.26469 and 5.855, computed with another program
    assert theory.mean_field_factor("sigmoid", math.sqrt(v)) ** 2 == pytest.approx(squared, rel=2e-4)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_mean_field_is_linear_for_small_weights(activation):
    gain = 0.01
    assert theory.mean_field_factor(activation, gain) == pytest.approx(theory.linear_factor(activation, gain), rel=1e-3)


def test_saturation_is_below_linear_theory_and_tanh_is_critical_at_1():
    assert theory.mean_field_factor("tanh", 2.0) < 0.75 * theory.linear_factor("tanh", 2.0)
    assert theory.mean_field_factor("tanh", 1.0) == pytest.approx(1, abs=2e-3)  # q falls as 1/(2 l), never reaching 0


def test_hes_variance_is_neutral_for_relu():
    assert theory.linear_factor("relu", math.sqrt(2)) == pytest.approx(1)


@pytest.mark.parametrize(("function", "mean"), [(lambda z: z, 2), (lambda z: z ** 2, 12), (np.cos, (1 + math.exp(-4)) / 2)])
def test_averages_over_a_normal_variable_of_variance_2(function, mean):
    assert theory.normal_mean_square(function, 2) == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("H", [4, 7, 14])
def test_the_padding_factor_is_the_largest_eigenvalue_of_the_padded_mean(H):
    mean = (np.eye(H) + np.eye(H, k=1) + np.eye(H, k=-1)) / 3
    assert theory.padding_factor(H) == pytest.approx(np.linalg.eigvalsh(mean)[-1])


@pytest.mark.parametrize("function", [theory.linear_factor, theory.mean_field_factor])
def test_an_unknown_activation_is_named(function):
    with pytest.raises(mr.UnknownNameError, match="'gelu': known are relu, tanh, sigmoid"):
        function("gelu", 1.0)


@pytest.mark.parametrize("factor", [0.2, 1.0, 1.5])
def test_the_fit_finds_the_slope_towards_the_input(factor):
    norms = 3.0 * factor ** (20.0 - np.arange(20))
    assert measures.factor_per_layer([norms, 10 * norms]) == pytest.approx([factor, factor])


def test_the_fit_leaves_out_the_ends_and_what_float32_cannot_hold():
    norms = 0.5 ** (30.0 - np.arange(30))
    norms[[0, 1, 2, -1]] = 1e9, 1e9, np.inf, 0
    norms[5:10] = 1e-40
    norms[12] = math.nan
    assert measures.factor_per_layer([norms])[0] == pytest.approx(0.5)
    assert math.isnan(measures.factor_per_layer([np.zeros(30)])[0])


def test_singular_values_are_those_of_the_jacobian_and_its_columns_are_not_mixed_up():
    generator = np.random.default_rng(0)
    net = mr.nn.Sequential(mr.nn.Linear(6, 4), mr.nn.Tanh(), mr.nn.Linear(4, 3)).astype(np.float64)
    first, second = (layer.weight.data for layer in (net[0], net[2]))
    x = generator.standard_normal((1, 6))
    slopes = 1 - np.tanh(x @ first.T + net[0].bias.data) ** 2     # (1, 4)
    expected = np.linalg.svd(second * slopes @ first, compute_uv=False) ** 2
    assert measures.squared_singular_values(net, mr.Tensor(x)) == pytest.approx(expected, rel=1e-12)


def test_singular_values_of_a_convolution_that_is_a_rotation_are_1():
    net = mr.nn.Conv2d(3, 3, 3, padding=1, bias=False).astype(np.float64)
    mr.nn.init.delta_orthogonal_(net.weight, np.random.default_rng(0), gain=2.0)
    x = mr.Tensor(np.random.default_rng(1).standard_normal((1, 3, 5, 4)))
    assert measures.squared_singular_values(net, x) == pytest.approx(np.full(60, 4.0), rel=1e-12)
