"""Batch norm against PyTorch: training, evaluation, running statistics, frozen statistics; both of its forms."""
import contextlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
import minires as mr
from minires import ops
from tests.parity.comparison import assert_close, assert_parity, normal

SHAPES = {
    "images": (4, 5, 3, 6),
    "vectors": (7, 5),
    "one image": (1, 3, 4, 4),
    "two values a channel": (2, 3, 1, 1),
    "several blocks of the fast form": (6, 24, 40, 40),
    "a prime number of pixels": (1, 3, 1, 31),
}
STEPS = 5


@pytest.fixture(params=[contextlib.nullcontext, mr.reference_ops], ids=["fast", "plain"])
def form(request):
    """The form that people run, then the one that states the definition."""
    with request.param():
        yield


def inputs_of(shape):
    """x with a mean and a spread of its own in each channel, weight and bias."""
    C = shape[1]
    per_channel = (1, C) + (1,) * (len(shape) - 2)
    x = normal(*shape) * np.linspace(0.5, 3, C).reshape(per_channel) + np.linspace(-2, 1, C).reshape(per_channel)
    return [x, 1 + 0.5 * normal(C, seed=2), normal(C, seed=3)]


def running_statistics(C, dtype):
    """(mean, var) of a net that has been trained a little."""
    return normal(C, seed=4).astype(dtype), (0.5 + np.abs(normal(C, seed=5))).astype(dtype)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_output_gradients_and_running_statistics(shape, training, eps, dtype):
    ours = running_statistics(shape[1], dtype)
    theirs = [torch.from_numpy(array.copy()) for array in ours]
    if len(shape) == 4 and shape[0] * shape[2] * shape[3] == 2:
        # x_hat is then +1 and -1 but for eps, and dx what is left of numbers that cancel to a share of eps / var
        eps = max(eps, 1e-2)
    assert_parity(lambda x, w, b: ops.batch_norm(x, w, b, *ours, training, momentum=0.3, eps=eps),
                  lambda x, w, b: torch.nn.functional.batch_norm(x, *theirs, w, b, training, momentum=0.3, eps=eps),
                  inputs_of(shape), dtype)
    assert_close(ours[0], theirs[0], "running mean")
    assert_close(ours[1], theirs[1], "running variance")


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("momentum", [0.1, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (6, 3)], ids=["images", "vectors"])
def test_running_statistics_follow_several_batches(shape, momentum, dtype):
    mean, var = np.zeros(3, dtype), np.ones(3, dtype)
    mean_torch, var_torch = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
    ones, zeros = np.ones(3, dtype), np.zeros(3, dtype)
    for step in range(STEPS):
        x = (normal(*shape, seed=step) * (step + 1) + step).astype(dtype)
        ops.batch_norm(mr.Tensor(x), mr.Tensor(ones), mr.Tensor(zeros), mean, var, True, momentum)
        torch.nn.functional.batch_norm(torch.from_numpy(x), mean_torch, var_torch, training=True, momentum=momentum)
        assert_close(mean, mean_torch, f"running mean after step {step}")
        assert_close(var, var_torch, f"running variance after step {step}")


@pytest.mark.usefixtures("form")
def test_evaluation_leaves_the_running_statistics_as_they_are(dtype):
    mean, var = running_statistics(5, dtype)
    before = mean.copy(), var.copy()
    ops.batch_norm(*[mr.Tensor(x) for x in inputs_of((4, 5, 3, 3))], mean, var, False)
    np.testing.assert_array_equal([mean, var], before)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(4, 5, 3, 6), (7, 5)], ids=["images", "vectors"])
def test_frozen_statistics_are_constants_in_the_backward_pass(shape, dtype):
    """PyTorch's counterpart: evaluation, with the detached statistics of this batch."""
    statistics = running_statistics(5, dtype)
    axes = [axis for axis in range(len(shape)) if axis != 1]

    def detached(x, weight, bias):
        mean, var = x.detach().mean(dim=axes), x.detach().var(dim=axes, correction=0)
        return torch.nn.functional.batch_norm(x, mean, var, weight, bias, training=False)

    assert_parity(lambda x, w, b: ops.batch_norm(x, w, b, *statistics, True, freeze_statistics=True), detached,
                  inputs_of(shape), dtype)


@pytest.mark.usefixtures("form")
def test_a_mean_large_beside_the_spread_keeps_its_digits(dtype):
    """E[x²] - E[x]² would lose them in float32: its variance would be wrong by 1e-3 and more.

    A mean of 100 in float32 is known to 1e-5 of the spread, whatever the formula, and what is computed from it to a few
    times that: hence the wider tolerance.
    """
    x, weight, bias = inputs_of((8, 5, 4, 4))
    x = (100 + x).astype(np.float32)  # the same numbers in both precisions: rounding x is not the subject
    statistics = running_statistics(5, dtype)
    theirs = [torch.from_numpy(array.copy()) for array in statistics]
    assert_parity(lambda w, b: ops.batch_norm(mr.Tensor(x.astype(dtype)), w, b, *statistics, True),
                  lambda w, b: torch.nn.functional.batch_norm(torch.from_numpy(x.astype(dtype)), *theirs, w, b, True),
                  [weight, bias], dtype, tolerance=2e-5 if dtype == np.float32 else None)
