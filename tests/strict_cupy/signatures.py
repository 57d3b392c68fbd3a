"""The stored list of CuPy's names and arguments, and the check that a call keeps to it."""
import ast
import functools
import inspect
from pathlib import Path

LIST = Path(__file__).with_name("cupy_signatures.txt")
VERSION = LIST.read_text(encoding="utf-8").split()[2]  # "# CuPy 14.2.0 with …"


@functools.cache
def signatures() -> dict:
    """{"cupy.sum": "(a, axis=None, dtype=None, out=None, keepdims=False)", …}; "" for what is not called."""
    found = {}
    for line in LIST.read_text(encoding="utf-8").splitlines()[1:]:
        name, parenthesis, rest = line.removeprefix("ufunc ").partition("(")
        found[name] = parenthesis + rest
    return found


@functools.cache
def ufuncs() -> frozenset:
    """The names of CuPy's ufuncs: {"add", "exp", …}."""
    return frozenset(line.partition("(")[0].removeprefix("ufunc cupy.")
                     for line in LIST.read_text(encoding="utf-8").splitlines() if line.startswith("ufunc "))


@functools.cache
def signature(name) -> inspect.Signature:
    """The signature of "cupy.sum", without the defaults' values: which arguments it takes, and which may be left out."""
    arguments = ast.parse(f"def f{signatures()[name]}: pass").body[0].args
    P = inspect.Parameter
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = len(positional) - len(arguments.defaults)
    parameters = [P(a.arg, P.POSITIONAL_ONLY if i < len(arguments.posonlyargs) else P.POSITIONAL_OR_KEYWORD,
                    default=P.empty if i < needed else None) for i, a in enumerate(positional)]
    if arguments.vararg:
        parameters.append(P(arguments.vararg.arg, P.VAR_POSITIONAL))
    parameters += [P(a.arg, P.KEYWORD_ONLY, default=P.empty if default is None else None)
                   for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        parameters.append(P(arguments.kwarg.arg, P.VAR_KEYWORD))
    return inspect.Signature(parameters)


def check_call(name, args, kwargs):
    """Raise the TypeError that CuPy would where it takes no such arguments."""
    if name.removeprefix("cupy.") in ufuncs():
        wrong = {key: value for key, value in kwargs.items() if key not in ("out", "dtype", "casting")}
        if wrong:
            raise TypeError(f"Wrong arguments {wrong}")  # of x1, x2: they are positional
    try:
        signature(name).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name.rpartition('.')[2]}() {error}") from None


def missing(name):
    """The error for a name that the double does not have."""
    if name in signatures() or any(other.startswith(f"{name}.") for other in signatures()):
        return NotImplementedError(f"{name} is in CuPy {VERSION}, but nothing in minires has needed it so far: "
                                   "add it to tests/strict_cupy")
    owner, _, attribute = name.rpartition(".")
    return AttributeError(f"{'type object' if owner == 'cupy.ndarray' else 'module'} {owner!r} has no attribute "
                          f"{attribute!r}")
