"""Saving and loading: what comes back is what was saved, and nothing is lost to a bad file or an interruption."""
import numpy as np
import pytest

import minires as mr
from minires.errors import ArgumentError, DataError, FileError


def state_of(seed):
    return mr.models.cifar_net(8, width=2, seed=seed)


def test_a_net_comes_back_bit_for_bit(tmp_path):
    saved, other = state_of(0), state_of(1)
    mr.save(saved, tmp_path / "net.npz")
    other.load_state_dict(mr.load(tmp_path / "net.npz"))
    for name, array in saved.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]


def test_an_optimizer_goes_on_where_it_was(tmp_path):
    def trained(steps, net, optimizer):
        for step in range(steps):
            x = mr.Tensor(np.random.default_rng(step).standard_normal((4, 3, 8, 8)).astype(np.float32))
            optimizer.zero_grad()
            mr.ops.cross_entropy(net(x), [0, 1, 2, 3]).backward()
            optimizer.step()

    net = state_of(0)
    optimizer = mr.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    trained(2, net, optimizer)
    mr.save(net, tmp_path / "net.npz")
    mr.save(optimizer.state_dict(), tmp_path / "sgd.npz")
    resumed = state_of(1)
    resumed.load_state_dict(mr.load(tmp_path / "net.npz"))
    other = mr.optim.SGD(resumed.parameters(), lr=5)
    other.load_state_dict(mr.load(tmp_path / "sgd.npz"))
    trained(2, net, optimizer)
    trained(2, resumed, other)
    np.testing.assert_array_equal(net.fc.weight.data, resumed.fc.weight.data)


def test_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="needs safetensors: pip install minires[safetensors]")
    state = state_of(0).state_dict()
    safetensors.save_file(state, tmp_path / "net.safetensors")
    loaded = mr.load(tmp_path / "net.safetensors")
    assert set(loaded) == set(state)
    np.testing.assert_array_equal(loaded["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])


@pytest.mark.parametrize("cut", [0, 10, 200, -30])
def test_a_cut_file_is_a_data_error(tmp_path, cut):
    mr.save(state_of(0), tmp_path / "net.npz")
    content = (tmp_path / "net.npz").read_bytes()
    (tmp_path / "net.npz").write_bytes(content[:cut])
    with pytest.raises(DataError, match="is not a whole"):
        mr.load(tmp_path / "net.npz")


def test_a_damaged_array_is_a_data_error(tmp_path):
    mr.save(state_of(0), tmp_path / "net.npz")
    content = bytearray((tmp_path / "net.npz").read_bytes())
    content[len(content) // 3] ^= 0xFF
    (tmp_path / "net.npz").write_bytes(content)
    with pytest.raises(DataError):
        mr.load(tmp_path / "net.npz")


def test_pickles_are_never_run(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(DataError, match="is not a whole"):
        mr.load(tmp_path / "evil.npz")


def test_a_damaged_safetensors_file_is_a_data_error(tmp_path):
    pytest.importorskip("safetensors.numpy", reason="needs safetensors: pip install minires[safetensors]")
    (tmp_path / "net.safetensors").write_bytes(b"not a header at all")
    with pytest.raises(DataError, match="safetensors"):
        mr.load(tmp_path / "net.safetensors")


def test_a_missing_file_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        mr.load(tmp_path / "none.npz")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    mr.save({"a": np.ones(3)}, tmp_path / "a.npz")

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(FileError, match="No space left"):
        mr.save({"a": np.zeros(3)}, tmp_path / "a.npz")
    np.testing.assert_array_equal(mr.load(tmp_path / "a.npz")["a"], np.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("value", ["text", None, [1, 2], {"a": 1}, np.array([None])])
def test_what_is_no_array_is_refused(tmp_path, value):
    with pytest.raises(ArgumentError, match="expected names with arrays or numbers"):
        mr.save({"a": value}, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_suffix_or_folder_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"ends with \.npz"):
        mr.save({"a": np.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match="cannot write"):
        mr.save({"a": np.ones(1)}, tmp_path / "nowhere" / "a.npz")
