"""What makes a net residual: the addition of the shortcut, and the shortcut of option A.

He, Zhang, Ren and Sun 2015, arXiv:1512.03385, equation (1): y = F(x) + x; section 3.3 for the options A, B and C.
"""
from minires.arguments import whole_number
from minires.arrays.backend import Array, array_module
from minires.arrays.threads import elementwise
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import DTypeError, ShapeError
from minires.ops.kernels.layout import zeros_channels_last


def shortcut_add(residual: Tensor, shortcut: Tensor) -> Tensor:
    """residual + shortcut, of one shape: nothing is broadcast.

    Args:
        residual: F(x), the output of the block's convolutions, (N, C, H, W).
        shortcut: x, or its projection, (N, C, H, W).

    Raises:
        ShapeError: the shapes differ.
    """
    return ShortcutAdd()(residual, shortcut)


def zero_pad_shortcut(x: Tensor, out_channels: int, stride: int = 1) -> Tensor:
    """The shortcut without parameters where a block changes shape: option A of He et al. 2015.

    Every `stride`-th row and column is kept, and channels of zeros are added after those of x.

    Args:
        x: (N, C, H, W).
        out_channels: O, at least C.
        stride: rows and columns to move on at each step.

    Returns:
        (N, O, OH, OW), with OH = ceil(H / stride).

    Raises:
        ShapeError: x is not (N, C, H, W), or has more channels than `out_channels`.
        ArgumentError: the stride is not positive.
    """
    return ZeroPadShortcut(out_channels, stride)(x)


class ShortcutAdd(Op):
    """y = F(x) + x: the gradient goes to both unchanged, so that of x holds a term that no weight touches."""

    # ---- the definition

    def plain_forward(self, residual: Array, shortcut: Array) -> Array:
        self.check(residual, shortcut)
        return residual + shortcut

    def plain_backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dresidual = dy
        dshortcut = dy
        """
        dresidual = dy
        dshortcut = dy
        return dresidual, dshortcut

    # ---- the fast form

    def forward(self, residual: Array, shortcut: Array) -> Array:
        self.check(residual, shortcut)
        return elementwise(array_module(residual).add, residual, shortcut)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dresidual = dy
        dshortcut = dy
        """
        dresidual = dy
        dshortcut = dy
        return dresidual, dshortcut

    def check(self, residual: Array, shortcut: Array) -> None:
        """Raise an error that says what does not fit."""
        if shortcut is None:
            raise DTypeError(f"{self.title}: the shortcut is None, expected a tensor")
        if residual.shape != shortcut.shape:
            raise ShapeError(f"{self.title}: the residual has shape {residual.shape} and the shortcut {shortcut.shape}; "
                             "they must be equal. Where a block changes shape, pass the shortcut through "
                             "zero_pad_shortcut (option A) or a 1 x 1 convolution (option B)")


class ZeroPadShortcut(Op):
    """y[:, :C] = x[:, :, ::stride, ::stride], and y[:, C:] = 0."""

    def __init__(self, out_channels: int, stride: int):
        self.out_channels: int = whole_number("ZeroPadShortcut", "out_channels", out_channels)
        self.stride: int = whole_number("ZeroPadShortcut", "stride", stride)

    def forward(self, x: Array) -> Array:
        self.check(x)
        self.saved = x.shape
        C, S = x.shape[1], self.stride
        kept = x[:, :, ::S, ::S]                                             # (N, C, H, W) -> (N, C, OH, OW)
        y = zeros_channels_last((x.shape[0], self.out_channels, *kept.shape[2:]), x)  # (N, O, OH, OW)
        y[:, :C] = kept
        return y

    def backward(self, dy: Array) -> Array:
        """dx[:, :, ::stride, ::stride] = dy[:, :C], else 0."""
        xp = array_module(dy)
        N, C, H, W = self.saved
        S = self.stride
        dx = xp.zeros((N, H, W, C), dtype=dy.dtype).transpose(0, 3, 1, 2)    # (N, C, H, W), channels last in memory
        dx[:, :, ::S, ::S] = dy[:, :C]                                       # (N, O, OH, OW) -> (N, C, OH, OW)
        return dx

    def check(self, x: Array) -> None:
        """Raise an error that says what does not fit."""
        if x.ndim != 4:
            raise ShapeError(f"{self.title}: expected x (N, C, H, W), got shape {x.shape}")
        if self.out_channels < x.shape[1]:
            raise ShapeError(f"{self.title}: x {x.shape} has {x.shape[1]} channels, more than the {self.out_channels} of "
                             "the output: zero-padding cannot drop channels, a 1 x 1 convolution (option B) can")
