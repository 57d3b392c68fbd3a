"""The double as modules, `cupy` and those below it, with every call checked against the list of CuPy's arguments."""
import types

import numpy as np

from tests.strict_cupy import array, functions, kernels, machine
from tests.strict_cupy.indexing import add_at
from tests.strict_cupy.signatures import VERSION, check_call, missing, signatures, ufuncs

REDUCTIONS = ("sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "argmax", "argmin")
FUNCTIONS = ("allclose", "arange", "array", "array_equal", "asarray", "ascontiguousarray", "asnumpy", "broadcast_to", "clip",
             "concatenate", "dot", "einsum", "empty", "empty_like", "full", "get_default_memory_pool", "matmul",
             "nan_to_num", "ndim", "ones", "ones_like", "pad", "reshape", "result_type", "save", "shape", "stack",
             "take", "tensordot", "transpose", "where", "zeros", "zeros_like")
CONSTANTS = ("pi", "e", "inf", "nan", "newaxis", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
             "uint8", "uint32", "uint64", "bool_", "dtype", "finfo", "iinfo", "generic")


class Function:
    """A function of the double: it takes what CuPy's takes."""

    def __init__(self, name, run):
        self.name = name  # "cupy.sum"
        self.run = run

    def __call__(self, *args, **kwargs):
        check_call(self.name, args, kwargs)
        return self.run(*args, **kwargs)

    def __repr__(self):
        return f"<function {self.name} of the strict double>"


class UFunc(Function):
    """A ufunc of the double, with the methods that CuPy's have."""

    def __init__(self, short_name):
        super().__init__(f"cupy.{short_name}", None)
        self.short_name = short_name

    def __call__(self, *args, **kwargs):
        check_call(self.name, args, kwargs)
        return kernels.elementwise(self.short_name, args, **kwargs)

    def at(self, a, indices, b=None):
        """a[indices] += b, where an index may come several times."""
        if self.short_name != "add":
            raise NotImplementedError(f"`cupy_{self.short_name}.at` is not supported yet")
        add_at(a, indices, b)

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        """Σ or Π; CuPy has no others."""
        names = {"add": "sum", "multiply": "prod"}
        if self.short_name not in names:
            raise NotImplementedError(f"`cupy_{self.short_name}.reduce` is not supported yet")
        return kernels.reduce(names[self.short_name], array, axis, dtype, out, keepdims)


class Module(types.ModuleType):
    """A module of the double: a name that CuPy lacks is an AttributeError, one that only the double lacks says so."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise missing(f"{self.__name__}.{name}")


def make_module(name, contents):
    """A module that holds `contents`, each of which must be in the list."""
    module = Module(name)
    for short_name, value in contents.items():
        full_name = f"{name}.{short_name}"
        if full_name not in signatures() and not isinstance(value, types.ModuleType):
            raise AssertionError(f"{full_name} is not in CuPy {VERSION}: the double must not have it")
        is_function = isinstance(value, types.FunctionType)
        setattr(module, short_name, Function(full_name, value) if is_function else value)
    return module


class Reduction(Function):
    """`cupy.sum` and its like."""

    def __call__(self, a, *args, **kwargs):
        check_call(self.name, (a, *args), kwargs)
        return functions.reduction(self.name.removeprefix("cupy."), a, *args, **kwargs)


runtime = make_module("cupy.cuda.runtime", machine.RUNTIME)
cuda = make_module("cupy.cuda", {"Device": machine.Device, "Stream": machine.Stream, "MemoryPool": machine.MemoryPool,
                                 "is_available": lambda: True, "runtime": runtime,
                                 "get_current_stream": lambda device_id=-1: machine.Stream()})
stride_tricks = make_module("cupy.lib.stride_tricks", {"as_strided": functions.as_strided,
                                                       "sliding_window_view": functions.sliding_window_view})
lib = make_module("cupy.lib", {"stride_tricks": stride_tricks})
cupy = make_module("cupy", {
    "ndarray": array.ndarray, "cuda": cuda, "lib": lib,
    **{name: getattr(functions, name) for name in FUNCTIONS},
    **{name: getattr(np, name) for name in CONSTANTS},
    **{name: UFunc(name) for name in ufuncs() if isinstance(getattr(np, name, None), np.ufunc)},
    **{name: Reduction(f"cupy.{name}", None) for name in REDUCTIONS},
})
cupy.__version__ = VERSION
cupy.abs = cupy.absolute

MODULES = {module.__name__: module for module in (cupy, cuda, runtime, lib, stride_tricks)}
