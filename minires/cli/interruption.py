"""Ctrl-C, a request to end, or a closed terminal, in the midst of a run: the step that is being made ends first."""
from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from minires.text.terminal import tell

# Ctrl-C; a request to end; the terminal was closed or the connection dropped, which Windows has no signal for
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopAfterStep:
    """A `with` block in which Ctrl-C, a request to end the process, or its terminal's end, lets the current step end first.

    A second Ctrl-C ends at once; the others may come twice, as a shell passes on what it gets. A process that was started
    to outlive its terminal, by nohup say, does so. `requested` says whether there was a first one.
    """

    def __init__(self) -> None:
        self.requested: bool = False
        self._outer: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopAfterStep:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for number in SIGNALS:
                if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    self._outer[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._outer.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not of Python's making

    def _note(self, number, frame):
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested = True
            tell("\nending after this step, with a checkpoint; press Ctrl-C again to end at once", sys.stderr)
