"""Where arrays live: NumPy on the CPU, CuPy on a CUDA GPU.

The data decides: each op asks `array_module(x)` for the module whose functions work on `x`, so one code path serves
both, and nothing is switched globally. CuPy is imported the first time that a CUDA device is asked for.
"""
import math
import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minires.arguments import array_of, shown
from minires.arrays.cuda import cuda_module
from minires.errors import ArgumentError, DeviceError, DTypeError

Array: TypeAlias = NDArray[Any]  # or CuPy's ndarray, which has the same methods
MaybeNone: TypeAlias = Any  # beside another type: may be None, where to ask each time would be noise in the user's code


def array_module(x: Any) -> ModuleType:
    """The module whose functions work on the array `x`: `numpy` or `cupy`."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    if _is_of_cupy(x):
        return sys.modules["cupy"]
    raise DTypeError(f"expected a NumPy or CuPy array, got {type(x).__module__}.{type(x).__name__}")


def is_array(x: object) -> bool:
    """Is `x` an array of NumPy or CuPy?"""
    return isinstance(x, np.ndarray) or _is_of_cupy(x)


def _is_of_cupy(x):
    """Is `x` an array of CuPy? None can exist before CuPy has been imported."""
    return isinstance(x, getattr(sys.modules.get("cupy"), "ndarray", ()))


def all_finite(x: Array) -> bool:
    """Is no element of the array `x` NaN or infinite? On a GPU, this waits for it."""
    return bool(array_module(x).isfinite(x).all())


def looks_finite(x: Array) -> bool:
    """Is surely no element of `x` NaN or infinite? Told by one number, x · x, in a third of the time of `all_finite`.

    Values whose squares overflow, above 1e19 in float32, count as not finite. On a GPU, where the answer would have to be
    waited for, it is True.
    """
    if type(x) is not np.ndarray:
        return True
    flat = x.ravel(order="K")
    return math.isfinite(np.dot(flat, flat))


def device_of(x: Any) -> str:
    """The name of the device that holds the array `x`: "cpu", "cuda:0", "cuda:1", …"""
    return "cpu" if array_module(x) is np else f"cuda:{x.device.id}"


def strided_view(x: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of the contiguous array `x` with these strides in bytes, to read from: windows that overlap share memory."""
    if array_module(x) is np:
        return np.ndarray(shape, x.dtype, buffer=x, strides=strides)  # a sixth of the time of as_strided
    return array_module(x).lib.stride_tricks.as_strided(x, shape, strides)


def parse_device(device: str) -> int | None:
    """The CUDA index that a device name means, or None for "cpu"; "cuda" is "cuda:0"."""
    if isinstance(device, str):
        if device == "cpu":
            return None
        if device == "cuda":
            return 0
        kind, _, index = device.partition(":")
        if kind == "cuda" and index.isdecimal():
            return int(index)
    raise DeviceError(f'unknown device {shown(device)}: expected "cpu", "cuda" or "cuda:1"')


def device_name(device: str) -> str:
    """The full name of a device, whether there is one or not: "cuda:0" where "cuda" is meant."""
    index = parse_device(device)
    return "cpu" if index is None else f"cuda:{index}"


def usable_device(device: str) -> str:
    """The full name of a device that can be used: "cpu", or "cuda:0" where "cuda" was asked for.

    Raises:
        DeviceError: there is no such device, or it cannot be used; the message says why and what to do.
    """
    index = parse_device(device)
    if index is None:
        return "cpu"
    cuda_module(index)
    return f"cuda:{index}"


def to_device(x: Array, device: str) -> Array:
    """The array `x` on `device`: itself where it is there already, a copy otherwise.

    A CUDA device that something is moved to becomes the current one: CuPy makes new arrays there.
    """
    index = parse_device(device)
    if index is None:
        return to_host(x)
    cupy = cuda_module(index)
    if device_of(x) not in ("cpu", f"cuda:{index}") and not x.flags.c_contiguous:
        use_device_of(x)
        x = cupy.ascontiguousarray(x)  # there: CuPy copies nothing else between devices
    cupy.cuda.Device(index).use()
    return cupy.asarray(x)


def beside(x: Array, other: Array) -> Array:
    """The array `x` on the device of the array `other`: itself where it is there already, a copy otherwise."""
    if type(x) is type(other) is np.ndarray:
        return x
    return to_device(x, device_of(other))


def use_device_of(x: Any) -> None:
    """Make the device of the array `x` the one where new arrays are made: CuPy keeps a current device in each thread."""
    if not isinstance(x, (np.ndarray, np.generic)):
        x.device.use()


def check_one_device(owner: str, arrays: dict[str, Any]) -> None:
    """Raise where the arrays, {name: array or None}, live on more than one device.

    Raises:
        DeviceError: it names `owner`, the arrays and their devices.
    """
    devices = {name: device_of(array) for name, array in arrays.items() if array is not None}
    if len(set(devices.values())) > 1:
        places = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise DeviceError(f"{owner}: got {places}: move them to one device with .to(…)")


def use_one_device(owner: str, names: tuple[str, ...], arrays: list[Any]) -> None:
    """Make the device of these arrays the current one; raise where they live on two: `cupy.matmul`, for one, does not check.

    Raises:
        DeviceError: see `check_one_device`.
    """
    check_one_device(owner, {names[i] if i < len(names) else f"argument {i}": x for i, x in enumerate(arrays)})
    use_device_of(next(array for array in arrays if array is not None))


def is_writable(array: Array) -> bool:
    """Can the array be written to? Not those of np.frombuffer and of memory maps; CuPy has none that cannot."""
    return getattr(array.flags, "writeable", True)


def read_only(owner: str) -> ArgumentError:
    """The error for an array that cannot be written to; it names `owner`."""
    return ArgumentError(f"{owner}: its array is read-only, as that of a file or of broadcast_to: give it a copy of its "
                         "own, array.copy()")


def floating_array(owner: str, value: Any, dtype: DTypeLike = np.float32) -> Array:
    """`value` as a float32 or float64 array: itself where it is one.

    Lists, Python numbers and arrays of integers, booleans and float16 become arrays of `dtype`.

    Raises:
        DTypeError: it does not hold real numbers, or is a masked array.
    """
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not hasattr(value, "dtype"):  # a list or a Python number
        try:
            array = np.asarray(value)  # not yet of float32, which would turn None into NaN and "1" into 1
        except (TypeError, ValueError) as error:
            raise DTypeError(f"{owner}: cannot make an array of numbers of a {type(value).__name__}: {error}") from error
        if array.dtype.kind not in "biuf":
            raise DTypeError(f"{owner}: cannot make an array of numbers of a {type(value).__name__} that holds "
                             f"{array.dtype}")
        return array.astype(dtype)
    array_module(value)  # raises where this is neither NumPy's nor CuPy's
    value = plain_array(owner, value)
    if value.dtype in (np.float32, np.float64):
        return value
    if value.dtype.kind in "biuf":
        is_double = value.dtype.kind == "f" and value.dtype.itemsize >= 8  # float64 in another byte order, or longer
        return value.astype(np.float64 if is_double else dtype)
    raise DTypeError(f"{owner}: expected real numbers, got dtype {value.dtype}")


def plain_array(owner: str, x: Any) -> Array:
    """The array `x`; one of a class made of NumPy's, such as np.matrix or np.memmap, as a plain view of its values.

    Raises:
        DTypeError: it is a masked array, whose mask would be lost.
    """
    if type(x) is np.ndarray or not isinstance(x, np.ndarray):
        return x
    if isinstance(x, np.ma.MaskedArray):
        raise DTypeError(f"{owner}: got a masked array, whose mask would be lost: pass x.filled(value), a plain array")
    return x.view(np.ndarray)


def scalar_beside(value: float, other: Array) -> Array:
    """A Python number as a 0-d array with the dtype and on the device of the array `other`."""
    if array_module(other) is np:
        return np.asarray(value, dtype=other.dtype)
    use_device_of(other)
    return array_module(other).full((), value, dtype=other.dtype)  # written by a kernel; asarray would be an upload


def item(x: Array, key: Any) -> Array:
    """x[key]. An index out of range is an IndexError on a GPU as well, where CuPy lets those in lists and arrays wrap.

    Indices that lie on the GPU themselves are not looked at: that would have to wait for them.
    """
    keys = key if isinstance(key, tuple) else (key,)
    if array_module(x) is not np and not any(is_array(k) and array_module(k) is not np for k in keys):
        _ = np.broadcast_to(np.int8(0), x.shape)[key]  # NumPy checks the key on an array of x's shape, all of one byte
    return x[key]


def to_host(x: Any) -> np.ndarray:
    """The array `x` as a NumPy array: itself where it is one already, a copy otherwise."""
    return x if array_module(x) is np else x.get()


def as_host_array(value: Any, owner: str = "as_host_array", argument: str = "value") -> np.ndarray:
    """An array of NumPy or CuPy, or anything that `np.asarray` takes, as a NumPy array, or a DTypeError."""
    return value.get() if _is_of_cupy(value) else array_of(owner, argument, plain_array(f"{owner}: {argument}", value))
