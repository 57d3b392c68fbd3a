"""A strict double of CuPy, so that the GPU's code path runs on a machine without a GPU.

NumPy computes, but the arrays are of a class of its own, and the rules are CuPy's: no implicit way to NumPy, no mixing with
NumPy's arrays or with another device's, only the names and arguments that CuPy has (`cupy_signatures.txt`), NaN in `empty`,
results in C order, 0-d results on the device, indices that wrap, float32 denormals flushed to zero. It counts the kernels
that a program launches and the copies between host and device; inside `no_sync()`, whatever waits for the GPU raises.

What it cannot show: speed, rounding of cuBLAS, errors of streams and of asynchronous copies, lack of memory, TF32, and
whether driver, CUDA and CuPy fit together. Tests marked `gpu` do that, where there is a GPU.

    with installed() as cupy:           # `import cupy` finds the double, in this block
        x = mr.Tensor([1.0, 2.0]).to("cuda")
"""
import contextlib
import sys

from tests.strict_cupy.machine import HiddenSynchronization, MixedDevices, meter, no_sync
from tests.strict_cupy.module import MODULES, cupy
from tests.strict_cupy.signatures import VERSION

__all__ = ["VERSION", "HiddenSynchronization", "MixedDevices", "cupy", "installed", "meter", "no_sync"]


@contextlib.contextmanager
def installed():
    """A block in which `import cupy` gives the double; the meters start from zero."""
    hidden = {name: module for name, module in sys.modules.items() if name == "cupy" or name.startswith("cupy.")}
    for name in hidden:
        del sys.modules[name]
    sys.modules.update(MODULES)
    meter.reset()
    try:
        yield cupy
    finally:
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
