"""`save` and `load`: a net's state, or any dict of arrays, as one .npz file; published weights also from .safetensors.

A .npz file is a zip archive with a .npy file for each array, and nothing else: `np.load` reads it as well. The version of
the format stands in the archive's comment, which `np.load` passes over; a file without one, such as `np.savez` writes, is
read as it is. The zip format keeps a CRC-32 of each member, so that damage is noticed.
"""
import contextlib
import math
import os
import secrets
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from minires.arguments import path_of
from minires.arrays.backend import as_host_array, is_array
from minires.errors import ArgumentError, DataError, FileError, file_errors
from minires.nn.module import Module
from minires.text.files import ELSEWHERE

FORMAT = 1
COMMENT = b"minires format "  # and then the version
KINDS = "biufcSU"  # of dtypes: numbers, and text of a fixed width. Objects ("O") would be pickled
COMPRESSIONS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}  # and how much they can shrink something at most
HEADER_BYTES = 2000  # at most, in a .npy file: enough for 64 axes, and not for nests that a parser gets lost in
BOMB_BYTES, BOMB_FACTOR = 2**30, 100  # what expands beyond both, in bytes and in multiples of the file, is not weights
PYTORCH = ("it is a PyTorch file or another pickle: convert it where PyTorch is installed: "
           "np.savez('weights.npz', **{name: x.detach().numpy() for name, x in state_dict.items()})")


def save(module_or_dict: Module | dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a module's `state_dict()`, or a flat dict of arrays and numbers, to a .npz file.

    The file is written beside its place, and moved there when it is whole and on the disk, so that an interruption leaves
    the old one as it was. (A process that is killed meanwhile leaves a file that ends with .tmp, which may be deleted.)
    Equal arrays make equal files.

    Args:
        module_or_dict: an `nn.Module`, or {name: array or number}, such as an optimizer's `state_dict()`.
        path: its name ends with .npz.

    Raises:
        ArgumentError: neither a module nor a dict of arrays and numbers, or another suffix.
        DTypeError: `path` is neither a text nor a `pathlib.Path`.
        FileError: the file cannot be written.
    """
    path = path_of("save", path)
    if path.suffix != ".npz":
        raise ArgumentError(f"save: got the path {str(path)!r}, expected a name that ends with .npz")
    arrays = _as_arrays(module_or_dict)
    target = Path(os.path.realpath(path))  # where `path` is a link, replace the file that it names, not the link
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with file_errors("save: cannot write", path, ELSEWHERE):
            with open(temporary, "xb") as file:
                _write_npz(file, arrays)
                file.flush()
                os.fsync(file.fileno())  # before the move, or a power failure might leave a name without its content
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # it was moved, or never made
            os.unlink(temporary)


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read {name: array} from a .npz file (never pickle), or from a .safetensors file.

    Give the result to `module.load_state_dict`. A number that was saved comes back as an array without axes.
    Nothing is allocated for an array before the size that its header states was compared with the size of what is there.
    Every value of a .npz file is checked against its CRC-32; a .safetensors file holds no such sum, so that a changed value
    goes unnoticed there: compare the file's SHA-256 with the published one.

    Raises:
        DTypeError: `path` is neither a text nor a `pathlib.Path`.
        FileError: the file cannot be opened, or needs the package safetensors, which is missing.
        DataError: the file is damaged, cut short, of another format or a later version, holds pickled Python objects, or
            claims to be much larger than it is.
    """
    path = path_of("load", path)
    try:
        with file_errors("load: cannot read", path):
            return _load_safetensors(path) if path.suffix == ".safetensors" else _load_npz(path)
    except MemoryError as error:
        raise DataError(f"load: {str(path)!r} needs more memory than there is ({error})") from error


def _as_arrays(module_or_dict):
    values = module_or_dict.state_dict() if isinstance(module_or_dict, Module) else module_or_dict
    if not isinstance(values, dict):
        raise ArgumentError(f"save: got a {type(values).__name__}, expected an nn.Module or a dict of arrays and numbers")
    arrays = {}
    for name, value in values.items():
        array = as_host_array(value) if isinstance(value, (int, float, np.generic)) or is_array(value) else None
        if not isinstance(name, str) or array is None or array.dtype.kind not in KINDS:
            kind = type(value).__name__ if array is None else f"{type(value).__name__} of {array.dtype}"
            raise ArgumentError(f"save: {name!r} holds a {kind}, expected names with arrays or numbers")
        if not name.isprintable() or "\\" in name:  # zip archives cut names at NUL, and Windows turns \ into /
            raise ArgumentError(f"save: {name!r} cannot name an array in a file: use printable characters, without \\")
        arrays[name] = array
    return arrays


def _write_npz(file, arrays):
    """What `np.savez` does, with a comment, without the time of day, and for any name ("file" is an argument there)."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = COMMENT + str(FORMAT).encode()
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _load_npz(path):
    with open(path, "rb") as file:
        start = file.read(16)
        try:
            with zipfile.ZipFile(file) as archive:
                version = _version(archive.comment)
                if version <= FORMAT:
                    _check_end(file, archive)
                    _check_members(archive.infolist(), size=os.fstat(file.fileno()).st_size)
                    return {_array_name(member): _read_array(archive, member) for member in archive.infolist()}
        except MemoryError:
            raise
        except Exception as error:  # zipfile, zlib, struct and NumPy raise errors of a dozen classes on damaged bytes
            raise DataError(f"load: {str(path)!r} is not a whole .npz file of arrays: {_diagnosis(start, error)}") from error
    raise DataError(f"load: {str(path)!r} has format {version}, and this minires reads up to {FORMAT}: use a newer one")


def _version(comment):
    """The version that the comment of an archive states; 0 where the archive is not of minires."""
    return int(comment.removeprefix(COMMENT)) if comment.startswith(COMMENT) else 0


def _array_name(member):
    return member.filename.removesuffix(".npy")


def _check_end(file, archive):
    """Compare what `zipfile` found with the record at the archive's end (PKWARE, APPNOTE.TXT, section 4.3.16).

    `zipfile` does not: with one changed bit, an entry of its directory can swallow the next, and an array is missing.
    """
    file.seek(-22 - len(archive.comment), os.SEEK_END)
    signature, members, comment_length = struct.unpack("<4s6xH8xH", file.read(22))
    if signature != b"PK\5\6" or comment_length != len(archive.comment):
        raise ValueError("its end is missing, or something follows it")
    if members not in (len(archive.infolist()), 0xFFFF):  # 0xFFFF: that many or more
        raise ValueError("its directory is damaged")


def _check_members(members, size):
    """Refuse an archive of something else, and one whose members claim more than a file of this size can hold."""
    for member in members:
        name, is_utf8 = member.filename, member.flag_bits & 0x800
        if name.endswith("/data.pkl"):
            raise ValueError(PYTORCH)
        if not name.endswith(".npy") or not (name.isascii() or is_utf8):
            raise ValueError(f"it holds {name!r}, which is not a .npy file or not named in UTF-8")
        if member.compress_type not in COMPRESSIONS:
            raise ValueError(f"{name!r} is compressed in a way that NumPy does not use")
        if member.file_size > COMPRESSIONS[member.compress_type] * min(member.compress_size, size):
            raise ValueError(f"{name!r} claims {member.file_size:,} bytes, more than it can hold")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("it holds two arrays of one name")
    claimed = sum(member.file_size for member in members)
    if claimed > max(BOMB_BYTES, BOMB_FACTOR * size):
        raise ValueError(f"it would expand from {size:,} to {claimed:,} bytes")


def _read_array(archive, member):
    with archive.open(member) as npy:
        version = np.lib.format.read_magic(npy)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _is_fortran_order, dtype = read_header(npy, max_header_size=HEADER_BYTES)
        if dtype.kind not in KINDS or dtype.itemsize == 0:
            raise ValueError(f"{member.filename!r} holds {dtype} values, expected numbers")
        if npy.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"{member.filename!r} states {dtype} values of shape {shape}, which is not what is there")
        npy.seek(0)
        return np.lib.format.read_array(npy, allow_pickle=False)  # the CRC-32 is checked when the last byte is read


def _diagnosis(start, error):
    """What is wrong with a file that begins with the bytes `start`, where reading it raised `error`."""
    if not start:
        return "it is empty"
    if start.startswith(b"\x93NUMPY"):
        return "it is a single array: np.load reads it"
    if start.startswith(b"\x80"):  # how pickles begin
        return PYTORCH
    if not start.startswith(b"PK"):
        return f"it begins with {start!r}"
    return str(error)


def _load_safetensors(path):
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise FileError(f"load: reading {str(path)!r} needs the package safetensors: pip install safetensors") from error
    try:
        return load_file(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # SafetensorError, and what its reader for NumPy raises for a dtype that NumPy lacks
        raise DataError(f"load: {str(path)!r} is not a whole .safetensors file of arrays that NumPy can hold ({error})"
                        ) from error
