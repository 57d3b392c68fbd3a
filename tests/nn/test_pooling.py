"""The pooling layers: the ops of the same name, with a window, a stride and a padding."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError

WINDOWED = [(nn.MaxPool2d, ops.max_pool2d), (nn.AvgPool2d, ops.avg_pool2d)]


def images():
    """(2, 3, 6, 8) images in which no two pixels are equal, so that a maximum has no tie."""
    return np.random.default_rng(0).permutation(2 * 3 * 6 * 8).reshape(2, 3, 6, 8).astype(np.float64)


@pytest.mark.parametrize(("layer", "op"), WINDOWED)
@pytest.mark.parametrize(("arguments", "shape"), [
    ((2,), (2, 3, 3, 4)),
    ((3, 2, 1), (2, 3, 3, 4)),
    (((2, 4), 1), (2, 3, 5, 5)),
    (((2, 3), None, (0, 1)), (2, 3, 3, 3)),
])
def test_the_layer_is_the_op(layer, op, arguments, shape):
    y = layer(*arguments)(mr.Tensor(images()))
    assert y.shape == shape
    np.testing.assert_array_equal(y.data, op(mr.Tensor(images()), *arguments).data)


@pytest.mark.parametrize(("layer", "op"), WINDOWED)
def test_the_gradient_of_a_window_is_right(layer, op):
    mr.gradcheck(layer(3, 2, 1), [images() / 10])


@pytest.mark.parametrize(("layer", "op"), WINDOWED)
def test_the_stride_is_the_window_by_default_and_repr_shows_it(layer, op):
    assert repr(layer((2, 3))) == f"{layer.__name__}(kernel_size=(2, 3), stride=(2, 3), padding=(0, 0))"
    assert repr(layer(2, 1, 1)) == f"{layer.__name__}(kernel_size=(2, 2), stride=(1, 1), padding=(1, 1))"


@pytest.mark.parametrize(("layer", "op"), WINDOWED)
@pytest.mark.parametrize(("arguments", "message"), [
    ((0,), "kernel_size is 0"),
    ((2, 0), "stride is 0"),
    ((2, 2, -1), "padding is -1"),
    (((2, 2, 2),), "kernel_size is \\(2, 2, 2\\)"),
])
def test_bad_sizes_are_named(layer, op, arguments, message):
    with pytest.raises(ArgumentError, match=f"^{layer.__name__}: {message}"):
        layer(*arguments)


def test_the_global_average_is_one_number_for_each_channel():
    y = nn.GlobalAvgPool2d()(mr.Tensor(images()))
    assert y.shape == (2, 3)
    np.testing.assert_allclose(y.data, images().mean(axis=(2, 3)))
    mr.gradcheck(nn.GlobalAvgPool2d(), [images()])
