"""NaN, inf and -inf: each reaches the places that the definition sends it to, in both forms of an op, forward and backward.

tests/parity/test_not_finite.py holds the definitions against PyTorch, on the same arrays.
"""

import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.ops.convolution import Conv2d
from minires.ops.pooling import AvgPool2d, MaxPool2d
from tests.ops.test_every_op import CASES, Case, call, conv2d, normal

WIDE_CASES = [  # neighbouring outputs at once, panels of several images, padding on all sides, windows beside each other
    Case(Conv2d, "4 at once", conv2d(1, 1), (normal(3, 3, 8, 8), normal(16, 3, 3, 3), normal(16))),
    Case(Conv2d, "2 at once", conv2d(1, 1), (normal(2, 16, 6, 8), normal(16, 16, 3, 3))),
    Case(Conv2d, "stride, 2 at once", conv2d(2, 1), (normal(2, 8, 8, 8), normal(16, 8, 3, 3))),
    Case(Conv2d, "5 x 5", conv2d(1, 2), (normal(1, 4, 8, 8), normal(8, 4, 5, 5), normal(8))),
    Case(Conv2d, "more padding than a kernel sees", conv2d(1, 2), (normal(2, 2, 4, 4), normal(3, 2, 2, 2), normal(3))),
    Case(Conv2d, "wide", conv2d(1, 1), (normal(2, 3, 4, 4), normal(32, 3, 3, 3))),
    Case(Conv2d, "wide, groups", conv2d(1, 1, 1, 2), (normal(2, 4, 4, 6), normal(6, 2, 3, 3))),
    Case(Conv2d, "a row", conv2d(), (normal(1, 1, 1, 8), normal(1, 1, 1, 3))),
    Case(MaxPool2d, "overlapping, padding", lambda x: ops.max_pool2d(x, 3, 2, 1), (normal(2, 3, 7, 6),)),
    Case(MaxPool2d, "pairs", lambda x: ops.max_pool2d(x, 2), (normal(2, 3, 6, 6),)),
    Case(AvgPool2d, "overlapping, padding", lambda x: ops.avg_pool2d(x, 3, 2, 1), (normal(2, 3, 7, 6),)),
]
EVERY_CASE = CASES + WIDE_CASES
NAMES = [f"{case.op.__name__} {case.name}".strip() for case in EVERY_CASE]
VALUES = [np.nan, np.inf, -np.inf]
SEEDS = range(12)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of what is done here on purpose


def spoiled(x, generator, count):
    """A copy of x with so many elements that are NaN, inf or -inf, and as many that are 0 or equal to another."""
    x = np.array(x)
    flat = x.reshape(-1)
    for value in [*generator.choice(VALUES, count), *generator.choice([0.0, 1.0], count)]:
        flat[generator.integers(flat.size)] = value
    return x


def spoiled_call(case, seed, dtype=np.float64):
    """(arrays, dy): some of the arguments, or the incoming gradient, or several of these, are spoiled."""
    generator = np.random.default_rng([seed, len(case.arrays)])
    hit = generator.random(len(case.arrays) + 1) < 0.5
    hit[seed % len(hit)] = True
    arrays = [(spoiled(x, generator, generator.integers(1, 4)) if bad else x).astype(dtype)
              for x, bad in zip(case.arrays, hit[:-1], strict=True)]
    with np.errstate(all="ignore"), mr.no_grad():
        y = call(case, arrays)[1]
    dy = np.asarray(generator.standard_normal(y.shape), dtype=dtype)
    return arrays, spoiled(dy, generator, generator.integers(1, 3)) if hit[-1] else dy


def kinds(x):
    """An array that tells of each element whether it is NaN (3), inf (1), -inf (-1) or finite (0)."""
    return np.where(np.isnan(x), 3, np.where(np.isinf(x), np.sign(x), 0))


def results(case, arrays, dy):
    """[y, dL/d(each argument)]."""
    tensors, y = call(case, arrays)
    y.backward(dy)
    return [y.data, *(x.grad for x in tensors)]


def assert_same_kinds(found, expected):
    for i, (array, right) in enumerate(zip(found, expected, strict=True)):
        what = "the output" if i == 0 else f"the gradient of argument {i - 1}"
        np.testing.assert_array_equal(kinds(array), kinds(right), err_msg=f"NaN 3, inf 1, -inf -1, finite 0, in {what}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for case, name in zip(EVERY_CASE, NAMES, strict=True)
                                  if case.op.plain_forward])
def test_the_fast_form_sends_each_to_the_places_of_the_definition(case, dtype):
    for seed in SEEDS:
        arrays, dy = spoiled_call(case, seed, dtype)
        with mr.reference_ops():
            expected = results(case, arrays, dy)
        found = results(case, arrays, dy)
        assert_same_kinds(found, expected)
        for array, right in zip(found, expected, strict=True):
            finite = np.isfinite(right)
            np.testing.assert_allclose(array[finite], right[finite], rtol=2e-4 if dtype == np.float32 else 1e-9, atol=2e-4)


def test_batch_statistics_that_are_not_finite_are_the_same_in_both_forms():
    for value in VALUES:
        x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
        x[7, 1] = value
        statistics = []
        for plain in (False, True):
            running_mean, running_var = np.zeros(3, np.float32), np.ones(3, np.float32)
            with mr.reference_ops(plain):
                ops.batch_norm(mr.Tensor(x), mr.Tensor(np.ones(3)), mr.Tensor(np.zeros(3)), running_mean, running_var, True)
            statistics.append(kinds([running_mean, running_var]).tolist())
        kind = float(kinds(np.array(value)))
        assert statistics == [[[0, kind, 0], [0, 3, 0]]] * 2


@pytest.mark.parametrize(("place", "first"), [((10, 10), [0, 0, 9, 9]), ((0, 31), [0, 0, 0, 30])])
def test_the_first_place_is_named_where_the_window_of_a_pixel_begins(place, first):
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    x[0, 1][place] = np.nan
    for plain in (False, True):
        with mr.reference_ops(plain), mr.detect_anomaly(), pytest.raises(mr.AnomalyError) as caught:
            mr.models.resnet20(seed=0)(mr.Tensor(x))
        assert f"is nan at {first}" in str(caught.value)


def test_numbers_whose_squares_overflow_are_taken_as_any_other():
    images, kernels = normal(2, 3, 8, 8).astype(np.float32), normal(16, 3, 3, 3).astype(np.float32)
    x = [mr.Tensor(images * scale, requires_grad=True) for scale in (np.float32(1), np.float32(2.0**70))]
    for tensor in x:
        ops.conv2d(tensor, mr.Tensor(kernels), padding=1).sum().backward()
    y = [ops.conv2d(tensor, mr.Tensor(kernels), padding=1).data for tensor in x]
    np.testing.assert_allclose(y[1] / np.float32(2.0**70), y[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(x[0].grad, x[1].grad, rtol=1e-5)
