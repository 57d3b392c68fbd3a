"""Curves of a short training: losses of each step, gradients of chosen ones."""
import functools

import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.course.brief_training import train_briefly

NET = functools.partial(models.cifar_net, 8, width=2, in_channels=1)


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((20, 1, 8, 8)).astype(np.float32)


@pytest.fixture
def labels():
    return np.arange(20) % 10


def curve(images, labels, **options):
    return train_briefly(NET, images, labels, **{"seed": 3, "steps": 5, "batch_size": 8, **options})


def initial_pass(images, labels):
    """(loss, ‖dL/dW‖ of each convolution) of the untrained net on the first batch."""
    model = NET(seed=3)
    x, y = next(iter(mr.data.Batches(images, labels, 8, seed=3)))
    loss = mr.ops.cross_entropy(model(mr.Tensor(x)), y)
    loss.backward()
    return loss.item(), [np.linalg.norm(w.grad) for w in model.parameters() if w.ndim == 4]


def test_a_curve_has_a_loss_for_each_step_and_runs_over_several_epochs(images, labels):
    losses = curve(images, labels).losses
    assert losses.shape == (5,)                                 # two batches of 8 in an epoch: the rest is dropped
    assert np.isfinite(losses).all()
    assert losses[0] == pytest.approx(initial_pass(images, labels)[0])


def test_the_seed_decides_everything(images, labels):
    np.testing.assert_array_equal(curve(images, labels).losses, curve(images, labels).losses)
    assert (curve(images, labels).losses != curve(images, labels, seed=4).losses).all()


def test_recorded_steps_have_a_row_each_with_the_gradients_before_the_update(images, labels):
    record = curve(images, labels, record_steps=(0, 3)).record
    assert len(record) == 2
    norms = record.select(nn.Conv2d).weight_grad_norm
    np.testing.assert_allclose(norms[0], initial_pass(images, labels)[1], rtol=1e-5)
    assert (norms[1] != norms[0]).all()
    assert curve(images, labels).record is None


def test_recording_changes_no_step(images, labels):
    np.testing.assert_array_equal(curve(images, labels, record_steps=range(5)).losses, curve(images, labels).losses)


def test_the_learning_rate_may_change_from_step_to_step(images, labels):
    still = curve(images, labels, lr=0.0).losses
    late = curve(images, labels, lr=[0, 0, 0.1, 0.1, 0.1]).losses
    np.testing.assert_array_equal(late[:3], still[:3])          # the first loss that an update changed is the fourth
    assert (late[3:] != still[3:]).all()


def test_the_last_steps_have_a_mean(images, labels):
    found = curve(images, labels)
    assert found.last(2) == pytest.approx((found.losses[3] + found.losses[4]) / 2)
