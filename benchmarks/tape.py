"""What the tape itself costs: a chain of negations of one number, beside the same calls of NumPy without a tape."""
import numpy as np

from benchmarks.case import Case
from benchmarks.ops import OpArrays, check_outcomes
from benchmarks.peers.engine import TAPE_LENGTH
from benchmarks.timing import Candidate

NUMPY = "NumPy alone"  # the rival that has no tape


def chain_arrays():
    """`TAPE_LENGTH` negations, so that forward and backward are one NumPy call each an operation."""
    return OpArrays("chain", {"x": np.ones((1, 1, 1, 1), np.float32)}, np.ones((1, 1, 1, 1), np.float32))


def negate_with_numpy(array):
    """The chain's forward, or its backward, which is the same."""
    for _ in range(TAPE_LENGTH):
        array = -array
    return array


def build(engines, threads) -> dict:
    """{engine: Candidate}, and the rival without a tape."""
    arrays = chain_arrays()
    trials = {name: engine.trial(arrays) for name, engine in engines.items()}
    check_outcomes({name: trial.outcome() for name, trial in trials.items()})
    candidates = {name: Candidate({"forward": trial.forward, "backward": trial.backward}) for name, trial in trials.items()}
    x, dy = arrays.inputs["x"], arrays.dy
    candidates[NUMPY] = Candidate({"forward": lambda: negate_with_numpy(x), "backward": lambda: negate_with_numpy(dy)})
    return candidates


CASES = [Case("tape", f"chain of {TAPE_LENGTH} negations of one number", build, rounds=200, budget=2.0, quick=True,
              operations=TAPE_LENGTH)]
