"""gradcheck itself: it passes what is right, catches what is wrong, and says so where it cannot tell."""
import contextlib
import re

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError, BackwardError, DTypeError, GradcheckError, ShapeError


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


class Custom(mr.Op):
    """y = f(x), with the backward that the test wants: `slope(x)` times dy, then `damage`."""

    def __init__(self, f, slope, damage=lambda dx: dx):
        self.f = f
        self.slope = slope
        self.damage = damage

    def forward(self, x):
        self.saved = x
        return self.f(x)

    def backward(self, dy):
        return self.damage(dy * self.slope(self.saved))


def custom(f, slope, damage=lambda dx: dx):
    """A function of one tensor that makes a new `Custom` at each call."""
    return lambda x: Custom(f, slope, damage)(x)


class Product(mr.Op):
    """y = a b, whose gradients of a and b can be damaged."""

    def __init__(self, damage):
        self.damage = damage

    def forward(self, a, b):
        self.saved = a, b
        return a @ b

    def backward(self, dy):
        a, b = self.saved
        return self.damage(dy @ b.T, a.T @ dy)


DAMAGES = {
    "zeroed": lambda dx: 0 * dx,
    "negated": lambda dx: -dx,
    "scaled by 1.01": lambda dx: 1.01 * dx,
    "scaled by 1.0001": lambda dx: 1.0001 * dx,
    "flipped": lambda dx: dx[::-1],
    "shifted": lambda dx: np.roll(dx, 1),
    "transposed": lambda dx: dx.T,
    "averaged": lambda dx: np.full_like(dx, dx.mean()),
    "one element off": lambda dx: dx + 0.01 * (np.arange(dx.size) == 5).reshape(dx.shape),
    "not a number": lambda dx: np.where(np.arange(dx.size).reshape(dx.shape) == 5, np.nan, dx),
    "infinite": lambda dx: np.where(np.arange(dx.size).reshape(dx.shape) == 5, np.inf, dx),
}
each_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


# ---- wrong gradients

@each_damage
@pytest.mark.parametrize(("f", "slope"), [(lambda x: 3 * x, lambda x: 3), (np.sin, np.cos), (np.exp, np.exp),
                                          (lambda x: np.maximum(x, 0), lambda x: x > 0)], ids=["3x", "sin", "exp", "relu"])
def test_a_wrong_gradient_is_caught_and_the_right_one_passes(f, slope, damage):
    x = normal(4, 4)
    mr.gradcheck(custom(f, slope), [x])
    with pytest.raises(GradcheckError, match=r"dL/d\(argument 0\) of Custom is wrong at \["):
        mr.gradcheck(custom(f, slope, damage), [x])


@each_damage
def test_a_wrong_gradient_is_caught_through_the_rest_of_the_net(damage):
    with pytest.raises(GradcheckError, match=r"dL/d\(argument 0\) of Sum is wrong"):
        mr.gradcheck(lambda x: (custom(np.sin, np.cos, damage)(x.T) * 2 + x).sum(axis=0), [normal(4, 4)])


@pytest.mark.parametrize(("damage", "argument"), [
    (lambda da, db: (da * 1.01, db), 0),
    (lambda da, db: (da, db * 1.01), 1),
    (lambda da, db: (db.T, da.T), 0),
    (lambda da, db: (da, db[::-1]), 1),
])
def test_the_argument_whose_gradient_is_wrong_is_named(damage, argument):
    with pytest.raises(GradcheckError, match=rf"dL/d\(argument {argument}\) of Product is wrong"):
        mr.gradcheck(lambda a, b: Product(damage)(a, b), [normal(3, 2), normal(2, 3)])


@pytest.mark.parametrize("damage", [lambda da, db: (da, None), lambda da, db: (None, db)])
def test_a_gradient_that_is_dropped_is_caught(damage):
    with pytest.raises(BackwardError, match="Product: backward returned None for input"):
        mr.gradcheck(lambda a, b: Product(damage)(a, b), [normal(3, 2), normal(2, 3)])


def test_the_message_names_the_place_and_both_numbers_and_holds_the_table():
    factors = np.array([[1.0, 2.0], [3.0, 4.0]])
    wrong = custom(lambda x: factors * x, lambda x: factors, lambda dx: dx * [[1, 1], [1.5, 1.1]])
    with pytest.raises(GradcheckError) as caught:
        mr.gradcheck(wrong, [mr.Tensor(normal(2, 2), name="weight"), 7, normal(3)][:1])
    message = str(caught.value)
    found = re.match(r"gradcheck: dL/d\(weight\) of Custom is wrong at \[1, 0\]: got (\S+), expected (\S+)\n", message)
    assert float(found[1]) == pytest.approx(1.5 * float(found[2]), rel=1e-6)
    head, row = message.splitlines()[1:]
    assert head.split() == ["argument", "shape", "compared", "wrong", "kinks", "worst", "place", "got", "expected"]
    assert row.split()[:6] == ["weight", "(2,", "2)", "4", "2", "0"]


def test_the_report_lists_every_argument():
    report = mr.gradcheck(lambda a, b: a @ b, [normal(3, 2), mr.Tensor(normal(2, 3), name="b")])
    assert report.op == "MatMul"
    assert [(a.name, a.shape, a.checked, a.wrong, a.kinks) for a in report.arguments] == [
        ("argument 0", (3, 2), 6, 0, 0), ("b", (2, 3), 6, 0, 0)]
    assert all(a.worst.error < 0.1 for a in report.arguments)
    assert [line.split()[0] for line in str(report).splitlines()] == ["argument", "argument", "b"]


def test_a_loss_that_sums_would_let_a_wrong_batch_norm_through_and_gradcheck_does_not(monkeypatch):
    from minires.ops.normalization import BatchNorm

    right = BatchNorm.backward

    def wrong(op, dy):
        dx, dweight, dbias = right(op, dy)
        return 5 * dx, dweight, dbias

    def batch_norm(x, weight, bias):
        return ops.batch_norm(x, weight, bias, np.zeros(3), np.ones(3), training=True)

    monkeypatch.setattr(BatchNorm, "backward", wrong)
    arrays = [normal(4, 3), np.ones(3), normal(3)]
    tensors = [mr.Tensor(array, requires_grad=True) for array in arrays]
    batch_norm(*tensors).sum().backward()
    np.testing.assert_allclose(tensors[0].grad, 0, atol=1e-14)  # any multiple of it would agree
    with pytest.raises(GradcheckError, match=r"dL/d\(argument 0\) of BatchNorm is wrong"):
        mr.gradcheck(batch_norm, arrays)


@pytest.mark.parametrize("name", ["not a number", "infinite"])
def test_a_gradient_that_is_not_finite_is_found_where_it_is(name):
    with pytest.raises(GradcheckError, match=r"is wrong at \[1, 1\]: got (nan|-?inf), expected") as caught:
        mr.gradcheck(custom(np.sin, np.cos, DAMAGES[name]), [normal(4, 4)])
    assert caught.value.args[0].splitlines()[2].split()[4:7] == ["16", "1", "0"]


# ---- nothing hides

@each_damage
@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e6, 1e12])
def test_no_function_is_too_small_or_too_large_to_be_wrong(size, damage):
    mr.gradcheck(custom(lambda x: size * np.sin(x), lambda x: size * np.cos(x)), [normal(4, 4)])
    if damage is DAMAGES["one element off"]:
        def damage(dx):
            return dx + 0.01 * size * (np.arange(16) == 5).reshape(4, 4)
    with pytest.raises(GradcheckError, match="is wrong"):
        mr.gradcheck(custom(lambda x: size * np.sin(x), lambda x: size * np.cos(x), damage), [normal(4, 4)])


@pytest.mark.parametrize("offset", [1e2, 1e4])
def test_the_rounding_of_large_outputs_is_no_place_to_hide_either(offset):
    with pytest.raises(GradcheckError, match="is wrong"):
        mr.gradcheck(custom(lambda x: x + offset, lambda x: np.full_like(x, 1.01)), [normal(4)])


def test_a_gradient_of_what_is_always_zero_is_wrong():
    mr.gradcheck(custom(lambda x: 0 * x, lambda x: 0), [normal(3)])
    with pytest.raises(GradcheckError, match="is wrong"):
        mr.gradcheck(custom(lambda x: 0 * x, lambda x: 1e-9), [normal(3)])


@pytest.mark.parametrize("at", [1e-5, 5e-6], ids=["infinite at one step to the left", "another branch there"])
def test_a_wrong_gradient_does_not_hide_behind_differences_that_are_not_finite(at):
    def reciprocal(x):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(x < 0, np.nan, 1 / x)

    with pytest.raises(GradcheckError, match=r"is wrong at \[0\]: got -?0, expected"):
        mr.gradcheck(custom(reciprocal, lambda x: -1 / x**2, lambda dx: dx * [0, 1]), [np.array([at, 1.0])])


def test_a_right_gradient_within_a_step_of_where_the_function_ends_passes():
    def ends_at_0(x):
        return np.where(x < 0, np.nan, 3 * x)

    mr.gradcheck(custom(ends_at_0, lambda x: 3), [np.array([5e-6, 1.0])])
    with pytest.raises(GradcheckError, match=r"is wrong at \[0\]"):
        mr.gradcheck(custom(ends_at_0, lambda x: 3, lambda dx: dx * [1.01, 1]), [np.array([5e-6, 1.0])])


def test_a_small_derivative_does_not_hide_behind_a_large_one():
    x = np.array([0.0, 20.0])  # slopes 1 and 5·10⁸
    mr.gradcheck(custom(np.exp, np.exp), [x])
    with pytest.raises(GradcheckError, match=r"is wrong at \[0\]: got 0, expected"):
        mr.gradcheck(custom(np.exp, np.exp, lambda dx: dx * [0, 1]), [x])


@pytest.mark.parametrize("shape", [(401,), (30, 40), (100, 100)])
@pytest.mark.parametrize("damage", [DAMAGES[name] for name in ("zeroed", "negated", "scaled by 1.01", "flipped", "shifted")])
def test_a_wrong_gradient_of_a_large_argument_is_caught(shape, damage):
    report = mr.gradcheck(custom(np.sin, np.cos), [normal(*shape)])
    assert report.arguments[0].checked == 40 + 8
    with pytest.raises(GradcheckError, match="is wrong"):
        mr.gradcheck(custom(np.sin, np.cos, damage), [normal(*shape)])


def test_one_wrong_element_of_ten_thousand_shows_along_the_random_directions():
    def one_off(dx):
        dx[61, 83] *= 1.01
        return dx

    with pytest.raises(GradcheckError, match="is wrong at along a random direction") as caught:
        mr.gradcheck(custom(lambda x: 2 * x, lambda x: 2 + 0 * x, one_off), [normal(100, 100)])
    assert " 48 " in str(caught.value)


def test_a_backward_that_writes_to_its_incoming_gradient_cannot_hide_by_it():
    class Writes(mr.Op):
        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            dy *= 0  # if v itself became 0, every derivative of Σ v · f would be 0
            return dy

    with pytest.raises(GradcheckError, match="the backward of Writes wrote to the gradient that came in"):
        mr.gradcheck(lambda x: Writes()(x), [normal(3)])
    with pytest.raises(GradcheckError, match=r"dL/d\(argument 0\) of Multiply is wrong"):
        mr.gradcheck(lambda x: Writes()(x) * 3, [normal(3)])


# ---- smooth functions that are hard to differentiate numerically

SMOOTH = {
    "x² at 0": (lambda x: x * x, np.zeros(3)),
    "x³ at 0": (lambda x: x * x * x, np.zeros(3)),
    "x⁴ at 0": (lambda x: (x * x) * (x * x), np.zeros(3)),
    "relu(x)² at 0": (lambda x: ops.relu(x) * ops.relu(x), np.zeros(3)),
    "sin 300x": (custom(lambda x: np.sin(300 * x), lambda x: 300 * np.cos(300 * x)), normal(8)),
    "sin 5000x": (custom(lambda x: np.sin(5000 * x), lambda x: 5000 * np.cos(5000 * x)), normal(8)),
    "log near 0": (ops.log, np.array([1e-4, 1e-3, 1.0])),
    "1 / x near 0": (lambda x: 1 / x, np.array([1e-4, -1e-3, 1.0])),
    "a large input": (lambda x: x * 3, np.array([1e8, -3e9, 1.0])),
    "a large output": (lambda x: x + 1e6, normal(3)),
    "a constant": (lambda x: x * 0, normal(3)),
    "a gradient of rounding where nothing moves": (custom(lambda x: 0 * x + 1, lambda x: 1e-15), normal(3)),
    "what cancels to rounding": (lambda x: (x - x.mean()).sum(), normal(5)),
    "the sum of a batch norm": (lambda x: ops.batch_norm(x, mr.Tensor(np.ones(3)), mr.Tensor(np.ones(3)), np.zeros(3),
                                                         np.ones(3), training=True).sum(axis=0), normal(8, 3)),
    "digits lost to a large mean": (lambda x: ops.batch_norm(x, mr.Tensor(np.ones(3)), mr.Tensor(np.ones(3)), np.zeros(3),
                                                             np.ones(3), training=True), normal(8, 3) + 1e4),
}


@pytest.mark.parametrize(("function", "x"), SMOOTH.values(), ids=SMOOTH)
def test_a_right_gradient_passes_and_no_place_counts_as_a_kink(function, x):
    report = mr.gradcheck(function, [x])
    assert (report.arguments[0].checked, report.arguments[0].kinks) == (x.size, 0)


@pytest.mark.parametrize("k", [300, 5000])
@pytest.mark.parametrize("damage", [DAMAGES[name] for name in ("zeroed", "negated", "scaled by 1.01")])
def test_a_wrong_gradient_of_a_function_of_large_curvature_is_wrong_and_not_a_kink(k, damage):
    with pytest.raises(GradcheckError, match="is wrong"):
        mr.gradcheck(custom(lambda x: np.sin(k * x), lambda x: k * np.cos(k * x), damage), [normal(8)])


def test_a_bias_before_a_batch_norm_has_a_gradient_of_rounding_and_that_is_right():
    def function(x, shift, weight, bias):
        return ops.batch_norm(x + shift, weight, bias, np.zeros(3), np.ones(3), training=True)

    report = mr.gradcheck(function, [normal(6, 3), normal(3), normal(3), normal(3)])
    assert [a.kinks for a in report.arguments] == [0] * 4


# ---- kinks

def test_kinks_are_left_out_and_counted():
    x = np.concatenate([[0.0], normal(19), [0.0]])
    report = mr.gradcheck(ops.relu, [x])
    assert (report.arguments[0].checked, report.arguments[0].kinks) == (19, 2)
    mr.gradcheck(lambda x: x.max(axis=0), [np.concatenate([np.zeros((2, 1)), normal(2, 30)], axis=1)])


@pytest.mark.parametrize("distance", [0, 1e-9, 2e-6, 9e-6, -2e-6, 2e-5])
def test_a_place_near_a_kink_is_compared_or_left_out_but_not_called_wrong(distance):
    mr.gradcheck(ops.relu, [np.concatenate([[distance], normal(20)])])


@pytest.mark.parametrize("distance", [0, 2e-6, -2e-6])
@pytest.mark.parametrize("slope", [-10, 10])
def test_a_slope_that_lies_on_neither_side_nor_between_is_wrong_at_a_kink_too(distance, slope):
    def at_the_first(dx):
        return np.concatenate([[slope], dx[1:]])

    with pytest.raises(GradcheckError, match=rf"is wrong at \[0\]: got {slope}, expected"):
        mr.gradcheck(custom(lambda x: np.maximum(x, 0), lambda x: x > 0, at_the_first),
                     [np.concatenate([[distance], normal(20)])])


@pytest.mark.parametrize("kinks", [2, 3])
def test_a_tenth_of_the_places_may_be_kinks(kinks):
    x = np.concatenate([np.zeros(kinks), normal(20 - kinks)])
    if kinks == 2:
        assert mr.gradcheck(ops.relu, [x]).arguments[0].kinks == 2
    else:
        with pytest.raises(GradcheckError, match="has a kink at 3 of 20 places"):
            mr.gradcheck(ops.relu, [x])


def test_an_input_full_of_kinks_is_refused():
    with pytest.raises(GradcheckError, match="ReLU has a kink at 4 of 6 places of argument 0, so that its gradient could "
                                             "not be compared: move the inputs") as caught:
        mr.gradcheck(ops.relu, [np.array([0, 1.0, 0, 0, -1.0, 0])])
    assert "argument 0" in str(caught.value).splitlines()[-1]


# ---- functions that cannot be checked

def test_a_function_that_writes_to_its_input():
    def forward_writes(x):
        x.data += 1
        return x * 2

    class BackwardWrites(mr.Op):
        def forward(self, x):
            self.saved = x
            return x * x

        def backward(self, dy):
            self.saved *= 2
            return dy * self.saved

    for function in (forward_writes, lambda x: BackwardWrites()(x)):
        with pytest.raises(GradcheckError, match="wrote to argument 0: no forward or backward may change its inputs"):
            mr.gradcheck(function, [normal(3)])


def test_a_backward_that_writes_to_the_output():
    class Writes(mr.Op):
        def forward(self, x):
            self.saved = np.exp(x)
            return self.saved

        def backward(self, dy):
            self.saved *= dy
            return self.saved

    with pytest.raises(GradcheckError, match="the backward of Writes wrote to its output"):
        mr.gradcheck(lambda x: Writes()(x), [normal(3)])


def test_a_function_that_is_not_the_same_twice():
    generator = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="Multiply gave another output when it ran again: a random function must use "
                                             "the same seed each time"):
        mr.gradcheck(lambda x: x * generator.standard_normal(3), [normal(3)])
    mr.gradcheck(lambda x: x * np.random.default_rng(0).standard_normal(3), [normal(3)])


@pytest.mark.parametrize("function", [lambda a, b: a * 2, lambda a, b: a * b.data, lambda a, b: a * b.detach()],
                         ids=["left out", "its data", "detached"])
def test_an_argument_that_is_not_used_or_not_on_the_tape(function):
    with pytest.raises(GradcheckError, match="no gradient of Multiply reached argument 1: the function does not use it, or "
                                             r"computes with its \.data, which the tape does not see"):
        mr.gradcheck(function, [normal(3), normal(3)])


def test_a_function_off_the_tape():
    with pytest.raises(BackwardError, match="wants no gradient"):
        mr.gradcheck(lambda x: mr.Tensor(np.sin(x.data)), [normal(3)])
    with mr.no_grad(), pytest.raises(BackwardError, match=r"made under no_grad\(\)"):
        mr.gradcheck(ops.relu, [normal(3)])


@pytest.mark.parametrize("inputs", [[], [3], ["text", None], [np.arange(3)], [np.zeros((0, 3))]], ids=str)
def test_nothing_to_check(inputs):
    with pytest.raises(ArgumentError, match="got no tensor or float array with elements, so there is nothing to check"):
        mr.gradcheck(lambda *inputs: mr.Tensor(1.0), inputs)


def test_a_function_that_returns_no_tensor_or_an_empty_one():
    with pytest.raises(ArgumentError, match="the function returned a tuple, expected one Tensor"):
        mr.gradcheck(lambda x: (x, x), [normal(3)])
    with pytest.raises(ShapeError, match=r"returned a tensor of shape \(0,\), which has nothing to differentiate"):
        mr.gradcheck(lambda x: x[:0], [normal(3)])


# ---- what is checked, and what is left as it was

def test_inputs_are_copied_to_float64_and_others_are_passed_on():
    seen = []

    def function(x, y, labels, name):
        seen.append((x.dtype, y.dtype, labels, name))
        return x * y

    x, y, labels = np.ones(3, np.float32), mr.Tensor(np.full(3, 2.0), name="y"), np.arange(3)
    report = mr.gradcheck(function, [x, y, labels, "text"])
    assert [a.name for a in report.arguments] == ["argument 0", "y"]
    assert all(call == (np.float64, np.float64, labels, "text") for call in seen)
    np.testing.assert_array_equal((x, y.data), ([1] * 3, [2] * 3))
    assert y.grad is None


def test_an_input_keeps_its_memory_order():
    orders = []

    def function(x):
        orders.append(x.data.flags.f_contiguous and not x.data.flags.c_contiguous)
        return x * 2

    mr.gradcheck(function, [np.asfortranarray(normal(2, 3))])
    assert all(orders)


def test_functions_that_return_views_of_their_input_are_checked():
    for function in (lambda x: x.reshape(6), lambda x: x.T, lambda x: x[1:], ops.flatten):
        report = mr.gradcheck(function, [normal(2, 3)])
        assert report.arguments[0].checked == 6
    with pytest.raises(GradcheckError, match="is wrong"):
        mr.gradcheck(custom(lambda x: x.reshape(6), lambda x: 1, lambda dx: dx[::-1].reshape(2, 3)), [normal(2, 3)])


def test_numbers_without_axes_are_checked():
    report = mr.gradcheck(ops.multiply, [np.float64(2.0), mr.Tensor(3.0)])
    assert [a.checked for a in report.arguments] == [1, 1]
    with pytest.raises(GradcheckError, match=r"is wrong at \[\]"):
        mr.gradcheck(custom(np.sin, np.cos, DAMAGES["negated"]), [np.float64(2.0)])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_seed_weighs_the_outputs_differently_and_finds_the_same(seed):
    mr.gradcheck(ops.sigmoid, [normal(3, 4)], seed=seed)
    with pytest.raises(GradcheckError):
        mr.gradcheck(custom(np.sin, np.cos, DAMAGES["flipped"]), [normal(4, 4)], seed=seed)


def test_tolerances_can_be_wider():
    wrong = custom(np.sin, np.cos, DAMAGES["scaled by 1.01"])
    with pytest.raises(GradcheckError):
        mr.gradcheck(wrong, [normal(4)], rtol=0.001)
    mr.gradcheck(wrong, [normal(4)], rtol=0.02)
    mr.gradcheck(wrong, [normal(4)], rtol=0, atol=0.02)


# ---- modules

def net():
    generator = np.random.default_rng(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3, generator=generator), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten())


def test_the_parameters_of_a_module_are_checked_as_well():
    report = mr.gradcheck(net().astype(np.float64), [normal(2, 1, 5, 4)])
    assert [a.name for a in report.arguments] == ["argument 0", "0.weight", "0.bias", "1.weight", "1.bias"]


def test_a_wrong_gradient_of_a_parameter_is_caught(monkeypatch):
    from minires.ops.convolution import Conv2d

    right = Conv2d.backward

    def wrong(op, dy):
        dx, dweight, dbias = right(op, dy)
        return dx, dweight[:, :, ::-1, ::-1], dbias

    monkeypatch.setattr(Conv2d, "backward", wrong)
    with pytest.raises(GradcheckError, match=r"dL/d\(0\.weight\) of Flatten \(layer '3'\) is wrong"):
        mr.gradcheck(net().astype(np.float64), [normal(2, 1, 5, 4)])


def test_a_module_in_float32_is_refused():
    with pytest.raises(ArgumentError, match=r"the Sequential has float32 parameters.*check module\.astype\(np\.float64\)"):
        mr.gradcheck(net(), [normal(2, 1, 5, 4)])


@pytest.mark.parametrize("broken", [False, True])
def test_a_module_is_left_as_it_was(broken, monkeypatch):
    module = net().astype(np.float64)
    parameters = list(module.parameters())
    gradients = [parameter.data + 1 for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    before = {name: array.copy() for name, array in module.state_dict().items()}
    if broken:
        monkeypatch.setattr(ops.activation.ReLU, "backward", lambda op, dy: -dy)
        with pytest.raises(GradcheckError):
            mr.gradcheck(module, [normal(2, 1, 5, 4)])
    else:
        mr.gradcheck(module, [normal(2, 1, 5, 4)])
    after = module.state_dict()
    assert "1.running_mean" in after
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert parameter.grad is gradient


def test_a_module_whose_backward_raises_keeps_its_gradients(monkeypatch):
    module = nn.Linear(3, 2).astype(np.float64)
    module.weight.grad = gradient = np.ones((2, 3))
    monkeypatch.setattr(ops.linear.__globals__["Linear"], "backward", lambda op, dy: None)
    with pytest.raises(BackwardError):
        mr.gradcheck(module, [normal(4, 3)])
    assert module.weight.grad is gradient


@pytest.mark.parametrize(("function", "inputs", "got"), [
    (ops.relu, np.ones(3), "a function and a ndarray"), (ops.relu, mr.Tensor([1.0]), "a function and a Tensor"),
    ([np.ones(3)], ops.relu, "a list and a function"),
], ids=["array", "tensor", "swapped"])
def test_inputs_are_a_list_after_the_function(function, inputs, got):
    with pytest.raises(DTypeError, match=rf"gradcheck: got {got}, expected a function and a list of its inputs"):
        mr.gradcheck(function, inputs)


@pytest.mark.parametrize(("share", "is_wrong"), [(0.009, False), (0.015, True)])
def test_what_is_a_little_more_than_tolerated_is_wrong(share, is_wrong):
    expectation = pytest.raises(mr.GradcheckError) if is_wrong else contextlib.nullcontext()
    with expectation:
        x = mr.Tensor(np.array([1.0, -3.0]), requires_grad=True)
        mr.gradcheck(custom(lambda x: 2 * x, lambda x: 2 * (1 + share)), [x], rtol=0.01, atol=1e-9)
