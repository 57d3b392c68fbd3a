"""Losses: their values, their gradients, logits of any size, and labels and targets that are refused."""
import re

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ArgumentError, DTypeError, LabelError, ShapeError


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


# ---- label smoothing, ignored labels

def test_label_smoothing_spreads_a_part_of_the_target_over_all_classes():
    logits, labels = normal(5, 4), [3, 0, 1, 1, 2]
    target = 0.7 * np.eye(4)[labels] + 0.3 / 4
    x = mr.Tensor(logits, requires_grad=True)
    y = ops.cross_entropy(x, labels, label_smoothing=0.3)
    y.backward()
    assert y.item() == pytest.approx(-(target * np.log(softmax(logits))).sum() / 5, rel=1e-14)
    np.testing.assert_allclose(x.grad, (softmax(logits) - target) / 5, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_ignored_examples_are_as_if_they_were_not_there(smoothing):
    logits, labels = normal(5, 4), np.array([3, -100, 1, -100, 2])
    kept = labels != -100
    x, less = [mr.Tensor(values, requires_grad=True) for values in (logits, logits[kept])]
    y = ops.cross_entropy(x, labels, smoothing, ignore_index=-100)
    expected = ops.cross_entropy(less, labels[kept], smoothing)
    y.backward()
    expected.backward()
    assert y.item() == expected.item()
    np.testing.assert_array_equal(x.grad[kept], less.grad)
    np.testing.assert_array_equal(x.grad[~kept], 0)


def test_a_class_can_be_ignored_and_no_ignored_label_need_be_there():
    logits = normal(3, 4)
    x = mr.Tensor(logits)
    assert ops.cross_entropy(x, [0, 2, 0], ignore_index=0).item() == ops.cross_entropy(mr.Tensor(logits[1:2]), [2]).item()
    assert ops.cross_entropy(x, [1, 2, 3], ignore_index=-100).item() == ops.cross_entropy(x, [1, 2, 3]).item()


@pytest.mark.parametrize(("labels", "options", "error", "message"), [
    ([0, -100], {}, LabelError, r"label -100 is out of range: .* To leave such examples out, pass ignore_index=-100"),
    ([0, -1], {"ignore_index": -100}, LabelError, "label -1 is out of range"),
    ([0, 3], {"ignore_index": -100}, LabelError, r"label 3 is out of range: logits \(2, 3\) have the classes 0 to 2"),
    ([-1, -1], {"ignore_index": -1}, LabelError, "all 2 labels are -1, which is ignored: the mean would be over no"),
    ([0, 1], {"ignore_index": 0.0}, ArgumentError, "ignore_index is 0.0, expected an integer, or None"),
    ([0, 1], {"label_smoothing": 1.5}, ArgumentError, "label_smoothing is 1.5, expected a number from 0 to 1"),
    ([0, 1], {"label_smoothing": None}, ArgumentError, "label_smoothing is None, expected a number from 0 to 1"),
])
def test_what_is_refused_beside_the_labels(labels, options, error, message):
    with pytest.raises(error, match="^CrossEntropy: " + message):
        ops.cross_entropy(mr.Tensor(np.zeros((2, 3))), labels, **options)


# ---- yes or no, and squares

@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 1)])
def test_binary_cross_entropy_and_mean_squared_error_are_what_their_formulas_say(shape):
    x, target = normal(*shape), np.abs(normal(*shape)) % 1
    s = 1 / (1 + np.exp(-x))
    y = ops.binary_cross_entropy_with_logits(mr.Tensor(x), target)
    assert y.shape == ()
    assert y.item() == pytest.approx(-(target * np.log(s) + (1 - target) * np.log(1 - s)).mean(), rel=1e-13)
    y = ops.mse_loss(mr.Tensor(x), target)
    assert y.shape == ()
    assert y.item() == pytest.approx(((x - target) ** 2).mean(), rel=1e-14)
    for function in (ops.binary_cross_entropy_with_logits, ops.mse_loss):
        mr.gradcheck(function, [x, target])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits_of_yes_or_no_cost_their_distance_and_nothing_overflows(dtype):
    x = mr.Tensor(np.array([1e30, -1e30, 1000, -1000], dtype), requires_grad=True)
    y = ops.binary_cross_entropy_with_logits(x, [1, 0, 0, 1])
    y.backward()
    assert y.item() == pytest.approx(500, rel=1e-6)
    np.testing.assert_array_equal(x.grad, [0, 0, 0.25, -0.25])
    assert ops.binary_cross_entropy_with_logits(mr.Tensor(np.zeros(3)), np.ones(3)).item() == pytest.approx(np.log(2))


def test_a_target_may_be_an_array_of_booleans_or_of_integers_and_may_change_after_the_call():
    x, target = mr.Tensor([0.5, -2.0], requires_grad=True), np.array([1, 0])
    y = ops.mse_loss(x, target) + ops.binary_cross_entropy_with_logits(x, target > 0)
    target[:] = 7
    y.backward()
    s = 1 / (1 + np.exp(-x.data))
    np.testing.assert_allclose(x.grad, x.data - [1, 0] + (s - [1, 0]) / 2, rtol=1e-6)
    assert y.dtype == np.float32


@pytest.mark.parametrize(("function", "name"), [
    (ops.mse_loss, "MSELoss: prediction"), (ops.binary_cross_entropy_with_logits, "BinaryCrossEntropyWithLogits: logits"),
])
def test_targets_that_would_broadcast_and_means_over_nothing_are_refused(function, name):
    x = mr.Tensor(np.zeros((3, 1)))
    for target in (np.zeros(3), mr.Tensor(np.zeros((1, 1))), 0.5):
        with pytest.raises(ShapeError, match=rf"^{name} has shape \(3, 1\) and target .*; they must be equal. Reshape one"):
            function(x, target)
    with pytest.raises(ShapeError, match=rf"^{name} has shape \(0, 2\): the mean would be over no values"):
        function(mr.Tensor(np.zeros((0, 2))), np.zeros((0, 2)))
    with pytest.raises(DTypeError, match="expected a tensor among the operands, got ndarray and ndarray"):
        function(np.zeros(2), np.zeros(2))
