"""Each block of the page on speed and memory runs, and prints what the page says."""
import numpy as np
import pytest

import minires as mr
from tests.docs.page import blocks, python_blocks, run

PAGE = "speed_and_memory.md"


@pytest.fixture(autouse=True)
def the_setting_comes_back():
    yield
    mr.set_threads(None)


def test_its_blocks_print_what_the_page_shows(capsys):
    printed, names = [], {}
    for block in python_blocks(PAGE):
        run([block], names)
        printed.append(capsys.readouterr().out)
    assert printed == blocks(PAGE, "text")
    assert len(printed) == 3


def test_what_is_not_summed_over_the_batch_has_the_same_bits_with_any_number_of_threads():
    def values(threads):
        mr.set_threads(threads)
        x = mr.Tensor(np.random.default_rng(1).standard_normal((64, 16, 32, 32), dtype=np.float32), requires_grad=True)
        weight = mr.Tensor(np.random.default_rng(2).standard_normal((16, 16, 3, 3), dtype=np.float32), requires_grad=True)
        y = mr.ops.shortcut_add(mr.ops.relu(mr.ops.conv2d(x, weight, padding=1)), x)
        y.backward(np.random.default_rng(3).standard_normal(y.shape, dtype=np.float32))
        return y.data, x.grad, weight.grad

    one, three = values(1), values(3)
    np.testing.assert_array_equal(one[0], three[0])
    np.testing.assert_array_equal(one[1], three[1])
    assert not np.array_equal(one[2], three[2])  # a sum over the batch
