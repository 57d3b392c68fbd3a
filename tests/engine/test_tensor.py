"""`Tensor`: what it is made of, what it refuses, how it reads, and how values come out of it."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import BackwardError, DTypeError, ShapeError

# ---- what a tensor is made of


@pytest.mark.parametrize("value", [3, 2.5, True, [1, 2], [[0.1, 0.2], [3, 4]], (1.5, 2), [], range(3), [np.float64(0.1), 2],
                                   [np.ones(2), np.zeros(2)]], ids=repr)
def test_lists_and_python_numbers_become_float32(value):
    x = mr.Tensor(value)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x.data, np.array(value, dtype=np.float32))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, bool, np.float16])
def test_arrays_of_other_real_numbers_become_float32(dtype):
    values = np.array([0, 1, 1], dtype=dtype)
    x = mr.Tensor(values)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x.data, [0, 1, 1])
    assert not np.shares_memory(x.data, values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays_of_float32_and_float64_are_kept_and_not_copied(dtype, shape):
    array = np.ones(shape, dtype)
    x = mr.Tensor(array)
    assert x.data is array
    assert (x.shape, x.dtype, x.ndim, x.size) == (shape, dtype, len(shape), array.size)


@pytest.mark.parametrize("dtype", [">f8", "<f8", np.longdouble])
def test_no_digits_of_a_float64_are_lost_to_its_byte_order(dtype):
    x = mr.Tensor(np.array([0.1, 0.2]).astype(dtype))
    assert x.dtype == np.float64
    assert x.dtype.isnative
    np.testing.assert_array_equal(x.data, [0.1, 0.2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_numpys_numbers_are_arrays_without_axes(dtype):
    x = mr.Tensor(dtype(3))
    assert isinstance(x.data, np.ndarray)
    assert x.shape == ()
    assert x.dtype == (np.float64 if dtype is np.float64 else np.float32)


@pytest.mark.parametrize("value", ["1.5", b"1", None, 1j, {1: 2}, object(), [None, 1.0], ["1", "2"], [1j], [[1], [1, 2]]],
                         ids=lambda value: type(value).__name__)
def test_what_holds_no_real_numbers_is_refused(value):
    with pytest.raises(DTypeError, match=f"Tensor: cannot make an array of numbers of a {type(value).__name__}"):
        mr.Tensor(value)


@pytest.mark.parametrize("array", [np.ones(2, complex), np.array(["1", "2"]), np.array([None, 1.0]),
                                   np.array(["2020-01-01"], "datetime64[D]")], ids=lambda array: str(array.dtype))
def test_arrays_of_other_things_are_refused(array):
    with pytest.raises(DTypeError, match=r"Tensor: expected real numbers, got dtype"):
        mr.Tensor(array)


def test_tensors_are_refused_alone_and_in_lists():
    x = mr.Tensor([1.0])
    with pytest.raises(DTypeError, match=r"got a Tensor: use it as it is, or its \.data"):
        mr.Tensor(x)
    for values in ([x, x], [mr.Tensor(1.0), 2.0]):
        with pytest.raises(DTypeError, match="cannot make an array of numbers of a list"):
            mr.Tensor(values)


def test_arrays_of_other_libraries_are_refused():
    class Foreign:
        dtype = np.dtype(np.float32)

    with pytest.raises(DTypeError, match=r"expected a NumPy or CuPy array, got .*Foreign"):
        mr.Tensor(Foreign())


# ---- how it reads

def test_repr_says_what_it_is():
    x = mr.Tensor(np.ones((2, 3)), requires_grad=True, name="conv1.weight")
    assert repr(x) == "Tensor('conv1.weight', shape=(2, 3), dtype=float64, device=cpu, requires_grad=True)"
    assert repr(mr.Tensor([1.0])) == "Tensor(shape=(1,), dtype=float32, device=cpu)"
    assert repr(ops.relu(x)) == "Tensor(shape=(2, 3), dtype=float64, device=cpu, op=ReLU)"


def test_repr_does_not_look_at_the_values():
    terabytes = np.broadcast_to(np.float32(1), (10**6, 10**6))  # one number, repeated: nobody could look at all of it
    assert repr(mr.Tensor(terabytes)) == "Tensor(shape=(1000000, 1000000), dtype=float32, device=cpu)"


# ---- values

def test_numpy_is_the_array_itself():
    x = mr.Tensor(np.ones(3))
    assert x.numpy() is x.data


@pytest.mark.parametrize("value", [2.5, [2.5], [[[2.5]]]])
def test_item_is_a_python_number(value):
    item = mr.Tensor(value).item()
    assert type(item) is float
    assert item == 2.5


@pytest.mark.parametrize("shape", [(2,), (1, 2), (0,)])
def test_only_a_tensor_of_one_element_is_an_item(shape):
    with pytest.raises(ShapeError, match=r"item: a tensor of one element is needed, got shape \("):
        mr.Tensor(np.zeros(shape)).item()


def test_no_tensor_keeps_its_gradient_unasked():
    leaf = mr.Tensor([1.0], requires_grad=True)
    kept = leaf * 2
    kept.retain_grad()
    assert [tensor.retains_grad for tensor in (leaf, leaf * 2, kept)] == [False, False, True]


def test_detach_shares_the_values_and_leaves_the_graph():
    x = mr.Tensor([1.0, 2.0], requires_grad=True)
    h = x * 3
    cut = h.detach()
    assert cut.data is h.data
    assert (cut.op, cut.requires_grad, cut.grad) == (None, False, None)
    (h * cut).sum().backward()
    np.testing.assert_array_equal(x.grad, [9, 18])  # with cut as a constant; it would be 18 x else


def test_len_and_iteration_go_over_the_first_axis_with_gradients():
    x = mr.Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    assert len(x) == 3
    first, second, third = x
    (first + 10 * third).sum().backward()
    np.testing.assert_array_equal(second.data, [3, 4])
    np.testing.assert_array_equal(x.grad, [[1, 1], [0, 0], [10, 10]])
    assert list(mr.Tensor(np.zeros((0, 2)))) == []


def test_a_scalar_has_no_length_and_no_rows():
    with pytest.raises(ShapeError, match="a scalar tensor has no length"):
        len(mr.Tensor(1.0))
    with pytest.raises(ShapeError, match="a scalar tensor has no length"):
        list(mr.Tensor(1.0))


# ---- precision

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_python_numbers_do_not_change_the_precision(dtype):
    x = mr.Tensor(np.ones(3, dtype), requires_grad=True)
    y = ((2 * x + 1) / 3 - 0.5) ** 2 * True
    y.sum().backward()
    assert y.dtype == dtype
    assert x.grad.dtype == dtype


def test_float32_beside_float64_is_float64():
    y = mr.Tensor(np.ones(3, np.float32)) + mr.Tensor(np.ones(3))
    assert y.dtype == np.float64


def test_a_sum_of_all_is_an_array_without_axes_and_not_a_number():
    y = mr.Tensor(np.ones((2, 2))).sum()
    assert isinstance(y.data, np.ndarray)
    assert y.shape == ()


# ---- gradients

def test_a_new_tensor_has_no_gradient_and_wants_none():
    x = mr.Tensor([1.0])
    assert (x.grad, x.requires_grad, x.op, x.name) == (None, False, None, None)


def test_retain_grad_needs_a_tensor_that_wants_a_gradient():
    with pytest.raises(BackwardError, match=r"retain_grad: Tensor\(.*\) wants no gradient, so none will reach it"):
        mr.Tensor([1.0]).retain_grad()


def test_an_attribute_that_does_not_exist_cannot_be_set_by_mistake():
    with pytest.raises(AttributeError):
        mr.Tensor([1.0]).gard = None


def test_a_tensor_of_one_element_is_a_number_and_others_are_told_why_not():
    assert float(mr.Tensor([2.5])) == 2.5
    assert bool(mr.Tensor(1.0)) is True
    assert bool(mr.Tensor([[0.0]])) is False
    for convert in (float, bool):
        with pytest.raises(mr.ShapeError, match=r"one element is needed, got shape \(2,\)"):
            convert(mr.Tensor([1.0, 2.0]))


def test_a_tensor_of_one_element_is_formatted_as_its_number():
    loss = mr.Tensor([[2.5]], requires_grad=True) * 1.5
    assert f"{loss:.3f}" == "3.750"
    assert f"{loss}" == str(loss) == repr(loss)
    with pytest.raises(mr.ShapeError, match="one element is needed"):
        f"{mr.Tensor([1.0, 2.0]):.3f}"
