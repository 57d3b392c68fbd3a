"""Threads over ranges of the batch: the same bits for the same number, nearly the same for another, errors and settings."""
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import minires as mr
from minires.arrays import blocking, threads
from minires.arrays.threads import elementwise, over_ranges
from minires.errors import ArgumentError
from tests.ops.test_every_op import CASES, NAMES, call, cotangent

BIG = np.zeros(threads.SMALLEST_SHARED)


class NeedsAThread(Exception):
    pass


def no_pool(process, size):
    raise NeedsAThread


@pytest.fixture(autouse=True)
def the_setting_comes_back():
    yield
    mr.set_threads(None)


def gradients(n):
    """The loss and every gradient of a small net on a batch large enough to be shared, with n threads."""
    mr.set_threads(n)
    model = mr.models.cifar_net(8, width=16)
    rng = np.random.default_rng(0)
    x = mr.Tensor(rng.standard_normal((40, 3, 32, 32), dtype=np.float32), requires_grad=True)
    loss = mr.ops.cross_entropy(model(x), rng.integers(0, 10, 40))
    loss.backward()
    return [loss.data, x.grad, *(weight.grad for weight in model.parameters())]


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_ranges_cover_what_is_cut_once_and_in_order(n):
    mr.set_threads(n)
    ranges = over_ranges(lambda some: (some.start, some.stop), 23, BIG)
    assert len(ranges) == n
    assert [k for start, stop in ranges for k in range(start, stop)] == list(range(23))


def test_there_are_never_more_ranges_than_items():
    mr.set_threads(8)
    assert over_ranges(lambda some: some, 3, BIG) == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_ranges_run_in_threads_of_their_own():
    mr.set_threads(3)
    meet = threading.Barrier(3, timeout=30)  # passes only when three threads wait at once

    def work(some):
        meet.wait()
        return threading.get_ident()

    assert len(set(over_ranges(work, 3, BIG))) == 3


@pytest.mark.parametrize("whole", [BIG[:-1], np.zeros(3)])
def test_little_work_stays_with_the_caller(whole):
    mr.set_threads(4)
    assert over_ranges(lambda some: (some, threading.get_ident()), 12, whole) == [(slice(0, 12), threading.get_ident())]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_definition_runs_in_one_thread(case, monkeypatch):
    mr.set_threads(2)
    monkeypatch.setattr(threads, "SMALLEST_SHARED", 1)
    monkeypatch.setattr(threads, "pool", no_pool)
    with mr.reference_ops():
        _, y = call(case, case.arrays)
        (y + y * y).backward(cotangent(y))  # a fork: its gradients are added


def test_the_fast_form_would_take_another_thread(monkeypatch):
    mr.set_threads(2)
    monkeypatch.setattr(threads, "SMALLEST_SHARED", 1)
    monkeypatch.setattr(threads, "pool", no_pool)
    x = mr.Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(NeedsAThread):
        mr.ops.relu(x)
    y = x * 1
    with pytest.raises(NeedsAThread):
        (y + y * y).backward(np.ones((2, 3)))


def test_an_error_in_another_thread_reaches_the_caller():
    mr.set_threads(2)

    def work(some):
        if some.start:
            raise ZeroDivisionError("in the second range")

    with pytest.raises(ZeroDivisionError, match="in the second range"):
        over_ranges(work, 2, BIG)


def test_errstate_holds_in_every_thread():
    mr.set_threads(3)
    huge = np.full(threads.SMALLEST_SHARED, 1e300)
    with np.errstate(over="ignore"):
        assert np.isinf(elementwise(np.multiply, huge, huge)).all()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        elementwise(np.multiply, huge, huge)


@pytest.mark.parametrize("shape", [(), (3, 4), (8, 16, 64, 64)])
def test_elementwise_is_the_function(shape):
    mr.set_threads(3)
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal(shape), rng.standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(elementwise(np.subtract, b, a), b - a)
    assert elementwise(np.subtract, b, a).dtype == np.float64


def test_elementwise_keeps_channels_last():
    x = np.zeros((2, 8, 64, 64, 8), dtype=np.float32)[0].transpose(0, 3, 1, 2)
    assert elementwise(np.negative, x).strides == x.strides


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_same_number_of_threads_gives_the_same_bits(n):
    for first, second in zip(gradients(n), gradients(n), strict=True):
        np.testing.assert_array_equal(first, second)


def test_blas_has_one_thread_from_the_first_op_on_however_small_that_is():
    """Otherwise the first large array would change the bits of later products."""
    pytest.importorskip("threadpoolctl")
    code = """
import minires as mr
from threadpoolctl import threadpool_info

def threads_of_blas():
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

print(threads_of_blas())
mr.ops.relu(mr.Tensor([1.0]))
print(threads_of_blas())
"""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    before, after = done.stdout.split()
    if before == "1":
        pytest.skip("the BLAS of this NumPy has one thread anyway")
    assert after == "1"


def test_another_number_of_threads_gives_the_same_up_to_rounding():
    for one, three in zip(gradients(1), gradients(3), strict=True):
        np.testing.assert_allclose(three, one, atol=2e-4 * np.abs(one).max())


def test_the_number_may_be_one_of_numpys():
    mr.set_threads(np.int64(3))
    assert mr.get_threads() == 3


def test_the_default_is_the_number_of_cores():
    assert mr.get_threads() == threads.available_cores() >= 1
    mr.set_threads(5)
    assert mr.get_threads() == 5
    mr.set_threads(None)
    assert mr.get_threads() == threads.available_cores()


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("", 8)])
def test_a_container_that_has_a_share_of_the_cores_gets_no_more_threads(quota, cores, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(quota, encoding="ascii")
    monkeypatch.setattr(blocking, "Path", lambda path: tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert threads.available_cores.__wrapped__() == cores


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True])
def test_a_number_that_is_none_is_refused(n):
    with pytest.raises(ArgumentError, match=r"set_threads: got .* expected a whole number from 1"):
        mr.set_threads(n)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_has_threads_of_its_own():
    code = """
import os, numpy as np, minires as mr
from minires.arrays.threads import elementwise
mr.set_threads(2)
x = np.ones(600_000)
elementwise(np.negative, x)
child = os.fork()
if child == 0:
    os._exit(0 if (elementwise(np.negative, x) == -1).all() else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "0", done.stderr
