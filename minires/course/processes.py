"""Jobs in several processes: for nets so small that threads inside an op gain nothing."""
import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from minires.arrays.blocking import available_cores
from minires.arrays.threads import set_threads
from minires.errors import ArgumentError
from minires.text.terminal import progress

T = TypeVar("T")

PIPE_OF_PARENT = "MINIRES_PIPE_OF_PARENT"  # in the environment of a lesson whose standard input ends with the course
ONE_THREAD: dict[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def in_processes(function: Callable[..., T], jobs: Iterable[tuple[Any, ...]], label: str,
                 processes: int | None = None) -> Iterator[T]:
    """Yield function(*job) for each of the jobs, in their order, computed by several processes of one thread each.

    The processes are new ones (spawned), which know nothing of this program but what they are given. So `function` has to
    stand in a module that they can import, minires.course.brief_training say, and not in a lesson's file. Give the longest
    jobs first. Where the loop is left, by Ctrl-C say, they are ended; what was yielded by then is the caller's. Where this
    process is killed, they end too.

    Args:
        function: a function of a module.
        jobs: a tuple of arguments for each call; arguments and results are pickled.
        label: what a terminal shows beside the count of the jobs that are done.
        processes: how many at most; 1 to call `function` in this process, such as for a GPU or a debugger. None: as many as
            there are cores.

    Raises:
        ArgumentError: the function stands in the program's own file.
        Whatever `function` raises.
    """
    jobs = list(jobs)
    processes = min(processes or available_cores(), len(jobs))
    if processes <= 1:
        for job in progress(jobs, label):
            yield function(*job)
        return
    if function.__module__ == "__main__":
        raise ArgumentError(f"in_processes: {function.__qualname__} stands in the file that was started, which other "
                            "processes cannot import: move it to a module, or give processes=1")
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_prepare)
    try:
        with _start_without_main():
            futures = [executor.submit(function, *job) for job in jobs]  # this starts the processes
        for future in progress(futures, label):
            yield future.result()
    except BaseException:  # GeneratorExit too: nobody waits for the rest
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _prepare():
    """In a new process: one thread. Ctrl-C is left to the process that waits for the results, with which this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_after(parent.join)
    set_threads(1)


def end_with_course() -> None:
    """Where `course.run` started this process: end with the process that did, even if that is killed."""
    if os.environ.pop(PIPE_OF_PARENT, None) is not None:
        _end_after(functools.partial(os.read, sys.stdin.fileno(), 1))  # not through its buffer, which Python closes


def _end_after(wait: Callable[[], Any]) -> None:
    """End this process at once as soon as `wait()` returns; meanwhile it waits in a thread of its own."""
    def watch():
        wait()
        os._exit(1)  # nobody is there to take a result or an error

    threading.Thread(target=watch, daemon=True, name="minires: wait for the parent's end").start()


@contextlib.contextmanager
def _start_without_main():
    """A block in which processes start with one thread for BLAS, and do not run this program's file again, as they would."""
    main, environment = sys.modules["__main__"], {name: os.environ.get(name) for name in ONE_THREAD}
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
