"""What can be asked of a tensor without a gradient: comparisons, and what NumPy's own functions get."""
import operator

import numpy as np
import pytest

import minires as mr
from minires.errors import DTypeError, ShapeError

COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
A, B = np.array([[1.0, 2.0], [3.0, np.nan]]), np.array([2.0, 2.0])


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda compare: compare.__name__)
def test_a_comparison_is_that_of_the_arrays_whichever_side_the_tensor_stands_on(compare):
    for left, right in [(mr.Tensor(A), mr.Tensor(B)), (mr.Tensor(A), B), (A, mr.Tensor(B))]:
        result = compare(left, right)
        assert type(result) is np.ndarray
        assert result.dtype == bool
        np.testing.assert_array_equal(result, compare(A, B))
    np.testing.assert_array_equal(compare(mr.Tensor(A), 2), compare(A, 2))
    np.testing.assert_array_equal(compare(2.0, mr.Tensor(A)), compare(2.0, A))


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(ShapeError, match=r"shapes \(2, 2\) and \(3,\) do not broadcast"):
        _ = mr.Tensor(A) == mr.Tensor([1.0, 2.0, 3.0])


def test_what_is_no_number_is_not_equal_and_has_no_order():
    tensor = mr.Tensor(A)
    assert (tensor == "a") is False
    assert (tensor != None) is True  # noqa: E711 (the comparison is what is tested)
    with pytest.raises(TypeError):
        _ = tensor < "a"


def test_a_tensor_is_a_key_as_the_object_that_it_is():
    first, second = mr.Tensor([1.0]), mr.Tensor([1.0])
    assert {first: "first", second: "second"}[second] == "second"


@pytest.mark.parametrize("of_numpy", [np.asarray, np.exp, np.sum, np.mean, np.maximum.reduce,
                                      lambda x: np.concatenate([x, x]),
                                      lambda x: np.add(A, x, out=np.zeros_like(A)), lambda x: np.array([x, x])])
def test_functions_of_numpy_would_lose_the_gradient_and_are_refused(of_numpy):
    with pytest.raises(DTypeError, match="NumPy would lose the gradient"):
        of_numpy(mr.Tensor(A, requires_grad=True))


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul],
                         ids=lambda op: op.__name__)
def test_an_operator_with_an_array_on_its_left_is_the_tensors(op):
    tensor = mr.Tensor(B, requires_grad=True)
    result = op(np.nan_to_num(A), tensor)
    np.testing.assert_array_equal(result.data, op(np.nan_to_num(A), B))
    result.sum().backward()
    assert tensor.grad is not None
