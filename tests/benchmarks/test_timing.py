"""Taking turns, on a clock that the test sets."""
import numpy as np
import pytest

from benchmarks.timing import Candidate, interleaved, ratio_of_medians, ratio_of_minima


class FakeClock:
    """A clock that only moves when a candidate takes its time."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def candidate(self, name, *seconds, before=None):
        """A Candidate whose i-th run takes seconds[i]; the last one counts for all that follow."""
        runs = []

        def run():
            self.now += seconds[min(len(runs), len(seconds) - 1)]
            runs.append(name)
            self.calls.append(name)

        return Candidate({"step": run}, before)


def test_candidates_take_turns_and_the_warm_up_is_not_counted():
    clock = FakeClock()
    seconds = interleaved({"a": clock.candidate("a", 9, 1, 2, 3), "b": clock.candidate("b", 9, 4, 5, 6)}, 3, clock=clock)
    assert clock.calls == ["a", "b"] * 4
    assert seconds["a"]["step"].tolist() == [1, 2, 3]
    assert seconds["b"]["step"].tolist() == [4, 5, 6]


def test_stages_run_in_order_and_are_timed_apart():
    clock = FakeClock()
    forward, backward = clock.candidate("forward", 1).stages["step"], clock.candidate("backward", 2).stages["step"]
    seconds = interleaved({"a": Candidate({"forward": forward, "backward": backward})}, 2, warm_up=0, clock=clock)
    assert clock.calls == ["forward", "backward"] * 2
    assert seconds["a"]["forward"].tolist() == [1, 1]
    assert seconds["a"]["backward"].tolist() == [2, 2]


def test_what_runs_before_a_turn_is_not_timed():
    clock = FakeClock()
    seconds = interleaved({"a": clock.candidate("a", 1, before=clock.candidate("before", 100).stages["step"])}, 2,
                          clock=clock)
    assert clock.calls == ["before", "a"] * 3
    assert seconds["a"]["step"].tolist() == [1, 1]


def test_a_slow_candidate_sits_out_when_its_budget_is_spent_and_the_others_go_on():
    clock = FakeClock()
    candidates = {"fast": clock.candidate("fast", 1), "slow": clock.candidate("slow", 10)}
    seconds = interleaved(candidates, 8, least=2, budget=35, warm_up=1, clock=clock)
    assert len(seconds["fast"]["step"]) == 8
    assert len(seconds["slow"]["step"]) == 3  # 10 s of warm-up and 30 s of rounds: the third began at 30 of 35 s


def test_the_least_rounds_are_run_beyond_the_budget():
    clock = FakeClock()
    seconds = interleaved({"slow": clock.candidate("slow", 10)}, 8, least=4, budget=5, clock=clock)
    assert len(seconds["slow"]["step"]) == 4


def test_an_interruption_is_not_swallowed():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interleaved({"a": Candidate({"step": interrupt})}, 3)


def test_the_ratio_of_minima_does_not_see_busy_moments():
    assert ratio_of_minima([9.0, 1.0, 5.0], [4.0, 7.0]) == 0.25


def test_the_ratio_of_medians_is_of_rounds_that_both_took_part_in():
    ours = np.array([2.0, 20.0, 3.0, 100.0])
    theirs = np.array([1.0, 10.0, 1.0])  # a busy second round slowed both
    assert ratio_of_medians(ours, theirs) == 2.0
    assert ratio_of_medians(theirs, ours) == 0.5
