"""Convolution: the definition, the fast form, their gradients over all sizes and options, and what is refused."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minires as mr
from minires import ops
from minires.errors import ArgumentError, ShapeError
from minires.ops.kernels.layout import channels_last

# (shape of x, shape of weight, options)
GEOMETRIES = {
    "3 x 3": ((2, 3, 5, 4), (4, 3, 3, 3), {}),
    "3 x 3, same size": ((2, 2, 4, 5), (3, 2, 3, 3), {"padding": 1}),
    "3 x 3, stride 2": ((2, 2, 5, 6), (3, 2, 3, 3), {"stride": 2, "padding": 1}),
    "3 x 3, stride 2, a row left over": ((2, 2, 6, 4), (3, 2, 3, 3), {"stride": 2}),
    "3 x 3, stride 3 leaves gaps": ((2, 2, 8, 7), (2, 2, 2, 2), {"stride": 3}),
    "1 x 1": ((2, 3, 3, 4), (4, 3, 1, 1), {}),
    "1 x 1, stride 2": ((2, 3, 5, 4), (4, 3, 1, 1), {"stride": 2}),
    "1 x 1, padding": ((2, 2, 3, 2), (2, 2, 1, 1), {"padding": 1}),
    "more padding than kernel": ((1, 2, 3, 3), (2, 2, 2, 2), {"padding": 3}),
    "not square": ((2, 2, 6, 4), (3, 2, 2, 3), {"stride": (2, 1), "padding": (0, 2)}),
    "dilation": ((2, 2, 6, 6), (2, 2, 3, 2), {"dilation": (2, 3)}),
    "dilation, padding": ((1, 2, 5, 5), (2, 2, 3, 3), {"dilation": 2, "padding": 2}),
    "dilation and stride with a common factor": ((1, 2, 8, 9), (2, 2, 3, 2), {"dilation": (2, 4), "stride": (2, 2)}),
    "dilation and stride without": ((1, 2, 9, 8), (2, 2, 3, 3), {"dilation": (3, 2), "stride": (2, 3), "padding": 1}),
    "groups": ((2, 4, 4, 3), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    "groups, stride": ((2, 4, 5, 4), (4, 2, 3, 3), {"groups": 2, "stride": 2}),
    "one channel a group": ((2, 3, 4, 4), (6, 1, 2, 2), {"groups": 3}),
    "1 x 1 in groups": ((2, 4, 3, 3), (2, 2, 1, 1), {"groups": 2}),
    "the kernel is the image": ((2, 3, 3, 4), (2, 3, 3, 4), {}),
    "a column": ((2, 2, 5, 1), (3, 2, 3, 1), {"padding": (1, 0)}),
    "a row": ((2, 2, 1, 5), (3, 2, 1, 3), {}),
    "one of everything": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "one channel in": ((2, 1, 4, 4), (3, 1, 3, 3), {}),
    "many channels in, one out": ((2, 5, 4, 4), (1, 5, 3, 3), {}),
    "few channels in, many out": ((1, 1, 4, 4), (7, 1, 3, 3), {"padding": 1}),
}
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def both(value):
    return value if isinstance(value, tuple) else (value, value)


def definition(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The convolution as NumPy's windows, thinned out, times the kernels."""
    (SH, SW), (PH, PW), (DH, DW) = both(stride), both(padding), both(dilation)
    KH, KW = weight.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (DH * (KH - 1) + 1, DW * (KW - 1) + 1), axis=(2, 3))
    windows = windows[:, :, ::SH, ::SW, ::DH, ::DW]                             # (N, C, OH, OW, KH, KW)
    y = np.concatenate([np.einsum("nchwij,ocij->nohw", group, kernels, optimize=True) for group, kernels in
                        zip(np.split(windows, groups, axis=1), np.split(weight, groups), strict=True)], axis=1)
    return y if bias is None else y + bias[:, None, None]


def results(x, weight, bias, dtype=np.float64, **options):
    """[y, dx, dweight, dbias] for a random dL/dy."""
    tensors = [mr.Tensor(array.astype(dtype), requires_grad=True) for array in (x, weight, bias)]
    y = ops.conv2d(*tensors, **options)
    y.backward(normal(*y.shape))
    return [y.data, *(tensor.grad for tensor in tensors)]


def assert_forms_agree(x, weight, bias, dtype=np.float64, **options):
    """The fast form finds the values of the definition, and the gradients of the plain form."""
    fast = results(x, weight, bias, dtype, **options)
    with mr.reference_ops():
        plain = results(x, weight, bias, dtype, **options)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(fast[0], definition(x, weight, bias, **options), atol=tolerance * np.abs(fast[0]).max())
    for ours, expected in zip(fast, plain, strict=True):
        assert ours.dtype == expected.dtype == dtype
        np.testing.assert_allclose(ours, expected, atol=tolerance * np.abs(expected).max())


# ---- values and gradients

@each_geometry
def test_the_plain_form_is_the_definition(geometry):
    x_shape, weight_shape, options = geometry
    x, weight, bias = normal(*x_shape), normal(*weight_shape), normal(weight_shape[0])
    with mr.reference_ops():
        for b in (bias, None):
            y = ops.conv2d(mr.Tensor(x), mr.Tensor(weight), None if b is None else mr.Tensor(b), **options)
            np.testing.assert_allclose(y.data, definition(x, weight, b, **options), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_geometry
def test_the_fast_form_agrees_with_it_and_so_do_the_gradients(geometry, dtype):
    x_shape, weight_shape, options = geometry
    assert_forms_agree(normal(*x_shape), normal(*weight_shape), normal(weight_shape[0]), dtype, **options)


@each_geometry
def test_the_gradient_of_the_fast_form_is_right(geometry):
    x_shape, weight_shape, options = geometry
    mr.gradcheck(lambda x, weight, bias: ops.conv2d(x, weight, bias, **options),
                 [normal(*x_shape), normal(*weight_shape), normal(weight_shape[0])])


@each_geometry
def test_the_gradient_of_the_plain_form_is_right(geometry):
    x_shape, weight_shape, options = geometry
    one_image = (1, *x_shape[1:])  # the four loops are slow
    with mr.reference_ops():
        mr.gradcheck(lambda x, weight, bias: ops.conv2d(x, weight, bias, **options),
                     [normal(*one_image), normal(*weight_shape), normal(weight_shape[0])])


@each_geometry
def test_without_a_bias_the_gradient_is_right_too(geometry):
    x_shape, weight_shape, options = geometry
    mr.gradcheck(lambda x, weight: ops.conv2d(x, weight, **options), [normal(*x_shape), normal(*weight_shape)])


@st.composite
def geometries(draw):
    """Any sizes and options that fit together, small enough for the four loops."""
    def size(smallest, largest):
        return draw(st.integers(smallest, largest))

    def size_pair(smallest, largest):
        return size(smallest, largest), size(smallest, largest)

    (KH, KW), stride, dilation, padding = size_pair(1, 3), size_pair(1, 4), size_pair(1, 3), size_pair(0, 3)
    H, W = [max(1, D * (K - 1) + 1 - 2 * P) + size(0, 4) for D, K, P in zip(dilation, (KH, KW), padding, strict=True)]
    groups, C, O = size(1, 2), size(1, 3), size(1, 3)
    return ((size(1, 2), C * groups, H, W), (O * groups, C, KH, KW),
            {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups})


@settings(max_examples=120, deadline=None, derandomize=True)
@given(geometries())
def test_both_forms_agree_on_any_geometry(geometry):
    x_shape, weight_shape, options = geometry
    assert_forms_agree(normal(*x_shape), normal(*weight_shape), normal(weight_shape[0]), **options)


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize(("x_shape", "weight_shape"), [
    ((3, 8, 64, 64), (16, 8, 3, 3)),      # a panel holds an image or two
    ((1, 16, 150, 150), (3, 16, 3, 3)),   # ... or some rows of one
    ((40, 3, 32, 32), (8, 3, 3, 3)),      # ... or many images, and not all
    ((3, 40, 67, 67), (64, 40, 1, 1)),    # a 1 x 1 kernel takes the image as it is
], ids=str)
def test_images_too_large_for_one_panel(x_shape, weight_shape, stride):
    x, weight, bias = (normal(*shape).astype(np.float32) for shape in (x_shape, weight_shape, weight_shape[:1]))
    y, dx, dweight, dbias = results(x, weight, bias, np.float32, stride=stride, padding=1)
    expected = definition(x, weight, bias, stride=stride, padding=1)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())
    # conv is linear in x and in weight: ⟨dy, conv(u, w)⟩ = ⟨dx, u⟩ and ⟨dy, conv(x, u)⟩ = ⟨dweight, u⟩ for every u
    dy, u = normal(*y.shape), normal(*x_shape, 1)[..., 0]
    assert (dx * u).sum() == pytest.approx((dy * definition(u, weight, stride=stride, padding=1)).sum(), rel=1e-4)
    u = normal(*weight_shape, 1)[..., 0]
    assert (dweight * u).sum() == pytest.approx((dy * definition(x, u, stride=stride, padding=1)).sum(), rel=1e-4)
    np.testing.assert_allclose(dbias, dy.sum(axis=(0, 2, 3)), rtol=1e-3)


def test_the_output_lies_with_its_channels_last_so_that_the_next_layer_need_not_copy():
    y, dx, _, _ = results(normal(2, 3, 4, 5), normal(4, 3, 3, 3), normal(4), padding=1)
    assert np.shares_memory(channels_last(y), y)
    assert channels_last(dx).flags.c_contiguous


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}, {"groups": 2}, {"dilation": 2}], ids=str)
def test_an_empty_batch_has_an_empty_output_and_gradients_of_zero(K, options):
    weight_shape = (4, 4 // options.get("groups", 1), K, K)
    full, empty = (results(normal(N, 4, 5, 5), normal(*weight_shape), normal(4), **options) for N in (1, 0))
    assert empty[0].shape == (0, *full[0].shape[1:])
    assert empty[1].shape == (0, 4, 5, 5)
    np.testing.assert_array_equal(empty[2], np.zeros(weight_shape))
    np.testing.assert_array_equal(empty[3], np.zeros(4))


def test_it_is_a_correlation_the_kernel_is_not_turned():
    x, weight = np.zeros((1, 1, 3, 3)), np.arange(9.0).reshape(1, 1, 3, 3)
    x[0, 0, 1, 1] = 1
    y = ops.conv2d(mr.Tensor(x), mr.Tensor(weight), padding=1)
    np.testing.assert_array_equal(y.data[0, 0], [[8, 7, 6], [5, 4, 3], [2, 1, 0]])


# ---- what is refused

@pytest.mark.parametrize(("x_shape", "weight_shape", "message"), [
    ((3, 5, 5), (4, 3, 3, 3), r"expected x \(N, C, H, W\) .*weight \(O, C / groups, KH, KW\), got shapes \(3, 5, 5\)"),
    ((2, 3, 5, 5), (4, 27), r"got shapes \(2, 3, 5, 5\) and \(4, 27\)"),
    ((2, 3, 0, 5), (4, 3, 3, 3), r"at least one pixel.*got shapes \(2, 3, 0, 5\)"),
    ((2, 3, 5, 5), (4, 2, 3, 3), r"x \(2, 3, 5, 5\) has 3 channels, but weight .* = \(4, 2, 3, 3\) with groups=1 takes 2"),
    ((2, 3, 5, 5), (0, 3, 3, 3), r"weight \(0, 3, 3, 3\) must hold at least one number"),
    ((2, 3, 5, 5), (4, 3, 0, 3), r"weight \(4, 3, 0, 3\) must hold at least one number"),
    ((2, 0, 5, 5), (4, 0, 3, 3), r"weight \(4, 0, 3, 3\) must hold at least one number"),
    ((2, 3, 2, 5), (4, 3, 3, 3), r"the kernel \(3, 3\) with dilation \(1, 1\) is larger than the image \(2, 5\) with "
                                 r"padding \(0, 0\): use larger images, more padding or a smaller kernel"),
    ((2, 3, 5, 2), (4, 3, 3, 3), r"is larger than the image \(5, 2\)"),
])
def test_shapes_that_do_not_fit(x_shape, weight_shape, message):
    with pytest.raises(ShapeError, match="^Conv2d: .*" + message):
        ops.conv2d(mr.Tensor(np.ones(x_shape)), mr.Tensor(np.ones(weight_shape)))


@pytest.mark.parametrize(("options", "message"), [
    ({"groups": 3}, r"x \(2, 4, 5, 5\) has 4 channels, but weight .* with groups=3 takes 6"),
    ({"groups": 2}, r"its 3 kernels must divide into groups=2"),
])
def test_groups_that_do_not_fit(options, message):
    with pytest.raises(ShapeError, match="^Conv2d: .*" + message):
        ops.conv2d(mr.Tensor(np.ones((2, 4, 5, 5))), mr.Tensor(np.ones((3, 2, 3, 3))), **options)


@pytest.mark.parametrize("options", [{"dilation": 3}, {"dilation": (1, 3)}, {"dilation": 4, "padding": 1}], ids=str)
def test_a_kernel_whose_dilation_makes_it_larger_than_the_image(options):
    with pytest.raises(ShapeError, match=r"the kernel \(3, 3\) with dilation \(\d, \d\) is larger than the image \(5, 5\)"):
        ops.conv2d(mr.Tensor(np.ones((1, 1, 5, 5))), mr.Tensor(np.ones((1, 1, 3, 3))), **options)


@pytest.mark.parametrize("shape", [(3,), (1, 4), ()])
def test_a_bias_of_another_length(shape):
    with pytest.raises(ShapeError, match=r"Conv2d: bias has shape \(.*\), expected \(4,\) for weight \(4, 2, 3, 3\)"):
        ops.conv2d(*[mr.Tensor(np.ones(s)) for s in ((1, 2, 5, 5), (4, 2, 3, 3), shape)])


@pytest.mark.parametrize(("options", "message"), [
    ({"stride": 0}, r"stride is 0, expected an integer of at least 1"),
    ({"stride": (1, -1)}, r"stride is \(1, -1\), expected an integer of at least 1"),
    ({"dilation": 0}, r"dilation is 0, expected an integer of at least 1"),
    ({"padding": -1}, r"padding is -1, expected an integer of at least 0"),
    ({"groups": 0}, r"groups is 0, expected an integer of at least 1"),
    ({"stride": 1.5}, r"stride is 1\.5, expected an integer .* or a pair \(vertical, horizontal\) of them"),
    ({"stride": (1, 2, 3)}, r"stride is \(1, 2, 3\), expected an integer .* or a pair"),
    ({"padding": "same"}, r"padding is 'same', expected an integer .* or a pair"),
    ({"stride": True}, r"stride is True, expected an integer"),
    ({"groups": "1"}, r"groups is '1', expected an integer of at least 1"),
    ({"dilation": None}, r"dilation is None, expected an integer .* or a pair"),
])
def test_options_that_are_refused(options, message):
    with pytest.raises(ArgumentError, match="^Conv2d: .*" + message):
        ops.conv2d(mr.Tensor(np.ones((1, 1, 5, 5))), mr.Tensor(np.ones((1, 1, 3, 3))), **options)
