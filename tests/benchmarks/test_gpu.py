"""The script for a GPU, on a machine without one: on the CPU as both devices and on the strict double; it sees faults."""
import sys

import numpy as np
import pytest

import minires as mr
from benchmarks import gpu, gpu_checks
from minires.ops.activation import ReLU
from minires.ops.conversion import ToDevice
from tests.strict_cupy import installed

SMALL = {"depth": 8, "width": 4, "size": 8, "batch": 8}
CHECKS = {
    "every op, float32": lambda one, other: gpu_checks.op_parity(one, other, np.float32),
    "every op, float64": lambda one, other: gpu_checks.op_parity(one, other, np.float64),
    "gradient check": gpu_checks.gradient_check,
    "steps, float32": lambda one, other: gpu_checks.training_steps(one, other, np.float32, steps=3, **SMALL),
    "steps, float64": lambda one, other: gpu_checks.training_steps(one, other, np.float64, steps=3, **SMALL),
    "save and load": lambda one, other: gpu_checks.save_and_load(one, other, **SMALL),
    "moving on": lambda one, other: gpu_checks.moving_on(one, other, **SMALL),
}


@pytest.fixture(params=[("cpu", "cpu"), pytest.param(("cuda:0", "cpu"), marks=pytest.mark.slow), ("cuda:1", "cuda:0")],
                ids=["cpu", "strict-cupy", "two-strict-cupy"])
def devices(request):
    with installed():
        yield request.param


@pytest.mark.parametrize("check", [
    pytest.param(CHECKS[name], id=name, marks=pytest.mark.slow if name == "gradient check" else ()) for name in CHECKS])
def test_the_checks_pass_and_say_what_they_measured(check, devices):
    assert any(character.isdigit() for character in check(*devices)) or check is CHECKS["save and load"]


def test_every_check_of_the_script_is_run_here():
    assert len(gpu_checks.checks("cpu", "cpu")) == len(CHECKS)


# ---- faults, each seen by the check for it

def wrong_on_the_device(monkeypatch, op, method, change):
    """Let a method of an op compute something else, on the strict double only."""
    usual = getattr(op, method)

    def broken(self, *arrays):
        result = usual(self, *arrays)
        return result if isinstance(arrays[0], np.ndarray) else change(result)

    monkeypatch.setattr(op, method, broken)


@pytest.mark.parametrize(("method", "said"), [("forward", "ReLU, fast form, the value: differs by"),
                                              ("backward", "ReLU, fast form, the gradient of argument 0: differs by")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_that_differs_by_a_thousandth_is_seen(monkeypatch, method, said, dtype):
    wrong_on_the_device(monkeypatch, ReLU, method, lambda y: y * 1.001)
    with installed(), pytest.raises(AssertionError, match=said):
        gpu_checks.op_parity("cuda:0", "cpu", dtype)


def test_a_nan_is_seen(monkeypatch):
    wrong_on_the_device(monkeypatch, ReLU, "forward", lambda y: y * float("nan"))
    with installed(), pytest.raises(AssertionError, match="differs by inf"):
        gpu_checks.op_parity("cuda:0", "cpu", np.float32)


def test_a_gradient_that_is_wrong_is_seen_by_the_gradient_check(monkeypatch):
    wrong_on_the_device(monkeypatch, ReLU, "backward", lambda dx: dx * 1.001)
    with installed(), pytest.raises(mr.GradcheckError):
        gpu_checks.gradient_check("cuda:0")


def test_an_output_on_another_device_is_seen(monkeypatch):
    wrong_on_the_device(monkeypatch, ReLU, "forward", lambda y: y.get())
    with installed(), pytest.raises(AssertionError, match="ReLU: the output is on cpu"):
        gpu_checks.op_parity("cuda:0", "cpu", np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_that_drift_apart_are_seen(monkeypatch, dtype):
    wrong_on_the_device(monkeypatch, ReLU, "backward", lambda dx: dx * 0.5)
    with installed(), pytest.raises(AssertionError, match="a later loss differs by"):
        gpu_checks.training_steps("cuda:0", "cpu", dtype, steps=5, **SMALL)


def test_a_first_loss_that_differs_is_seen(monkeypatch):
    wrong_on_the_device(monkeypatch, ReLU, "forward", lambda y: y * 1.01)
    with installed(), pytest.raises(AssertionError, match="the first loss differs by"):
        gpu_checks.training_steps("cuda:0", "cpu", np.float32, steps=2, **SMALL)


def test_training_that_trains_nothing_is_seen(monkeypatch):
    monkeypatch.setattr(mr.optim.SGD, "step", lambda optimizer: None)
    with pytest.raises(AssertionError, match="nothing was trained"):
        gpu_checks.training_steps("cpu", "cpu", np.float64, steps=2, **SMALL)


def test_a_file_that_lost_digits_is_seen(monkeypatch):
    def load(path):
        return {name: np.round(array, 4) if array.ndim else array for name, array in usual(path).items()}

    usual = mr.load
    monkeypatch.setattr(mr, "load", load)
    with pytest.raises(AssertionError, match=r"loaded on cpu: .*conv1\.weight"):
        gpu_checks.save_and_load("cpu", "cpu", **SMALL)


def test_velocities_that_stay_behind_are_seen(monkeypatch):
    """As before SGD moved them: the step mixes devices, which CuPy refuses."""
    monkeypatch.setattr("minires.optim.sgd.beside", lambda x, other: x)
    with installed(), pytest.raises(TypeError, match="Unsupported type"):
        gpu_checks.moving_on("cuda:0", "cpu", **SMALL)


@pytest.mark.parametrize(("a", "b", "difference"), [([1.0, 2.0], [1.0, 2.0], 0), ([0.0, 100.0], [1.0, 100.0], 0.01),
                                                    ([0.0], [0.001], 0.001), ([np.nan], [1.0], np.inf), ([], [], 0)])
def test_differences_are_relative_to_the_largest_value(a, b, difference):
    assert gpu_checks.relative_difference(np.array(a), np.array(b)) == pytest.approx(difference)


def test_arrays_of_another_shape_or_precision_are_no_match():
    with pytest.raises(AssertionError, match="float64"):
        gpu_checks.relative_difference(np.ones(2), np.ones(2, np.float32))
    with pytest.raises(AssertionError, match=r"\(3,\)"):
        gpu_checks.relative_difference(np.ones(2), np.ones(3))


# ---- the script

@pytest.fixture
def quick(monkeypatch):
    """The script with its two quickest checks and a small step."""
    monkeypatch.setattr(gpu, "checks", lambda one, other: gpu_checks.checks(one, other)[:2])
    small = gpu.Step
    monkeypatch.setattr(gpu, "Step", lambda device, depth=20, batch=128: small(device, 8, 16, 8, batch))
    monkeypatch.setattr(gpu, "measure_torch", lambda device, batch, rounds: no_torch())


def no_torch():
    raise ImportError("No module named 'torch'")


def test_without_a_gpu_it_says_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert gpu.main(["--out", str(tmp_path / "gpu.md")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("benchmarks.gpu: a CUDA device needs CuPy, which is not installed")
    assert not (tmp_path / "gpu.md").exists()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_report_holds_versions_checks_times_and_launches(quick, capsys, tmp_path, device):
    with installed():
        out = tmp_path / "new" / "gpu.md"
        assert gpu.main(["--device", device, "--batch", "4", "--rounds", "2", "--out", str(out)]) == 0
    report = out.read_text(encoding="utf-8")
    assert report in capsys.readouterr().out
    for text in ("minires on cpu" if device == "cpu" else "minires on cuda:0", "NVIDIA driver",
                 "| every op, float32 | passed", "2 of 2 checks passed", "| minires | ",
                 "| PyTorch | ImportError: No module named 'torch'", "1 copy to the device (32 bytes, the labels), 0 back"):
        assert text in report
    assert "FAILED" not in report


def test_a_failure_is_in_the_report_and_in_the_status_and_ends_nothing(quick, monkeypatch, capsys, tmp_path):
    def fail():
        raise AssertionError("ReLU\ndiffers")

    monkeypatch.setattr(gpu, "checks", lambda one, other: [("one", fail), ("two", lambda: "all 3")])
    assert gpu.main(["--device", "cpu", "--batch", "4", "--rounds", "1", "--out", str(tmp_path / "gpu.md")]) == 1
    report = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "| one | **FAILED** | 0.0 | AssertionError: ReLU differs |" in report
    assert "| two | passed | 0.0 | all 3 |" in report
    assert "1 of 2 checks passed" in report
    assert "in fail" in capsys.readouterr().err  # the traceback


def test_the_timed_steps_are_the_rounds_and_each_waits():
    called = []
    seconds = gpu.timed(lambda: called.append("step"), 3, lambda: called.append("wait"))
    assert seconds.shape == (3,)
    assert called == ["step", "wait"] * 8


@pytest.mark.slow
def test_pytorch_makes_the_same_step():
    pytest.importorskip("torch")
    seconds, memory = gpu.measure_torch("cpu", 2, 1)
    assert seconds.shape == (1,)
    assert memory is None


def test_a_step_launches_as_many_kernels_whatever_the_batch():
    few, uploads, downloads = gpu.count_launches(4, depth=8)
    assert sum(gpu.count_launches(8, depth=8)[0].values()) == sum(few.values()) > 100
    assert uploads == [4 * 8]  # the labels, int64
    assert downloads == []


def test_the_table_of_ops_has_the_one_op_that_leaves_a_device():
    assert ToDevice in {case.op for case in gpu_checks.CASES}
