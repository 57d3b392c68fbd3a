"""What runs on a device: elementwise kernels, reductions, matrix products. NumPy computes; CuPy's rules decide.

Results are new arrays in C order, whatever the memory order of the inputs, on the current device.
"""
import numpy as np

from tests.strict_cupy.array import ndarray
from tests.strict_cupy.machine import MixedDevices, current_device, meter

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def elementwise(name, args, out=None, dtype=None, casting="same_kind"):
    """One kernel of the ufunc `name`: `elementwise("add", (x, 2.0))`."""
    ufunc = getattr(np, name)
    if ufunc.nout != 1:
        raise NotImplementedError(f"cupy.{name} has {ufunc.nout} outputs, which nothing in minires has needed so far")
    if len(args) > ufunc.nin:
        args, out = args[:ufunc.nin], args[ufunc.nin]
    values = [argument(x) for x in args]
    with np.errstate(all="ignore"):  # a GPU does not warn
        result = np.asarray(ufunc(*values, dtype=dtype, casting=casting, order="C"))
    meter.launch(name)
    return finish(flush(result), out, casting)


def reduce(name, x, axis=None, dtype=None, out=None, keepdims=False, **others):
    """One reduction of a device array: `reduce("sum", x, axis=0)`. A single number is a 0-d array, on the device."""
    if dtype is not None:
        others["dtype"] = dtype
    with np.errstate(all="ignore"):
        result = getattr(np, name)(device_array(x), axis=axis, keepdims=keepdims, **others)
    meter.launch(name)
    return finish(flush(np.asarray(result, order="C")), out, "same_kind")


def product(name, operands, compute, out=None):
    """A matrix product of device arrays, `compute(*values)`. Which device they are on is not looked at, as in CuPy.

    cuBLAS takes a matrix in C or Fortran order as it lies, and stacks in C order; others are copied first. Where one stack
    is repeated for the other, it is given their addresses, which a kernel for each axis of the stack computes.
    """
    for x in operands:
        if not isinstance(x, ndarray):
            raise TypeError(f"Unsupported type {type(x)}")
    result = np.asarray(compute(*[x._values for x in operands]), order="C")
    for x in operands:
        lies_well = x.flags.c_contiguous or (x.ndim <= 2 and x.flags.f_contiguous and name != "einsum")
        if not lies_well:
            meter.launch("copy of an operand")
    stacks = [x.shape[:-2] for x in operands]
    if name == "matmul" and len(set(stacks)) > 1:
        meter.launch("addresses", 3 * max(len(stack) for stack in stacks))
    meter.launch(name)
    if any(x.device.id != current_device() for x in operands):
        result = poisoned(result)  # a GPU that reads memory which is not its own
    return finish(result, out, "same_kind")


def argument(x):
    """What a kernel takes: the values of an array on the current device, or a scalar."""
    if isinstance(x, ndarray):
        return device_array(x)
    if isinstance(x, (bool, int, float, complex, np.generic)):
        return x
    raise TypeError(f"Unsupported type {type(x)}")


def device_array(x):
    """The values of an array on the current device."""
    if not isinstance(x, ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if x.device.id != current_device():
        raise MixedDevices(f"The device where the array resides ({x.device.id}) is different from the current device "
                           f"({current_device()}). Peer access is unavailable between these devices.")
    return x._values


def finish(result, out, casting):
    """The result as a device array, or written to `out`."""
    if isinstance(out, tuple):
        [out] = out
    if out is None:
        return ndarray._of(result, current_device())
    values = device_array(out)
    if values.shape != result.shape:
        raise ValueError("Out shape is mismatched")
    if not np.can_cast(result.dtype, values.dtype, casting):
        raise TypeError(f"output (typecode {result.dtype.char!r}) could not be coerced to provided output parameter "
                        f"(typecode {values.dtype.char!r}) according to the casting rule \"{casting}\"")
    values[...] = result
    return out


def flush(result):
    """Kernels are compiled with -ftz=true: a float32 below the smallest normal number is 0."""
    if result.dtype == np.float32:
        np.copyto(result, 0, where=np.abs(result) < SMALLEST_NORMAL)
    return result


def poisoned(values):
    """An array like this one, of what must not be used: NaN, or a number that is far from any index."""
    filler = np.nan if values.dtype.kind in "fc" else True if values.dtype.kind == "b" else np.iinfo(values.dtype).max
    values = np.empty_like(values)
    values.fill(filler)
    return values
