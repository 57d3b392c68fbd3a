"""The shortcuts against PyTorch's addition, slicing and padding."""
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal


def slice_and_pad(x, out_channels, stride):
    kept = x[:, :, ::stride, ::stride]
    return torch.nn.functional.pad(kept, (0, 0, 0, 0, 0, out_channels - x.shape[1]))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("out_channels", [3, 4, 6])
@pytest.mark.parametrize("size", [(8, 8), (7, 6), (1, 5)], ids=str)
def test_the_zero_padding_shortcut_keeps_every_other_pixel_and_adds_channels(size, out_channels, stride, dtype):
    assert_parity(lambda x: ops.zero_pad_shortcut(x, out_channels, stride),
                  lambda x: slice_and_pad(x, out_channels, stride), [normal(2, 3, *size)], dtype)


def test_shortcut_add_gives_both_branches_the_gradient(dtype):
    assert_parity(ops.shortcut_add, torch.add, [normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=2)], dtype)


def test_a_chain_of_residual_branches_adds_up_every_path(dtype):
    def ours(x):
        for _ in range(4):
            x = ops.shortcut_add(ops.tanh(x), x)
        return x

    def theirs(x):
        for _ in range(4):
            x = torch.tanh(x) + x
        return x

    assert_parity(ours, theirs, [normal(2, 3, 4, 4)], dtype)
