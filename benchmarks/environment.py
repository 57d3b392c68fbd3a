"""What figures were measured on and with: read from the system, without the names of hosts or folders."""
import datetime
import os
import platform
import re
from pathlib import Path

import numpy as np

import minires as mr


def describe(engines) -> dict:
    """{"CPU": …, "cores": …, …}, as text; versions of the engines included."""
    versions = {name: engine.version for name, engine in engines.items() if "," not in name}
    return {
        "CPU": cpu_name(),
        "cores": str(usable_cores()),
        "memory": memory(),
        "system": f"{platform.system()}, {platform.machine()}",
        "Python": platform.python_version(),
        "NumPy": f"{np.__version__}, {blas()}",
        **versions,
        "minires": mr.__version__,
    }


def today() -> str:
    """The date, as 2026-01-31."""
    return datetime.date.today().isoformat()


def cpu_name() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def memory() -> str:
    """The machine's memory in GB, where the system tells it."""
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"
    except (AttributeError, ValueError, OSError):
        return "unknown"


def blas() -> str:
    """Name and version of the BLAS that NumPy uses, as `threadpoolctl` finds it."""
    import threadpoolctl

    found = [f"{library['internal_api']} {library['version']}" for library in threadpoolctl.threadpool_info()
             if library["user_api"] == "blas" and "numpy" in library["filepath"]]
    return ", ".join(found) or "BLAS unknown"
