"""How the lessons measure a gradient's size: the factor of a layer, and singular values."""
import math

import numpy as np
from numpy.typing import ArrayLike

from minires.engine.tensor import Tensor
from minires.nn.module import Module

SMALLEST_NORMAL = 1.2e-38  # float32 has fewer digits below, and ends at 1.4e-45
LARGEST = 3.4e38  # of float32


def factor_per_layer(norms: ArrayLike) -> np.ndarray:
    """By what each layer multiplies ‖dL/dx‖ on its way to the input, from a straight line through its logarithms.

    The layers at the two ends are left out, a tenth of the net each, and so are layers whose gradient is below what float32
    holds well.

    Args:
        norms: (seeds, layers), the norms in forward order.

    Returns:
        (seeds,), NaN where fewer than three layers are left.
    """
    factors = []
    for row in np.asarray(norms, dtype=np.float64):             # (layers,)
        ends = max(1, len(row) // 10)
        layers = np.arange(len(row))[ends:-ends]
        drawable = np.isfinite(row[layers]) & (row[layers] > 1e4 * SMALLEST_NORMAL)  # a sum of squares of far smaller values
        layers = layers[drawable]
        factors.append(math.exp(-np.polyfit(layers, np.log(row[layers]), 1)[0]) if len(layers) > 2 else math.nan)
    return np.array(factors)


def squared_singular_values(net: Module, x: Tensor) -> np.ndarray:
    """s² of the Jacobian ∂y/∂x of a net at one input, the largest first.

    A backward pass gives one row of the Jacobian. With a batch of copies of the input, and the unit vectors as gradients of
    the outputs, it gives them all. So no example may look at the others: a net with batch norm has to be in `eval()`.

    Args:
        net: a module; of float64, or the small values are rounding errors.
        x: a tensor (1, …), on the net's device.

    Returns:
        As many as there are inputs or outputs, whichever are fewer.
    """
    outputs = net(x).shape                                      # (1, …)
    n = math.prod(outputs)
    copies = Tensor(np.repeat(x.numpy(), n, axis=0)).to(x.device)
    copies.requires_grad = True
    unit_vectors = Tensor(np.eye(n, dtype=x.dtype).reshape(n, *outputs[1:])).to(x.device)
    net(copies).backward(unit_vectors.data)
    jacobian = Tensor(copies.grad).numpy().reshape(n, -1)       # (outputs, inputs)
    return np.linalg.svd(jacobian, compute_uv=False) ** 2
