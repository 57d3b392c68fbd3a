"""`explain` and `describe` on both backends; a repr never waits for a device."""
import numpy as np

import minires as mr
from minires import ops
from tests.strict_cupy import no_sync


def net_and_loss(device):
    net = mr.models.cifar_net(8, width=2, in_channels=1).astype(np.float64).to(device)
    x = mr.Tensor(np.random.default_rng(0).standard_normal((4, 1, 8, 8))).to(device)
    return net, ops.cross_entropy(net(x), [0, 1, 2, 3])


def test_the_table_is_that_of_the_cpu(device):
    found, expected = mr.explain(net_and_loss(device)[1]), mr.explain(net_and_loss("cpu")[1])
    assert [cells[:4] for cells in found.cells()] == [cells[:4] for cells in expected.cells()]
    for row, other in zip(found.rows, expected.rows, strict=True):
        for gradient, right in zip(row.gradients, other.gradients, strict=True):
            if not isinstance(right.norm, str):
                np.testing.assert_allclose(float(gradient.norm), right.norm, rtol=1e-9)


def test_a_description_is_that_of_the_cpu(device):
    values = np.array([[1.0, np.nan, 0.0], [np.inf, -3.0, 2.0]])
    found, expected = mr.describe(mr.Tensor(values).to(device)), mr.describe(values)
    for name in ("shape", "dtype", "min", "max", "mean", "std", "norm", "zeros", "nan", "inf"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.device.startswith(device)


def test_a_repr_waits_for_no_device(device):
    net, loss = net_and_loss(device)
    with no_sync():
        assert repr(loss)
        assert repr(net.conv1.weight)
        for step in mr.backward_steps(loss):
            assert repr(step)
