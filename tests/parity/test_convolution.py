"""Convolution against PyTorch: the fast form and the definition, forward and all three gradients."""
import contextlib
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
import minires as mr
from minires import ops
from tests.parity.comparison import assert_close, assert_parity, normal

KERNELS = [(3, 3), (1, 1), (2, 3), (4, 1)]
STRIDES = [1, 2, (3, 2)]
PADDINGS = [0, 1, (2, 1)]
DILATIONS = [1, 2, (1, 3)]
GROUPS = [1, 2]

# name: (shape of x, shape of weight, options)
SHAPES = {
    "first layer": ((2, 3, 12, 12), (8, 3, 3, 3), {"padding": 1}),
    "stem of the ImageNet nets": ((2, 3, 23, 20), (5, 3, 7, 7), {"stride": 2, "padding": 3}),
    "projection of a shortcut": ((3, 4, 7, 8), (6, 4, 1, 1), {"stride": 2}),
    "one pixel": ((5, 4, 1, 1), (3, 4, 3, 3), {"padding": 1}),
    "kernel as large as the image": ((2, 3, 5, 4), (3, 3, 5, 4), {}),
    "one image of one channel": ((1, 1, 6, 6), (1, 1, 3, 3), {}),
    "depthwise": ((2, 6, 7, 7), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
    "depthwise with two kernels a channel": ((2, 3, 7, 7), (6, 1, 3, 3), {"groups": 3, "stride": 2, "padding": 1}),
    "grouped 1x1": ((2, 6, 4, 5), (9, 2, 1, 1), {"groups": 3}),
    "last rows and columns are not reached": ((2, 2, 9, 8), (3, 2, 2, 2), {"stride": 3}),
    "strides that jump over pixels": ((2, 2, 9, 9), (3, 2, 1, 2), {"stride": (2, 4), "padding": (1, 0)}),
    "padding larger than the kernel": ((2, 2, 3, 3), (3, 2, 2, 2), {"padding": 3}),
}


@pytest.fixture(params=[contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])
def form(request):
    """The form that people run, then the one that states the definition."""
    with request.param():
        yield


def assert_same_convolution(x_shape, weight_shape, dtype, bias=True, **options):
    # scaled as a layer's, so that y is near 1
    inputs = [normal(*x_shape), normal(*weight_shape, seed=2) / np.prod(weight_shape[1:]) ** 0.5]
    if bias:
        inputs.append(normal(weight_shape[0], seed=3))
    assert_parity(lambda *inputs: ops.conv2d(*inputs, **options),
                  lambda *inputs: torch.nn.functional.conv2d(*inputs, **options), inputs, dtype)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_strides_paddings_dilations_and_groups_in_all_combinations(kernel, groups, dtype):
    for stride, padding, dilation in itertools.product(STRIDES, PADDINGS, DILATIONS):
        assert_same_convolution((2, 4, 8, 7), (6, 4 // groups, *kernel), dtype, stride=stride, padding=padding,
                                dilation=dilation, groups=groups)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES.keys())
def test_shapes_that_nets_use_and_shapes_at_the_edge(case, bias, dtype):
    x_shape, weight_shape, options = case
    assert_same_convolution(x_shape, weight_shape, dtype, bias, **options)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4, 6])
def test_strides_and_dilations_with_and_without_common_factors(stride, dilation, dtype):
    """Which pixels an output sees, and which are seen by none, depends on what stride and dilation have in common."""
    assert_same_convolution((2, 2, 24, 17), (3, 2, 4, 3), dtype, stride=(stride, 3), padding=(2, 1), dilation=(dilation, 2))
    assert_same_convolution((2, 2, 17, 24), (3, 2, 3, 4), dtype, stride=(2, stride), padding=(0, 2), dilation=(1, dilation))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 1])
def test_a_batch_that_needs_several_panels(kernel, stride, dtype):
    assert_same_convolution((9, 16, 32, 32), (24, 16, kernel, kernel), dtype, stride=stride, padding=kernel // 2)


@pytest.mark.parametrize("layout", [(0, 2, 3, 1), (3, 2, 1, 0)], ids=["channels last", "batch last"])
def test_images_in_another_memory_order(layout, dtype):
    # an array in C order with its axes moved: the shape is (N, C, H, W) again, the memory order is not
    shape = np.array([2, 4, 6, 5])[list(layout)]
    x = normal(*shape).transpose(np.argsort(layout))
    assert x.shape == (2, 4, 6, 5)
    assert not x.flags.c_contiguous
    assert_parity(lambda x, w: ops.conv2d(x, w, padding=1), lambda x, w: torch.nn.functional.conv2d(x, w, padding=1),
                  [x, normal(3, 4, 3, 3, seed=2)], dtype)


@pytest.mark.usefixtures("form")
def test_images_that_want_no_gradient_leave_that_of_the_weight_right(dtype):
    x, weight, dy = [normal(*shape, seed=i).astype(dtype) for i, shape in
                     enumerate([(2, 3, 6, 6), (4, 3, 3, 3), (2, 4, 3, 3)])]
    w, w_torch = mr.Tensor(weight, requires_grad=True), torch.from_numpy(weight.copy()).requires_grad_()
    ops.conv2d(mr.Tensor(x), w, stride=2, padding=1).backward(dy)
    torch.nn.functional.conv2d(torch.from_numpy(x), w_torch, stride=2, padding=1).backward(torch.from_numpy(dy))
    assert_close(w.grad, w_torch.grad, "gradient of the weight")
