"""`save` and `load`: a net's state, or any dict of arrays, as one .npz file; published weights also from .safetensors."""
import contextlib
import os
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from minires.errors import ArgumentError, DataError, FileError
from minires.nn.module import Module


def save(module_or_dict, path):
    """Write a module's `state_dict()`, or a flat dict of arrays and numbers, to a .npz file.

    The file is written beside its place and then moved there, so that an interruption leaves the old one as it was.

    Args:
        module_or_dict: an `nn.Module`, or {name: array or number}, such as an optimizer's `state_dict()`.
        path: its name ends with .npz.

    Raises:
        ArgumentError: neither a module nor a dict of arrays and numbers, or another suffix.
        FileError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ArgumentError(f"save: got the path {str(path)!r}, expected a name that ends with .npz")
    arrays = _as_arrays(module_or_dict)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as file:
            temporary = file.name
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        raise FileError(f"save: cannot write {str(path)!r}: {error.strerror or error}. Give the path of a file in a folder "
                        "that exists and can be written to") from error
    finally:
        with contextlib.suppress(OSError, TypeError):  # it was moved, or never made
            os.unlink(temporary)


def load(path) -> dict:
    """Read {name: array} from a .npz file (never pickle), or from a .safetensors file.

    Give the result to `module.load_state_dict`. A number that was saved comes back as an array without axes.

    Raises:
        FileError: the file cannot be opened, or needs the package safetensors, which is missing.
        DataError: the file is damaged, cut short, of another format, or holds pickled Python objects.
    """
    path = Path(path)
    try:
        return _load_safetensors(path) if path.suffix == ".safetensors" else _load_npz(path)
    except OSError as error:
        raise FileError(f"load: cannot read {str(path)!r}: {error.strerror or error}") from error


def _load_npz(path):
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"load: {str(path)!r} is not a whole .npz file of arrays ({error}). A PyTorch file is converted "
                        "where PyTorch is installed: np.savez(path, **{k: v.numpy() for k, v in state.items()})") from error


def _load_safetensors(path):
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise FileError(f"load: reading {str(path)!r} needs the package safetensors: pip install \"minires[safetensors]\""
                        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(f"load: {str(path)!r} is not a whole .safetensors file ({error})") from error


def _as_arrays(module_or_dict):
    values = module_or_dict.state_dict() if isinstance(module_or_dict, Module) else module_or_dict
    if not isinstance(values, dict):
        raise ArgumentError(f"save: got a {type(values).__name__}, expected an nn.Module or a dict of arrays and numbers")
    arrays = {}
    for name, value in values.items():
        array = np.asarray(value) if isinstance(value, (int, float, np.ndarray, np.generic)) else None
        if not isinstance(name, str) or array is None or array.dtype == object:
            raise ArgumentError(f"save: {name!r} holds a {type(value).__name__}, expected names with arrays or numbers")
        arrays[name] = array
    return arrays
