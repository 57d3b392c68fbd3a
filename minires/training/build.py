"""A training from its settings: the net, the optimizer with its schedule, the batches and what is done to them."""
import numpy as np

from minires import data, models
from minires.errors import ArgumentError
from minires.models.resnet import ResNet
from minires.optim import SGD, MultiStepLR
from minires.training.images import DATA, read_images
from minires.training.loop import Training
from minires.training.settings import Settings


def make_training(settings: Settings, images: np.ndarray, labels: np.ndarray) -> Training:
    """The training that the settings describe, at its first step.

    Args:
        settings: of the run.
        images, labels: to train on, (N, C, H, W) and (N,), as `resolve` read them.

    Raises:
        UnknownNameError, ArgumentError: there is no such net for these images.
        FileError, DataError: the test images cannot be read.
    """
    mean, std = data.channel_mean_and_std(images)
    augment = DATA[settings.data].augment if settings.augment is None else settings.augment

    def prepare(batch: np.ndarray, generator: np.random.Generator | None) -> np.ndarray:
        """Standardise a batch of bytes, and augment it while training: afterwards, so that the border is the mean colour."""
        batch, _mean, _std = data.standardize(batch, mean, std)
        return data.shift_and_flip(batch, generator) if augment and generator is not None else batch

    model = make_model(settings.model, images.shape[1], settings.seed)
    optimizer = SGD(model.parameters(), settings.lr, settings.momentum, settings.weight_decay)
    batches = data.Batches(images, labels, settings.batch, settings.seed)
    schedule = MultiStepLR(optimizer, settings.milestones)
    test_data = read_images(settings.data, settings.data_dir, "test")
    return Training(model, optimizer, batches, schedule, prepare, test_data, settings.device, settings.row_every)


def make_model(name: str, channels: int, seed: int) -> ResNet:
    """The net of this name, for 10 classes of images with so many channels.

    Raises:
        UnknownNameError: there is no such net.
        ArgumentError: it is a net for colour images only.
    """
    if channels == 3:
        return models.make(name, num_classes=10, seed=seed)
    try:
        return models.make(name, num_classes=10, seed=seed, in_channels=channels)
    except ArgumentError as error:
        raise ArgumentError(f"{name} is a net for colour images: train it with --data cifar10, or take a net of the CIFAR "
                            "family, such as resnet20") from error
