"""What the double is for: a fault that NumPy does not show is put into each op's backward, and must be seen."""
import math

import numpy as np
import pytest

from minires.arrays.backend import array_module, to_device
from minires.ops.conversion import ToDevice
from tests.backends.comparison import assert_same, leaf, on_host, run
from tests.ops.test_every_op import CASES, NAMES, cotangent
from tests.strict_cupy import HiddenSynchronization, MixedDevices, no_sync

cases = [pytest.param(case, id=name) for case, name in zip(CASES, NAMES, strict=True) if case.op is not ToDevice]


def numpy_zeros(gradient):
    return gradient + np.zeros(gradient.shape, gradient.dtype)


def numpy_function(gradient):
    return array_module(gradient).asarray(np.ascontiguousarray(gradient))


def hidden_float(gradient):
    return gradient * math.copysign(1.0, float(gradient.max()) ** 2)


def hidden_if(gradient):
    return gradient if (gradient == gradient).all() else 0 * gradient


def mask(gradient):
    return gradient if gradient[gradient > 0].size >= 0 else 0 * gradient


def other_device(gradient):
    elsewhere = "cpu" if array_module(gradient) is np else "cuda:1"
    return gradient + to_device(np.zeros(gradient.shape, gradient.dtype), elsewhere)


def empty_as_zeros(gradient):
    xp = array_module(gradient)
    total = xp.empty(gradient.shape, dtype=gradient.dtype)
    total += gradient
    return total


FAULTS = {  # the fault: (what is raised, what it says)
    numpy_zeros: (TypeError, "Unsupported type <class 'numpy.ndarray'>"),
    numpy_function: (TypeError, "Implicit conversion to a NumPy array is not allowed"),
    hidden_float: (HiddenSynchronization, "float\\(\\) waits for the GPU"),
    hidden_if: (HiddenSynchronization, "bool\\(\\) waits for the GPU"),
    mask: (HiddenSynchronization, "a mask as index waits for the GPU"),
    other_device: (MixedDevices, "different from the current device"),
    empty_as_zeros: (AssertionError, "nan location mismatch|x and y nan"),
}


def check_on_the_double(case):
    """What the tests of the ops check: the op runs on the device, waits for nothing, and gives what it gives on the CPU."""
    expected = on_host(*run(case.function, case.arrays, "cpu"))
    leaves, y = run(case.function, case.arrays, "cuda")
    dy = leaf(cotangent(y), "cuda").data
    leaves = [leaf(array, "cuda") for array in case.arrays]
    with no_sync():
        y = case.function(*leaves)
        y.backward(dy)
    assert_same(on_host(leaves, y), expected)


def put_into(case, fault, monkeypatch, where):
    """Let the fault work on the first gradient of each backward on the given devices."""
    right = case.op.backward

    def wrong(op, dy):
        gradients = right(op, dy)
        gradients = list(gradients) if isinstance(gradients, tuple) else [gradients]
        if array_module(dy) is not np or where == "everywhere":
            gradients[0] = fault(gradients[0])
        return tuple(gradients)

    monkeypatch.setattr(case.op, "backward", wrong)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("case", cases)
def test_the_double_sees_the_fault(case, fault, cuda, monkeypatch):
    check_on_the_double(case)
    put_into(case, fault, monkeypatch, "on the GPU")
    kind, text = FAULTS[fault]
    with pytest.raises(kind, match=text):
        check_on_the_double(case)


@pytest.mark.parametrize("fault", [*FAULTS][:-1], ids=lambda fault: fault.__name__)  # what empty holds there is chance
@pytest.mark.parametrize("case", cases)
def test_numpy_alone_does_not(case, fault, monkeypatch):
    expected = on_host(*run(case.function, case.arrays, "cpu"))
    put_into(case, fault, monkeypatch, "everywhere")
    assert_same(on_host(*run(case.function, case.arrays, "cpu")), expected)
