"""What a terminal gets: a line that counts long work, and text that it can encode."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

Item = TypeVar("Item")

GONE = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF)  # a pipe without a reader; a terminal that was closed


def accept_any_text() -> None:
    """From now on, print "?" for what the standard output cannot encode: Windows writes files in a code page without ᵀ."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # a notebook's has none, and takes any text
        reconfigure(errors="replace")


def tell(text: str, stream: TextIO | None = None, end: str = "\n") -> None:
    """Print, to the standard output where `stream` is None; work goes on where nobody can read it any more.

    A terminal that was closed, or a pipe whose reader has gone, gets nothing from then on.
    """
    stream = sys.stdout if stream is None else stream
    if stream is None:  # a program without a console has none
        return
    try:
        print(text, end=end, file=stream, flush=True)
    except (ValueError, RuntimeError):  # closed by the program; a signal's message in the midst of another
        pass
    except OSError as error:
        if error.errno in GONE:
            _discard_from_now_on(stream)


def _discard_from_now_on(stream):
    """What waits in the stream's buffer, too: Python would fail to write it at the end of the program."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


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
