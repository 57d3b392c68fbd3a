"""Layer norm, group norm and RMS norm against PyTorch: values and all gradients."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal

F = torch.nn.functional
TOLERANCE = {np.float32: 5e-5, np.float64: None}


def spread(*shape):
    """Numbers whose mean and spread are not 0 and 1."""
    return 3 * normal(*shape) + 2


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize(("shape", "of"), [((4, 6), (6,)), ((2, 3, 5), (5,)), ((2, 3, 5), (3, 5)),
                                           ((2, 4, 3, 5), (4, 3, 5))])
def test_layer_norm_and_rms_norm(shape, of, eps, dtype):
    x, weight, bias = spread(*shape), 1 + normal(*of, seed=2), normal(*of, seed=3)
    assert_parity(lambda x, w, b: ops.layer_norm(x, of, w, b, eps), lambda x, w, b: F.layer_norm(x, of, w, b, eps),
                  [x, weight, bias], dtype, TOLERANCE[dtype])
    assert_parity(lambda x: ops.layer_norm(x, of, eps=eps), lambda x: F.layer_norm(x, of, eps=eps), [x], dtype,
                  TOLERANCE[dtype])
    assert_parity(lambda x, w: ops.rms_norm(x, of, w, eps), lambda x, w: F.rms_norm(x, of, w, eps), [x, weight], dtype,
                  TOLERANCE[dtype])
    assert_parity(lambda x: ops.rms_norm(x, of), lambda x: F.rms_norm(x, of), [x], dtype, TOLERANCE[dtype])


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(4, 6, 3, 5), (2, 6, 7), (3, 6, 4)])
def test_group_norm(shape, groups, dtype):
    arrays = [spread(*shape), 1 + normal(6, seed=2), normal(6, seed=3)]
    assert_parity(lambda x, w, b: ops.group_norm(x, groups, w, b, 1e-3), lambda x, w, b: F.group_norm(x, groups, w, b, 1e-3),
                  arrays, dtype, TOLERANCE[dtype])


@pytest.mark.parametrize("indices", [[3], [[0, 2], [2, 2]]])
def test_embedding(indices, dtype):
    assert_parity(lambda w: ops.embedding(indices, w), lambda w: F.embedding(torch.tensor(indices), w), [normal(4, 3)],
                  dtype)
