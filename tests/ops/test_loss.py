"""Cross-entropy: its values, its gradient, logits of any size, and labels that are refused."""
import re

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import DTypeError, LabelError, ShapeError


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def softmax(logits):
    exps = np.exp(logits)
    return exps / exps.sum(axis=1, keepdims=True)


def test_it_is_the_mean_of_minus_the_log_of_the_probability_of_the_label():
    logits, labels = normal(5, 4), [3, 0, 1, 1, 2]
    y = ops.cross_entropy(mr.Tensor(logits), labels)
    assert y.shape == ()
    assert y.item() == pytest.approx(-np.log(softmax(logits)[range(5), labels]).mean(), rel=1e-14)


def test_the_gradient_is_the_probability_less_1_at_the_label_over_the_batch_size():
    logits, labels = mr.Tensor(normal(5, 4), requires_grad=True), np.array([3, 0, 1, 1, 2])
    ops.cross_entropy(logits, labels).backward()
    expected = (softmax(logits.data) - np.eye(4)[labels]) / 5
    np.testing.assert_allclose(logits.grad, expected, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(logits.grad.sum(axis=1), 0, atol=1e-16)


@pytest.mark.parametrize(("N", "K"), [(5, 4), (1, 4), (5, 1), (1, 1), (2, 7)])
def test_the_gradient_is_right_for_any_number_of_examples_and_classes(N, K):
    labels = np.arange(N) % K
    mr.gradcheck(lambda logits: ops.cross_entropy(logits, labels), [normal(N, K)])


def test_equal_logits_cost_the_log_of_the_number_of_classes():
    for K in (1, 2, 10):
        assert ops.cross_entropy(mr.Tensor(np.full((3, K), 7.5)), [0, 0, 0]).item() == pytest.approx(np.log(K), abs=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shift", [1e4, -1e4, 1e30])
def test_huge_logits_neither_overflow_nor_lose_the_loss(dtype, shift):
    logits = mr.Tensor(np.array([[1.0, 0.0], [0.0, 1.0]], dtype) * np.array(shift, dtype), requires_grad=True)
    loss = ops.cross_entropy(logits, [0, 0])
    loss.backward()
    assert loss.item() == pytest.approx(abs(shift) / 2, rel=1e-6)  # one of the two is right for sure
    wrong_row = 1 if shift > 0 else 0
    np.testing.assert_allclose(logits.grad[wrong_row], [-0.5, 0.5])
    np.testing.assert_allclose(logits.grad[1 - wrong_row], [0, 0])


@pytest.mark.parametrize("labels", [[2, 0], (2, 0), *(np.array([2, 0], dtype) for dtype in (np.uint8, np.int32, np.int64))],
                         ids=lambda labels: f"{type(labels).__name__} {getattr(labels, 'dtype', '')}")
def test_labels_may_be_a_list_or_an_array_of_any_integers(labels):
    logits = normal(2, 3)
    assert ops.cross_entropy(mr.Tensor(logits), labels).item() == pytest.approx(
        -np.log(softmax(logits)[[0, 1], [2, 0]]).mean())


def test_labels_that_change_after_the_call_do_not_change_the_gradient():
    labels, logits = np.array([0, 1]), mr.Tensor(np.zeros((2, 2)), requires_grad=True)
    loss = ops.cross_entropy(logits, labels)
    labels[:] = 0
    loss.backward()
    np.testing.assert_array_equal(logits.grad, [[-0.25, 0.25], [0.25, -0.25]])


@pytest.mark.parametrize(("labels", "message"), [
    ([0, 3], r"label 3 is out of range: logits \(2, 3\) have the classes 0 to 2"),
    ([-1, 1], r"label -1 is out of range"),
    ([0.0, 1.0], r"labels have dtype float64, expected integers from 0 to 2"),
    ([True, False], r"labels have dtype bool, expected integers"),
    (["a", "b"], r"labels have dtype <U1, expected integers"),
    ([0], r"labels have shape \(1,\), expected \(2,\) for logits \(2, 3\): one class number for each row"),
    ([0, 1, 2], r"labels have shape \(3,\), expected \(2,\)"),
    (1, r"labels have shape \(\), expected \(2,\)"),
    (np.eye(3, dtype=int)[:2], r"labels have shape \(2, 3\), expected \(2,\)"),
])
def test_labels_that_are_refused(labels, message):
    with pytest.raises(LabelError, match="^CrossEntropy: " + message):
        ops.cross_entropy(mr.Tensor(np.zeros((2, 3))), labels)


def test_labels_in_a_tensor_are_refused():
    with pytest.raises(DTypeError, match="CrossEntropy: labels are a Tensor; pass a NumPy array or a list of integers"):
        ops.cross_entropy(mr.Tensor(np.zeros((2, 3))), mr.Tensor([0, 1]))


@pytest.mark.parametrize("shape", [(3,), (), (2, 3, 1), (0, 3), (2, 0)])
def test_logits_that_are_not_examples_by_classes(shape):
    with pytest.raises(ShapeError, match=r"CrossEntropy: expected logits \(N, K\).*got shape " + re.escape(str(shape))):
        ops.cross_entropy(mr.Tensor(np.zeros(shape)), [0, 0])
