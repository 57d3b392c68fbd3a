"""The recorder on both backends, and on a net that lies on two devices."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops, optim
from minires.recording import numbers
from minires.recording.numbers import ALL_QUANTITIES


class Halves(nn.Module):
    """A cell that runs three times on one device, and a head on another."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        for _ in range(3):
            x = ops.shortcut_add(self.cell(x), x)
        return self.head(x.to(self.head.weight.device))


def record_of(here, there, steps=3):
    net = nn.init.initialize_(Halves(), nn.init.he_normal_, 0)
    net.cell.to(here)
    net.head.to(there)
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    with mr.record_gradients(net, optimizer, shortcut_flow=True, activations=True, histograms=True) as record:
        for seed in range(steps):
            optimizer.zero_grad()
            x = mr.Tensor(np.random.default_rng(seed).standard_normal((2, 4)).astype(np.float32)).to(here)
            net(x).sum().backward()
            mr.Tensor([0.0]).to(here)  # whoever works in between leaves a current device of its own
            optimizer.step()
    mr.Tensor([0.0]).to(here)
    return record


@pytest.mark.parametrize("most_on_device", [1, 1000])
@pytest.mark.parametrize("devices", [("cuda:0", "cuda:1"), ("cuda:1", "cuda:0"), ("cpu", "cuda:1"), ("cuda:0", "cpu")])
def test_a_net_on_two_devices_has_the_record_of_one(devices, most_on_device, cuda, monkeypatch):
    monkeypatch.setattr(numbers, "MOST_ON_DEVICE", most_on_device)
    record, expected = record_of(*devices), record_of("cpu", "cpu")
    assert record.names == expected.names
    assert record.select("cell").names == ["cell", "cell@2", "cell@3"]
    for quantity in ALL_QUANTITIES:
        np.testing.assert_allclose(record.values(quantity), expected.values(quantity), rtol=1e-5, err_msg=quantity)
    np.testing.assert_array_equal(record.output_grad_counts, expected.output_grad_counts)


def test_the_numbers_of_several_uses_come_to_the_host_in_one_transfer_a_pass(cuda):
    record = record_of("cuda:0", "cuda:0", steps=2)
    before = len(cuda.downloads)
    assert np.isfinite(record.select(nn.Linear).output_grad_norm).all()
    assert len(cuda.downloads) == before + 2  # and only now


def test_a_record_can_be_read_while_another_device_is_the_current_one(cuda):
    net = nn.Sequential(nn.Linear(4, 3)).to("cuda:1")
    with mr.record_gradients(net) as record:
        net(mr.Tensor(np.ones((2, 4), np.float32)).to("cuda:1")).sum().backward()
    mr.Tensor([0.0]).to("cuda:0")
    np.testing.assert_allclose(record.output_grad_norm, [[np.sqrt(6)]], rtol=1e-6)
