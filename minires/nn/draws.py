"""The numbers of random draws: each is another one, and the same again where a checkpoint runs its forward once more."""
import threading
from collections.abc import Iterator
from typing import Self


class _Running(threading.local):
    """The blocks that the code which now runs is inside of, in each thread."""

    def __init__(self) -> None:
        self.remembering: list[list[int]] = []  # of each checkpoint whose forward runs: the draws so far
        self.repeating: Iterator[int] | None = None  # while a forward runs again: those of the first time


_running = _Running()


def number_of_draw(next_number: int) -> int:
    """The number of the draw that a layer is about to make: `next_number`, or what it was when this forward ran first."""
    number = next_number if _running.repeating is None else next(_running.repeating, next_number)
    for draws in _running.remembering:
        draws.append(number)
    return number


class remembered_draws:
    """`with remembered_draws() as draws:` the list of the draws that are made inside."""

    def __init__(self) -> None:
        self.draws: list[int] = []

    def __enter__(self) -> list[int]:
        _running.remembering.append(self.draws)
        return self.draws

    def __exit__(self, *exception: object) -> None:
        _running.remembering = [each for each in _running.remembering if each is not self.draws]


class repeated_draws:
    """`with repeated_draws(draws):` the draws that are made inside are these, in order."""

    def __init__(self, draws: list[int]) -> None:
        self.draws = draws

    def __enter__(self) -> Self:
        self.outside = _running.repeating
        _running.repeating = iter(self.draws)
        return self

    def __exit__(self, *exception: object) -> None:
        _running.repeating = self.outside
