"""Where arrays live: NumPy on the CPU, CuPy on a CUDA GPU. The only module that imports CuPy.

The data decides: each op asks `array_module(x)` for the module whose functions work on `x`, so one code path serves
both, and nothing is switched globally. CuPy is imported the first time that a CUDA device is asked for.
"""
import functools
import sys

import numpy as np

from minires.errors import DeviceError, DTypeError

LARGE_KERNEL = 400_000  # numbers: 1.6 MB in float32, about what a CPU's L2 holds
INSTALL_CUPY = 'pip install "cupy-cuda13x[ctk]" (for drivers from 580 on) or pip install "cupy-cuda12x[ctk]" (from 525 on)'
GET_A_DRIVER = ("install NVIDIA's driver (https://www.nvidia.com/drivers), choose a GPU in the settings of a rented "
                "notebook, or stay on the CPU")


def array_module(x):
    """The module whose functions work on the array `x`: `numpy` or `cupy`."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    if _is_of_cupy(x):
        return sys.modules["cupy"]
    raise DTypeError(f"expected a NumPy or CuPy array, got {type(x).__module__}.{type(x).__name__}")


def is_array(x) -> bool:
    """Is `x` an array of NumPy or CuPy?"""
    return isinstance(x, np.ndarray) or _is_of_cupy(x)


def _is_of_cupy(x):
    """Is `x` an array of CuPy? None can exist before CuPy has been imported."""
    return isinstance(x, getattr(sys.modules.get("cupy"), "ndarray", ()))


def device_of(x) -> str:
    """The name of the device that holds the array `x`: "cpu", "cuda:0", "cuda:1", …"""
    return "cpu" if array_module(x) is np else f"cuda:{x.device.id}"


def strided_view(x, shape, strides):
    """A view of the contiguous array `x` with these strides in bytes, to read from: windows that overlap share memory."""
    if array_module(x) is np:
        return np.ndarray(shape, x.dtype, buffer=x, strides=strides)  # a sixth of the time of as_strided
    return array_module(x).lib.stride_tricks.as_strided(x, shape, strides)


def panel_bytes(xp, size: int) -> int:
    """How large a scratch matrix should be that is multiplied with a kernel of `size` numbers.

    On a CPU it must stay in L2; where already the kernel does not, more rows use it better. A GPU wants few launches.
    """
    if xp is not np:
        return 256 * 1024 * 1024
    return 640 * 1024 if cuts_products(xp, size) else 8 * 1024 * 1024


def block_bytes(xp) -> int:
    """How much of an array should go through several passes at a time: what stays in a CPU's cache; all of it on a GPU."""
    return 512 * 1024 if xp is np else sys.maxsize


def cuts_products(xp, size: int) -> bool:
    """Is the product of many rows with a kernel of `size` numbers better cut into small ones?

    On a CPU they are faster, if the kernel stays in L2 beside the rows; on a GPU each is one more launch.
    """
    return xp is np and size < LARGE_KERNEL


@functools.cache
def rows_of_one_product(xp, rows: int, size: int) -> int:
    """Into products of how many rows a matrix product (rows, K) @ (K, O) with K·O = size should be cut, on a CPU.

    OpenBLAS multiplies small matrices, of M·K·O up to a million, without first copying them, half as fast again. Where
    that leaves less than 16 rows, they are not cut. The result divides `rows`.
    """
    most = 1_000_000 // size
    return next((count for count in range(min(most, rows), 15, -1) if rows % count == 0), rows)


def parse_device(device: str) -> int | None:
    """The CUDA index that a device name means, or None for "cpu"; "cuda" is "cuda:0"."""
    if device == "cpu":
        return None
    if device == "cuda":
        return 0
    kind, _, index = str(device).partition(":")
    if kind == "cuda" and index.isdecimal():
        return int(index)
    raise DeviceError(f'unknown device {device!r}: expected "cpu", "cuda" or "cuda:1"')


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


def to_device(x, device: str):
    """The array `x` on `device`: itself where it is there already, a copy otherwise.

    A CUDA device that something is moved to becomes the current one: CuPy makes new arrays there.
    """
    index = parse_device(device)
    if index is None:
        return to_host(x)
    cupy = cuda_module(index)
    cupy.cuda.Device(index).use()
    return cupy.asarray(x)


def beside(x, other):
    """The array `x` on the device of the array `other`: itself where it is there already, a copy otherwise."""
    if type(x) is type(other) is np.ndarray:
        return x
    return to_device(x, device_of(other))


def use_device_of(x):
    """Make the device of the array `x` the one where new arrays are made: CuPy keeps a current device in each thread."""
    if not isinstance(x, (np.ndarray, np.generic)):
        x.device.use()


def scalar_beside(value, other):
    """A Python number as a 0-d array with the dtype and on the device of the array `other`."""
    if array_module(other) is np:
        return np.asarray(value, dtype=other.dtype)
    use_device_of(other)
    return array_module(other).full((), value, dtype=other.dtype)  # written by a kernel; asarray would be an upload


def item(x, key):
    """x[key]. An index out of range is an IndexError on a GPU as well, where CuPy lets those in lists and arrays wrap.

    Indices that lie on the GPU themselves are not looked at: that would have to wait for them.
    """
    keys = key if isinstance(key, tuple) else (key,)
    if array_module(x) is not np and not any(is_array(k) and array_module(k) is not np for k in keys):
        _ = np.broadcast_to(np.int8(0), x.shape)[key]  # NumPy checks the key on an array of x's shape, all of one byte
    return x[key]


def to_host(x) -> np.ndarray:
    """The array `x` as a NumPy array: itself where it is one already, a copy otherwise."""
    return x if array_module(x) is np else x.get()


def as_host_array(value) -> np.ndarray:
    """An array of NumPy or CuPy, or anything that `np.asarray` takes, as a NumPy array."""
    return value.get() if _is_of_cupy(value) else np.asarray(value)


def cuda_module(index: int = 0):
    """CuPy, after tiny kernels have run on CUDA device `index`.

    Raises:
        DeviceError: CuPy is not installed; no driver or no such GPU; no CUDA toolkit libraries. Each says what to do.
    """
    cupy = import_cupy()
    _run_first_kernels(cupy, index)
    return cupy


def import_cupy():
    """The module `cupy`.

    Raises:
        DeviceError: it is not installed, or its installation is broken.
    """
    try:
        import cupy
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise DeviceError(f"CuPy is installed but cannot be imported: {_cause(error)}. Install it again: {INSTALL_CUPY}"
                              ) from error
        raise DeviceError(f"a CUDA device needs CuPy, which is not installed: {INSTALL_CUPY}") from error
    except Exception as error:  # of a broken installation, or of one for another NumPy: ImportError, AttributeError, …
        raise DeviceError(f"CuPy is installed but cannot be imported: {_cause(error)}. Uninstall every package whose name "
                          f"begins with cupy, then: {INSTALL_CUPY}") from error
    if not hasattr(cupy, "ndarray"):  # a folder named cupy, such as an uninstallation may leave
        raise DeviceError(f"CuPy is not installed, though something else is called cupy: {getattr(cupy, '__path__', cupy)}. "
                          f"Remove that, then: {INSTALL_CUPY}")
    return cupy


def device_count(cupy) -> int:
    """The number of CUDA devices, at least 1.

    Raises:
        DeviceError: there is no driver, it is too old for this CuPy, or there is no GPU.
    """
    try:
        count = cupy.cuda.runtime.getDeviceCount()  # raises where there is no driver, and does not return 0
    except RuntimeError as error:  # CuPy's CUDARuntimeError
        raise DeviceError(_why_no_gpu(cupy, error)) from error
    if count == 0:
        raise DeviceError(_why_no_gpu(cupy, "the driver lists no device"))
    return count


@functools.cache  # once for each device, as each run waits for the GPU; an error is not kept
def _run_first_kernels(cupy, index):
    count = device_count(cupy)
    if index >= count:
        raise DeviceError(f"cuda:{index} does not exist: this machine has {count} CUDA device(s), from cuda:0")
    try:
        with cupy.cuda.Device(index):
            numbers = cupy.arange(4, dtype=np.float32).reshape(2, 2)
            (numbers * 2).sum().get()  # compiled now, by NVRTC and with the toolkit's headers
            (numbers @ numbers).get()  # cuBLAS
    except Exception as error:  # RuntimeError, ImportError, OSError, MemoryError, CompileException, …
        if _is_missing_toolkit(error):
            raise DeviceError(
                f"CuPy found a GPU but not the CUDA toolkit libraries, which it needs to compile kernels: {_cause(error)}. "
                f'Install them with: pip install "{_wheel(cupy)}[ctk]"') from error
        raise DeviceError(f"cuda:{index} is there, but a first small kernel failed on it: {type(error).__name__}: "
                          f"{_cause(error)}. Look with nvidia-smi whether another program holds it or its memory; "
                          "`minires doctor` lists the versions") from error


def _why_no_gpu(cupy, error):
    """One sentence for what is missing, and one for what to do; the driver's version tells the cases apart."""
    wanted = cupy.cuda.runtime.runtimeGetVersion()  # of the CUDA that CuPy was built for: 13020 is 13.2
    driver = cupy.cuda.runtime.driverGetVersion()  # the newest CUDA that the driver runs; 0 without a driver
    if driver == 0:
        return f"CuPy found no NVIDIA driver ({_cause(error)}): {GET_A_DRIVER}"
    if driver // 1000 < wanted // 1000:
        return (f"the NVIDIA driver is too old: it runs CUDA up to {cuda_version(driver)}, and this CuPy was built for "
                f"{cuda_version(wanted)} ({_cause(error)}). Update the driver, or install the CuPy that fits it: "
                f'pip uninstall {_wheel(cupy)}, then pip install "cupy-cuda{driver // 1000}x[ctk]"')
    return (f"there is a driver for CUDA {cuda_version(driver)}, but no GPU can be used ({_cause(error)}). Look with "
            "nvidia-smi whether it is listed, and whether CUDA_VISIBLE_DEVICES hides it, or stay on the CPU")


def cuda_version(number: int) -> str:
    """CUDA's number of a version as people write it: "13.2" for 13020."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _wheel(cupy):
    """The name of the CuPy package that is installed, by the CUDA that it was built for."""
    return f"cupy-cuda{cupy.cuda.runtime.runtimeGetVersion() // 1000}x"


def _is_missing_toolkit(error):
    """Does the error of a first kernel mean that a library or a header of the CUDA toolkit was not found?"""
    texts = ("CUDA headers", "cannot open source file", "Failure finding")
    return (isinstance(error, (ImportError, OSError)) or type(error).__name__ == "DynamicLibNotFoundError"
            or any(text in str(error) for text in texts))


def _cause(error):
    """What an error says, on one line; CuPy frames its import errors, with the cause after "Original error:"."""
    text = str(error).partition("Original error:")[2] or str(error)
    return " ".join(text.split()).strip("=. ")
