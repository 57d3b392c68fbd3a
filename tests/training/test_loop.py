"""The training loop: its steps against the same steps written out, its numbers, and runs that go on as if never stopped."""
import itertools
import math
import sys

import numpy as np
import pytest

import minires as mr
from minires import nn, optim
from minires.data import Batches, random_flip
from minires.errors import AnomalyError, ArgumentError, DeviceError, StateError
from minires.training.loop import AUGMENTATION, Answers, Row, Training, evaluate, train_step

N, BATCH = 70, 16  # five batches an epoch, the last of six


def images(seed=0, n=N):
    return np.random.default_rng(seed).standard_normal((n, 1, 8, 8)).astype(np.float32)


def labels(n=N):
    return np.arange(n) % 10


def net(seed=0):
    return mr.models.cifar_net(8, width=2, in_channels=1, seed=seed)


def prepare(batch, generator):
    return batch if generator is None else random_flip(batch, generator)


def a_training(seed=0, lr=0.1, **options):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    schedule = optim.MultiStepLR(optimizer, [4, 9])
    options = {"prepare": prepare, "test_data": (images(1, 30), labels(30)), "row_every": 3} | options
    return Training(model, optimizer, Batches(images(), labels(), BATCH, seed), schedule, **options)


def run(training, steps):
    return list(training.run(steps))


def states_differ(one, other):
    """The names under which two states differ, without the time that was taken."""
    assert set(one) == set(other)
    seconds = Row._fields.index("seconds")
    one, other = [state | {"rows": np.delete(state["rows"], seconds, axis=1), "seconds": 0} for state in (one, other)]
    return [name for name in one if not np.array_equal(one[name], other[name], equal_nan=name == "rows")]


# ---- the steps

def test_the_steps_are_those_written_out():
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = optim.MultiStepLR(optimizer, [4, 9])
    batches, step = Batches(images(), labels(), BATCH, 0), 0
    for _epoch in range(2):
        for x, y in batches:
            x = random_flip(x, np.random.default_rng([0, AUGMENTATION, step]))
            loss = mr.ops.cross_entropy(model(mr.Tensor(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
    ran = a_training()
    run(ran, 10)
    assert ran.optimizer.lr == optimizer.lr
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(ran.model.state_dict()[name], array, err_msg=name)


def test_each_example_is_seen_once_an_epoch_and_augmented_anew():
    seen = []

    def watch(batch, generator):
        seen.append((batch.copy(), generator.random()))
        return batch

    ran = a_training(prepare=watch, test_data=None)
    run(ran, 10)
    for epoch in (seen[:5], seen[5:]):
        examples = np.concatenate([batch for batch, _ in epoch])
        assert sorted(x.tobytes() for x in examples) == sorted(x.tobytes() for x in images())
    assert len({number for _, number in seen}) == 10  # each step has a generator of its own


def test_without_test_data_there_is_nothing_to_test_on():
    with pytest.raises(ArgumentError, match=r"no data to test on: make it with test_data=\(images, labels\)"):
        a_training(test_data=None).test()


def test_rows_come_after_so_many_steps_and_at_the_end_of_epoch_and_run():
    ran = a_training()
    rows = run(ran, 12)
    assert [row and row.step for row in rows] == [None, None, 3, None, 5, 6, None, None, 9, 10, None, 12]
    assert [row.step for row in ran.rows if not math.isnan(row.test_loss)] == [5, 10, 12]
    assert [row.epoch for row in ran.rows] == [row.step / 5 for row in ran.rows]
    assert [row.lr for row in ran.rows] == pytest.approx([0.1, 0.01, 0.01, 0.01, 0.001, 0.001])  # of the step itself
    assert all(before.seconds < after.seconds for before, after in zip(ran.rows, ran.rows[1:], strict=False))


def test_a_row_is_the_mean_over_the_examples_since_the_last():
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    batches = Batches(images(), labels(), BATCH, 0)
    total, wrong = 0.0, 0
    for x, y in batches:
        logits = model(mr.Tensor(x))
        loss = mr.ops.cross_entropy(logits, y)
        total += loss.item() * len(y)
        wrong += int((logits.numpy().argmax(axis=1) != y).sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model = net()
    ran = Training(model, optim.SGD(model.parameters(), lr=0.1), Batches(images(), labels(), BATCH, 0), row_every=100)
    row = run(ran, 5)[-1]
    assert row.train_loss == pytest.approx(total / N, rel=1e-6)
    assert row.train_error == wrong / N
    assert math.isnan(row.test_loss)


def test_a_step_returns_what_the_net_answered_before_it():
    model = net()
    expected = model(mr.Tensor(images()[:8])).numpy()
    model = net()
    logits, loss = train_step(model, optim.SGD(model.parameters(), lr=0.1), images()[:8], labels(8))
    np.testing.assert_array_equal(logits, expected)
    assert loss.shape == ()


# ---- testing

@pytest.mark.parametrize("batch_size", [1, 7, 70, 1000])
def test_evaluation_does_not_depend_on_the_size_of_its_batches(batch_size):
    model = net().eval()
    with mr.no_grad():
        logits = model(mr.Tensor(images()))
    expected = mr.ops.cross_entropy(logits, labels()).item(), np.mean(logits.numpy().argmax(axis=1) != labels())
    assert evaluate(model, images(), labels(), batch_size=batch_size) == pytest.approx(expected, rel=1e-5)


def test_evaluation_changes_nothing_and_leaves_the_mode():
    model = net()
    before = model.state_dict()
    evaluate(model, images(), labels())
    assert model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    evaluate(model.eval(), images(), labels())
    assert not model.training


def test_the_mode_is_left_after_an_error_too():
    model = net()
    with pytest.raises(mr.LabelError):
        evaluate(model, images(), labels() + 5)
    assert model.training


def test_answers_are_weighted_by_the_size_of_their_batches():
    answers = Answers()
    answers.add(np.eye(3)[[0, 1, 2]], np.float32(1.0), np.array([0, 1, 0]))
    answers.add(np.eye(3)[[2]], np.float32(5.0), np.array([0]))
    assert answers.means() == (2.0, 0.5)
    assert answers.means() == (2.0, 0.5)  # asked again


# ---- going on

@pytest.mark.parametrize("stop", [1, 3, 4, 5, 7, 10])
def test_a_run_that_was_saved_goes_on_bit_for_bit(tmp_path, stop):
    whole, first, second = a_training(seed=2), a_training(seed=2), a_training(seed=2)
    run(whole, 12)
    for _row in first.run(12):
        if first.step == stop:
            break
    mr.save(first.state_dict(), tmp_path / "state.npz")
    second.load_state_dict(mr.load(tmp_path / "state.npz"))
    assert second.step == stop
    run(second, 12)
    assert states_differ(whole.state_dict(), second.state_dict()) == []


def test_a_run_with_adam_dropout_and_a_warm_up_goes_on_bit_for_bit_too(tmp_path):
    def training():
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(images()[0].size, 10))
        nn.init.initialize_(model, nn.init.he_normal_, seed=0)
        groups = [{"params": model[2].weight}, {"params": model[2].bias, "lr": 0.1}]
        optimizer = optim.AdamW(groups, lr=0.01)
        schedule = optim.LinearWarmup(optimizer, 2, after=optim.CosineLR(optimizer, 9))
        return Training(model, optimizer, Batches(images(), labels(), BATCH, 0), schedule)

    whole, first, second = training(), training(), training()
    run(whole, 7)
    list(itertools.islice(first.run(7), 3))
    mr.save(first.state_dict(), tmp_path / "state.npz")
    second.load_state_dict(mr.load(tmp_path / "state.npz"))
    run(second, 7)
    assert states_differ(second.state_dict(), whole.state_dict()) == []
    assert whole.model[1].draws == 7
    with pytest.raises(StateError, match=r"draws\.1 is -1, expected a whole number"):
        second.load_state_dict(whole.state_dict() | {"draws.1": -1})


def test_what_decides_the_next_step_is_in_the_state():
    """Each part is left out in turn, and the runs must then differ: so the test above can fail."""
    whole, first = a_training(), a_training()
    run(whole, 12)
    for _row in first.run(12):
        if first.step == 7:
            break
    state = first.state_dict()
    changed = {"step": 6, "optimizer.velocity.conv1.weight": state["optimizer.velocity.conv1.weight"] * 0,
               "schedule.steps": 8, "answers.losses": state["answers.losses"] * 0,
               "model.bn1.running_mean": state["model.bn1.running_mean"] + 1, "optimizer.lr": 0.5}
    for name, value in changed.items():
        second = a_training()
        second.load_state_dict(state | {name: value})
        run(second, 12)
        assert states_differ(whole.state_dict(), second.state_dict()), name


def test_leaving_the_loop_and_entering_it_again_is_one_run():
    whole, parts = a_training(), a_training()
    run(whole, 12)
    for _ in range(12):
        next(iter(parts.run(12)))
    assert states_differ(whole.state_dict(), parts.state_dict()) == []


@pytest.mark.parametrize("broken", [{}, {"step": 3}, {"model.conv1.weight": np.zeros(2)}])
def test_what_is_no_state_of_a_training_is_refused(broken):
    with pytest.raises(StateError, match="no state of a training: it lacks"):
        a_training().load_state_dict(broken)


def test_a_state_of_another_net_is_refused():
    state = a_training().state_dict()
    model = mr.models.cifar_net(14, width=2, in_channels=1)
    other = Training(model, optim.SGD(model.parameters(), lr=0.1), Batches(images(), labels(), BATCH, 0))
    with pytest.raises(StateError, match="does not fit the ResNet"):
        other.load_state_dict(state)


# ---- when something goes wrong

def test_a_loss_that_is_not_finite_ends_the_run_with_a_hint():
    with np.errstate(all="ignore"), pytest.raises(AnomalyError, match=r"up to step \d+ is (nan|inf): try a lower learning"):
        run(a_training(lr=1e30), 12)


def test_a_device_that_cannot_be_used_is_an_error_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match="CuPy, which is not installed"):
        a_training(device="cuda")


# ---- on the strict double of CuPy: nothing here was run on a GPU

def test_a_run_on_cupy_follows_the_run_on_the_cpu_and_waits_only_for_its_rows():
    from tests.strict_cupy import installed, no_sync

    expected = a_training()
    run(expected, 6)
    with installed():
        ran = a_training(device="cuda:1")
        steps = ran.run(6)
        next(steps)  # compiles, in the real world
        with no_sync():
            next(steps)
        rows = list(steps)
        assert {parameter.device for parameter in ran.model.parameters()} == {"cuda:1"}
        assert [row and row.step for row in rows] == [3, None, 5, 6]
        for row, other in zip(ran.rows, expected.rows, strict=True):
            assert row[:-1] == pytest.approx(other[:-1], rel=1e-3, nan_ok=True)


def test_a_state_saved_on_cupy_goes_on_on_the_cpu_and_back(tmp_path):
    from tests.strict_cupy import installed

    whole = a_training()
    run(whole, 9)
    with installed():
        first = a_training(device="cuda")
        run(first, 4)
        mr.save(first.state_dict(), tmp_path / "1.npz")
    second = a_training()
    second.load_state_dict(mr.load(tmp_path / "1.npz"))
    run(second, 7)
    assert {parameter.device for parameter in second.model.parameters()} == {"cpu"}
    mr.save(second.state_dict(), tmp_path / "2.npz")
    with installed():
        third = a_training(device="cuda:1")
        third.load_state_dict(mr.load(tmp_path / "2.npz"))
        run(third, 9)
        assert {mr.arrays.backend.device_of(velocity) for velocity in third.optimizer.velocities} == {"cuda:1"}
        state = third.state_dict()
    for name, array in whole.model.state_dict().items():
        np.testing.assert_allclose(state[f"model.{name}"], array, rtol=0.02, atol=1e-3, err_msg=name)
