"""Every op on both backends: the rows of the table in tests/ops, forward and backward."""
import operator

import numpy as np
import pytest

import minires as mr
from minires.arrays.backend import to_host
from minires.ops.conversion import ToDevice
from tests.backends.comparison import assert_same, leaf, on_host, run
from tests.ops.test_every_op import CASES, NAMES, cotangent, each_case, each_case_and_form, form
from tests.strict_cupy import no_sync

__all__ = ["form"]  # a fixture: the op's fast or plain form

SEVERAL = [(case, name) for case, name in zip(CASES, NAMES, strict=True) if len(case.arrays) > 1]
each_case_of_several_arguments = pytest.mark.parametrize("case", [case for case, _ in SEVERAL],
                                                         ids=[name for _, name in SEVERAL])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case_and_form
def test_values_and_gradients_on_the_device_are_those_of_the_cpu(case, form, dtype, cuda):
    arrays = [x.astype(dtype) for x in case.arrays]
    tolerance = {"rtol": 2e-5, "atol": 2e-5} if dtype == np.float32 else {}
    leaves, y = run(case.function, arrays, "cuda")
    assert_same(on_host(leaves, y), on_host(*run(case.function, arrays, "cpu")), **tolerance)
    assert {type(x.grad) for x in leaves} == {type(leaves[0].data)} != {np.ndarray}


@each_case
def test_the_gradient_agrees_with_numerical_derivatives_taken_on_the_device(case, device):
    mr.gradcheck(case.function, [leaf(array, device) for array in case.arrays])


UPLOADS = {"CrossEntropy": 1, "CrossEntropy smoothed": 1,  # the labels
           "CrossEntropy ignored": 2,  # and which rows count
           "Dropout": 1, "Embedding repeated": 1,  # the mask, the indices
           "Index taken twice": 2,  # the list of indices, in forward and in backward
           "Where broadcast": 1, "Where broadcast by the condition": 1,  # the condition, copied by the case
           "BatchNorm training": 2, "BatchNorm training, (N, C)": 2, "BatchNorm eval": 2}  # made by the case


@pytest.mark.parametrize(("case", "uploads"), [pytest.param(case, UPLOADS.get(name, 0), id=name)
                                               for case, name in zip(CASES, NAMES, strict=True) if case.op is not ToDevice])
def test_nothing_waits_for_the_gpu_and_nothing_moves(case, uploads, cuda):
    leaves, y = run(case.function, case.arrays, "cuda")
    dy = leaf(cotangent(y), "cuda").data
    cuda.reset()
    with no_sync():
        case.function(*leaves).backward(dy)
    assert (len(cuda.uploads), cuda.downloads) == (uploads, [])
    assert cuda.launches.total() > 0


@each_case_of_several_arguments
@pytest.mark.parametrize(("here", "there"), [("cuda:0", "cpu"), ("cpu", "cuda:0"), ("cuda:0", "cuda:1")])
def test_mixed_devices_are_named_with_the_op_and_its_arguments(case, here, there, cuda):
    for i in range(len(case.arrays)):
        leaves = [leaf(array, there if i == j else here) for j, array in enumerate(case.arrays)]
        with pytest.raises(mr.DeviceError) as caught:
            case.function(*leaves)
        assert case.op.__name__ in str(caught.value)
        assert f" on {here}" in str(caught.value)
        assert f" on {there}" in str(caught.value)


@each_case
def test_on_a_second_device_everything_stays_there(case, cuda):
    leaves, y = run(case.function, case.arrays, "cuda:1")
    assert {x.grad.device.id for x in leaves} == {1}
    assert_same(on_host(leaves, y), on_host(*run(case.function, case.arrays, "cpu")))


@pytest.mark.parametrize("scalar", [np.float32(2.5), np.float64(2.5), np.int64(3), np.bool_(True), np.prod((2, 3))])
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow],
                         ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_scalar_of_numpy_stands_beside_a_tensor_as_a_number_does(scalar, operation, dtype, device):
    for left, right in ((lambda x: x, lambda x: scalar), (lambda x: scalar, lambda x: x)):
        x, like = [mr.Tensor(np.array([1.5, 2.0], dtype), requires_grad=True).to(device) for _ in range(2)]
        y = operation(left(x), right(x))
        expected = operation(*[like if each is x else scalar.item() for each in (left(x), right(x))])
        assert (y.dtype, y.device) == (expected.dtype, expected.device)
        np.testing.assert_array_equal(y.numpy(), expected.numpy())


def test_a_condition_of_the_host_goes_to_the_device_and_one_of_another_device_is_named(cuda):
    x = leaf(np.array([1.0, -2.0]), "cuda:0")
    np.testing.assert_array_equal(mr.ops.where(np.array([True, False]), x, 0.0).numpy(), [1, 0])
    np.testing.assert_array_equal(mr.ops.where(x < 0, x, 0.0).numpy(), [0, -2])
    there = leaf(np.array([1.0, -2.0]), "cuda:1")
    condition = there < 0
    leaf(np.ones(1), "cuda:0")  # makes that the current device
    y = mr.ops.where(condition, there, 0.0)
    assert y.device == "cuda:1"
    np.testing.assert_array_equal(y.numpy(), [0, -2])
    with pytest.raises(mr.DeviceError, match=r"^Where: got condition on cuda:0, a on cpu: move them to one device"):
        mr.ops.where(x < 0, leaf(np.ones(2), "cpu"), 0.0)


def test_more_tensors_than_one_launch_joins(cuda):
    x = [leaf(np.full(2, float(i)), "cuda") for i in range(12)]
    for y in (mr.ops.concatenate(x), mr.ops.stack(x)):
        y.backward(y.data * 10)
    for i, part in enumerate(x):
        np.testing.assert_array_equal(to_host(part.grad), [20 * i] * 2)
