"""The IDX reader, on tiny files that the tests write: good ones, and each way in which one can be bad."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from minires.data import idx, read_idx
from minires.errors import DataError, FileError, MiniresError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx_bytes(values, type_code=0x08):
    """An IDX file's content, written as the format's description states it, independently of the reader."""
    header = struct.pack(">HBB", 0, type_code, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("compressed", [False, True])
def test_reads_images_plain_and_gzipped(tmp_path, compressed):
    path = tmp_path / "images-idx3-ubyte"
    content = idx_bytes(IMAGES)
    path.write_bytes(gzip.compress(content) if compressed else content)
    values = read_idx(path)
    assert values.dtype == np.uint8
    np.testing.assert_array_equal(values, IMAGES)
    assert values.flags.writeable


def test_reads_labels_from_a_path_given_as_text(tmp_path):
    path = tmp_path / "labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.array([9, 0, 3], dtype=np.uint8))))
    np.testing.assert_array_equal(read_idx(str(path)), [9, 0, 3])


@pytest.mark.parametrize(
    ("type_code", "dtype"),
    [(0x09, np.int8), (0x0B, np.int16), (0x0C, np.int32), (0x0D, np.float32), (0x0E, np.float64)],
)
def test_other_types_come_out_in_the_machines_byte_order(tmp_path, type_code, dtype):
    path = tmp_path / "values"
    values = np.array([[1, -2, 100], [3, 4, -128]], dtype=dtype)
    path.write_bytes(idx_bytes(values, type_code))
    result = read_idx(path)
    assert result.dtype == np.dtype(dtype)
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, values)


def test_missing_file(tmp_path):
    with pytest.raises(FileError, match=r"no-such-file.*Give the path of an IDX file") as caught:
        read_idx(tmp_path / "no-such-file")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, MiniresError)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(FileError, match="cannot read"):
        read_idx(tmp_path)


@pytest.mark.parametrize("kept", range(len(idx_bytes(IMAGES))))
def test_cut_short_at_any_byte(tmp_path, kept):
    path = tmp_path / "cut"
    path.write_bytes(idx_bytes(IMAGES)[:kept])
    with pytest.raises(DataError, match="cut short" if kept >= 4 else "not an IDX file"):
        read_idx(path)


def test_cut_short_states_both_sizes(tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(idx_bytes(IMAGES)[:-5])
    with pytest.raises(DataError, match=r"shape \(2, 3, 4\), which takes 40 bytes, but it holds 35"):
        read_idx(path)


def test_too_long(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(idx_bytes(IMAGES) + b"\x00")
    with pytest.raises(DataError, match=r"too long.*takes 40 bytes, but it holds 41"):
        read_idx(path)


def test_a_header_that_states_an_absurd_shape(tmp_path):
    path = tmp_path / "absurd"
    path.write_bytes(b"\x00\x00\x08\x03" + b"\xff" * 12 + b"\x00" * 8)
    with pytest.raises(DataError, match="cut short"):
        read_idx(path)


@pytest.mark.parametrize("magic", [b"\x01\x00\x08\x03", b"\x00\x00\x07\x03", b"\x00\x00\x08\x00", b"\x89PNG", b"<htm"])
def test_wrong_magic(tmp_path, magic):
    path = tmp_path / "wrong"
    path.write_bytes(magic + idx_bytes(IMAGES)[4:])
    with pytest.raises(DataError, match=rf"not an IDX file.*\[{magic.hex(' ')}\].*00 00 08 03"):
        read_idx(path)


def test_gzip_cut_short(tmp_path):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES))[:-9])
    with pytest.raises(DataError, match=r"cannot be decompressed.*damaged or cut short"):
        read_idx(path)


@pytest.mark.parametrize("place", [3, 10, -6])
def test_gzip_damaged(tmp_path, place):
    """A flipped bit in the gzip header's flags, in the compressed data and in the checksum."""
    path = tmp_path / "damaged.gz"
    content = bytearray(gzip.compress(idx_bytes(IMAGES)))
    content[place] ^= 0x04
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.gz"):
        read_idx(path)


# ---- no more is expanded than the header promises

ZEROS = gzip.compress(bytes(64 * 2**20))  # 64 MiB in 64 kB


def peak_of_the_refusal(path, message):
    """The bytes that were allocated at most, in a reading that is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_is_no_idx_file_is_not_expanded(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(ZEROS)
    assert peak_of_the_refusal(path, "not an IDX file") < 2**20


def test_what_follows_the_promised_values_is_not_expanded(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES)) + ZEROS)  # a second member of the stream
    assert peak_of_the_refusal(path, "too long") < 2**20


def test_more_than_a_stream_can_hold_is_refused_before_it_is_expanded(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\x00\x00\x08\x02" + struct.pack(">2I", 2**31, 2**31) + bytes(8 * 2**20)))
    assert peak_of_the_refusal(path, "cut short") < 2**20


@pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1), (1,) * 65, (1,) * 255, (2**32 - 1,) * 64])
@pytest.mark.parametrize("type_code", [0x08, 0x0E])
def test_a_shape_that_no_array_can_have_is_an_error_of_ours(tmp_path, shape, type_code):
    path = tmp_path / "shape"
    path.write_bytes(struct.pack(">HBB", 0, type_code, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + bytes(8))
    with pytest.raises(DataError, match=r"states (the shape|\d+ axes)|cut short"):
        read_idx(path)


def test_without_the_memory_for_what_is_promised_it_is_an_error_of_ours(tmp_path, monkeypatch):
    def no_memory(*arguments):
        raise MemoryError

    path = tmp_path / "images"
    path.write_bytes(idx_bytes(IMAGES))
    monkeypatch.setattr(idx, "bytearray", no_memory, raising=False)
    with pytest.raises(DataError, match="more memory than there is"):
        read_idx(path)
