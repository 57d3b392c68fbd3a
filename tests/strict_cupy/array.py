"""`cupy.ndarray` of the double: NumPy's values behind a class that is not NumPy's and does only what CuPy's does."""
import numpy as np

from tests.strict_cupy import machine
from tests.strict_cupy.machine import Device, meter
from tests.strict_cupy.signatures import check_call, missing, signatures


class Flags:
    """`x.flags`: CuPy knows no `writeable`."""

    def __init__(self, flags):
        self.c_contiguous = flags.c_contiguous
        self.f_contiguous = flags.f_contiguous
        self.owndata = flags.owndata


class ndarray:
    """An array on one of the double's devices. Views share their values with the array that they were made of."""

    __slots__ = ("__weakref__", "_device", "_values")
    __hash__ = None
    __array_priority__ = 100

    def __init__(self, shape, dtype=float, order="C"):
        made = functions.empty(shape, dtype, order)
        self._values, self._device = made._values, made._device

    @classmethod
    def _of(cls, values, device):
        """The array of these values, which are taken as they lie, on a device."""
        array = cls.__new__(cls)
        array._values = values
        array._device = device
        return array

    def _view(self, values):
        return ndarray._of(values, self._device)

    def __getattr__(self, name):
        """Only reached for what this class lacks."""
        if f"cupy.ndarray.{name}" in signatures():
            raise missing(f"cupy.ndarray.{name}")
        raise AttributeError(f"'ndarray' object has no attribute {name!r}")

    # ---- what can be known without waiting

    @property
    def shape(self):
        return self._values.shape

    @property
    def strides(self):
        return self._values.strides

    @property
    def dtype(self):
        return self._values.dtype

    @property
    def ndim(self):
        return self._values.ndim

    @property
    def size(self):
        return self._values.size

    @property
    def nbytes(self):
        return self._values.nbytes

    @property
    def itemsize(self):
        return self._values.itemsize

    @property
    def device(self):
        return Device(self._device)

    @property
    def flags(self):
        return Flags(self._values.flags)

    @property
    def T(self):
        return self.transpose()

    def __len__(self):
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    # ---- what waits for the device

    def _to_host(self, why, order="C"):
        meter.download(self._values, why)
        return np.array(self._values, order=order)

    def get(self, stream=None, order="C", out=None, blocking=True):
        host = self._to_host("get()", order)
        if out is None:
            return host
        out[...] = host
        return out

    def item(self):
        return self._to_host("item()").item()

    def tolist(self):
        return self._to_host("tolist()").tolist()

    def __float__(self):
        return float(self._to_host("float()"))

    def __int__(self):
        return int(self._to_host("int()"))

    def __complex__(self):
        return complex(self._to_host("complex()"))

    def __bool__(self):
        return bool(self._to_host("bool()"))

    def __repr__(self):
        return repr(self._to_host("repr()"))

    def __str__(self):
        return str(self._to_host("str() or print"))

    def __format__(self, spec):
        return format(self._to_host("an f-string"), spec)

    def nonzero(self):
        meter.synchronize("nonzero()")
        return tuple(self._view(np.ascontiguousarray(places)) for places in self._values.nonzero())

    def __reduce__(self):
        return functions.array, (self._to_host("pickling", order="A"),)

    # ---- NumPy and the array

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. "
                        "Please use `.get()` to construct a NumPy array explicitly.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        """np.add(x, y) with a device array runs cupy.add."""
        return getattr(machine_function(ufunc.__name__), method)(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        """np.sum(x) with a device array runs cupy.sum, where CuPy has one."""
        if f"cupy.{function.__name__}" not in signatures():
            return NotImplemented
        return machine_function(function.__name__)(*args, **kwargs)

    # ---- views, and copies where no view can do

    def transpose(self, *axes):
        return self._view(self._values.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        return self._view(self._values.swapaxes(axis1, axis2))

    def squeeze(self, axis=None):
        return self._view(self._values.squeeze(axis))

    def view(self, dtype=None, type=None):
        return self._view(self._values.view() if dtype is None else self._values.view(dtype))

    def reshape(self, *shape, order="C", copy=None):
        values = self._values.reshape(*shape, order=order)
        if not np.shares_memory(values, self._values) and values.size:
            kernels.device_array(self)  # raises where it is not on the current device
            meter.launch("copy")
        return self._view(values)

    def ravel(self, order="C"):
        return self.reshape(-1, order=order)

    def copy(self, order="C"):
        meter.launch("copy")
        return ndarray._of(self._values.copy(order), machine.current_device())

    __copy__ = copy

    def __deepcopy__(self, memo):
        with self.device:
            return self.copy()

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        meter.launch("astype")
        return ndarray._of(kernels.device_array(self).astype(dtype, order=order), machine.current_device())

    def fill(self, value):
        self[...] = value

    def take(self, indices, axis=None, out=None):
        return functions.take(self, indices, axis, out)

    def dot(self, b, out=None):
        return kernels.product("dot", (self, b), np.dot, out)

    def __getitem__(self, key):
        return indexing.getitem(self, key)

    def __setitem__(self, key, value):
        indexing.setitem(self, key, value)


def machine_function(name):
    """`cupy.name` of the double."""
    from tests.strict_cupy import module

    return getattr(module.cupy, name)


def _add_operators():
    """+ - * / ** @ and the comparisons, as the kernels that CuPy runs for them."""
    names = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
             "mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}
    for operator, ufunc in names.items():
        def forward(self, other, ufunc=ufunc):
            return kernels.elementwise(ufunc, (self, other))

        def reflected(self, other, ufunc=ufunc):
            return kernels.elementwise(ufunc, (other, self))

        def in_place(self, other, ufunc=ufunc):
            return kernels.elementwise(ufunc, (self, other), out=self)

        setattr(ndarray, f"__{operator}__", forward)
        setattr(ndarray, f"__r{operator}__", reflected)
        setattr(ndarray, f"__i{operator}__", in_place)
    for operator, ufunc in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}.items():
        def compare(self, other, ufunc=ufunc):
            return kernels.elementwise(ufunc, (self, other))

        setattr(ndarray, f"__{operator}__", compare)
    for operator, ufunc in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
        def unary(self, ufunc=ufunc):
            return kernels.elementwise(ufunc, (self,))

        setattr(ndarray, f"__{operator}__", unary)
    for operator, ufunc, filler in (("eq", "equal", False), ("ne", "not_equal", True)):
        def equality(self, other, ufunc=ufunc, filler=filler):
            if other is None:
                return functions.full(self.shape, filler, dtype=bool)  # elementwise, so always `is None`
            return kernels.elementwise(ufunc, (self, other))

        setattr(ndarray, f"__{operator}__", equality)
    ndarray.__matmul__ = lambda self, other: kernels.product("matmul", (self, other), np.matmul)
    ndarray.__rmatmul__ = lambda self, other: kernels.product("matmul", (other, self), np.matmul)


def _add_reductions():
    """x.sum(axis=…) and its like, with the arguments in the list and no others."""
    for name in ("sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "argmax", "argmin"):
        def method(self, *args, name=name, **kwargs):
            check_call(f"cupy.ndarray.{name}", (self, *args), kwargs)
            return functions.reduction(name, self, *args, **kwargs)

        setattr(ndarray, name, method)


# The array's methods are kernels, and kernels make arrays: one cycle, at the end, as in the package itself.
from tests.strict_cupy import functions, indexing, kernels  # noqa: E402

_add_operators()
_add_reductions()
