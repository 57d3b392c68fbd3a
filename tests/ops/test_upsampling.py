"""Upsampling: repeated pixels, straight lines between their centres, and what is refused."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError, ShapeError, UnknownNameError
from tests.ops.test_every_op import normal


def row(values, factor, mode):
    """A row of pixels, made longer."""
    x = mr.Tensor(np.array(values, float)[None, None, None], requires_grad=True)
    return x, ops.upsample(x, (1, factor), mode)


def test_nearest_repeats_each_pixel():
    y = ops.upsample(mr.Tensor(np.array([[[[1.0, 2], [3, 4]]]])), (2, 3))
    np.testing.assert_array_equal(y.data[0, 0], [[1, 1, 1, 2, 2, 2]] * 2 + [[3, 3, 3, 4, 4, 4]] * 2)


def test_bilinear_lies_on_lines_between_the_centres_and_stays_at_the_border():
    np.testing.assert_allclose(row([0, 4, 0], 2, "bilinear")[1].data[0, 0, 0], [0, 1, 3, 3, 1, 0])
    np.testing.assert_allclose(row([0, 3], 3, "bilinear")[1].data[0, 0, 0], [0, 0, 1, 2, 3, 3])
    np.testing.assert_allclose(row([5], 4, "bilinear")[1].data[0, 0, 0], [5] * 4)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, (3, 1), (2, 5)])
@pytest.mark.parametrize("shape", [(2, 2, 3, 4), (1, 1, 1, 1), (1, 2, 1, 5)])
def test_bilinear_is_numpys_interpolation_along_both_axes(shape, factor):
    x = normal(*shape)
    y = ops.upsample(mr.Tensor(x), factor, "bilinear")
    for axis, S in ((2, np.broadcast_to(factor, 2)[0]), (3, np.broadcast_to(factor, 2)[1])):
        centres, places = np.arange(x.shape[axis]) + 0.5, (np.arange(x.shape[axis] * S) + 0.5) / S
        x = np.apply_along_axis(lambda values, at=places, of=centres: np.interp(at, of, values), axis, x)
    np.testing.assert_allclose(y.data, x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_its_gradient_is_right_and_none_is_lost(mode, factor):
    mr.gradcheck(lambda x: ops.upsample(x, factor, mode), [normal(1, 2, 3, 2)])
    x, y = row([1, 2, 3], factor, mode)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.sum(), 3 * factor)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_not_finite_reaches_the_pixels_that_have_a_share_in_it():
    _, y = row([np.inf, 0, 0, 0], 3, "bilinear")
    np.testing.assert_array_equal(np.isfinite(y.data[0, 0, 0]), [False] * 4 + [True] * 8)
    x, y = row([0, 0, 0, 0], 3, "bilinear")
    dy = np.zeros(y.shape)
    dy[..., 4] = np.nan  # in the middle of the second pixel
    y.backward(dy)
    np.testing.assert_array_equal(np.isnan(x.grad[0, 0, 0]), [False, True, False, False])


X = mr.Tensor(normal(2, 3, 4, 4))


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: ops.upsample(X, 2, "linear"), UnknownNameError, "upsample: unknown mode 'linear': known are nearest"),
    (lambda: ops.upsample(X, 1.5), ArgumentError, "UpsampleNearest: scale_factor is 1.5"),
    (lambda: ops.upsample(X, 0, "bilinear"), ArgumentError, "UpsampleBilinear: scale_factor is 0"),
    (lambda: ops.upsample(X[0], 2), ShapeError, r"UpsampleNearest: expected x \(N, C, H, W\)"),
    (lambda: ops.upsample(X[:, :, :0], 2, "bilinear"), ShapeError, "with at least one pixel"),
    (lambda: nn.Upsample(2, "cubic"), UnknownNameError, "Upsample: unknown mode 'cubic'"),
    (lambda: nn.Upsample(-1), ArgumentError, "Upsample: scale_factor is -1"),
])
def test_what_does_not_fit_is_named(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_what_the_layer_shows():
    assert repr(nn.Upsample(2, "bilinear")) == "Upsample(scale_factor=(2, 2), mode='bilinear')"
