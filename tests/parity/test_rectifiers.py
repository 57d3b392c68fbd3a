"""Leaky ReLU, ELU, softplus, SiLU and GELU against PyTorch, out to where they are straight."""
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from torch.nn import functional

from minires import ops
from tests.parity.comparison import assert_parity, normal

PAIRS = {
    "leaky_relu": (ops.leaky_relu, functional.leaky_relu),
    "leaky_relu, steep": (lambda x: ops.leaky_relu(x, 1.5), lambda x: functional.leaky_relu(x, 1.5)),
    "elu": (ops.elu, functional.elu),
    "elu, alpha": (lambda x: ops.elu(x, 0.3), lambda x: functional.elu(x, 0.3)),
    "softplus": (ops.softplus, functional.softplus),
    "softplus, beta and threshold": (lambda x: ops.softplus(x, 0.5, 1), lambda x: functional.softplus(x, 0.5, 1)),
    "silu": (ops.silu, functional.silu),
    "gelu": (ops.gelu, functional.gelu),
    "gelu, tanh": (lambda x: ops.gelu(x, "tanh"), lambda x: functional.gelu(x, approximate="tanh")),
}
each_pair = pytest.mark.parametrize(("ours", "theirs"), PAIRS.values(), ids=PAIRS)


@each_pair
def test_functions_of_each_element(ours, theirs, dtype):
    assert_parity(ours, theirs, [3 * normal(4, 3, 5)], dtype)


@each_pair
@pytest.mark.parametrize("sign", [1, -1], ids=["above", "below"])
def test_near_0_and_far_away(ours, theirs, sign, dtype):
    assert_parity(ours, theirs, [[sign * x for x in (0, 1e-6, 1e-4, 1e-2, 0.5, 4, 5.7, 8, 20, 100)]], dtype)
