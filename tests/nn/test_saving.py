"""Saving and loading: what comes back is what was saved, and nothing is lost to a bad file or an interruption."""
import collections
import io
import json
import os
import pickle
import signal
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import ArgumentError, DataError, FileError, StateError
from minires.nn import saving as files

needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions, links and limits")


def state_of(seed):
    return mr.models.cifar_net(8, width=2, seed=seed)


def tiny_net(value=0.0):
    """A net of a few arrays, so that its file is small; all its numbers are moved by `value`."""
    net = nn.Sequential({"conv": nn.Conv2d(1, 2, 3), "bn": nn.BatchNorm2d(2), "größe": nn.Linear(2, 3)})
    generator = np.random.default_rng(0)
    for parameter in net.parameters():
        parameter.data[...] = generator.standard_normal(parameter.shape) + value
    net.bn.running_mean += value
    return net


def assert_same_arrays(actual, expected):
    """Equal names, types, shapes and bits."""
    assert set(actual) == set(expected)
    for name, array in expected.items():
        array = np.asarray(array)
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape), name
        assert actual[name].tobytes() == array.tobytes(), name


def npy(header, values=b"", version=(1, 0)):
    """The content of a .npy file with this header, whatever it says."""
    return np.lib.format.magic(*version) + struct.pack("<H" if version == (1, 0) else "<I", len(header)) + header + values


def npy_of(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def zip_of(members, compression=zipfile.ZIP_STORED, comment=b""):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.comment = comment
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def written(path, content):
    path.write_bytes(content)
    return path


def peak_memory(function):
    """The most bytes that `function` held at a time, whatever it raised of ours."""
    tracemalloc.start()
    try:
        function()
    except mr.MiniresError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


# ---- what comes back


def test_a_net_comes_back_bit_for_bit(tmp_path):
    saved, other = state_of(0), state_of(1)
    mr.save(saved, tmp_path / "net.npz")
    other.load_state_dict(mr.load(tmp_path / "net.npz"))
    assert_same_arrays(other.state_dict(), saved.state_dict())
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


@pytest.mark.parametrize("array", [
    np.array([0.1, -0.0, np.nan, np.inf]), np.arange(3, dtype=np.float16), np.arange(3, dtype=">f4"),
    np.arange(4, dtype=np.int8), np.array([2**64 - 1], np.uint64), np.array([True, False]), np.array([1 + 2j]),
    np.array(["cat", "größe"]), np.array([b"cat"]), np.zeros((0, 3), np.float32), np.float32(0.1), np.array(7),
    np.arange(6.0).reshape(2, 3).T, np.arange(10)[::-2], np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)), 3, 0.5, True,
], ids=lambda array: f"{np.asarray(array).dtype}{list(np.shape(array))}")
def test_arrays_and_numbers_keep_type_shape_and_bits(tmp_path, array):
    mr.save({"a": array}, tmp_path / "a.npz")
    assert_same_arrays(mr.load(tmp_path / "a.npz"), {"a": array})


def test_any_printable_name_is_kept_in_order(tmp_path):
    names = ["file", "allow_pickle", "arr_0", "a", "a.npy", "a.npy.npy", "layer1.0.weight", "größe", "重み", "a/b", "/", ""]
    mr.save({name: np.array(i) for i, name in enumerate(names)}, tmp_path / "a.npz")
    assert {name: int(i) for name, i in mr.load(tmp_path / "a.npz").items()} == {name: i for i, name in enumerate(names)}
    assert list(mr.load(tmp_path / "a.npz")) == names


def test_numpy_reads_the_arrays_and_nothing_else(tmp_path):
    mr.save(state_of(0), tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as arrays:
        assert arrays.files == list(state_of(0).state_dict())
        assert_same_arrays(dict(arrays), state_of(0).state_dict())


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_is_read(tmp_path, savez):
    state = {**state_of(0).state_dict(), "bn1.num_batches_tracked": np.array(3), "order": np.asfortranarray(np.ones((2, 3)))}
    savez(tmp_path / "net.npz", **state)
    assert_same_arrays(mr.load(tmp_path / "net.npz"), state)


def test_equal_arrays_make_equal_files(tmp_path):
    mr.save(state_of(0), tmp_path / "a.npz")
    mr.save(state_of(0).state_dict(), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}  # no time of day


def test_safetensors_are_read(tmp_path):
    from safetensors.numpy import save_file

    save_file(state_of(0).state_dict(), tmp_path / "net.safetensors")
    assert_same_arrays(mr.load(tmp_path / "net.safetensors"), state_of(0).state_dict())
    assert all(array.flags.writeable for array in mr.load(tmp_path / "net.safetensors").values())


# ---- the version


def test_a_file_states_its_version(tmp_path):
    mr.save({"a": 1}, tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert (archive.comment, archive.namelist()) == (b"minires format 1", ["a.npy"])


def test_a_file_of_a_later_version_says_so_even_where_its_members_are_of_another_kind(tmp_path):
    path = written(tmp_path / "a.npz", zip_of({"a.new": b"news"}, comment=b"minires format 2"))
    with pytest.raises(DataError, match="has format 2, and this minires reads up to 1: use a newer one"):
        mr.load(path)


@pytest.mark.parametrize("comment", [b"", b"weights of a talk", b"minires"])
def test_a_file_without_a_version_is_read(tmp_path, comment):
    path = written(tmp_path / "a.npz", zip_of({"a.npy": npy_of(np.ones(2))}, comment=comment))
    assert_same_arrays(mr.load(path), {"a": np.ones(2)})


@pytest.mark.parametrize("version", [b"", b"one", b"\xff", b"1.5"])
def test_a_damaged_version_is_a_data_error(tmp_path, version):
    path = written(tmp_path / "a.npz", zip_of({"a.npy": npy_of(np.ones(2))}, comment=b"minires format " + version))
    with pytest.raises(DataError, match="is not a whole"):
        mr.load(path)


# ---- interruptions, permissions, links


class Crash(Exception):
    """Something that `save` does not know."""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Crash(), KeyboardInterrupt()])
@pytest.mark.parametrize(("module", "name"), [(np.lib.format, "write_array"), (os, "fsync"), (os, "replace")])
def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, module, name, error):
    mr.save({"a": np.ones(3)}, tmp_path / "a.npz")

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        expected = FileError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected, match="No space left" if expected is FileError else None):
            mr.save({"a": np.zeros(3)}, tmp_path / "a.npz")
    assert_same_arrays(mr.load(tmp_path / "a.npz"), {"a": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_the_content_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(descriptor):
        events.append(("fsync", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def noted_replace(source, target):
        events.append(("replace", os.stat(source).st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    mr.save({"a": np.ones(3)}, tmp_path / "a.npz")
    size = (tmp_path / "a.npz").stat().st_size
    assert events == [("fsync", size), ("replace", size)]


# The kernel stops the process in the middle of the write that exceeds the limit, by a signal or else by an error.
SAVE_MORE_THAN_ALLOWED = """
import resource, signal, sys
import numpy as np
import minires as mr

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
signal.signal(signal.SIGXFSZ, getattr(signal, sys.argv[2]))
mr.save({"a": np.zeros(1_000_000)}, sys.argv[1])
"""


def save_more_than_allowed(path, when_too_large):
    return subprocess.run([sys.executable, "-c", SAVE_MORE_THAN_ALLOWED, str(path), when_too_large], capture_output=True,
                          encoding="utf-8", timeout=60, check=False)


@needs_posix
def test_a_process_that_is_killed_while_writing_leaves_the_old_file(tmp_path):
    mr.save({"a": np.ones(3)}, tmp_path / "a.npz")
    assert save_more_than_allowed(tmp_path / "a.npz", "SIG_DFL").returncode == -signal.SIGXFSZ
    assert_same_arrays(mr.load(tmp_path / "a.npz"), {"a": np.ones(3)})
    rest, = set(tmp_path.iterdir()) - {tmp_path / "a.npz"}  # it was in the middle, and could not tidy up
    assert (rest.suffix, rest.stat().st_size) == (".tmp", 1_000_000)
    mr.save({"a": np.zeros(3)}, tmp_path / "a.npz")
    assert_same_arrays(mr.load(tmp_path / "a.npz"), {"a": np.zeros(3)})


@needs_posix
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    mr.save({"a": np.ones(3)}, tmp_path / "a.npz")
    result = save_more_than_allowed(tmp_path / "a.npz", "SIG_IGN")
    assert result.stderr.splitlines()[-1].startswith("minires.errors.FileError: save: cannot write")
    assert_same_arrays(mr.load(tmp_path / "a.npz"), {"a": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@needs_posix
@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o027, 0o640)])
def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its_own(tmp_path, umask, expected):
    old_umask = os.umask(umask)
    try:
        mr.save({"a": 1}, tmp_path / "a.npz")
        assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) == expected
        (tmp_path / "a.npz").chmod(0o604)
        mr.save({"a": 2}, tmp_path / "a.npz")
        assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) == 0o604
    finally:
        os.umask(old_umask)


@needs_posix
def test_a_link_goes_on_naming_the_file_that_is_replaced(tmp_path):
    (tmp_path / "latest.npz").symlink_to("epoch1.npz")
    mr.save({"a": 1}, tmp_path / "latest.npz")
    assert (tmp_path / "latest.npz").is_symlink()
    assert_same_arrays(mr.load(tmp_path / "epoch1.npz"), {"a": 1})


# ---- what is refused


@pytest.mark.parametrize("value", ["text", None, [1, 2], {"a": 1}, np.array([None]), 2**70, np.zeros(2, "V2"),
                                   np.zeros(2, "f4,i4"), np.zeros(2, "M8[s]")])
def test_what_is_no_array_of_numbers_is_refused(tmp_path, value):
    with pytest.raises(ArgumentError, match="expected names with arrays or numbers"):
        mr.save({"a": value}, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\0b", "a\\b", "a\nb", "\ud800"])
def test_a_name_that_would_not_come_back_is_refused(tmp_path, name):
    with pytest.raises(ArgumentError, match="cannot name an array in a file"):
        mr.save({name: 1}, tmp_path / "a.npz")


@pytest.mark.parametrize("what", [[1], np.ones(1), None, {1: 2}])
def test_what_is_neither_a_module_nor_a_dict_with_names_is_refused(tmp_path, what):
    with pytest.raises(ArgumentError, match=r"expected (an nn\.Module or a dict|names with arrays)"):
        mr.save(what, tmp_path / "a.npz")


def test_a_wrong_suffix_or_folder_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"ends with \.npz"):
        mr.save({"a": np.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match="cannot write"):
        mr.save({"a": np.ones(1)}, tmp_path / "nowhere" / "a.npz")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_missing_file_or_a_folder_is_a_file_error(tmp_path, suffix):
    with pytest.raises(FileError, match=r"load: cannot read .*No such file"):
        mr.load(tmp_path / f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(FileError, match="load: cannot read"):
        mr.load(tmp_path / f"folder{suffix}")


def test_without_the_package_safetensors_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(FileError, match=r"^load: reading .* needs the package safetensors: pip install safetensors$"):
        mr.load(written(tmp_path / "net.safetensors", b""))


@pytest.mark.parametrize(("content", "message"), [
    (b"", "it is empty"),
    (npy_of(np.ones(3)), "it is a single array: np.load reads it"),
    (pickle.dumps({"a": 1}, protocol=2), "it is a PyTorch file or another pickle: convert it where PyTorch is installed"),
    (zip_of({"net/data.pkl": b"\x80\x02.", "net/version": b"3"}), "it is a PyTorch file or another pickle"),
    (zip_of({"notes.txt": b"text"}), r"it holds 'notes.txt', which is not a .npy file"),
    (zip_of({"a.npy": npy_of(np.ones(3))}, zipfile.ZIP_BZIP2), "'a.npy' is compressed in a way that NumPy does not use"),
    (zip_of({"a.npy": b"text"}), ".*magic string"),
    (b"\x89PNG\r\n\x1a\n" + bytes(100), "it begins with b'.x89PNG"),
    (b"<!DOCTYPE html>\n<html><title>404</title></html>", "it begins with b'<!DOCTYPE html>"),
    (b"{\"a\": 1}", "it begins with"),
    (bytes(1000), "it begins with"),
], ids=["empty", "npy", "pickle", "pt", "txt.zip", "bzip2.npz", "fake.npz", "png", "html", "json", "zeros"])
def test_a_file_of_another_kind_is_a_data_error_that_says_what_it_is(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"is not a whole \.npz file of arrays: {message}"):
        mr.load(written(tmp_path / "net.npz", content))
    with pytest.raises(DataError, match=r"is not a whole \.safetensors file"):
        mr.load(written(tmp_path / "net.safetensors", content))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_a_data_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy_of(np.ones(3)))
        archive.writestr("a.npy", npy_of(np.zeros(3)))
    with pytest.raises(DataError, match="two arrays of one name"):
        mr.load(tmp_path / "a.npz")


class MakesAFolder:
    """Its pickle makes a folder when it is run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_are_never_run(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([MakesAFolder(str(tmp_path / "made"))], dtype=object))
    with pytest.raises(DataError, match=r"'a\.npy' holds object values, expected numbers"):
        mr.load(tmp_path / "evil.npz")
    for name in ("evil.npz", "evil.safetensors"):
        with pytest.raises(DataError):
            mr.load(written(tmp_path / name, pickle.dumps(MakesAFolder(str(tmp_path / "made")))))
    assert not (tmp_path / "made").exists()
    with np.load(written(tmp_path / "evil.npz", zip_of({"a.npy": npy_of(np.array([MakesAFolder(str(tmp_path / "made"))]))})),
                 allow_pickle=True) as arrays:  # it would have made one
        assert arrays["a"] == [None]
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("values", [b'"F32","shape":[4]', b'"BF16","shape":[8]', b'"F8_E4M3","shape":[16]',
                                    b'"F32","shape":[4611686018427387904,4]', b'"F32","shape":[-4]', b'"F32"'])
def test_a_safetensors_file_is_read_where_numpy_has_its_type_and_the_sizes_agree(tmp_path, values):
    header = b'{"a":{"dtype":' + values + b',"data_offsets":[0,16]}}'
    path = written(tmp_path / "a.safetensors", struct.pack("<Q", len(header)) + header + bytes(16))
    if values == b'"F32","shape":[4]':
        assert_same_arrays(mr.load(path), {"a": np.zeros(4, np.float32)})
    else:
        with pytest.raises(DataError, match=r"is not a whole \.safetensors file of arrays that NumPy can hold"):
            mr.load(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(("saved", "net"), [
    (mr.models.resnet20, mr.models.resnet32), (mr.models.resnet32, mr.models.resnet20),
    (mr.models.resnet20, lambda: mr.models.cifar_net(20, width=8)),
    (mr.models.resnet20, lambda: mr.models.cifar_net(20, num_classes=100)),
], ids=["deeper", "shallower", "narrower", "more classes"])
def test_a_file_for_another_architecture_changes_nothing(tmp_path, suffix, saved, net):
    from safetensors.numpy import save_file

    (save_file if suffix == ".safetensors" else mr.save)(saved().state_dict(), tmp_path / f"net{suffix}")
    net = net()
    before = net.state_dict()
    with pytest.raises(StateError, match="nothing was changed"):
        net.load_state_dict(mr.load(tmp_path / f"net{suffix}"))
    assert_same_arrays(net.state_dict(), before)


# ---- files that claim to be large


@pytest.mark.parametrize("header", [
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",  # 0 values in 64 bits
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, -4), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }",
    b"{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }",
    b"{'descr': '|V4', 'fortran_order': False, 'shape': (4,), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
    b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': 4, }",
    b"{'descr': '<f4', 'shape': (4,), }",
    b"{'descr': 'text', 'fortran_order': False, 'shape': (4,), }",
    b"[1, 2", b"(" * 9000, b"-" * 9000 + b"1", b"[" * 150 + b"]" * 150, b"\xff\x00", b"", b" " * 20000,
])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_does_not_fit_its_values_is_refused_before_anything_is_allocated(tmp_path, header, version):
    path = written(tmp_path / "a.npz", zip_of({"a.npy": npy(header, bytes(16), version)}))
    with pytest.raises(DataError, match="is not a whole"):
        mr.load(path)
    assert peak_memory(lambda: mr.load(path)) < 1_000_000


@pytest.mark.parametrize("version", [(0, 9), (4, 0), (9, 9)])
def test_an_unknown_version_of_npy_is_a_data_error(tmp_path, version):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"
    with pytest.raises(DataError, match="is not a whole"):
        mr.load(written(tmp_path / "a.npz", zip_of({"a.npy": npy(header, bytes(16), version)})))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("claimed", [2**20, 2**32 - 1])
def test_a_member_that_claims_more_than_it_holds_is_refused_before_anything_is_allocated(tmp_path, compression, claimed):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({claimed - 80},), }}".encode().ljust(70)
    content = bytearray(zip_of({"a.npy": npy(header, bytes(16))}, compression))
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, claimed)  # the size in the archive's directory
    if compression == zipfile.ZIP_STORED:
        struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 20, claimed)
    path = written(tmp_path / "a.npz", content)
    with pytest.raises(DataError, match=r"'a\.npy' claims .* bytes, more than it can hold"):
        mr.load(path)
    assert peak_memory(lambda: mr.load(path)) < 500_000


def test_a_zip_bomb_is_refused_and_a_file_that_compresses_well_is_not(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "zeros.npz", **{f"zeros{i}": np.zeros(200_000, np.uint8) for i in range(10)})
    assert len(mr.load(tmp_path / "zeros.npz")) == 10
    monkeypatch.setattr(files, "BOMB_BYTES", 1_000_000)
    with pytest.raises(DataError, match=r"it would expand from .* to 2,001,280 bytes"):
        mr.load(tmp_path / "zeros.npz")
    assert peak_memory(lambda: mr.load(tmp_path / "zeros.npz")) < 500_000
    noise = np.random.default_rng(0).integers(0, 256, 1_100_000, dtype=np.uint8)  # large, but so is its file
    np.savez_compressed(tmp_path / "noise.npz", noise=noise)
    assert_same_arrays(mr.load(tmp_path / "noise.npz"), {"noise": noise})


def test_a_whole_file_that_does_not_fit_into_memory_is_a_data_error(tmp_path, monkeypatch):
    def no_memory(*args, **kwargs):
        raise MemoryError("Unable to allocate 40.0 GiB")

    mr.save({"a": 1}, tmp_path / "a.npz")
    monkeypatch.setattr(np.lib.format, "read_array", no_memory)
    with pytest.raises(DataError, match=r"needs more memory than there is \(Unable to allocate 40\.0 GiB\)"):
        mr.load(tmp_path / "a.npz")


# ---- damage: many files, from a generator with a seed


def flipped(content, generator):
    """One bit or several are changed."""
    for position in generator.integers(0, len(content), generator.integers(1, 4)):
        content[position] ^= 1 << generator.integers(8)
    return content


def cut(content, generator):
    return content[:generator.integers(len(content))]


def with_more(content, generator):
    """Random bytes, or a repeated block, are put in."""
    start, length = generator.integers(len(content)), generator.integers(1, 100)
    more = content[start:start + length] if generator.integers(2) else generator.bytes(length)
    place = generator.integers(len(content) + 1)
    return content[:place] + more + content[place:]


def with_less(content, generator):
    start = generator.integers(len(content))
    return content[:start] + content[start + generator.integers(1, 100):]


def swapped(content, generator):
    """Two neighbouring blocks change places."""
    start, middle, end = sorted(generator.integers(0, len(content) + 1, 3))
    return content[:start] + content[middle:end] + content[start:middle] + content[end:]


DAMAGES = (flipped, cut, with_more, with_less, swapped)


def damaged_files(path, count):
    """Write `count` damaged forms of a file of each kind in its place; yield its content and what was done to it."""
    content = path.read_bytes()
    for damage in DAMAGES:
        generator = np.random.default_rng(len(content))
        for _ in range(count):
            path.write_bytes(damage(bytearray(content), generator))
            yield path.read_bytes(), damage.__name__


def by_savez_compressed(net, path):
    np.savez_compressed(path, **net.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("write", [mr.save, by_savez_compressed])
def test_a_damaged_npz_file_gives_the_saved_values_or_an_error_of_ours(tmp_path, write):
    saved, net, path = tiny_net(0.0), tiny_net(1.0), tmp_path / "net.npz"
    write(saved, path)
    intact, before = saved.state_dict(), net.state_dict()
    outcomes = collections.Counter()

    def load_all():
        for _content, damage in damaged_files(path, count=250):
            try:
                net.load_state_dict(mr.load(path))
            except mr.MiniresError:
                outcomes[damage, "refused"] += 1
                assert_same_arrays(net.state_dict(), before)
            else:
                outcomes[damage, "harmless"] += 1
                assert_same_arrays(net.state_dict(), intact)
                net.load_state_dict(before)

    assert peak_memory(load_all) < 2_000_000
    assert outcomes.total() == 250 * len(DAMAGES) == 1250
    assert all(outcomes[damage.__name__, "refused"] > 100 for damage in DAMAGES), outcomes
    assert outcomes["cut", "refused"] == 250
    assert outcomes["flipped", "harmless"] > 10  # such as in a date


def test_a_changed_byte_anywhere_in_the_values_is_noticed(tmp_path):
    values = np.random.default_rng(0).bytes(20_000)  # more than what is read with the header
    mr.save({"a": np.frombuffer(values, np.uint8)}, tmp_path / "a.npz")
    content = (tmp_path / "a.npz").read_bytes()
    start = content.index(values)
    for position in [*range(start, start + len(values), 37), start + len(values) - 1]:
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        with pytest.raises(DataError, match="Bad CRC-32"):
            mr.load(written(tmp_path / "a.npz", changed))


@pytest.mark.slow
@pytest.mark.parametrize("write", [mr.save, by_savez_compressed])
def test_a_changed_bit_in_any_byte_of_a_file_is_noticed_or_harmless(tmp_path, write):
    state, path = tiny_net().state_dict(), tmp_path / "net.npz"
    write(tiny_net(), path)
    content, outcomes = path.read_bytes(), collections.Counter()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        try:
            loaded = mr.load(written(path, changed))
        except mr.MiniresError:
            outcomes["refused"] += 1
        else:
            outcomes["harmless"] += 1
            assert_same_arrays(loaded, state)
    assert outcomes.total() == len(content)
    assert outcomes["refused"] > 1000
    assert outcomes["harmless"] > 100  # such as dates, and the sums that stand in two places


def test_a_member_that_vanished_from_the_directory_is_noticed(tmp_path):
    mr.save({"a": 1, "b": 2, "c": 3}, tmp_path / "a.npz")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    entry = content.index(b"PK\x01\x02")
    length_of_next = content.index(b"PK\x01\x02", entry + 1) - entry
    struct.pack_into("<H", content, entry + 32, length_of_next)  # the length of the entry's comment
    path = written(tmp_path / "a.npz", content)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a.npy", "c.npy"]
    with pytest.raises(DataError, match="its directory is damaged"):
        mr.load(path)


def test_a_name_that_lost_its_encoding_is_noticed(tmp_path):
    mr.save({"größe": 1}, tmp_path / "a.npz")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 9] ^= 0x08  # the flag that says UTF-8
    with pytest.raises(DataError, match="not named in UTF-8"):
        mr.load(written(tmp_path / "a.npz", content))


@pytest.mark.slow
def test_a_changed_header_with_the_right_sum_is_read_as_it_says_or_refused(tmp_path):
    """Not damage, which the sum betrays, but ill will."""
    array, generator = np.arange(12, dtype=np.float32).reshape(3, 4), np.random.default_rng(0)
    content = npy_of(array)
    outcomes = collections.Counter()

    def load_all():
        for _ in range(1000):
            head = DAMAGES[generator.integers(len(DAMAGES))](bytearray(content[:-48]), generator)
            path = written(tmp_path / "a.npz", zip_of({"a.npy": head + content[-48:]}))
            try:
                loaded = mr.load(path)["a"]
            except mr.MiniresError:
                outcomes["refused"] += 1
            else:
                outcomes["read"] += 1
                assert loaded.tobytes("A") == array.tobytes()

    assert peak_memory(load_all) < 2_000_000
    assert outcomes.total() == 1000
    assert outcomes["read"] > 20


SAFETENSORS_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "U8": np.uint8}


def safetensors_by_hand(content):
    """What a .safetensors file says: the length of the header, the header in JSON, the values."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    return {name: np.frombuffer(content[start:][slice(*entry["data_offsets"])], SAFETENSORS_TYPES[entry["dtype"]]
                                ).reshape(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


@pytest.mark.slow
def test_a_damaged_safetensors_file_gives_what_it_says_or_an_error_of_ours(tmp_path):
    """Its format has no checksum, so that a changed value is just another value; a changed length never goes unnoticed."""
    from safetensors.numpy import save_file

    saved, net, path = tiny_net(0.0), tiny_net(1.0), tmp_path / "net.safetensors"
    save_file(saved.state_dict(), path)
    before, size = net.state_dict(), path.stat().st_size
    outcomes = collections.Counter()

    def load_all():
        for content, damage in damaged_files(path, count=250):
            try:
                net.load_state_dict(mr.load(path))
            except mr.MiniresError:
                outcomes[damage, "refused"] += 1
                assert_same_arrays(net.state_dict(), before)
            else:
                outcomes[damage, "read"] += 1
                assert len(content) == size
                assert_same_arrays(net.state_dict(), safetensors_by_hand(content))
                net.load_state_dict(before)

    assert peak_memory(load_all) < 2_000_000
    assert outcomes.total() == 250 * len(DAMAGES) == 1250
    assert [outcomes[damage.__name__, "refused"] for damage in (cut, with_more, with_less)] == [250] * 3
    assert all(outcomes[damage.__name__, "refused"] > 50 for damage in (flipped, swapped)), outcomes
