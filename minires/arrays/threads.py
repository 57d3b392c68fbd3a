"""Threads of our own: the fast form of an op works on ranges of the batch, one range to a thread.

NumPy lets other threads run while it computes. BLAS, which has threads of its own, is kept to one from the first op on,
as it gains nothing from more on products as small as ours. Each thread's range, and the order in which partial sums are
added, follow from the number of threads alone, so that two runs with the same number give the same bits.
"""
import contextlib
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from minires.arguments import is_whole_number
from minires.arrays.backend import Array, array_module
from minires.arrays.blocking import available_cores
from minires.arrays.memory import empty_like
from minires.errors import ArgumentError

SMALLEST_SHARED = 500_000  # elements: to start and join a thread takes as long as to work on some ten thousands

_settings: dict[str, int | None] = {"threads": None}  # None: as many as there are cores


def set_threads(n: int | None) -> None:
    """How many threads an op may use, from 1; None for as many as there are cores, which is the default.

    Results with different numbers differ by rounding, as the sums over a batch are then added in another order.

    Raises:
        ArgumentError: n is not a positive whole number.
    """
    if n is not None and not is_whole_number(n, 1):
        raise ArgumentError(f"set_threads: got {n!r}, expected a whole number from 1, or None for the number of cores")
    _settings["threads"] = None if n is None else int(n)


def get_threads() -> int:
    """How many threads an op may use."""
    return _settings["threads"] or available_cores()


def elementwise(function: Callable[..., Any], *arrays: Array) -> Array:
    """function(*arrays), of arrays of one shape, into a new array with the first one's memory order."""
    out = empty_like(arrays[0], array_module(arrays[0]).result_type(*arrays))
    if out.size < SMALLEST_SHARED:
        return function(*arrays, out=out)

    def work(some):
        function(*[array[some] for array in arrays], out=out[some])

    over_ranges(work, len(out), out)
    return out


def over_ranges(work: Callable[[slice], Any], count: int, whole: Array) -> list[Any]:
    """[work(range), …] for slices that cut range(count) among the threads, in order.

    Args:
        work: called on a slice; writes its part of a result, or returns its part of a sum.
        count: what is cut: the images of a batch, or the lines of a matrix.
        whole: the array that is worked on. A small one is left to the calling thread, and one on a GPU, which has threads
            of its own.
    """
    few = whole.size < SMALLEST_SHARED or array_module(whole) is not np
    threads = 1 if few else min(get_threads(), count)
    if threads == 1:
        return [work(slice(0, count))]
    bounds = [count * i // threads for i in range(threads + 1)]
    ranges = [slice(start, stop) for start, stop in pairwise(bounds)]
    # a copy of the context takes numpy.errstate along
    others = [pool(os.getpid(), threads - 1).submit(contextvars.copy_context().run, work, part) for part in ranges[1:]]
    return [work(ranges[0]), *(other.result() for other in others)]


@cache
def pool(process: int, size: int) -> ThreadPoolExecutor:
    """The threads that wait for work; a process that was forked needs its own."""
    return ThreadPoolExecutor(size, thread_name_prefix="minires")


@cache
def limit_blas_to_one_thread() -> Any:
    """Keep BLAS to one thread from now on, where threadpoolctl is installed; on products this small it seldom uses more."""
    with contextlib.suppress(ImportError):
        import threadpoolctl
        return threadpoolctl.threadpool_limits(1, user_api="blas")
    return None
