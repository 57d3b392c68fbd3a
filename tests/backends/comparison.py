"""What the tests of both backends share: tensors on a device, and results as host arrays."""
import numpy as np

import minires as mr
from minires.arrays.backend import beside, to_device, to_host
from tests.ops.test_every_op import cotangent


def leaf(array, device):
    """A tensor on the device that wants a gradient."""
    return mr.Tensor(to_device(array, device), requires_grad=True)


def run(function, arrays, device):
    """(the leaves, the output) after a forward and a backward pass on the device, for a random dL/dy."""
    leaves = [leaf(array, device) for array in arrays]
    y = function(*leaves)
    y.backward(beside(cotangent(y), y.data))
    return leaves, y


def on_host(leaves, y):
    """[y, and dL/d(each leaf)] as host arrays."""
    return [to_host(y.data), *(to_host(x.grad) for x in leaves)]


def assert_same(found, expected, rtol=1e-10, atol=1e-12):
    """Equal up to rounding, and of the same dtype."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)
