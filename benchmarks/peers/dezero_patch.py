"""DeZero 0.0.13 on NumPy 2: it was written for NumPy 1.x, and two things changed since. Its own files stay as they are."""
import functools
import importlib

import numpy as np


@functools.cache
def import_dezero():
    """The package `dezero`, with both changes made good.

    1. It reads `np.int`, which NumPy 1.24 removed, while it is imported; so the name is there meanwhile.
    2. It turns Python numbers into arrays without dimensions, of int64 or float64. NumPy 1 let such an array take the
       precision of the array beside it; NumPy 2 makes the result float64 (NEP 50), and batch norm's gradients with it.
       So a Python number becomes float32, which leaves float32 and float64 arrays what they are.
    """
    had_int = "int" in vars(np)
    if not had_int:
        setattr(np, "int", int)  # noqa: B010  (ruff mends `np.int` itself)
    try:
        dezero = importlib.import_module("dezero")
    finally:
        if not had_int:
            delattr(np, "int")
    dezero.core.as_array = as_array
    return dezero


def as_array(x, array_module=np):
    """`dezero.core.as_array`, but float32 for Python numbers."""
    if type(x) in (int, float):
        return array_module.asarray(x, dtype=np.float32)
    return array_module.asarray(x) if np.isscalar(x) else x
