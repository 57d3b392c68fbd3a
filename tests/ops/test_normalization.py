"""Batch norm: the paper's formula, its running statistics, frozen statistics, digits where the mean is large."""
import contextlib

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import DTypeError, ShapeError
from minires.ops.kernels.lines import as_lines, blocks

SHAPES = [(4, 3), (2, 3), (2, 3, 4, 5), (1, 3, 3, 2), (2, 1, 1, 1), (5, 1, 2, 1), (3, 2, 1, 4)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
FORMS = {"fast": contextlib.nullcontext, "plain": mr.reference_ops}


@pytest.fixture(params=FORMS)
def form(request):
    """Each test that asks for it runs in the fast form and in the plain one."""
    with FORMS[request.param]():
        yield request.param


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def axes_of(x):
    return (0, 2, 3) if x.ndim == 4 else (0,)


def per_channel(values, x):
    """A vector (C,) in a shape that lines up with x."""
    return values.reshape((1, -1) + (1,) * (x.ndim - 2))


def statistics(C, dtype=np.float64):
    """running_mean and running_var of a net that has seen something."""
    return np.linspace(-1, 1, C).astype(dtype), np.linspace(0.5, 2, C).astype(dtype)


def normalised(x, mean, var, weight, bias, eps=1e-5):
    """The paper's algorithm 1, in one line."""
    mean, var, weight, bias = (per_channel(values, x) for values in (mean, var, weight, bias))
    return weight * (x - mean) / np.sqrt(var + eps) + bias


def run(x, training, weight=None, bias=None, dtype=np.float64, **options):
    """(output, the op's tensors x, weight and bias, running_mean, running_var)."""
    C = x.shape[1]
    weight = np.linspace(0.5, 1.5, C) if weight is None else weight
    bias = np.linspace(-1, 1, C) if bias is None else bias
    tensors = [mr.Tensor(array.astype(dtype), requires_grad=True) for array in (x, weight, bias)]
    mean, var = statistics(C, dtype)
    return ops.batch_norm(*tensors, mean, var, training, **options), tensors, mean, var


# ---- values and gradients

@pytest.mark.usefixtures("form")
@each_shape
def test_in_training_the_statistics_are_those_of_the_batch(shape):
    x = 3 * normal(*shape) + 2
    y, (_, weight, bias), _, _ = run(x, training=True)
    expected = normalised(x, x.mean(axes_of(x)), x.var(axes_of(x)), weight.data, bias.data)
    np.testing.assert_allclose(y.data, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("form")
@each_shape
def test_in_evaluation_they_are_the_running_ones_which_stay_as_they_are(shape):
    x = 3 * normal(*shape) + 2
    y, (_, weight, bias), mean, var = run(x, training=False)
    np.testing.assert_allclose(y.data, normalised(x, *statistics(shape[1]), weight.data, bias.data), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal((mean, var), statistics(shape[1]))


@pytest.mark.usefixtures("form")
@each_shape
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_is_right_in_x_weight_and_bias(shape, training):
    C = shape[1]

    def function(x, weight, bias):
        return ops.batch_norm(x, weight, bias, *statistics(C), training, eps=1e-2)  # large: two values are x_hat = ±1 else

    mr.gradcheck(function, [normal(*shape), normal(C) + 2, normal(C)])


@pytest.mark.usefixtures("form")
def test_the_sum_of_the_output_does_not_depend_on_x():
    y, (x, _, _), _, _ = run(normal(4, 3, 2, 2), training=True)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, 0, atol=1e-14)  # why a gradient check must not sum: here anything times 0 agrees


@pytest.mark.usefixtures("form")
def test_eps_keeps_a_constant_channel_at_its_bias():
    y, (x, _, bias), _, _ = run(np.full((4, 3, 2, 2), 7.0), training=True)
    y.backward(normal(4, 3, 2, 2))
    np.testing.assert_allclose(y.data, np.broadcast_to(per_channel(bias.data, y), y.shape), atol=1e-12)
    assert np.isfinite(x.grad).all()


@pytest.mark.parametrize("value", [1e-3, 255.0, 1234567.0, 3.3e7])
@pytest.mark.parametrize("shape", [(5, 2), (64, 3, 32, 32)])
def test_no_constant_channel_has_a_negative_variance_in_float32(value, shape):
    y, _, _, var = run(np.full(shape, value), training=True, dtype=np.float32, momentum=1.0)
    assert np.isfinite(y.data).all()
    assert (var >= 0).all()


# ---- running statistics

@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.3, 1.0])
@each_shape
def test_running_statistics_move_by_the_momentum_with_the_unbiased_variance(shape, momentum):
    x = 3 * normal(*shape) + 2
    _, _, mean, var = run(x, training=True, momentum=momentum)
    old_mean, old_var = statistics(shape[1])
    np.testing.assert_allclose(mean, (1 - momentum) * old_mean + momentum * x.mean(axes_of(x)), rtol=1e-12)
    np.testing.assert_allclose(var, (1 - momentum) * old_var + momentum * x.var(axes_of(x), ddof=1), rtol=1e-12)


@pytest.mark.usefixtures("form")
def test_backward_does_not_move_the_running_statistics():
    y, _, mean, var = run(normal(4, 3), training=True)
    before = mean.copy(), var.copy()
    y.backward(normal(4, 3))
    np.testing.assert_array_equal((mean, var), before)


@pytest.mark.usefixtures("form")
def test_running_statistics_keep_their_precision():
    mean, var = statistics(3, np.float32)
    weight, bias = mr.Tensor(np.ones(3)), mr.Tensor(np.zeros(3))
    ops.batch_norm(mr.Tensor(normal(4, 3)), weight, bias, mean, var, training=True)
    assert (mean.dtype, var.dtype) == (np.float32, np.float32)


# ---- frozen statistics

@pytest.mark.usefixtures("form")
@each_shape
def test_with_frozen_statistics_mean_and_variance_are_constants_in_backward(shape):
    x, dy = normal(*shape), normal(*shape, 1)[..., 0]
    frozen, tensors, mean, _ = run(x, training=True, freeze_statistics=True)
    frozen.backward(dy)
    constants = ops.batch_norm(*[mr.Tensor(t.data, requires_grad=True) for t in tensors],
                               x.mean(axes_of(x)), x.var(axes_of(x)), training=False)
    like_evaluation = constants.op.inputs
    constants.backward(dy)
    np.testing.assert_allclose(frozen.data, run(x, training=True)[0].data, rtol=1e-13)
    assert not np.array_equal(mean, statistics(shape[1])[0])  # which move nevertheless
    for ours, expected in zip(tensors, like_evaluation, strict=True):
        np.testing.assert_allclose(ours.grad, expected.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("freeze_statistics", [True, False])
def test_one_examples_gradient_depends_on_the_others_unless_the_statistics_are_frozen(freeze_statistics):
    y, (x, _, _), _, _ = run(normal(4, 3), training=True, freeze_statistics=freeze_statistics)
    dy = np.zeros((4, 3))
    dy[2] = 1, 2, 3
    y.backward(dy)
    others = x.grad[[0, 1, 3]]
    if freeze_statistics:
        np.testing.assert_array_equal(others, 0)
    else:
        assert (np.abs(others) > 1e-3).all()


# ---- digits

@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(16, 2, 6, 6), (200, 2)])
def test_a_mean_a_thousand_times_the_spread_costs_three_digits_and_not_six(shape):
    x = (normal(*shape) + 1000).astype(np.float32)
    y, tensors, _, var = run(x, training=True, dtype=np.float32, momentum=1.0)
    dy = normal(*shape, 1)[..., 0]
    y.backward(dy)
    exact, exact_tensors, _, exact_var = run(x.astype(np.float64), training=True, momentum=1.0)
    exact.backward(dy)
    three_digits = 1000 * np.finfo(np.float32).eps
    np.testing.assert_allclose(var, exact_var, rtol=three_digits)  # E[x²] - E[x]² would be off by 1000² of them
    np.testing.assert_allclose(y.data, exact.data, atol=4 * three_digits)
    for ours, expected in zip(tensors, exact_tensors, strict=True):
        np.testing.assert_allclose(ours.grad, expected.grad, atol=4 * three_digits * np.abs(expected.grad).max())


def test_a_batch_of_many_blocks_is_one_batch():
    x = normal(3, 16, 96, 96) + np.linspace(0, 9, 3).reshape(-1, 1, 1, 1)  # the first images are not like the last
    lines, _ = as_lines(np, x)
    assert len(blocks(np, lines)) > 3
    y, tensors, mean, var = run(x, training=True)
    dy = normal(*x.shape, 1)[..., 0]
    y.backward(dy)
    with mr.reference_ops():
        plain, plain_tensors, plain_mean, plain_var = run(x, training=True)
        plain.backward(dy)
    for ours, expected in ((y.data, plain.data), (mean, plain_mean), (var, plain_var),
                           *((a.grad, b.grad) for a, b in zip(tensors, plain_tensors, strict=True))):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("form")
def test_an_empty_batch_can_be_evaluated():
    y, (x, weight, _), _, _ = run(np.zeros((0, 3, 2, 2)), training=False)
    y.backward(np.zeros(y.shape))
    assert y.shape == x.grad.shape == (0, 3, 2, 2)
    np.testing.assert_array_equal(weight.grad, 0)


# ---- what is refused

@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (0, 3)])
def test_training_with_one_value_per_channel(shape):
    with pytest.raises(ShapeError, match=r"BatchNorm: x \(.*\) holds [01] values per channel; training needs at least 2"):
        run(np.ones(shape), training=True)


@pytest.mark.usefixtures("form")
def test_a_refused_batch_leaves_the_running_statistics_alone():
    mean, var = statistics(3)
    with pytest.raises(ShapeError):
        ops.batch_norm(mr.Tensor(np.ones((1, 3))), mr.Tensor(np.ones(3)), mr.Tensor(np.ones(3)), mean, var, training=True)
    np.testing.assert_array_equal((mean, var), statistics(3))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (2, 3, 4, 4, 4)])
def test_ranks_that_are_refused(shape):
    with pytest.raises(ShapeError, match=r"BatchNorm: expected x \(N, C, H, W\) or \(N, C\), got shape \("):
        ops.batch_norm(*[mr.Tensor(np.ones(s)) for s in (shape, 3, 3)], *statistics(3), training=True)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
@pytest.mark.parametrize("wrong", [(4,), (1,), (3, 1), ()])
def test_channels_that_differ(name, wrong):
    arrays = {each: np.ones(wrong if each == name else 3) for each in ("weight", "bias", "running_mean", "running_var")}
    weight, bias = mr.Tensor(arrays.pop("weight")), mr.Tensor(arrays.pop("bias"))
    with pytest.raises(ShapeError, match=rf"x \(2, 3\) has 3 channels, but {name} has shape \(.*\), expected \(3,\)"):
        ops.batch_norm(mr.Tensor(np.ones((2, 3))), weight, bias, **arrays, training=True)


def test_running_statistics_in_tensors_are_refused_as_they_could_not_be_updated():
    mean, var = statistics(3)
    weight, bias = mr.Tensor(np.ones(3)), mr.Tensor(np.ones(3))
    for wrong in ((mr.Tensor(mean), var), (mean, mr.Tensor(var))):
        with pytest.raises(DTypeError, match=r"running_mean and running_var are arrays, updated in place: pass \.data"):
            ops.batch_norm(mr.Tensor(np.ones((2, 3))), weight, bias, *wrong, training=True)
