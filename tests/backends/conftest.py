"""The two backends: NumPy, and CuPy in the shape of its strict double."""
import pytest

from tests.strict_cupy import installed, meter, no_sync


@pytest.fixture(params=["cpu", "cuda"], ids=["numpy", "strict-cupy"])
def device(request):
    """Each test that asks for it runs twice: on the CPU, and on the first device of the strict double."""
    if request.param == "cpu":
        yield "cpu"
    else:
        with installed():
            _warm_up("cuda")
            yield "cuda"


@pytest.fixture
def cuda():
    """The strict double of CuPy, installed: its meters at zero, and its devices used before."""
    with installed():
        _warm_up("cuda:1")
        _warm_up("cuda:0")
        yield meter


@pytest.fixture
def nothing_waits(device):
    """The test runs inside `no_sync()`."""
    with no_sync():
        yield


def _warm_up(device):
    """The first use of a device runs small kernels and waits for them."""
    import minires as mr

    mr.Tensor([0.0]).to(device)
    meter.reset()
