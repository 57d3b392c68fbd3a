"""RMSProp: steps that are divided by the root of the mean square of the gradients."""
from typing import Any

from minires.arguments import flag, number
from minires.arrays.backend import Array, array_module
from minires.optim.groups import Parameters, Setting, share
from minires.optim.optimizer import Optimizer


class RMSProp(Optimizer):
    """RMSProp: Hinton's lecture 6e of 2012 (Neural Networks for Machine Learning), in PyTorch's form.

        g = dL/dw + weight_decay · w
        v = alpha · v + (1 - alpha) g²            the moving mean of g², from 0
        w = w - lr · g / (√v + eps)

    With momentum, b = momentum · b + g / (√v + eps), from 0, and w = w - lr · b. If `centered`, the variance v - m² stands
    in the place of v, with m the moving mean of g (Graves 2013, arXiv:1308.0850, equations 38 to 45).

    Args:
        params: the tensors to train, `model.parameters()`, or groups of them: see `Optimizer`.
        lr: the learning rate, not negative; it may be set at any time.
        alpha: how much of v stays in a step, from 0 to below 1.
        eps: keeps the quotient small where v is about 0.
        weight_decay: the factor of w in g.
        momentum: 0 or more.
        centered: divide by the standard deviation.

    Raises:
        ArgumentError: a number is out of range, or `params` is empty or names a tensor twice.
        DTypeError: `params` holds something that is not a tensor with requires_grad=True.
    """

    keeps: tuple[str, ...] = ("mean_square", "mean", "velocity")  # v; m if it is centered; b with momentum
    alpha: Setting[float] = Setting(share)
    eps: Setting[float] = Setting(number)
    weight_decay: Setting[float] = Setting(number)
    momentum: Setting[float] = Setting(number)
    centered: Setting[bool] = Setting(flag)

    def __init__(self, params: Parameters, lr: float = 0.01, alpha: float = 0.99,
                 eps: float = 1e-8, weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False) -> None:
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
                         centered=centered)

    def update(self, i: int, w: Array, g: Array, group: dict[str, Any]) -> None:
        """Move w, in place; v is kept, and m and b where they are used."""
        alpha = group["alpha"]
        if group["weight_decay"] != 0:
            g = g + group["weight_decay"] * w
        v = self.kept("mean_square", i, w)
        v *= alpha
        v += (1 - alpha) * (g * g)
        variance = v
        if group["centered"]:
            m = self.kept("mean", i, w)
            m += (1 - alpha) * (g - m)
            variance = v - m * m
        step = g / (array_module(w).sqrt(variance) + group["eps"])
        if group["momentum"] != 0:
            b = self.kept("velocity", i, w)
            b *= group["momentum"]
            b += step
            step = b
        w -= group["lr"] * step
