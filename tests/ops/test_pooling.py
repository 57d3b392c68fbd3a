"""Max, average and global average pooling against windows cut out by NumPy."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ArgumentError, ShapeError

# (shape, kernel_size, stride, padding)
GEOMETRIES = [
    ((2, 3, 4, 4), 2, None, 0),
    ((2, 2, 5, 7), 2, None, 0),
    ((2, 2, 6, 5), 3, 2, 1),
    ((1, 2, 5, 4), 3, 1, 1),
    ((2, 1, 5, 6), (3, 2), (2, 1), (1, 0)),
    ((2, 2, 7, 7), 2, 3, 0),
    ((2, 2, 4, 5), 1, 1, 0),
    ((2, 2, 4, 5), 1, 2, 0),
    ((2, 2, 1, 4), (1, 2), None, 0),
    ((1, 1, 1, 1), 2, 1, 1),
    ((1, 2, 4, 3), (4, 3), None, 0),
    ((1, 1, 6, 6), 5, 2, 2),
]
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
each_pool = pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d], ids=["max", "avg"])


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def windows(x, kernel_size, stride, padding, value):
    """All windows: (N, C, OH, OW, KH, KW), with `value` in the padding."""
    pairs = [n if isinstance(n, tuple) else (n, n) for n in (kernel_size, stride or kernel_size, padding)]
    (KH, KW), (SH, SW), (PH, PW) = pairs
    padded = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)), constant_values=value)
    return np.lib.stride_tricks.sliding_window_view(padded, (KH, KW), axis=(2, 3))[:, :, ::SH, ::SW]


@each_geometry
def test_max_pooling_takes_the_largest_of_each_window_and_padding_never_wins(geometry):
    shape, *arguments = geometry
    x = normal(*shape) - 10  # all negative: a padding of zeros would win
    y = ops.max_pool2d(mr.Tensor(x), *arguments)
    np.testing.assert_array_equal(y.data, windows(x, *arguments, value=-np.inf).max(axis=(4, 5)))
    mr.gradcheck(lambda x: ops.max_pool2d(x, *arguments), [x])


@each_geometry
def test_average_pooling_takes_the_mean_of_each_window_and_counts_padding_as_zeros(geometry):
    shape, *arguments = geometry
    x = normal(*shape) + 10
    y = ops.avg_pool2d(mr.Tensor(x), *arguments)
    np.testing.assert_allclose(y.data, windows(x, *arguments, value=0).mean(axis=(4, 5)), rtol=1e-14)
    mr.gradcheck(lambda x: ops.avg_pool2d(x, *arguments), [x])


def test_the_first_of_equal_largest_values_gets_the_gradient():
    x = mr.Tensor([[[[1.0, 5.0, 2.0, 2.0], [5.0, 0.0, 2.0, 2.0]]]], requires_grad=True)
    ops.max_pool2d(x, 2).backward(np.array([[[[3.0, 4.0]]]]))
    np.testing.assert_array_equal(x.grad[0, 0], [[0, 3, 4, 0], [0, 0, 0, 0]])


def test_a_value_that_wins_in_several_windows_gets_all_their_gradients():
    x = mr.Tensor(np.zeros((1, 1, 3, 3)), requires_grad=True)
    x.data[0, 0, 1, 1] = 1
    ops.max_pool2d(x, 2, 1).backward(np.array([[[[1.0, 2.0], [4.0, 8.0]]]]))
    assert x.grad[0, 0, 1, 1] == 15
    assert x.grad.sum() == 15


@each_pool
def test_no_gradient_is_lost_or_made(pool):
    x, dy = mr.Tensor(np.round(normal(2, 3, 6, 6)), requires_grad=True), normal(2, 3, 3, 3)  # rounded: with ties
    pool(x, 2).backward(dy)
    assert x.grad.sum() == pytest.approx(dy.sum(), rel=1e-12)


def test_global_average_pooling_is_the_mean_of_each_channel():
    for shape in ((2, 3, 4, 5), (1, 1, 1, 1), (2, 3, 1, 4)):
        x = normal(*shape)
        y = ops.global_avg_pool2d(mr.Tensor(x))
        np.testing.assert_allclose(y.data, x.mean(axis=(2, 3)), rtol=1e-14)
        mr.gradcheck(ops.global_avg_pool2d, [x])


@pytest.mark.parametrize("pool", [lambda x: ops.max_pool2d(x, 2), lambda x: ops.avg_pool2d(x, 3, 1, 1),
                                  ops.global_avg_pool2d], ids=["max", "avg", "global"])
def test_an_empty_batch_stays_empty(pool):
    x = mr.Tensor(np.zeros((0, 3, 4, 4)), requires_grad=True)
    y = pool(x)
    y.backward(np.zeros(y.shape))
    assert y.shape[:2] == (0, 3)
    assert x.grad.shape == (0, 3, 4, 4)


# ---- what is refused

@each_pool
@pytest.mark.parametrize("shape", [(3, 4, 4), (4,), (2, 3, 0, 4), (2, 3, 4, 0)])
def test_images_that_are_not_a_batch_of_pixels(pool, shape):
    with pytest.raises(ShapeError, match=r"^\w+Pool2d: expected x \(N, C, H, W\) with at least one pixel, got shape"):
        pool(mr.Tensor(np.ones(shape)), 2, 1, 1)


@each_pool
def test_kernels_larger_than_the_padded_image(pool):
    with pytest.raises(ShapeError, match=r"the kernel \(3, 6\) is larger than the image \(4, 3\) with padding \(0, 1\)"):
        pool(mr.Tensor(np.ones((2, 3, 4, 3))), (3, 6), 1, (0, 1))


@each_pool
@pytest.mark.parametrize(("arguments", "message"), [
    ((0,), r"kernel_size is 0, expected an integer of at least 1"),
    ((2, 0), r"stride is 0, expected an integer of at least 1"),
    ((2, (1, -1)), r"stride is \(1, -1\), expected an integer of at least 1"),
    ((3, 1, 2), r"padding is \(2, 2\), expected at most half the kernel \(3, 3\)"),
    ((2, 1, -1), r"padding is -1, expected an integer of at least 0"),
    ((2, 1, (0, 2)), r"padding is \(0, 2\), expected at most half"),
    ((2.0,), r"kernel_size is 2\.0, expected an integer .* or a pair \(vertical, horizontal\) of them"),
    (((2, 2, 2),), r"kernel_size is \(2, 2, 2\), expected an integer .* or a pair"),
    ((2, "1"), r"stride is '1', expected an integer .* or a pair"),
    ((2, 1, (0.5, 0)), r"padding is \(0\.5, 0\), expected an integer .* or a pair"),
])
def test_sizes_that_are_refused(pool, arguments, message):
    with pytest.raises(ArgumentError, match=r"^\w+Pool2d: .*" + message):
        pool(mr.Tensor(np.ones((2, 3, 4, 4))), *arguments)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 0, 4)])
def test_global_average_pooling_needs_pixels(shape):
    with pytest.raises(ShapeError, match=r"GlobalAvgPool2d: expected x \(N, C, H, W\) with at least one pixel, got shape"):
        ops.global_avg_pool2d(mr.Tensor(np.ones(shape)))


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize(("x", "arguments", "right"), [
    ([[1, NAN], [3, 2]], (2,), [[0, 1], [0, 0]]),
    ([[NAN, 1], [NAN, INF]], (2,), [[0, 0], [1, 0]]),  # the last NaN, as in PyTorch
    ([[-INF, -INF], [-INF, -INF]], (3, 2, 1), [[1, 0], [0, 0]]),
    ([[-INF, -INF], [-INF, -INF]], (2, 1, 1), [[4, 2], [2, 1]]),
    ([[INF, 1], [INF, 2]], (2,), [[1, 0], [0, 0]]),
], ids=["NaN", "two NaN", "-inf beside padding", "-inf, several windows", "inf"])
def test_a_maximum_that_is_not_finite_gets_the_gradient(x, arguments, right, plain):
    for dy in (1.0, INF):
        tensor = mr.Tensor(np.array([[x]]), requires_grad=True)
        with mr.reference_ops(plain):
            y = ops.max_pool2d(tensor, *arguments)
            y.backward(np.full(y.shape, dy))
        np.testing.assert_array_equal(tensor.grad[0, 0], np.where(right, np.maximum(right, 0.1) * dy, 0))
