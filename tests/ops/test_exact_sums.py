"""Sums of float32 numbers are as exact as float32 can hold: added up in float64 and rounded once, along any axis.

NumPy alone adds one after another along all axes but the fastest in memory, where errors grow with the count.
"""
import contextlib

import numpy as np
import pytest

import minires as mr
from minires import ops

each_form = pytest.mark.parametrize("form", [contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])


def uniform(*shape):
    return np.random.default_rng([*shape]).uniform(0.5, 1.5, shape).astype(np.float32)


def channels_last(x):
    """The same values, as convolutions leave images."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def assert_rounded_once(found, exact, times=4):
    """No element is further from the exact one than a few times the largest error that rounding alone makes."""
    assert found.dtype == np.float32
    rounding = np.abs(exact.astype(np.float32) - exact).max()
    assert 0 < np.abs(found - exact).max() <= times * rounding


def gradient_of(function, leaf, dy):
    """dL/d(leaf) of function(leaf), for dL/d(output) = dy."""
    leaf = mr.Tensor(leaf, requires_grad=True)
    function(leaf).backward(dy)
    return leaf.grad


@pytest.mark.parametrize("axis", [0, (0, 1), (1, 2), (0, 2), (2, 0)], ids=str)
@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray, lambda x: x.transpose(1, 2, 0)])
def test_sum_and_mean(axis, order):
    x = order(uniform(300, 31, 40))
    assert_rounded_once(ops.sum(mr.Tensor(x), axis).data, x.sum(axis=axis, dtype=np.float64))
    assert_rounded_once(ops.mean(mr.Tensor(x), axis).data, x.mean(axis=axis, dtype=np.float64))


@pytest.mark.parametrize("op", [ops.add, ops.subtract, ops.multiply, ops.divide])
@pytest.mark.parametrize("shape", [(7,), (1, 7), (100, 1, 1), ()], ids=str)
def test_the_gradient_of_an_operand_that_was_broadcast(op, shape):
    a, dy = np.ones((100, 300, 7), np.float32), uniform(100, 300, 7)
    axes = tuple(i for i in range(3) if ((1,) * (3 - len(shape)) + shape)[i] == 1)
    exact = dy.sum(axis=axes, dtype=np.float64).reshape(shape) * (-1 if op in (ops.subtract, ops.divide) else 1)
    assert_rounded_once(gradient_of(lambda b: op(mr.Tensor(a), b), np.ones(shape, np.float32), dy), exact)


def test_the_bias_of_a_linear_layer():
    dy = uniform(100_000, 5)
    x, weight = mr.Tensor(np.ones((100_000, 1))), mr.Tensor(np.ones((5, 1)))
    exact = dy.sum(axis=0, dtype=np.float64)
    assert_rounded_once(gradient_of(lambda bias: ops.linear(x, weight, bias), np.zeros(5, np.float32), dy), exact)


@each_form
@pytest.mark.parametrize("order", [np.ascontiguousarray, channels_last])
def test_the_bias_of_a_convolution(form, order):
    dy = order(uniform(300, 6, 8, 8))
    x, weight = mr.Tensor(np.ones((300, 1, 8, 8))), mr.Tensor(np.ones((6, 1, 1, 1)))
    with form():
        found = gradient_of(lambda bias: ops.conv2d(x, weight, bias), np.zeros(6, np.float32), dy)
    assert_rounded_once(found, dy.sum(axis=(0, 2, 3), dtype=np.float64))


@pytest.mark.parametrize("order", [np.ascontiguousarray, channels_last])
def test_global_average_pooling(order):
    x = order(uniform(2, 8, 128, 128))
    assert_rounded_once(ops.global_avg_pool2d(mr.Tensor(x)).data, x.mean(axis=(2, 3), dtype=np.float64))


@each_form
@pytest.mark.parametrize("order", [np.ascontiguousarray, channels_last])
def test_average_pooling_and_its_gradient(form, order):
    x, dy = order(uniform(2, 3, 48, 48)), order(uniform(2, 3, 9, 9))
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (40, 40), axis=(2, 3))
    counted = np.zeros(x.shape)
    for i in range(9):
        for j in range(9):
            counted[:, :, i:i + 40, j:j + 40] += dy[:, :, i, j, None, None].astype(np.float64) / 1600
    with form():
        assert_rounded_once(ops.avg_pool2d(mr.Tensor(x), 40, 1).data, windows.mean(axis=(4, 5)))
        assert_rounded_once(gradient_of(lambda x: ops.avg_pool2d(x, 40, 1), x, dy), counted)


@pytest.mark.parametrize("shape", [(100_000, 4), (100, 4, 30, 30)], ids=str)
def test_the_definition_of_batch_norm(shape):
    """Statistics, output and gradients, of a mean that is large beside the spread."""
    generator = np.random.default_rng(0)
    x, dy = (generator.standard_normal(shape) + 100).astype(np.float32), uniform(*shape)
    axes, line = ((0, 2, 3), (1, 4, 1, 1)) if len(shape) == 4 else ((0,), (1, 4))
    mean, var = x.mean(axis=axes, dtype=np.float64), x.var(axis=axes, dtype=np.float64)
    running_mean, running_var = np.zeros(4, np.float32), np.ones(4, np.float32)
    tensors = [mr.Tensor(values, requires_grad=True) for values in (x, uniform(4), uniform(4) - 1)]
    with mr.reference_ops():
        y = ops.batch_norm(*tensors, running_mean, running_var, True, momentum=1.0)
        y.backward(dy)
    M = x.size / 4
    assert_rounded_once(running_mean, mean)
    assert_rounded_once(running_var, var * M / (M - 1))
    x_hat = (x - mean.reshape(line)) / np.sqrt(var.reshape(line) + 1e-5)
    assert_rounded_once(y.data, tensors[1].data.reshape(line) * x_hat + tensors[2].data.reshape(line))
    assert_rounded_once(tensors[2].grad, dy.sum(axis=axes, dtype=np.float64))


@pytest.mark.parametrize("training", [True, False])
def test_both_forms_of_batch_norm_agree_in_float64_on_statistics_of_float32(training):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((6, 3, 4, 4))
    layer = mr.nn.BatchNorm2d(3)
    layer.running_var[...] = generator.uniform(0.5, 2, 3)
    layer.train(training)
    found = []
    for plain in (False, True):
        statistics = layer.running_mean.copy(), layer.running_var.copy()
        with mr.reference_ops(plain):
            found.append(ops.batch_norm(mr.Tensor(x), layer.weight, layer.bias, *statistics, training).data)
    assert found[0].dtype == np.float64
    np.testing.assert_allclose(found[0], found[1], rtol=1e-13, atol=1e-13)


def test_cross_entropy_of_many_examples():
    logits = np.random.default_rng(0).standard_normal((20_000, 3)).astype(np.float32)
    exact = logits.astype(np.float64)
    exact = (np.log(np.exp(exact).sum(axis=1)) - exact[:, 0]).mean()
    for order in (np.ascontiguousarray, np.asfortranarray):
        assert abs(ops.cross_entropy(mr.Tensor(order(logits)), np.zeros(20_000, int)).item() - exact) < 1e-7
