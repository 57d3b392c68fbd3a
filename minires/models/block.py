"""The blocks of all nets here: a few convolutions, with the shortcut around them, or without it in the plain twin."""
from typing import TypeAlias

from minires import nn, ops
from minires.arguments import flag, known_name, whole_number
from minires.engine.tensor import Tensor
from minires.errors import ModuleError

Normalization: TypeAlias = nn.BatchNorm2d | nn.Identity  # nothing, in a net without batch norm

SHORTCUTS = {"A": "zero padding", "B": "a 1 x 1 convolution where the shape changes",
             "C": "a 1 x 1 convolution in every block"}
STRIDES_ON = ("3x3", "1x1")


class ZeroPadShortcut(nn.Module):
    """Option A: every `stride`-th pixel, and channels of zeros after those of x; see `ops.zero_pad_shortcut`."""

    def __init__(self, out_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels: int = whole_number("ZeroPadShortcut", "out_channels", out_channels)
        self.stride: int = whole_number("ZeroPadShortcut", "stride", stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW)."""
        return ops.zero_pad_shortcut(x, self.out_channels, self.stride)

    def extra_repr(self) -> str:
        """The channels of the output, and the stride."""
        return f"{self.out_channels}, stride={self.stride}"


class Block(nn.Module):
    """F(x) + shortcut(x) in a residual net, F(x) alone in its plain twin: the same layers, and only the add is missing.

        original         F = conv, bn, relu, conv, bn          y = relu(F(x) + shortcut(x))    He et al. 2015, figure 2
        pre-activation   F = bn, relu, conv, bn, relu, conv    y = F(x) + shortcut(x)          He et al. 2016, figure 4(e)

    The shortcut is x itself. Where the block changes the shape it is `downsample(x)`: zero padding (option A), or a
    1 x 1 convolution (option B; option C has one in every block). No convolution has a bias.

    Args:
        in_channels: C of x.
        channels: the width of the block.
        stride: 2 where it halves the image.
        residual: is there a shortcut?
        shortcut: "A", "B" or "C".
        batch_norm: is there one for each convolution?
        stride_on: which convolution of a bottleneck has the stride, "3x3" as in torchvision or "1x1" as in the paper.

    Raises:
        ArgumentError: a number is not a positive integer, or a flag neither True nor False.
        UnknownNameError: no such shortcut or `stride_on`.
    """

    expansion = 1  # channels of the output, in units of `channels`

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, residual: bool = True, shortcut: str = "A",
                 batch_norm: bool = True, stride_on: str = "3x3") -> None:
        super().__init__()
        kind = type(self).__name__
        self.residual: bool = flag(kind, "residual", residual)
        known_name(kind, "shortcut", shortcut, SHORTCUTS)
        known_name(kind, "stride_on", stride_on, STRIDES_ON)
        batch_norm = flag(kind, "batch_norm", batch_norm)
        self.make_branch(in_channels, channels, stride, batch_norm, stride_on)
        self.downsample: nn.Module | None = None
        if residual:
            self.downsample = self.make_downsample(in_channels, channels * self.expansion, stride, shortcut, batch_norm)

    def make_branch(self, in_channels: int, channels: int, stride: int, batch_norm: bool, stride_on: str) -> None:
        """Make the layers of F, in the order in which they run."""
        raise ModuleError(f"{type(self).__name__}: has no layers of its own: use BasicBlock, Bottleneck or one of their "
                          "pre-activation forms, or define make_branch and forward in the class")

    def make_downsample(self, in_channels: int, out_channels: int, stride: int, shortcut: str,
                        batch_norm: bool) -> nn.Sequential | ZeroPadShortcut | None:
        """The module on the shortcut, or None where the shortcut is x itself."""
        if in_channels == out_channels and stride == 1 and shortcut != "C":
            return None
        if shortcut == "A":
            return ZeroPadShortcut(out_channels, stride)
        return nn.Sequential(convolution(in_channels, out_channels, 1, stride), normalization(out_channels, batch_norm))

    def add_shortcut(self, y: Tensor, x: Tensor) -> Tensor:
        """y + shortcut(x) in a residual net, y in a plain one."""
        if not self.residual:
            return y
        shortcut = x if self.downsample is None else self.downsample(x)
        return ops.shortcut_add(y, shortcut)


class BasicBlock(Block):
    """Two 3 x 3 convolutions (He et al. 2015, figure 5 left)."""

    def make_branch(self, in_channels: int, channels: int, stride: int, batch_norm: bool, stride_on: str) -> None:
        self.conv1: nn.Conv2d = convolution(in_channels, channels, 3, stride)
        self.bn1: Normalization = normalization(channels, batch_norm)
        self.relu1: nn.ReLU = nn.ReLU()
        self.conv2: nn.Conv2d = convolution(channels, channels, 3)
        self.bn2: Normalization = normalization(channels, batch_norm)
        self.relu2: nn.ReLU = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW)."""
        y = self.conv1(x)
        y = self.bn1(y)
        y = self.relu1(y)
        y = self.conv2(y)
        y = self.bn2(y)
        y = self.add_shortcut(y, x)
        y = self.relu2(y)
        return y


class Bottleneck(Block):
    """1 x 1 to fewer channels, 3 x 3, and 1 x 1 to four times as many (He et al. 2015, figure 5 right)."""

    expansion = 4

    def make_branch(self, in_channels: int, channels: int, stride: int, batch_norm: bool, stride_on: str) -> None:
        stride1, stride2 = (1, stride) if stride_on == "3x3" else (stride, 1)
        self.conv1: nn.Conv2d = convolution(in_channels, channels, 1, stride1)
        self.bn1: Normalization = normalization(channels, batch_norm)
        self.relu1: nn.ReLU = nn.ReLU()
        self.conv2: nn.Conv2d = convolution(channels, channels, 3, stride2)
        self.bn2: Normalization = normalization(channels, batch_norm)
        self.relu2: nn.ReLU = nn.ReLU()
        self.conv3: nn.Conv2d = convolution(channels, channels * self.expansion, 1)
        self.bn3: Normalization = normalization(channels * self.expansion, batch_norm)
        self.relu3: nn.ReLU = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW)."""
        y = self.conv1(x)
        y = self.bn1(y)
        y = self.relu1(y)
        y = self.conv2(y)
        y = self.bn2(y)
        y = self.relu2(y)
        y = self.conv3(y)
        y = self.bn3(y)
        y = self.add_shortcut(y, x)
        y = self.relu3(y)
        return y


class PreactivationBlock(Block):
    """What the pre-activation blocks share: nothing stands on the shortcut but x, and a projection sees relu(bn(x))."""

    def make_downsample(self, in_channels: int, out_channels: int, stride: int, shortcut: str,
                        batch_norm: bool) -> nn.Sequential | ZeroPadShortcut | None:
        """As `Block`; a projection has no batch norm of its own, as its input has just had one."""
        return super().make_downsample(in_channels, out_channels, stride, shortcut, batch_norm=False)

    def shortcut_input(self, x: Tensor, activated: Tensor) -> Tensor:
        """What the shortcut starts from: x, or for a projection relu(bn(x))."""
        is_projection = isinstance(self.downsample, nn.Sequential)
        return activated if is_projection else x


class PreactivationBasicBlock(PreactivationBlock):
    """`BasicBlock` in the order of He et al. 2016."""

    def make_branch(self, in_channels: int, channels: int, stride: int, batch_norm: bool, stride_on: str) -> None:
        self.bn1: Normalization = normalization(in_channels, batch_norm)
        self.relu1: nn.ReLU = nn.ReLU()
        self.conv1: nn.Conv2d = convolution(in_channels, channels, 3, stride)
        self.bn2: Normalization = normalization(channels, batch_norm)
        self.relu2: nn.ReLU = nn.ReLU()
        self.conv2: nn.Conv2d = convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW)."""
        y = self.bn1(x)
        activated = self.relu1(y)
        y = self.conv1(activated)
        y = self.bn2(y)
        y = self.relu2(y)
        y = self.conv2(y)
        y = self.add_shortcut(y, self.shortcut_input(x, activated))
        return y


class PreactivationBottleneck(PreactivationBlock):
    """`Bottleneck` in the order of He et al. 2016."""

    expansion = 4

    def make_branch(self, in_channels: int, channels: int, stride: int, batch_norm: bool, stride_on: str) -> None:
        stride1, stride2 = (1, stride) if stride_on == "3x3" else (stride, 1)
        self.bn1: Normalization = normalization(in_channels, batch_norm)
        self.relu1: nn.ReLU = nn.ReLU()
        self.conv1: nn.Conv2d = convolution(in_channels, channels, 1, stride1)
        self.bn2: Normalization = normalization(channels, batch_norm)
        self.relu2: nn.ReLU = nn.ReLU()
        self.conv2: nn.Conv2d = convolution(channels, channels, 3, stride2)
        self.bn3: Normalization = normalization(channels, batch_norm)
        self.relu3: nn.ReLU = nn.ReLU()
        self.conv3: nn.Conv2d = convolution(channels, channels * self.expansion, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW)."""
        y = self.bn1(x)
        activated = self.relu1(y)
        y = self.conv1(activated)
        y = self.bn2(y)
        y = self.relu2(y)
        y = self.conv2(y)
        y = self.bn3(y)
        y = self.relu3(y)
        y = self.conv3(y)
        y = self.add_shortcut(y, self.shortcut_input(x, activated))
        return y


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias whose padding keeps the size of the image at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


def normalization(channels: int, batch_norm: bool) -> Normalization:
    """Batch norm, or nothing in a net without."""
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
