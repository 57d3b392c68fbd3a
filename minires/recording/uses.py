"""Uses: a module may run several times before one backward pass, and each time is a use with a column of its own.

The uses of a module are counted in each backward pass, among those that the pass reaches, in forward order: the columns of
`cell` are "cell", "cell@2", "cell@3". So a net that is called twice before one `backward()` has two uses of each module, and
one that is called in a loop with a `backward()` each has one.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from minires.arrays.backend import Array
from minires.engine.tensor import Tensor
from minires.recording.branches import Graph
from minires.recording.column import Column

Place: TypeAlias = tuple[str, int]  # (name of a module, which of its uses); use 0 is a layer of which no gradient is wanted

PLAIN = (type(None), bool, int, float, complex, str, bytes)  # what may stand beside tensors in an output


class Use:
    """One run of a module's forward, or of a shortcut-add that has a column of its own."""

    def __init__(self, name: str, time: tuple[int, int] | None, parts: tuple[str, ...] = ("",),
                 frozen: tuple[str, ...] = ()) -> None:
        self.name = name  # of the module, dotted
        self.time = time  # later uses have larger ones; None where a checkpoint ran its part again, so that nobody knows
        self.parts = parts  # of the output that have a column: "" for all of it together, "[0]" for one of its tensors
        self.activations: list[tuple[str, str, Array]] = []  # (quantity, part, number) of its output, where they are wanted
        self.frozen = frozen  # the layers, of which no gradient is wanted, that ran between the use before and this one


def in_forward_order(arrived: list[Use]) -> list[Use]:
    """The uses that a backward pass reached, each once, the first to run first.

    Args:
        arrived: in the order in which their gradients arrived. Reversed, it is an order in which they may have run, and
            the only one known where a checkpoint ran its part again, in the backward pass.
    """
    uses = list(dict.fromkeys(reversed(arrived)))
    for use in uses:
        if use.time is None:
            return uses
    return sorted(uses, key=attrgetter("time"))


def numbers_of(uses: list[Use]) -> dict[Use, int]:
    """{use: which one of its module it is}, from 1, of uses in forward order."""
    counts: dict[str, int] = {}
    numbers = {}
    for use in uses:
        counts[use.name] = numbers[use] = counts.get(use.name, 0) + 1
    return numbers


class Layout:
    """The columns of a record, in forward order, and how deep each of them is."""

    def __init__(self, columns: list[Column], names: Iterable[str] = ()) -> None:
        self._columns = columns  # the record's own list
        self._taken = set(names)  # those of the net's modules, for whom "a@2" may be a name
        self._kinds: dict[str, tuple[type, bool, bool]] = {}  # of a module: its class; layer? counts as depth?
        self._parts: dict[Place, list[str]] = {}  # those that have a column, of each use; in forward order
        self._depth = 0
        self._known: set[tuple[Place, tuple[str, ...]]] = set()  # what has its columns already
        self._before: dict[Place, dict[Place, None]] = {}  # what each use was computed from, as far as passes told

    def know(self, name: str, kind: type, is_layer: bool, counts: bool) -> None:
        """What there is to know of a module before its first column is made."""
        self._kinds[name] = kind, is_layer, counts

    def has(self, name: str) -> bool:
        """Has this module a column?"""
        return (name, 1) in self._parts

    def append(self, use: Use) -> None:
        """Make the columns of a module's first use, behind all others."""
        if self._parts.pop((use.name, 0), None) is not None:  # it is not frozen any more
            self._write()
        for place in [(name, 0) for name in use.frozen]:
            if place not in self._parts:
                self._add(place, ())
                self._put(place)
        self._add((use.name, 1), use.parts)
        self._put((use.name, 1))

    def knows_before(self, name: str, use: int) -> bool:
        """Is it known what this use of a module was computed from?"""
        return (name, use) in self._before

    def follow(self, uses: list[Use], numbers: Mapping[Use, int],
               before: Mapping[Use, Iterable[Use]] | None = None) -> None:
        """Make the columns that are missing of the uses of a pass, each behind that of the use before it.

        Args:
            uses: in forward order.
            numbers: which one of its module each use is.
            before: what each use was computed from; None where nobody looked.
        """
        is_new = before is not None and self._note_before(numbers, before)
        for use in uses:
            if ((use.name, numbers[use]), use.parts) not in self._known:
                break
        else:
            if is_new:
                self._write()
            return
        last: Place | None = None
        followers: dict[Place | None, list[Place]] = {}
        for use in uses:
            place = use.name, numbers[use]
            if place not in self._parts:
                self._parts.pop((use.name, 0), None)  # it is not frozen
                frozen = [(name, -numbers[use]) for name in use.frozen]
                followers.setdefault(last, []).extend([*frozen, place])
                self._parts.update({layer: [] for layer in frozen})
            else:
                last = place
            self._add(place, use.parts)
        new = {place for places in followers.values() for place in places}
        order = [place for known in [None, *self._parts] if known not in new
                 for place in [*([] if known is None else [known]), *followers.get(known, [])]]
        self._parts = {place: self._parts[place] for place in order}
        self._write()

    def _note_before(self, numbers, before):
        """Note what uses were computed from; is anything of it new?"""
        is_new = False
        for use, others in before.items():
            place = use.name, numbers[use]
            known = self._before.setdefault(place, {})
            new = {(other.name, numbers[other]): None for other in others if other is not use}
            is_new = is_new or not known.keys() >= new.keys() or not known
            known.update(new)
        return is_new

    def _add(self, place, parts):
        known = self._parts.setdefault(place, [])
        known += [part for part in parts if part not in known]
        self._known.add((place, parts))

    def _write(self):
        """Write all columns anew."""
        self._columns.clear()
        order = [place for place in self._parts if place[1] > 0]
        counts = {place: int(self._kinds[place[0]][2]) for place in order}
        own = {place: int(self._kinds[place[0]][1]) for place in order}
        graph = Graph(order, self._before)
        depth = graph.depths(counts, own, self._lead(graph))
        after = self._after(graph)
        for place in order:
            self._put_columns(place, depth[place], after.get(place, {}))
        self._depth = max(depth.values(), default=0)

    def _lead(self, graph):
        """How many layers without a gradient come before each use and after what it follows."""
        all_before: dict[int, int] = {}  # which use of their modules these layers are -> how many there are so far
        since_last, lead = 0, {}
        for name, use in self._parts:
            if use > 0:
                if not self.knows_before(name, use):
                    lead[name, use] = since_last
                elif not graph.before[name, use]:
                    lead[name, use] = all_before.get(use, 0)
                since_last = 0
            elif self._kinds[name][2]:
                number = max(1, -use)
                all_before[number] = all_before.get(number, 0) + 1
                since_last += 1
        return lead

    def _after(self, graph):
        """{use: {part: names of the columns right before that one}}; parts of outputs are joined to equal parts alone."""
        after: dict[Place, dict[str, tuple[str, ...]]] = {}
        for part in dict.fromkeys(part for place in graph.order for part in self._parts[place]) if self._before else ():
            near = graph.nearest_before([place for place in graph.order if part in self._parts[place]])
            for place, others in near.items():
                after.setdefault(place, {})[part] = tuple([self.column_name(name, use, part) for name, use in others])
        return after

    def _put(self, place):
        """Write the columns of the next use, until it is known what it follows; then `_write` writes them anew."""
        _, is_layer, counts = self._kinds[place[0]]
        self._depth += counts
        self._put_columns(place, self._depth, {})

    def _put_columns(self, place, depth, after):
        name, use = place
        kind, is_layer, _ = self._kinds[name]
        for part in self._parts[place]:
            self._columns.append(Column(self.column_name(name, use, part), kind, is_layer and not part, depth, name, use,
                                        part, after.get(part)))

    def column_name(self, name: str, use: int, part: str = "") -> str:
        """The name of a column: "cell", "cell[0]", "cell@2[0]"."""
        if use == 1 and not part:
            return name
        mark = "@"
        while f"{name}{mark}{use}{part}" in self._taken or f"{name}{mark if use > 1 else ''}{part}" in self._taken:
            mark += "@"
        return f"{name}{mark}{use}{part}" if use > 1 or len(mark) > 1 else f"{name}{part}"


class Output(NamedTuple):
    """A tensor in what a module was given or returned."""

    part: str  # "" where it is all of it; else where it stands: "[0]", '["key"]', '["key"][1]'
    tensor: Any  # a `Tensor`, or one of PyTorch


def tensors_of(value: Any, part: str = "", kind: type = Tensor) -> tuple[list[Output], list[Any]]:
    """(the tensors in tuples, lists and dicts, nested or not, in order; what is there besides and may hold tensors).

    `kind` is the class of the tensors that are meant.
    """
    if isinstance(value, kind):
        return [Output(part, value)], []
    if isinstance(value, Mapping):
        below = [(f'["{key}"]' if isinstance(key, str) else f"[{key!r}]", x) for key, x in value.items()]
    elif isinstance(value, (tuple, list)):
        below = [(f"[{i}]", x) for i, x in enumerate(value)]
    else:
        return [], [] if part and (isinstance(value, PLAIN) or hasattr(value, "__array__")) else [value]
    found = [tensors_of(x, part + place, kind) for place, x in below]
    return [output for outputs, _ in found for output in outputs], [x for _, others in found for x in others]
