"""Layer norm, group norm and RMS norm against the definition in NumPy, and what they refuse."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError, ShapeError
from tests.ops.test_every_op import normal


def normalised(x, axes, eps=1e-5):
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


@pytest.mark.parametrize(("shape", "normalized_shape", "axes"), [
    ((2, 3, 4), 4, -1), ((2, 3, 4), (3, 4), (1, 2)), ((5,), [5], 0), ((2, 3, 4), (2, 3, 4), (0, 1, 2)), ((0, 3), 3, 1)])
def test_layer_norm_is_the_definition(shape, normalized_shape, axes):
    x, of = 3 * normal(*shape) + 2, np.empty(shape).shape[len(shape) - np.size(axes):]
    weight, bias = normal(*of), normal(*of) + 1
    y = ops.layer_norm(mr.Tensor(x), normalized_shape, mr.Tensor(weight), mr.Tensor(bias), eps=0.1)
    np.testing.assert_allclose(y.data, normalised(x, axes, 0.1) * weight + bias, rtol=1e-12)


@pytest.mark.parametrize("G", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 4, 2, 5)])
def test_group_norm_is_the_definition(shape, G):
    x, weight = 3 * normal(*shape) + 2, normal(4)
    expected = normalised(x.reshape(3, G, -1), 2).reshape(shape) * weight.reshape(4, *[1] * (len(shape) - 2))
    np.testing.assert_allclose(ops.group_norm(mr.Tensor(x), G, mr.Tensor(weight)).data, expected, rtol=1e-10, atol=1e-12)


def test_rms_norm_is_the_definition_with_an_eps_of_the_precision():
    x = normal(2, 3, 4)
    expected = x / np.sqrt((x * x).mean((1, 2), keepdims=True) + 0.1)
    np.testing.assert_allclose(ops.rms_norm(mr.Tensor(x), (3, 4), eps=0.1).data, expected, rtol=1e-12)
    for dtype in (np.float32, np.float64):
        y = ops.rms_norm(mr.Tensor(np.full(2, 1e-10, dtype)), 2)
        np.testing.assert_allclose(y.data, 1e-10 / np.sqrt(np.finfo(dtype).eps), rtol=1e-4)


def test_a_large_mean_costs_no_more_digits_than_the_numbers_have():
    x = (normal(4, 1000) + 1000).astype(np.float32)
    for y in (ops.layer_norm(mr.Tensor(x), 1000), ops.group_norm(mr.Tensor(x), 1)):
        np.testing.assert_allclose(y.data, normalised(x, 1), atol=1e-4)


def test_an_example_does_not_see_the_others():
    x = mr.Tensor(normal(3, 4, 2), requires_grad=True)
    for y in (ops.layer_norm(x, 2), ops.group_norm(x, 2), ops.rms_norm(x, 2)):
        x.grad = None
        y[1].backward(normal(4, 2))
        assert [bool(np.abs(example).max() > 0) for example in x.grad] == [False, True, False]


X = mr.Tensor(normal(2, 6, 3))


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: ops.layer_norm(X, 4), ShapeError, r"LayerNorm: expected x \(..., 4\), which ends in normalized_shape"),
    (lambda: ops.layer_norm(X, (2, 2, 6, 3)), ShapeError, "LayerNorm: expected x"),
    (lambda: ops.layer_norm(X, 3, mr.Tensor([1.0])), ShapeError, r"LayerNorm: weight has shape \(1,\), expected .* \(3,\)"),
    (lambda: ops.layer_norm(X, 3, None, mr.Tensor([1.0])), ShapeError, "LayerNorm: bias has shape"),
    (lambda: ops.layer_norm(X, 0), ArgumentError, r"LayerNorm: normalized_shape is 0, expected positive integers"),
    (lambda: ops.layer_norm(X, 3, eps=-1), ArgumentError, "LayerNorm: eps is -1"),
    (lambda: ops.rms_norm(X, 4), ShapeError, "RMSNorm: expected x"),
    (lambda: ops.rms_norm(X, 3, mr.Tensor([1.0])), ShapeError, "RMSNorm: weight has shape"),
    (lambda: ops.group_norm(X, 4), ShapeError, "GroupNorm: x .* has 6 channels, which cannot be split into 4 groups"),
    (lambda: ops.group_norm(X, 2, mr.Tensor([1.0])), ShapeError, r"but weight has shape \(1,\), expected \(6,\)"),
    (lambda: ops.group_norm(X[0, 0], 1), ShapeError, r"GroupNorm: expected x \(N, C, ...\)"),
    (lambda: ops.group_norm(X, 0), ArgumentError, "GroupNorm: num_groups is 0"),
    (lambda: nn.GroupNorm(4, 6), ArgumentError, "GroupNorm: 6 channels cannot be split into 4 groups"),
])
def test_what_does_not_fit_is_named(call, error, said):
    with pytest.raises(error, match=said):
        call()
