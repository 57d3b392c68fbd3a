"""The backward pass: its steps, its forks, its memory, and what it says where it cannot run."""
import weakref

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.engine.backward import GradientTable, topological_order
from minires.errors import BackwardError, DTypeError
from tests.saves import Saves, living


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def leaf(values, name=None):
    return mr.Tensor(np.array(values, dtype=np.float64), requires_grad=True, name=name)


def retained(tensor):
    """The tensor, which will keep its gradient."""
    tensor.retain_grad()
    return tensor


# ---- the steps

def test_the_steps_come_in_reverse_order_with_names_and_gradients():
    x, weight = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = x * weight
    h.name = "layer1"
    loss = h.exp().sum()
    steps = list(mr.backward_steps(loss))
    assert [type(step.op).__name__ for step in steps] == ["Sum", "Exp", "Multiply"]
    assert [step.name for step in steps] == ["Sum", "Exp", "layer1"]
    y = np.exp(h.data)
    for step, dy, dx in zip(steps, [1.0, np.ones(2), y], [[np.ones(2)], [y], [y * weight.data, y * x.data]], strict=True):
        np.testing.assert_array_equal(step.grad_output, dy)
        assert len(step.grad_inputs) == len(dx)
        for got, expected in zip(step.grad_inputs, dx, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-15)
    assert repr(steps[2]) == "<BackwardStep layer1: Multiply, grad_output (2,)>"


def test_a_step_is_named_by_its_output_or_its_layer_or_its_op():
    net = mr.nn.Sequential(mr.nn.Linear(3, 2), mr.nn.ReLU()).astype(np.float64)
    y = net(leaf(normal(4, 3)))
    assert [step.name for step in mr.backward_steps(y.sum())] == ["Sum", "1", "0"]


def test_steps_run_one_at_a_time_and_a_leaf_has_its_gradient_as_soon_as_it_is_complete():
    x, first, second = leaf([1.0]), leaf([2.0]), leaf([3.0])
    steps = mr.backward_steps((x * first) * second)
    assert second.grad is None
    next(steps)
    assert (second.grad, first.grad) == (None, None)
    next(steps)  # the pass has gone on to the op before, so all uses of `second` are behind it
    assert (second.grad, first.grad) == ([2], None)
    assert list(steps) == []
    assert (first.grad, x.grad) == ([3], [6])


def test_errors_come_with_the_call_and_not_with_the_first_step():
    with pytest.raises(BackwardError, match="is a leaf"):
        mr.backward_steps(leaf([1.0]))


def test_what_needs_no_gradient_has_no_step():
    x, constant = leaf([1.0]), mr.Tensor(np.ones(1))
    y = x * (constant * 2 + 1).exp()
    assert [type(step.op).__name__ for step in mr.backward_steps(y)] == ["Multiply"]
    assert constant.grad is None


# ---- where backward cannot run

def test_a_result_of_several_elements_needs_a_gradient():
    y = leaf([1.0, 2.0]) * 2
    with pytest.raises(BackwardError, match=r"op=Multiply\) has 2 elements: pass gradient=dL/d\(this\), an array of shape "
                                            r"\(2,\), or reduce it to a scalar first, with sum\(\) or mean\(\)"):
        y.backward()
    y.backward(np.ones(2))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_result_of_one_element_needs_none(shape):
    x = leaf(np.full(shape, 3.0))
    (x * x).backward()
    np.testing.assert_array_equal(x.grad, np.full(shape, 6.0))


@pytest.mark.parametrize("root", [np.ones(3), None, 1.0], ids=["array", "None", "number"])
def test_only_a_tensor_can_be_differentiated(root):
    with pytest.raises(DTypeError, match=f"backward: got a {type(root).__name__}, expected a Tensor that was computed"):
        mr.backward_steps(root)


def test_a_leaf_is_told_to_call_it_on_a_result():
    with pytest.raises(BackwardError, match=r"is a leaf: no op made it\. Call backward\(\) on a result, such as a loss"):
        leaf([1.0]).backward()


@pytest.mark.parametrize("make", [
    lambda x: (x * 2).detach(),
    lambda x: mr.no_grad()(lambda: x * 2)(),
    lambda x: mr.Tensor(x.data) * 2,
], ids=["detached", "under no_grad", "from constants"])
def test_what_wants_no_gradient_says_why_that_may_be(make):
    y = make(leaf([1.0]))
    with pytest.raises(BackwardError, match=r"wants no gradient: it was made under no_grad\(\), by detach\(\), or from "
                                            "tensors without requires_grad=True"):
        y.backward()


@pytest.mark.parametrize("gradient", [np.ones(3), np.ones((2, 1)), np.ones(()), 1.0, [1.0]], ids=repr)
def test_a_gradient_of_another_shape(gradient):
    y = leaf([1.0, 2.0]) * 2
    with pytest.raises(BackwardError, match=r"gradient has shape \(.*\), expected \(2,\), as Tensor\(shape=\(2,\)"):
        y.backward(gradient)


@pytest.mark.parametrize("gradient", [np.array([1.0, 2.0]), [1.0, 2.0], np.array([1, 2]), np.array([1, 2], np.float32),
                                      mr.Tensor([1.0, 2.0])], ids=lambda gradient: type(gradient).__name__)
def test_a_gradient_may_be_any_array_of_the_right_shape(gradient):
    x = leaf([1.0, 1.0])
    [step] = list(mr.backward_steps(x * 3, gradient))
    assert step.grad_output.dtype == np.float64
    np.testing.assert_array_equal(x.grad, [3, 6])


def test_the_gradient_that_was_passed_in_is_neither_changed_nor_kept():
    x, dy = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    (x + x).backward(dy)
    x.grad += 100
    np.testing.assert_array_equal(dy, [3, 4])
    same = ops.reshape(x, (2,))
    x.grad = None
    same.backward(dy)
    assert not np.shares_memory(x.grad, dy)


# ---- twice

def test_a_second_backward_is_told_how_the_first_could_have_kept_the_graph():
    x = leaf([2.0])
    y = x.exp()
    y.backward()
    with pytest.raises(BackwardError, match=r"the graph through Exp was freed by an earlier backward\(\): run forward "
                                            "again, or pass retain_graph=True to the earlier call"):
        y.backward()


def test_a_part_that_another_backward_freed_is_named():
    h = ops.tanh(leaf([2.0]))
    first, second = h.exp(), h * 3
    first.backward()
    with pytest.raises(BackwardError, match="the graph through Tanh was freed"):
        second.backward()


def test_with_retain_graph_it_runs_again_and_adds_to_the_leaves():
    x = leaf([2.0])
    h = retained(x * x)
    y = h * 3
    y.backward(retain_graph=True)
    np.testing.assert_array_equal((x.grad, h.grad), ([12], [3]))
    y.backward()
    np.testing.assert_array_equal((x.grad, h.grad), ([24], [6]))
    with pytest.raises(BackwardError, match="freed"):
        y.backward()


def test_two_losses_of_two_graphs_add_up_in_a_leaf_until_it_is_set_to_none():
    x = leaf([2.0, 3.0])
    (x * x).sum().backward()
    x.sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 7])
    x.grad = None
    x.sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_each_leafs_gradient_is_an_array_of_its_own():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = retained(a + b)
    ops.shortcut_add(h, a).sum().backward()
    for one, other in ((a, b), (a, h), (b, h)):
        assert not np.shares_memory(one.grad, other.grad)
    a.grad += 100
    np.testing.assert_array_equal((b.grad, h.grad), ([1, 1], [1, 1]))


# ---- which gradients are kept

def test_only_leaves_keep_their_gradient_unless_a_result_was_told_to():
    x = leaf([1.0, 2.0])
    h, kept = x * 2, retained(x * 3)
    (h * kept).sum().backward()
    assert h.grad is None
    np.testing.assert_array_equal(kept.grad, h.data)
    np.testing.assert_array_equal(x.grad, 12 * x.data)


def test_the_gradient_of_the_result_itself_can_be_kept():
    y = retained(leaf([1.0, 2.0]) * 2)
    y.backward(np.array([5.0, 6.0]))
    np.testing.assert_array_equal(y.grad, [5, 6])


def test_a_leaf_that_wants_no_gradient_gets_none():
    x, constant = leaf([1.0]), mr.Tensor([2.0])
    (x * constant).backward()
    assert constant.grad is None


# ---- forks: the gradients of the leaves, and those of the layers between

def check_fork(function, x, dh):
    """With h = 2 x and y = function(h): dL/dh is `dh`, in `h.grad` and in the step of h's op, and dL/dx is 2 dL/dh."""
    x = leaf(x)
    h = retained(x * 2)
    y = function(h)
    v = normal(*y.shape)
    expected = dh(h.data, v)
    steps = {step.op: step.grad_output for step in mr.backward_steps(y, v)}
    np.testing.assert_allclose(h.grad, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(steps[h.op], expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(x.grad, 2 * expected, rtol=1e-13, atol=1e-15)


FORKS = {
    "h + h": (lambda h: h + h, lambda h, v: 2 * v),
    "h + h + h + h": (lambda h: h + h + (h + h), lambda h, v: 4 * v),
    "h - h": (lambda h: h - h, lambda h, v: 0 * v),
    "h h": (lambda h: h * h, lambda h, v: 2 * h * v),
    "h + f(h)": (lambda h: h + h.exp(), lambda h, v: v * (1 + np.exp(h))),
    "f(h) + h": (lambda h: h.exp() + h, lambda h, v: v * (1 + np.exp(h))),
    "relu(h) + h": (lambda h: ops.relu(h) + h, lambda h, v: v * (1 + (h > 0))),
    "a shortcut": (lambda h: ops.shortcut_add(ops.tanh(h), h), lambda h, v: v * (2 - np.tanh(h) ** 2)),
    "a shortcut of itself": (lambda h: ops.shortcut_add(h, h), lambda h, v: 2 * v),
    "a diamond": (lambda h: (h * 3) * h.exp(), lambda h, v: v * 3 * np.exp(h) * (1 + h)),
    "views": (lambda h: h.reshape(-1) + h.T.T.reshape(-1) + h.reshape(-1), lambda h, v: 3 * v.reshape(h.shape)),
    "three ways of unequal length": (lambda h: h - (-h) + h * 1 * 1 * 1, lambda h, v: 3 * v),
}


@pytest.mark.parametrize(("function", "dh"), FORKS.values(), ids=FORKS)
def test_a_fork_adds_up_the_gradients_of_its_branches(function, dh):
    check_fork(function, normal(3, 4), dh)


def test_a_preactivation_shortcut_on_paper():
    h = retained(leaf([-1.0, 2.0, -3.0]) * 1)
    y = ops.relu(h) + h
    y.sum().backward()
    np.testing.assert_array_equal(y.data, [-1, 4, -3])
    np.testing.assert_array_equal(h.grad, [1, 2, 1])


def test_forks_in_broadcasts_and_in_matrix_products():
    mr.gradcheck(lambda a, b: (a * b + a @ b.T @ b) * b[0] + a.sum(axis=0), [normal(2, 3), normal(2, 3)])


def test_nothing_that_a_step_was_given_or_returned_is_written_to_later():
    h = leaf(normal(2, 3))
    for _ in range(3):  # each h has four contributions, and three of them are one and the same array
        h = ops.shortcut_add(ops.shortcut_add(h, h), ops.shortcut_add(h * 2, h))
    seen = []
    for step in mr.backward_steps(h, normal(2, 3)):
        seen += [(array, array.copy()) for array in (step.grad_output, *step.grad_inputs) if array is not None]
    assert len(seen) == 3 * (3 * 3 + 2)  # in each round three sums, and a product with a constant
    for array, then in seen:
        np.testing.assert_array_equal(array, then)


def test_a_residual_chain_of_a_hundred_blocks_has_the_right_gradient_at_every_layer():
    x, weights = leaf(normal(4)), [leaf(w) for w in 0.3 * normal(100, 4)]
    stream = [x]
    for weight in weights:
        h = stream[-1]
        stream.append(retained(ops.shortcut_add(weight * ops.tanh(h), h)))
    v = normal(4)
    steps = list(mr.backward_steps(stream[-1], v))
    assert len(steps) == 3 * 100  # tanh, times the weight, add: each once, though there are 2¹⁰⁰ paths
    gradient = v
    for k in reversed(range(100)):
        np.testing.assert_allclose(stream[k + 1].grad, gradient, rtol=1e-12)
        t = np.tanh(stream[k].data)
        np.testing.assert_allclose(weights[k].grad, gradient * t, rtol=1e-12)
        gradient = gradient * (1 + weights[k].data * (1 - t * t))
    np.testing.assert_allclose(x.grad, gradient, rtol=1e-12)


@pytest.mark.parametrize("depth", [1, 10, 100, 1000])
def test_the_number_of_steps_grows_with_the_depth_and_not_with_the_paths(depth):
    h = x = leaf([1.0])
    for _ in range(depth):
        h = (h + h) / 2
    assert len(list(mr.backward_steps(h))) == 2 * depth
    np.testing.assert_array_equal(x.grad, [1])


def test_a_chain_of_five_thousand_ops_needs_no_recursion():
    h = x = leaf([1.0])
    for _ in range(5000):
        h = h + 1
    h.backward(retain_graph=True)
    np.testing.assert_array_equal((x.grad, h.data), ([1], [5001]))
    del h  # freed op by op, without recursion as well


def test_each_op_and_each_leaf_comes_once_and_after_all_that_it_is_made_of():
    x, weight = leaf(normal(3)), leaf(normal(3))
    h = x * weight
    y = h * weight + h.exp() * x + h
    order = topological_order(y.op)
    assert len(order) == len({id(node) for node in order}) == 6 + 2
    for i, node in enumerate(order):
        for below in getattr(node, "inputs", ()):
            assert any(below is earlier for earlier in order[:i])
    assert order[-1] is y.op


# ---- the table of gradients

def test_the_first_contribution_is_borrowed_the_second_makes_the_sum_and_later_ones_add_to_it():
    table, node, first = GradientTable(), leaf([0.0, 0.0]), np.array([1.0, 2.0])
    table.add(node, first)
    assert table.pop(node) is first
    for _ in range(2):  # a node that comes again borrows again
        table.add(node, first)
        table.add(node, first)
        table.add(node, first)
        np.testing.assert_array_equal(table.pop(node), [3, 6])
        np.testing.assert_array_equal(first, [1, 2])
    assert table.pop(node) is None


def test_later_contributions_make_no_array_of_their_own():
    table, node, number = GradientTable(), leaf(0.0), np.ones(1)
    table.add(node, number)
    table.add(node, number)
    first_sum = table._gradients[id(node)]
    table.add(node, number)
    assert table.pop(node) is first_sum
    assert first_sum == [3]


def test_a_sum_of_numbers_without_axes_is_an_array():
    h = leaf(2.0) * 1
    steps = {step.op: step.grad_output for step in mr.backward_steps(h * h + h)}
    assert isinstance(steps[h.op], np.ndarray)
    np.testing.assert_array_equal(steps[h.op], 5)


# ---- memory

def chain(x, length):
    for _ in range(length):
        x = Saves()(x)
    return x


@pytest.mark.usefixtures("without_gc")
def test_saved_arrays_are_freed_by_backward_although_the_loss_lives_on(alive):
    loss = chain(leaf([1.0]), 5)
    assert living(alive) == 5
    loss.backward()
    assert living(alive) == 0


@pytest.mark.usefixtures("without_gc")
def test_each_ops_arrays_are_freed_right_after_its_step(alive):
    steps = mr.backward_steps(chain(leaf([1.0]), 5))
    left = [living(alive) for _ in steps]
    assert left == [5, 4, 3, 2, 1]  # at its own step an op still has them, for those who look at it
    assert living(alive) == 0


@pytest.mark.usefixtures("without_gc")
def test_retain_graph_keeps_them_as_long_as_the_loss(alive):
    loss = chain(leaf([1.0]), 5)
    loss.backward(retain_graph=True)
    assert living(alive) == 5
    del loss
    assert living(alive) == 0


@pytest.mark.usefixtures("without_gc")
def test_a_graph_that_is_never_differentiated_goes_with_its_last_tensor(alive):
    x = leaf([1.0])
    loss = chain(x, 5) + chain(x, 5)
    assert living(alive) == 10
    op = weakref.ref(loss.op)
    del loss
    assert op() is None
    assert living(alive) == 0


@pytest.mark.usefixtures("without_gc")
def test_backward_holds_the_gradients_of_one_op_at_a_time():
    class Watch(mr.BackwardHook):
        def __init__(self):
            self.gradients, self.most = [], 0

        def before_step(self, step):
            self.gradients.append(weakref.ref(step.grad_output))
            self.most = max(self.most, living(self.gradients))

    h = leaf(normal(4))
    for _ in range(20):
        h = h.exp() * 0.1
    with Watch() as watch:
        h.backward(normal(4))
    assert len(watch.gradients) == 40
    assert watch.most <= 2  # the one that comes in, and at most the one before it
    assert living(watch.gradients) == 0


@pytest.mark.usefixtures("without_gc")
def test_an_error_in_the_middle_keeps_nothing_once_it_was_handled(alive):
    class Breaks(mr.Op):
        def forward(self, x):
            return x.copy()

        def backward(self, dy):
            raise ZeroDivisionError

    loss = chain(Breaks()(chain(leaf([1.0]), 3)), 2)
    with pytest.raises(ZeroDivisionError) as caught:
        loss.backward()
    del caught, loss
    assert living(alive) == 0


@pytest.mark.parametrize("function", [lambda x, w: (x * w) * w, lambda x, w: (x @ w) @ w, lambda x, w: (x / w) ** 2,
                                      lambda x, w: ops.linear(ops.linear(x, w), w)])
def test_a_weight_that_is_changed_between_two_passes_over_one_graph_is_told(function):
    x, w = mr.Tensor(np.ones((2, 2)), requires_grad=True), mr.Tensor(np.full((2, 2), 2.0), requires_grad=True)
    y = function(x, w).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)  # unchanged
    w.data -= 0.5
    with pytest.raises(BackwardError, match="was changed since the earlier"):
        y.backward()


def test_a_change_that_no_gradient_depends_on_is_allowed():
    w = mr.Tensor([1.0, 2.0], requires_grad=True)
    y = (w + 1).sum()
    y.backward(retain_graph=True)
    w.data -= 1
    y.backward()
    np.testing.assert_array_equal(w.grad, [2.0, 2.0])


def test_a_net_that_steps_between_two_passes_is_told_the_layer():
    net = nn.Sequential({"conv": nn.Conv2d(1, 2, 3), "pool": nn.GlobalAvgPool2d(), "fc": nn.Linear(2, 2)})
    loss = net(mr.Tensor(np.ones((1, 1, 4, 4)))).sum()
    optimizer = mr.optim.SGD(net.fc.parameters(), lr=0.1)
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(BackwardError, match=r"Linear \(layer 'fc'\)"):
        loss.backward()
