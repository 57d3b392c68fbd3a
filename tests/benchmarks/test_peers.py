"""Every engine that is timed computes the same as minires: operations, the chain, and training steps."""
import importlib.util

import numpy as np
import pytest

from benchmarks import ops, tape, training_step
from benchmarks.peers import ENGINES, load_engines

ARRAYS = {  # small, with odd sizes where a stride leaves a row over
    "3 x 3 convolution": lambda: ops.convolution(3, 2, 4, 6, 3),
    "stride 2": lambda: ops.convolution(3, 2, 4, 7, 3, stride=2),
    "stride 2, a row left over": lambda: ops.convolution(3, 2, 4, 8, 3, stride=2),
    "1 x 1 convolution": lambda: ops.convolution(3, 2, 4, 5, 1),
    "7 x 7 stem": lambda: ops.convolution(2, 3, 4, 12, 7, stride=2, image_gradient=False),
    "batch norm": lambda: ops.batch_normalization(4, 3, 5),
    "ReLU": lambda: ops.rectifier(4, 3, 5),
    "shortcut add": lambda: ops.identity_shortcut(4, 3, 5),
    "option A": lambda: ops.option_a_shortcut(4, 3, 5, 7),
    "chain": tape.chain_arrays,
}
CONVOLUTIONS = {"3 x 3 convolution", "stride 2", "stride 2, a row left over", "1 x 1 convolution", "7 x 7 stem"}
CANNOT = {
    "autograd": CONVOLUTIONS | {"option A"},
    "SmallPebble": {"option A"},
    "MyGrad": {"stride 2, a row left over", "7 x 7 stem", "option A"},
}
PEERS = [name for name in ENGINES if name != "minires"]


PACKAGES = {"PyTorch": "torch", "PyTorch, channels last": "torch", "DeZero": "dezero", "autograd": "autograd",
            "SmallPebble": "smallpebble", "MyGrad": "mygrad"}


def engines_or_skip(*names):
    """{name: engine}, minires first; skips the test where a package is not installed, and fails where it is but broken."""
    engines, missing = load_engines(("minires", *names))
    for name, reason in missing.items():
        if importlib.util.find_spec(PACKAGES[name]) is None:
            pytest.skip(f"{name} is not installed ({reason})")
        pytest.fail(f"{name} is installed and cannot be used: {reason}")
    return engines


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("what", ARRAYS)
def test_an_operation_gives_the_output_and_the_gradients_of_minires(name, what):
    engines = engines_or_skip(name)
    found = ops.trials(engines, ARRAYS[what])
    assert (name in found) == (what not in CANNOT.get(name, ()))
    arrays = ARRAYS[what]()
    outcome = found["minires"].outcome()
    assert set(outcome) == {"y", *(f"d{x}" for x in arrays.inputs if x in arrays.wanted)}


@pytest.mark.parametrize("what", ARRAYS)
def test_a_second_run_gives_the_same_gradients_again(what):
    """A gradient that accumulated from round to round would go on being timed unnoticed."""
    engines, _missing = load_engines()
    for name, engine in engines.items():
        trial = engine.trial(ARRAYS[what]())
        if trial is not None:
            first, second = trial.outcome(), trial.outcome()
            for quantity, array in first.items():
                np.testing.assert_array_equal(array, second[quantity], err_msg=f"{name}: {quantity}")


CHANGES = {
    "negated": lambda array: -array,
    "scaled": lambda array: 1.001 * array,
    "zeroed": lambda array: 0 * array,
    "flipped": lambda array: array[::-1],
    "nan": lambda array: array * np.nan,
    "double": lambda array: array.astype(np.float64),
}


@pytest.mark.parametrize("quantity", ["y", "dx", "dweight"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_wrong_result_is_not_timed(quantity, change):
    outcome = engines_or_skip()["minires"].trial(ARRAYS["3 x 3 convolution"]()).outcome()
    wrong = outcome | {quantity: change(outcome[quantity])}
    ops.check_outcomes({"minires": outcome, "peer": dict(outcome)})
    with pytest.raises(AssertionError, match=f"{quantity}: peer"):
        ops.check_outcomes({"minires": outcome, "peer": wrong})


def test_an_engine_that_cannot_be_imported_is_missing_with_its_reason(monkeypatch):
    monkeypatch.setitem(ENGINES, "nobody", "no_such_engine")
    engines, missing = load_engines(["minires", "nobody"])
    assert list(engines) == ["minires"]
    assert missing == {"nobody": "ModuleNotFoundError: No module named 'benchmarks.peers.no_such_engine'"}


@pytest.mark.parametrize("name", ["PyTorch", "PyTorch, channels last", "DeZero"])
@pytest.mark.parametrize("residual", [True, False], ids=["residual", "plain"])
def test_training_steps_have_the_losses_of_minires(name, residual):
    """Three steps: the second loss depends on every gradient and update of the first, the third on the momentum too."""
    engines = engines_or_skip(name)
    options = {"depth": 14, "width": 4, "in_channels": 1, "residual": residual}
    steps = training_step.steps("cifar_net", options, 12, 8, engines)
    assert name in steps
    losses = {rival: [step() for _ in range(3)] for rival, step in steps.items()}
    assert losses["minires"][2] < losses["minires"][0]
    for rival, theirs in losses.items():
        np.testing.assert_allclose(theirs, losses["minires"], rtol=1e-4, err_msg=rival)


@pytest.mark.slow
def test_resnet18_is_torchvisions():
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    steps = training_step.steps("imagenet_net", {"depth": 18}, 32, 4, engines_or_skip("PyTorch"))
    losses = {rival: [step() for _ in range(2)] for rival, step in steps.items()}
    np.testing.assert_allclose(losses["PyTorch"], losses["minires"], rtol=1e-3)


@pytest.mark.parametrize("other", [2.31, float("nan")])
def test_steps_with_different_losses_are_not_timed(other):
    training_step.check_that_they_compute_the_same({"a": lambda: 2.3, "b": lambda: 2.3005})
    with pytest.raises(AssertionError, match="different losses"):
        training_step.check_that_they_compute_the_same({"a": lambda: 2.3, "b": lambda: other})


def test_dezero_is_imported_without_changing_numpy():
    engines_or_skip("DeZero")
    assert not hasattr(np, "int")


def test_dezero_keeps_float32_beside_python_numbers():
    engine = engines_or_skip("DeZero")["DeZero"]
    for dtype in (np.float32, np.float64):
        x = engine.image(np.ones((2, 2), dtype), wants_gradient=True)
        assert (2 * x / 3 - 1).dtype == dtype
