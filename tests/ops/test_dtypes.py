"""Precision: float32 stays float32 and float64 float64, through ops, layers, nets and optimizers; nothing else comes in.

A single float64 number in between would double the time of all that follows, and a single float32 one would cost the
digits that a numerical check needs. So every array on the way is looked at, not only the last.
"""
import contextlib
import itertools

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops, optim
from minires.errors import DTypeError, LabelError, StateError
from tests.ops.test_every_op import CASES, NAMES, normal

PRECISIONS = [np.float32, np.float64]
each_precision = pytest.mark.parametrize("dtype", PRECISIONS, ids=["float32", "float64"])
each_form = pytest.mark.parametrize("form", [contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])

LAYERS = {
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, padding=1, stride=2), (2, 2, 5, 4)),
    "Conv2d of groups": (lambda: nn.Conv2d(4, 2, (2, 3), groups=2, dilation=2, bias=False), (2, 4, 5, 6)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (4, 3, 2, 2)),
    "BatchNorm2d in evaluation": (lambda: nn.BatchNorm2d(3).eval(), (4, 3, 2, 2)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (2, 3, 4)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
    "RMSNorm": (lambda: nn.RMSNorm(4), (2, 3, 4)),
    "Dropout": (lambda: nn.Dropout(0.5), (2, 3, 4)),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, groups=2), (2, 2, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3, 2), (2, 2, 3, 4)),
    "Upsample": (lambda: nn.Upsample(2), (2, 2, 3, 4)),
    "Upsample, bilinear": (lambda: nn.Upsample(3, "bilinear"), (2, 2, 3, 4)),
    "Linear": (lambda: nn.Linear(4, 3), (2, 4)),
    "ReLU": (nn.ReLU, (2, 3)),
    "Sigmoid": (nn.Sigmoid, (2, 3)),
    "Tanh": (nn.Tanh, (2, 3)),
    "LeakyReLU": (nn.LeakyReLU, (2, 3)),
    "ELU": (nn.ELU, (2, 3)),
    "Softplus": (nn.Softplus, (2, 3)),
    "SiLU": (nn.SiLU, (2, 3)),
    "GELU": (nn.GELU, (2, 3)),
    "GELU, tanh": (lambda: nn.GELU("tanh"), (2, 3)),
    "Softmax": (nn.Softmax, (2, 3)),
    "LogSoftmax": (nn.LogSoftmax, (2, 3)),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1), (2, 3, 5, 4)),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1), (2, 3, 5, 4)),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d, (2, 3, 5, 4)),
    "Flatten": (nn.Flatten, (2, 3, 2, 2)),
    "Identity": (nn.Identity, (2, 3)),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (2, 4)),
}
NETS = {
    "residual, A": lambda: models.cifar_net(8, width=2),
    "residual, B": lambda: models.cifar_net(8, width=2, shortcut="B", preactivation=True),
    "plain": lambda: models.cifar_net(8, residual=False, width=2, batch_norm=False),
    "flat": lambda: models.flat_net(2, width=3, in_channels=3, activation="tanh", batch_norm=True),
}


class Precisions(mr.BackwardHook):
    """Collects (where, dtype) of every array that an op makes, forward and backward, and of what reaches a leaf."""

    def __init__(self):
        self.found = []

    def after_forward(self, op, inputs, output):
        self.found.append((f"output of {op.title}", output.dtype))

    def after_step(self, step):
        for i, gradient in enumerate((step.grad_output, *step.grad_inputs)):
            if gradient is not None:
                self.found.append((f"gradient {i} of {step.op.title}", gradient.dtype))

    def leaf_gradient(self, leaf, gradient):
        self.found.append((f"gradient of {leaf.name}", gradient.dtype))

    def others_than(self, dtype):
        """Where another precision was found. At least one array must have been seen."""
        assert self.found
        return [(where, found) for where, found in self.found if found != dtype]


# ---- one precision everywhere

@each_precision
@each_form
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_every_op_keeps_the_precision_of_its_inputs_in_all_that_it_makes(case, form, dtype):
    inputs = [mr.Tensor(x.astype(dtype), requires_grad=True) for x in case.arrays]
    with form(), Precisions() as precisions:
        y = case.function(*inputs)
        y.backward(np.ones(y.shape))  # dL/dy takes y's precision
    assert precisions.others_than(dtype) == []
    assert [x.grad.dtype for x in inputs] == [dtype] * len(inputs)


@each_precision
@each_form
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_keeps_the_precision_of_its_parameters_and_input(name, form, dtype):
    make, shape = LAYERS[name]
    layer = make().astype(dtype)
    x = mr.Tensor(normal(*shape).astype(dtype), requires_grad=True)
    with form(), Precisions() as precisions:
        for _ in range(2):  # the second gradient is added to the first
            (layer(x) * 3).sum().backward()
    assert precisions.others_than(dtype) == []
    arrays = [x.grad, *(array for p in layer.parameters() for array in (p.data, p.grad)),
              *(array for _, array in layer.named_buffers())]
    assert [array.dtype for array in arrays] == [dtype] * len(arrays)


def test_every_layer_of_nn_is_in_the_table():
    classes = {getattr(nn, name) for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    exported = {each for each in classes if issubclass(each, nn.Module)} - {nn.Module, nn.ModuleList, nn.ModuleDict}
    exported -= {nn.Embedding,  # takes integers
                 nn.MultiheadAttention}  # of layers and ops that are here
    assert {type(make()) for make, _ in LAYERS.values()} == exported


@each_precision
@pytest.mark.parametrize("settings", [
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
    {"lr": np.float64(0.1), "momentum": np.float64(0.9), "weight_decay": np.float64(1e-4), "nesterov": True},
], ids=["plain SGD", "momentum", "NumPy's float64 numbers"])
@pytest.mark.parametrize("net", NETS)
def test_training_a_net_stays_in_its_precision(net, settings, dtype):
    net = NETS[net]().astype(dtype)
    optimizer = optim.SGD(net.parameters(), **settings)
    schedule = optim.MultiStepLR(optimizer, [1, 2], gamma=np.float64(0.5))
    x, labels = mr.Tensor(normal(3, 3, 8, 8).astype(dtype)), np.array([0, 2, 1])
    before = [p.data.copy() for p in net.parameters()]
    with Precisions() as precisions:
        for _ in range(3):
            optimizer.zero_grad()
            loss = ops.cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
    assert precisions.others_than(dtype) == []
    for p, old in zip(net.parameters(), before, strict=True):
        assert p.data.dtype == p.grad.dtype == dtype
        assert not np.array_equal(p.data, old), p.name
    assert {array.dtype for _, array in net.named_buffers()} <= {np.dtype(dtype)}
    velocities = [v.dtype for v in optimizer.velocities if v is not None]
    assert velocities == [dtype] * (len(before) if "momentum" in settings else 0)
    assert {type(value) for value in (optimizer.lr, optimizer.momentum, optimizer.weight_decay)} == {float}
    assert loss.dtype == dtype


@each_precision
def test_a_saved_state_of_the_other_precision_is_taken_in_the_nets_own(dtype):
    other = next(p for p in PRECISIONS if p is not dtype)
    source, target = NETS["flat"]().astype(other), NETS["flat"]().astype(dtype)
    target.load_state_dict(source.state_dict())
    assert {value.dtype for value in target.state_dict().values()} == {np.dtype(dtype)}
    donor, optimizer = [optim.SGD(net.parameters(), 0.1, momentum=0.9) for net in (source, target)]
    ops.cross_entropy(source(mr.Tensor(normal(2, 3, 5, 4).astype(other))), [0, 1]).backward()
    donor.step()
    optimizer.load_state_dict(donor.state_dict())
    assert {v.dtype for v in optimizer.velocities} == {np.dtype(dtype)}


@each_precision
def test_a_velocity_has_its_parameters_precision_though_the_gradient_was_set_by_hand_in_another(dtype):
    w = mr.Tensor(np.zeros(3, dtype), requires_grad=True)
    optimizer = optim.SGD([w], 0.1, momentum=0.9)
    for other in (np.float64, np.float32, np.int64):
        w.grad = np.ones(3, other)
        optimizer.step()
        assert w.dtype == optimizer.velocities[0].dtype == dtype


@each_precision
@pytest.mark.parametrize("init", ["he_normal_", "glorot_normal_", "glorot_uniform_", "lecun_normal_", "orthogonal_",
                                  "delta_orthogonal_"])
def test_initialisers_write_in_the_precision_of_the_weight(init, dtype):
    weight = mr.Tensor(np.zeros((3, 2, 3, 3), dtype))
    getattr(nn.init, init)(weight, np.random.default_rng(0))
    assert weight.dtype == dtype
    assert weight.data.any()


# ---- float32 beside float64

@each_form
@pytest.mark.parametrize("case", [case for case in CASES if len(case.arrays) > 1],
                         ids=[name for case, name in zip(CASES, NAMES, strict=True) if len(case.arrays) > 1])
def test_of_mixed_inputs_each_gradient_has_the_precision_of_its_own_input(case, form):
    """The result is float64 if x or the weight is. A bias does not decide; nor does anything but x in a normalisation."""
    exact = [mr.Tensor(x, requires_grad=True) for x in case.arrays]
    case.function(*exact).sum().backward()
    for dtypes in itertools.product(PRECISIONS, repeat=len(case.arrays)):
        inputs = [mr.Tensor(x.astype(dtype), requires_grad=True) for x, dtype in zip(case.arrays, dtypes, strict=True)]
        with form():
            y = case.function(*inputs)
        deciding = dtypes[:1] if "Norm" in case.op.__name__ else dtypes[:2]
        assert y.dtype == np.result_type(*deciding)
        y.sum().backward()  # by the fast form, in either case
        for x, right in zip(inputs, exact, strict=True):
            assert x.grad.dtype == x.dtype
            np.testing.assert_allclose(x.grad, right.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtypes", list(itertools.product(PRECISIONS, repeat=3)), ids=str)
def test_a_batch_norm_of_mixed_precision_can_be_stepped_through(dtypes):
    """The fast form ran forward, and a breakpoint makes the plain one run backward."""
    arrays = [normal(4, 3, 2, 2), normal(3), normal(3)]
    inputs = [mr.Tensor(x.astype(dtype), requires_grad=True) for x, dtype in zip(arrays, dtypes, strict=True)]
    y = ops.batch_norm(*inputs, np.zeros(3), np.ones(3), True)
    with mr.reference_ops():
        y.backward(normal(*y.shape))
    assert [x.grad.dtype for x in inputs] == list(dtypes)


@pytest.mark.parametrize(("net_dtype", "x_dtype"), [(np.float32, np.float64), (np.float64, np.float32)])
def test_a_net_computes_in_float64_where_it_or_the_images_are_and_keeps_its_own_precision(net_dtype, x_dtype):
    net = NETS["residual, B"]().astype(net_dtype)
    x = mr.Tensor(normal(2, 3, 8, 8).astype(x_dtype), requires_grad=True)
    y = net(x)
    y.backward(np.ones(y.shape))
    assert y.dtype == np.float64
    assert x.grad.dtype == x_dtype
    assert {array.dtype for p in net.parameters() for array in (p.data, p.grad)} == {np.dtype(net_dtype)}
    assert {array.dtype for _, array in net.named_buffers()} == {np.dtype(net_dtype)}


# ---- numbers and arrays that come in from outside

@each_precision
@pytest.mark.parametrize("number", [2, 2.0, True, np.float64(2), np.float32(2), np.float16(2), np.int64(2), np.bool_(True)],
                         ids=lambda number: type(number).__name__)
def test_a_number_does_not_change_the_precision(number, dtype):
    x = mr.Tensor(np.array([1, 4], dtype), requires_grad=True)
    results = [x + number, number + x, x - number, number - x, x * number, number * x, x / number, number / x, x ** number,
               number ** x]
    assert {y.dtype for y in results} == {np.dtype(dtype)}
    expected = np.array([1.0, 4.0]) * float(number)
    np.testing.assert_array_equal(results[4].data, expected)
    np.testing.assert_array_equal(results[5].data, expected)
    sum(results[1:], results[0]).sum().backward()
    assert x.grad.dtype == dtype


@each_precision
@pytest.mark.parametrize("other", [np.int8, np.uint8, np.int64, bool, np.float16])
def test_arrays_of_other_real_numbers_take_part_as_float32(other, dtype):
    array = np.array([1, 0, 1]).astype(other)
    x = mr.Tensor(np.array([1.5, 2.5, 3.5], dtype), requires_grad=True)
    for y in (x * array, array * x):
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.data, [1.5, 0, 3.5])
    leaf = mr.Tensor(array, requires_grad=True)
    (leaf * 3).sum().backward()
    assert leaf.dtype == leaf.grad.dtype == np.float32
    np.testing.assert_array_equal(leaf.grad, [3, 3, 3])


@each_precision
@pytest.mark.parametrize("other", [np.int64, bool, np.float16, np.float32, np.float64])
def test_the_gradient_given_to_backward_takes_the_precision_of_the_result(other, dtype):
    x = mr.Tensor(np.ones(2, dtype), requires_grad=True)
    (x * 3).backward(np.array([1, 0], other))
    assert x.grad.dtype == dtype
    np.testing.assert_array_equal(x.grad, [3, 0])


NOT_REAL = {
    "complex": np.array([1j, 2]),
    "complex64": np.array([1j, 2], np.complex64),
    "objects": np.array([None, 2]),
    "numbers as objects": np.array([1, 2], object),
    "text": np.array(["1", "2"]),
    "dates": np.array(["2020-01-01", "2021-01-01"], "datetime64[D]"),
}
each_not_real = pytest.mark.parametrize("values", NOT_REAL.values(), ids=NOT_REAL)


@each_not_real
def test_what_is_not_real_is_refused_as_a_tensor_operand_and_gradient(values):
    x = mr.Tensor([1.0, 2.0], requires_grad=True)
    for refused in (lambda: mr.Tensor(values), lambda: x + values, lambda: values * x):
        with pytest.raises(DTypeError, match="Tensor: expected real numbers, got dtype"):
            refused()
    with pytest.raises(DTypeError, match=r"backward: gradient: (cannot make an array of numbers|expected real numbers)"):
        (x * 1).backward(values)
    assert x.grad is None


@pytest.mark.parametrize("value", [[1j, 2], [None, 2], ["1", "2"]], ids=str)
def test_lists_and_values_that_are_not_real_are_refused(value):
    x = mr.Tensor([1.0, 2.0], requires_grad=True)
    for refused in (lambda: mr.Tensor(value), lambda: x + value, lambda: x + value[0], lambda: value[0] * x):
        with pytest.raises(DTypeError, match="Tensor: cannot make an array of numbers"):
            refused()
    with pytest.raises(DTypeError, match=r"backward: gradient: (cannot make an array of numbers|expected real numbers)"):
        (x * 1).backward(value)


@each_not_real
def test_what_is_not_real_is_refused_by_the_optimizer(values):
    w = mr.Tensor([1.0, 2.0], requires_grad=True, name="w")
    optimizer = optim.SGD([w], 0.1, momentum=0.9)
    with pytest.raises(StateError, match=r"velocity.w: holds .* values, expected real numbers"):
        optimizer.load_state_dict(optimizer.state_dict() | {"velocity.w": values})
    w.grad = values
    with pytest.raises(DTypeError, match=r"SGD: Tensor\('w', .* has a grad of .*, expected real numbers"):
        optimizer.step()
    np.testing.assert_array_equal(w.data, [1, 2])
    assert optimizer.velocities == [None]


@each_not_real
def test_what_is_not_real_is_refused_as_the_state_of_a_net(values):
    layer = nn.Linear(2, 1)
    with pytest.raises(StateError, match=r"weight holds .* values, expected an array of real numbers"):
        layer.load_state_dict({"weight": values.reshape(1, 2), "bias": np.zeros(1)})


@pytest.mark.parametrize("values", [*NOT_REAL.values(), np.array([0, 1]), np.zeros(2, np.float16), [0.0, 0.0]],
                         ids=[*NOT_REAL, "integers", "float16", "list"])
@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_that_cannot_be_updated_in_place_are_refused(values, training):
    x, weight, bias = mr.Tensor(normal(3, 2)), mr.Tensor([1.0, 1.0]), mr.Tensor([0.0, 0.0])
    for name, statistics in (("running_mean", (values, np.ones(2))), ("running_var", (np.zeros(2), values))):
        with pytest.raises(DTypeError, match=rf"BatchNorm: {name} is updated in place: expected an array of float32 or"):
            ops.batch_norm(x, weight, bias, *statistics, training)


@pytest.mark.parametrize("labels", [*NOT_REAL.values(), np.array([0.0, 1.0]), np.array([True, False])],
                         ids=[*NOT_REAL, "float64", "booleans"])
def test_labels_that_are_not_integers_are_refused(labels):
    with pytest.raises(LabelError, match=r"CrossEntropy: labels have dtype .*, expected integers from 0 to 2"):
        ops.cross_entropy(mr.Tensor(normal(2, 3)), labels)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, bool, complex, object])
def test_a_cast_to_another_precision_is_refused(dtype):
    with pytest.raises(DTypeError, match=r"Cast: expected np.float32 or np.float64, got"):
        mr.Tensor([1.0]).astype(dtype)
    with pytest.raises(DTypeError, match=r"astype: expected np.float32 or np.float64, got"):
        nn.Linear(2, 1).astype(dtype)
