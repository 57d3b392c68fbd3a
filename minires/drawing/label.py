"""What a box says of an op: its kind with its sizes, and the shape of what it makes."""
from minires.engine.op import Op
from minires.ops.convolution import Conv2d
from minires.ops.convolution_1d import Conv1d
from minires.ops.fully_connected import Linear
from minires.ops.pooling import GlobalAvgPool2d, MaxPool2d, Pool2d
from minires.ops.shortcut import ZeroPadShortcut
from minires.ops.transposed_convolution import ConvTranspose2d


def op_label(op: Op) -> str:
    """The op's class and what it was set to: "Conv2d 3×3, 64, /2", "ReLU"."""
    kind = type(op).__name__
    if isinstance(op, Conv2d):
        return f"{kind} {_convolution(op)}"
    if isinstance(op, Conv1d):
        O, _, K = op.input_shapes[1]
        return f"{kind} {K}, {O}{_stride((op.stride, op.stride))}"
    if isinstance(op, ConvTranspose2d):
        _, own, *kernel = op.input_shapes[1]  # (C, O / groups, KH, KW)
        return f"{kind} {_window(kernel)}, {own * op.groups}{_stride(op.stride).replace('/', '×')}"
    if isinstance(op, Linear):
        return f"{kind} {op.input_shapes[1][0]}"
    if isinstance(op, Pool2d):
        return f"{kind} {_window(op.kernel_size)}{_stride(op.stride)}"
    if isinstance(op, ZeroPadShortcut):
        return f"{kind} {op.out_channels}{_stride((op.stride, op.stride))}"
    return kind


def paper_label(op: Op) -> str | None:
    """The words of He et al. 2015, figure 3: "3×3 conv, 64, /2"; None of an op that this figure does not show."""
    if isinstance(op, Conv2d):
        kernel, _, rest = _convolution(op).partition(", ")
        return f"{kernel} conv, {rest}"
    if isinstance(op, Linear):
        return f"fc {op.input_shapes[1][0]}"
    if isinstance(op, Pool2d):
        return f"{_window(op.kernel_size)} {'max' if isinstance(op, MaxPool2d) else 'avg'} pool{_stride(op.stride)}"
    return "avg pool" if isinstance(op, GlobalAvgPool2d) else None


def _convolution(op: Conv2d) -> str:
    """The kernel, the output channels, and what differs from the defaults."""
    weight = op.input_shapes[1]  # (O, C / groups, KH, KW)
    dilation = "" if op.dilation == (1, 1) else f", dilation {_window(op.dilation)}"
    groups = "" if op.groups == 1 else f", {op.groups} groups"
    return f"{_window(weight[2:])}, {weight[0]}{_stride(op.stride)}{dilation}{groups}"


def _window(size):
    return f"{size[0]}×{size[1]}"


def _stride(stride):
    """", /2" where the image becomes smaller, and nothing where it does not."""
    if tuple(stride) == (1, 1):
        return ""
    return f", /{stride[0]}" if stride[0] == stride[1] else f", /{stride[0]}×{stride[1]}"
