"""The batch normalisation layer."""
import numpy as np

from minires import ops
from minires.arguments import number, whole_number
from minires.engine.tensor import Tensor
from minires.nn.module import Module


class BatchNorm2d(Module):
    """Normalises each channel of x (N, C, H, W) over the batch, then scales and shifts it; see `ops.batch_norm`.

    Weight starts at 1 and bias at 0 (Ioffe & Szegedy 2015, algorithm 1: γ and β). While training, the statistics are
    those of the batch; in evaluation, the running averages.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the share of the batch's statistics in the new running statistics.

    Raises:
        ArgumentError: `num_features` is not a positive integer, `eps` is negative, or `momentum` is not from 0 to 1.

    Attributes:
        running_mean, running_var: buffers (C,), arrays.
        freeze_statistics: in backward, treat the batch's statistics as constants. False; a lesson on shattered
            gradients sets it.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.num_features: int = whole_number("BatchNorm2d", "num_features", num_features)
        self.eps: float = number("BatchNorm2d", "eps", eps)
        self.momentum: float = number("BatchNorm2d", "momentum", momentum, largest=1)
        self.freeze_statistics: bool = False
        self.weight: Tensor = Tensor(np.ones(num_features, np.float32), requires_grad=True)
        self.bias: Tensor = Tensor(np.zeros(num_features, np.float32), requires_grad=True)
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return ops.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.training,
                              self.momentum, self.eps, self.freeze_statistics)

    def extra_repr(self) -> str:
        """The number of channels and the two constants."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
