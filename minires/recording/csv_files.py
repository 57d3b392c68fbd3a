"""A record as a CSV file in long form, a line a value, and back.

    pass,module,type,quantity,value,depth,role,use_of,use,part,after,lines
    0,conv2,Conv2d,output_grad_norm,0.25,2,layer,conv2,1,,conv1,640

The first five columns are the numbers; `value` is empty where nothing was recorded, and nan where a NaN was. The others say
of the module what plots and selections ask, the same on each of its lines: `role` is "layer" (its weight is a kernel or a
matrix) or "block" (a `models.Block`), or both, and the rest are the fields of a `Column`. `after` holds names with spaces
between them, quoted as for a shell where need be; "?" is what is not known. `lines` is the number of lines behind the head,
so that a file that was cut off is known by it; who leaves lines out on purpose leaves out this column too.

Of a record with histograms, `at_least` and `below` follow: the sizes of the gradients that a bin counts. They are empty on
the lines of all other quantities.
"""
from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minires.arguments import path_of, shown
from minires.errors import ArgumentError, DataError, file_errors
from minires.recording.column import Column, kind_named
from minires.recording.histogram_lines import BIN, COUNTS, Entry, entries_of, histograms_of
from minires.recording.numbers import ALL_QUANTITIES, Passes, check_numbers
from minires.text.files import write_csv

NUMBERS = ["pass", "module", "type", "quantity", "value"]
ABOUT = ["depth", "role", "use_of", "use", "part", "after"]
BINS = ["at_least", "below"]
ALWAYS_RECORDED = "output_grad_norm"  # in a file of 0.1.0, which wrote nan for all that was not recorded too

NOT_KNOWN = "?"  # a module of this name is quoted

REMEDY = "Write it anew with record.to_csv(path)"


def write(path: str | os.PathLike[str], columns: Iterable[Column], passes: Passes, quantities: Iterable[str]) -> None:
    """Write the numbers of these quantities, pass by pass, and in each pass column by column.

    Raises:
        DTypeError: `path` is neither a text nor a `pathlib.Path`.
        FileError: the file cannot be written.
    """
    columns, quantities = list(columns), list(quantities)
    names = [column.name for column in columns]
    tables = [(quantity, passes.values(quantity, names), passes.recorded(quantity, names)) for quantity in quantities]
    bins = [] if passes.histograms is None else entries_of(passes.histograms.edges)
    lines = len(passes) * len(columns) * (len(quantities) + len(bins))
    about = [[*_about(column), lines] for column in columns]
    rows = ([i, column.name, column.kind.__name__, entry.quantity, text, *about[j], *(entry[1:] if bins else ())]
            for i in range(len(passes)) for j, column in enumerate(columns)
            for entry, text in [*_norms(tables, i, j), *_counts(passes.histograms, bins, i, column.name)])
    write_csv(path, [*NUMBERS, *ABOUT, "lines", *(BINS if bins else ())], rows, "to_csv: cannot write")


def _norms(tables, i, j):
    """[(entry, text)] of the numbers of pass i and column j."""
    return [(Entry(quantity), repr(float(values[i, j])) if recorded[i, j] else "") for quantity, values, recorded in tables]


def _counts(histograms, bins, i, name):
    """[(entry, text)] of the counts of pass i and a column."""
    counts = histograms.of(i, name) if bins else None
    return [(entry, "" if counts is None else str(counts[place])) for place, entry in enumerate(bins)]


def _about(column):
    role = " ".join([word for word, holds in (("layer", column.is_layer), ("block", column.is_block)) if holds])
    return [column.depth, role, column.module_name, column.use, column.part,
            NOT_KNOWN if column.after is None else shlex.join(column.after)]


class Line(NamedTuple):
    """A line of the file."""

    number: int  # from 1
    pass_number: int
    column: Column
    entry: Entry
    value: float | None  # None where nothing was recorded
    lines: int | None  # how many there are; None where the file does not say


def read(path: str | os.PathLike[str]) -> tuple[list[Column], Passes]:
    """What `write` wrote. The lines may have been sorted or filtered, as long as each pass has the same ones.

    Raises:
        DTypeError: `path` is neither a text nor a `pathlib.Path`.
        FileError: the file cannot be read.
        DataError: it is no record, or damaged; the message names the line.
    """
    path = path_of("from_csv", path)
    with file_errors("from_csv: cannot read", path, "Give the path of a file that record.to_csv wrote"):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _broken(path, content[:error.start].count(b"\n") + 1, "it holds bytes that are no UTF-8 text") from error
    return _gathered(path, list(_lines(path, text)))


def _broken(path, number, what):
    return DataError(f"from_csv: {path}, line {number}: {what}. {REMEDY}")


def _lines(path: Path, text: str) -> Iterator[Line]:
    """The lines behind the head, checked one by one."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(reader, [])
        if head[:len(NUMBERS)] != NUMBERS:
            raise DataError(f"from_csv: {path} is no record of gradients: line 1 is {shown(','.join(head))}, expected "
                            f"{','.join(NUMBERS)},…: give a file that record.to_csv wrote")
        columns: dict[str, Column] = {}
        known: dict[tuple[str, ...], Column] = {}  # by the texts that say so: there are few, on many lines
        places = [i for i, title in enumerate(head) if title in ("module", "type", *ABOUT)]
        for texts in reader:
            if len(texts) != len(head):
                raise ArgumentError(f"it has {len(texts)} fields, expected {len(head)} as line 1 has")
            fields = dict(zip(head, texts, strict=True))
            about = tuple(texts[i] for i in places)
            if about not in known:
                known[about] = column = _column(fields)
                if columns.setdefault(column.name, column) != column:
                    raise ArgumentError(f"it says something else of {column.name!r} than the lines before")
            yield _line(reader.line_num, fields, known[about])
        if not text.endswith("\n"):
            raise ArgumentError("it has no end, as if the file was cut off")
    except (csv.Error, ArgumentError) as error:
        raise _broken(path, max(1, reader.line_num), error) from error


def _line(number, fields, column):
    entry = _entry(fields)
    pass_number = _parsed(fields, "pass", _whole, "the number of a pass, such as 0")
    lines = _parsed(fields, "lines", _whole, "the number of lines") if "lines" in fields else None
    return Line(number, pass_number, column, entry, _value(fields, entry.quantity), lines)


def _entry(fields):
    """Which number it is."""
    quantity = fields["quantity"]
    if quantity not in (*ALL_QUANTITIES, *COUNTS):
        raise ArgumentError(f"quantity is {shown(quantity)}, expected one of {', '.join((*ALL_QUANTITIES, *COUNTS))}")
    if quantity != BIN:
        return Entry(quantity)
    return Entry(quantity, *[_parsed({title: ""} | fields, title, float, "the size at an end of a bin") for title in BINS])


def _value(fields, quantity):
    """The number; None where nothing was recorded."""
    if fields["value"] == "":
        return None
    if quantity in COUNTS:
        return _parsed(fields, "value", _count, "a number of elements, such as 12")
    value = _parsed(fields, "value", float, "a number")
    if "depth" not in fields and np.isnan(value) and quantity != ALWAYS_RECORDED:
        return None
    check_numbers("value is", quantity, np.array([value]))
    return value


def _count(text):
    number = float(text)  # "12.0", as programs write who have read a file with empty values
    if not (number >= 0 and number.is_integer()):
        raise ValueError(text)
    return int(number)


def _column(fields):
    """The column that a line is of; from a file of 0.1.0, which knows no depth, without it."""
    name, kind = fields["module"], fields["type"]
    if "depth" not in fields:
        return Column(name, kind_named("it", kind), False, 0)
    roles = fields.get("role", "").split(" ")
    return Column(name, kind_named("it", kind, "block" in roles), "layer" in roles,
                  _parsed(fields, "depth", _whole, "a depth, such as 1"),
                  fields.get("use_of", ""), _parsed({"use": "1"} | fields, "use", _whole, "which use it is, such as 1"),
                  fields.get("part", ""), _parsed({"after": NOT_KNOWN} | fields, "after", _names, "names of modules"))


def _names(text):
    return None if text == NOT_KNOWN else tuple(shlex.split(text))


def _whole(text):
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _parsed(fields: dict[str, str], title: str, parse: Callable[[str], Any], expected: str) -> Any:
    """The field of this title as a number, or an error that says what it is."""
    try:
        return parse(fields[title])
    except ValueError as error:
        raise ArgumentError(f"{title} is {shown(fields[title])}, expected {expected}") from error


def _gathered(path: Path, lines: list[Line]) -> tuple[list[Column], Passes]:
    """The columns, in the order of the file, and the passes; each number once, and none missing in between."""
    columns: dict[str, Column] = {}
    entries: dict[Entry, None] = {}
    numbers: dict[int, dict[tuple[Entry, str], float | None]] = {}
    for line in lines:
        columns.setdefault(line.column.name, line.column)
        entries.setdefault(line.entry)
        row, key = numbers.setdefault(line.pass_number, {}), (line.entry, line.column.name)
        if key in row:
            raise _broken(path, line.number, f"the {_shown(line.entry)} of {key[1]!r} in pass {line.pass_number} stands "
                                             "there a second time")
        row[key] = line.value
    last = lines[-1].number if lines else 1
    if lines and lines[-1].lines not in (None, len(lines)):
        raise _broken(path, last, f"the file ends after {len(lines)} lines behind the head, and says that they are "
                                  f"{lines[-1].lines}")
    rows = [numbers.get(i, {}) for i in range(len(numbers))]
    for i, row in enumerate(rows):
        for entry, name in ((entry, name) for name in columns for entry in entries):
            if (entry, name) not in row:
                raise _broken(path, last, f"the file ends without the {_shown(entry)} of {name!r} in pass {i}")
    counted = [entry for entry in entries if entry.quantity in COUNTS]
    try:
        return list(columns.values()), _passes(rows, counted)
    except ArgumentError as error:
        raise _broken(path, last, error) from error


def _shown(entry):
    return entry.quantity if entry.at_least is None else f"{entry.quantity} from {entry.at_least:g} to {entry.below:g}"


def _passes(rows, counted):
    """The passes of these numbers, {(entry, column): number} of each; and the histograms of the entries `counted`."""
    passes, counts = Passes(), []
    for row in rows:
        recorded = {key: value for key, value in row.items() if value is not None}
        counts.append({key: recorded.pop(key) for key in list(recorded) if key[0].quantity in COUNTS})
        passes.add_row({(entry.quantity, name): value for (entry, name), value in recorded.items()})
    passes.histograms = histograms_of(counted, counts)
    return passes
