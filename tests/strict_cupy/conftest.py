"""The double in place of CuPy, for the tests of the double."""
import pytest

from tests.strict_cupy import installed


@pytest.fixture
def cupy():
    """The double, installed as `cupy`."""
    with installed() as module:
        yield module
