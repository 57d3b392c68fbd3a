"""Gradients that are too large, made smaller: all by one factor, so that their direction stays."""
import math
from collections.abc import Iterable

import numpy as np

from minires.arguments import flag, list_of, number
from minires.arrays.backend import Array, array_module, beside, use_device_of
from minires.arrays.norms import euclidean_norm
from minires.engine.tensor import Tensor
from minires.errors import AnomalyError


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, error_if_nonfinite: bool = False) -> Array:
    """Scale the gradients of all parameters by one factor, so that their norm together is at most `max_norm`.

    Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, algorithm 1, in PyTorch's form: the factor is
    max_norm / (norm + 1e-6), if that is less than 1. Call it between `backward()` and `step()`; each `grad` is then another
    array.

    A norm that is not finite says that a gradient is not. Then the factor is 0 where the norm is inf, and NaN where it is
    NaN, and what is not finite in the gradients becomes NaN, as in PyTorch: nothing is hidden, and nothing waits for a GPU
    to tell. With `error_if_nonfinite`, it is an error instead, and the gradients stay as they are.

    Args:
        parameters: `model.parameters()`, or one tensor; those without a gradient are passed over.
        max_norm: not negative; math.inf changes nothing, and tells the norm.
        error_if_nonfinite: raise, instead of scaling by what is no number? This waits for a GPU.

    Returns:
        The norm before: √Σ g² over all elements of all gradients, an array () of float64 on their device.

    Raises:
        AnomalyError: with `error_if_nonfinite`, a gradient holds NaN or inf, or their squares overflow.
        ArgumentError: `max_norm` is negative.
        DTypeError: `parameters` holds something that is not a tensor.
    """
    max_norm = number("clip_grad_norm_", "max_norm", max_norm, largest=math.inf)
    error_if_nonfinite = flag("clip_grad_norm_", "error_if_nonfinite", error_if_nonfinite)
    with_gradient = [parameter for parameter in _listed(parameters) if parameter.grad is not None]
    if not with_gradient:
        return np.zeros(())
    first = with_gradient[0].grad
    norms = []
    for parameter in with_gradient:
        use_device_of(parameter.grad)
        norms.append(beside(array_module(parameter.grad).asarray(euclidean_norm(parameter.grad)), first))
    use_device_of(first)
    xp = array_module(first)
    norm = xp.asarray(euclidean_norm(xp.stack(norms)))                      # of the norms: (parameters,) -> ()
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise AnomalyError(f"clip_grad_norm_: the norm of the gradients is {float(norm)}: {_culprit(with_gradient, norms)}. "
                           "mr.detect_anomaly() finds the op")
    factor = xp.minimum(max_norm / (norm + 1e-6), 1.0)                      # NaN where the norm is
    for parameter in with_gradient:
        use_device_of(parameter.grad)
        parameter.grad = parameter.grad * beside(factor, parameter.grad).astype(parameter.dtype)
    return norm


def _listed(parameters):
    if isinstance(parameters, Tensor):
        return [parameters]
    return list_of("clip_grad_norm_", "parameters", parameters, Tensor, "tensors: of a model, model.parameters()")


def _culprit(parameters, norms):
    """Which gradient is not finite, as text."""
    for parameter, norm in zip(parameters, norms, strict=True):
        if not math.isfinite(float(norm)):
            return f"that of {parameter!r} is {float(norm)}"
    return "together their squares overflow"
