"""The IDX file format, in which MNIST and Fashion-MNIST are published.

An IDX file is a header and then the values, the last axis running fastest. The header is two zero bytes, one byte for
the type of a value, one byte for the number of axes, and the length of each axis as a big-endian 32-bit integer.
The format is described by Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from minires.arguments import path_of
from minires.errors import DataError, file_errors

GZIP_MAGIC = b"\x1f\x8b"
# The third byte of an IDX file, and the type of one value (big-endian) that it stands for.
VALUE_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, gzipped or plain, and return its values as an array.

    The array has the shape and the type that the file states, in the machine's byte order: uint8 (N, 28, 28) for the
    images of Fashion-MNIST, uint8 (N,) for its labels.

    Raises DTypeError for what is no path, FileError if the file cannot be opened, and DataError if it is not a whole IDX
    file: a damaged gzip stream, a wrong magic number, fewer or more values than its header states.
    """
    path = path_of("read_idx", path)
    content = read_decompressed(path)
    dtype, shape, header_size = parse_header(content, path)
    expected_size = header_size + math.prod(shape) * dtype.itemsize
    if len(content) < expected_size:
        raise DataError(
            f"read_idx: {path} is cut short: its header states the shape {shape}, which takes {expected_size} bytes, "
            f"but it holds {len(content)}. Get the file again."
        )
    if len(content) > expected_size:
        raise DataError(
            f"read_idx: {path} is too long: its header states the shape {shape}, which takes {expected_size} bytes, "
            f"but it holds {len(content)}. Check that it is a single IDX file, or get it again."
        )
    values = np.frombuffer(content, dtype=dtype, offset=header_size).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def read_decompressed(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file, decompressed if it begins as a gzip file does, whatever its name.

    Raises FileError if the file cannot be opened, and DataError if the gzip stream is damaged.
    """
    with file_errors("read_idx: cannot read", path, "Give the path of an IDX file, such as train-images-idx3-ubyte.gz."):
        content = Path(path).read_bytes()
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"read_idx: {path} begins as a gzip file, but cannot be decompressed ({error}). "
            "It is damaged or cut short; get the file again."
        ) from error


def parse_header(content: bytes, path: str | os.PathLike[str]) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return (dtype, shape, number of bytes in the header) of an IDX file's content; `path` is for the messages.

    Raises DataError for a magic number that is not IDX's or a header that is cut short.
    """
    magic = content[:4]
    is_idx = len(magic) == 4 and magic[:2] == b"\x00\x00" and magic[2] in VALUE_TYPES and magic[3] > 0
    if not is_idx:
        raise DataError(
            f"read_idx: {path} is not an IDX file: it begins with the bytes [{magic.hex(' ')}]. Expected 00 00, a type "
            f"({', '.join(f'{code:02x}' for code in VALUE_TYPES)}) and the number of axes, such as 00 00 08 03 for "
            "images. Give the published IDX file, gzipped or plain."
        )
    ndim = magic[3]
    header_size = 4 + 4 * ndim
    if len(content) < header_size:
        raise DataError(
            f"read_idx: {path} is cut short: a header for {ndim} axes takes {header_size} bytes, but the file holds "
            f"{len(content)}. Get the file again."
        )
    shape = tuple(int(length) for length in np.frombuffer(content, dtype=">u4", count=ndim, offset=4))
    return np.dtype(VALUE_TYPES[magic[2]]), shape, header_size
