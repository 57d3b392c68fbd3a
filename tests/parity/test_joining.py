"""concatenate, stack, split, pad, where and clip against PyTorch."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
from minires import ops
from tests.parity.comparison import assert_parity, normal


@pytest.mark.parametrize(("shapes", "axis"), [([(2, 3), (4, 3)], 0), ([(2, 3), (2, 1), (2, 2)], -1)])
def test_concatenate(shapes, axis, dtype):
    inputs = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    assert_parity(lambda *x: ops.concatenate(x, axis), lambda *x: torch.cat(x, axis), inputs, dtype)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stack(axis, dtype):
    inputs = [normal(2, 3, seed=i) for i in range(3)]
    assert_parity(lambda *x: ops.stack(x, axis), lambda *x: torch.stack(x, axis), inputs, dtype)


def test_split(dtype):
    assert_parity(lambda x: ops.split(x, [1, 3, 2], 1)[1], lambda x: torch.split(x, [1, 3, 2], 1)[1], [normal(2, 6)], dtype)
    assert_parity(lambda x: ops.split(x, 3, -1)[2], lambda x: torch.chunk(x, 3, -1)[2], [normal(2, 6)], dtype)


def test_pad(dtype):
    assert_parity(lambda x: ops.pad(x, ((0, 0), (1, 2), (3, 0)), -0.5),
                  lambda x: torch.nn.functional.pad(x, (3, 0, 1, 2), value=-0.5), [normal(2, 3, 4)], dtype)


@pytest.mark.parametrize(("shape", "a", "b"), [((3, 4), (3, 4), (3, 4)), ((4,), (3, 1), (4,)), ((3, 1), (2, 3, 4), ())])
def test_where(shape, a, b, dtype):
    condition = normal(*shape, seed=5) > 0
    assert_parity(lambda a, b: ops.where(condition, a, b), lambda a, b: torch.where(torch.from_numpy(condition), a, b),
                  [normal(*a), normal(*b, seed=2)], dtype)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (None, 0.5), (0, None), (1, 1)])
def test_clip_at_its_bounds_too(low, high, dtype):
    x = np.concatenate([3 * normal(20), [-1, 0, 0.5, 1]])
    assert_parity(lambda x: ops.clip(x, low, high), lambda x: torch.clamp(x, low, high), [x], dtype)
