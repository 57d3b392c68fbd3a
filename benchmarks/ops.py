"""Single operations, forward and backward, at the shapes of the CIFAR nets and of the ImageNet nets."""
import functools
from dataclasses import dataclass, field

import numpy as np

from benchmarks.case import Case
from benchmarks.timing import Candidate

TOLERANCE = 1e-4  # of the largest value: float32 sums of up to 131,072 terms, taken in different orders


@dataclass
class OpArrays:
    """One operation on random arrays.

    Attributes:
        op: the method of an engine.
        inputs: {name: array}, float32, in the order in which the operation takes them.
        dy: dL/dy, of the output's shape.
        options: further arguments.
        images: names of the inputs that are batches of images; the others are parameters.
        wanted: names of the inputs whose gradients are computed; all by default.
    """

    op: str
    inputs: dict
    dy: np.ndarray
    options: dict = field(default_factory=dict)
    images: tuple = ("x", "residual", "shortcut")
    wanted: tuple = ("x", "weight", "bias", "residual", "shortcut")


def random_array(generator, *shape):
    """Standard normal values, float32."""
    return generator.standard_normal(shape).astype(np.float32)


def convolution(N, C, O, size, K, stride=1, image_gradient=True):
    """A K x K convolution without bias, padded so that stride 1 keeps the size."""
    generator, padding = np.random.default_rng(0), K // 2
    inputs = {"x": random_array(generator, N, C, size, size), "weight": random_array(generator, O, C, K, K)}
    out = (size + 2 * padding - K) // stride + 1
    wanted = ("x", "weight") if image_gradient else ("weight",)
    return OpArrays("conv2d", inputs, random_array(generator, N, O, out, out), {"stride": stride, "padding": padding},
                    wanted=wanted)


def batch_normalization(N, C, size):
    """Batch norm in training."""
    generator = np.random.default_rng(0)
    inputs = {"x": random_array(generator, N, C, size, size), "weight": random_array(generator, C),
              "bias": random_array(generator, C)}
    return OpArrays("batch_norm", inputs, random_array(generator, N, C, size, size))


def rectifier(N, C, size):
    """ReLU."""
    generator = np.random.default_rng(0)
    return OpArrays("relu", {"x": random_array(generator, N, C, size, size)}, random_array(generator, N, C, size, size))


def identity_shortcut(N, C, size):
    """F(x) + x of two given arrays."""
    generator = np.random.default_rng(0)
    inputs = {name: random_array(generator, N, C, size, size) for name in ("residual", "shortcut")}
    return OpArrays("shortcut_add", inputs, random_array(generator, N, C, size, size))


def option_a_shortcut(N, C, O, size):
    """Every second pixel of x, with channels of zeros after its own."""
    generator, half = np.random.default_rng(0), (size + 1) // 2
    inputs = {"x": random_array(generator, N, C, size, size)}
    return OpArrays("zero_pad_shortcut", inputs, random_array(generator, N, O, half, half), {"out_channels": O})


def trials(engines, make_arrays) -> dict:
    """{engine: Trial} of those engines that can do this operation, checked to compute the same.

    Raises:
        AssertionError: two engines disagree.
    """
    arrays = make_arrays()
    found = {name: engine.trial(arrays) for name, engine in engines.items()}
    found = {name: trial for name, trial in found.items() if trial is not None}
    check_outcomes({name: trial.outcome() for name, trial in found.items()})
    return found


def check_outcomes(outcomes):
    """Raise where an engine's output or gradient is not that of the first engine, which is minires."""
    (first, expected), *others = outcomes.items()
    for name, outcome in others:
        for quantity, array in expected.items():
            got = outcome[quantity]
            if got.shape != array.shape or got.dtype != array.dtype:
                raise AssertionError(f"{quantity}: {name} has {got.shape} {got.dtype}, {first} {array.shape} {array.dtype}")
            worst = np.abs(got - array).max() / np.abs(array).max()
            if not worst <= TOLERANCE:
                raise AssertionError(f"{quantity}: {name} differs from {first} by {worst:.1e} of the largest value")


def build(make_arrays, joined, engines, threads) -> dict:
    """{engine: Candidate}, for `Case.build`; `joined`: forward and backward as one stage."""
    candidates = {}
    for name, trial in trials(engines, make_arrays).items():
        stages = {"both": trial.both} if joined else {"forward": trial.forward, "backward": trial.backward}
        candidates[name] = Candidate(stages, before=functools.partial(engines[name].use_threads, threads))
    return candidates


def op_case(name, make_arrays, *sizes, quick=False, **options):
    """The case of one operation."""
    make = functools.partial(make_arrays, *sizes, **options)
    joined = make_arrays is identity_shortcut  # its backward passes dy on, and computes nothing
    return Case("ops", name, functools.partial(build, make, joined), rounds=20, budget=1.2, quick=quick)


CASES = [
    op_case("3 × 3 convolution, 128 × 16 × 32 × 32", convolution, 128, 16, 16, 32, 3, quick=True),
    op_case("3 × 3 convolution, 128 × 32 × 16 × 16", convolution, 128, 32, 32, 16, 3),
    op_case("3 × 3 convolution, 128 × 64 × 8 × 8", convolution, 128, 64, 64, 8, 3, quick=True),
    op_case("3 × 3 convolution, stride 2, 16 → 32, 128 × 16 × 32 × 32", convolution, 128, 16, 32, 32, 3, stride=2),
    op_case("3 × 3 convolution, 8 × 64 × 56 × 56", convolution, 8, 64, 64, 56, 3),
    op_case("3 × 3 convolution, 8 × 256 × 14 × 14", convolution, 8, 256, 256, 14, 3),
    op_case("3 × 3 convolution, 8 × 512 × 7 × 7", convolution, 8, 512, 512, 7, 3),
    op_case("1 × 1 convolution, 64 → 256, 8 × 64 × 56 × 56", convolution, 8, 64, 256, 56, 1),
    op_case("7 × 7 stem, stride 2, 3 → 64, 8 × 3 × 224 × 224, no dx", convolution, 8, 3, 64, 224, 7, stride=2,
            image_gradient=False),
    op_case("batch norm, 128 × 16 × 32 × 32", batch_normalization, 128, 16, 32, quick=True),
    op_case("batch norm, 128 × 32 × 16 × 16", batch_normalization, 128, 32, 16),
    op_case("batch norm, 128 × 64 × 8 × 8", batch_normalization, 128, 64, 8),
    op_case("batch norm, 8 × 64 × 56 × 56", batch_normalization, 8, 64, 56),
    op_case("ReLU, 128 × 16 × 32 × 32", rectifier, 128, 16, 32, quick=True),
    op_case("ReLU, 128 × 32 × 16 × 16", rectifier, 128, 32, 16),
    op_case("ReLU, 128 × 64 × 8 × 8", rectifier, 128, 64, 8),
    op_case("ReLU, 8 × 64 × 56 × 56", rectifier, 8, 64, 56),
    op_case("shortcut add, 128 × 16 × 32 × 32", identity_shortcut, 128, 16, 32, quick=True),
    op_case("shortcut add, 128 × 32 × 16 × 16", identity_shortcut, 128, 32, 16),
    op_case("shortcut add, 128 × 64 × 8 × 8", identity_shortcut, 128, 64, 8),
    op_case("shortcut add, 8 × 64 × 56 × 56", identity_shortcut, 8, 64, 56),
    op_case("shortcut of option A, stride 2, 16 → 32, 128 × 16 × 32 × 32", option_a_shortcut, 128, 16, 32, 32),
]
