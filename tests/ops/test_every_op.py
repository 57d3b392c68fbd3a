"""What holds for every op: its gradient is right in each argument, it writes to nothing, it keeps the precision.

`CASES` is the table of all ops with a small call of each. A new op without a row fails the first test. The ops' own
files sweep their parameters; the rows here are chosen so that a wrong backward of any argument shows.
"""
import importlib
import pkgutil
from typing import NamedTuple

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.arrays.backend import beside
from minires.ops.activation import ReLU, Sigmoid, Tanh
from minires.ops.arithmetic import Add, Divide, MatMul, Multiply, Negate, Power, Subtract
from minires.ops.conversion import Cast, ToDevice
from minires.ops.convolution import Conv2d
from minires.ops.convolution_1d import Conv1d
from minires.ops.elementwise import Abs, Exp, Log, Sqrt
from minires.ops.fully_connected import Linear
from minires.ops.joining import Concatenate, Pad, Stack
from minires.ops.layer_normalization import GroupNorm, LayerNorm, RMSNorm
from minires.ops.lookup import Embedding
from minires.ops.loss import BinaryCrossEntropyWithLogits, CrossEntropy, MSELoss
from minires.ops.normalization import BatchNorm
from minires.ops.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from minires.ops.random_mask import Dropout
from minires.ops.rectifiers import ELU, GELU, LeakyReLU, SiLU, Softplus, TanhGELU
from minires.ops.reduction import Max, Mean, Sum
from minires.ops.selection import Clip, Where
from minires.ops.shape import Flatten, Index, Reshape, Transpose
from minires.ops.shortcut import ShortcutAdd, ZeroPadShortcut
from minires.ops.softmaxes import LogSoftmax, LogSumExp, Softmax
from minires.ops.transposed_convolution import ConvTranspose2d
from minires.ops.upsampling import UpsampleBilinear, UpsampleNearest


def normal(*shape):
    """Standard normal numbers, other ones for each shape."""
    return np.random.default_rng([*shape]).standard_normal(shape)


def positive(*shape):
    return np.abs(normal(*shape)) + 0.5


class Case(NamedTuple):
    """One call of an op: `function` of tensors that hold `arrays`."""

    op: type
    name: str
    function: object
    arrays: tuple


def batch_norm(training, freeze_statistics=False):
    def function(x, weight, bias):
        running_mean, running_var = beside(np.linspace(-1, 1, 3), x.data), beside(np.linspace(0.5, 2, 3), x.data)
        return ops.batch_norm(x, weight, bias, running_mean, running_var, training, freeze_statistics=freeze_statistics)
    return function


def where(condition):
    def function(a, b):
        return ops.where(beside(np.array(condition), a.data), a, b)
    return function


def conv2d(*arguments):
    def function(x, weight, bias=None):
        return ops.conv2d(x, weight, bias, *arguments)
    return function


def conv1d(*arguments):
    def function(x, weight, bias=None):
        return ops.conv1d(x, weight, bias, *arguments)
    return function


def conv_transpose2d(*arguments):
    def function(x, weight, bias=None):
        return ops.conv_transpose2d(x, weight, bias, *arguments)
    return function


def upsample(factor, mode):
    def function(x):
        return ops.upsample(x, factor, mode)
    return function


def dropout(x):
    return ops.dropout(x, 0.4, generator=np.random.default_rng(0))


CASES = [
    Case(Add, "broadcast", ops.add, (normal(2, 3), normal(3))),
    Case(Subtract, "broadcast", ops.subtract, (normal(2, 3), normal(2, 1))),
    Case(Multiply, "broadcast", ops.multiply, (normal(2, 3), normal(3))),
    Case(Divide, "broadcast", ops.divide, (normal(2, 3), positive(2, 1))),
    Case(Power, "broadcast", ops.power, (positive(2, 3), normal(3))),
    Case(Negate, "", ops.negate, (normal(2, 3),)),
    Case(MatMul, "matrices", ops.matmul, (normal(2, 3), normal(3, 4))),
    Case(MatMul, "stacks", ops.matmul, (normal(2, 2, 3), normal(3, 2))),
    Case(MatMul, "two stacks", ops.matmul, (normal(2, 1, 2, 3), normal(3, 3, 2))),
    Case(MatMul, "vectors", ops.matmul, (normal(3), normal(3))),
    Case(ReLU, "", ops.relu, (normal(3, 4),)),
    Case(Sigmoid, "", ops.sigmoid, (normal(3, 4),)),
    Case(Tanh, "", ops.tanh, (normal(3, 4),)),
    Case(LeakyReLU, "", lambda x: ops.leaky_relu(x, 0.2), (normal(3, 4),)),
    Case(ELU, "", lambda x: ops.elu(x, 1.5), (normal(4, 4),)),  # as many as PyTorch takes at once: see test_not_finite
    Case(Softplus, "", lambda x: ops.softplus(x, 2.0), (normal(3, 4),)),
    Case(SiLU, "", ops.silu, (normal(3, 4),)),
    Case(GELU, "", ops.gelu, (normal(3, 4),)),
    Case(TanhGELU, "", lambda x: ops.gelu(x, "tanh"), (normal(3, 4),)),
    Case(Softplus, "above the threshold", lambda x: ops.softplus(x, 1.0, 0.5), (normal(3, 4),)),
    Case(Exp, "", ops.exp, (normal(3, 4),)),
    Case(Log, "", ops.log, (positive(3, 4),)),
    Case(Abs, "", ops.abs, (normal(3, 4),)),
    Case(Sqrt, "", ops.sqrt, (positive(3, 4),)),
    Case(Clip, "", lambda x: ops.clip(x, -0.4, 0.6), (normal(3, 4),)),
    Case(Clip, "one side", lambda x: ops.clip(x, high=0.1), (normal(3, 4),)),
    Case(Where, "broadcast", where([[True, False, False], [False, True, False]]), (normal(2, 3), normal(3))),
    Case(Where, "broadcast by the condition", where([[True], [False]]), (normal(3), normal(1, 3) + 1)),
    Case(Linear, "bias", ops.linear, (normal(3, 4), normal(2, 4), normal(2))),
    Case(Linear, "no bias", ops.linear, (normal(3, 4), normal(2, 4))),
    Case(Sum, "axis", lambda x: ops.sum(x, 1), (normal(2, 3, 2),)),
    Case(Sum, "keepdims", lambda x: ops.sum(x, (0, -1), keepdims=True), (normal(2, 3, 2),)),
    Case(Mean, "axis", lambda x: ops.mean(x, 1), (normal(2, 3, 2),)),
    Case(Max, "axis", lambda x: ops.max(x, 1), (normal(2, 3, 2),)),
    Case(Max, "all", ops.max, (normal(2, 3),)),
    Case(Softmax, "", ops.softmax, (normal(2, 4),)),
    Case(Softmax, "axis 1 of 3", lambda x: ops.softmax(x, 1), (normal(2, 3, 2),)),
    Case(LogSoftmax, "", ops.log_softmax, (normal(2, 4),)),
    Case(LogSumExp, "axis", lambda x: ops.logsumexp(x, 1), (normal(2, 3, 2),)),
    Case(LogSumExp, "keepdims", lambda x: ops.logsumexp(x, (0, -1), keepdims=True), (normal(2, 3, 2),)),
    Case(Reshape, "", lambda x: ops.reshape(x, (3, -1)), (normal(2, 3, 2),)),
    Case(Flatten, "", ops.flatten, (normal(2, 3, 2, 2),)),
    Case(Transpose, "", lambda x: ops.transpose(x, (1, 2, 0)), (normal(2, 3, 2),)),
    Case(Index, "slices", lambda x: ops.index(x, (slice(1, None), slice(None, None, -2))), (normal(3, 4),)),
    Case(Index, "taken twice", lambda x: ops.index(x, [2, 0, 2]), (normal(3, 4),)),
    Case(Concatenate, "axis 1", lambda a, b: ops.concatenate([a, b], 1), (normal(2, 3, 2), normal(2, 1, 2))),
    Case(Stack, "last axis", lambda a, b: ops.stack([a, b], -1), (normal(2, 3), normal(2, 3) + 1)),
    Case(Pad, "", lambda x: ops.pad(x, ((0, 1), (2, 0)), 0.5), (normal(2, 3),)),
    Case(Cast, "", lambda x: ops.cast(x, x.dtype), (normal(2, 3),)),
    Case(ToDevice, "", lambda x: ops.to_device(x, "cpu"), (normal(2, 3),)),
    Case(ShortcutAdd, "", ops.shortcut_add, (normal(2, 3, 2, 2), normal(2, 3, 2, 2) + 1)),
    Case(ZeroPadShortcut, "stride", lambda x: ops.zero_pad_shortcut(x, 4, 2), (normal(2, 3, 3, 4),)),
    Case(CrossEntropy, "", lambda x: ops.cross_entropy(x, [2, 0, 1, 2]), (normal(4, 3),)),
    Case(CrossEntropy, "smoothed", lambda x: ops.cross_entropy(x, [2, 0, 1, 2], 0.3), (normal(4, 3),)),
    Case(CrossEntropy, "ignored", lambda x: ops.cross_entropy(x, [2, -1, 1, 2], 0.3, -1), (normal(4, 3),)),
    Case(BinaryCrossEntropyWithLogits, "", ops.binary_cross_entropy_with_logits, (normal(3, 4), positive(3, 4) / 4)),
    Case(MSELoss, "", ops.mse_loss, (normal(3, 4), positive(3, 4))),
    Case(MaxPool2d, "overlapping", lambda x: ops.max_pool2d(x, 3, 2, 1), (normal(2, 2, 5, 4),)),
    Case(AvgPool2d, "overlapping", lambda x: ops.avg_pool2d(x, (3, 2), 1, 1), (normal(2, 2, 4, 3),)),
    Case(GlobalAvgPool2d, "", ops.global_avg_pool2d, (normal(2, 3, 3, 2),)),
    Case(BatchNorm, "training", batch_norm(True), (normal(4, 3, 2, 2), normal(3), normal(3))),
    Case(BatchNorm, "eval", batch_norm(False), (normal(4, 3, 2, 2), normal(3), normal(3))),
    Case(BatchNorm, "training, (N, C)", batch_norm(True), (normal(4, 3), normal(3), normal(3))),
    Case(LayerNorm, "", lambda x, w, b: ops.layer_norm(x, 4, w, b), (normal(2, 3, 4), normal(4), normal(4))),
    Case(LayerNorm, "two axes, no bias", lambda x, w: ops.layer_norm(x, (3, 2), w), (normal(4, 3, 2), normal(3, 2))),
    Case(GroupNorm, "", lambda x, w, b: ops.group_norm(x, 2, w, b), (normal(2, 4, 3, 2), normal(4), normal(4))),
    Case(GroupNorm, "(N, C), no weight", lambda x: ops.group_norm(x, 2), (normal(2, 6),)),
    Case(RMSNorm, "", lambda x, w: ops.rms_norm(x, 4, w), (normal(2, 3, 4), normal(4))),
    Case(Dropout, "", dropout, (normal(3, 4),)),
    Case(Embedding, "repeated", lambda w: ops.embedding([[2, 0, 2], [1, 2, 3]], w), (normal(4, 3),)),
    Case(Conv1d, "stride", conv1d(2, 1), (normal(2, 2, 6), normal(3, 2, 3), normal(3))),
    Case(Conv1d, "dilation, groups, no bias", conv1d(1, 1, 2, 2), (normal(2, 4, 6), normal(2, 2, 3))),
    Case(ConvTranspose2d, "stride", conv_transpose2d(2, 1, 1), (normal(2, 3, 3, 2), normal(3, 2, 3, 3), normal(2))),
    Case(ConvTranspose2d, "dilation, groups, no bias", conv_transpose2d(1, (0, 1), (1, 0), 2, (2, 1)),
         (normal(2, 4, 3, 4), normal(4, 2, 2, 3))),
    Case(UpsampleNearest, "", upsample((2, 3), "nearest"), (normal(2, 2, 3, 2),)),
    Case(UpsampleBilinear, "", upsample((2, 3), "bilinear"), (normal(2, 2, 3, 2),)),
    Case(Conv2d, "padding", conv2d(1, 1), (normal(2, 2, 4, 3), normal(3, 2, 3, 3), normal(3))),
    Case(Conv2d, "stride", conv2d(2, 1), (normal(2, 2, 5, 4), normal(3, 2, 3, 2), normal(3))),
    Case(Conv2d, "dilation", conv2d(1, 0, 2), (normal(2, 2, 5, 6), normal(3, 2, 2, 3), normal(3))),
    Case(Conv2d, "groups", conv2d(1, 1, 1, 2), (normal(2, 4, 3, 3), normal(2, 2, 3, 3), normal(2))),
    Case(Conv2d, "1 x 1, no bias", conv2d(), (normal(2, 3, 3, 3), normal(2, 3, 1, 1))),
]
NAMES = [f"{case.op.__name__} {case.name}".strip() for case in CASES]
FORMS = [pytest.param(case, form, id=f"{name}-{form}") for case, name in zip(CASES, NAMES, strict=True)
         for form in (["fast", "plain"] if case.op.plain_forward else ["fast"])]


@pytest.fixture
def form(request):
    """The form of the op that runs in this test: "fast" or "plain"."""
    if request.param == "fast":
        yield request.param
    else:
        with mr.reference_ops():
            yield request.param


each_case = pytest.mark.parametrize("case", CASES, ids=NAMES)
each_case_and_form = pytest.mark.parametrize(("case", "form"), FORMS, indirect=["form"])


def op_classes():
    """Every op class of minires.ops, without the bases that ops share."""
    modules = [importlib.import_module(f"minires.ops.{module.name}") for module in pkgutil.iter_modules(ops.__path__)]
    found = {value for module in modules for value in vars(module).values()
             if isinstance(value, type) and issubclass(value, mr.Op) and value is not mr.Op}
    return {op for op in found if "backward" in vars(op)}


def call(case, arrays, wanted=None):
    """(the arguments as tensors, the output): `wanted` says which arguments want a gradient, all by default."""
    tensors = [mr.Tensor(array, requires_grad=wanted is None or i in wanted) for i, array in enumerate(arrays)]
    return tensors, case.function(*tensors)


def cotangent(y):
    """A random dL/dy in y's precision."""
    return np.asarray(np.random.default_rng(99).standard_normal(y.shape), dtype=y.dtype)


def results(case, arrays, make_dy=cotangent):
    """[y, and dL/d(each argument)] for a random dL/dy."""
    tensors, y = call(case, arrays)
    y.backward(make_dy(y))
    return [y.data, *(x.grad for x in tensors)]


def test_every_op_has_a_case_and_each_case_runs_its_op():
    assert op_classes() == {case.op for case in CASES}
    for case in CASES:
        _, y = call(case, case.arrays)
        assert type(y.op) is case.op


@each_case_and_form
def test_the_gradient_is_right_in_every_argument(case, form):
    report = mr.gradcheck(case.function, case.arrays)
    assert [argument.checked + argument.kinks for argument in report.arguments] == [x.size for x in case.arrays]


BREAKS = {
    "zeroed": lambda gradient: 0 * gradient,
    "negated": lambda gradient: -gradient,
    "scaled": lambda gradient: 1.01 * gradient,
    "flipped": lambda gradient: np.flip(gradient),
}


@pytest.mark.parametrize("damage", [
    pytest.param(name, marks=() if name == "scaled" else pytest.mark.slow) for name in BREAKS])
@each_case_and_form
def test_a_wrong_gradient_of_any_argument_is_caught(case, form, damage, monkeypatch):
    method = "backward" if form == "fast" else "plain_backward"
    right = getattr(case.op, method)

    def wrong(op, dy):
        gradients = right(op, dy)
        gradients = list(gradients) if isinstance(gradients, tuple) else [gradients]
        gradients[broken] = BREAKS[damage](gradients[broken])
        return tuple(gradients)

    monkeypatch.setattr(case.op, method, wrong)
    for broken in range(len(case.arrays)):
        with pytest.raises(mr.GradcheckError, match=rf"dL/d\(argument {broken}\) of {case.op.__name__} is wrong"):
            mr.gradcheck(case.function, case.arrays)


@each_case_and_form
def test_no_input_output_or_incoming_gradient_is_written_to(case, form):
    arrays = [x.copy() for x in case.arrays]
    for array in arrays:
        array.flags.writeable = False
    _, y = call(case, arrays)
    dy, before = cotangent(y), y.data.copy()
    y.data.flags.writeable = False
    dy.flags.writeable = False
    [step] = list(mr.backward_steps(y, dy))
    np.testing.assert_array_equal(y.data, before)
    assert step.op is y.op


@each_case_and_form
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_of_the_input_is_that_of_the_output_and_of_each_gradient(case, form, dtype):
    tensors, y = call(case, [x.astype(dtype) for x in case.arrays])
    [step] = list(mr.backward_steps(y, cotangent(y)))
    found = [y.data, *step.grad_inputs[:len(tensors)]]  # from the op itself, before anybody casts them
    assert [array.dtype for array in found] == [dtype] * len(found)
    for array, expected in zip(found, results(case, case.arrays), strict=True):
        np.testing.assert_allclose(array, expected, rtol=2e-5, atol=2e-5)


def fortran(x):
    """The same values, first axis fastest."""
    return np.asfortranarray(x)


def channels_last(x):
    """The same values, second axis fastest, as convolutions leave images."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if x.ndim > 1 else x


def strided(x):
    """The same values as every second one of a larger array, last axis backwards."""
    large = np.full((*(2 * n for n in x.shape),), np.nan)
    view = large[tuple(slice(None, None, 2) for _ in x.shape)][..., ::-1]
    view[...] = x
    return view


@pytest.mark.parametrize("order", [fortran, channels_last, strided])
@each_case_and_form
def test_the_memory_order_of_inputs_and_gradient_changes_nothing(case, form, order):
    def ordered_cotangent(y):
        return order(cotangent(y)) if y.ndim else cotangent(y)

    found = results(case, [order(x) for x in case.arrays], ordered_cotangent)
    for array, expected in zip(found, results(case, case.arrays), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-12, atol=1e-12)


@each_case_and_form
def test_a_gradient_that_repeats_one_number_is_taken_as_any_other(case, form):
    found = results(case, case.arrays, lambda y: np.broadcast_to(np.float64(0.3), y.shape))
    expected = results(case, case.arrays, lambda y: np.full(y.shape, 0.3))
    for array, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, right)


@each_case_and_form
def test_a_gradient_does_not_depend_on_which_others_are_wanted(case, form):
    _, *all_gradients = results(case, case.arrays)
    for i in range(len(case.arrays)):
        tensors, y = call(case, case.arrays, wanted=[i])
        y.backward(cotangent(y))
        assert [j for j, x in enumerate(tensors) if x.grad is not None] == [i]
        np.testing.assert_allclose(tensors[i].grad, all_gradients[i], rtol=1e-12, atol=1e-12)


@each_case_and_form
def test_a_second_backward_over_a_kept_graph_finds_the_same_gradient(case, form):
    tensors, y = call(case, case.arrays)
    y.backward(cotangent(y), retain_graph=True)
    first = [x.grad for x in tensors]
    for x in tensors:
        x.grad = None
    y.backward(cotangent(y))
    for x, gradient in zip(tensors, first, strict=True):
        np.testing.assert_array_equal(x.grad, gradient)


@each_case
def test_under_no_grad_an_op_returns_the_same_and_holds_no_graph(case):
    with mr.no_grad():
        _, y = call(case, case.arrays)
    assert y.op is None
    assert not y.requires_grad
    np.testing.assert_array_equal(y.data, results(case, case.arrays)[0])


@pytest.mark.parametrize("case", [case for case in CASES if case.op.plain_forward],
                         ids=[name for case, name in zip(CASES, NAMES, strict=True) if case.op.plain_forward])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fast_and_plain_form_agree_and_each_differentiates_the_others_graph(case, dtype):
    arrays = [x.astype(dtype) for x in case.arrays]
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    fast = results(case, arrays)
    with mr.reference_ops():
        plain = results(case, arrays)
        tensors, y = call(case, arrays)
    y.backward(cotangent(y))
    plain_then_fast = [y.data, *(x.grad for x in tensors)]
    tensors, y = call(case, arrays)
    with mr.reference_ops():
        y.backward(cotangent(y))
    fast_then_plain = [y.data, *(x.grad for x in tensors)]
    for other in (plain, plain_then_fast, fast_then_plain):
        for array, expected in zip(other, fast, strict=True):
            np.testing.assert_allclose(array, expected, rtol=tolerance, atol=tolerance)
