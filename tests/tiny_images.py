"""Small photographs of noise, in place of a data set that would have to be read."""
import numpy as np

from minires.training.images import Images

N = {"train": 40, "test": 20}


def tiny(folder, split):
    """(images, labels) of a split, as a reader of files returns them."""
    generator = np.random.default_rng(len(split))
    return generator.integers(0, 256, (N[split], 3, 8, 8), dtype=np.uint8), np.arange(N[split]) % 10


TINY = Images(tiny, augment=True)
