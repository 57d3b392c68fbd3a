"""What `minires train` says on the way."""
from __future__ import annotations

import sys
import time

from minires.text.terminal import duration, tell
from minires.training.loop import Row, Training


class Progress:
    """Lines on stderr: one for each test, and on a terminal one that counts the steps between them."""

    def __init__(self, training: Training, steps: int) -> None:
        self.training = training
        self.steps = steps
        self.is_terminal: bool = sys.stderr is not None and sys.stderr.isatty()
        self.start: float = time.perf_counter()
        self.first_step: int = training.step
        self.last: str = "" if not training.rows else _numbers(training.rows[-1])

    def show(self, row: Row | None) -> None:
        """Tell of the step that was made, and of the row that it ended, if it did."""
        if row is not None:
            self.last = _numbers(row)
        step = self.training.step
        elapsed = time.perf_counter() - self.start
        left = elapsed / (step - self.first_step) * (self.steps - step)
        line = f"step {step}/{self.steps}, {self.last}{duration(elapsed)} passed, {duration(left)} left"
        is_kept = row is not None and row.is_tested
        if self.is_terminal:
            tell(f"\r{line:<110}", sys.stderr, end="\n" if is_kept else "")
        elif is_kept:
            tell(line, sys.stderr)


def _numbers(row):
    test = f"test {row.test_loss:.3f} ({row.test_error:.1%} wrong), " if row.is_tested else ""
    return f"loss {row.train_loss:.3f} ({row.train_error:.1%} wrong), {test}"
