"""The devices and their messages: what is missing is told apart, and each message says what to do.

A machine without a GPU cannot fail in every way that one with a GPU can, so the fakes below stand for CuPy in each of its
states. They raise what CuPy 14.2 raises there, and the last tests compare with the installed CuPy, if there is one.
"""
import contextlib
import importlib.util
import subprocess
import sys
import types

import numpy as np
import pytest

import minires as mr
from minires.arrays import backend, cuda
from tests.strict_cupy import installed


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


class DynamicLibNotFoundError(RuntimeError):
    """As that of cuda-pathfinder, which CuPy asks for the libraries."""


class FakeDevice(contextlib.nullcontext):
    def __init__(self, index):
        super().__init__()
        self.id = index

    def use(self):
        FakeDevice.current = self.id


class FakeArray:
    """As much of an array as the first kernels need."""

    device = FakeDevice(0)

    def __init__(self, values):
        self.values = values

    def reshape(self, *shape):
        return FakeArray(self.values.reshape(*shape))

    def sum(self):
        return FakeArray(self.values.sum())

    def get(self):
        return np.asarray(self.values)

    def __mul__(self, factor):
        return FakeArray(self.values * factor)

    def __matmul__(self, other):
        return FakeArray(self.values @ other.values)


def fake_cupy(devices=1, driver=13020, built_for=13020, count_error=None, kernel_error=None, product_error=None):
    """A module in the place of CuPy on a machine with so many devices, and what it raises at each of its steps."""
    class Array(FakeArray):
        def __mul__(self, factor):
            if kernel_error is not None:
                raise kernel_error
            return super().__mul__(factor)

        def reshape(self, *shape):
            return Array(self.values.reshape(*shape))

        def __matmul__(self, other):
            if product_error is not None:
                raise product_error
            return super().__matmul__(other)

    def count():
        module.counted += 1
        if count_error is not None:
            raise count_error
        return devices

    module = types.ModuleType("cupy")
    module.counted = 0
    module.ndarray = Array
    module.arange = lambda n, dtype: Array(np.arange(n, dtype=dtype))
    module.asarray = lambda x: x if isinstance(x, Array) else Array(x)
    module.cuda = types.SimpleNamespace(Device=FakeDevice, runtime=types.SimpleNamespace(
        getDeviceCount=count, driverGetVersion=lambda: driver, runtimeGetVersion=lambda: built_for))
    return module


@pytest.fixture
def install(monkeypatch):
    """A function that puts a module (or None: nothing) in the place of CuPy."""
    return lambda module: monkeypatch.setitem(sys.modules, "cupy", module)


def forget_cupy(monkeypatch):
    """Let `import cupy` look for it anew, now and after the test."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "cupy")


def message(device="cuda"):
    with pytest.raises(mr.DeviceError) as error:
        mr.Tensor([1.0]).to(device)
    return str(error.value)


NO_DRIVER = CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
NO_DEVICE = CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
NO_NVRTC = DynamicLibNotFoundError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13')
NO_CUBLAS = ImportError('Failure finding "libcublasLt.so.13 or libcublasLt.so.12": No such file: libcublasLt.so.13\n')
NO_HEADERS = RuntimeError("Failed to find CUDA headers. Please install CUDA toolkit headers.")


# ---- CuPy is missing or broken

def test_without_cupy_the_message_says_what_to_install(install):
    install(None)
    assert "needs CuPy, which is not installed" in message()
    assert 'pip install "cupy-cuda13x[ctk]"' in message()
    assert "cupy-cuda12x[ctk]" in message()


BROKEN = {
    "another NumPy": ('raise ImportError("""\n=========\nFailed to import CuPy.\n\nOriginal error:\n  '
                      'ImportError: numpy.core failed\n=========\n""")', "ImportError: numpy.core failed. Uninstall"),
    "no fastrlock": ("import a_module_that_is_not_there", "a_module_that_is_not_there"),
    "half of it": ("from numpy import no_such_name", "no_such_name"),
    "an older one": ("raise AttributeError('_ARRAY_API not found')", "_ARRAY_API not found"),
}


@pytest.mark.parametrize(("body", "cause"), BROKEN.values(), ids=BROKEN)
def test_a_broken_cupy_is_not_called_missing(monkeypatch, tmp_path, body, cause):
    (tmp_path / "cupy.py").write_text(body + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    forget_cupy(monkeypatch)
    assert "is installed but cannot be imported" in message()
    assert cause in message()
    assert "\n" not in message()


def test_an_empty_folder_of_its_name_is_not_taken_for_cupy(install):
    folder = types.ModuleType("cupy")  # what Python makes of a folder without __init__.py
    folder.__path__ = ["/somewhere/cupy"]
    install(folder)
    assert "not installed, though something else is called cupy: ['/somewhere/cupy']" in message()
    assert not backend.is_array("neither NumPy's nor CuPy's")
    assert backend.is_array(np.ones(2))


# ---- no driver, or no GPU

@pytest.mark.parametrize(("state", "said"), [
    ({"driver": 0, "count_error": NO_DRIVER}, ("no NVIDIA driver", "cudaErrorInsufficientDriver", "nvidia.com/drivers")),
    ({"driver": 12040, "count_error": NO_DRIVER}, ("too old", "up to 12.4", "built for 13.2", "Update the driver",
                                                   "pip uninstall cupy-cuda13x", 'pip install "cupy-cuda12x[ctk]"')),
    ({"count_error": NO_DEVICE}, ("driver for CUDA 13.2", "cudaErrorNoDevice", "CUDA_VISIBLE_DEVICES", "nvidia-smi")),
    ({"devices": 0}, ("the driver lists no device", "nvidia-smi")),
], ids=["no driver", "old driver", "no GPU", "none counted"])
def test_without_a_driver_or_a_gpu_the_message_says_which(install, state, said):
    install(fake_cupy(**state))
    for text in said:
        assert text in message()
    assert "toolkit" not in message()
    assert "not installed" not in message()


def test_a_device_that_does_not_exist_is_told_from_those_that_do(install):
    install(fake_cupy(devices=2))
    assert "cuda:2 does not exist: this machine has 2 CUDA device(s)" in message("cuda:2")


# ---- no toolkit, found by the first kernels

@pytest.mark.parametrize("state", [{"kernel_error": NO_NVRTC}, {"kernel_error": NO_HEADERS}, {"product_error": NO_CUBLAS}],
                         ids=["no NVRTC", "no headers", "no cuBLAS"])
@pytest.mark.parametrize(("built_for", "wheel"), [(13020, "cupy-cuda13x[ctk]"), (12090, "cupy-cuda12x[ctk]")])
def test_without_the_toolkit_the_message_names_the_wheel_that_fits(install, state, built_for, wheel):
    install(fake_cupy(built_for=built_for, **state))
    assert "found a GPU but not the CUDA toolkit" in message()
    assert f'pip install "{wheel}"' in message()
    assert "\n" not in message()


@pytest.mark.parametrize("error", [MemoryError("Out of memory allocating 512 bytes"),
                                   CUDARuntimeError("cudaErrorDevicesUnavailable: busy")])
def test_another_failure_of_the_first_kernel_is_not_blamed_on_the_toolkit(install, error):
    install(fake_cupy(kernel_error=error))
    assert str(error) in message()
    assert "nvidia-smi" in message()
    assert "toolkit" not in message()


def test_an_error_is_kept_as_the_cause(install):
    install(fake_cupy(kernel_error=NO_NVRTC))
    with pytest.raises(mr.DeviceError) as error:
        cuda.cuda_module()
    assert error.value.__cause__ is NO_NVRTC


# ---- a device that works

def test_the_first_kernels_run_once_for_each_device_and_again_after_a_failure(install):
    good = fake_cupy(devices=2)
    install(good)
    for _ in range(3):
        assert cuda.cuda_module(0) is good
    assert good.counted == 1
    cuda.cuda_module(1)
    assert good.counted == 2
    bad = fake_cupy(count_error=NO_DEVICE)
    install(bad)
    for attempt in (1, 2):
        message()
        assert bad.counted == attempt


def test_what_is_moved_makes_its_device_the_current_one(install):
    install(fake_cupy(devices=2))
    backend.to_device(np.ones(2), "cuda:1")
    assert FakeDevice.current == 1
    backend.to_device(np.ones(2), "cuda")
    assert FakeDevice.current == 0


@pytest.mark.parametrize(("asked", "full"), [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1")])
def test_a_usable_device_is_named_in_full(install, asked, full):
    install(fake_cupy(devices=2))
    assert backend.usable_device(asked) == full


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "", None, 0])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(mr.DeviceError, match=r"unknown device.*expected"):
        backend.parse_device(name)


def test_an_array_stays_beside_an_array_of_the_same_device():
    a, b = np.ones(2), np.zeros(3)
    assert backend.beside(a, b) is a


@pytest.mark.parametrize("value", [1, [1, 2], np.float32(1), np.ones((2, 3))])
def test_anything_that_numpy_takes_becomes_a_host_array(value):
    assert isinstance(backend.as_host_array(value), np.ndarray)
    np.testing.assert_array_equal(backend.as_host_array(value), np.asarray(value))


def test_an_array_of_cupy_is_fetched_for_a_file(install, tmp_path):
    cupy = fake_cupy()
    install(cupy)
    array = cupy.asarray(np.arange(3.0))
    assert backend.is_array(array)
    mr.save({"weight": array}, tmp_path / "file.npz")
    np.testing.assert_array_equal(mr.load(tmp_path / "file.npz")["weight"], np.arange(3.0))


# ---- the installed CuPy, on a machine without a GPU

def the_real_cupy():
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    cupy = cuda.import_cupy()
    if cupy.cuda.is_available():
        pytest.skip("this machine has a GPU")
    return cupy


def test_real_cupy_without_a_driver_gives_the_message_of_a_missing_driver():
    the_real_cupy()
    assert "CuPy found no NVIDIA driver (cudaErrorInsufficientDriver" in message()


def test_real_cupy_raises_what_the_fakes_raise():
    cupy = the_real_cupy()
    with pytest.raises(RuntimeError, match="cudaErrorInsufficientDriver") as error:
        cupy.cuda.runtime.getDeviceCount()
    assert type(error.value).__name__ == "CUDARuntimeError"
    assert cupy.cuda.runtime.driverGetVersion() == 0
    assert cupy.cuda.runtime.runtimeGetVersion() // 1000 in (12, 13)


def test_real_errors_of_a_missing_toolkit_are_known_as_such():
    cupy = the_real_cupy()
    missing = []
    for ask in (lambda: cupy.cuda.nvrtc.getVersion(), lambda: cupy.cuda.cublas.create()):
        try:
            ask()
        except (RuntimeError, ImportError) as error:
            if type(error).__name__ not in ("CUDARuntimeError", "CUBLASError"):  # then the library is there
                missing.append(error)
    if not missing:
        pytest.skip("the toolkit is installed")
    assert all(cuda.is_missing_toolkit(error) for error in missing), missing


def test_importing_minires_and_working_on_the_cpu_never_imports_the_real_cupy():
    code = "import sys, minires as mr; mr.Tensor([1.0]).to('cpu'); print('cupy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_module_that_holds_nothing_still_refuses_a_device_that_cannot_be_used(install):
    install(None)
    for module in (mr.nn.ReLU(), mr.nn.Linear(2, 3)):
        with pytest.raises(mr.DeviceError, match="CuPy, which is not installed"):
            module.to("cuda")
        with pytest.raises(mr.DeviceError, match="unknown device 'gpu'"):
            module.to("gpu")
        assert module.to("cpu") is module


# ---- finiteness

@pytest.mark.parametrize("device", ["cpu", "cuda"], ids=["numpy", "strict-cupy"])
@pytest.mark.parametrize(("values", "finite"), [
    ([[1.0, -2.0], [0.0, 3e38]], True), ([], True), (4.0, True), ([[1.0, np.nan], [2.0, 3.0]], False),
    ([1.0, np.inf], False), ([-np.inf, 1.0], False), (np.nan, False), ([1, 2], True)])
def test_an_array_is_finite_where_each_element_is(device, values, finite):
    with installed() if device == "cuda" else contextlib.nullcontext():
        assert backend.all_finite(backend.to_device(np.array(values), device)) is finite
