"""The linear op: x Wᵀ + b."""
import numpy as np
import pytest

import minires as mr
from minires import ops
from minires.errors import ShapeError


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


@pytest.mark.parametrize(("N", "I", "O"), [(3, 4, 2), (1, 4, 2), (3, 1, 2), (3, 4, 1), (1, 1, 1)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_is_a_product_and_a_sum_and_its_gradients_are_right(N, I, O, with_bias):
    arrays = [normal(N, I), normal(O, I), *([normal(O)] if with_bias else [])]
    y = ops.linear(*map(mr.Tensor, arrays))
    expected = np.einsum("ni,oi->no", arrays[0], arrays[1]) + (arrays[2] if with_bias else 0)
    np.testing.assert_allclose(y.data, expected, rtol=1e-13)
    mr.gradcheck(ops.linear, arrays)


def test_an_empty_batch_has_an_empty_output_and_gradients_of_zero():
    x, weight, bias = (mr.Tensor(normal(*shape), requires_grad=True) for shape in ((0, 4), (2, 4), (2,)))
    y = ops.linear(x, weight, bias)
    y.sum().backward()
    assert y.shape == (0, 2)
    assert x.grad.shape == (0, 4)
    np.testing.assert_array_equal(weight.grad, np.zeros((2, 4)))
    np.testing.assert_array_equal(bias.grad, np.zeros(2))


@pytest.mark.parametrize(("shapes", "message"), [
    (((3, 5), (2, 4)), r"x \(3, 5\) has 5 features, but weight \(O, I\) = \(2, 4\) takes 4"),
    (((3, 4), (2, 4), (3,)), r"bias has shape \(3,\), expected \(2,\) for weight \(O, I\) = \(2, 4\)"),
    (((3, 4), (2, 4), (1, 2)), r"bias has shape \(1, 2\), expected \(2,\)"),
    (((3, 2, 2), (2, 4)), r"expected x \(N, I\) and weight \(O, I\), got \(3, 2, 2\) and \(2, 4\): flatten x first"),
    (((4,), (2, 4)), r"expected x \(N, I\) and weight \(O, I\), got \(4,\) and \(2, 4\)\n"),
    (((3, 4), (4,)), r"expected x \(N, I\) and weight \(O, I\), got \(3, 4\) and \(4,\)\n"),
])
def test_shapes_that_do_not_fit(shapes, message):
    with pytest.raises(ShapeError, match="^Linear: " + message):
        ops.linear(*[mr.Tensor(np.ones(shape)) for shape in shapes])
