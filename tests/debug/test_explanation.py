"""`explain`, `describe` and the summary of a step: right, complete, and without a trace."""
import gc
import io
import math
import re
import sys
import weakref

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.debug.step_summary import NOT_COMPUTED, NOT_WANTED, StepSummary, backward_formulas, gradient_names, place
from tests.ops.test_every_op import CASES, call, op_classes


class Guarded(np.ndarray):
    """An array whose values cannot be looked at: on a GPU, looking waits for the device."""

    def __array_ufunc__(self, *arguments, **options):
        raise AssertionError("the values were used")

    __array_function__ = __getitem__ = __iter__ = __repr__ = __str__ = __float__ = __bool__ = __array_ufunc__
    item = tolist = tobytes = sum = max = min = copy = astype = __array_ufunc__


class Cubed(mr.Op):
    """y = x³."""

    def forward(self, x):
        self.saved = x
        return x ** 3

    def backward(self, dy):
        x = self.saved
        return 3 * x ** 2 * dy


def images(seed=0):
    return mr.Tensor(np.random.default_rng(seed).standard_normal((4, 1, 8, 8)))


def net_and_loss(**options):
    net = mr.models.cifar_net(8, **{"width": 2, "in_channels": 1, **options}).astype(np.float64)
    return net, ops.cross_entropy(net(images()), [0, 1, 2, 3])



def gradient_of(row, name):
    return next(gradient for gradient in row.gradients if gradient.name == name)


# ---- formulas


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op.__name__} {case.name}".strip())
def test_each_op_states_the_formula_of_each_of_its_gradients(case):
    _, y = call(case, case.arrays)
    names, formulas = gradient_names(y.op), backward_formulas(y.op)
    assert len(names) == len(y.op.needs_grad) >= len(case.arrays)
    for name, formula in zip(names, formulas, strict=True):
        is_stated = re.match(rf"{re.escape(name)}(\[.*\])? = \S", formula)
        assert is_stated, f"{case.op.__name__}.backward: the docstring has no {name} = …"


def test_each_op_states_its_own_formula_in_the_first_line_of_its_class():
    for op in op_classes():
        assert re.match(r"y(\[.*?\])? = ", op.__doc__), op.__name__


def test_an_op_without_a_formula_shows_the_names_of_its_gradients():
    x = mr.Tensor(np.ones(2), requires_grad=True)
    y = Cubed()(x)
    assert backward_formulas(y.op) == ["dx"]
    [step] = mr.backward_steps(y, np.ones(2))
    assert StepSummary(step).forward == "y = x³."


def test_an_op_of_any_number_of_inputs_names_them_by_their_place():
    class Stack(mr.Op):
        def forward(self, *arrays):
            return np.stack(arrays)

        def backward(self, dy):
            return tuple(dy)

    tensors = [mr.Tensor(np.full(2, i, np.float64), requires_grad=True) for i in range(3)]
    [row] = mr.explain(Stack()(*tensors), np.ones((3, 2))).rows
    assert [gradient.name for gradient in row.gradients] == ["dy", "darrays[0]", "darrays[1]", "darrays[2]"]


# ---- the table


def test_the_rows_are_the_steps_of_the_pass_with_the_norms_of_their_gradients(capsys):
    _, loss = net_and_loss(shortcut="B", preactivation=True)
    table = mr.explain(loss)
    steps = mr.backward_steps(loss)
    for row, step in zip(table.rows, steps, strict=True):
        assert row.op == type(step.op).__name__
        assert row.layer == (step.op.layer or "")
        computed = {"dy": step.grad_output, **dict(zip(gradient_names(step.op), step.grad_inputs, strict=True))}
        unwanted = [name for name, wanted in zip(gradient_names(step.op), step.op.needs_grad, strict=True) if not wanted]
        for gradient in row.gradients:
            array = computed.pop(gradient.name)
            if gradient.name in unwanted:
                assert gradient.norm == NOT_WANTED
            else:
                assert gradient.shape == array.shape
                np.testing.assert_allclose(float(gradient.norm), np.linalg.norm(array), rtol=1e-12)
        assert set(computed) <= {"dbias"}  # of a convolution without one
    assert len(table) == len(table.rows) > 25
    assert repr(table) == f"<BackwardTable: {len(table)} ops>"
    assert capsys.readouterr().out == f"{table}\n"


def test_what_the_encoding_of_the_output_lacks_is_printed_as_a_question_mark(monkeypatch):
    _, loss = net_and_loss()
    page = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # as on Windows, where the output goes to a file
    monkeypatch.setattr(sys, "stdout", page)
    table = mr.explain(loss)
    page.flush()
    assert "dweight = dyᵀ x" in str(table)
    assert b"dweight = dy? x" in page.buffer.getvalue()


def test_the_text_has_a_line_for_each_gradient_and_nothing_is_cut():
    _, loss = net_and_loss()
    table = mr.explain(loss)
    text = str(table)
    first, rule, *lines, rule_again, last = text.splitlines()
    assert first.split() == ["op", "layer", "gradient", "shape", "norm", "code", "of", "the", "backward"]
    assert set(rule) == {"-"}
    assert rule == rule_again
    assert last.startswith(f"{len(table)} ops")
    assert re.fullmatch(r"CrossEntropy +dy +\[\] +1  minires/ops/loss\.py:\d+", lines[0])
    assert re.fullmatch(r" +dlogits = \(p - one_hot\(label\)\) dy / N +\[4, 10\] +0\.\d{1,4}", lines[1])
    assert any(re.fullmatch(r"Conv2d +layer1\.0\.conv1 +dy +\[4, 2, 8, 8\] +\S+  minires/ops/convolution\.py:\d+", line)
               for line in lines)
    column = slice(first.index("gradient"), first.index("shape"))
    words = " ".join(" ".join(line[column].strip() for line in lines).split())
    for row in table.rows:
        for gradient in row.gradients:
            assert gradient.formula in words


def test_the_code_is_that_of_the_backward_that_runs():
    x, w = [mr.Tensor(np.ones(shape), requires_grad=True) for shape in ((1, 1, 3, 3), (1, 1, 2, 2))]
    fast = mr.explain(ops.conv2d(x, w), np.ones((1, 1, 2, 2))).rows[0]
    with mr.reference_ops():
        plain = mr.explain(ops.conv2d(x, w), np.ones((1, 1, 2, 2))).rows[0]
    for row, name in ((fast, "def backward(self, dy"), (plain, "def plain_backward(self, dy")):
        file, line = row.code
        with open(file, encoding="utf-8") as source:
            assert source.read().splitlines()[line - 1].strip().startswith(name)
    assert [gradient.formula for gradient in fast.gradients] == [gradient.formula for gradient in plain.gradients]


def test_places_are_short_where_the_file_is_in_the_package_or_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place((mr.engine.backward.__file__, 7)) == "minires/engine/backward.py:7"
    assert place((ops.linear.__globals__["__file__"], 7)) == "minires/ops/fully_connected.py:7"
    assert place((str(tmp_path / "mine.py"), 7)) == "mine.py:7"
    assert place((str(tmp_path) + "_elsewhere/mine.py", 7)) == f"{tmp_path}_elsewhere/mine.py:7"


def test_a_name_of_ones_own_is_shown_as_the_layer():
    x = mr.Tensor(np.ones(2), requires_grad=True)
    hidden = x * 2
    hidden.name = "hidden"
    table = mr.explain(hidden.sum())
    assert [row.layer for row in table.rows] == ["", "hidden"]
    assert table.rows[1].made_at[0] == __file__


def test_html_shows_the_same_and_escapes_what_is_not_markup():
    x = mr.Tensor(np.ones(2), requires_grad=True)
    hidden = x * 2
    hidden.name = "<b>&"
    html = mr.explain(hidden.sum())._repr_html_()
    assert "<b>&" not in html.replace("<br>", "")
    assert "&lt;b&gt;&amp;" in html
    assert html.count("<tr") == 1 + 2 + 3
    assert html.count("border-top") == 2  # above each of the two ops, not between its gradients
    assert html.startswith("<table>")
    assert html.endswith("</table>")


def test_an_absent_input_has_no_line_and_an_unwanted_one_says_so():
    weight = mr.Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    [row] = mr.explain(ops.conv2d(mr.Tensor(np.ones((1, 1, 2, 2))), weight), np.ones((1, 1, 1, 1))).rows
    assert [gradient.name for gradient in row.gradients] == ["dy", "dx", "dweight"]
    assert gradient_of(row, "dx").norm == gradient_of(row, "dx").norm_text == "not wanted"
    assert gradient_of(row, "dweight").norm_text == "2"


def test_gradients_that_are_not_finite_or_zero_are_shown_as_they_are():
    x = mr.Tensor(np.array([0.0, 1.0]), requires_grad=True)
    with np.errstate(divide="ignore"):
        [row] = mr.explain(x.log(), np.array([1.0, 0.0])).rows
    assert gradient_of(row, "dx").norm_text == "inf"
    [row] = mr.explain(x * 0, np.array([1.0, 0.0])).rows
    assert gradient_of(row, "da").norm_text == "0"


# ---- it leaves no trace


@pytest.mark.parametrize("options", [{}, {"preactivation": True, "shortcut": "B"}, {"checkpoint_every": 1}])
def test_backward_finds_the_same_afterwards(options):
    alone, loss = net_and_loss(**options)
    loss.backward()
    net, loss = net_and_loss(**options)
    mr.explain(loss)
    assert all(parameter.grad is None for parameter in net.parameters())
    loss.backward()
    for (name, parameter), (_, expected) in zip(net.named_parameters(), alone.named_parameters(), strict=True):
        np.testing.assert_array_equal(parameter.grad, expected.grad, err_msg=name)
    for (name, buffer), (_, expected) in zip(net.named_buffers(), alone.named_buffers(), strict=True):
        np.testing.assert_array_equal(buffer, expected, err_msg=name)


def test_gradients_that_were_there_stay_the_same_arrays_with_the_same_values():
    net, loss = net_and_loss()
    loss.backward(retain_graph=True)
    logits = next(x for x in loss.op.inputs).output
    before = [(parameter.grad, parameter.grad.copy()) for parameter in net.parameters()]
    mr.explain(loss)
    for parameter, (grad, values) in zip(net.parameters(), before, strict=True):
        assert parameter.grad is grad
        np.testing.assert_array_equal(grad, values)
    assert logits is None or logits.grad is None


def test_a_retained_gradient_stays_as_it_was():
    x = mr.Tensor(np.ones(3), requires_grad=True)
    hidden = x * 2
    hidden.retain_grad()
    loss = (hidden * hidden).sum()
    mr.explain(loss)
    assert hidden.grad is None
    loss.backward()
    kept = hidden.grad
    hidden = x * 2  # the graph of the first is gone
    hidden.retain_grad()
    hidden.grad = kept
    mr.explain((hidden * 3).sum())
    assert hidden.grad is kept
    np.testing.assert_array_equal(kept, np.full(3, 4.0))


def test_no_hook_sees_the_pass_and_all_see_the_next():
    net, loss = net_and_loss()
    with mr.record_gradients(net) as record:
        loss = ops.cross_entropy(net(images()), [0, 1, 2, 3])
        mr.explain(loss)
        assert len(record) == 0
        loss.backward()
    assert len(record) == 1


def test_an_error_in_the_middle_leaves_the_gradients_and_hooks_as_they_were():
    x = mr.Tensor(np.ones(3), requires_grad=True)
    x.grad = grad = np.full(3, 7.0)
    hidden = x * 2
    loss = hidden.exp().sum()
    hidden.op.saved = None
    with mr.detect_anomaly() as hook:
        with pytest.raises(TypeError):
            mr.explain(loss)
        assert mr.engine.state.state.hooks == (hook,)
    assert x.grad is grad
    np.testing.assert_array_equal(grad, 7)


def test_nothing_of_the_graph_is_kept_alive_by_the_table():
    x = mr.Tensor(np.ones(3), requires_grad=True)
    y = x * 2
    graph = weakref.ref(y.op)
    table = mr.explain(y.sum())
    del y
    gc.collect()
    assert graph() is None
    assert [gradient.norm.shape for row in table.rows for gradient in row.gradients[:2]] == [()] * 4  # and no array


def test_what_cannot_be_differentiated_says_so():
    x = mr.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(mr.DTypeError, match="got a ndarray, expected a Tensor"):
        mr.explain(x.data)
    with pytest.raises(mr.BackwardError, match="leaf"):
        mr.explain(x)
    with pytest.raises(mr.BackwardError, match="3 elements"):
        mr.explain(x * 2)
    loss = x.sum()
    loss.backward()
    with pytest.raises(mr.BackwardError, match="freed"):
        mr.explain(loss)


# ---- a step in a notebook


def test_a_step_shows_its_formulas_shapes_and_norms_in_a_notebook():
    x, weight = mr.Tensor(np.ones((2, 3)), requires_grad=True), mr.Tensor(np.ones((4, 3)), requires_grad=True)
    [step] = mr.backward_steps(ops.linear(x, weight), np.ones((2, 4)))
    html = step._repr_html_()
    norms = [f">{norm:.4g}</td>" for norm in (math.sqrt(8), math.sqrt(2 * 3 * 16), math.sqrt(4 * 3 * 4))]
    for text in ("Linear", "y = x Wᵀ + b", "dx = dy W", "dweight = dyᵀ x", "[2, 3]", "[4, 3]", "[2, 4]", *norms,
                 "minires/ops/fully_connected.py:", "test_explanation.py:"):
        assert text in html, text


def test_before_its_backward_a_step_says_that_its_gradients_are_not_computed_yet():
    seen = []

    class Look(mr.BackwardHook):
        def before_step(self, step):
            seen.append(step._repr_html_())

    x = mr.Tensor(np.full(2, 3.0), requires_grad=True)
    with Look():
        (x * x).backward(np.zeros(2))
    assert seen[0].count(NOT_COMPUTED) == 2
    assert ">0</td>" in seen[0]  # the zero that came in is another thing


# ---- repr looks at no value


def test_repr_of_a_tensor_and_of_a_step_looks_at_no_value():
    guarded = np.ones((2, 3)).view(Guarded)
    with pytest.raises(AssertionError, match="values were used"):
        guarded + 1
    tensor = mr.Tensor(guarded, requires_grad=True, name="x")
    assert repr(tensor) == "Tensor('x', shape=(2, 3), dtype=float64, device=cpu, requires_grad=True)"
    made = ops.relu(mr.Tensor(np.ones((2, 3)), requires_grad=True))
    assert repr(mr.BackwardStep(made.op, guarded)) == "<BackwardStep ReLU: ReLU, grad_output (2, 3)>"
    made.data = guarded
    assert repr(made) == "Tensor(shape=(2, 3), dtype=float64, device=cpu, op=ReLU)"


# ---- describe


def test_statistics_are_those_of_the_values():
    values = np.random.default_rng(0).standard_normal((20, 30))
    values[3, 4] = 0
    x = mr.Tensor(values, requires_grad=True, name="x")
    description = mr.describe(x)
    found = [description.min, description.max, description.mean, description.std, description.norm]
    np.testing.assert_allclose(found, [values.min(), values.max(), values.mean(), values.std(), np.linalg.norm(values)])
    assert (description.zeros, description.nan, description.inf) == (1, 0, 0)
    assert (description.name, description.shape, description.dtype, description.device) == ("x", (20, 30), np.float64, "cpu")
    assert (description.op, description.made_at, description.grad_norm) == (None, None, None)
    assert "made by" not in str(description)


def test_values_that_are_not_finite_are_counted_and_left_out_of_the_statistics():
    description = mr.describe(np.array([1.0, np.nan, 3.0, np.inf, -np.inf, 0.0, np.nan, 0.0]))
    assert (description.zeros, description.nan, description.inf) == (2, 2, 2)
    assert (description.min, description.max, description.mean) == (0, 3, 1)
    np.testing.assert_allclose([description.std, description.norm], [np.sqrt(1.5), np.sqrt(10)])
    assert "mean, std of the finite values" in str(description)
    assert "2 (25.0%)" in str(description)


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.full(3, np.nan)])
def test_without_a_finite_value_there_are_no_statistics(values):
    description = mr.describe(values)
    assert np.isnan([description.min, description.max, description.mean, description.std, description.norm]).all()
    assert description.nan == values.size
    assert "nan" in str(description)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_tiny_and_huge_values_have_statistics_too(scale):
    description = mr.describe(scale * np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose([description.mean, description.std, description.norm],
                               scale * np.array([2, np.sqrt(2 / 3), np.sqrt(14)]))


def test_a_result_says_which_op_made_it_and_where():
    net = nn.Sequential(nn.Linear(3, 2))
    y = net(mr.Tensor(np.ones((1, 3), np.float32)))
    y.retain_grad()
    y.sum().backward()
    description = mr.describe(y)
    assert description.op == "Linear (layer '0')"
    assert description.made_at[0] == __file__
    np.testing.assert_allclose(description.grad_norm, np.sqrt(2))
    assert re.search(r"made by +Linear \(layer '0'\), called at .*test_explanation\.py:\d+", repr(description))
    assert re.search(r"norm of grad +1\.41421", repr(description))
    assert "Linear" in description._repr_html_()


def test_a_gradient_of_a_step_can_be_described():
    x = mr.Tensor(np.ones(3), requires_grad=True)
    [step] = mr.backward_steps(x * 2, np.array([1.0, 2.0, 2.0]))
    assert mr.describe(step.grad_output).norm == 3
    assert mr.describe(step.grad_inputs[0]).norm == 6


@pytest.mark.parametrize("value", [[1, 2], None, 3.0, nn.ReLU()], ids=["list", "None", "number", "module"])
def test_what_is_no_array_is_refused(value):
    with pytest.raises(mr.DTypeError, match=f"describe: got a {type(value).__name__}, expected a Tensor or an array"):
        mr.describe(value)
