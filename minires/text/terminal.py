"""What a terminal gets: a line that counts long work, and text that it can encode."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def accept_any_text() -> None:
    """From now on, print "?" for what the standard output cannot encode: Windows writes files in a code page without ᵀ."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # a notebook's has none, and takes any text
        reconfigure(errors="replace")


def progress(items: Iterable[Item], label: str) -> Iterator[Item]:
    """The items, with a line that counts them on a terminal; silent in a file, a test or a notebook."""
    items = list(items)
    shown = sys.stderr is not None and sys.stderr.isatty()
    start = time.perf_counter()
    for i, item in enumerate(items):
        if shown:
            elapsed = time.perf_counter() - start
            print(f"\r{label}: {i}/{len(items)}, {elapsed:.0f} s ", end="", file=sys.stderr, flush=True)
        yield item
    if shown:
        seconds = time.perf_counter() - start
        print(f"\r{label}: {len(items)}/{len(items)}, {seconds:.0f} s ", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text with "?" for what the standard output cannot encode: Windows writes files in a code page without ᵀ."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def duration(seconds: float) -> str:
    """12 s, 3 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
