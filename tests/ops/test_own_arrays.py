"""What backward needs is the op's own: arrays and lists that were given as indices, labels, masks, operands or axes may
change after forward, and the gradient stays that of the values that forward saw."""
import contextlib

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import DTypeError

each_form = pytest.mark.parametrize("form", [contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])


def set_to(value):
    """Overwrite an array, or a list and the lists in it."""
    def change(given):
        if isinstance(given, np.ndarray):
            given[...] = value
        else:
            for i, part in enumerate(given):
                if isinstance(part, (list, np.ndarray)):
                    change(part)
                else:
                    given[i] = value
    return change


KEYS = {
    "a list": ([0, 2], [0, 2]),
    "nested lists": ([[0, 2], [1, 1]], [[0, 2], [1, 1]]),
    "an array": (np.array([0, 2]), [0, 2]),
    "an array of small integers": (np.array([0, 2], np.int8), [0, 2]),
    "a view": (np.arange(8)[::3], [0, 3, 6]),
    "a mask": (np.arange(8) % 3 == 0, [0, 3, 6]),
    "a list of booleans": ([True, False] * 4, [0, 2, 4, 6]),
    "a scalar array": (np.array(5), [5]),
}


@pytest.mark.parametrize(("key", "taken"), KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("wrap", [lambda key: key, lambda key: (key, slice(None)), lambda key: (key, np.array([0]))],
                         ids=["alone", "in a tuple", "beside an array"])
def test_an_index_that_changes_after_forward(key, taken, wrap):
    key = key.copy() if isinstance(key, np.ndarray) else [list(k) if isinstance(k, list) else k for k in key]
    x = mr.Tensor(np.zeros((8, 1)), requires_grad=True)
    y = x[wrap(key)]
    set_to(1)(key)
    y.sum().backward()
    expected = np.zeros(8)
    np.add.at(expected, np.ravel(taken), 1)
    np.testing.assert_array_equal(x.grad[:, 0], expected)


@pytest.mark.parametrize("make", [list, np.array])
def test_labels_that_change_after_forward(make):
    gradients = []
    for change in (lambda labels: None, set_to(0)):
        labels, logits = make([2, 1, 0]), mr.Tensor(np.eye(3), requires_grad=True)
        loss = ops.cross_entropy(logits, labels)
        change(labels)
        loss.backward()
        gradients.append(logits.grad)
    np.testing.assert_array_equal(*gradients)


@pytest.mark.parametrize("make", [np.array, np.float32, lambda x: np.array(x) > 0.5, list],
                         ids=["float64", "float32", "bool", "list"])
@pytest.mark.parametrize("function", [lambda x, mask: x * mask, lambda x, mask: mask * x, lambda x, mask: x / (mask + x),
                                      lambda x, mask: x ** mask, lambda x, mask: x @ mask])
def test_an_operand_that_is_no_tensor_and_changes_after_forward(make, function):
    gradients = []
    for change in (lambda mask: None, set_to(3)):
        mask, x = make([1.0, 0.0, 2.0]), mr.Tensor([1.0, 2.0, 3.0], requires_grad=True)
        y = function(x, mask).sum()
        change(mask)
        y.backward()
        gradients.append(x.grad)
    np.testing.assert_array_equal(*gradients)


@each_form
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_running_statistics_that_change_after_forward(form, dtype):
    gradients = []
    for value in (None, 7):
        statistics = np.array([0.5, -1], dtype), np.array([2, 3], dtype)
        tensors = [mr.Tensor(np.array(x, dtype), requires_grad=True) for x in ([[1, 2], [5, 3]], [1, 2], [0, 0])]
        with form():
            y = ops.batch_norm(*tensors, *statistics, False)
            if value is not None:
                for array in statistics:
                    array[...] = value
            y.backward(np.array([[1, 2], [3, 5]], dtype))
        gradients.append([x.grad for x in tensors])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("function", "argument"), [
    (lambda x, shape: ops.reshape(x, shape), [3, 2]), (lambda x, axes: ops.transpose(x, axes), [1, 0]),
    (lambda x, axes: ops.sum(x, axes), [1]), (lambda x, axes: ops.mean(x, axes), [1]),
    (lambda x, axes: ops.max(x, axes), [1]),
])
def test_shapes_and_axes_in_lists_that_change_after_forward(function, argument):
    x = mr.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = function(x, argument)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(dy, retain_graph=True)
    expected, x.grad = x.grad, None
    argument[:] = [0] * len(argument)
    y.backward(dy)
    np.testing.assert_array_equal(x.grad, expected)


# ---- classes made of NumPy's array

def test_a_matrix_and_a_mapped_file_are_taken_as_plain_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(2, 2))
    mapped[...] = [[1, 2], [3, 4]]
    for x in (np.array([[1.0, 2.0], [3.0, 4.0]]).view(np.matrix), mapped):
        tensor = mr.Tensor(x, requires_grad=True)
        assert type(tensor.data) is np.ndarray
        assert np.shares_memory(tensor.data, x)
        np.testing.assert_array_equal((tensor * x).data, [[1, 4], [9, 16]])
        (tensor * tensor).sum().backward(np.array(1.0))
        np.testing.assert_array_equal(tensor.grad, [[2, 4], [6, 8]])


def test_a_masked_array_is_refused_by_name():
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    x = mr.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    for refused in (lambda: mr.Tensor(masked), lambda: x * masked, lambda: x.sum(axis=0).backward(masked),
                    lambda: x[masked.astype(int)], lambda: ops.cross_entropy(x, masked.astype(int)),
                    lambda: ops.batch_norm(x, mr.Tensor([1, 1]), mr.Tensor([0, 0]), masked, np.ones(2), True)):
        with pytest.raises(DTypeError, match=r"masked array, whose mask would be lost: pass x.filled\(value\)"):
            refused()


# ---- integers beside float64

@pytest.mark.parametrize("value", [2**40 + 1, -(2**40) - 1])
@pytest.mark.parametrize("make", [lambda n: np.array([n]), np.int64, lambda n: [n], int, lambda n: np.array([float(n)])],
                         ids=["array", "scalar of NumPy", "list", "number", "array of float64"])
def test_integers_beside_float64_stay_exact(value, make):
    x = mr.Tensor(np.array([1.0]), requires_grad=True)
    for y in (x * make(value), make(value) * x, x * make(value) + 0):
        assert y.dtype == np.float64
        assert y.item() == value
    y.backward(np.array([1.0]))
    assert x.grad[0] == value
