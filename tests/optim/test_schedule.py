"""Schedules of the learning rate: what they make of it after each step, in every group, and their state."""
import math

import numpy as np
import pytest

import minires as mr
from minires import optim
from minires.errors import ArgumentError, DTypeError, StateError
from tests.optim.test_sgd import parameters


def rates(milestones, steps, **options):
    """The learning rate after each step of the schedule."""
    optimizer = optim.SGD(parameters(), lr=1.0)
    schedule = optim.MultiStepLR(optimizer, milestones, **options)
    result = []
    for _ in range(steps):
        schedule.step()
        result.append(optimizer.lr)
    return result


def test_the_rate_drops_after_each_milestone():
    np.testing.assert_allclose(rates([2, 4], 5), [1, 0.1, 0.1, 0.01, 0.01])
    np.testing.assert_allclose(rates([4, 2], 5, gamma=0.5), [1, 0.5, 0.5, 0.25, 0.25])


def test_a_milestone_that_is_listed_twice_counts_twice():
    np.testing.assert_allclose(rates([2, 2], 3, gamma=0.5), [1, 0.25, 0.25])


def test_without_milestones_the_rate_stays():
    assert rates([], 3) == [1, 1, 1]


def test_a_rate_that_is_set_by_hand_is_scaled_from_there():
    optimizer = optim.SGD(parameters(), lr=1.0)
    schedule = optim.MultiStepLR(optimizer, [2])
    schedule.step()
    optimizer.lr = 5
    schedule.step()
    assert optimizer.lr == 0.5


def test_a_schedule_that_is_saved_and_loaded_goes_on():
    optimizer = optim.SGD(parameters(), lr=1.0)
    first = optim.MultiStepLR(optimizer, [2, 4])
    for _ in range(3):
        first.step()
    assert first.state_dict() == {"steps": 3}
    second = optim.MultiStepLR(optimizer, [2, 4])
    second.load_state_dict(first.state_dict())
    second.step()
    assert second.steps == 4
    np.testing.assert_allclose(optimizer.lr, 0.01)


@pytest.mark.parametrize("milestone", [0, -1, 1.5, True])
def test_a_milestone_is_a_whole_number_of_at_least_1(milestone):
    with pytest.raises(ArgumentError, match=f"a milestone is {milestone!r}, expected an integer of at least 1"):
        optim.MultiStepLR(optim.SGD(parameters(), lr=1.0), [3, milestone])


def test_milestones_are_a_list_and_the_optimizer_comes_first():
    with pytest.raises(ArgumentError, match=r"milestones is 3, expected a list: \[3\]"):
        optim.MultiStepLR(optim.SGD(parameters(), lr=1.0), 3)
    with pytest.raises(DTypeError, match="got a list, expected an optimizer"):
        optim.MultiStepLR(parameters(), [3])


@pytest.mark.parametrize("gamma", [-1, None, float("nan")])
def test_gamma_is_not_negative(gamma):
    with pytest.raises(ArgumentError, match=f"^MultiStepLR: gamma is {gamma!r}"):
        optim.MultiStepLR(optim.SGD(parameters(), lr=1.0), [3], gamma=gamma)


def test_a_schedule_needs_its_count_to_go_on():
    schedule = optim.MultiStepLR(optim.SGD(parameters(), lr=1.0), [3])
    with pytest.raises(StateError, match="MultiStepLR needs 'steps', got lr"):
        schedule.load_state_dict({"lr": 1})
    with pytest.raises(StateError, match="MultiStepLR needs 'steps', got nothing"):
        schedule.load_state_dict({})


@pytest.mark.parametrize("steps", [np.zeros(2, int), 1.5, -1, "3", None])
def test_a_count_of_steps_that_is_none_is_refused(steps):
    schedule = optim.MultiStepLR(optim.SGD(parameters(), lr=1.0), [3])
    with pytest.raises(StateError, match="expected one whole number of at least 0"):
        schedule.load_state_dict({"steps": steps})
    assert schedule.steps == 0


def cosine(steps):
    """What `CosineLR` is in these tests, after so many steps."""
    return 0.2 + 0.8 * (1 + math.cos(math.pi * steps / 4)) / 2


def rates_of(schedule, steps):
    """The learning rates of all groups after each step of a schedule."""
    found = []
    for _ in range(steps):
        schedule.step()
        found.append([group["lr"] for group in schedule.optimizer.param_groups])
    return np.array(found)


def two_groups(lr=1.0):
    weight, bias = parameters()
    return optim.SGD([{"params": weight}, {"params": [bias], "lr": lr / 10}], lr=lr)


def test_every_group_has_its_own_rate_on_the_way():
    np.testing.assert_allclose(rates_of(optim.MultiStepLR(two_groups(), [2], 0.5), 3), [[1, 0.1], [0.5, 0.05], [0.5, 0.05]])
    np.testing.assert_allclose(rates_of(optim.CosineLR(two_groups(), 2), 2), [[0.5, 0.05], [0, 0]], atol=1e-16)
    warmup = optim.LinearWarmup(two_groups(), 2, 0.5)
    assert [group["lr"] for group in warmup.optimizer.param_groups] == [0.5, 0.05]
    np.testing.assert_allclose(rates_of(warmup, 3), [[0.75, 0.075], [1, 0.1], [1, 0.1]])


def test_the_rate_falls_along_a_cosine_and_rises_again_after_it():
    schedule = optim.CosineLR(optim.SGD(parameters(), lr=1.0), 4, eta_min=0.2)
    np.testing.assert_allclose(rates_of(schedule, 6)[:, 0], [cosine(steps) for steps in range(1, 7)])
    np.testing.assert_allclose(cosine(4), 0.2)


def test_after_the_warm_up_the_other_schedule_counts_from_its_first_step():
    optimizer = optim.SGD(parameters(), lr=1.0)
    schedule = optim.LinearWarmup(optimizer, 2, 0.1, after=optim.CosineLR(optimizer, 4, eta_min=0.2))
    assert optimizer.lr == 0.1
    np.testing.assert_allclose(rates_of(schedule, 5)[:, 0], [0.55, 1, cosine(1), cosine(2), cosine(3)])


@pytest.mark.parametrize("saved_after", [1, 3])
def test_a_warm_up_and_what_follows_go_on_from_a_file_bit_for_bit(saved_after, tmp_path):
    def make(lr):
        optimizer = two_groups(lr)
        return optim.LinearWarmup(optimizer, 2, 0.1, after=optim.CosineLR(optimizer, 4))

    whole, first, second = make(1.0), make(1.0), make(0.5)
    rates_of(first, saved_after)
    mr.save(first.state_dict(), tmp_path / "schedule.npz")
    mr.save(first.optimizer.state_dict(), tmp_path / "optimizer.npz")
    second.load_state_dict(mr.load(tmp_path / "schedule.npz"))
    second.optimizer.load_state_dict(mr.load(tmp_path / "optimizer.npz"))
    np.testing.assert_array_equal(rates_of(second, 3), rates_of(whole, saved_after + 3)[saved_after:])


def test_a_state_that_lacks_what_follows_is_refused_and_nothing_is_changed():
    optimizer = two_groups()
    schedule = optim.LinearWarmup(optimizer, 2, after=optim.CosineLR(optimizer, 4))
    for wrong, said in (({"steps": 1, "base_lrs": [9.0, 9]}, "CosineLR needs 'steps', got nothing"),
                        ({"steps": 1, "base_lrs": [1.0]}, "LinearWarmup: base_lrs is .*expected 2 numbers"),
                        ({"steps": 1}, "LinearWarmup needs 'base_lrs', got steps")):
        with pytest.raises(StateError, match=said):
            schedule.load_state_dict(wrong)
        assert (schedule.steps, schedule.base_lrs) == (0, [1.0, 0.1])


@pytest.mark.parametrize(("make", "error", "said"), [
    (lambda optimizer: optim.CosineLR(optimizer, 0), ArgumentError, "CosineLR: T_max is 0, expected an integer"),
    (lambda optimizer: optim.CosineLR(optimizer, 5, -1), ArgumentError, "CosineLR: eta_min is -1"),
    (lambda optimizer: optim.LinearWarmup(optimizer, 1.5), ArgumentError, "LinearWarmup: total_steps is 1.5"),
    (lambda optimizer: optim.LinearWarmup(optimizer, 5, 1.5), ArgumentError, "start_factor is 1.5, expected a number"),
    (lambda optimizer: optim.LinearWarmup(optimizer, 5, after=5), DTypeError, "after is 5, expected a schedule of the same"),
    (lambda optimizer: optim.LinearWarmup(optimizer, 5, after=optim.CosineLR(two_groups(), 5)), DTypeError, "of the same"),
])
def test_arguments_that_do_not_fit_are_named(make, error, said):
    with pytest.raises(error, match=said):
        make(two_groups())


def test_what_is_shown_are_the_settings():
    optimizer = optim.SGD(parameters(), lr=0.1)
    assert repr(optim.MultiStepLR(optimizer, [2, 3])) == "MultiStepLR(milestones=[2, 3], gamma=0.1, steps=0, lr=0.1)"
    assert repr(optim.LinearWarmup(optimizer, 5, after=optim.CosineLR(optimizer, 9))) == (
        "LinearWarmup(total_steps=5, start_factor=0.1, after=CosineLR(T_max=9, eta_min=0, steps=0, lr=0.01), steps=0, "
        "lr=0.01)")
