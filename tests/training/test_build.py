"""A training from its settings: what the net sees, and which parts it is made of."""
import numpy as np
import pytest

import minires as mr
from minires.errors import ArgumentError, UnknownNameError
from minires.training.build import make_model, make_training
from minires.training.images import DATA
from minires.training.settings import Settings
from tests.tiny_images import TINY, N, tiny


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch):
    monkeypatch.setitem(DATA, "tiny", TINY)


def a_training(**changed):
    settings = Settings(**{"model": "resnet20", "data": "tiny", "steps": 6, "milestones": [3, 4], "row_every": 2} | changed)
    return make_training(settings, *tiny(None, "train"))


@pytest.mark.parametrize(("augment", "augmented"), [(None, True), (True, True), (False, False)])
def test_training_images_are_standardised_and_augmented_and_test_images_are_not(augment, augmented):
    training = a_training(augment=augment)
    images, _labels = tiny(None, "train")
    mean, std = images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3))
    expected = (images[:8] - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(training.prepare(images[:8], None), expected, rtol=1e-4, atol=1e-5)
    seen = training.prepare(images[:8], np.random.default_rng(0))
    assert np.allclose(seen, expected, rtol=1e-4, atol=1e-5) is not augmented
    assert (seen == 0).any() == augmented  # the border


def test_cifar10_is_augmented_as_in_the_paper_and_clothing_is_not():
    assert {name: images.augment for name, images in DATA.items() if name != "tiny"} == {
        "cifar10": True, "fashion-mnist": False, "fashion-mnist-sample": False}


def test_the_settings_reach_every_part():
    training = a_training(batch=16, lr=0.3, momentum=0.5, weight_decay=0.01, seed=7)
    assert (training.batches.batch_size, training.batches.seed, training.row_every, training.device) == (16, 7, 2, "cpu")
    optimizer = training.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.3, 0.5, 0.01)
    assert list(training.schedule.milestones) == [3, 4]
    assert training.step == 0
    assert len(training.test_data[1]) == N["test"]
    expected = mr.models.resnet20(seed=7)
    for name, parameter in training.model.named_parameters():
        np.testing.assert_array_equal(parameter.data, dict(expected.named_parameters())[name].data)


def test_a_net_has_the_channels_of_its_images():
    assert make_model("resnet20", 1, 0).conv1.weight.shape[1] == 1
    assert make_model("resnet18", 3, 0).fc.weight.shape[0] == 10
    with pytest.raises(ArgumentError, match="resnet18 is a net for colour images: train it with --data cifar10"):
        make_model("resnet18", 1, 0)
    with pytest.raises(UnknownNameError, match="unknown model 'resnet21'"):
        make_model("resnet21", 1, 0)
