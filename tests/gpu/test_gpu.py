"""On a CUDA GPU: what it computes is what the CPU computes. Elsewhere these tests skip, and say why."""
import numpy as np
import pytest

import minires as mr
from benchmarks.gpu_checks import checks
from minires.arrays.backend import usable_device
from minires.arrays.cuda import cuda_module

pytestmark = pytest.mark.gpu
CHECKS = dict(checks("cuda:0", "cpu"))


@pytest.fixture(autouse=True)
def gpu():
    """The test runs where a CUDA device can be used."""
    try:
        usable_device("cuda")
    except mr.DeviceError as error:
        pytest.skip(f"no GPU: {error}")


@pytest.mark.parametrize("what", CHECKS)
def test_the_gpu_computes_what_the_cpu_computes(what):
    print(CHECKS[what]())


def test_the_same_steps_give_the_same_bits():
    from benchmarks.gpu_checks import Step

    runs = [Step("cuda:0", depth=8, batch=16) for _ in range(2)]
    losses = [[step().item() for _ in range(5)] for step in runs]
    assert losses[0] == losses[1]


def test_memory_does_not_grow_from_step_to_step():
    from benchmarks.gpu_checks import Step

    step, used = Step("cuda:0", depth=8, batch=16), []
    for _ in range(6):
        step()
        used.append(cuda_module().get_default_memory_pool().used_bytes())
    assert used[1:] == [used[1]] * 5


def test_devices_that_are_mixed_are_an_error_with_their_names():
    with pytest.raises(mr.DeviceError, match=r"argument 0 on cuda:0, argument 1 on cpu"):
        mr.ops.matmul(mr.Tensor(np.eye(2)).to("cuda"), mr.Tensor(np.eye(2)))


def test_a_second_gpu_keeps_what_is_moved_to_it():
    if cuda_module().cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one GPU only")
    for what, check in checks("cuda:1", "cpu"):
        if what.startswith("every op"):
            check()
