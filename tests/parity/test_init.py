"""The fans of a weight are those that PyTorch reads from its shape, of convolutions in groups too."""
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
import minires as mr
from minires.nn import init


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_fans_of_a_convolution(groups):
    ours, theirs = mr.nn.Conv2d(8, 12, (3, 5), groups=groups), torch.nn.Conv2d(8, 12, (3, 5), groups=groups)
    assert ours.weight.shape == tuple(theirs.weight.shape) == (12, 8 // groups, 3, 5)
    assert init.fans(ours.weight) == torch.nn.init._calculate_fan_in_and_fan_out(theirs.weight)
    assert init.fans(ours.weight) == (8 // groups * 15, 12 * 15)
