"""The pooling layers."""
from minires import ops
from minires.arguments import IntOrPair, pair
from minires.engine.tensor import Tensor
from minires.nn.module import Module


class _WindowPool2d(Module):
    """What max and average pooling share: a window, a stride and a padding."""

    def __init__(self, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0):
        super().__init__()
        kind = type(self).__name__
        self.kernel_size: tuple[int, int] = pair(kind, "kernel_size", kernel_size)
        self.stride: tuple[int, int] = self.kernel_size if stride is None else pair(kind, "stride", stride)
        self.padding: tuple[int, int] = pair(kind, "padding", padding, smallest=0)

    def extra_repr(self) -> str:
        """The three sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_WindowPool2d):
    """The largest value of each window of x (N, C, H, W); padding never wins. See `ops.max_pool2d`.

    Args:
        kernel_size, stride, padding: an integer, or a pair (vertical, horizontal); stride is kernel_size by default.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, OH, OW)."""
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_WindowPool2d):
    """The mean of each window of x (N, C, H, W), with padding counted as zeros. See `ops.avg_pool2d`.

    Args:
        kernel_size, stride, padding: an integer, or a pair (vertical, horizontal); stride is kernel_size by default.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, OH, OW)."""
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class GlobalAvgPool2d(Module):
    """The mean over all positions of each channel. See `ops.global_avg_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C)."""
        return ops.global_avg_pool2d(x)
