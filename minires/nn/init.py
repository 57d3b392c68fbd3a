"""Initialisers: each draws a weight with NumPy's generator on the host and writes it in place, on any device.

A weight is (O, C, KH, KW) for a convolution and (O, I) for a linear layer; each of its O outputs is a sum of
fan_in = C·KH·KW (or I) products, and each of its inputs takes part in fan_out = O·KH·KW (or O) of them. A weight does not
say into how many groups its convolution splits the channels: its C is that of one group, so that fan_in is right, and its
O that of all, so that fan_out counts the outputs of all groups, as in PyTorch.
"""
import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np

from minires.arguments import function, instance, number, random_generator, text, whole_number
from minires.engine.tensor import Tensor
from minires.errors import ShapeError
from minires.nn.module import Module, write_array

Initialiser: TypeAlias = Callable[[Tensor, np.random.Generator], Any]
ModuleT = TypeVar("ModuleT", bound=Module)

INITIALISER = "an initialiser, such as nn.init.he_normal_"


def fans(weight: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (O, C, KH, KW) or (O, I), from its shape alone, as in PyTorch.

    In a convolution of G groups an input takes part in fan_out / G sums only: there `glorot_normal_` and `glorot_uniform_`
    draw smaller weights than their formula, with the true fan_out, would.

    Raises:
        ShapeError: the weight has fewer than two axes, or no values.
        DTypeError: this is no tensor.
    """
    if _checked(weight).ndim < 2:
        raise ShapeError(f"init: {weight!r} has {weight.ndim} axes: fan_in is defined for weights (O, C, KH, KW) "
                         "and (O, I). Initialise biases and scales with zeros_, ones_ or normal_")
    if weight.size == 0:
        raise ShapeError(f"init: {weight!r} has no values to draw")
    outputs, inputs, *kernel = weight.shape
    return inputs * math.prod(kernel), outputs * math.prod(kernel)


def he_normal_(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    """N(0, 2/fan_in): keeps the mean square of the signal through layers followed by ReLU.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    fan_in, _fan_out = fans(tensor)
    return normal_(tensor, generator, std=math.sqrt(2 / fan_in))


def lecun_normal_(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    """N(0, 1/fan_in): keeps the mean square of the signal through linear layers.

    Source: LeCun et al. 1998, "Efficient backprop", section 4.6.
    """
    fan_in, _fan_out = fans(tensor)
    return normal_(tensor, generator, std=math.sqrt(1 / fan_in))


def glorot_normal_(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    """N(0, 2/(fan_in + fan_out)): the compromise between keeping the signal and keeping the gradient.

    Source: Glorot & Bengio 2010, equation 12.
    """
    return normal_(tensor, generator, std=math.sqrt(2 / sum(fans(tensor))))


def glorot_uniform_(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    """Uniform on ±sqrt(6/(fan_in + fan_out)), which has the variance of `glorot_normal_`.

    Source: Glorot & Bengio 2010, equation 16.
    """
    bound = math.sqrt(6 / sum(fans(tensor)))
    generator = random_generator("init", generator)
    write_array(f"init: {tensor!r}", tensor.data, generator.uniform(-bound, bound, size=tensor.shape))
    return tensor


def normal_(tensor: Tensor, generator: np.random.Generator, std: float = 0.01) -> Tensor:
    """N(0, std²), for a tensor of any shape."""
    shape, std = _checked(tensor).shape, number("init", "std", std)
    write_array(f"init: {tensor!r}", tensor.data, random_generator("init", generator).normal(0.0, std, size=shape))
    return tensor


def orthogonal_(tensor: Tensor, generator: np.random.Generator, gain: float = 1.0) -> Tensor:
    """`gain` times a random matrix with orthonormal rows or columns (whichever are fewer), as (O, fan_in).

    Source: Saxe et al. 2013, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks".
    """
    fan_in, _fan_out = fans(tensor)
    gain = number("init", "gain", gain, smallest=-math.inf)
    matrix = orthogonal_matrix(tensor.shape[0], fan_in, generator)  # (O, C * KH * KW)
    write_array(f"init: {tensor!r}", tensor.data, gain * matrix.reshape(tensor.shape))  # (O, C * KH * KW) -> (O, C, KH, KW)
    return tensor


def delta_orthogonal_(tensor: Tensor, generator: np.random.Generator, gain: float = 1.0) -> Tensor:
    """`gain` times an orthogonal matrix at the kernel's centre, zero elsewhere: the convolution keeps every norm.

    Source: Xiao et al. 2018, "Dynamical isometry and a mean field theory of CNNs", algorithm 2.

    Raises:
        ShapeError: the weight is not a convolution's, its kernel has no centre, or it has fewer outputs than inputs.
    """
    _checked(tensor)
    if tensor.ndim != 4 or tensor.shape[2] % 2 == 0 or tensor.shape[3] % 2 == 0 or tensor.shape[0] < tensor.shape[1]:
        raise ShapeError(f"delta_orthogonal_: got {tensor!r}, expected a weight (O, C, KH, KW) with odd KH and KW and "
                         "O >= C, as fewer outputs than inputs cannot keep the norm. Use orthogonal_ for others")
    outputs, inputs, height, width = tensor.shape
    gain = number("init", "gain", gain, smallest=-math.inf)
    weight = np.zeros(tensor.shape)
    weight[:, :, height // 2, width // 2] = gain * orthogonal_matrix(outputs, inputs, generator)
    write_array(f"init: {tensor!r}", tensor.data, weight)
    return tensor


def zeros_(tensor: Tensor, generator: np.random.Generator | None = None) -> Tensor:
    """All zeros; draws nothing."""
    if generator is not None:
        random_generator("init", generator)
    write_array(f"init: {_checked(tensor)!r}", tensor.data, np.zeros(()))
    return tensor


def ones_(tensor: Tensor, generator: np.random.Generator | None = None) -> Tensor:
    """All ones; draws nothing."""
    if generator is not None:
        random_generator("init", generator)
    write_array(f"init: {_checked(tensor)!r}", tensor.data, np.ones(()))
    return tensor


def orthogonal_matrix(rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """A (rows, columns) matrix, uniformly distributed among those with orthonormal rows or columns."""
    rows, columns = whole_number("init", "rows", rows), whole_number("init", "columns", columns)
    gaussian = random_generator("init", generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(gaussian)  # (max, min), (min, min)
    q *= np.sign(np.diagonal(r))  # QR fixes no signs; with these the distribution is uniform (Mezzadri 2007)
    return q if rows >= columns else q.T


def _checked(tensor: Tensor) -> Tensor:
    """The tensor to draw, or a DTypeError."""
    return instance("init", "tensor", tensor, Tensor, "a tensor, such as layer.weight")


def generator_for(seed: int, name: str) -> np.random.Generator:
    """The generator of one parameter: it depends on the seed and the dotted name, and on nothing else.

    Raises:
        ArgumentError: the seed is not a non-negative integer.
    """
    seed = whole_number("init", "seed", seed, smallest=0)
    return np.random.default_rng([seed, *text("init", "name", name).encode("utf-8")])


def initialize_(module: ModuleT, init: Initialiser, seed: int, linear_init: Initialiser | None = None) -> ModuleT:
    """Draw every weight of the convolutions and linear layers below `module`, each from `generator_for(seed, name)`.

    So a net and its twin that lacks some of its layers start from equal weights in all that they share, whatever the
    order in which they were made.

    Args:
        module: a `Module`; every parameter called "weight" with two or more axes is drawn, but those of embeddings and of
            norms, whose classes say so (`is_drawn_as_weight`).
        init: an initialiser, `init(tensor, generator)`.
        seed: an integer that is not negative.
        linear_init: the initialiser of the linear layers' weights (O, I); `init` where this is None.

    Raises:
        DTypeError: this is no module, or an initialiser cannot be called.
        ArgumentError: the seed is not an integer that is not negative.
    """
    instance("initialize_", "module", module, Module, "an nn.Module")
    seed = whole_number("initialize_", "seed", seed, smallest=0)
    init = function("initialize_", "init", init, INITIALISER)
    linear_init = init if linear_init is None else function("initialize_", "linear_init", linear_init, INITIALISER)
    others = {id(parameter) for part in (each for _name, each in module.named_modules() if not each.is_drawn_as_weight)
              for _name, parameter in part.own_parameters()}
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2] == "weight" and parameter.ndim >= 2 and id(parameter) not in others:
            chosen = linear_init if parameter.ndim == 2 else init
            chosen(parameter, generator_for(seed, name))
    return module
