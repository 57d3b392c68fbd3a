"""What theory says of a gradient's size in a net at initialisation, and how the lessons measure it.

A *factor* is by what one layer multiplies the norm of the gradient, ‖dL/dx‖, on its way from the loss towards the input:
below 1 it vanishes, above 1 it explodes. Much of the literature speaks of the mean of squares; there the factor is squared.
"""
import math
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np

from minires.errors import UnknownNameError

Function: TypeAlias = Callable[[np.ndarray], np.ndarray]  # element by element


def relu(z: np.ndarray) -> np.ndarray:
    """max(0, z)."""
    return np.maximum(z, 0)


def relu_slope(z: np.ndarray) -> np.ndarray:
    """1 where z > 0, else 0."""
    return (z > 0).astype(float)


def tanh_slope(z: np.ndarray) -> np.ndarray:
    """1 - tanh(z)²."""
    return 1 - np.tanh(z) ** 2


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + e⁻ᶻ)."""
    return 1 / (1 + np.exp(-z))


def sigmoid_slope(z: np.ndarray) -> np.ndarray:
    """φ(z) (1 - φ(z)), 1/4 at most."""
    return sigmoid(z) * (1 - sigmoid(z))


ACTIVATIONS: dict[str, tuple[Function, Function]] = {  # φ, φ′
    "relu": (relu, relu_slope), "tanh": (np.tanh, tanh_slope), "sigmoid": (sigmoid, sigmoid_slope),
}


def padding_factor(H: int) -> float:
    """λ = (1 + 2 cos(π/(H + 1)))/3: what zero padding takes from a 3 x 3 convolution's factor on images of H x H.

    The largest eigenvalue of the mean over three neighbours in a row of H; squared for two dimensions, and rooted, as a
    norm is the root of a mean of squares. Our derivation.
    """
    return (1 + 2 * math.cos(math.pi / (H + 1))) / 3


def linear_factor(activation: str, gain: float) -> float:
    """The factor of a layer while its activation is in its linear range.

    Args:
        activation: "relu", "tanh" or "sigmoid".
        gain: sqrt(fan_in · σ²), for weights of variance σ².

    Returns:
        gain · sqrt(1/2) for ReLU, whose slope is 1 for half of the values (He et al. 2015, arXiv:1502.01852, eq. 10 and 14);
        gain for tanh and gain/4 for sigmoid, their slopes at 0 (Glorot & Bengio 2010, section 4.2.1).
    """
    slopes = {"relu": math.sqrt(1 / 2), "tanh": 1.0, "sigmoid": 1 / 4}
    if activation not in slopes:
        raise UnknownNameError(f"linear_factor: unknown activation {activation!r}: known are {', '.join(slopes)}")
    return gain * slopes[activation]


def mean_field_factor(activation: str, gain: float) -> float:
    """The factor of a wide layer, whether or not its activation saturates.

    The inputs of an activation are then normal, N(0, q), and q repeats itself from layer to layer once it has settled:
    q = gain² E[φ(z)²]. The factor is gain · sqrt(E[φ′(z)²]) (Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017,
    arXiv:1611.01232).

    Args:
        activation, gain: as in `linear_factor`.
    """
    if activation not in ACTIVATIONS:
        raise UnknownNameError(f"mean_field_factor: unknown activation {activation!r}: known are {', '.join(ACTIVATIONS)}")
    phi, slope = ACTIVATIONS[activation]
    if activation == "relu":
        return linear_factor("relu", gain)  # it has no q to settle: ReLU passes any scale on
    q = 1.0
    for _ in range(1000):
        q = gain ** 2 * normal_mean_square(phi, q)
    return gain * math.sqrt(normal_mean_square(slope, q))


def normal_mean_square(function: Function, q: float) -> float:
    """E[function(z)²] over z ~ N(0, q), by Gauss and Hermite's rule with 101 nodes: for smooth functions."""
    nodes, weights = _nodes_and_weights()
    return float(weights @ function(math.sqrt(q) * nodes) ** 2)


@cache
def _nodes_and_weights():
    """Of Gauss and Hermite's rule for N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    return nodes, weights / weights.sum()


