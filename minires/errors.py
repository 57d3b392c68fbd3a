"""Every error that minires raises on purpose: a `MiniresError`, and also the built-in error that fits."""
import contextlib
import os
from collections.abc import Iterator


class MiniresError(Exception):
    """The base of every error of ours, so that one `except` catches them all."""


class ShapeError(MiniresError, ValueError):
    """An array has the wrong rank, size or number of channels."""


class DTypeError(MiniresError, TypeError):
    """A value is of the wrong kind: not a tensor, not floating point, or of mixed precision."""


class DeviceError(MiniresError, RuntimeError):
    """A device cannot be used, or one op was given arrays of two devices."""


class LabelError(MiniresError, ValueError):
    """Class labels are not integers, are out of range, or are not one for each row of logits."""


class BackwardError(MiniresError, RuntimeError):
    """A backward pass cannot start, or an op's backward returned something that is not its gradient."""


class GradcheckError(MiniresError, AssertionError):
    """A gradient differs from the numerical derivative."""


class AnomalyError(MiniresError, ArithmeticError):
    """An op's output or gradient is not finite; raised inside `detect_anomaly()`."""


class ArgumentError(MiniresError, ValueError):
    """An argument has a value that makes no sense where it stands."""


class PlaceError(ArgumentError, IndexError):
    """There is nothing at this place: no module of a `Sequential`, no row of an embedding."""


class UnknownNameError(MiniresError, ValueError):
    """A lesson, model, split or quantity was asked for by a name that does not exist."""


class ModuleError(MiniresError, AttributeError):
    """A module has no such attribute, no forward, or was not set up by `super().__init__()`."""


class StateError(MiniresError, ValueError):
    """A state dict does not fit the module or optimizer that is to load it."""


class DataError(MiniresError, ValueError):
    """A data file is truncated, corrupt, or not of the format that it should be."""


class FileError(MiniresError, OSError):
    """A file or folder cannot be read or written."""


@contextlib.contextmanager
def file_errors(attempt: str, path: str | os.PathLike[str], advice: str = "") -> Iterator[None]:
    """A block in which an `OSError` becomes a `FileError`, with the system's reason.

        with file_errors("load: cannot read", path, "Give the path of a file that exists"):
            content = path.read_bytes()     # load: cannot read a.npz (No such file or directory). Give the path of …

    Args:
        attempt: what cannot be done, up to the path.
        path: of the file or folder.
        advice: what to do about it.

    Raises:
        FileError: as above. One that comes out of the block stays as it is.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        message = f"{attempt} {path} ({error.strerror or error})"
        raise FileError(f"{message}. {advice}" if advice else message) from error
