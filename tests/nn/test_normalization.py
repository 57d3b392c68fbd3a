"""The batch normalisation layer: its statistics, and the switch between training and evaluation."""
import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.errors import ArgumentError


def images(seed=0):
    """(4, 3, 5, 6) images with a mean and a spread of their own in each channel."""
    x = np.random.default_rng(seed).standard_normal((4, 3, 5, 6))
    return x * np.array([1, 2, 3])[:, None, None] + np.array([5, 0, -5])[:, None, None]


def trained_layer(**options):
    """A layer in float64 whose weight, bias and running statistics are not those of the start."""
    layer = nn.BatchNorm2d(3, **options).astype(np.float64)
    layer.weight.data += [0.5, 1, 1.5]
    layer.bias.data += [1, 2, 3]
    layer(mr.Tensor(images(1)))
    return layer


def test_in_training_each_channel_comes_out_with_mean_0_and_variance_1():
    y = nn.BatchNorm2d(3).astype(np.float64)(mr.Tensor(images()))
    assert y.shape == (4, 3, 5, 6)
    np.testing.assert_allclose(y.data.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.data.var(axis=(0, 2, 3)), 1, rtol=1e-4)  # eps keeps it a little below 1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"eps": 0.1, "momentum": 0.3}])
def test_the_layer_is_the_op_and_updates_its_running_statistics_as_the_op_does(training, options):
    layer = trained_layer(**options).train(training)
    mean, var = layer.running_mean.copy(), layer.running_var.copy()
    x = mr.Tensor(images())
    y = layer(x)
    expected = ops.batch_norm(x, layer.weight, layer.bias, mean, var, training, **options)
    np.testing.assert_array_equal(y.data, expected.data)
    np.testing.assert_array_equal(layer.running_mean, mean)
    np.testing.assert_array_equal(layer.running_var, var)


def test_running_statistics_move_a_tenth_towards_those_of_the_batch():
    layer = nn.BatchNorm2d(3).astype(np.float64)
    layer(mr.Tensor(images()))
    np.testing.assert_allclose(layer.running_mean, 0.1 * images().mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(layer.running_var, 0.9 + 0.1 * images().var(axis=(0, 2, 3), ddof=1))


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    layer = trained_layer().eval()
    mean, var = layer.running_mean.copy(), layer.running_var.copy()
    y = layer(mr.Tensor(images()))
    per_channel = [a[:, None, None] for a in (mean, var, layer.weight.data, layer.bias.data)]
    mean_c, var_c, weight_c, bias_c = per_channel
    np.testing.assert_allclose(y.data, weight_c * (images() - mean_c) / np.sqrt(var_c + 1e-5) + bias_c)
    np.testing.assert_array_equal(layer.running_mean, mean)
    np.testing.assert_array_equal(layer.running_var, var)


@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_is_right_in_x_weight_and_bias(training):
    mr.gradcheck(trained_layer().train(training), [images()])


def test_frozen_statistics_change_the_gradient_of_x_but_not_the_output():
    def run(frozen):
        layer, x = trained_layer(), mr.Tensor(images(), requires_grad=True)
        layer.freeze_statistics = frozen
        y = layer(x)
        y.backward(np.random.default_rng(2).standard_normal(y.shape))
        return y.data, x.grad

    (y, dx), (frozen_y, frozen_dx) = run(False), run(True)
    np.testing.assert_array_equal(y, frozen_y)
    assert not np.allclose(dx, frozen_dx)
    # with the statistics as constants, y is w (x - mean) / std, so dx is dy times w / std, per channel
    scale = np.array([1.5, 2, 2.5]) / np.sqrt(images().var(axis=(0, 2, 3)) + 1e-5)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    np.testing.assert_allclose(frozen_dx, dy * scale[:, None, None])


def test_it_starts_as_the_identity_of_standardised_images_in_float32():
    layer = nn.BatchNorm2d(3)
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var"]
    assert all(values.shape == (3,) and values.dtype == np.float32 for values in state.values())
    assert [values[0] for values in state.values()] == [1, 0, 0, 1]
    assert layer.freeze_statistics is False


def test_repr_shows_channels_and_constants():
    assert repr(nn.BatchNorm2d(3, eps=0.001, momentum=0.2)) == "BatchNorm2d(3, eps=0.001, momentum=0.2)"


@pytest.mark.parametrize("channels", [0, 2.0, "3"])
def test_a_bad_number_of_channels_is_named(channels):
    with pytest.raises(ArgumentError, match=r"^BatchNorm2d: num_features is "):
        nn.BatchNorm2d(channels)


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_read_only_running_statistics_are_refused_by_name(name):
    norm = nn.BatchNorm2d(2)
    getattr(norm, name).flags.writeable = False
    before = norm.running_mean.copy()
    with pytest.raises(ArgumentError, match=f"{name}: its array is read-only"):
        norm(mr.Tensor(np.ones((2, 2, 2, 2), np.float32)))
    np.testing.assert_array_equal(norm.running_mean, before)


# ---- within each example


@pytest.mark.parametrize(("layer", "parameters", "shown"), [
    (nn.LayerNorm(4), ["weight", "bias"], "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)"),
    (nn.LayerNorm((3, 4), bias=False), ["weight"], "LayerNorm((3, 4), eps=1e-05, elementwise_affine=True, bias=False)"),
    (nn.LayerNorm(4, elementwise_affine=False), [], "LayerNorm((4,), eps=1e-05, elementwise_affine=False, bias=False)"),
    (nn.GroupNorm(1, 3), ["weight", "bias"], "GroupNorm(1, 3, eps=1e-05, affine=True)"),
    (nn.GroupNorm(3, 3, affine=False), [], "GroupNorm(3, 3, eps=1e-05, affine=False)"),
    (nn.RMSNorm(4), ["weight"], "RMSNorm((4,), eps=None, elementwise_affine=True)"),
    (nn.RMSNorm(4, 0.1, False), [], "RMSNorm((4,), eps=0.1, elementwise_affine=False)"),
])
def test_a_norm_within_each_example_is_the_same_in_evaluation(layer, parameters, shown):
    assert [name for name, _ in layer.named_parameters()] == parameters
    assert repr(layer) == shown
    x = mr.Tensor(np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32))
    y = layer(x).data
    np.testing.assert_array_equal(layer.eval()(x).data, y)
    np.testing.assert_array_equal(layer(x[:1]).data, y[:1])  # no example sees another
    assert 0.5 < np.abs(y).mean() < 1.5
