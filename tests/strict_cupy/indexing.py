"""x[key], x[key] = value and cupy.add.at, with CuPy's rules: indices wrap silently, masks wait, host values are refused."""
import numpy as np

from tests.strict_cupy.array import ndarray
from tests.strict_cupy.kernels import argument, device_array
from tests.strict_cupy.machine import current_device, meter


class UndefinedResult(AssertionError):
    """An assignment to one place twice, of which CuPy does not say which value stays."""


def getitem(x, key):
    """x[key]: a view for integers, slices, None and …; a new array for arrays of indices."""
    keys = prepared(key)
    if not is_advanced(keys):
        return x._view(view_of(x._values, keys))
    values = device_array(x)
    result = np.array(values[on_host(x, keys)], order="C")
    meter.launch("take")
    return ndarray._of(result, current_device())


def setitem(x, key, value):
    """x[key] = value: one kernel, or none where the value is what lies there, as in `x[key] += 1`."""
    keys = prepared(key)
    if is_advanced(keys):
        places = on_host(x, keys)
        check_that_each_is_taken_once(x, places)
        device_array(x)[places] = scattered(value, x.dtype)
        meter.launch("scatter")
        return
    target = view_of(device_array(x), keys)
    if not isinstance(value, ndarray):
        fill(target, value)
    elif not is_same(target, value._values):
        target[...] = argument(value)
        meter.launch("copy")


def add_at(x, key, value):
    """cupy.add.at(x, key, value): every contribution counts, in an order that the GPU chooses."""
    keys = prepared(key)
    places = on_host(x, keys) if is_advanced(keys) else tuple(keys)
    np.add.at(device_array(x), places, scattered(value, x.dtype))
    meter.launch("add.at")


def prepared(key):
    """The parts of a key. Lists and NumPy arrays among them are copied to the device, without a word."""
    parts = []
    for part in key if isinstance(key, tuple) else (key,):
        is_integer = np.isscalar(part) and not isinstance(part, (bool, np.bool_))
        if part is None or part is Ellipsis or isinstance(part, (slice, ndarray)) or is_integer:
            parts.append(part)
        else:
            host = np.asarray(part)
            host = host.astype(np.int32) if host.size == 0 and isinstance(part, (list, tuple)) else host
            meter.upload(host)
            parts.append(ndarray._of(host, current_device()))
    return parts


def is_advanced(keys):
    """Is there an array of indices, or a mask, among them?"""
    return any(isinstance(part, ndarray) for part in keys)


def view_of(values, keys):
    """values[keys] as a view, also where it is one number."""
    return values[tuple(keys) if Ellipsis in [k for k in keys if not isinstance(k, slice)] else (*keys, Ellipsis)]


def on_host(x, keys):
    """The key for NumPy: indices out of range wrap; a mask waits for its count of Trues."""
    used = sum(part.ndim if is_mask(part) else part is not None and part is not Ellipsis for part in keys)
    places, axis = [], 0
    for part in keys:
        if part is Ellipsis:
            places.append(part)
            axis += x.ndim - used
        elif not isinstance(part, ndarray):
            places.append(part)
            axis += part is not None
        elif is_mask(part):
            meter.download(np.empty((), np.int32), "a mask as index")
            places.append(device_array(part))
            axis += part.ndim
        elif part.dtype.kind in "iu":
            meter.launch("indices")
            places.append(device_array(part) % max(1, x.shape[axis]))
            axis += 1
        else:
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype.type})")
    return tuple(places)


def is_mask(part):
    """Is this part of a key an array of Trues and Falses?"""
    return isinstance(part, ndarray) and part.dtype.kind == "b"


def check_that_each_is_taken_once(x, places):
    """Raise where an assignment writes to one place twice."""
    taken = np.arange(x.size).reshape(x.shape)[places]
    if len(np.unique(taken)) < taken.size:
        raise UndefinedResult("an assignment writes to one place twice: on a GPU it is not defined which value stays")


def scattered(value, dtype):
    """The value for places on a device: a kernel's argument; a host value is copied to the device first."""
    if isinstance(value, ndarray):
        return device_array(value)
    host = np.asarray(value, dtype=dtype)
    meter.upload(host)
    return host


def fill(target, value):
    """Set every element to a scalar; a host array or list is refused."""
    scalar = np.asarray(value, dtype=target.dtype)
    if scalar.shape != ():
        raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
    target[...] = scalar
    meter.launch("fill")


def is_same(target, values):
    """Are these one and the same piece of memory?"""
    return (target.shape, target.strides, target.dtype) == (values.shape, values.strides, values.dtype) \
        and target.__array_interface__["data"] == values.__array_interface__["data"]
