"""A training step of minires beside the same step in PyTorch: forward, backward, SGD with momentum and weight decay."""
import time

import numpy as np
import torch

import minires as mr
from benchmarks.timing import interleaved
from tests.parity.torch_nets import CifarNet

# name: (options of cifar_net, image size, batch size, rounds: more where the machine is noisy)
STEPS = {
    "ResNet-20, batch 128, 3 x 32 x 32": ({"depth": 20}, 32, 128, 30),
    "ResNet-20, batch 32, 3 x 32 x 32": ({"depth": 20}, 32, 32, 20),
    "plain-20, batch 128, 3 x 32 x 32": ({"depth": 20, "residual": False}, 32, 128, 10),
    "lesson net: ResNet-20, widths 8/16/32, batch 64, 14 x 14": ({"depth": 20, "width": 8, "in_channels": 1}, 14, 64, 30),
    "lesson net: ResNet-56, widths 4/8/16, batch 64, 14 x 14": ({"depth": 56, "width": 4, "in_channels": 1}, 14, 64, 20),
}
SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}


class MiniresStep:
    """One step in minires."""

    def __init__(self, options, images, labels):
        self.model = mr.models.cifar_net(**options)
        self.optimizer = mr.optim.SGD(self.model.parameters(), **SGD)
        self.images, self.labels = mr.Tensor(images), labels

    def __call__(self):
        loss = mr.ops.cross_entropy(self.model(self.images), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class TorchStep:
    """The same step in PyTorch, from the same weights."""

    def __init__(self, options, images, labels, state, memory_format=torch.contiguous_format):
        self.model = CifarNet(**options)
        self.model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()}, strict=False)
        self.model.to(memory_format=memory_format)
        self.optimizer = torch.optim.SGD(self.model.parameters(), **SGD)
        self.images = torch.from_numpy(images).to(memory_format=memory_format)
        self.labels = torch.from_numpy(labels)

    def __call__(self):
        loss = torch.nn.functional.cross_entropy(self.model(self.images), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def rivals(options, image_size, batch_size) -> dict:
    """{name: step}, all from the same weights on the same random images."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((batch_size, options.get("in_channels", 3), image_size, image_size))
    images = images.astype(np.float32)
    labels = generator.integers(0, 10, batch_size)
    ours = MiniresStep(options, images, labels)
    state = ours.model.state_dict()
    return {"minires": ours,
            "PyTorch": TorchStep(options, images, labels, state),
            "PyTorch, channels last": TorchStep(options, images, labels, state, torch.channels_last)}


def check_that_they_compute_the_same(steps):
    """Raise where the first step's loss differs: a race between different computations would mean nothing."""
    losses = {name: step() for name, step in steps.items()}
    if max(losses.values()) - min(losses.values()) > 1e-3:
        raise AssertionError(f"the rivals compute different losses: {losses}")


def measure(names=None):
    """Yield (name, {rival: seconds (rounds,)}) of each step in STEPS, or of those named."""
    for name in names or STEPS:
        options, image_size, batch_size, rounds = STEPS[name]
        steps = rivals(options, image_size, batch_size)
        check_that_they_compute_the_same(steps)
        yield name, interleaved(steps, rounds)


def import_seconds() -> float:
    """The least time of five fresh processes that import minires, less that of an empty one."""
    import subprocess
    import sys

    def least(code):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    return least("import minires") - least("pass")
