"""The CUDA driver and CuPy: the only module that imports CuPy, and what to do where one of them is missing."""
import functools
from types import ModuleType

import numpy as np

from minires.errors import DeviceError

INSTALL_CUPY = 'pip install "cupy-cuda13x[ctk]" (for drivers from 580 on) or pip install "cupy-cuda12x[ctk]" (from 525 on)'
GET_A_DRIVER = ("install NVIDIA's driver (https://www.nvidia.com/drivers), choose a GPU in the settings of a rented "
                "notebook, or stay on the CPU")


def cuda_module(index: int = 0) -> ModuleType:
    """CuPy, after tiny kernels have run on CUDA device `index`.

    Raises:
        DeviceError: CuPy is not installed; no driver or no such GPU; no CUDA toolkit libraries. Each says what to do.
    """
    cupy = import_cupy()
    _run_first_kernels(cupy, index)
    return cupy


def import_cupy() -> ModuleType:
    """The module `cupy`.

    Raises:
        DeviceError: it is not installed, or its installation is broken.
    """
    try:
        import cupy  # pyright: ignore[reportMissingImports]  # most machines have none
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


def device_count(cupy: ModuleType) -> int:
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
        if is_missing_toolkit(error):
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


def is_missing_toolkit(error: Exception) -> bool:
    """Does the error of a first kernel mean that a library or a header of the CUDA toolkit was not found?"""
    texts = ("CUDA headers", "cannot open source file", "Failure finding")
    return (isinstance(error, (ImportError, OSError)) or type(error).__name__ == "DynamicLibNotFoundError"
            or any(text in str(error) for text in texts))


def _cause(error):
    """What an error says, on one line; CuPy frames its import errors, with the cause after "Original error:"."""
    text = str(error).partition("Original error:")[2] or str(error)
    return " ".join(text.split()).strip("=. ")
