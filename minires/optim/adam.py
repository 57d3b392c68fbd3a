"""Adam, and AdamW, which decays the weights apart from the gradient."""
import math
from typing import Any

from minires.arguments import flag, number
from minires.arrays.backend import Array, array_module
from minires.optim.groups import Parameters, Setting, pair_of_shares
from minires.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Adam: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, in PyTorch's form.

        g = dL/dw + weight_decay · w
        m = β₁ m + (1 - β₁) g                     the moving mean of g ...
        v = β₂ v + (1 - β₂) g²                    ... and of its square, both from 0
        w = w - lr · m̂ / (√v̂ + eps)               m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ), in step t: not drawn towards 0

    With `amsgrad`, the largest v so far stands in the place of v (Reddi, Kale and Kumar 2018, arXiv:1904.09237). A parameter
    whose `grad` is None is left as it is, and its t does not count on.

    Args:
        params: the tensors to train, `model.parameters()`, or groups of them: see `Optimizer`.
        lr: the learning rate, not negative: about how far each weight moves in a step. It may be set at any time.
        betas: (β₁, β₂), from 0 to below 1.
        eps: keeps the quotient small where v is about 0.
        weight_decay: the factor of w in g, which m and v then see as part of the gradient; AdamW does otherwise.
        amsgrad: divide by the largest v.

    Raises:
        ArgumentError: a number is out of range, or `params` is empty or names a tensor twice.
        DTypeError: `params` holds something that is not a tensor with requires_grad=True.
    """

    keeps: tuple[str, ...] = ("mean", "mean_square", "largest_mean_square")  # m, v, and with amsgrad the largest v
    together: tuple[str, ...] = ("mean", "mean_square")
    betas: Setting[tuple[float, float]] = Setting(pair_of_shares)
    eps: Setting[float] = Setting(number)
    weight_decay: Setting[float] = Setting(number)
    amsgrad: Setting[bool] = Setting(flag)

    def __init__(self, params: Parameters, lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0,
                 amsgrad: bool = False) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)

    def update(self, i: int, w: Array, g: Array, group: dict[str, Any]) -> None:
        """Move w, in place; m and v are kept."""
        g = self.decayed(w, g, group)
        beta1, beta2 = group["betas"]
        m, v = self.kept("mean", i, w), self.kept("mean_square", i, w)
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * (g * g)
        if group["amsgrad"]:
            largest = self.kept("largest_mean_square", i, w)
            v = array_module(w).maximum(largest, v, out=largest)
        t = self.steps[i]
        root = array_module(w).sqrt(v) / math.sqrt(1 - beta2 ** t) + group["eps"]    # √v̂ + eps
        w -= group["lr"] / (1 - beta1 ** t) * (m / root)

    def decayed(self, w: Array, g: Array, group: dict[str, Any]) -> Array:
        """The gradient with weight decay."""
        return g + group["weight_decay"] * w if group["weight_decay"] != 0 else g


class AdamW(Adam):
    """Adam whose weight decay is apart from the gradient: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.

        w = w - lr · weight_decay · w             then Adam's step, with g = dL/dw

    So m and v do not see the decay, and it is not divided by √v̂: a weight whose gradients are large decays as any other.

    Args:
        params, lr, betas, eps, amsgrad: as Adam's.
        weight_decay: how fast weights decay, times lr: 0.01 by default, as PyTorch.

    Raises:
        ArgumentError, DTypeError: as Adam.
    """

    def __init__(self, params: Parameters, lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01,
                 amsgrad: bool = False) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)

    def decayed(self, w: Array, g: Array, group: dict[str, Any]) -> Array:
        """The gradient as it is; w decays, in place."""
        if group["weight_decay"] != 0:
            w *= 1 - group["lr"] * group["weight_decay"]
        return g
