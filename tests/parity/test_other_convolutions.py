"""Convolutions of sequences, transposed convolutions and upsampling against PyTorch, in both forms."""
import contextlib
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
import minires as mr
from minires import ops
from tests.parity.comparison import assert_parity, normal

F = torch.nn.functional


@pytest.fixture(params=[contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])
def form(request):
    """The form that people run, then the one that states the definition."""
    with request.param():
        yield


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("groups", [1, 2])
def test_conv1d_with_all_options_in_combination(groups, dtype):
    for stride, padding, dilation in itertools.product([1, 2], [0, 2], [1, 3]):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        assert_parity(lambda *inputs, options=options: ops.conv1d(*inputs, **options),
                      lambda *inputs, options=options: F.conv1d(*inputs, **options),
                      [normal(2, 4, 9), normal(6, 4 // groups, 3, seed=2), normal(6, seed=3)], dtype)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("groups", [1, 2])
def test_conv_transpose2d_with_all_options_in_combination(groups, dtype):
    for stride, padding, dilation, more in itertools.product([1, 2, (3, 2)], [0, (1, 2)], [1, (1, 3)], [0, 1]):
        if more and stride == 1:
            continue  # PyTorch refuses it too, unless it is less than the dilation on both axes
        options = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": more, "groups": groups}
        assert_parity(lambda *inputs, options=options: ops.conv_transpose2d(*inputs, **options),
                      lambda *inputs, options=options: F.conv_transpose2d(*inputs, **options),
                      [normal(2, 4, 4, 3), normal(4, 3, 3, 4, seed=2), normal(3 * groups, seed=3)], dtype, tolerance=2e-5
                      if dtype == np.float32 else None)


@pytest.mark.parametrize("factor", [1, 2, 3, (4, 1)])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsampling(mode, factor, dtype):
    theirs = {"align_corners": False} if mode == "bilinear" else {}
    for shape in ((2, 3, 4, 5), (1, 2, 1, 3)):
        assert_parity(lambda x: ops.upsample(x, factor, mode),
                      lambda x: F.interpolate(x, scale_factor=factor, mode=mode, **theirs), [normal(*shape)], dtype)
