"""What the comparisons with PyTorch share. Each file skips where PyTorch is missing, so it is imported late here."""
import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    """PyTorch on one thread: the order of its sums, and thus its rounding, does not depend on the machine's cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def same_weights_in_each_run():
    """What PyTorch draws in a test does not depend on the tests before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Each test that asks for it runs in both precisions."""
    return request.param
