"""A function in a process of its own, where the most memory that it ever held is its own too."""
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def alone(function, arguments: dict, threads: int = 1) -> dict:
    """What `function(**arguments)` returns in a fresh process: a dict, to which "peak" is added, in bytes.

    Args:
        function: one of a module, which is imported there.
        arguments: by name; they and the result are what JSON can hold.
        threads: of BLAS and of PyTorch.

    Raises:
        RuntimeError: the process ended with an error, which the message quotes.
    """
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    module = function.__module__ if function.__module__ != "__main__" else sys.modules["__main__"].__spec__.name
    done = subprocess.run([sys.executable, "-m", "benchmarks.alone", module, function.__name__, json.dumps(arguments)],
                          env=os.environ | pinned | {"PYTHONPATH": path}, capture_output=True, text=True, encoding="utf-8",
                          errors="replace")
    if done.returncode:
        raise RuntimeError(f"{module}.{function.__name__}({arguments}) ended with status {done.returncode}: "
                           f"{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def resident_bytes() -> int:
    """The memory that this process holds now; 0 where the system does not tell."""
    return _status("VmRSS") or 0


def peak_bytes() -> int:
    """The most memory that this process has ever held.

    Raises:
        RuntimeError: the system tells it to nobody.
    """
    peak = _status("VmHWM")
    if peak is None and sys.platform == "darwin":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if peak is None:
        raise RuntimeError("the peak memory of a process can be read on Linux and macOS only")
    return peak


def _status(field):
    """A field of /proc/self/status in bytes, or None where there is no such file."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = [line.split() for line in status.read_text(encoding="utf-8").splitlines() if line.startswith(f"{field}:")]
    return 1024 * int(lines[0][1]) if lines else None


def main(module, name, arguments):
    """Run the function and print its result as the last line."""
    result = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    print(json.dumps({**result, "peak": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
