"""Timing rivals fairly: in one process, taking turns."""
import gc
import time
from dataclasses import dataclass

import numpy as np


@dataclass
class Candidate:
    """What one rival runs in each round.

    Attributes:
        stages: {name: function without arguments}, run and timed in this order: {"forward": …, "backward": …}.
        before: run before each round, untimed: what sets the rival's number of threads.
    """

    stages: dict
    before: object = None


def interleaved(candidates, rounds: int, least: int = 3, budget: float = float("inf"), warm_up: int = 1,
                clock=time.perf_counter) -> dict:
    """Seconds of each round of each candidate, which take turns so that a busy moment of the machine hits them alike.

    A candidate that has used up its budget sits out the rounds that remain, so a slow one does not hold up the others.

    Args:
        candidates: {name: Candidate}.
        rounds: how often each is timed, at most.
        least: how often each is timed even beyond its budget.
        budget: seconds that each may take in all, its warm-up included.
        warm_up: how often each runs untimed before the first round.
        clock: returns seconds.

    Returns:
        {name: {stage: array (rounds that it took part in,)}}.
    """
    seconds = {name: {stage: [] for stage in candidate.stages} for name, candidate in candidates.items()}
    spent = dict.fromkeys(candidates, 0.0)
    gc.collect()
    for i in range(-warm_up, rounds):
        for name, candidate in candidates.items():
            if i >= least and spent[name] >= budget:
                continue
            if candidate.before is not None:
                candidate.before()
            for stage, function in candidate.stages.items():
                start = clock()
                function()
                elapsed = clock() - start
                spent[name] += elapsed
                if i >= 0:
                    seconds[name][stage].append(elapsed)
    return {name: {stage: np.array(values) for stage, values in stages.items()} for name, stages in seconds.items()}


def ratio_of_minima(a, b) -> float:
    """The least of `a` over the least of `b`: what each does when nothing disturbs it."""
    return float(np.min(a) / np.min(b))


def ratio_of_medians(a, b) -> float:
    """The median of a[i] / b[i], over the rounds that both took part in: a busy moment slows neighbours alike."""
    shared = min(len(a), len(b))
    return float(np.median(np.asarray(a)[:shared] / np.asarray(b)[:shared]))
