"""The settings of a run: resolved once, from what is given, from the run that goes on and from the number of images."""
import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from minires.errors import ArgumentError, DeviceError, FileError
from minires.training.images import DATA, Images
from minires.training.settings import DEFAULTS, Settings, resolve
from tests.strict_cupy import installed

N = {"train": 41, "test": 20}

# what the checkpoint of a run of an earlier minires holds
EARLIER = ('{"data": "tiny", "data_dir": "data", "batch": 8, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0001, '
           '"augment": null, "milestones": [6, 9], "seed": 3, "device": "cpu", "steps": 12, "row_every": 1, '
           '"model": "resnet20"}')


@pytest.fixture(autouse=True)
def reads(monkeypatch):
    """The splits that were read so far."""
    found = []

    def read(folder, split):
        found.append((folder, split))
        return np.zeros((N[split], 3, 8, 8), np.uint8), np.arange(N[split])

    monkeypatch.setitem(DATA, "tiny", Images(read, augment=True))
    return found


def settings(earlier=None, **given):
    if earlier is None:
        given = {"model": "resnet20", "data": "tiny", "batch": 8} | given
    return resolve(given, "out", earlier)[0]


def test_what_is_not_given_has_the_recipe_of_the_paper():
    found = settings(steps=100)
    assert found == Settings(**DEFAULTS | {"model": "resnet20", "data": "tiny", "batch": 8, "milestones": [50, 75],
                                           "steps": 100, "row_every": 2})
    assert (found.lr, found.momentum, found.weight_decay, found.seed, found.device) == (0.1, 0.9, 1e-4, 0, "cpu")
    assert DEFAULTS["batch"] == 128


@pytest.mark.parametrize(("given", "steps"), [({}, 60), ({"epochs": 2}, 12), ({"epochs": 0.4}, 2), ({"epochs": 0.01}, 1),
                                              ({"steps": 7}, 7), ({"epochs": 1, "batch": 41}, 1)])
def test_the_length_follows_from_the_number_of_images(given, steps):
    assert settings(**given).steps == steps


@pytest.mark.parametrize(("steps", "milestones", "row_every"), [
    (1, [], 1), (2, [1], 1), (3, [1, 2], 1), (400, [200, 300], 8), (64000, [32000, 48000], 20)])
def test_milestones_and_rows_follow_from_the_length(steps, milestones, row_every):
    found = settings(steps=steps)
    assert (found.milestones, found.row_every) == (milestones, row_every)


def test_milestones_that_are_given_stay():
    assert settings(steps=100, milestones=[3]).milestones == [3]


def test_the_training_images_are_read_once_and_come_with_the_settings(reads):
    _settings, (images, labels) = resolve({"model": "resnet20", "data": "tiny", "data_dir": "there", "steps": 1}, "out")
    assert reads == [("there", "train")]
    assert images.shape == (41, 3, 8, 8)
    np.testing.assert_array_equal(labels, np.arange(41))


# ---- a run that goes on

def test_a_run_goes_on_with_the_settings_of_its_checkpoint():
    earlier = Settings.from_json(EARLIER)
    assert asdict(earlier) == json.loads(EARLIER)
    assert settings(earlier, model="resnet20") == earlier
    assert Settings.from_json(earlier.to_json()) == earlier


@pytest.mark.parametrize(("given", "changed"), [({"steps": 20}, {"steps": 20, "milestones": [10, 15]}),
                                                ({"epochs": 3}, {"steps": 18, "milestones": [9, 13]}),
                                                ({"steps": 20, "milestones": [6, 15]}, {"steps": 20, "milestones": [6, 15]}),
                                                ({"milestones": [6]}, {"milestones": [6]}),
                                                ({"data_dir": "there"}, {"data_dir": "there"}),
                                                ({"lr": 0.05, "milestones": [6, 9]}, {})])
def test_a_run_may_become_longer_and_its_images_may_have_moved(given, changed):
    assert asdict(settings(Settings.from_json(EARLIER), **given)) == json.loads(EARLIER) | changed


@pytest.mark.parametrize(("given", "said"), [
    ({"lr": 0.1}, "has lr 0.05, and got 0.1"), ({"augment": True}, "has augment None, and got True"),
    ({"model": "plain20"}, "has model resnet20, and got plain20")])
def test_what_contradicts_the_run_is_refused_before_an_image_is_read(reads, given, said):
    with pytest.raises(ArgumentError, match=f"^--resume: the run in out {said}"):
        settings(Settings.from_json(EARLIER), **given)
    assert reads == []


def test_milestones_that_were_asked_for_stay_in_a_longer_run():
    earlier = Settings.from_json(EARLIER.replace("[6, 9]", "[6, 10]"))
    assert settings(earlier, steps=20).milestones == [6, 10]


@pytest.mark.parametrize(("step", "lr"), [(0, 0.05), (5, 0.05), (6, 0.005), (8, 0.005), (9, 0.0005), (12, 0.0005)])
def test_the_rate_after_a_step_is_that_of_the_schedule(step, lr):
    assert Settings.from_json(EARLIER).lr_after(step) == pytest.approx(lr)


def test_a_setting_that_an_earlier_version_did_not_know_has_its_default():
    shorter = {name: value for name, value in json.loads(EARLIER).items() if name not in ("augment", "momentum")}
    assert Settings.from_json(json.dumps(shorter)) == Settings.from_json(EARLIER)


@pytest.mark.parametrize("changed", [{"steps": 3.5}, {"steps": 10**20}, {"steps": True}, {"batch": 0}, {"lr": "0.1"},
                                     {"lr": -1}, {"lr": math.nan}, {"momentum": None}, {"milestones": 6},
                                     {"milestones": [0]}, {"milestones": ["6"]}, {"augment": 1}, {"model": 20},
                                     {"seed": -1}, {"row_every": 0}, {"device": None}, {"later": 1}])
def test_settings_of_odd_content_are_refused(changed):
    with pytest.raises(ValueError, match=next(iter(changed))):
        Settings.from_json(json.dumps(json.loads(EARLIER) | changed))


@pytest.mark.parametrize("epochs", [1e308, 1e13, math.inf])
def test_more_steps_than_can_be_counted_are_an_error(epochs):
    with pytest.raises(ArgumentError, match="give fewer"):
        settings(epochs=epochs)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"model": "resnet20"}', EARLIER.replace("momentum", "speed")])
def test_other_text_is_not_settings(text):
    with pytest.raises((ValueError, TypeError)):
        Settings.from_json(text)


# ---- devices and images

def test_a_device_stands_there_in_full():
    with installed():
        assert settings(device="cuda").device == "cuda:0"


def test_a_device_that_cannot_be_used_is_told_before_an_image_is_read(reads):
    with pytest.raises(DeviceError, match="unknown device 'gpu'"):
        settings(device="gpu")
    assert reads == []


def test_images_that_are_missing_name_the_option_for_them(tmp_path):
    with pytest.raises(FileError, match=r"get the four .* minires train looks in --data-dir, which is "):
        settings(data="fashion-mnist", data_dir=str(tmp_path))
