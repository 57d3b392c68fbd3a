"""What a box says of an op: its kind with its sizes, and the shape of what it makes."""
from minires.engine.op import Op


def op_label(op: Op) -> str:
    """The op's class and what it was set to: "Conv2d 3×3, 64, /2", "ReLU"."""
    kind = type(op).__name__
    if kind == "Conv2d":
        return f"{kind} {_convolution(op)}"
    if kind == "Linear":
        return f"{kind} {op.input_shapes[1][0]}"
    if kind in ("MaxPool2d", "AvgPool2d"):
        return f"{kind} {_window(op.kernel_size)}{_stride(op.stride)}"
    if kind == "ZeroPadShortcut":
        return f"{kind} {op.out_channels}{_stride((op.stride, op.stride))}"
    return kind


def paper_label(op: Op) -> str | None:
    """The words of He et al. 2015, figure 3: "3×3 conv, 64, /2"; None of an op that this figure does not show."""
    kind = type(op).__name__
    if kind == "Conv2d":
        kernel, _, rest = _convolution(op).partition(", ")
        return f"{kernel} conv, {rest}"
    if kind == "Linear":
        return f"fc {op.input_shapes[1][0]}"
    if kind in ("MaxPool2d", "AvgPool2d"):
        return f"{_window(op.kernel_size)} {'max' if kind == 'MaxPool2d' else 'avg'} pool{_stride(op.stride)}"
    return "avg pool" if kind == "GlobalAvgPool2d" else None


def _convolution(op):
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
