"""Arithmetic, powers and matrix products against PyTorch, with broadcasting."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal

ARITHMETIC = [(ops.add, torch.add), (ops.subtract, torch.sub), (ops.multiply, torch.mul), (ops.divide, torch.div)]
BROADCASTS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((2, 3, 4), (3, 1)),
    ((3, 1), (1, 4)),
    ((2, 1, 4), (5, 1, 3, 1)),
    ((), (2, 3)),
    ((1, 1), (2, 3)),
]
MATRICES = [
    ((5,), (5,)),
    ((5,), (5, 3)),
    ((4, 5), (5,)),
    ((4, 5), (5, 3)),
    ((1, 5), (5, 1)),
    ((2, 4, 5), (2, 5, 3)),
    ((2, 4, 5), (5, 3)),
    ((4, 5), (2, 5, 3)),
    ((5,), (2, 5, 3)),
    ((2, 4, 5), (5,)),
    ((2, 1, 4, 5), (3, 5, 2)),
    ((2, 3, 4, 5), (2, 3, 5, 4)),
    ((2, 3, 4, 5), (3, 5, 1)),
    ((1, 3, 1, 5), (2, 1, 5, 4)),
]


def away_from_zero(*shape, seed=0):
    """Of both signs, and at least 0.3 in magnitude: a divisor near 0 would make float32 the subject of the test."""
    x = normal(*shape, seed=seed)
    return x + np.copysign(0.3, x)


def positive(*shape, seed=0):
    return np.abs(normal(*shape, seed=seed)) + 0.3


@pytest.mark.parametrize(("shape", "other"), BROADCASTS)
@pytest.mark.parametrize(("ours", "theirs"), ARITHMETIC, ids=lambda function: function.__name__)
def test_arithmetic_broadcasts_either_operand(ours, theirs, shape, other, dtype):
    assert_parity(ours, theirs, [normal(*shape), away_from_zero(*other, seed=2)], dtype)
    assert_parity(ours, theirs, [normal(*other), away_from_zero(*shape, seed=2)], dtype)


@pytest.mark.parametrize(("shape", "other"), BROADCASTS)
def test_powers_have_gradients_of_base_and_exponent(shape, other, dtype):
    assert_parity(ops.power, torch.pow, [positive(*shape), normal(*other, seed=2)], dtype)
    assert_parity(ops.power, torch.pow, [positive(*other), normal(*shape, seed=2)], dtype)


@pytest.mark.parametrize("function", [
    lambda x: x + 2, lambda x: 2 + x, lambda x: x - 2, lambda x: 2 - x, lambda x: 3 * x, lambda x: x * 3,
    lambda x: x / 3, lambda x: 3 / x, lambda x: x ** 2, lambda x: x ** 3, lambda x: x ** -1, lambda x: -x,
], ids=["x+2", "2+x", "x-2", "2-x", "3x", "x*3", "x/3", "3/x", "x**2", "x**3", "x**-1", "-x"])
def test_python_numbers_stand_on_either_side(function, dtype):
    assert_parity(function, function, [away_from_zero(3, 4)], dtype)


def test_a_number_can_be_the_base_of_a_power(dtype):
    assert_parity(lambda x: 2 ** x, lambda x: 2 ** x, [normal(3, 4)], dtype)


@pytest.mark.parametrize("function", [lambda x: x + x, lambda x: x * x, lambda x: x / (x * x + 1), lambda x: x - x * x],
                         ids=["x+x", "x*x", "x/(x*x+1)", "x-x*x"])
def test_a_tensor_used_twice_gets_both_gradients(function, dtype):
    assert_parity(function, function, [normal(3, 4)], dtype)


@pytest.mark.parametrize(("shape", "other"), MATRICES)
def test_matmul_of_vectors_matrices_and_stacks(shape, other, dtype):
    assert_parity(ops.matmul, torch.matmul, [normal(*shape), normal(*other, seed=2)], dtype)


def test_matmul_of_a_matrix_with_its_own_transpose(dtype):
    assert_parity(lambda x: x @ x.T, lambda x: x @ x.T, [normal(3, 5)], dtype)
