"""Casts between float32 and float64, and moves between devices (here: those that need no GPU)."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import DeviceError, DTypeError


@pytest.mark.parametrize(("source", "target"), [(np.float32, np.float64), (np.float64, np.float32)])
def test_a_cast_rounds_the_values_and_returns_the_gradient_in_the_old_precision(source, target):
    x = mr.Tensor(np.array([0.1, 1 / 3, -2.0], dtype=source), requires_grad=True)
    y = x.astype(target)
    dy = np.array([0.1, -0.2, 0.3], dtype=target)
    [step] = list(mr.backward_steps(y, dy))
    assert y.dtype == target
    assert step.grad_inputs[0].dtype == source
    np.testing.assert_array_equal(y.data, x.data.astype(target))
    assert x.grad.dtype == source
    np.testing.assert_array_equal(x.grad, dy.astype(source))


def test_a_cast_to_the_same_precision_is_the_tensor_itself():
    x = mr.Tensor([1.0])
    assert x.astype(np.float32) is x
    assert x.astype("float32") is x


def test_a_cast_copies():
    x = mr.Tensor([1.0, 2.0])
    y = ops.cast(x, np.float32)
    y.data[0] = 9
    np.testing.assert_array_equal(x.data, [1, 2])


@pytest.mark.parametrize("dtype", [np.float16, np.int64, bool, complex])
def test_other_precisions_are_refused(dtype):
    with pytest.raises(DTypeError, match=rf"Cast: expected np.float32 or np.float64, got {np.dtype(dtype)}"):
        mr.Tensor([1.0]).astype(dtype)


def test_a_net_in_both_precisions_gets_each_gradient_in_the_precision_of_its_tensor():
    x = mr.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    weight = mr.Tensor(np.ones((4, 3), np.float64), requires_grad=True)
    y = ops.linear(x, weight)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype, weight.grad.dtype) == (np.float64, np.float32, np.float64)


def test_a_move_to_where_it_is_already_is_the_tensor_itself():
    x = mr.Tensor([1.0])
    assert x.to("cpu") is x


def test_the_op_moves_the_values_and_the_gradient_back():
    x = mr.Tensor([1.0, 2.0], requires_grad=True)
    y = ops.to_device(x, "cpu")
    y.backward(np.array([3.0, 4.0]))
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(x.grad, [3, 4])


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", "", 0])
def test_devices_that_do_not_exist(device):
    with pytest.raises(DeviceError, match=r'unknown device .*: expected "cpu", "cuda" or "cuda:1"'):
        mr.Tensor([1.0]).to(device)
