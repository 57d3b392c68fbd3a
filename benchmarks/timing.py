"""Timing rivals fairly: in one process, on pinned threads, taking turns."""
import os
import platform
import time
from pathlib import Path

import numpy as np


def interleaved(candidates, rounds: int, warm_up: int = 2) -> dict:
    """Seconds of each round of each candidate, which take turns so that a busy moment of the machine hits them alike.

    Args:
        candidates: {name: function without arguments}.
        rounds: how often each is timed.
        warm_up: how often each runs before that.

    Returns:
        {name: array (rounds,)}.
    """
    seconds = {name: [] for name in candidates}
    for i in range(warm_up + rounds):
        for name, function in candidates.items():
            start = time.perf_counter()
            function()
            if i >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def pin_threads(count: int):
    """Let NumPy's BLAS and PyTorch use `count` threads, whatever the environment says."""
    import threadpoolctl
    import torch

    torch.set_num_threads(count)
    threadpoolctl.threadpool_limits(count)


def machine() -> str:
    """One line that says what the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text(encoding="utf-8").splitlines()
                 if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, NumPy {np.__version__}"
