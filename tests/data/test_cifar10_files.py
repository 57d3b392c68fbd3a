"""CIFAR-10 from its binary version: the layout byte by byte, and what is said where a file is missing or damaged."""
import hashlib
import importlib
import os
import pickle
import sys
import threading

import numpy as np
import pytest

from minires.data import CIFAR10_CLASSES, cifar10
from minires.errors import DataError, FileError, UnknownNameError

MODULE = importlib.import_module("minires.data.cifar10_files")
RECORDS = 20


def records(seed):
    """The bytes of a small file: labels 0 to 9 in turn, random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (RECORDS, 3072), dtype=np.uint8)
    return np.concatenate([(np.arange(RECORDS, dtype=np.uint8) % 10)[:, np.newaxis], pixels], axis=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The published layout with files of 20 records, taken for the published ones."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    sums = {}
    for seed, name in enumerate(MODULE.MD5):
        content = records(seed).tobytes()
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(MODULE, "RECORDS", RECORDS)
    monkeypatch.setattr(MODULE, "MD5", sums)
    return folder


def test_the_five_training_files_follow_each_other(folder):
    images, labels = cifar10(folder.parent)
    assert (images.shape, images.dtype) == ((5 * RECORDS, 3, 32, 32), np.uint8)
    assert (labels.shape, labels.dtype) == ((5 * RECORDS,), np.int64)
    for i in range(5):
        part = slice(i * RECORDS, (i + 1) * RECORDS)
        np.testing.assert_array_equal(labels[part], records(i)[:, 0])
        np.testing.assert_array_equal(images[part].reshape(RECORDS, 3072), records(i)[:, 1:])


def test_a_record_is_the_label_then_red_green_and_blue_row_by_row(folder):
    content = (folder / "test_batch.bin").read_bytes()
    images, labels = cifar10(folder, "test")
    n, c, h, w = 7, 2, 30, 4
    assert images[n, c, h, w] == content[n * 3073 + 1 + c * 1024 + h * 32 + w]
    assert labels[n] == content[n * 3073]


def test_the_folder_itself_or_the_one_around_it_may_be_given(folder):
    np.testing.assert_array_equal(cifar10(folder, "test")[0], cifar10(str(folder.parent), "test")[0])


def test_there_are_ten_classes():
    assert len(set(CIFAR10_CLASSES)) == 10


def test_an_unknown_split_is_refused(folder):
    with pytest.raises(UnknownNameError, match=r"'valid'.*train, test"):
        cifar10(folder, "valid")


def test_an_empty_folder_and_none_say_where_to_get_the_files(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileError, match=r"no cifar-10-batches-bin in .*cifar-10-binary\.tar\.gz from https"):
            cifar10(place)


def test_a_missing_file_is_named(folder):
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(FileError, match=r"cannot read .*data_batch_3\.bin \(No such file"):
        cifar10(folder)


def test_the_pickled_version_is_refused_and_never_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    (place / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    for given in (tmp_path, place):
        with pytest.raises(FileError, match=r"pickled.*binary version"):
            cifar10(given)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes in folders")
def test_a_byte_too_many_is_seen_in_what_does_not_tell_its_size(folder):
    path = folder / "data_batch_2.bin"
    content = path.read_bytes() + b"\0"
    path.unlink()
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
    writer.start()
    with pytest.raises(DataError, match=r"data_batch_2\.bin is too long"):
        cifar10(folder)
    writer.join(30)


@pytest.mark.parametrize(("change", "said"), [
    (lambda content: content[:-1], "cut short: it holds 61,459 bytes; expected 61,460"),
    (lambda content: b"", "cut short"),
    (lambda content: content + b"\0", "too long"),
    (lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:], "damaged or not the published file"),
    (lambda content: b"\x0b" + content[1:], "damaged or not the published file"),
], ids=["last byte missing", "empty", "a byte more", "one bit of a pixel", "a label of 11"])
def test_a_damaged_file_is_refused_with_its_name(folder, change, said):
    path = folder / "data_batch_2.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=f"data_batch_2.bin is {said}"):
        cifar10(folder)
    cifar10(folder, "test")  # whose file is whole
