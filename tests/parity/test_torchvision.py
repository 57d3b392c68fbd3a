"""The ImageNet nets against torchvision's, whose state_dict they take as it is.

In float64, and on images at which no ReLU and no max pooling stands at a kink: see test_nets.py.
"""
import gc

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")

import minires as mr
from minires import models
from tests.parity.comparison import assert_close, assert_same_gradients, assert_same_state, normal, to_numpy
from tests.parity.torch_nets import count_kinks
from tests.parity.torchvision_import import import_torchvision

torchvision = import_torchvision()
TOLERANCE = 1e-9  # rounding grows by a factor from layer to layer; the deepest has 152
DEPTHS = [18, 50, *[pytest.param(depth, marks=pytest.mark.slow) for depth in (34, 101, 152)]]


@pytest.fixture(params=DEPTHS)
def nets(request):
    """(ours, torchvision's) in float64, with torchvision's initial weights but for the batch norms."""
    depth = request.param
    with torch.random.fork_rng():
        torch.manual_seed(depth)
        theirs = getattr(torchvision.models, f"resnet{depth}")().double()
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # away from 1 and 0, where a mistake could hide
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.2)
                torch.nn.init.normal_(module.running_mean, std=0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    ours = models.imagenet_net(depth).astype(np.float64)
    ours.load_state_dict(to_numpy(theirs.state_dict()), strict=True)
    yield ours, theirs
    del ours, theirs
    gc.collect()  # up to 2 GB, in cycles of modules and tensors


def assert_same_output_and_gradients(ours, theirs, images):
    x, x_torch = mr.Tensor(images, requires_grad=True), torch.from_numpy(images.copy()).requires_grad_()
    with count_kinks(theirs) as kinks:
        y_torch = theirs(x_torch)
    assert kinks.close == 0, f"{kinks.close} of {kinks.seen} places lie at a kink: choose another seed"
    y = ours(x)
    assert_close(y, y_torch, "logits", TOLERANCE)
    dy = normal(*y.shape, seed=1)  # not a cross-entropy, whose gradient would vanish where one logit is much the largest
    y.backward(dy)
    y_torch.backward(torch.from_numpy(dy))
    assert_close(x.grad, x_torch.grad, "gradient of the images", TOLERANCE)
    assert_same_gradients(ours, theirs, TOLERANCE)
    for parameter in (*ours.parameters(), *theirs.parameters()):
        parameter.grad = None


def test_output_statistics_and_every_gradient_agree_in_training_and_evaluation(nets):
    ours, theirs = nets
    assert_same_output_and_gradients(ours, theirs, normal(2, 3, 64, 64))
    assert_same_state(ours, theirs, TOLERANCE)
    ours.eval()
    theirs.eval()
    assert_same_output_and_gradients(ours, theirs, normal(2, 3, 32, 32, seed=1))


@pytest.mark.parametrize("depth", [18, 50])
def test_names_and_shapes_are_torchvision_s_in_its_order(depth):
    theirs = getattr(torchvision.models, f"resnet{depth}")()
    ours = models.imagenet_net(depth)
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()
              if not name.endswith("num_batches_tracked")}
    assert {name: values.shape for name, values in ours.state_dict().items()} == shapes
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
