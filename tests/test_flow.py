"""The flow through a shortcut: both terms against a graph that is cut by hand, the names, and equation (5) of He 2016."""
import csv
import math

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from minires.flow import FLOW_QUANTITIES, ShortcutFlow
from minires.models.block import BasicBlock, Bottleneck, PreactivationBasicBlock, PreactivationBottleneck

QUANTITIES = FLOW_QUANTITIES


def images(channels=1, seed=0, size=8):
    return mr.Tensor(np.random.default_rng(seed).standard_normal((3, channels, size, size)))


def loss_of(net, x):
    return ops.cross_entropy(net(x), np.arange(len(x)) % 3)


def net_of(block, **options):
    """A stem, three blocks of which one changes the shape, and a head, in float64, its batch norms away from where they start."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), block(4, 4 // block.expansion, **options),
                        block(4, 8 // block.expansion, 2, **options), block(8, 8 // block.expansion, **options),
                        nn.GlobalAvgPool2d(), nn.Linear(8, 3)).astype(np.float64)
    for name, parameter in net.named_parameters():
        generator = np.random.default_rng(sum(name.encode()))
        parameter.data[...] = 0.4 * generator.standard_normal(parameter.shape) + (parameter.ndim == 1)
    return net


def flow_of(net, x, passes=1):
    """The record of the flow, {quantity: {module: value of the last pass}}, where something was recorded."""
    with mr.record_gradients(net, shortcut_flow=True) as record:
        for _ in range(passes):
            loss_of(net, x).backward()
    return {quantity: {name: value for name, value, missing in zip(record.names, record.values(quantity)[-1],
                                                                   record.missing(quantity)[-1], strict=True) if not missing}
            for quantity in QUANTITIES}


def gradient_at_the_input(net, block, x, keep, monkeypatch):
    """dL/d(input of the block) where the graph of this block is cut by detach(), so that one way carries a gradient."""
    inputs = []

    def add_with_a_cut(y, shortcut_input):
        shortcut = shortcut_input if block.downsample is None else block.downsample(shortcut_input)
        return ops.shortcut_add(y if keep == "branch" else y.detach(), shortcut if keep == "shortcut" else shortcut.detach())

    def keep_input(module, arguments, output):
        arguments[0].retain_grad()
        inputs.append(arguments[0])

    with monkeypatch.context() as patch:
        patch.setattr(block, "add_shortcut", add_with_a_cut)
        block.forward_hooks.append(keep_input)
        loss_of(net, x).backward()
        block.forward_hooks.remove(keep_input)
    return inputs[0].grad


def by_hand(shortcut, branch):
    """The four quantities of two terms."""
    norms = [np.linalg.norm(shortcut), np.linalg.norm(branch)]
    return [*norms, np.linalg.norm(shortcut + branch), np.vdot(shortcut, branch) / math.prod(norms)]


NETS = [pytest.param(lambda block=block, option=option: net_of(block, shortcut=option), id=f"{block.__name__} {option}")
        for block in (BasicBlock, Bottleneck, PreactivationBasicBlock, PreactivationBottleneck) for option in "ABC"]


# ---- the terms


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize("make", NETS)
def test_both_terms_are_those_of_a_graph_that_was_cut_by_hand(make, form, monkeypatch):
    if form == "plain":
        monkeypatch.setattr(mr.context.state, "reference", True)
    net, x = make(), images(size=4 if form == "plain" else 8)
    flow = flow_of(net, x)
    assert list(flow["flow_together"]) == ["1", "2", "3"]
    for name in ("1", "2", "3"):
        terms = [gradient_at_the_input(net, net[int(name)], x, keep, monkeypatch) for keep in ("shortcut", "branch")]
        found = [flow[quantity][name] for quantity in QUANTITIES]
        np.testing.assert_allclose(found, by_hand(*terms), rtol=1e-11, atol=1e-13)
