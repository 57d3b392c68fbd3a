"""The bundled sample of Fashion-MNIST and the script that made it, and the whole set from its files."""

import gzip
import hashlib
import importlib.resources
import importlib.util
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from minires.data import FASHION_MNIST_CLASSES, fashion_mnist, fashion_mnist_sample, standardize
from minires.data.fashion_mnist_files import FILES, SAMPLE_FILE, read_sample
from minires.errors import DataError, FileError, UnknownNameError

COUNTS = {"train": 10_000, "test": 2_000}
REPOSITORY = Path(__file__).resolve().parents[2]
PUBLISHED_FOLDER = os.environ.get("MINIRES_FASHION_MNIST")

# SHA-256 of the arrays' bytes, images and then labels as int64, little-endian.
CONTENT_HASHES = {
    "train": "7a9bd3147708f3aee0862115e43106897c291fd8a01675602c7fb1387a268647",
    "test": "7b1e8ec789fd5626edddd5681779a2a942fdf623e0883ca63df785201f6f5247",
}


@pytest.fixture(scope="module")
def maker():
    """The script benchmarks/make_fashion_mnist_sample.py as a module."""
    path = REPOSITORY / "benchmarks" / "make_fashion_mnist_sample.py"
    spec = importlib.util.spec_from_file_location("make_fashion_mnist_sample", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("split", ["train", "test"])
def test_shapes_types_and_balance(split):
    images, labels = fashion_mnist_sample(split)
    assert images.shape == (COUNTS[split], 1, 28, 28)
    assert images.dtype == np.uint8
    assert labels.shape == (COUNTS[split],)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(labels), [COUNTS[split] // 10] * 10)
    assert images.min() == 0
    assert images.max() == 255


@pytest.mark.parametrize("split", ["train", "test"])
def test_content_is_the_one_that_the_lessons_were_measured_on(split):
    images, labels = fashion_mnist_sample(split)
    content = images.tobytes() + labels.astype("<i8").tobytes()
    assert hashlib.sha256(content).hexdigest() == CONTENT_HASHES[split]


def test_train_is_the_default_and_each_call_returns_arrays_of_its_own():
    images, _ = fashion_mnist_sample()
    assert len(images) == COUNTS["train"]
    images[:] = 0
    assert fashion_mnist_sample()[0].any()


def test_statistics_are_near_those_of_the_full_training_set():
    """The 60,000 published training images have mean 0.2860 and standard deviation 0.3530 on a scale of 0 to 1."""
    images, _ = fashion_mnist_sample()
    _, mean, std = standardize(images)
    assert mean.shape == std.shape == (1,)
    assert mean[0] / 255 == pytest.approx(0.2860, abs=0.003)
    assert std[0] / 255 == pytest.approx(0.3530, abs=0.003)


def test_order_is_shuffled():
    """Any hundred images in a row hold most classes: a lesson may take the first ones."""
    _, labels = fashion_mnist_sample()
    for start in range(0, len(labels), 100):
        counts = np.bincount(labels[start : start + 100], minlength=10)
        assert (counts > 0).sum() >= 9
        assert counts.max() < 30


def test_no_image_of_the_test_split_is_in_the_training_split():
    train_images, _ = fashion_mnist_sample("train")
    test_images, _ = fashion_mnist_sample("test")
    train = {image.tobytes() for image in train_images}
    assert not any(image.tobytes() in train for image in test_images)


def test_images_match_their_labels_the_right_side_up():
    """Known looks of the classes: low shoes leave the top rows dark, trousers and dresses the left and right edges."""
    images, labels = fashion_mnist_sample()
    means = np.stack([images[labels == label, 0].mean(axis=0) for label in range(10)])  # (10, 28, 28)
    top, bottom = means[:, :6].mean(axis=(1, 2)), means[:, -10:-4].mean(axis=(1, 2))
    sandal, sneaker = (FASHION_MNIST_CLASSES.index(name) for name in ("Sandal", "Sneaker"))
    assert set(np.argsort(top)[:2]) == {sandal, sneaker}
    assert bottom[sandal] > 5 * top[sandal]
    assert bottom[sneaker] > 5 * top[sneaker]
    edges = means[:, :, :5].mean(axis=(1, 2)) + means[:, :, -5:].mean(axis=(1, 2))
    trouser, dress = (FASHION_MNIST_CLASSES.index(name) for name in ("Trouser", "Dress"))
    assert set(np.argsort(edges)[:2]) == {trouser, dress}
    # An ankle boot points left: its shaft, in the upper half, stands at the right.
    boot = means[FASHION_MNIST_CLASSES.index("Ankle boot")]
    assert boot[4:12, 16:].mean() > 2 * boot[4:12, :12].mean()


def test_ten_class_names():
    assert len(FASHION_MNIST_CLASSES) == len(set(FASHION_MNIST_CLASSES)) == 10
    assert FASHION_MNIST_CLASSES[0] == "T-shirt/top"
    assert FASHION_MNIST_CLASSES[9] == "Ankle boot"


def test_unknown_split_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"'validation'.*train, test"):
        fashion_mnist_sample("validation")


def test_the_file_is_small_and_its_licence_lies_beside_it():
    folder = importlib.resources.files("minires.data")
    assert len((folder / SAMPLE_FILE).read_bytes()) <= 6_000_000
    notice = (folder / "FASHION_MNIST_LICENSE").read_text(encoding="utf-8")
    assert "Copyright © 2017 Zalando SE, https://tech.zalando.com" in notice
    assert "MIT License" in notice


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(FileError, match=r"cannot read the bundled sample.*Install minires again"):
        read_sample(tmp_path / "missing.npz", "train")


@pytest.mark.parametrize("damage", ["empty", "cut short", "flipped byte", "not a zip file"])
def test_damaged_file_says_what_to_do(tmp_path, damage):
    content = bytearray((importlib.resources.files("minires.data") / SAMPLE_FILE).read_bytes())
    if damage == "flipped byte":
        content[len(content) // 2] ^= 0xFF
    damaged = {"empty": b"", "cut short": content[:-1000], "not a zip file": b"<html>" * 99}.get(damage, content)
    path = tmp_path / "damaged.npz"
    path.write_bytes(damaged)
    with pytest.raises(FileError, match=r"cannot read the bundled sample.*Install minires again"):
        read_sample(path, "train")


def test_a_pickle_is_refused(tmp_path):
    path = tmp_path / "pickle.npz"
    np.savez(path, train_images=np.array([{}], dtype=object), train_labels=np.zeros(1))
    with pytest.raises(FileError, match="allow_pickle"):
        read_sample(path, "train")


def test_a_file_of_other_arrays_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, train_images=np.zeros((3, 32, 32), np.uint8), train_labels=np.zeros(3, np.uint8))
    with pytest.raises(FileError, match=r"shape \(3, 32, 32\)"):
        read_sample(path, "train")
    with pytest.raises(FileError, match="test_images"):
        read_sample(path, "test")


def test_choice_is_balanced_shuffled_and_the_same_each_time(maker):
    labels = np.repeat(np.arange(10, dtype=np.uint8), 50)
    indices = maker.choose_balanced(labels, 7, "train")
    np.testing.assert_array_equal(np.bincount(labels[indices]), [7] * 10)
    assert len(set(indices)) == 70
    assert (np.diff(indices) < 0).any()
    np.testing.assert_array_equal(indices, maker.choose_balanced(labels, 7, "train"))
    assert not np.array_equal(indices, maker.choose_balanced(labels, 7, "test"))
    with pytest.raises(DataError, match="class 0 has 50 examples; expected at least 51"):
        maker.choose_balanced(labels, 51, "train")


def test_written_file_is_the_same_bytes_each_time_and_reads_back(maker, tmp_path):
    generator = np.random.default_rng(0)
    arrays = {
        "test_images": generator.integers(0, 256, (5, 28, 28), dtype=np.uint8),
        "test_labels": np.arange(5, dtype=np.uint8),
    }
    maker.write_npz(tmp_path / "first.npz", arrays)
    maker.write_npz(tmp_path / "second.npz", arrays)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    images, labels = read_sample(tmp_path / "first.npz", "test")
    np.testing.assert_array_equal(images[:, 0], arrays["test_images"])
    np.testing.assert_array_equal(labels, arrays["test_labels"])


def test_maker_refuses_a_missing_or_other_file(maker, tmp_path, capsys):
    assert maker.main([str(tmp_path), "--output", str(tmp_path)]) == 1
    assert "train-images-idx3-ubyte.gz" in capsys.readouterr().err
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x01\x07")
    assert maker.main([str(tmp_path), "--output", str(tmp_path)]) == 1
    assert "is not the published file" in capsys.readouterr().err
    assert not (tmp_path / SAMPLE_FILE).exists()


def test_maker_says_that_a_folder_cannot_be_written(maker, tmp_path):
    with pytest.raises(FileError, match=r"cannot write the sample.*--output"):
        maker.write_sample(tmp_path / "missing", {"test_labels": np.arange(3)})


@pytest.mark.skipif(
    PUBLISHED_FOLDER is None, reason="set MINIRES_FASHION_MNIST to the folder of the four published files"
)
def test_sample_is_what_the_published_files_give(maker):
    arrays = maker.make_sample(maker.read_published(Path(PUBLISHED_FOLDER)))
    for split in COUNTS:
        images, labels = fashion_mnist_sample(split)
        np.testing.assert_array_equal(images[:, 0], arrays[f"{split}_images"])
        np.testing.assert_array_equal(labels, arrays[f"{split}_labels"])


# ---- the whole set

def published(values):
    """The content of a published file: IDX, gzipped."""
    return gzip.compress(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The four files, with 30 images for training and 20 for testing."""
    for split, N in (("train", 30), ("test", 20)):
        images_name, labels_name, _ = FILES[split]
        monkeypatch.setitem(FILES, split, (images_name, labels_name, N))
        pixels = np.random.default_rng(N).integers(0, 256, (N, 28, 28), dtype=np.uint8)
        (tmp_path / f"{images_name}.gz").write_bytes(published(pixels))
        (tmp_path / f"{labels_name}.gz").write_bytes(published(np.arange(N, dtype=np.uint8) % 10))
    return tmp_path


@pytest.mark.parametrize(("split", "N"), [("train", 30), ("test", 20)])
def test_the_files_of_a_split_are_read(folder, split, N):
    images, labels = fashion_mnist(folder, split)
    assert (images.shape, images.dtype) == ((N, 1, 28, 28), np.uint8)
    np.testing.assert_array_equal(images[:, 0], np.random.default_rng(N).integers(0, 256, (N, 28, 28), dtype=np.uint8))
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, np.arange(N) % 10)


def test_files_without_gz_are_read_too(folder):
    whole = fashion_mnist(folder)
    for path in folder.glob("train*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for one, other in zip(whole, fashion_mnist(folder), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_missing_file_says_where_to_get_it(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileError, match=r"neither t10k-labels-idx1-ubyte\.gz nor .*zalandoresearch/fashion-mnist"):
        fashion_mnist(folder, "test")
    fashion_mnist(folder, "train")


@pytest.mark.parametrize(("name", "values", "said"), [
    ("t10k-labels-idx1-ubyte", np.full(20, 10, np.uint8), "holds the label 10; expected 0 to 9"),
    ("t10k-labels-idx1-ubyte", np.zeros(19, np.uint8), r"shape \(19,\); expected uint8 \(20,\)"),
    ("t10k-images-idx3-ubyte", np.zeros((20, 32, 32), np.uint8), r"\(20, 32, 32\); expected uint8 \(20, 28, 28\)"),
], ids=["a label of 10", "a label missing", "images of 32 pixels"])
def test_another_file_under_the_name_is_refused(folder, name, values, said):
    (folder / f"{name}.gz").write_bytes(published(values))
    with pytest.raises(DataError, match=said):
        fashion_mnist(folder, "test")


def test_a_file_that_is_cut_short_is_refused(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be decompressed"):
        fashion_mnist(folder, "test")


def test_the_whole_set_has_no_other_split(folder):
    with pytest.raises(UnknownNameError, match="'valid'"):
        fashion_mnist(folder, "valid")
