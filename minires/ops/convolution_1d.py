"""The convolution of sequences: the definition as loops, and the fast form as that of images of one row."""
from minires.arguments import whole_number
from minires.arrays.backend import Array, array_module
from minires.arrays.sums import sum_over
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import ShapeError
from minires.ops.convolution import Conv2d, group_slices


def conv1d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0, dilation: int = 1,
           groups: int = 1) -> Tensor:
    """The cross-correlation of sequences with kernels: `conv2d` along one axis.

        y[n, o, i] = bias[o] + Σ_{c, k} x_padded[n, c, i·stride + k·dilation] · weight[o, c, k]

    Args:
        x: (N, C, L).
        weight: (O, C / groups, K).
        bias: (O,) or None.
        stride, padding, dilation: integers; the padding is of zeros, at both ends.
        groups: the channels are split into so many groups, each seen only by its own O / groups kernels.

    Returns:
        (N, O, OL), with OL = (L + 2·padding - dilation·(K - 1) - 1) // stride + 1.

    Raises:
        ShapeError: ranks or channels do not fit, or the kernel is larger than the padded sequence.
        ArgumentError: a stride, dilation or number of groups below 1, or a negative padding.
        DTypeError: an argument is no tensor.
    """
    return Conv1d(stride, padding, dilation, groups)(x, weight, bias)


class Conv1d(Op):
    """y[n, o, i] = bias[o] + Σ x_padded[n, c, i·S + k·D] weight[o, c, k] over c, k.

    The fast form hands over to `Conv2d`, of which a sequence is an image of one row.
    """

    def __init__(self, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1):
        self.stride: int = whole_number("Conv1d", "stride", stride)
        self.padding: int = whole_number("Conv1d", "padding", padding, smallest=0)
        self.dilation: int = whole_number("Conv1d", "dilation", dilation)
        self.groups: int = whole_number("Conv1d", "groups", groups)

    # ---- the definition

    def plain_forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        xp = array_module(x)
        self.check(x, weight, bias)
        self.saved = x, weight
        O, _, K = weight.shape
        S, P, D = self.stride, self.padding, self.dilation
        x_padded = xp.pad(x, ((0, 0), (0, 0), (P, P)))
        y = xp.zeros((len(x), O, self.output_length(x, K)), dtype=xp.result_type(x, weight))
        for outs, ins in group_slices(weight, self.groups):                      # of each group, its O and its C
            for i in range(y.shape[2]):
                for k in range(K):
                    y[:, outs, i] += x_padded[:, ins, i * S + k * D] @ weight[outs, :, k].T      # (N, C) @ (C, O)
        if bias is not None:
            y += bias[:, None]                                                   # (N, O, OL) + (O, 1)
        return y

    def plain_backward(self, dy: Array) -> tuple[Array | None, ...]:
        """dx = Σ dy[n, o, i] weight[o, c, k] over o, i
        dweight = Σ dy[n, o, i] x_padded[n, c, i·S + k·D] over n, i
        dbias = Σ dy over n, i
        """
        xp = array_module(dy)
        x, weight = self.saved
        S, P, D = self.stride, self.padding, self.dilation
        x_padded = xp.pad(x, ((0, 0), (0, 0), (P, P)))
        dx_padded = xp.zeros(x_padded.shape, dtype=dy.dtype)
        dweight = xp.zeros(weight.shape, dtype=dy.dtype)
        each, own = len(weight) // self.groups, weight.shape[1]
        for group in range(self.groups):
            outs = slice(group * each, (group + 1) * each)                       # the kernels of this group
            ins = slice(group * own, (group + 1) * own)                          # the channels that they see
            for i in range(dy.shape[2]):
                for k in range(weight.shape[2]):
                    dy_place, x_place = dy[:, outs, i], x_padded[:, ins, i * S + k * D]          # (N, O), (N, C)
                    dx_padded[:, ins, i * S + k * D] += dy_place @ weight[outs, :, k]            # (N, O) @ (O, C)
                    dweight[outs, :, k] += dy_place.T @ x_place                                  # (O, N) @ (N, C)
        dx = dx_padded[:, :, P:P + x.shape[2]]                                   # -> (N, C, L)
        dbias = sum_over(dy, (0, 2))                                             # (N, O, OL) -> (O,)
        return dx, dweight, dbias

    # ---- the fast form

    def forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        self.check(x, weight, bias)
        self.saved = x, weight
        y = self.of_one_row().forward(x[:, :, None], weight[:, :, None], bias)   # (N, C, L) -> (N, C, 1, L) -> (N, O, 1, OL)
        return y[:, :, 0]                                                        # -> (N, O, OL)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        x, weight = self.saved
        conv, one_row = self.of_one_row(), x[:, :, None]                         # (N, C, L) -> (N, C, 1, L)
        kernels = weight[:, :, None]                                             # (O, C, K) -> (O, C, 1, K)
        conv.saved = one_row, kernels, conv.geometry(one_row, kernels, None)
        conv.needs_grad = self.needs_grad
        dx, dweight, dbias = conv.backward(dy[:, :, None])
        dx = None if dx is None else dx[:, :, 0]                                 # (N, C, 1, L) -> (N, C, L)
        dweight = None if dweight is None else dweight[:, :, 0]                  # (O, C, 1, K) -> (O, C, K)
        return dx, dweight, dbias

    def of_one_row(self) -> Conv2d:
        """The same convolution of images of one row."""
        return Conv2d((1, self.stride), (0, self.padding), (1, self.dilation), self.groups)

    # ---- sizes

    def output_length(self, x: Array, K: int) -> int:
        """How many outputs there are: OL."""
        return (x.shape[2] + 2 * self.padding - self.dilation * (K - 1) - 1) // self.stride + 1

    def check(self, x: Array, weight: Array, bias: Array | None) -> None:
        """Raise an error that says what does not fit."""
        if weight is None or x.ndim != 3 or weight.ndim != 3 or x.shape[2] == 0:
            raise ShapeError(f"{self.title}: expected x (N, C, L) with at least one value, and weight (O, C / groups, K), "
                             f"got shapes {x.shape} and {None if weight is None else weight.shape}")
        C, (O, own, K) = x.shape[1], weight.shape
        if own * self.groups != C:
            raise ShapeError(f"{self.title}: x {x.shape} has {C} channels, but weight (O, C / groups, K) = {weight.shape} "
                             f"with groups={self.groups} takes {own * self.groups}")
        if O % self.groups or 0 in weight.shape:
            raise ShapeError(f"{self.title}: weight {weight.shape} must hold at least one number, and its {O} kernels must "
                             f"divide into groups={self.groups}")
        if bias is not None and bias.shape != (O,):
            raise ShapeError(f"{self.title}: bias has shape {bias.shape}, expected ({O},) for weight {weight.shape}")
        if self.output_length(x, K) < 1:
            raise ShapeError(f"{self.title}: the kernel {K} with dilation {self.dilation} is larger than the sequence "
                             f"{x.shape[2]} with padding {self.padding}: use longer sequences, more padding or a smaller "
                             "kernel")
