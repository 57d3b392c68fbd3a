"""`minires doctor`: every fact has its line, and nothing that is missing or broken ends it."""
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minires as mr
from minires.cli import doctor
from minires.cli import main as cli

FACTS = ("minires", "Python", "system", "NumPy", "BLAS", "cores", "threads", "matplotlib", "CuPy", "NVIDIA driver")


def lines(report):
    """{what: value} of the report's lines before the empty one."""
    head = report.partition("\n\n")[0]
    return {line[:len("NVIDIA driver")].strip(): line[len("NVIDIA driver"):].strip() for line in head.splitlines()}


def forget_cupy(monkeypatch):
    """Let `import cupy` look for it anew, now and after the test."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "cupy")


@pytest.fixture
def without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


def test_every_fact_has_its_line(without_cupy):
    found = lines(doctor.report())
    assert tuple(found) == FACTS
    assert found["minires"].startswith(f"{mr.__version__}, in ")
    assert found["Python"].startswith(platform.python_version())
    assert found["NumPy"] == np.__version__
    assert found["matplotlib"].split(".")[0].isdecimal()
    assert "blas" in found["BLAS"].lower() or "mkl" in found["BLAS"].lower() or "Accelerate" in found["BLAS"]
    assert found["cores"].startswith(str(os.cpu_count()))
    assert found["CuPy"] == "not installed"
    assert not any("not known:" in value for value in found.values()), found


def test_without_a_gpu_the_status_is_0_and_the_report_says_what_to_do(without_cupy, capsys):
    assert cli.main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "A GPU: cannot be used here" in out
    assert 'pip install "cupy-cuda13x[ctk]"' in out


def test_the_threads_are_those_of_ops(monkeypatch, without_cupy):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: name)
    mr.set_threads(7)
    try:
        told = lines(doctor.report())["threads"]
        assert told == "7 in an op (mr.set_threads changes it); BLAS is kept to one from the first on"
    finally:
        mr.set_threads(None)


def test_without_threadpoolctl_the_threads_of_blas_are_told(monkeypatch, without_cupy):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    for name in doctor.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert "; in BLAS as many as it likes; pip install threadpoolctl" in lines(doctor.report())["threads"]
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert "; in BLAS OPENBLAS_NUM_THREADS=3; pip install threadpoolctl" in lines(doctor.report())["threads"]


def test_without_threadpoolctl_the_blas_is_the_one_that_numpy_was_built_with(monkeypatch, without_cupy):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert "as built" in lines(doctor.report())["BLAS"]


@pytest.mark.parametrize("fact", ["_minires", "_python", "_system", "_numpy", "_blas", "_cores", "_threads", "_matplotlib",
                                  "_cupy", "_driver", "_devices", "_advice"])
@pytest.mark.parametrize("error", [ImportError("half\ninstalled"), KeyError("blas"), OSError("no library"), MemoryError()],
                         ids=lambda error: type(error).__name__)
def test_whatever_is_broken_becomes_a_line(monkeypatch, without_cupy, fact, error):
    def broken():
        raise error

    monkeypatch.setattr(doctor, fact, broken)
    report = doctor.report()
    assert len(lines(report)) == len(FACTS)
    if fact != "_devices":
        assert f"not known: {type(error).__name__}" in report


def test_a_broken_cupy_is_called_broken(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('built for another NumPy')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    forget_cupy(monkeypatch)
    report = doctor.report()
    assert lines(report)["CuPy"].startswith("broken: CuPy is installed but cannot be imported: built for another NumPy")
    assert "A GPU: cannot be used here" in report


def test_an_empty_module_in_the_place_of_cupy_does_not_end_it(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    forget_cupy(monkeypatch)
    report = doctor.report()
    assert "something else is called cupy" in lines(report)["CuPy"]
    assert "A GPU: cannot be used here" in report


def test_devices_are_listed_with_their_memory():
    from tests.strict_cupy import installed

    with installed() as cupy:
        report = doctor.report()
        count = cupy.cuda.runtime.getDeviceCount()
    found = lines(report)
    assert list(found)[len(FACTS):] == [f"cuda:{index}" for index in range(count)]
    assert "8.0 GiB of memory, 8.0 GiB free" in found["cuda:0"]  # what the double has
    assert "A GPU: can be used" in report


def test_a_mac_is_told_that_it_has_no_cuda(monkeypatch, without_cupy):
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    assert "CUDA does not exist on a Mac" in doctor.report()
    assert "pip install" not in doctor.report().partition("\n\n")[2]


@pytest.mark.parametrize("missing", ["matplotlib", "cupy", "threadpoolctl"])
def test_the_command_runs_where_a_package_is_missing(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from minires.cli.main import main; sys.exit(main(['doctor']))"
    folder = Path(mr.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "A GPU: " in done.stdout
    assert done.stderr == ""
