"""Stochastic gradient descent with momentum."""
from typing import Any

from minires.arguments import flag, number
from minires.arrays.backend import Array, array_module, beside
from minires.errors import ArgumentError
from minires.optim.groups import Parameters, Setting
from minires.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, in PyTorch's form.

        g = dL/dw + weight_decay · w
        v = momentum · v + g                      (v = g in the first step)
        w = w - lr · v                            (nesterov: w - lr · (g + momentum · v))

    The learning rate is outside of v, unlike in Sutskever et al. 2013 (ICML, equations 1 and 2), so that a change of `lr`
    acts at once. A parameter whose `grad` is None is left as it is.

    Args:
        params: the tensors to train, `model.parameters()`, or groups of them: see `Optimizer`. One that wants no gradient, a
            frozen one, is left alone.
        lr: the learning rate, not negative; `optimizer.lr` may be set at any time.
        momentum: 0 or more, usually 0.9.
        weight_decay: the factor of w in g: that of the penalty weight_decay/2 · ‖w‖².
        nesterov: look ahead along v; needs momentum.

    Attributes:
        velocities: for each parameter v, or None before its first step.

    Raises:
        ArgumentError: a number is negative, `params` is empty or names a tensor twice, nesterov without momentum.
        DTypeError: `params` holds something that is not a tensor with requires_grad=True.
    """

    keeps: tuple[str, ...] = ("velocity",)
    momentum: Setting[float] = Setting(number)
    weight_decay: Setting[float] = Setting(number)
    nesterov: Setting[bool] = Setting(flag)

    def __init__(self, params: Parameters, lr: float, momentum: float = 0.0,
                 weight_decay: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    @property
    def velocities(self) -> list[Array | None]:
        """For each parameter v, or None before its first step with momentum."""
        return self.arrays["velocity"]

    def check_group(self, group: dict[str, Any]) -> None:
        """Raise where there is nothing to look ahead along."""
        if group["nesterov"] and group["momentum"] == 0:
            raise ArgumentError("SGD: nesterov=True looks ahead along the momentum, but momentum is 0: set it, say to 0.9")

    def update(self, i: int, w: Array, g: Array, group: dict[str, Any]) -> None:
        """Move w, in place; v is kept."""
        lr, momentum, weight_decay = group["lr"], group["momentum"], group["weight_decay"]
        if weight_decay != 0:
            g = g + weight_decay * w
        if momentum != 0:
            v = self.velocities[i]
            if v is None:
                v = array_module(g).array(g, dtype=w.dtype)  # our own: g may be the parameter's grad
            else:
                v = beside(v, w)  # the parameter may have moved to another device
                v *= momentum
                v += g
            self.velocities[i] = v
            g = g + momentum * v if group["nesterov"] else v
        w -= lr * g
