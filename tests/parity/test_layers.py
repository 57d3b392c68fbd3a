"""Every layer of minires.nn against PyTorch's layer of the same name, with weights that travel by state_dict keys."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
import minires as mr
from minires import nn
from tests.parity.comparison import (
    assert_close,
    assert_same_gradients,
    assert_same_state,
    normal,
    to_numpy,
    to_torch,
)


class GlobalAvgPool2d(torch.nn.Module):
    """What PyTorch writes as two layers."""

    def forward(self, x):
        return torch.flatten(torch.nn.functional.adaptive_avg_pool2d(x, 1), 1)


# name: (ours, theirs, shape of x)
LAYERS = {
    "Conv2d": (nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3), (2, 3, 6, 7)),
    "Conv2d by position": (nn.Conv2d(4, 6, (3, 2), 2, (1, 0), (1, 2), 2, False),
                           torch.nn.Conv2d(4, 6, (3, 2), 2, (1, 0), (1, 2), 2, False), (2, 4, 9, 8)),
    "Conv2d by keyword": (nn.Conv2d(4, 4, kernel_size=1, stride=(2, 1), padding=1, groups=4),
                          torch.nn.Conv2d(4, 4, kernel_size=1, stride=(2, 1), padding=1, groups=4), (3, 4, 5, 5)),
    "BatchNorm2d": (nn.BatchNorm2d(5), torch.nn.BatchNorm2d(5), (4, 5, 3, 2)),
    "BatchNorm2d by position": (nn.BatchNorm2d(5, 1e-2, 0.3), torch.nn.BatchNorm2d(5, 1e-2, 0.3), (4, 5, 3, 2)),
    "LayerNorm": (nn.LayerNorm(5), torch.nn.LayerNorm(5), (4, 3, 5)),
    "LayerNorm by position": (nn.LayerNorm((3, 5), 0.1, True, False), torch.nn.LayerNorm((3, 5), 0.1, True, False),
                              (4, 3, 5)),
    "LayerNorm without weight": (nn.LayerNorm(5, elementwise_affine=False), torch.nn.LayerNorm(5, elementwise_affine=False),
                                 (4, 3, 5)),
    "GroupNorm": (nn.GroupNorm(2, 6), torch.nn.GroupNorm(2, 6), (4, 6, 3, 5)),
    "GroupNorm by position": (nn.GroupNorm(3, 6, 0.1, False), torch.nn.GroupNorm(3, 6, 0.1, False), (4, 6)),
    "RMSNorm": (nn.RMSNorm(5), torch.nn.RMSNorm(5), (4, 3, 5)),
    "RMSNorm by position": (nn.RMSNorm([3, 5], 0.1, False), torch.nn.RMSNorm([3, 5], 0.1, False), (4, 3, 5)),
    "Conv1d": (nn.Conv1d(4, 6, 3), torch.nn.Conv1d(4, 6, 3), (2, 4, 9)),
    "Conv1d by position": (nn.Conv1d(4, 6, 3, 2, 1, 2, 2, False), torch.nn.Conv1d(4, 6, 3, 2, 1, 2, 2, False), (2, 4, 9)),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 6, 3), torch.nn.ConvTranspose2d(4, 6, 3), (2, 4, 5, 4)),
    "ConvTranspose2d by position": (nn.ConvTranspose2d(4, 6, (3, 2), 2, (1, 0), 1, 2, False, (1, 2)),
                                    torch.nn.ConvTranspose2d(4, 6, (3, 2), 2, (1, 0), 1, 2, False, (1, 2)), (2, 4, 5, 4)),
    "Upsample": (nn.Upsample(scale_factor=(2, 3)), torch.nn.Upsample(scale_factor=(2, 3)), (2, 3, 4, 5)),
    "Upsample bilinear": (nn.Upsample(scale_factor=3, mode="bilinear"), torch.nn.Upsample(scale_factor=3, mode="bilinear"),
                          (2, 3, 4, 5)),
    "Linear": (nn.Linear(7, 3), torch.nn.Linear(7, 3), (4, 7)),
    "Linear without bias": (nn.Linear(7, 3, bias=False), torch.nn.Linear(7, 3, bias=False), (4, 7)),
    "ReLU": (nn.ReLU(), torch.nn.ReLU(), (4, 3, 5)),
    "Sigmoid": (nn.Sigmoid(), torch.nn.Sigmoid(), (4, 3, 5)),
    "Tanh": (nn.Tanh(), torch.nn.Tanh(), (4, 3, 5)),
    "LeakyReLU": (nn.LeakyReLU(), torch.nn.LeakyReLU(), (4, 3, 5)),
    "LeakyReLU by position": (nn.LeakyReLU(0.3), torch.nn.LeakyReLU(0.3), (4, 3, 5)),
    "ELU": (nn.ELU(), torch.nn.ELU(), (4, 3, 5)),
    "ELU by position": (nn.ELU(0.5), torch.nn.ELU(0.5), (4, 3, 5)),
    "Softplus": (nn.Softplus(), torch.nn.Softplus(), (4, 3, 5)),
    "Softplus by position": (nn.Softplus(3, 1.5), torch.nn.Softplus(3, 1.5), (4, 3, 5)),
    "SiLU": (nn.SiLU(), torch.nn.SiLU(), (4, 3, 5)),
    "GELU": (nn.GELU(), torch.nn.GELU(), (4, 3, 5)),
    "GELU by position": (nn.GELU("tanh"), torch.nn.GELU("tanh"), (4, 3, 5)),
    "Softmax": (nn.Softmax(), torch.nn.Softmax(-1), (4, 3, 5)),
    "Softmax by position": (nn.Softmax(1), torch.nn.Softmax(1), (4, 3, 5)),
    "LogSoftmax": (nn.LogSoftmax(), torch.nn.LogSoftmax(-1), (4, 3, 5)),
    "LogSoftmax by keyword": (nn.LogSoftmax(dim=0), torch.nn.LogSoftmax(dim=0), (4, 3, 5)),
    "MaxPool2d": (nn.MaxPool2d(2), torch.nn.MaxPool2d(2), (2, 3, 6, 7)),
    "MaxPool2d by position": (nn.MaxPool2d(3, 2, 1), torch.nn.MaxPool2d(3, 2, 1), (2, 3, 6, 7)),
    "AvgPool2d": (nn.AvgPool2d(2), torch.nn.AvgPool2d(2), (2, 3, 6, 7)),
    "AvgPool2d by position": (nn.AvgPool2d((3, 2), (2, 1), (1, 0)), torch.nn.AvgPool2d((3, 2), (2, 1), (1, 0)),
                              (2, 3, 6, 7)),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d(), GlobalAvgPool2d(), (2, 3, 4, 5)),
    "Flatten": (nn.Flatten(), torch.nn.Flatten(), (2, 3, 4, 5)),
    "Identity": (nn.Identity(), torch.nn.Identity(), (2, 3, 4, 5)),
    "Sequential": (nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(),
                                 nn.Linear(16, 2)),
                   torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.Tanh(),
                                       torch.nn.Flatten(), torch.nn.Linear(16, 2)), (3, 3, 4, 4)),
}
WITH_STATE = {name: layer for name, layer in LAYERS.items() if layer[0].state_dict()}


def random_state(module):
    """A state dict of the module's keys and shapes that no initialiser has drawn; variances are positive."""
    return {name: np.abs(normal(*array.shape, seed=i)) + 0.5 if name.endswith("running_var")
            else normal(*array.shape, seed=i) for i, (name, array) in enumerate(module.state_dict().items())}


def pair_of_layers(name, dtype):
    """Both layers in this precision, with the same random values in all parameters and statistics, and x's shape."""
    ours, theirs, shape = LAYERS[name]
    state = random_state(ours)
    ours.astype(dtype).load_state_dict(state)
    keys = theirs.to(torch.float32 if dtype == np.float32 else torch.float64).load_state_dict(to_torch(state), strict=False)
    assert not keys.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in keys.missing_keys)  # a count that nothing here needs
    for parameter in (*ours.parameters(), *theirs.parameters()):
        parameter.grad = None
    return ours, theirs, shape


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_in_output_gradients_and_statistics(name, training, dtype):
    ours, theirs, shape = pair_of_layers(name, dtype)
    ours.train() if training else ours.eval()
    theirs.train(training)
    array = normal(*shape, seed=20).astype(dtype)
    # a leaf cannot be differentiated by itself, as Identity would ask for: 1 · x is no leaf
    x, x_torch = mr.Tensor(array, requires_grad=True), torch.from_numpy(array.copy()).requires_grad_()
    y, y_torch = ours(1 * x), theirs(1 * x_torch)
    assert_close(y, y_torch, "output")
    dy = normal(*y.shape, seed=21).astype(dtype)
    y.backward(dy)
    y_torch.backward(torch.from_numpy(dy))
    assert_close(x.grad, x_torch.grad, "gradient of x")
    assert_same_gradients(ours, theirs)
    assert_same_state(ours, theirs)


@pytest.mark.parametrize("name", WITH_STATE)
def test_a_state_dict_of_pytorch_loads_strictly(name, dtype):
    ours, theirs, _ = pair_of_layers(name, dtype)
    state = {key: np.abs(normal(*array.shape, seed=30 + i)) + 0.5 for i, (key, array) in
             enumerate(ours.state_dict().items())}
    theirs.load_state_dict(to_torch(state), strict=False)
    ours.load_state_dict(to_numpy(theirs.state_dict()), strict=True)
    assert_same_state(ours, theirs)
    ours.load_state_dict(random_state(ours))
    ours.load_state_dict(theirs.state_dict())  # PyTorch's CPU tensors are taken as they are
    assert_same_state(ours, theirs)


def test_statistics_of_a_layer_follow_several_batches(dtype):
    ours, theirs, shape = pair_of_layers("BatchNorm2d by position", dtype)
    ours.train()
    theirs.train()
    for step in range(5):
        x = (normal(*shape, seed=step) * (step + 1) + step).astype(dtype)
        assert_close(ours(mr.Tensor(x)), theirs(torch.from_numpy(x)), f"output of step {step}")
        assert_same_state(ours, theirs)


def test_every_layer_of_minires_is_compared():
    layers = {getattr(nn, name) for name in nn.__all__ if isinstance(getattr(nn, name), type)} - {
        nn.Module, nn.ModuleList, nn.ModuleDict, nn.Parameter,  # no layers
        nn.Dropout,  # whose masks are others
        nn.MultiheadAttention,  # whose weights stand otherwise: in test_attention.py
        nn.Embedding,  # which takes integers: in test_layer_normalization.py
    }
    assert layers == {type(ours) for ours, _, _ in LAYERS.values()}
