"""A training step beside the same step in other engines: forward, backward, SGD with momentum and weight decay."""
import functools

import numpy as np

import minires as mr
from benchmarks.case import Case
from benchmarks.timing import Candidate

SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
DEZERO_FLOAT32 = "DeZero, float32"  # int64 labels, as its data sets have, make its loss's gradient and all others float64
TOLERANCE = 1e-3  # of two losses near ln 10


class MiniresStep:
    """One step in minires."""

    def __init__(self, family, options, images, labels):
        self.model = getattr(mr.models, family)(**options)
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

    def __init__(self, family, options, images, labels, state, memory_format):
        import torch

        self.model = torch_net(family, options)
        state = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        if unexpected or not all(name.endswith("num_batches_tracked") for name in missing):
            raise AssertionError(f"the nets differ: PyTorch's lacks {unexpected} and has {missing} beyond minires's")
        self.model.to(memory_format=memory_format)
        self.optimizer = torch.optim.SGD(self.model.parameters(), **SGD)
        self.images = torch.from_numpy(images).to(memory_format=memory_format)
        self.labels = torch.from_numpy(labels)
        self.cross_entropy = torch.nn.functional.cross_entropy

    def __call__(self):
        loss = self.cross_entropy(self.model(self.images), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def torch_net(family, options):
    """The net in PyTorch: the tests' twin of `cifar_net`, or torchvision's."""
    if family == "cifar_net":
        from tests.parity.torch_nets import CifarNet

        return CifarNet(**options)
    from benchmarks.peers.torchvision_import import import_torchvision

    return getattr(import_torchvision().models, f"resnet{options['depth']}")(weights=None)


def steps(family, options, image_size, batch_size, engines) -> dict:
    """{engine: step} in those of the engines that have the net, all from the same weights on the same random images."""
    generator = np.random.default_rng(0)
    channels = options.get("in_channels", 3)
    images = generator.standard_normal((batch_size, channels, image_size, image_size)).astype(np.float32)
    labels = generator.integers(0, 10, batch_size)
    found = {"minires": MiniresStep(family, options, images, labels)}
    state = found["minires"].model.state_dict()
    for name, engine in engines.items():
        if hasattr(engine, "memory_format"):
            found[name] = TorchStep(family, options, images, labels, state, engine.memory_format)
        elif name == "DeZero":
            from benchmarks.peers.dezero_resnet import Step

            found[name] = Step(options, images, labels, state, **SGD)
            found[DEZERO_FLOAT32] = Step(options, images, labels.astype(np.int16), state, **SGD)
    return found


def check_that_they_compute_the_same(found):
    """Raise where the first step's loss differs: a race between different computations would mean nothing."""
    losses = {name: step() for name, step in found.items()}
    if not np.ptp(list(losses.values())) <= TOLERANCE:  # not: a loss of NaN compares with nothing
        raise AssertionError(f"the rivals compute different losses: {losses}")


def build(family, options, image_size, batch_size, dezero, engines, threads) -> dict:
    """{engine: Candidate}, for `Case.build`."""
    engines = {name: engine for name, engine in engines.items() if dezero or name != "DeZero"}
    found = steps(family, options, image_size, batch_size, engines)
    check_that_they_compute_the_same(found)
    engines[DEZERO_FLOAT32] = engines.get("DeZero")
    return {name: Candidate({"step": step}, before=functools.partial(engines[name].use_threads, threads))
            for name, step in found.items()}


def step_case(name, family, options, image_size, batch_size, dezero=False, rounds=20, budget=6.0, quick=False):
    """The case of one training step; `dezero`: is DeZero, which is slow, one of the rivals?"""
    return Case("steps", name, functools.partial(build, family, options, image_size, batch_size, dezero), rounds, budget,
                quick)


def lesson_net(depth, width):
    """The options of a lesson's net, for 14 × 14 images of one channel."""
    return {"depth": depth, "width": width, "in_channels": 1}


RESNET20, RESNET56 = {"depth": 20}, {"depth": 56}
PLAIN20, PLAIN56 = {"depth": 20, "residual": False}, {"depth": 56, "residual": False}

CASES = [
    step_case("ResNet-20, batch 128, 32 × 32", "cifar_net", RESNET20, 32, 128, rounds=30, budget=25.0, quick=True),
    step_case("ResNet-20, batch 32, 32 × 32", "cifar_net", RESNET20, 32, 32, dezero=True, rounds=30, budget=8.0,
              quick=True),
    step_case("ResNet-56, batch 128, 32 × 32", "cifar_net", RESNET56, 32, 128, budget=16.0),
    step_case("ResNet-56, batch 32, 32 × 32", "cifar_net", RESNET56, 32, 32, budget=8.0),
    step_case("plain-20, batch 128, 32 × 32", "cifar_net", PLAIN20, 32, 128, budget=8.0),
    step_case("plain-56, batch 32, 32 × 32", "cifar_net", PLAIN56, 32, 32, budget=8.0),
    step_case("ResNet-18, batch 8, 224 × 224", "imagenet_net", {"depth": 18}, 224, 8, budget=14.0),
    step_case("lesson net: ResNet-20, widths 4/8/16, batch 64, 14 × 14", "cifar_net", lesson_net(20, 4), 14, 64,
              dezero=True, rounds=50, budget=3.0, quick=True),
    step_case("lesson net: ResNet-56, widths 4/8/16, batch 64, 14 × 14", "cifar_net", lesson_net(56, 4), 14, 64,
              rounds=40),
    step_case("lesson net: ResNet-20, widths 8/16/32, batch 64, 14 × 14", "cifar_net", lesson_net(20, 8), 14, 64,
              rounds=50, budget=3.0),
]
