"""Into pieces of which size the fast forms cut their work: what stays in a CPU's cache, and few launches on a GPU."""
import contextlib
import functools
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

LARGE_KERNEL = 400_000  # numbers: 1.6 MB in float32, about what a CPU's L2 holds


def panel_bytes(xp: ModuleType, size: int) -> int:
    """How large a scratch matrix should be that is multiplied with a kernel of `size` numbers.

    On a CPU it must stay in L2; where already the kernel does not, more rows use it better. A GPU wants few launches.
    """
    if xp is not np:
        return 256 * 1024 * 1024
    return 640 * 1024 if cuts_products(xp, size) else 8 * 1024 * 1024


def block_bytes(xp: ModuleType) -> int:
    """How much of an array should go through several passes at a time: what stays in a CPU's cache; all of it on a GPU."""
    return 512 * 1024 if xp is np else sys.maxsize


def cuts_products(xp: ModuleType, size: int) -> bool:
    """Is the product of many rows with a kernel of `size` numbers better cut into small ones?

    On a CPU they are faster, if the kernel stays in L2 beside the rows; on a GPU each is one more launch.
    """
    return xp is np and size < LARGE_KERNEL


@functools.cache
def rows_of_one_product(xp: ModuleType, rows: int, size: int) -> int:
    """Into products of how many rows a matrix product (rows, K) @ (K, O) with K·O = size should be cut, on a CPU.

    OpenBLAS multiplies small matrices, of M·K·O up to a million, without first copying them, half as fast again. Where
    that leaves less than 16 rows, they are not cut. The result divides `rows`.
    """
    most = 1_000_000 // size
    return next((count for count in range(min(most, rows), 15, -1) if rows % count == 0), rows)


@cache
def available_cores() -> int:
    """The cores that this process may use: those it may run on, or its container's share (cgroup 2) where that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores
