"""The blocks: what runs in which order, what is added, and that a plain block only lacks the add."""
import itertools

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from minires.errors import ArgumentError, ModuleError, ShapeError

ORIGINAL = [models.BasicBlock, models.Bottleneck]
PREACTIVATION = [models.PreactivationBasicBlock, models.PreactivationBottleneck]
ALL = ORIGINAL + PREACTIVATION


def images(channels=4, size=6, seed=0):
    return mr.Tensor(np.random.default_rng(seed).standard_normal((2, channels, size, size)))


def calls(block, x):
    """[(name, input, output)] of the block's modules in the order in which they finished, and the block's output."""
    seen = []
    for name, module in block.named_children():
        module.forward_hooks.append(
            lambda module, inputs, output, name=name: seen.append((name, inputs[0].data, output.data)))
    return seen, block(x).data


@pytest.mark.parametrize(("kind", "order"), [
    (models.BasicBlock, "conv1 bn1 relu1 conv2 bn2 relu2"),
    (models.Bottleneck, "conv1 bn1 relu1 conv2 bn2 relu2 conv3 bn3 relu3"),
    (models.PreactivationBasicBlock, "bn1 relu1 conv1 bn2 relu2 conv2"),
    (models.PreactivationBottleneck, "bn1 relu1 conv1 bn2 relu2 conv2 bn3 relu3 conv3"),
])
@pytest.mark.parametrize("residual", [True, False])
def test_the_layers_are_defined_and_run_in_the_order_of_the_paper(kind, order, residual):
    order = order.split()
    block = kind(4 * kind.expansion, 4, residual=residual)
    assert [name for name, _ in block.named_children()] == order
    seen, _ = calls(block, images(4 * kind.expansion))
    assert [name for name, _, _ in seen] == order
    for (_, _, output), (name, x, _) in itertools.pairwise(seen):
        if not (residual and kind in ORIGINAL and name == order[-1]):  # there the add comes between
            np.testing.assert_array_equal(x, output)


@pytest.mark.parametrize("kind", ORIGINAL)
def test_a_residual_block_ends_in_the_relu_of_branch_plus_x(kind):
    x = images(4 * kind.expansion)
    seen, y = calls(kind(4 * kind.expansion, 4), x)
    (_, _, branch), (_, last_input, _) = seen[-2:]
    np.testing.assert_array_equal(last_input, branch + x.data)
    np.testing.assert_array_equal(y, np.maximum(branch + x.data, 0))


@pytest.mark.parametrize("kind", PREACTIVATION)
def test_a_preactivation_block_ends_in_branch_plus_x_with_nothing_after(kind):
    x = images(4 * kind.expansion)
    seen, y = calls(kind(4 * kind.expansion, 4), x)
    np.testing.assert_array_equal(y, seen[-1][2] + x.data)


@pytest.mark.parametrize("kind", ALL)
def test_a_plain_block_is_its_branch_alone(kind):
    seen, y = calls(kind(4 * kind.expansion, 4, residual=False), images(4 * kind.expansion))
    np.testing.assert_array_equal(y, seen[-1][2])


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_where_the_shape_changes_the_shortcut_is_padded_or_projected(kind, shortcut):
    block, x = kind(4, 8, stride=2, shortcut=shortcut), images()
    out_channels = 8 * kind.expansion
    seen, y = calls(block, x)
    assert y.shape == (2, out_channels, 3, 3)
    inputs, shortcut_output = {name: (x, y) for name, x, y in seen}["downsample"]
    if shortcut == "A":
        assert isinstance(block.downsample, models.ZeroPadShortcut)
        np.testing.assert_array_equal(inputs, x.data)
        np.testing.assert_array_equal(shortcut_output[:, :4], x.data[:, :, ::2, ::2])
        assert not shortcut_output[:, 4:].any()
    else:
        conv, bn = block.downsample
        assert (conv.kernel_size, conv.stride, conv.bias) == ((1, 1), (2, 2), None)
        assert isinstance(bn, nn.BatchNorm2d if kind in ORIGINAL else nn.Identity)
        # a projection in a pre-activation block starts from relu(bn(x))
        activated = next(output for name, _, output in seen if name == "relu1")
        np.testing.assert_array_equal(inputs, activated if kind in PREACTIVATION else x.data)
    branch = next(output for name, _, output in reversed(seen)
                  if name not in ("downsample", "relu2" if kind is models.BasicBlock else "relu3"))
    added = branch + shortcut_output
    np.testing.assert_array_equal(y, np.maximum(added, 0) if kind in ORIGINAL else added)


@pytest.mark.parametrize("kind", ALL)
def test_only_option_c_projects_where_the_shape_stays(kind):
    channels = 4 * kind.expansion
    assert kind(channels, 4, shortcut="A").downsample is None
    assert kind(channels, 4, shortcut="B").downsample is None
    assert isinstance(kind(channels, 4, shortcut="C").downsample, nn.Sequential)
    assert kind(channels, 4, shortcut="C", residual=False).downsample is None


@pytest.mark.parametrize("kind", [models.Bottleneck, models.PreactivationBottleneck])
@pytest.mark.parametrize(("stride_on", "strides"), [("3x3", [1, 2, 1]), ("1x1", [2, 1, 1])])
def test_stride_on_chooses_the_convolution_that_halves_the_image(kind, stride_on, strides):
    block = kind(8, 2, stride=2, stride_on=stride_on)
    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] == [(s, s) for s in strides]
    assert block(images(8)).shape == (2, 8, 3, 3)
    assert block(images(8, size=7)).shape == (2, 8, 4, 4)


@pytest.mark.parametrize("kind", ALL)
def test_no_convolution_has_a_bias_and_none_of_a_net_without_batch_norm_has_one(kind):
    block = kind(4, 4, stride=2, shortcut="B", batch_norm=False)
    kinds = [type(module) for _, module in block.named_modules()]
    assert nn.BatchNorm2d not in kinds
    assert nn.Identity in kinds
    assert all(name.endswith("weight") for name, _ in block.named_parameters())


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("residual", [True, False])
def test_the_gradient_of_a_block_is_right(kind, residual):
    block = kind(2, 2, stride=2, residual=residual, shortcut="B").astype(np.float64)
    nn.init.initialize_(block, nn.init.he_normal_, seed=1)
    mr.gradcheck(block, [images(2, size=4).data])


def test_zero_pad_shortcut_is_the_op_and_has_no_parameters():
    layer, x = models.ZeroPadShortcut(6, 2), images()
    np.testing.assert_array_equal(layer(x).data, ops.zero_pad_shortcut(x, 6, 2).data)
    assert layer.state_dict() == {}
    assert repr(layer) == "ZeroPadShortcut(6, stride=2)"
    with pytest.raises(ShapeError, match="more than the 2 of the output"):
        models.ZeroPadShortcut(2, 1)(x)


def test_the_base_class_of_all_blocks_is_not_one_itself():
    assert all(issubclass(kind, models.Block) for kind in ALL)
    with pytest.raises(ModuleError, match="use BasicBlock, Bottleneck"):
        models.Block(4, 4)


def test_a_branch_of_another_shape_is_not_added_by_broadcasting():
    block = models.BasicBlock(4, 4)
    block.conv2 = nn.Conv2d(4, 1, 3, padding=1)
    block.bn2 = nn.Identity()
    with pytest.raises(ShapeError, match="they must be equal"):
        block(images())


def test_bad_sizes_are_those_of_the_convolution():
    with pytest.raises(ArgumentError, match="out_channels is 0"):
        models.BasicBlock(4, 0)
