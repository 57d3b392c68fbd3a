"""Jobs in several processes: order, errors, one thread each, and that nothing of them is left."""
import math
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from minires.arrays import threads
from minires.course import theory
from minires.course.processes import in_processes
from minires.errors import ArgumentError

SCRIPT = """
import math
from minires.course.processes import in_processes
print("started")
print(list(in_processes(math.hypot, [(3, 4), (5, 12)], "adding", processes=2)))
"""


def test_results_come_in_the_order_of_the_jobs():
    sizes = [14, 7, 4, 28]
    found = list(in_processes(theory.padding_factor, [(H,) for H in sizes], "sizes", processes=2))
    assert found == [theory.padding_factor(H) for H in sizes]


def test_jobs_run_in_other_processes_or_with_one_in_this():
    assert os.getpid() not in in_processes(os.getpid, [()] * 2, "asking", processes=2)
    assert set(in_processes(os.getpid, [()] * 2, "asking", processes=1)) == {os.getpid()}
    assert set(in_processes(os.getpid, [()], "asking", processes=4)) == {os.getpid()}


def test_each_process_has_one_thread_and_this_one_keeps_its_settings(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = threads.get_threads()
    assert set(in_processes(threads.get_threads, [()] * 2, "asking", processes=2)) == {1}
    assert set(in_processes(os.getenv, [("OMP_NUM_THREADS",)] * 2, "asking", processes=2)) == {"1"}
    assert (threads.get_threads(), os.environ["OMP_NUM_THREADS"]) == (before, "7")
    assert "MKL_NUM_THREADS" not in os.environ


def test_an_error_of_a_job_is_raised_here_and_ends_the_processes():
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(in_processes(math.sqrt, [(-1.0,), (4.0,)], "roots", processes=2))
    assert multiprocessing.active_children() == []


def test_who_leaves_the_loop_early_waits_for_no_job():
    results = in_processes(time.sleep, [(0,), (3600,)], "sleeping", processes=2)
    assert next(results) is None
    results.close()
    assert multiprocessing.active_children() == []


def test_a_function_of_the_file_that_was_started_is_refused(monkeypatch):
    def job():
        return 1
    monkeypatch.setattr(job, "__module__", "__main__")
    with pytest.raises(ArgumentError, match="move it to a module"):
        next(in_processes(job, [()] * 2, "working", processes=2))
    assert list(in_processes(job, [()] * 2, "working", processes=1)) == [1, 1]


def test_a_script_needs_no_guard_as_its_file_is_not_run_again(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "started\n[5.0, 13.0]\n"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of Unix")
def test_processes_end_with_one_that_is_killed():
    """They hold this pipe's other end: it is closed when the last of them has ended."""
    script = ("import time\nfrom minires.course.processes import in_processes\n"
              "for done in in_processes(time.sleep, [(0,), (0,), (3600,), (3600,)], 'sleeping', processes=2):\n"
              "    print('one', flush=True)\n")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "one\n"
    assert process.stdout.readline() == "one\n"
    process.kill()
    assert process.communicate(timeout=60)[0] == ""
