"""The families: sizes, shapes, and that a net and its twin start equal and differ only by the add."""
import collections

import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.errors import ArgumentError, UnknownNameError
from minires.models.families import IMAGENET_BLOCKS


def draw_nothing(tensor, generator):
    """An initialiser for nets of which only the shape matters."""
    return tensor


def count(net):
    return sum(parameter.size for parameter in net.parameters())


def images(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def stage_shapes(net, shape):
    """The shapes of each stage's output, and of the logits, for one image."""
    table = mr.summary(net, (1, *shape))
    return [row.output_shape[1:] for row in table.rows if row.name in ("layer1", "layer2", "layer3", "layer4", "")]


def small(**options):
    return models.cifar_net(8, **{"width": 2, "in_channels": 1, "num_classes": 3, **options})


# ---- sizes


@pytest.mark.parametrize(("options", "depths"), [
    ({"residual": False}, (1202,)),
    ({"preactivation": True}, (20, 32, 44, 56, 110)),
    ({"preactivation": True, "residual": False}, (20, 32, 44, 56, 110)),
])
def test_cifar_nets_without_a_name_have_the_parameters_of_those_with_one(options, depths):
    known = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}
    assert {depth: count(models.cifar_net(depth, init=draw_nothing, **options)) for depth in depths} == \
        {depth: known[depth] for depth in depths}


@pytest.mark.parametrize(("shortcut", "parameters"), [("A", 269_722), ("B", 272_474), ("C", 283_962)])
def test_projections_add_their_weights(shortcut, parameters):
    # B: (16 * 32 + 64) + (32 * 64 + 128); C: also 3 (16 * 16 + 32) + 2 (32 * 32 + 64) + 2 (64 * 64 + 128)
    assert count(models.cifar_net(20, shortcut=shortcut)) == parameters


@pytest.mark.parametrize(("family", "depth"), [(models.cifar_net, 8), (models.cifar_net, 20), (models.imagenet_net, 18)])
@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_depth_counts_the_weighted_layers_outside_the_shortcuts(family, depth, preactivation, residual):
    net = family(depth, residual=residual, preactivation=preactivation, shortcut="B", init=draw_nothing)
    layers = [name for name, module in net.named_modules()
              if isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in name]
    assert len(layers) == depth


@pytest.mark.parametrize("depth", [34, 50, 101, 152])
def test_the_deeper_imagenet_nets_have_as_many_layers_as_their_name_says(depth):
    is_bottleneck, blocks = IMAGENET_BLOCKS[depth]
    assert 1 + sum(blocks) * (3 if is_bottleneck else 2) + 1 == depth


# ---- shapes


@pytest.mark.parametrize("options", [{}, {"residual": False}, {"preactivation": True}, {"shortcut": "B"}])
def test_the_stages_of_a_cifar_net_halve_the_image_and_double_the_channels(options):
    net = models.cifar_net(8, width=4, num_classes=7, **options)
    assert stage_shapes(net, (3, 16, 12)) == [(7,), (4, 16, 12), (8, 8, 6), (16, 4, 3)]
    assert stage_shapes(net, (3, 7, 5)) == [(7,), (4, 7, 5), (8, 4, 3), (16, 2, 2)]


@pytest.mark.parametrize(("depth", "channels"), [(18, (64, 128, 256, 512)), (50, (256, 512, 1024, 2048))])
@pytest.mark.parametrize("preactivation", [False, True])
def test_the_stages_of_an_imagenet_net(depth, channels, preactivation):
    net = models.imagenet_net(depth, preactivation=preactivation, num_classes=5, init=draw_nothing)
    sizes = (16, 8, 4, 2)
    assert stage_shapes(net, (3, 64, 64)) == [(5,), *((c, n, n) for c, n in zip(channels, sizes, strict=True))]


@pytest.mark.parametrize("stride_on", ["3x3", "1x1"])
@pytest.mark.parametrize("preactivation", [False, True])
def test_stride_on_moves_the_stride_within_the_bottlenecks_that_halve(stride_on, preactivation):
    net = models.imagenet_net(50, stride_on=stride_on, preactivation=preactivation, init=draw_nothing)
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for i, block in enumerate(getattr(net, stage)):
            halves = stage != "layer1" and i == 0
            strides = [block.conv1.stride[0], block.conv2.stride[0], block.conv3.stride[0]]
            assert strides == ([1, 1, 1] if not halves else [1, 2, 1] if stride_on == "3x3" else [2, 1, 1])


def test_a_preactivation_net_normalises_once_more_before_the_average():
    names = [name for name, _ in small(preactivation=True).named_children()]
    assert names == ["conv1", "layer1", "layer2", "layer3", "bn_last", "relu_last", "avgpool", "fc"]
    assert [name for name, _ in small().named_children()] == ["conv1", "bn1", "relu", "layer1", "layer2", "layer3",
                                                              "avgpool", "fc"]
    net = small(preactivation=True)
    seen = []
    for name, module in net.named_children():
        module.forward_hooks.append(lambda module, inputs, output, name=name: seen.append(name))
    net(mr.Tensor(images((2, 1, 4, 4))))
    assert seen == names


# ---- twins


VARIANTS = [
    {"preactivation": preactivation, "batch_norm": batch_norm} for preactivation in (False, True)
    for batch_norm in (True, False)
]


@pytest.mark.parametrize("options", VARIANTS)
def test_twins_share_every_initial_weight(options):
    plain = small(residual=False, seed=3, **options).state_dict()
    residual = small(residual=True, seed=3, **options).state_dict()
    assert list(plain) == list(residual)
    for name in plain:
        np.testing.assert_array_equal(plain[name], residual[name], err_msg=name)


@pytest.mark.parametrize("shortcut", ["B", "C"])
@pytest.mark.parametrize("options", VARIANTS)
def test_projections_shift_no_other_weight(shortcut, options):
    without, projected = small(seed=3, **options).state_dict(), small(seed=3, shortcut=shortcut, **options).state_dict()
    extra = [name for name in projected if name not in without]
    assert extra
    assert all(".downsample." in name for name in extra)
    for name in without:
        np.testing.assert_array_equal(without[name], projected[name], err_msg=name)


def test_imagenet_twins_share_every_initial_weight():
    plain, residual = (models.imagenet_net(18, residual=residual, num_classes=10, seed=2) for residual in (False, True))
    projected = dict(residual.named_parameters())
    assert [name for name in projected if "downsample" not in name] == [name for name, _ in plain.named_parameters()]
    for name, parameter in plain.named_parameters():
        assert np.array_equal(parameter.data, projected[name].data), name


def test_the_seed_decides_every_weight():
    first, second, other = (small(seed=seed).state_dict() for seed in (0, 0, 1))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        if first[name].ndim >= 2:
            assert not np.isclose(first[name], other[name]).any(), name


def test_a_deeper_net_starts_from_the_weights_of_the_shallower_one_where_they_share_a_layer():
    shallow = small().state_dict()
    deep = models.cifar_net(14, width=2, in_channels=1, num_classes=3).state_dict()
    for name in shallow:
        np.testing.assert_array_equal(shallow[name], deep[name], err_msg=name)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_graphs_of_twins_differ_only_by_the_adds_and_the_padding(options):
    def ops_of(net):
        y = net(mr.Tensor(images((2, 1, 8, 8))))
        return collections.Counter(type(step.op).__name__ for step in mr.backward_steps(y.sum()))

    plain, residual = (ops_of(models.cifar_net(14, residual=residual, width=2, in_channels=1, **options))
                       for residual in (False, True))
    assert residual - plain == {"ShortcutAdd": 6, "ZeroPadShortcut": 2}
    assert plain - residual == {}


@pytest.mark.parametrize("options", VARIANTS)
def test_a_residual_net_whose_shortcuts_are_cut_is_its_plain_twin(options, monkeypatch):
    x = mr.Tensor(images((2, 1, 8, 8)))
    plain, residual = (small(residual=residual, **options) for residual in (False, True))
    assert not np.allclose(plain(x).data, residual(x).data)
    monkeypatch.setattr(models.Block, "add_shortcut", lambda block, y, x: y)
    np.testing.assert_array_equal(plain(x).data, residual(x).data)


def test_init_draws_the_convolutions_and_fc_is_lecun_normal_with_zero_bias():
    net = small(init=nn.init.orthogonal_, seed=4)
    for name, parameter in net.named_parameters():
        if parameter.ndim == 4:
            matrix = parameter.data.reshape(parameter.shape[0], -1)
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-5, err_msg=name)
    fc = mr.Tensor(np.zeros(net.fc.weight.shape, np.float32))
    nn.init.lecun_normal_(fc, nn.init.generator_for(4, "fc.weight"))
    np.testing.assert_array_equal(net.fc.weight.data, fc.data)
    np.testing.assert_array_equal(net.fc.bias.data, 0)


@pytest.mark.parametrize("preactivation", [False, True])
def test_a_net_without_batch_norm_has_none_and_otherwise_the_same_weights(preactivation):
    without, with_it = (small(batch_norm=batch_norm, preactivation=preactivation) for batch_norm in (False, True))
    assert not any(isinstance(module, nn.BatchNorm2d) for _, module in without.named_modules())
    # one for each convolution
    assert sum(isinstance(module, nn.BatchNorm2d) for _, module in with_it.named_modules()) == 7
    state = with_it.state_dict()
    for name, values in without.state_dict().items():
        np.testing.assert_array_equal(values, state[name], err_msg=name)


def test_every_parameter_knows_its_dotted_name():
    for name, parameter in small(shortcut="C", preactivation=True).named_parameters():
        assert parameter.name == name


def test_names_are_torchvision_s():
    names = list(models.imagenet_net(18, init=draw_nothing, num_classes=2).state_dict())
    assert names[0] == "conv1.weight"
    assert {"bn1.running_mean", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight",
            "layer2.0.downsample.1.running_var", "layer4.1.bn2.bias", "fc.bias"} <= set(names)


@pytest.mark.parametrize("depth", [18, 50])
def test_zero_init_residual_makes_each_block_its_shortcut(depth):
    net = models.imagenet_net(depth, num_classes=2, zero_init_residual=True, init=draw_nothing)
    blocks = []
    for _, module in net.named_modules():
        if isinstance(module, models.Block):
            module.forward_hooks.append(lambda block, inputs, output: blocks.append((block, inputs[0], output)))
    net(mr.Tensor(images((2, 3, 32, 32))))
    assert len(blocks) == (8 if depth == 18 else 16)
    zeroed = [name for name, parameter in net.named_parameters() if name.endswith(".weight") and not parameter.data.any()]
    last = "bn2" if depth == 18 else "bn3"
    assert zeroed == [f"{block.path}.{last}.weight" for block, _, _ in blocks]
    for block, x, y in blocks:
        shortcut = x if block.downsample is None else block.downsample(x)
        np.testing.assert_array_equal(y.data, np.maximum(shortcut.data, 0))


# ---- gradients


@pytest.mark.parametrize("options", [
    {},
    pytest.param({"residual": False}, marks=pytest.mark.slow),
    pytest.param({"preactivation": True}, marks=pytest.mark.slow),
    {"batch_norm": False},
    {"shortcut": "C", "batch_norm": False},
    pytest.param({"shortcut": "B", "preactivation": True}, marks=pytest.mark.slow),
], ids=str)
def test_the_gradient_of_a_small_net_is_right_in_every_parameter(options):
    mr.gradcheck(small(**options).astype(np.float64), [np.random.default_rng(1).standard_normal((2, 1, 5, 5))])


LAYERS_BETWEEN = ["conv1", "relu", "layer1.0.conv1", "layer1.0.bn2", "layer1.0", "layer2.0.relu1", "layer2.0.downsample",
                  "layer2.0", "layer3.0", "avgpool"]


def numerical_gradient(function, shape, step=1e-5):
    """Central differences of a function of an array at 0."""
    gradient, nudge = np.zeros(shape), np.zeros(shape)
    for i in np.ndindex(shape):
        nudge[i] = step
        above = function(nudge)
        nudge[i] = -step
        gradient[i] = (above - function(nudge)) / (2 * step)
        nudge[i] = 0
    return gradient


@pytest.mark.parametrize("name", LAYERS_BETWEEN)
def test_gradients_of_the_layers_between_are_right(name):
    """Also where the stream forks, into a block's branch and its shortcut: a sum of two contributions."""
    net = small().astype(np.float64)
    x, labels = mr.Tensor(np.random.default_rng(1).standard_normal((2, 1, 4, 4))), np.array([0, 2])
    module = dict(net.named_modules())[name]
    outputs = []

    def keep(module, inputs, output):
        output.retain_grad()
        outputs.append(output)

    module.forward_hooks.append(keep)
    with mr.record_gradients(net) as record:
        mr.ops.cross_entropy(net(x), labels).backward()
    module.forward_hooks.remove(keep)
    forward = module.forward

    def loss(nudge):
        module.forward = lambda x: forward(x) + mr.Tensor(nudge)
        with mr.no_grad():
            return mr.ops.cross_entropy(net(x), labels).item()

    expected = numerical_gradient(loss, outputs[0].shape)
    assert abs(expected).max() > 1e-3
    np.testing.assert_allclose(outputs[0].grad, expected, rtol=1e-5, atol=1e-8)
    recorded = record.output_grad_norm[0, record.names.index(name)]
    np.testing.assert_allclose(recorded, np.linalg.norm(expected), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"preactivation": True}, {"shortcut": "B"}], ids=str)
def test_no_gradient_of_the_pass_is_written_to_after_its_step(options):
    """A contribution that were added into a shared array would change what another step was given."""
    net = models.cifar_net(14, width=2, in_channels=1, **options)
    arrays, values = [], []
    for step in mr.backward_steps(net(mr.Tensor(images((2, 1, 4, 4)))).sum()):
        kept = [step.grad_output, *(gradient for gradient in step.grad_inputs if gradient is not None)]
        arrays += kept
        values += [gradient.copy() for gradient in kept]
    for array, value in zip(arrays, values, strict=True):
        np.testing.assert_array_equal(array, value)


# ---- errors


@pytest.mark.parametrize(("depth", "message"), [
    (21, "depth is 21, expected 6n\\+2 .* such as 20 or 26"),
    (2, "depth is 2, expected 6n\\+2 .* such as 8 or 14"),
    (0, "depth is 0, expected an integer of at least 1"),
    ("20", "depth is '20', expected an integer"),
    (20.0, "depth is 20.0, expected an integer"),
])
def test_a_cifar_depth_is_6n_plus_2(depth, message):
    with pytest.raises(ArgumentError, match=f"^cifar_net: {message}"):
        models.cifar_net(depth)


@pytest.mark.parametrize(("options", "message"), [
    ({"width": 0}, "cifar_net: width is 0"),
    ({"width": 1.5}, "cifar_net: width is 1.5"),
    ({"in_channels": 0}, "in_channels is 0"),
    ({"num_classes": -1}, "out_features is -1"),
    ({"seed": -1}, "seed is -1"),
])
def test_bad_numbers_are_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        models.cifar_net(8, **options)


@pytest.mark.parametrize("depth", [20, 0, "18", None])
def test_an_imagenet_depth_is_one_of_five(depth):
    with pytest.raises(ArgumentError, match=rf"^imagenet_net: depth is {depth!r}, expected one of 18, 34, 50, 101, 152$"):
        models.imagenet_net(depth)


@pytest.mark.parametrize("shortcut", ["D", "a", None, ""])
@pytest.mark.parametrize(("family", "depth"), [(models.cifar_net, 8), (models.imagenet_net, 18)])
def test_an_unknown_shortcut_is_named_with_those_that_there_are(family, depth, shortcut):
    with pytest.raises(UnknownNameError, match=rf"^{family.__name__}: unknown shortcut {shortcut!r}: known are A .* B .* C"):
        family(depth, shortcut=shortcut)


def test_an_unknown_stride_on_is_named():
    with pytest.raises(ArgumentError, match='stride_on is 3, expected "3x3" or "1x1"'):
        models.imagenet_net(50, stride_on=3)


@pytest.mark.parametrize("options", [{"residual": False}, {"preactivation": True}])
def test_zero_init_residual_needs_a_residual_net_in_the_original_order(options):
    with pytest.raises(ArgumentError, match="zero_init_residual needs a batch norm at the end of each residual branch"):
        models.imagenet_net(18, zero_init_residual=True, num_classes=2, init=draw_nothing, **options)
