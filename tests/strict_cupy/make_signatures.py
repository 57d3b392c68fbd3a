"""Write cupy_signatures.txt: what the installed CuPy offers, and with which arguments. No GPU is needed.

    python -m venv cupy-venv && cupy-venv/bin/pip install cupy-cuda13x
    cupy-venv/bin/python tests/strict_cupy/make_signatures.py

The double reads the list, so that it offers no name and takes no argument that CuPy does not. Much of CuPy is Cython, which
`inspect` cannot look into; there the first line of the docstring holds the signature, put there by the compiler.
"""
import inspect
import re
from pathlib import Path

import cupy
import cupyx.profiler
import numpy

OF_PYTHON = ("__buffer__", "__release_buffer__")  # which Python adds from 3.12 on: the list is the same for each version

# (name in the list, the object, a test that says which of its names count)
PLACES = (
    ("cupy", cupy, lambda name: not name.startswith("_")),
    ("cupy.ndarray", cupy.ndarray,
     lambda name: not name.startswith("_") or (name.endswith("__") and name not in OF_PYTHON)),
    ("cupy.ufunc", cupy.ufunc, lambda name: not name.startswith("_")),
    ("cupy.cuda", cupy.cuda, lambda name: not name.startswith("_")),
    ("cupy.cuda.Device", cupy.cuda.Device, lambda name: not name.startswith("_") or name in ("__enter__", "__exit__")),
    ("cupy.cuda.runtime", cupy.cuda.runtime, lambda name: not name.startswith(("_", "cuda", "CUDA_"))),
    ("cupy.cuda.MemoryPool", cupy.cuda.MemoryPool, lambda name: not name.startswith("_")),
    ("cupy.lib.stride_tricks", cupy.lib.stride_tricks, lambda name: not name.startswith("_")),
    ("cupy.linalg", cupy.linalg, lambda name: not name.startswith("_")),
    ("cupy.random", cupy.random, lambda name: not name.startswith("_")),
    ("cupy.random.Generator", cupy.random.Generator, lambda name: not name.startswith("_")),
    ("cupyx.profiler", cupyx.profiler, lambda name: not name.startswith("_")),
)
CYTHON_TYPE = re.compile(r"^(?:[A-Za-z_][\w.]*\s+)+(?=[A-Za-z_*])")  # "Py_ssize_t axis1" and "tuple max_version=None"


def signature_of(name, value) -> str:
    """"(a, axis=None)"; "" for what cannot be called; "(*args, **kwargs)" where nothing is known."""
    if not callable(value):
        return ""
    from_docstring = _from_docstring(name, value)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return from_docstring or "(*args, **kwargs)"
    if from_docstring and any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return from_docstring  # einsum(subscripts, *operands, dtype=None, optimize=False)
    parameters = [p.replace(annotation=p.empty, default=_plain(p.default)) for p in signature.parameters.values()]
    return str(inspect.Signature(parameters))


def _from_docstring(name, value):
    first = (getattr(value, "__doc__", None) or "").strip().split("\n")[0].replace("\\*", "*")
    found = re.match(rf"(?:[\w.]*\.)?{re.escape(name)}\((.*)\)(?:\s*->.*)?$", first)
    if not found or "**" in found[1]:
        return ""
    words = [CYTHON_TYPE.sub("", word.strip()) for word in found[1].split(",")]
    return f"({', '.join(words)})"


class _Default:
    """A default whose text says what it is: a dtype's name, or "..." where it is an object of CuPy's."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def _plain(default):
    if default is inspect.Parameter.empty or default is None or isinstance(default, (bool, int, float, str)):
        return default
    return _Default(default.__name__ if isinstance(default, type) else "...")


def lines():
    """One line for each name, sorted within its place: "cupy.sum(a, axis=None, dtype=None, out=None, keepdims=False)"."""
    yield f"# CuPy {cupy.__version__} with NumPy {numpy.__version__}. Made by make_signatures.py."
    for place, owner, counts in PLACES:
        for name in sorted(name for name in dir(owner) if counts(name)):
            value = getattr(owner, name, None)
            if not inspect.ismodule(value):
                kind = "ufunc " if isinstance(value, cupy.ufunc) else ""
                yield f"{kind}{place}.{name}{signature_of(name, value)}"


if __name__ == "__main__":
    path = Path(__file__).with_name("cupy_signatures.txt")
    path.write_text("\n".join(lines()) + "\n", encoding="utf-8")
    print(f"{path}: {len(path.read_text('utf-8').splitlines())} lines")
