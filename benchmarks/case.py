"""`Case`: one row of the results, and how it is measured."""
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.timing import interleaved


@dataclass(frozen=True)
class Case:
    """One computation that several rivals run.

    Attributes:
        part: which part of the suite it belongs to: "steps", "tape", "ops", "startup".
        name: what is computed, on which shapes.
        build: (engines, threads) -> {rival: Candidate}, minires first; it raises where two rivals compute different things.
        rounds: how often each rival is timed, at most.
        budget: seconds that each rival may take in all.
        quick: does `--quick` run it?
        least: how often each is timed even where that takes longer than the budget.
        warm_up: how often each runs untimed before that.
        operations: how many operations one run holds; 1 except for the tape, whose times are divided by it.
    """

    part: str
    name: str
    build: Callable
    rounds: int = 30
    budget: float = 5.0
    quick: bool = False
    least: int = 3
    warm_up: int = 1
    operations: int = 1

    def measure(self, engines, threads: int, quick: bool = False) -> dict:
        """{rival: {stage: array of seconds}}; with `quick`, of two or three rounds."""
        candidates = self.build(engines, threads)
        if quick:
            return interleaved(candidates, min(3, self.rounds), least=min(2, self.least), budget=0.5, warm_up=self.warm_up)
        return interleaved(candidates, self.rounds, self.least, self.budget, self.warm_up)
