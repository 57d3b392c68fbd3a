"""The statistics and counts of PyTorch's tensors by PyTorch, as on a GPU, against those of NumPy, as on the host."""
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")

from minires.recording.histograms import HALF_DECADES
from minires.recording.torch_statistics import count, count_on_device, statistics, statistics_on_device
from tests.parity.comparison import normal

SPECIAL = [0.0, -0.0, math.nan, math.inf, -math.inf, 1e-45, -1e-3, 1.0, 0.1, 1e4, 1e-16, 1e38]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("edges", [HALF_DECADES, np.array([1e-44, 0.1, 1e39])], ids=["half decades", "wide"])
def test_both_count_alike(edges, dtype):
    sizes = 10.0 ** np.random.default_rng(0).uniform(-30, 5, 243)
    x = torch.tensor([*sizes, *SPECIAL]).to(dtype).reshape(15, 17).T
    counts = count_on_device(x, edges)
    assert counts.sum() == x.numel()
    assert counts.tolist() == count(x, edges, 1.0).tolist()
    assert count_on_device(x.to(torch.float64) / 3, edges).tolist() == count(x, edges, 3.0).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_find_the_same_statistics(dtype):
    tensors = [torch.from_numpy(normal(*shape, seed=i)).to(dtype) for i, shape in enumerate([(40, 30, 20), (0, 3), (7,)])]
    tensors[0][:, ::3] = 0
    tensors[2] = tensors[2][::2]
    for some in (tensors, tensors[:1], tensors[2:]):
        np.testing.assert_allclose(statistics(some), statistics_on_device(some), rtol=1e-12, atol=1e-16)
    assert np.isnan(statistics(tensors[1:2])).all()
    assert np.isnan(statistics_on_device(tensors[1:2])).all()


def test_views_that_numpy_does_not_have_are_counted():
    z = torch.complex(torch.tensor([0.0, 2.0]), torch.tensor([-3.0, 0.5]))
    one = HALF_DECADES[-10:]
    assert count(z.conj(), one, 1.0).tolist() == count(torch.tensor([0.0, 2.0, 3.0, 0.5]), one, 1.0).tolist()
    assert statistics([z.conj().imag])[0] == 1.25
    sparse = torch.sparse_coo_tensor([[1, 3]], [4.0, 4.0], (5,), check_invariants=True)
    assert count(sparse, one, 1.0).sum() == 2
