"""Where arrays live: NumPy on the CPU, CuPy on a CUDA GPU. The only module that imports CuPy.

The data decides: each op asks `array_module(x)` for the module whose functions work on `x`, so one code path serves
both, and nothing is switched globally. CuPy is imported the first time that a CUDA device is asked for.
"""
import functools
import sys

import numpy as np

from minires.errors import DeviceError, DTypeError

INSTALL_CUPY = 'install it with: pip install "minires[cuda13]" (CUDA 13 drivers) or "minires[cuda12]"'


def array_module(x):
    """The module whose functions work on the array `x`: `numpy` or `cupy`."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    cupy = sys.modules.get("cupy")  # an array of CuPy cannot exist before CuPy has been imported
    if cupy is not None and isinstance(x, cupy.ndarray):
        return cupy
    raise DTypeError(f"expected a NumPy or CuPy array, got {type(x).__module__}.{type(x).__name__}")


def device_of(x) -> str:
    """The name of the device that holds the array `x`: "cpu", "cuda:0", "cuda:1", …"""
    return "cpu" if array_module(x) is np else f"cuda:{x.device.id}"


def strided_view(x, shape, strides):
    """A view of the contiguous array `x` with these strides in bytes, to read from: windows that overlap share memory."""
    if array_module(x) is np:
        return np.ndarray(shape, x.dtype, buffer=x, strides=strides)  # a sixth of the time of as_strided
    return array_module(x).lib.stride_tricks.as_strided(x, shape, strides)


def panel_bytes(xp) -> int:
    """How large a scratch matrix should be: on a CPU it must stay in L2; a GPU wants few and large launches."""
    return 640 * 1024 if xp is np else 256 * 1024 * 1024


@functools.cache
def rows_of_one_product(xp, rows: int, size: int) -> int:
    """Into products of how many rows a matrix product (rows, K) @ (K, O) with K·O = size should be cut.

    OpenBLAS multiplies small matrices, of M·K·O up to a million, without first copying them, half as fast again. A GPU
    wants the whole product at once. The result divides `rows`.
    """
    if xp is not np:
        return rows
    most = max(16, 1_000_000 // size)
    return next(count for count in range(min(most, rows), 0, -1) if rows % count == 0)


def parse_device(device: str) -> int | None:
    """The CUDA index that a device name means, or None for "cpu"; "cuda" is "cuda:0"."""
    kind, _, index = str(device).partition(":")
    if kind == "cpu" and not index:
        return None
    if kind == "cuda" and (index == "" or index.isdecimal()):
        return int(index or 0)
    raise DeviceError(f'unknown device {device!r}: expected "cpu", "cuda" or "cuda:1"')


def to_device(x, device: str):
    """The array `x` on `device`: itself where it is there already, a copy otherwise."""
    index = parse_device(device)
    if index is None:
        return to_host(x)
    cupy = cuda_module(index)
    with cupy.cuda.Device(index):
        return cupy.asarray(x)


def to_host(x) -> np.ndarray:
    """The array `x` as a NumPy array: itself where it is one already, a copy otherwise."""
    return x if array_module(x) is np else x.get()


def cuda_module(index: int = 0):
    """CuPy, after a tiny kernel has run on CUDA device `index`.

    Raises:
        DeviceError: CuPy is not installed; no driver or no such GPU; no CUDA toolkit libraries. Each says what to do.
    """
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(f"a CUDA device needs CuPy, which is not installed: {INSTALL_CUPY}") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"no CUDA GPU can be used: {error}. Install NVIDIA's driver, or stay on the CPU") from error
    if index >= count:
        raise DeviceError(f"cuda:{index} does not exist: this machine has {count} CUDA device(s), from cuda:0")
    try:
        with cupy.cuda.Device(index):
            (cupy.arange(2) * 2).sum().get()  # the first kernel is compiled here: the toolkit must be found
    except (RuntimeError, ImportError) as error:
        raise DeviceError(
            f'CuPy found a GPU but not the CUDA toolkit libraries: {error}. Install them with: '
            f'pip install "cupy-cuda13x[ctk]" (or cupy-cuda12x[ctk])'
        ) from error
    return cupy
