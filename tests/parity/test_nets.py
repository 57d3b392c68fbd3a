"""Whole nets against the same nets in PyTorch: loss, gradients of every parameter and of every module's output.

All in float64. A pre-activation that lies at 0 up to rounding may come out positive in one library and negative in the
other, and its ReLU then passes the gradient in one and stops it in the other. In float32 a few of the many thousand
pre-activations of a net do, and move its gradients by 1e-3 to 1e-2 without any mistake; in float64 none needs to lie so
close to 0, and each test first counts that none does.
"""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
import minires as mr
from minires import models, ops, optim
from tests.parity.comparison import assert_close, assert_same_gradients, assert_same_state, normal, to_torch
from tests.parity.torch_nets import CifarNet, FlatNet, count_kinks, outputs_of

VARIANTS = {
    "residual": {},
    "option B": {"shortcut": "B"},
    "option C": {"shortcut": "C"},
    "plain": {"residual": False},
    "pre-activation": {"preactivation": True},
    "pre-activation, option B": {"preactivation": True, "shortcut": "B"},
    "pre-activation, plain": {"preactivation": True, "residual": False},
    "without batch norm": {"batch_norm": False},
    "option B without batch norm": {"batch_norm": False, "shortcut": "B"},
    "plain without batch norm": {"batch_norm": False, "residual": False},
    "pre-activation without batch norm": {"batch_norm": False, "preactivation": True},
    "another width": {"width": 5, "in_channels": 1, "num_classes": 4},
}


def pair_of_cifar_nets(depth, **options):
    return same_weights(models.cifar_net(depth, **options), CifarNet(depth, **options))


def same_weights(ours, theirs):
    """Both nets in float64 with the same values; those of batch norms are moved away from 1 and 0, where they start."""
    ours.astype(np.float64)
    state = ours.state_dict()
    for i, values in enumerate(state.values()):
        if values.ndim == 1:
            values += np.clip(0.2 * normal(*values.shape, seed=i), -0.5, 0.5)
    ours.load_state_dict(state)
    keys = theirs.double().load_state_dict(to_torch(state), strict=False)
    assert not keys.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in keys.missing_keys)
    return ours, theirs


def batch(in_channels=3, num_classes=10, size=16, seed=0):
    """Four images and their labels."""
    return normal(4, in_channels, size, size, seed=seed), np.random.default_rng(seed).integers(0, num_classes, 4)


def assert_same_loss_and_gradients(ours, theirs, images, labels):
    """One forward and backward of both nets; their gradients, inside and at the parameters, and their statistics agree."""
    with mr.record_gradients(ours) as record:
        loss = ops.cross_entropy(ours(mr.Tensor(images)), labels)
        loss.backward()
    with count_kinks(theirs) as kinks, outputs_of(theirs) as outputs:
        loss_torch = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(images)), torch.from_numpy(labels))
        loss_torch.backward()
    assert kinks.close == 0, f"{kinks.close} of {kinks.seen} pre-activations lie at a kink: choose another seed"
    assert_close(loss, loss_torch, "loss")
    norms = {name: float(torch.linalg.vector_norm(output.grad)) for name, output in outputs.items()}
    assert set(record.names) >= set(norms)
    for name, norm in zip(record.names, record.output_grad_norm[0], strict=True):
        if name in norms:
            assert norm == pytest.approx(norms[name], rel=1e-10), name
    assert_same_gradients(ours, theirs)
    assert_same_state(ours, theirs)
    return record, outputs


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("depth", [8, 20])
def test_cifar_nets_agree_in_loss_and_all_gradients(depth, options):
    ours, theirs = pair_of_cifar_nets(depth, **{"width": 8, **options})
    images, labels = batch(options.get("in_channels", 3), options.get("num_classes", 10))
    record, outputs = assert_same_loss_and_gradients(ours, theirs, images, labels)
    assert set(record.names) == set(outputs)
    assert len(record.select(models.Block).names) == (depth - 2) // 2


def test_a_cifar_net_of_the_usual_size():
    ours, theirs = pair_of_cifar_nets(20)
    assert_same_loss_and_gradients(ours, theirs, *batch(size=32))


@pytest.mark.parametrize("options", [{}, {"residual": False}, {"preactivation": True}], ids=str)
def test_gradients_of_the_stream_agree_in_every_element(options):
    """The arrays of which the recorder shows the norms: what reaches each block's output in the backward pass."""
    ours, theirs = pair_of_cifar_nets(20, width=8, **options)
    images, labels = batch()
    stream = {}

    def keep(block, inputs, output):
        output.retain_grad()
        stream[block.path] = output

    for _, module in ours.named_modules():
        if isinstance(module, models.Block):
            module.forward_hooks.append(keep)
    ops.cross_entropy(ours(mr.Tensor(images)), labels).backward()
    with count_kinks(theirs) as kinks, outputs_of(theirs) as outputs:
        torch.nn.functional.cross_entropy(theirs(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
    assert kinks.close == 0
    assert len(stream) == 9
    for name, output in stream.items():
        assert_close(output, outputs[name], name)
        assert_close(output.grad, outputs[name].grad, f"gradient of {name}")


@pytest.mark.parametrize("options", [{}, {"shortcut": "B"}, {"residual": False}, {"preactivation": True},
                                     {"batch_norm": False}], ids=str)
@pytest.mark.parametrize("depth", [8, 20])
def test_two_training_steps_keep_the_nets_equal(depth, options):
    ours, theirs = pair_of_cifar_nets(depth, width=8, **options)
    settings = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-3}
    optimizer = optim.SGD(ours.parameters(), **settings)
    optimizer_torch = torch.optim.SGD(theirs.parameters(), **settings)
    before = ours.state_dict()
    for step in range(2):
        optimizer.zero_grad()
        optimizer_torch.zero_grad()
        assert_same_loss_and_gradients(ours, theirs, *batch(seed=step))
        optimizer.step()
        optimizer_torch.step()
        assert_same_state(ours, theirs)
    assert all((values != before[name]).any() for name, values in ours.state_dict().items())
    images, _ = batch(seed=2)
    ours.eval()
    theirs.eval()
    with count_kinks(theirs) as kinks:
        assert_close(ours(mr.Tensor(images)), theirs(torch.from_numpy(images)), "logits in evaluation")
    assert kinks.seen > 0


@pytest.mark.parametrize("options", [{}, {"shortcut": "B"}, {"residual": False}, {"preactivation": True}], ids=str)
def test_gradients_in_evaluation_agree(options):
    ours, theirs = pair_of_cifar_nets(20, width=8, **options)
    ours.eval()
    theirs.eval()
    assert_same_loss_and_gradients(ours, theirs, *batch())


@pytest.mark.parametrize("batch_norm", [False, True], ids=["no batch norm", "batch norm"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_flat_nets_agree_in_loss_and_all_gradients(activation, batch_norm):
    options = {"width": 6, "in_channels": 2, "activation": activation, "batch_norm": batch_norm}
    ours, theirs = same_weights(models.flat_net(6, **options), FlatNet(6, **options))
    record, outputs = assert_same_loss_and_gradients(ours, theirs, *batch(in_channels=2, size=8))
    # layer1, layer2, … are modules that run as a whole in minires only
    assert set(record.names) - set(outputs) == {f"layer{i}" for i in range(1, 7)}
