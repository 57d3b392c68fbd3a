"""Checks of arguments, one each for everybody: numbers, flags, names, dtypes, paths, and what must be of some class.

Each gives the argument as the caller needs it, or raises an error that names its owner (a layer, a function), the argument,
what was given and what was expected.
"""
import difflib
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from minires.errors import ArgumentError, DTypeError, MiniresError, StateError, UnknownNameError

IntOrPair: TypeAlias = int | Sequence[int]  # the same for rows and columns, or (vertical, horizontal)
Instance = TypeVar("Instance")

SHOWN = 80  # characters of a value in an error
FINITE = sys.float_info.max  # what is larger is infinite, or an integer that no float can hold


def shown(value: Any) -> str:
    """The `repr` of what was given, in one line; cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN - 1]}…"


# ---- numbers


def is_whole_number(value: Any, smallest: float) -> bool:
    """Is this an integer of Python or NumPy, no bool, and at least `smallest`? Any is at least `-math.inf`."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= smallest


def whole_number(owner: str, argument: str, value: Any, smallest: int = 1) -> int:
    """`value` as an int, or an ArgumentError that names its owner, a layer say, and the argument."""
    if type(value) is int and value >= smallest:
        return value  # as nearly always, without a further call
    if not is_whole_number(value, smallest):
        raise ArgumentError(f"{owner}: {argument} is {shown(value)}, expected an integer of at least {smallest}")
    return int(value)


def pair(owner: str, argument: str, value: Any, smallest: int = 1) -> tuple[int, int]:
    """An integer n as (n, n), a pair (vertical, horizontal) as it is; checked as in `whole_number`."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) == 2:
        vertical, horizontal = values
        if type(vertical) is type(horizontal) is int and vertical >= smallest and horizontal >= smallest:
            return vertical, horizontal  # as nearly always, without a further call
        if is_whole_number(vertical, smallest) and is_whole_number(horizontal, smallest):
            return int(vertical), int(horizontal)
    raise ArgumentError(f"{owner}: {argument} is {shown(value)}, expected an integer of at least {smallest}, or a pair "
                        "(vertical, horizontal) of them")


def number(owner: str, argument: str, value: Any, smallest: float = 0.0, largest: float = FINITE) -> float:
    """`value` as a float from `smallest` (0: not negative) to `largest`, or an ArgumentError.

    NaN is refused, and so is infinity, where `largest` does not admit it.
    """
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        given = float(value) if is_number else math.nan
    except OverflowError:  # of an integer of more than 308 digits, which is no infinity either
        given = math.nan
    if not smallest <= given <= largest or (largest == FINITE and given == -math.inf):
        raise ArgumentError(f"{owner}: {argument} is {shown(value)}, expected {_range_in_words(smallest, largest)}")
    return given


def _range_in_words(smallest, largest):
    """"a finite number that is not negative", and the like."""
    if largest < FINITE:
        return f"a number from {smallest:g} to {largest:g}"
    kind = "a finite number" if largest == FINITE else "a number"
    if smallest > -math.inf:
        return f"{kind} that is not negative" if smallest == 0 else f"{kind} of at least {smallest:g}"
    return kind if largest == FINITE else f"{kind} that is not NaN"


def shape_of(owner: str, argument: str, value: Any, example: str = "(1, 3, 32, 32), batch included") -> tuple[int, ...]:
    """A shape of positive lengths, or an ArgumentError that gives an example; a bare integer is a shape of one axis."""
    shape = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not shape or not all(is_whole_number(n, 1) for n in shape):
        raise ArgumentError(f"{owner}: {argument} is {shown(value)}, expected positive integers such as {example}")
    return tuple([int(n) for n in shape])


def flag(owner: str, argument: str, value: Any) -> bool:
    """`value` as a bool, or an ArgumentError.

    True and False of Python and NumPy pass, and the integers 1 and 0, which mean the same and nothing else. Whatever else
    has a truth in Python (None, a text, a list) is refused: "no" would be true.
    """
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
        return bool(value)
    raise ArgumentError(f"{owner}: {argument} is {shown(value)}, expected True or False")


# ---- names and texts


def is_one_of(value: Any, known: Collection[str]) -> bool:
    """Is this a text, and one of the known ones? What cannot be hashed or compared is not."""
    return isinstance(value, str) and value in known


def known_name(owner: str, argument: str, value: Any, known: Collection[str]) -> str:
    """`value`, which is one of the known names, or an UnknownNameError that lists them.

    Where `known` is a dict of texts, these stand behind the names: {"A": "zero padding", …}.
    """
    if is_one_of(value, known):
        return value
    texts = known if isinstance(known, Mapping) else {}
    listed = ", ".join(f"{name} ({texts[name]})" if isinstance(texts.get(name), str) else name for name in known)
    hint = nearest(value, known) if isinstance(value, str) else ""
    raise UnknownNameError(f"{owner}: unknown {argument} {shown(value)}: known are {listed}{'.' if hint else ''}{hint}")


def nearest(name: object, known: Iterable[str]) -> str:
    """" Did you mean 'resnet20'?" for the end of an error, or nothing where no name is near.

    Of names that differ in the number at their end alone, the one of the nearest number is: 'resnet21' is near 'resnet20'.
    """
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    family, number = _family_and_number(str(name))
    family_members = [each for each in known if number is not None and _family_and_number(each)[0] == family]
    if number is not None and family_members:
        near = [min(family_members, key=lambda each: abs((_family_and_number(each)[1] or 0) - number))]
    return f" Did you mean {near[0]!r}?" if near else ""


def attribute_error(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error of a module that is asked for a name which it has not: the nearest one, and the page that lists all."""
    by_letters = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), by_letters, n=1)
    hint = f": did you mean {by_letters[near[0]]}?" if near else "."
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint} docs/what_there_is.md lists what there is")


def _family_and_number(name):
    """"resnet20" as ("resnet", 20); None where no number is at the end, or one too long to mean anything."""
    family = name.rstrip("0123456789")
    digits = name[len(family):]
    return family, int(digits) if 0 < len(digits) < 10 else None


def text(owner: str, argument: str, value: Any) -> str:
    """`value`, which is a text, or an ArgumentError."""
    if not isinstance(value, str):
        raise ArgumentError(f"{owner}: {argument} is {shown(value)}, expected a text")
    return value


def path_of(owner: str, path: Any) -> Path:
    """A path that a file or folder can have, from a text or an `os.PathLike`.

    Integers are refused: to `open`, they are files that the process has opened already, 1 its standard output.

    Raises:
        DTypeError: it is neither.
        ArgumentError: it holds what no path can.
    """
    content = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(content, str):
        raise DTypeError(f"{owner}: the path is {shown(path)}, expected a text or a pathlib.Path")
    try:
        is_possible = b"\0" not in os.fsencode(content)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise ArgumentError(f"{owner}: the path is {shown(path)}, which holds a character that no path can have")
    return Path(content)


# ---- what must be of some class


def instance(owner: str, argument: str, value: Any, kind: type[Instance], expected: str) -> Instance:
    """`value`, which is of the class `kind`, or a DTypeError; `expected` says what is wanted, and where it is from."""
    if not isinstance(value, kind):
        raise DTypeError(f"{owner}: {argument} is {shown(value)}, expected {expected}")
    return value


def no_tensor(owner: str, expected: str, value: Any) -> DTypeError:
    """The error that this value is no tensor, and what to do."""
    several = "; of several tensors give one, as in y[0]" if isinstance(value, (tuple, list, Mapping)) else ""
    return DTypeError(f"{owner}: expected {expected}, got {type(value).__name__}: wrap arrays in mr.Tensor(…){several}")


def random_generator(owner: str, value: Any) -> np.random.Generator:
    """`value`, which is a generator of NumPy's, or a DTypeError."""
    return instance(owner, "generator", value, np.random.Generator, "a np.random.Generator: np.random.default_rng(seed)")


def given_or_new_generator(owner: str, generator: np.random.Generator | None) -> np.random.Generator:
    """The generator, or a new one that nothing seeds where it is None; else a DTypeError."""
    return np.random.default_rng() if generator is None else random_generator(owner, generator)


def function(owner: str, argument: str, value: Any, expected: str = "a function") -> Callable[..., Any]:
    """`value`, which can be called, or a DTypeError. An error that its own call raises is the caller's."""
    if not callable(value):
        raise DTypeError(f"{owner}: {argument} is {shown(value)}, expected {expected}")
    return value


def floating_dtype(owner: str, dtype: Any) -> np.dtype[Any]:
    """float32 or float64, from whatever names it ("float64", float, np.float64), or a DTypeError.

    None is refused, which NumPy takes for float64.
    """
    try:
        given = np.dtype(dtype) if isinstance(dtype, (str, type, np.dtype)) else None
    except (TypeError, ValueError, SyntaxError):  # NumPy's, of a text that is no dtype
        given = None
    if given not in (np.float32, np.float64):
        raise DTypeError(f"{owner}: expected np.float32 or np.float64, got {shown(dtype) if given is None else given}")
    return given


def list_of(owner: str, argument: str, values: Any, kinds: type | tuple[type, ...], expected: str,
            error: type[MiniresError] = DTypeError) -> list[Any]:
    """A list (or a tuple, an array, an iterator) of such values as a list, or an error of the class `error`.

    A text is refused, which is a list of its letters, and so are sets and dicts, which have no order, or values besides.
    """
    is_list = isinstance(values, Iterable) and not isinstance(values, (str, bytes, Set, Mapping))
    try:
        listed = list(values) if is_list else None
    except TypeError:  # a 0-d array says that it can be iterated
        listed = None
    if listed is None:
        hint = f": [{shown(values)}]" if isinstance(values, kinds) else ""  # one value in place of a list of one
        raise error(f"{owner}: {argument} is {shown(values)}, expected {expected}{hint}")
    for value in listed:
        if not isinstance(value, kinds):
            raise error(f"{owner}: {argument} holds {shown(value)}, expected {expected}")
    return listed


def whole_numbers(owner: str, argument: str, values: Any, one: str) -> list[int]:
    """A list of positive integers, or an ArgumentError; `one` is what one of them is called."""
    return [whole_number(owner, one, value) for value in list_of(owner, argument, values, object, "a list", ArgumentError)]


def array_of(owner: str, argument: str, value: Any) -> np.ndarray:
    """`np.asarray(value)`, or a DTypeError where it is a list of lists of different lengths, say."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DTypeError(f"{owner}: {argument} is {shown(value)}, of which no array can be made: {error}") from error


def state_of(state_dict: Any) -> Mapping[str, Any]:
    """`state_dict`, which is a dict whose keys are texts, or a StateError."""
    if not isinstance(state_dict, Mapping):
        raise StateError(f"load_state_dict: expected a dict of arrays, got {type(state_dict).__name__}: a file is read by "
                         "mr.load(path)")
    for key in state_dict:
        if not isinstance(key, str):
            raise StateError(f"load_state_dict: expected names for keys, got {shown(key)}")
    return state_dict
