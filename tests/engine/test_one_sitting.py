"""The engine reads in one sitting: how long it is, and how few calls of ours stand between a reader and the arithmetic."""
import ast
import io
import os
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest

import minires as mr
from minires import nn, ops

PACKAGE = Path(mr.__file__).parent
ENGINE = sorted((PACKAGE / "engine").glob("*.py"))
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_docstrings(tree):
    """The numbers of the lines of all docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node) is not None]
    return {line for node in nodes for line in range(node.lineno, node.end_lineno + 1)}


def lines_of_code(path):
    """How many lines hold code: no comment, docstring or blank line."""
    text = path.read_text(encoding="utf-8")
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in LAYOUT]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - lines_of_docstrings(ast.parse(text)))


def test_it_is_short():
    assert len(ENGINE) > 5
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in ENGINE) <= 800
    assert sum(lines_of_code(path) for path in ENGINE) <= 500


def calls_of(function):
    """The calls of our Python functions while `function` runs, as (file, name) pairs."""
    calls = []

    def note(frame, event, argument):
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(PACKAGE) + os.sep):
            calls.append((os.path.relpath(file, PACKAGE), frame.f_code.co_name))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    assert calls
    return calls


def leaf(*shape):
    values = np.random.default_rng([*shape]).standard_normal(shape).astype(np.float32)
    return mr.Tensor(values, requires_grad=True)


def test_a_product_makes_few_calls():
    a = leaf(4, 4)
    assert len(calls_of(lambda: a * a)) <= 6
    assert [name for _, name in calls_of(lambda: a * a)][-4:] == ["gather", "forward", "attach", "call_site"]


@pytest.mark.parametrize(("x", "weight", "options"), [
    ((2, 3, 8, 8), (4, 3, 3, 3), {}), ((8, 3, 8, 8), (16, 3, 3, 3), {"padding": 1}),
    ((2, 3, 7, 7), (5, 3, 3, 3), {"stride": 2}), ((2, 8, 6, 6), (32, 8, 1, 1), {}),
])
def test_a_convolution_makes_few_calls(x, weight, options):
    for bias in (leaf(weight[0]), None):
        arguments = leaf(*x), leaf(*weight), bias
        ops.conv2d(*arguments, **options)  # plans, and makes the arrays that it works in
        assert len(calls_of(lambda arguments=arguments: ops.conv2d(*arguments, **options))) <= 25


def net_of_images():
    generator = np.random.default_rng(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, generator=generator), nn.ReLU(), nn.GlobalAvgPool2d(),
                         nn.Linear(16, 4, generator=generator)), leaf(8, 3, 8, 8).detach()


def net_of_vectors():
    generator = np.random.default_rng(0)
    return nn.Sequential(*[nn.Linear(8, 8, generator=generator) for _ in range(4)]), leaf(8, 8).detach()


@pytest.mark.parametrize("make", [net_of_images, net_of_vectors])
def test_a_recorded_backward_of_four_layers_makes_few_calls(make):
    net, x = make()
    with mr.record_gradients(net) as record:
        ops.cross_entropy(net(x), np.arange(8) % 4).backward()
        loss = ops.cross_entropy(net(x), np.arange(8) % 4)
        assert len(calls_of(loss.backward)) <= 120
    assert record.output_grad_norm.shape == (2, 4)


def frames_above(name, function):
    """The names of the functions of ours that lead to the first call of one of this name in ops/, the outermost first."""
    found = []

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_name == name and not found:
            while (frame := frame.f_back) is not None:
                if frame.f_code.co_filename.startswith(str(PACKAGE) + os.sep):
                    found.insert(0, frame.f_code.co_name)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


def test_two_frames_stand_above_an_ops_arithmetic():
    a = leaf(2, 3)
    assert frames_above("forward", lambda: a * a) == ["__mul__", "__call__"]
    assert frames_above("forward", lambda: ops.relu(a)) == ["relu", "__call__"]
    with mr.reference_ops():
        assert frames_above("plain_forward", lambda: ops.relu(a)) == ["relu", "__call__"]
        assert frames_above("plain_backward", lambda: ops.relu(a).backward(np.ones((2, 3)))) == ["backward", "_run_backward"]
    assert frames_above("backward", lambda: list(mr.backward_steps((a * a).sum()))) == ["_run_backward"]
