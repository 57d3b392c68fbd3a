"""The addition of the shortcut, and the shortcut of option A."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ArgumentError, ShapeError


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def test_the_sum_passes_its_gradient_to_both_unchanged():
    residual, shortcut = (mr.Tensor(normal(2, 3, 4, 5) + i, requires_grad=True) for i in (0, 1))
    y = ops.shortcut_add(residual, shortcut)
    dy = normal(2, 3, 4, 5)
    y.backward(dy)
    np.testing.assert_array_equal(y.data, residual.data + shortcut.data)
    np.testing.assert_array_equal(residual.grad, dy)
    np.testing.assert_array_equal(shortcut.grad, dy)
    assert not np.shares_memory(residual.grad, shortcut.grad)
    assert not np.shares_memory(residual.grad, dy)


@pytest.mark.parametrize(("residual", "shortcut"), [((2, 4, 3, 3), (2, 3, 3, 3)), ((2, 3, 2, 2), (2, 3, 4, 4)),
                                                    ((2, 3, 3, 3), (1, 3, 3, 3)), ((2, 3, 3, 3), ())])
def test_nothing_is_broadcast(residual, shortcut):
    with pytest.raises(ShapeError, match=r"they must be equal.*option A.*option B") as caught:
        ops.shortcut_add(mr.Tensor(np.ones(residual)), mr.Tensor(np.ones(shortcut)))
    assert str(caught.value).startswith(f"ShortcutAdd: the residual has shape {residual} and the shortcut {shortcut};")


@pytest.mark.parametrize(("shape", "out_channels", "stride"), [
    ((2, 3, 4, 4), 6, 2),
    ((2, 3, 5, 4), 4, 2),
    ((1, 1, 7, 5), 3, 3),
    ((2, 3, 4, 3), 5, 1),
    ((2, 3, 4, 3), 3, 2),
    ((2, 3, 1, 1), 4, 2),
])
def test_every_stride_th_pixel_is_kept_and_the_new_channels_are_zero(shape, out_channels, stride):
    x = normal(*shape)
    y = ops.zero_pad_shortcut(mr.Tensor(x), out_channels, stride)
    C = shape[1]
    kept = x[:, :, ::stride, ::stride]
    assert y.shape == (shape[0], out_channels, *kept.shape[2:])
    np.testing.assert_array_equal(y.data[:, :C], kept)
    np.testing.assert_array_equal(y.data[:, C:], 0)
    mr.gradcheck(lambda x: ops.zero_pad_shortcut(x, out_channels, stride), [x])


def test_pixels_that_were_left_out_get_no_gradient():
    x = mr.Tensor(normal(1, 1, 3, 3), requires_grad=True)
    ops.zero_pad_shortcut(x, 2, 2).backward(np.ones((1, 2, 2, 2)))
    np.testing.assert_array_equal(x.grad[0, 0], [[1, 0, 1], [0, 0, 0], [1, 0, 1]])


def test_an_empty_batch_stays_empty():
    assert ops.zero_pad_shortcut(mr.Tensor(np.zeros((0, 2, 4, 4))), 4, 2).shape == (0, 4, 2, 2)


def test_arguments_that_are_refused():
    x = mr.Tensor(np.ones((2, 3, 4, 4)))
    with pytest.raises(ShapeError, match=r"ZeroPadShortcut: x \(2, 3, 4, 4\) has 3 channels, more than the 2 of the output"):
        ops.zero_pad_shortcut(x, 2)
    with pytest.raises(ArgumentError, match="ZeroPadShortcut: stride is 0, expected an integer of at least 1"):
        ops.zero_pad_shortcut(x, 4, 0)
    with pytest.raises(ShapeError, match=r"ZeroPadShortcut: expected x \(N, C, H, W\), got shape \(2, 3\)"):
        ops.zero_pad_shortcut(mr.Tensor(np.ones((2, 3))), 4)
