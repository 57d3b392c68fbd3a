"""NaN, inf and -inf go to the places where PyTorch sends them, in every op that PyTorch has: forward and backward."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from torch.nn import functional

import minires as mr
from minires.ops.layer_normalization import GroupNorm, LayerNorm
from minires.ops.normalization import BatchNorm
from tests.ops.test_not_finite import EVERY_CASE, NAMES, SEEDS, assert_same_kinds, results, spoiled_call

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of what is done here on purpose


def batch_norm(training):
    def function(x, weight, bias):
        mean, var = torch.linspace(-1, 1, 3, dtype=x.dtype), torch.linspace(0.5, 2, 3, dtype=x.dtype)
        return functional.batch_norm(x, mean, var, weight, bias, training)
    return function


def conv2d(*arguments):
    return lambda x, weight, bias=None: functional.conv2d(x, weight, bias, *arguments)


def where(condition):
    return lambda a, b: torch.where(torch.tensor(condition), a, b)


THEIRS = {
    "Add broadcast": torch.add, "Subtract broadcast": torch.subtract, "Multiply broadcast": torch.multiply,
    "Divide broadcast": torch.divide, "Power broadcast": torch.pow, "Negate": torch.negative,
    "MatMul matrices": torch.matmul, "MatMul stacks": torch.matmul, "MatMul two stacks": torch.matmul,
    "MatMul vectors": torch.matmul,
    "ReLU": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Exp": torch.exp, "Log": torch.log,
    "LeakyReLU": lambda x: functional.leaky_relu(x, 0.2),
    "ELU": lambda x: functional.elu(x, 1.5),  # of 16 numbers; where fewer are left over, PyTorch takes NaN as above 0
    "Softplus": lambda x: functional.softplus(x, 2.0), "SiLU": functional.silu, "GELU": functional.gelu,
    "Softplus above the threshold": lambda x: functional.softplus(x, 1.0, 0.5),
    "TanhGELU": lambda x: functional.gelu(x, approximate="tanh"),
    "Abs": torch.abs, "Sqrt": torch.sqrt,
    "Clip": lambda x: x.clamp(-0.4, 0.6), "Clip one side": lambda x: x.clamp(max=0.1),
    "Where broadcast": where([[True, False, False], [False, True, False]]),
    "Where broadcast by the condition": where([[True], [False]]),
    "Concatenate axis 1": lambda a, b: torch.cat([a, b], 1), "Stack last axis": lambda a, b: torch.stack([a, b], -1),
    "Pad": lambda x: functional.pad(x, (2, 0, 0, 1), value=0.5),
    "Linear bias": functional.linear, "Linear no bias": functional.linear,
    "Sum axis": lambda x: x.sum(1), "Sum keepdims": lambda x: x.sum((0, -1), keepdim=True), "Mean axis": lambda x: x.mean(1),
    "Max all": torch.max,
    "Softmax": lambda x: x.softmax(-1), "Softmax axis 1 of 3": lambda x: x.softmax(1),
    "LogSoftmax": lambda x: x.log_softmax(-1), "LogSumExp axis": lambda x: x.logsumexp(1),
    "LogSumExp keepdims": lambda x: x.logsumexp((0, -1), keepdim=True),
    "Reshape": lambda x: x.reshape(3, -1), "Flatten": lambda x: x.flatten(1), "Transpose": lambda x: x.permute(1, 2, 0),
    "Index taken twice": lambda x: x[[2, 0, 2]], "Cast": lambda x: x.to(x.dtype),
    "ShortcutAdd": torch.add,
    "CrossEntropy": lambda x: functional.cross_entropy(x, torch.tensor([2, 0, 1, 2])),
    "CrossEntropy smoothed": lambda x: functional.cross_entropy(x, torch.tensor([2, 0, 1, 2]), label_smoothing=0.3),
    "CrossEntropy ignored": lambda x: functional.cross_entropy(x, torch.tensor([2, -1, 1, 2]), ignore_index=-1,
                                                               label_smoothing=0.3),
    "BinaryCrossEntropyWithLogits": functional.binary_cross_entropy_with_logits, "MSELoss": functional.mse_loss,
    "MaxPool2d overlapping": lambda x: functional.max_pool2d(x, 3, 2, 1),
    "MaxPool2d overlapping, padding": lambda x: functional.max_pool2d(x, 3, 2, 1),
    "MaxPool2d pairs": lambda x: functional.max_pool2d(x, 2),
    "AvgPool2d overlapping": lambda x: functional.avg_pool2d(x, (3, 2), 1, 1),
    "AvgPool2d overlapping, padding": lambda x: functional.avg_pool2d(x, 3, 2, 1),
    "GlobalAvgPool2d": lambda x: x.mean((2, 3)),
    "BatchNorm training": batch_norm(True), "BatchNorm eval": batch_norm(False),
    "BatchNorm training, (N, C)": batch_norm(True),
    "LayerNorm": lambda x, w, b: functional.layer_norm(x, (4,), w, b),
    "LayerNorm two axes, no bias": lambda x, w: functional.layer_norm(x, (3, 2), w),
    "GroupNorm": lambda x, w, b: functional.group_norm(x, 2, w, b),
    "GroupNorm (N, C), no weight": lambda x: functional.group_norm(x, 2),
    "RMSNorm": lambda x, w: functional.rms_norm(x, (4,), w),
    "Dropout": lambda x: x * torch.from_numpy((np.random.default_rng(0).random((3, 4), np.float32) >= 0.4) / 0.6),
    "Embedding repeated": lambda w: functional.embedding(torch.tensor([[2, 0, 2], [1, 2, 3]]), w),
    "Conv1d stride": lambda x, w, b: functional.conv1d(x, w, b, 2, 1),
    "Conv1d dilation, groups, no bias": lambda x, w: functional.conv1d(x, w, None, 1, 1, 2, 2),
    "ConvTranspose2d stride": lambda x, w, b: functional.conv_transpose2d(x, w, b, 2, 1, 1),
    "ConvTranspose2d dilation, groups, no bias":
        lambda x, w: functional.conv_transpose2d(x, w, None, 1, (0, 1), (1, 0), 2, (2, 1)),
    "UpsampleNearest": lambda x: functional.interpolate(x, scale_factor=(2, 3)),
    "Conv2d padding": conv2d(1, 1), "Conv2d stride": conv2d(2, 1), "Conv2d dilation": conv2d(1, 0, 2),
    "Conv2d groups": conv2d(1, 1, 1, 2), "Conv2d 1 x 1, no bias": conv2d(), "Conv2d 4 at once": conv2d(1, 1),
    "Conv2d 2 at once": conv2d(1, 1), "Conv2d stride, 2 at once": conv2d(2, 1), "Conv2d 5 x 5": conv2d(1, 2),
    "Conv2d more padding than a kernel sees": conv2d(1, 2), "Conv2d wide": conv2d(1, 1),
    "Conv2d wide, groups": conv2d(1, 1, 1, 2), "Conv2d a row": conv2d(),
}
NOT_THEIRS = {"Max axis",  # amax shares a gradient of inf as inf · 0, and max(axis) picks one of several
              "UpsampleBilinear",  # PyTorch also takes the neighbour whose share is 0, and 0 · inf is NaN
              "Index slices", "ToDevice", "ZeroPadShortcut stride"}  # PyTorch has no negative steps, nor the others


def test_every_case_has_its_counterpart_or_is_named():
    assert set(NAMES) == set(THEIRS) | NOT_THEIRS


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for case, name in zip(EVERY_CASE, NAMES, strict=True)
                                  if name in THEIRS])
@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
def test_each_goes_where_pytorch_sends_it(case, plain):
    theirs = THEIRS[f"{case.op.__name__} {case.name}".strip()]
    for seed in SEEDS:
        arrays, dy = spoiled_call(case, seed)
        if case.op in (BatchNorm, GroupNorm) and len(arrays) > 1:
            # PyTorch's scale · x + shift is inf - inf where the definition has a weight of inf
            arrays[1] = np.where(np.isinf(arrays[1]), 1, arrays[1])
        tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
        y = theirs(*tensors)
        y.backward(torch.tensor(dy))
        with mr.reference_ops(plain):
            found = results(case, arrays, dy)
        expected = [y.detach().numpy(), *(x.grad.numpy() for x in tensors)]
        if case.op in (LayerNorm, GroupNorm):
            # PyTorch's dx is a · dy + b · x + c, and dweight Σ dy x - mean Σ dy: infinities meet there in another order
            found, expected = [[np.where(np.isfinite(x), x, np.nan) for x in arrays] for arrays in (found, expected)]
        assert_same_kinds(found, expected)
