"""`cupy.zeros`, `cupy.where`, `cupy.sum` and what else minires calls. `module.py` checks the arguments against the list."""
import numpy as np

from tests.strict_cupy.array import ndarray
from tests.strict_cupy.kernels import device_array, elementwise, poisoned, product, reduce
from tests.strict_cupy.machine import MemoryPool, current_device, meter

_pool = MemoryPool()


# ---- making arrays

def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """A new array on the current device; host values are copied to it."""
    if isinstance(obj, ndarray):
        if not copy and obj.device.id == current_device() and dtype in (None, obj.dtype):
            return obj
        if obj.device.id != current_device() and not obj.flags.c_contiguous:
            raise ValueError("CuPy cannot copy non-contiguous array between devices.")
        meter.launch("copy")
        return _here(np.array(obj._values, dtype=dtype, order=order or "K", ndmin=ndmin))
    if isinstance(obj, (list, tuple)) and any(isinstance(x, ndarray) for x in obj):
        return stack(obj)
    host = np.array(obj, dtype=dtype, ndmin=ndmin)
    if host.dtype.kind not in "?biufc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    meter.upload(host)
    return _here(np.array(host, order="F" if host.flags.fnc else "C"))


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """`a` itself where it is on the current device, a copy there otherwise."""
    return array(a, dtype, bool(copy), order)


def ascontiguousarray(a, dtype=None):
    """`a` in C order."""
    values = device_array(a)
    if values.flags.c_contiguous and dtype in (None, values.dtype):
        return a if values.ndim else a.reshape(1)
    meter.launch("copy")
    return _here(np.ascontiguousarray(values, dtype))


def empty(shape, dtype=float, order="C"):
    """Memory as it is found: NaN here, so that nobody takes it for zeros."""
    return _here(poisoned(np.empty(shape, dtype, order)))


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    """Memory as it is found, shaped as another array."""
    return _here(poisoned(np.empty_like(prototype._values, dtype, order, shape=shape)))


def zeros(shape, dtype=float, order="C"):
    """Zeros."""
    meter.launch("fill")
    return _here(np.zeros(shape, dtype, order))


def ones(shape, dtype=float, order="C"):
    """Ones."""
    meter.launch("fill")
    return _here(np.ones(shape, dtype, order))


def full(shape, fill_value, dtype=None, order="C"):
    """One number, everywhere."""
    meter.launch("fill")
    return _here(np.full(shape, fill_value, dtype, order))


def zeros_like(a, dtype=None, order="K", subok=None, shape=None):
    """Zeros, shaped as another array."""
    meter.launch("fill")
    return _here(np.zeros_like(a._values, dtype, order, shape=shape))


def ones_like(a, dtype=None, order="K", subok=None, shape=None):
    """Ones, shaped as another array."""
    meter.launch("fill")
    return _here(np.ones_like(a._values, dtype, order, shape=shape))


def arange(start, stop=None, step=1, dtype=None):
    """Numbers in a row."""
    meter.launch("arange")
    return _here(np.arange(start, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype))


# ---- moving and joining values

def concatenate(tup, axis=0, out=None, *, dtype=None, casting="same_kind"):
    """Arrays behind each other. More than 8 are joined by one kernel, for which their addresses go to the device."""
    if len(tup) > 8:
        meter.upload(np.empty(len(tup), np.int64))
        meter.launch("concatenate")
    else:
        meter.launch("concatenate", len(tup))
    return _here(np.concatenate([device_array(x) for x in tup], axis, dtype=dtype))


def stack(tup, axis=0, out=None, *, dtype=None, casting="same_kind"):
    """Arrays beside each other, along a new axis."""
    return concatenate([x._view(np.expand_dims(x._values, axis)) for x in tup], axis, out, dtype=dtype)


def pad(array, pad_width, mode="constant", **kwargs):
    """The array with a border: a fill, and a copy into its middle."""
    meter.launch("fill")
    meter.launch("copy")
    return _here(np.pad(device_array(array), pad_width, mode, **kwargs))


def broadcast_to(array, shape):
    """A view that repeats the array."""
    return array._view(np.broadcast_to(array._values, shape))


def reshape(a, newshape, order="C", *, copy=None):
    """The array in another shape."""
    return a.reshape(newshape, order=order)


def transpose(a, axes=None):
    """A view with the axes in another order."""
    return a.transpose() if axes is None else a.transpose(axes)


def take(a, indices, axis=None, out=None):
    """Elements by index; out of range they wrap."""
    length = a.size if axis is None else a.shape[axis]
    host = indices._values if isinstance(indices, ndarray) else np.asarray(indices)
    if not isinstance(indices, ndarray):
        meter.upload(host)
    meter.launch("take")
    return _here(np.array(np.take(device_array(a), host % length, axis), order="C"))


def where(condition, x=None, y=None):
    """x or y. One argument alone asks how many there are, and waits for the answer."""
    if x is None or y is None:
        return condition.nonzero()
    values = [v._values if isinstance(v, ndarray) else v for v in (condition, x, y)]
    for v in (condition, x, y):
        if isinstance(v, ndarray):
            device_array(v)
        elif not isinstance(v, (bool, int, float, np.generic)):
            raise TypeError(f"Unsupported type {type(v)}")
    meter.launch("where")
    return _here(np.array(np.where(*values), order="C"))


# ---- computing

def reduction(name, a, *args, **kwargs):
    """x.sum(…): the positional arguments of each differ, as in CuPy."""
    order = ("axis", "out", "keepdims") if name in ("max", "min", "any", "all") else ("axis", "dtype", "out", "keepdims")
    order = ("axis", "dtype", "out", "ddof", "keepdims") if name in ("var", "std") else order
    return reduce(name, a, **dict(zip(order, args, strict=False)), **kwargs)


def matmul(*args, out=None):
    """A matrix product, or a stack of them."""
    return product("matmul", args, np.matmul, out)


def dot(a, b, out=None):
    """A product of vectors or matrices."""
    return product("dot", (a, b), np.dot, out)


def tensordot(a, b, axes=2):
    """A sum over several axes at once."""
    return product("tensordot", (a, b), lambda a, b: np.tensordot(a, b, axes))


def einsum(subscripts, *operands, dtype=None, optimize=False):
    """A sum of products, as one matrix product; operands that do not lie as it wants are copied, here all of them."""
    meter.launch("copy of an operand", len(operands))
    return product("einsum", operands, lambda *values: np.einsum(subscripts, *values))


def allclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Are all elements nearly equal? A 0-d array: nobody has waited yet."""
    meter.launch("isclose")
    return _here(np.asarray(np.allclose(device_array(a), device_array(b), rtol, atol, equal_nan)))


def array_equal(a1, a2, equal_nan=False):
    """Are all elements equal? A 0-d array."""
    meter.launch("equal")
    return _here(np.asarray(np.array_equal(device_array(a1), device_array(a2), equal_nan)))


def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """Numbers in place of NaN and infinities."""
    meter.launch("nan_to_num")
    return _here(np.asarray(np.nan_to_num(device_array(x), nan=nan, posinf=posinf, neginf=neginf), order="C"))


def clip(a, a_min, a_max, out=None):
    """Values within limits."""
    return elementwise("minimum", (elementwise("maximum", (a, a_min)), a_max), out)


# ---- asking

def shape(a):
    """The lengths of the axes, of a device array or of anything that NumPy knows."""
    return a.shape if isinstance(a, ndarray) else np.shape(a)


def ndim(a):
    """The number of axes."""
    return a.ndim if isinstance(a, ndarray) else np.ndim(a)


def result_type(*arrays_and_dtypes):
    """The dtype of what these make together."""
    return np.result_type(*[x._values if isinstance(x, ndarray) else x for x in arrays_and_dtypes])


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """The values on the host."""
    return a.get(order=order) if isinstance(a, ndarray) else np.asarray(a)


def save(file, arr, allow_pickle=None):
    """A .npy file; the copy to the host goes without saying."""
    np.save(file, arr.get(), allow_pickle=bool(allow_pickle))


def get_default_memory_pool():
    """The pool of the current device."""
    return _pool


# ---- cupy.lib.stride_tricks

def as_strided(x, shape=None, strides=None):
    """A view with any strides, without a check and without a copy."""
    return x._view(np.lib.stride_tricks.as_strided(x._values, shape, strides))


def sliding_window_view(x, window_shape, axis=None, *, subok=False, writeable=False):
    """Windows as a view. CuPy computes the strides on the device: one copy to it, and two back, at each call."""
    meter.upload(np.empty(x.ndim, np.int64))
    meter.download(np.empty(x.ndim, np.int64), "sliding_window_view")
    meter.download(np.empty(x.ndim, np.int64), "sliding_window_view")
    return x._view(np.lib.stride_tricks.sliding_window_view(x._values, window_shape, axis))


def _here(values):
    return ndarray._of(values, current_device())
