"""The convolution layers: of images, of sequences, and transposed."""
import math

import numpy as np

from minires import ops
from minires.arguments import IntOrPair, flag, given_or_new_generator, pair, whole_number
from minires.arrays.backend import MaybeNone
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError
from minires.nn import init
from minires.nn.module import Module


class Conv2d(Module):
    """y = weight * x + bias, for x (N, C, H, W) and weight (O, C / groups, KH, KW); see `ops.conv2d`.

    Weights are He-normal, biases zero.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: an integer, or a pair (vertical, horizontal).
        groups: C and O are split into this many groups that do not see each other.
        bias: is there one, (O,)?
        generator: a `np.random.Generator` that draws the weight; an unseeded one by default.

    Raises:
        ArgumentError: a size is not a positive integer, or the channels cannot be split into the groups.
        DTypeError: `generator` is none of NumPy's.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: IntOrPair, stride: IntOrPair = 1,
                 padding: IntOrPair = 0, dilation: IntOrPair = 1, groups: int = 1, bias: bool = True, *,
                 generator: np.random.Generator | None = None):
        super().__init__()
        self.in_channels: int = whole_number("Conv2d", "in_channels", in_channels)
        self.out_channels: int = whole_number("Conv2d", "out_channels", out_channels)
        self.kernel_size: tuple[int, int] = pair("Conv2d", "kernel_size", kernel_size)
        self.stride: tuple[int, int] = pair("Conv2d", "stride", stride)
        self.padding: tuple[int, int] = pair("Conv2d", "padding", padding, smallest=0)
        self.dilation: tuple[int, int] = pair("Conv2d", "dilation", dilation)
        self.groups: int = whole_number("Conv2d", "groups", groups)
        _check_groups("Conv2d", in_channels, out_channels, groups)
        shape = (out_channels, in_channels // groups, *self.kernel_size)  # (O, C / groups, KH, KW)
        self.weight: Tensor = Tensor(np.empty(shape, np.float32), requires_grad=True)
        has_bias = flag("Conv2d", "bias", bias)
        init.he_normal_(self.weight, given_or_new_generator("Conv2d", generator))
        self.bias: Tensor | MaybeNone = Tensor(np.zeros(out_channels, np.float32), requires_grad=True) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW)."""
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, and the sizes."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0, 0):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class Conv1d(Module):
    """y = weight * x + bias, for x (N, C, L) and weight (O, C / groups, K); see `ops.conv1d`.

    Weights are He-normal, biases zero.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: integers.
        groups: C and O are split into this many groups that do not see each other.
        bias: is there one, (O,)?
        generator: a `np.random.Generator` that draws the weight; an unseeded one by default.

    Raises:
        ArgumentError: a size is not a positive integer, or the channels cannot be split into the groups.
        DTypeError: `generator` is none of NumPy's.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0,
                 dilation: int = 1, groups: int = 1, bias: bool = True, *, generator: np.random.Generator | None = None):
        super().__init__()
        self.in_channels: int = whole_number("Conv1d", "in_channels", in_channels)
        self.out_channels: int = whole_number("Conv1d", "out_channels", out_channels)
        self.kernel_size: int = whole_number("Conv1d", "kernel_size", kernel_size)
        self.stride: int = whole_number("Conv1d", "stride", stride)
        self.padding: int = whole_number("Conv1d", "padding", padding, smallest=0)
        self.dilation: int = whole_number("Conv1d", "dilation", dilation)
        self.groups: int = whole_number("Conv1d", "groups", groups)
        _check_groups("Conv1d", in_channels, out_channels, groups)
        shape = (out_channels, in_channels // groups, kernel_size)  # (O, C / groups, K)
        self.weight: Tensor = Tensor(np.empty(shape, np.float32), requires_grad=True)
        has_bias = flag("Conv1d", "bias", bias)
        init.he_normal_(self.weight, given_or_new_generator("Conv1d", generator))
        self.bias: Tensor | MaybeNone = Tensor(np.zeros(out_channels, np.float32), requires_grad=True) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, L) -> (N, O, OL)."""
        return ops.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """The arguments."""
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}")


class ConvTranspose2d(Module):
    """Lays down kernels `stride` pixels apart, for x (N, C, H, W) and weight (C, O / groups, KH, KW); see
    `ops.conv_transpose2d`.

    Weights are drawn from N(0, 2 / fan_in), where fan_in = C / groups · KH · KW / (SH · SW) is how many products a pixel of
    y is the sum of, on average; biases are zero. (`nn.init.initialize_`, whose fans are those of `Conv2d`, leaves them so.)

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, output_padding, dilation: an integer, or a pair (vertical, horizontal).
        groups: C and O are split into this many groups that do not see each other.
        bias: is there one, (O,)?
        generator: a `np.random.Generator` that draws the weight; an unseeded one by default.

    Raises:
        ArgumentError: a size is not a positive integer, or the channels cannot be split into the groups.
        DTypeError: `generator` is none of NumPy's.
    """

    is_drawn_as_weight = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: IntOrPair, stride: IntOrPair = 1,
                 padding: IntOrPair = 0, output_padding: IntOrPair = 0, groups: int = 1, bias: bool = True,
                 dilation: IntOrPair = 1, *, generator: np.random.Generator | None = None):
        super().__init__()
        self.in_channels: int = whole_number("ConvTranspose2d", "in_channels", in_channels)
        self.out_channels: int = whole_number("ConvTranspose2d", "out_channels", out_channels)
        self.kernel_size: tuple[int, int] = pair("ConvTranspose2d", "kernel_size", kernel_size)
        self.stride: tuple[int, int] = pair("ConvTranspose2d", "stride", stride)
        self.padding: tuple[int, int] = pair("ConvTranspose2d", "padding", padding, smallest=0)
        self.output_padding: tuple[int, int] = pair("ConvTranspose2d", "output_padding", output_padding, smallest=0)
        self.groups: int = whole_number("ConvTranspose2d", "groups", groups)
        self.dilation: tuple[int, int] = pair("ConvTranspose2d", "dilation", dilation)
        _check_groups("ConvTranspose2d", in_channels, out_channels, groups)
        shape = (in_channels, out_channels // groups, *self.kernel_size)  # (C, O / groups, KH, KW)
        self.weight: Tensor = Tensor(np.empty(shape, np.float32), requires_grad=True)
        has_bias = flag("ConvTranspose2d", "bias", bias)
        generator = given_or_new_generator("ConvTranspose2d", generator)
        init.normal_(self.weight, generator, std=math.sqrt(2 / self.fan_in))
        self.bias: Tensor | MaybeNone = Tensor(np.zeros(out_channels, np.float32), requires_grad=True) if has_bias else None

    @property
    def fan_in(self) -> float:
        """How many products a pixel of y is a sum of, on average, far from the border."""
        return self.in_channels / self.groups * math.prod(self.kernel_size) / math.prod(self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW)."""
        return ops.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups,
                                    self.dilation)

    def extra_repr(self) -> str:
        """The arguments."""
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"padding={self.padding}, output_padding={self.output_padding}, groups={self.groups}, "
                f"bias={self.bias is not None}, dilation={self.dilation}")


def _check_groups(owner, in_channels, out_channels, groups):
    if in_channels % groups or out_channels % groups:
        raise ArgumentError(f"{owner}: {in_channels} input and {out_channels} output channels cannot be split into {groups} "
                            "groups: groups must divide both")
