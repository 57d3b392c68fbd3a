"""+ - * / ** @ with NumPy's broadcasting: values, gradients over shapes, Python numbers, and what is refused."""
import operator

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import DTypeError, ShapeError

BINARY = {
    ops.add: operator.add,
    ops.subtract: operator.sub,
    ops.multiply: operator.mul,
    ops.divide: operator.truediv,
    ops.power: operator.pow,
}
BROADCASTS = [
    ((), ()),
    ((3,), ()),
    ((), (2, 3)),
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((2, 3), (2, 1)),
    ((2, 1), (1, 3)),
    ((1, 1), (2, 3)),
    ((4, 1, 2), (3, 1)),
    ((1,), (1, 1)),
    ((2, 1, 3), (2, 1, 1)),
]
MATMULS = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((1, 3), (3, 1)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((1, 2, 3), (4, 3, 2)),
]
each_op = pytest.mark.parametrize("op", BINARY, ids=[op.__name__ for op in BINARY])


def positive(*shape):
    """Numbers between 0.5 and 2: every op is smooth there."""
    return np.random.default_rng([*shape]).uniform(0.5, 2, shape)


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


@each_op
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_the_values_are_numpys_and_the_gradients_right(op, shapes):
    a, b = positive(*shapes[0]), positive(*shapes[1], 2)[..., 0]
    y = op(mr.Tensor(a), mr.Tensor(b))
    np.testing.assert_array_equal(y.data, BINARY[op](a, b))
    mr.gradcheck(op, [a, b])


@each_op
def test_operators_are_the_ops(op):
    a, b = mr.Tensor(positive(2, 3)), mr.Tensor(positive(3))
    np.testing.assert_array_equal(BINARY[op](a, b).data, op(a, b).data)


@each_op
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [2, 2.5, True, np.float64(2.5)], ids=repr)
def test_a_number_takes_the_tensors_precision_on_either_side(op, dtype, number):
    a = positive(2, 3).astype(dtype)
    for y, expected in ((BINARY[op](mr.Tensor(a), number), BINARY[op](a, dtype(number))),
                        (BINARY[op](number, mr.Tensor(a)), BINARY[op](dtype(number), a))):
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.data, expected)


@each_op
def test_an_array_on_the_left_makes_a_tensor_and_not_an_array_of_tensors(op):
    a, b = positive(2, 3), mr.Tensor(positive(3))
    y = BINARY[op](a, b)
    assert isinstance(y, mr.Tensor)
    np.testing.assert_array_equal(y.data, BINARY[op](a, b.data))


@each_op
def test_the_same_tensor_on_both_sides_gets_both_gradients(op):
    mr.gradcheck(lambda x: op(x, x), [positive(2, 3)])


def test_negation():
    x = mr.Tensor([1.0, -2.0], requires_grad=True)
    (-x).backward(np.array([3.0, 4.0]))
    np.testing.assert_array_equal((-x).data, [-1, 2])
    np.testing.assert_array_equal(x.grad, [-3, -4])


# ---- powers

@pytest.mark.parametrize("exponent", [2, 3, -1, 0, 1, 0.5, -1.5])
def test_powers_of_a_tensor(exponent):
    x = positive(2, 3)
    np.testing.assert_array_equal((mr.Tensor(x) ** exponent).data, x ** float(exponent))
    mr.gradcheck(lambda x: x ** exponent, [x])


@pytest.mark.parametrize("exponent", [2, 3, -1, 0])
def test_whole_powers_of_negative_numbers(exponent):
    mr.gradcheck(lambda x: x ** exponent, [-positive(2, 3)])


@pytest.mark.parametrize(("exponent", "slope"), [(0, 0), (1, 1), (2, 0), (3, 0)])
def test_the_slope_of_a_power_at_0(exponent, slope):
    x = mr.Tensor(np.zeros(2), requires_grad=True)
    (x ** exponent).sum().backward()
    np.testing.assert_array_equal(x.grad, [slope, slope])


def test_a_number_to_the_power_of_a_tensor():
    x = normal(2, 3)
    np.testing.assert_array_equal((2 ** mr.Tensor(x)).data, 2.0 ** x)
    mr.gradcheck(lambda x: 2 ** x, [x])


# ---- matrix products

@pytest.mark.parametrize("shapes", MATMULS, ids=str)
def test_matrix_products_are_numpys_and_their_gradients_right(shapes):
    a, b = normal(*shapes[0]), normal(*shapes[1], 2)[..., 0]
    y = mr.Tensor(a) @ mr.Tensor(b)
    np.testing.assert_array_equal(y.data, a @ b)
    mr.gradcheck(ops.matmul, [a, b])


def test_an_array_times_a_tensor_as_matrices():
    a, b = normal(2, 3), mr.Tensor(normal(3, 4))
    np.testing.assert_array_equal((a @ b).data, a @ b.data)


# ---- what is refused

@each_op
@pytest.mark.parametrize(("shapes", "message"), [
    (((2, 3), (2,)), r"shapes \(2, 3\) and \(2,\) do not broadcast.*3 meets 2"),
    (((2, 3), (3, 3)), r"shapes \(2, 3\) and \(3, 3\) do not broadcast.*2 meets 3"),
    (((4, 2, 3), (5, 1, 1)), r"4 meets 5"),
    (((0, 3), (2, 3)), r"0 meets 2"),
])
def test_shapes_that_do_not_broadcast(op, shapes, message):
    with pytest.raises(ShapeError, match=message) as caught:
        op(mr.Tensor(np.ones(shapes[0])), mr.Tensor(np.ones(shapes[1])))
    assert str(caught.value).lower().startswith(op.__name__)


@pytest.mark.parametrize(("shapes", "message"), [
    (((2, 3), (4, 2)), r"\(2, 3\) @ \(4, 2\): the last axis of the left has length 3, the last but one axis of the right 4"),
    (((2, 3), (2,)), r"the last axis of the left has length 3, the only axis of the right 2"),
    (((3,), (2, 3)), r"length 3, the last but one axis of the right 2"),
    (((), (3, 2)), r"at least one axis on each side, got \(\) and \(3, 2\): use \* instead"),
    (((2, 3), ()), r"got \(2, 3\) and \(\): use \* instead"),
    (((2, 2, 3), (4, 3, 2)), r"the leading axes of \(2, 2, 3\) and \(4, 3, 2\) do not broadcast"),
])
def test_shapes_that_do_not_multiply(shapes, message):
    with pytest.raises(ShapeError, match="^MatMul: .*" + message):
        ops.matmul(mr.Tensor(np.ones(shapes[0])), mr.Tensor(np.ones(shapes[1])))


@each_op
def test_operands_without_a_tensor(op):
    with pytest.raises(DTypeError, match="expected a tensor among the operands, got ndarray and int"):
        op(np.ones(3), 2)


@pytest.mark.parametrize("operand", ["2", None, 1j, {}, [1j]], ids=repr)
def test_operands_that_are_not_numbers(operand):
    with pytest.raises(DTypeError, match="cannot make an array of numbers"):
        mr.Tensor([1.0]) + operand


# ---- at the edges of power and divide

INF = np.inf
EDGES = [  # a, b, d(a**b)/da, d(a**b)/db, as PyTorch
    (0.0, 2.0, 0, 0), (0.0, 1.0, 1, 0), (0.0, 0.5, INF, 0), (0.0, 0.0, 0, 0), (-0.0, 2.0, 0, 0),
    (2.0, 2.0, 4, 4 * np.log(2)), (INF, 0.0, 0, INF), (INF, 2.0, INF, INF), (INF, -1.0, 0, np.nan),
    (-2.0, 0.0, 0, np.nan), (-2.0, 3.0, 12, np.nan),
    (np.nan, 0.0, 0, np.nan), (0.0, INF, np.nan, 0), (0.0, -1.0, -INF, -INF), (0.0, np.nan, np.nan, np.nan),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the edges
@pytest.mark.parametrize(("a", "b", "da", "db"), EDGES, ids=str)
def test_the_gradients_of_power_at_0_and_at_infinity(a, b, da, db):
    a, b = mr.Tensor(np.array([a]), requires_grad=True), mr.Tensor(np.array([b]), requires_grad=True)
    (a ** b).sum().backward()
    np.testing.assert_allclose([a.grad[0], b.grad[0]], [da, db])


def test_a_base_of_0_gives_no_warning():
    b = mr.Tensor(np.array([2.0, 0.0]), requires_grad=True)
    (0.0 ** b).sum().backward()  # a warning is an error in these tests
    np.testing.assert_array_equal(b.grad, [0, 0])


def test_a_divisor_may_be_smaller_or_larger_than_its_square_can_be():
    b = mr.Tensor(np.array([1e-30, 1e30], np.float32), requires_grad=True)
    (mr.Tensor(np.array([1e-30, 1e30], np.float32)) / b).sum().backward()
    np.testing.assert_allclose(b.grad, [-1e30, -1e-30], rtol=1e-6)
