"""`minires doctor`: what is installed here, on how many cores, with which GPU, and what a GPU would need.

Whatever is missing or broken becomes a line of the report, never an error: the report is for those whose installation
does not work.
"""
from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable

import minires
from minires.arrays import backend, cuda
from minires.errors import DeviceError
from minires.text.tables import text_table

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `doctor` to the commands of `minires`."""
    parser = commands.add_parser("doctor", help="what is installed here, and what a GPU would need")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace | None = None) -> int:
    """Print the report; returns 0, with a GPU or without."""
    print(report())
    return 0


def report() -> str:
    """The report as text: a line "what: value" for each fact, then what to do for a GPU."""
    facts = {"minires": _minires, "Python": _python, "system": _system, "NumPy": _numpy, "BLAS": _blas, "cores": _cores,
             "threads": _threads, "matplotlib": _matplotlib, "CuPy": _cupy, "NVIDIA driver": _driver}
    lines = [(what, _safely(fact)) for what, fact in facts.items()]
    with contextlib.suppress(Exception):  # without CuPy there is none to list
        lines += _devices()
    return "\n".join([*text_table(lines), "", _safely(_advice)])


def _safely(fact: Callable[[], str]) -> str:
    """What the function says, or the error that it raised as one line."""
    try:
        return fact()
    except Exception as error:  # a broken installation raises anything
        return f"not known: {type(error).__name__}: {_one_line(error)}"


def _one_line(error):
    return " ".join(str(error).split())


# ---- facts

def _minires():
    return f"{minires.__version__}, in {os.path.dirname(os.path.abspath(minires.__file__))}"


def _python():
    return f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"


def _system():
    return f"{platform.system()} {platform.release()}, {platform.machine()}"


def _numpy():
    return importlib.import_module("numpy").__version__


def _matplotlib():
    return importlib.import_module("matplotlib").__version__


def _blas():
    """The library behind NumPy's matrix products: as it is loaded if threadpoolctl is there to tell, or as it was built."""
    numpy = importlib.import_module("numpy")
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        built = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{built.get('name', 'unknown')} {built.get('version', '')} (as built; pip install threadpoolctl tells more)"
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return "; ".join(f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} thread(s)" for pool in pools) or \
        "none that threadpoolctl knows (Accelerate on a Mac, perhaps)"


def _cores():
    count = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return f"{count}" + ("" if usable == count else f", of which this process may use {usable}")


def _threads():
    """How many threads an op takes, and how many BLAS takes inside it."""
    own = f"{minires.get_threads()} in an op (mr.set_threads changes it)"
    if importlib.util.find_spec("threadpoolctl"):
        return f"{own}; BLAS is kept to one from the first on"
    given = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    return (f"{own}; in BLAS {', '.join(given) or 'as many as it likes'}; "
            "pip install threadpoolctl lets minires keep it to one")


def _cupy():
    try:
        cupy = cuda.import_cupy()
    except DeviceError as error:
        return "not installed" if isinstance(error.__cause__, ModuleNotFoundError) else f"broken: {_one_line(error)}"
    return f"{cupy.__version__}, for CUDA {cuda.cuda_version(cupy.cuda.runtime.runtimeGetVersion())}"


def _driver():
    """What CuPy says of the driver; None was found where its version is 0."""
    try:
        version = cuda.import_cupy().cuda.runtime.driverGetVersion()
    except DeviceError:
        return "not known without CuPy (nvidia-smi tells)"
    return f"for CUDA up to {cuda.cuda_version(version)}" if version else "none found"


def _devices() -> list[tuple[str, str]]:
    """A line for each CUDA device: its name, its memory, and whether minires can use it."""
    cupy = cuda.import_cupy()
    return [(f"cuda:{index}", _safely(functools.partial(_device, cupy, index)))
            for index in range(cuda.device_count(cupy))]


def _device(cupy, index):
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"]
    with cupy.cuda.Device(index):
        free, total = cupy.cuda.runtime.memGetInfo()
    name = name.decode() if isinstance(name, bytes) else name
    gib = 2 ** 30
    return f"{name}, {total / gib:.1f} GiB of memory, {free / gib:.1f} GiB free"


def _advice():
    """What to do to use a GPU: nothing, or what the error of the first device says."""
    try:
        backend.usable_device("cuda")
    except DeviceError as error:
        if platform.system() == "Darwin":
            return "A GPU: CUDA does not exist on a Mac. minires runs on the CPU here."
        return f"A GPU: cannot be used here: {_one_line(error)}.\nOn the CPU everything works without one."
    return 'A GPU: can be used: say .to("cuda"), or --device cuda after minires lesson NAME and minires train MODEL.'
