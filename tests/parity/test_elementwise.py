"""exp, log, abs, sqrt and the activations against PyTorch, out to where they saturate."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal


@pytest.mark.parametrize(("ours", "theirs"), [
    (ops.exp, torch.exp), (ops.abs, torch.abs), (ops.relu, torch.relu), (ops.sigmoid, torch.sigmoid), (ops.tanh, torch.tanh),
], ids=lambda function: function.__name__)
def test_functions_of_each_element(ours, theirs, dtype):
    assert_parity(ours, theirs, [3 * normal(4, 3, 5)], dtype)


def test_log_and_sqrt_of_positive_numbers(dtype):
    assert_parity(ops.log, torch.log, [np.abs(normal(4, 5)) + 0.1], dtype)
    assert_parity(ops.sqrt, torch.sqrt, [np.abs(normal(4, 5)) + 0.1], dtype)


def test_abs_passes_no_gradient_at_exactly_zero(dtype):
    assert_parity(ops.abs, torch.abs, [[-1.0, -0.0, 0.0, 2.0]], dtype)


@pytest.mark.parametrize(("ours", "theirs"), [(ops.sigmoid, torch.sigmoid), (ops.tanh, torch.tanh)],
                         ids=lambda function: function.__name__)
def test_saturated_activations_neither_overflow_nor_lose_their_gradient_near_zero(ours, theirs, dtype):
    assert_parity(ours, theirs, [[-1000, -100, -20, -1, -1e-4, 0, 1e-4, 1, 20, 100, 1000]], dtype)


def test_a_small_sigmoid_keeps_its_digits(dtype):
    assert_parity(ops.sigmoid, torch.sigmoid, [[-30.0, -31.0, -32.5]], dtype)


def test_relu_passes_no_gradient_at_exactly_zero(dtype):
    assert_parity(ops.relu, torch.relu, [[-1.0, -0.0, 0.0, 1.0, 2.0]], dtype)


def test_a_cast_returns_the_gradient_in_the_input_s_precision(dtype):
    other = np.float64 if dtype == np.float32 else np.float32
    torch_other = torch.float64 if dtype == np.float32 else torch.float32
    assert_parity(lambda x: ops.cast(x, other), lambda x: x.to(torch_other), [normal(3, 4)], dtype)
