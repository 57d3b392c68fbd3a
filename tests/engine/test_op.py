"""`Op`: what calling one records, and what an error says that is raised in its forward or backward."""
import sys

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import BackwardError, DTypeError, ShapeError


class Double(mr.Op):
    """y = 2 x."""

    def forward(self, x):
        self.saved = "what forward saved"
        return 2 * x

    def backward(self, dy):
        return 2 * dy


class Returns(mr.Op):
    """y = a + b, whose backward returns what it was told to."""

    def __init__(self, gradients):
        self.gradients = gradients

    def forward(self, a, b=None):
        return a + 1

    def backward(self, dy):
        return self.gradients


class Breaks(mr.Op):
    """Raises in the forward or in the backward."""

    def __init__(self, where):
        self.breaks = where

    def forward(self, a, b):
        if self.breaks == "forward":
            raise ZeroDivisionError("the forward broke")
        return a + 1

    def backward(self, dy):
        raise ZeroDivisionError("the backward broke")


def leaf(*shape, dtype=np.float64, requires_grad=True):
    return mr.Tensor(np.ones(shape, dtype), requires_grad=requires_grad)


# ---- what a call records

def test_the_output_remembers_its_op_and_the_op_leads_to_what_made_its_inputs():
    x, constant = leaf(2, 3), leaf(3, requires_grad=False)
    h = x * constant
    y = h + x
    assert (type(h.op).__name__, type(y.op).__name__) == ("Multiply", "Add")
    assert h.op.inputs == (x, None)
    assert h.op.needs_grad == (True, False)
    assert h.op.input_shapes == ((2, 3), (3,))
    assert y.op.inputs == (h.op, x)
    assert y.op.output is y


def test_an_absent_input_is_none():
    y = ops.linear(leaf(2, 3), leaf(4, 3))
    assert y.op.inputs[2] is None
    assert y.op.needs_grad == (True, True, False)
    assert y.op.input_shapes == ((2, 3), (4, 3), None)


def test_nothing_is_recorded_where_no_gradient_is_wanted():
    y = Double()(leaf(2, requires_grad=False))
    assert y.op is None
    assert not y.requires_grad


def test_the_graph_does_not_hold_the_tensors_between():
    x = leaf(2)
    y = Double()(Double()(x))
    inner = y.op.inputs[0]
    assert inner.output is None
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [4, 4])


def test_after_backward_an_op_keeps_its_label_and_its_line_but_no_arrays():
    x = leaf(2)
    y = nn.Sequential(nn.ReLU())(x)
    op, where = y.op, y.op.where
    y.sum().backward()
    assert op.released
    assert (op.saved, op.inputs) == (None, ())
    assert (op.title, op.where) == ("ReLU (layer '0')", where)


def test_an_op_is_one_call_as_a_second_would_overwrite_what_the_first_saved():
    double, x = Double(), leaf(2)
    y = double(x)
    with pytest.raises(BackwardError, match=r"Double: this op was called before.*make an op for each call"):
        double(y)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_a_users_op_with_a_plain_form_runs_it_under_reference_ops():
    class Cube(Double):
        def plain_forward(self, x):
            return x * x * x

        def plain_backward(self, dy):
            return 100 * dy

    x = mr.Tensor([3.0], requires_grad=True)
    with mr.reference_ops():
        y = Cube()(x)
        y.backward()
    assert (y.item(), x.grad.item()) == (27, 100)


@pytest.mark.parametrize("value", [np.ones(2), [1.0], 3, "x"], ids=lambda value: type(value).__name__)
def test_ops_take_tensors(value):
    with pytest.raises(DTypeError, match=rf"Double: expected tensors, got {type(value).__name__}: wrap arrays in"):
        Double()(value)


def test_several_tensors_in_place_of_one_are_told_from_arrays():
    with pytest.raises(DTypeError, match=r"got tuple: wrap arrays in .*; of several tensors give one, as in y\[0\]"):
        Double()((leaf(2), leaf(2)))


# ---- the note under an error

def notes_of(error):
    return [note for note in error.__notes__ if note.startswith("minires:")]


def test_an_error_in_a_forward_names_the_op_the_shapes_and_the_users_line():
    x, bias = leaf(2, 3), leaf(3, dtype=np.float32, requires_grad=False)
    with pytest.raises(ZeroDivisionError, match="the forward broke") as caught:
        Breaks("forward")(x, bias)
    line = sys._getframe().f_lineno - 1
    assert notes_of(caught.value) == [f"minires: in the forward of Breaks on shapes (2, 3) float64, (3,) float32, called at "
                                      f"{__file__}:{line}"]


def test_an_error_in_a_backward_names_the_line_of_the_forward():
    x = leaf(2, 3)
    y = Breaks("backward")(x, None)
    line = sys._getframe().f_lineno - 1
    loss = (y * 2).sum()
    with pytest.raises(ZeroDivisionError, match="the backward broke") as caught:
        loss.backward()
    assert notes_of(caught.value) == [f"minires: in the backward of Breaks on shapes (2, 3) float64, None -> "
                                      f"(2, 3) float64, called at "
                                      f"{__file__}:{line}"]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_layer_is_named_by_its_dotted_name(direction):
    class Broken(nn.Module):
        def forward(self, x):
            return Breaks(direction)(x, None)

    net = nn.Sequential(nn.ReLU(), nn.Sequential(Broken()))
    with pytest.raises(ZeroDivisionError) as caught:
        net(leaf(2)).sum().backward()
    [note] = notes_of(caught.value)
    assert f"in the {direction} of Breaks (layer '1.0') on shapes (2,) float64, None" in note


def test_an_error_of_ours_has_the_layer_in_its_message_and_the_note_as_well():
    net = nn.Sequential(nn.Flatten(), nn.Linear(5, 2))
    with pytest.raises(ShapeError, match=r"^Linear \(layer '1'\): x \(2, 3\) has 3 features") as caught:
        net(leaf(2, 3, dtype=np.float32))
    [note] = notes_of(caught.value)
    assert f"called at {__file__}:" in note


# ---- what a backward may return

@pytest.mark.parametrize(("gradients", "message"), [
    ((np.ones((3, 2)), np.ones(3)), r"backward returned shape \(3, 2\) for input 0, which has shape \(2, 3\)"),
    ((np.ones((2, 3)), np.ones((1, 3))), r"backward returned shape \(1, 3\) for input 1, which has shape \(3,\)"),
    ((None, np.ones(3)), r"backward returned None for input 0, which has shape \(2, 3\)"),
    ((np.ones((2, 3)), None), r"backward returned None for input 1, which has shape \(3,\)"),
    ((1.0, np.ones(3)), r"backward returned a float for input 0"),
    (([[1.0] * 3] * 2, np.ones(3)), r"backward returned a list for input 0"),
    (np.ones((2, 3)), r"backward returned 1 gradients for 2 inputs"),
    (None, r"backward returned 1 gradients for 2 inputs"),
    ((), r"backward returned 0 gradients for 2 inputs"),
    ((np.ones((2, 3)), np.ones(3), np.ones(3)), r"backward returned 3 gradients for 2 inputs"),
    ((np.ones((2, 3), np.float32), np.ones(3)), r"backward returned float32 for input 0, which has dtype float64"),
    ((np.ones((2, 3)), np.ones(3, bool)), r"backward returned bool for input 1, which has dtype float64"),
])
def test_a_backward_that_returns_no_gradient_of_its_inputs_is_told_so(gradients, message):
    y = Returns(gradients)(leaf(2, 3), leaf(3))
    with pytest.raises(BackwardError, match="^Returns: " + message) as caught:
        y.sum().backward()
    [note] = notes_of(caught.value)
    shapes = "(2, 3) float64, (3,) float64 -> (2, 3) float64"
    assert f"in the backward of Returns on shapes {shapes}, called at {__file__}:" in note


@pytest.mark.parametrize("y", [None, [1.0, 2.0], mr.Tensor([1.0])], ids=["None", "list", "tensor"])
def test_a_forward_that_returns_no_array_is_told_so(y):
    class Forgets(mr.Op):
        def forward(self, x):
            return y

    with pytest.raises(DTypeError, match=f"Forgets: forward returned a {type(y).__name__}, expected an array") as caught:
        Forgets()(mr.Tensor([1.0], requires_grad=True))
    assert caught.value.__notes__[0].startswith("minires: in the forward of Forgets on shapes (1,) float32, called at")


def test_a_gradient_that_is_not_wanted_may_be_anything():
    x = leaf(2, 3)
    Returns((np.ones((2, 3)), "not looked at"))(x, leaf(3, requires_grad=False)).sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones((2, 3)))


def test_the_gradient_of_one_input_may_come_bare_or_in_a_tuple():
    for gradient in (np.full(2, 7.0), (np.full(2, 7.0),)):
        x = leaf(2)
        Returns(gradient)(x).sum().backward()
        np.testing.assert_array_equal(x.grad, [7, 7])
