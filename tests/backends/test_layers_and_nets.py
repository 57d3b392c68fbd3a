"""Layers and nets on both backends: what they compute, what moves with them, what their files hold."""
import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.arrays.backend import array_module, device_of, to_device, to_host
from tests.backends.comparison import assert_same, leaf, on_host, run
from tests.ops.test_every_op import normal


def seeded(layer):
    """The layer with weights that are equal in each call, and in float64."""
    return nn.init.initialize_(layer, nn.init.he_normal_, seed=1).astype(np.float64)


def small_imagenet_net(block, preactivation):
    """A net of two stages with the stem and the blocks of those for ImageNet."""
    return seeded(models.ResNet(block, [1, 1], [2, 4], 3, 10, "imagenet", preactivation, True, shortcut="B"))


LAYERS = {  # name: (makes the layer, shape of its input)
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 2, 5, 4)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (4, 3, 2, 2)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (3, 4)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
    "RMSNorm": (lambda: nn.RMSNorm(4), (3, 4)),
    "Dropout": (lambda: nn.Dropout(0.5, seed=1), (3, 4)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 2, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3, 2, generator=np.random.default_rng(0)), (2, 2, 3, 2)),
    "Upsample": (lambda: nn.Upsample(2, "bilinear"), (2, 2, 3, 2)),
    "ReLU": (nn.ReLU, (3, 4)),
    "Sigmoid": (nn.Sigmoid, (3, 4)),
    "Tanh": (nn.Tanh, (3, 4)),
    "LeakyReLU": (nn.LeakyReLU, (3, 4)),
    "ELU": (nn.ELU, (3, 4)),
    "Softplus": (nn.Softplus, (3, 4)),
    "SiLU": (nn.SiLU, (3, 4)),
    "GELU": (nn.GELU, (3, 4)),
    "Softmax": (nn.Softmax, (3, 4)),
    "LogSoftmax": (nn.LogSoftmax, (3, 4)),
    "Linear": (lambda: nn.Linear(4, 3), (2, 4)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (2, 2, 4, 4)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (2, 2, 4, 4)),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d, (2, 3, 2, 2)),
    "Flatten": (nn.Flatten, (2, 3, 2, 2)),
    "Identity": (lambda: nn.Sequential(nn.Identity(), nn.ReLU()), (2, 3)),  # it makes no op of its own
    "Sequential": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten()), (3, 1, 4, 4)),
}
NETS = {  # name: (makes the net, shape of its input)
    "residual, option A": (lambda: models.cifar_net(8, width=4), (4, 3, 8, 8)),
    "plain": (lambda: models.cifar_net(8, residual=False, width=4), (4, 3, 8, 8)),
    "option B": (lambda: models.cifar_net(8, width=4, shortcut="B"), (4, 3, 8, 8)),
    "option C": (lambda: models.cifar_net(8, width=4, shortcut="C"), (4, 3, 8, 8)),
    "pre-activation": (lambda: models.cifar_net(8, width=4, preactivation=True), (4, 3, 8, 8)),
    "without batch norm": (lambda: models.cifar_net(8, width=4, batch_norm=False), (4, 3, 8, 8)),
    "flat, tanh": (lambda: models.flat_net(4, width=4, activation="tanh"), (4, 1, 8, 8)),
    "flat, sigmoid": (lambda: models.flat_net(4, width=4, activation="sigmoid", batch_norm=True), (4, 1, 8, 8)),
    "bottlenecks and max pooling": (lambda: small_imagenet_net(models.Bottleneck, False), (2, 3, 32, 32)),
    "pre-activation bottlenecks": (lambda: small_imagenet_net(models.PreactivationBottleneck, True), (2, 3, 32, 32)),
}
each_layer = pytest.mark.parametrize("name", LAYERS)
each_net = pytest.mark.parametrize("name", NETS)


def one_step(name, device):
    """(model, images, loss) after one step of SGD with momentum and weight decay on the device, in float64."""
    make, shape = NETS[name]
    model = make().astype(np.float64).to(device)
    optimizer = mr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    images = leaf(normal(*shape), device)
    loss = mr.ops.cross_entropy(model(images), np.arange(shape[0]) % 3)
    loss.backward()
    optimizer.step()
    return model, images, loss


def test_every_layer_has_a_row():
    classes = {name for name, value in vars(nn).items() if isinstance(value, type) and issubclass(value, nn.Module)}
    assert set(LAYERS) == classes - {"Module", "ModuleList", "ModuleDict", "Embedding", "MultiheadAttention"}


@each_layer
def test_a_layer_computes_on_the_device_what_it_computes_on_the_cpu(name, cuda):
    make, shape = LAYERS[name]
    here, there = seeded(make()), seeded(make()).to("cuda")
    expected, found = run(here, [normal(*shape)], "cpu"), run(there, [normal(*shape)], "cuda")
    assert_same(on_host(*found), on_host(*expected))
    assert_same([to_host(p.grad) for p in there.parameters()], [p.grad for p in here.parameters()])
    assert_same(there.state_dict().values(), here.state_dict().values())  # running statistics have moved alike


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "Dropout"])  # each run of which has another mask
def test_the_gradient_of_a_layer_agrees_with_numerical_derivatives(name, device):
    make, shape = LAYERS[name]
    mr.gradcheck(seeded(make()).to(device), [leaf(normal(*shape), device)])


@each_net
def test_a_step_of_a_net_gives_on_the_device_what_it_gives_on_the_cpu(name, cuda):
    model, images, loss = one_step(name, "cpu")
    found_model, found_images, found_loss = one_step(name, "cuda")
    assert_same([to_host(found_loss.data), to_host(found_images.grad)], [loss.data, images.grad], rtol=1e-7, atol=1e-9)
    gradients = [[to_host(p.grad) for p in net.parameters()] for net in (found_model, model)]
    assert_same(*gradients, rtol=1e-7, atol=1e-8)
    assert_same(found_model.state_dict().values(), model.state_dict().values(), rtol=1e-7, atol=1e-8)


def test_checkpoints_give_the_same_gradients(cuda):
    x = normal(4, 3, 8, 8)
    gradients = []
    for checkpoint_every in (None, 1):
        model = models.cifar_net(8, width=4, checkpoint_every=checkpoint_every).astype(np.float64).to("cuda")
        mr.ops.cross_entropy(model(leaf(x, "cuda")), [0, 1, 2, 3]).backward()
        gradients.append([to_host(p.grad) for p in model.parameters()])
    assert_same(*gradients)


def test_all_of_a_model_moves_in_place_and_keeps_its_identity(cuda):
    model = models.cifar_net(8, width=4)
    mr.ops.cross_entropy(model(mr.Tensor(normal(2, 3, 8, 8))), [0, 1]).backward()
    before = model.state_dict()
    parameters = list(model.parameters())
    gradients = [p.grad.copy() for p in parameters]
    assert model.to("cuda:1") is model
    assert {device_of(array) for p in parameters for array in (p.data, p.grad)} == {"cuda:1"}
    assert {device_of(buffer) for _, buffer in model.named_buffers()} == {"cuda:1"}
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    model.to("cpu")
    assert_same(model.state_dict().values(), before.values(), rtol=0, atol=0)
    assert_same([p.grad for p in parameters], gradients, rtol=0, atol=0)


def test_a_model_that_is_made_moves_with_equal_weights(cuda):
    here, there = models.resnet20(seed=3), models.resnet20(seed=3).to("cuda")
    assert_same(there.state_dict().values(), here.state_dict().values(), rtol=0, atol=0)


@pytest.mark.parametrize(("here", "there"), [("cpu", "cuda:0"), ("cuda:0", "cpu"), ("cuda:0", "cuda:1")])
def test_a_file_that_was_written_on_one_device_loads_on_another(here, there, cuda, tmp_path):
    model = models.cifar_net(8, width=4, seed=1).to(here)
    optimizer = mr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    mr.ops.cross_entropy(model(mr.Tensor(normal(2, 3, 8, 8)).astype(np.float32).to(here)), [0, 1]).backward()
    optimizer.step()
    mr.save(model, tmp_path / "model.npz")
    mr.save(optimizer.state_dict(), tmp_path / "optimizer.npz")
    other = models.cifar_net(8, width=4, seed=2).to(there)
    other_optimizer = mr.optim.SGD(other.parameters(), lr=0.5, momentum=0.5)
    other.load_state_dict(mr.load(tmp_path / "model.npz"))
    other_optimizer.load_state_dict(mr.load(tmp_path / "optimizer.npz"))
    assert_same(other.state_dict().values(), model.state_dict().values(), rtol=0, atol=0)
    assert {device_of(p.data) for p in other.parameters()} == {device_of(v) for v in other_optimizer.velocities} == {there}
    for name, values in optimizer.state_dict().items():
        np.testing.assert_array_equal(other_optimizer.state_dict()[name], values)


def test_a_dict_of_device_arrays_can_be_saved(cuda, tmp_path):
    array = to_device(normal(2, 3), "cuda")
    mr.save({"array": array, "number": 3}, tmp_path / "arrays.npz")
    np.testing.assert_array_equal(mr.load(tmp_path / "arrays.npz")["array"], normal(2, 3))


@pytest.mark.parametrize("init", [nn.init.he_normal_, nn.init.glorot_uniform_, nn.init.orthogonal_,
                                  nn.init.delta_orthogonal_, nn.init.zeros_, nn.init.ones_])
def test_an_initialiser_draws_on_the_host_so_that_both_devices_start_equal(init, cuda):
    weights = [init(leaf(np.empty((4, 2, 3, 3)), device), np.random.default_rng(0)) for device in ("cpu", "cuda", "cuda:1")]
    for weight in weights[1:]:
        np.testing.assert_array_equal(weight.numpy(), weights[0].data)


def test_summary_describes_a_net_on_the_device(cuda):
    here, there = models.cifar_net(8, width=4), models.cifar_net(8, width=4).to("cuda")
    assert str(mr.summary(there, (1, 3, 8, 8))) == str(mr.summary(here, (1, 3, 8, 8)))


LAYOUTS = {
    "transposed": lambda x: x.transpose(1, 0),
    "every other": lambda x: x[:, ::2],
    "broadcast": lambda x: array_module(x).broadcast_to(x[:1], x.shape),
    "0-d": lambda x: x[0, 0],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(("here", "there"), [("cuda:0", "cuda:1"), ("cuda:1", "cuda:0"), ("cuda:1", "cpu"),
                                             ("cpu", "cuda:1")])
def test_an_array_of_any_memory_layout_moves_between_devices(layout, here, there, cuda):
    x = layout(to_device(normal(3, 4), here))
    moved = mr.Tensor(x, requires_grad=True).to(there)
    assert moved.device == there
    np.testing.assert_array_equal(moved.numpy(), layout(normal(3, 4)))


def test_a_module_moves_whole_or_not_at_all(cuda, monkeypatch):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm2d(2))
    moved = []

    def full_after_three(x, device):
        moved.append(x)
        if len(moved) > 3:
            raise MemoryError("the device is full")
        return to_device(x, device)

    monkeypatch.setattr("minires.nn.module.to_device", full_after_three)
    with pytest.raises(MemoryError):
        model.to("cuda:1")
    arrays = [*[p.data for p in model.parameters()], *[buffer for _, buffer in model.named_buffers()]]
    assert len(arrays) > 3
    assert {device_of(array) for array in arrays} == {"cpu"}


def test_an_embedding_looks_up_on_the_device_what_it_does_on_the_cpu(cuda):
    found = []
    for device in ("cpu", "cuda"):
        layer = nn.Embedding(5, 3, generator=np.random.default_rng(0)).astype(np.float64).to(device)
        y = layer([[4, 0], [4, 4]])
        y.backward(to_device(normal(2, 2, 3), device))
        assert device_of(layer.weight.grad) == device_of(layer.weight.data)
        found.append(on_host([layer.weight], y))
    assert_same(*found)
    with pytest.raises(mr.DeviceError, match=r"Embedding.*: indices are on cuda:0; they are checked on the host"):
        layer(to_device(np.array([0, 1]), "cuda"))


def test_a_mask_of_dropout_is_the_same_on_every_device_and_in_a_checkpoint(cuda):
    found = []
    for device, checkpoint_every in (("cpu", None), ("cuda", None), ("cuda", 1)):
        net = nn.Sequential(nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.3))
        net.checkpoint_every = checkpoint_every
        found.append(on_host(*run(net, [normal(20, 5)], device)))
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])
    assert 0.4 < (found[0][0] == 0).mean() < 0.9


def test_an_attention_computes_on_the_device_what_it_computes_on_the_cpu(cuda):
    found = []
    for device in ("cpu", "cuda"):
        layer = nn.MultiheadAttention(6, 2, generator=np.random.default_rng(0)).astype(np.float64).to(device)

        def output(query, key, layer=layer):
            return layer(query, key, attn_mask=np.triu(np.ones((3, 4), bool), 2))[0]

        leaves, y = run(output, [normal(2, 3, 6), normal(2, 4, 6)], device)
        found.append(on_host([*leaves, *layer.parameters()], y))
    assert_same(found[1], found[0])
