"""How large the pieces are in which arrays are worked on."""
import sys

import numpy as np

from minires.arrays import blocking
from tests.strict_cupy import installed


def test_a_block_fits_in_the_cache_of_a_cpu_and_is_worth_a_call():
    assert 64 * 1024 <= blocking.block_bytes(np) <= 1024 * 1024


def test_a_gpu_gets_everything_at_once():
    with installed() as cupy:
        assert blocking.block_bytes(cupy) == sys.maxsize
