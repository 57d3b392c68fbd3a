"""The IDX file format, in which MNIST and Fashion-MNIST are published.

An IDX file is a header and then the values, the last axis running fastest. The header is two zero bytes, one byte for
the type of a value, one byte for the number of axes, and the length of each axis as a big-endian 32-bit integer.
The format is described by Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits".
"""

import contextlib
import gzip
import io
import math
import os
import stat
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from minires.arguments import path_of
from minires.errors import DataError, file_errors

GZIP_MAGIC = b"\x1f\x8b"
# The third byte of an IDX file, and the type of one value (big-endian) that it stands for.
VALUE_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


CHUNK = 2**20  # bytes: how much is expanded at once
MOST_EXPANSION = 1032  # of deflate: a byte stands for at most so many
MOST_AXES = 64  # of a NumPy array


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, gzipped or plain, and return its values as an array.

    The array has the shape and the type that the file states, in the machine's byte order: uint8 (N, 28, 28) for the
    images of Fashion-MNIST, uint8 (N,) for its labels. No more of a gzip stream is expanded than its header promises.

    Raises DTypeError for what is no path, FileError if the file cannot be opened, and DataError if it is not a whole IDX
    file: a damaged gzip stream, a wrong magic number, fewer or more values than its header states, or a shape that no array
    can have here.
    """
    path = path_of("read_idx", path)
    try:
        with opened(path) as (stream, largest):
            dtype, shape = _read_header(stream, path)
            content = _read_values(stream, math.prod(shape) * dtype.itemsize, largest, path, shape)
        return _as_array(content, dtype, shape, path)
    except MemoryError as error:
        raise DataError(f"read_idx: {path} needs more memory than there is for what its header states.") from error


def read_idx_header(path: str | os.PathLike[str]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return (dtype, shape) of the values that an IDX file promises, without reading them; raises as `read_idx` does."""
    with opened(path) as (stream, _largest):
        return _read_header(stream, path)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[io.BufferedIOBase, float]]:
    """A stream of the file's bytes, expanded if it begins as a gzip file does, and how many there can be at most."""
    with (file_errors("read_idx: cannot read", path, "Give the path of an IDX file, such as train-images-idx3-ubyte.gz."),
          open(path, "rb") as file):
        status = os.fstat(file.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else math.inf
        if not file.peek(2).startswith(GZIP_MAGIC):
            yield file, size
            return
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                yield stream, MOST_EXPANSION * size
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"read_idx: {path} begins as a gzip file, but cannot be decompressed ({error}). "
                "It is damaged or cut short; get the file again."
            ) from error


def _read_header(stream, path):
    """Return (dtype, shape), and leave the stream at the first value.

    Raises DataError for a magic number that is not IDX's or a header that is cut short.
    """
    magic = stream.read(4)
    is_idx = len(magic) == 4 and magic[:2] == b"\x00\x00" and magic[2] in VALUE_TYPES and magic[3] > 0
    if not is_idx:
        raise DataError(
            f"read_idx: {path} is not an IDX file: it begins with the bytes [{magic.hex(' ')}]. Expected 00 00, a type "
            f"({', '.join(f'{code:02x}' for code in VALUE_TYPES)}) and the number of axes, such as 00 00 08 03 for "
            "images. Give the published IDX file, gzipped or plain."
        )
    ndim = magic[3]
    lengths = stream.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise DataError(
            f"read_idx: {path} is cut short: a header for {ndim} axes takes {4 + 4 * ndim} bytes, but the file holds "
            f"{4 + len(lengths)}. Get the file again."
        )
    if ndim > MOST_AXES:
        raise DataError(f"read_idx: {path} states {ndim} axes, and an array has at most {MOST_AXES}: it is damaged.")
    return np.dtype(VALUE_TYPES[magic[2]]), tuple(int(length) for length in np.frombuffer(lengths, dtype=">u4"))


def _read_values(stream, size, largest, path, shape):
    """The `size` bytes of the values; DataError where there are fewer or more."""
    before = 4 + 4 * len(shape)
    promised = f"its header states the shape {shape}, which takes {before + size} bytes"
    if largest < before + size:
        raise DataError(f"read_idx: {path} is cut short: {promised}, but it holds {largest} at most. Get the file again.")
    content = bytearray()
    while len(content) <= size:
        chunk = stream.read(min(CHUNK, size + 1 - len(content)))  # a byte more than promised tells of a file too long
        if not chunk:
            break
        content += chunk
    found = before + len(content)
    if len(content) < size:
        raise DataError(f"read_idx: {path} is cut short: {promised}, but it holds {found}. Get the file again.")
    if len(content) > size:
        raise DataError(f"read_idx: {path} is too long: {promised}, but it holds {found} or more. Check that it is a single "
                        "IDX file, or get it again.")
    return content


def _as_array(content, dtype, shape, path):
    try:
        values = np.frombuffer(content, dtype=dtype).reshape(shape)
    except ValueError as error:  # such as (0, 2**32 - 1, 2**32 - 1)
        raise DataError(f"read_idx: {path} states the shape {shape}, of which there can be no array ({error}).") from error
    return values.astype(dtype.newbyteorder("="))
