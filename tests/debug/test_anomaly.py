"""Anomalies are found at the op that makes them; writes into what a gradient needs are caught at the line that writes."""
import numpy as np
import pytest

import minires as mr
from minires.errors import AnomalyError


def tensor(values, **options):
    return mr.Tensor(np.asarray(values, dtype=np.float64), requires_grad=True, **options)


def test_the_first_output_that_is_not_finite_is_named_with_its_place_and_line():
    x = tensor([1.0, 2.0, 0.0])
    with mr.detect_anomaly(), pytest.raises(AnomalyError) as raised, np.errstate(divide="ignore"):
        (x.log() * 2).sum()
    text = str(raised.value)
    assert text.startswith("Log: the output is -inf at [2]; its inputs are finite: shape (3,), from 0 to 2")
    assert f"Called at {__file__}:" in text


def test_an_anomaly_names_the_layer():
    net = mr.models.cifar_net(8, width=2, in_channels=1)
    net.layer2[0].conv1.weight.data[1, 0, 0, 0] = np.nan
    with mr.detect_anomaly(), pytest.raises(AnomalyError, match=r"Conv2d \(layer 'layer2.0.conv1'\): the out") as raised:
        net(mr.Tensor(np.ones((2, 1, 8, 8))))
    assert "given such values, in its input 1" in str(raised.value)


def test_the_first_gradient_that_is_not_finite_is_named_though_the_outputs_are_finite():
    x = tensor([4.0, 0.0])
    with mr.detect_anomaly(), np.errstate(divide="ignore"):
        y = (x ** 0.5).sum()
        with pytest.raises(AnomalyError, match=r"Power: the gradient of its input 0 is inf at \[1\]; that of"):
            y.backward()


def test_a_gradient_that_begins_not_finite_is_told_from_one_that_an_op_made():
    x = tensor([1.0, 2.0])
    with mr.detect_anomaly(), pytest.raises(AnomalyError, match="before its backward ran"):
        (x * 2).backward(np.array([1.0, np.nan]))


def test_without_an_anomaly_nothing_changes():
    net = mr.models.cifar_net(8, width=2, in_channels=1)
    x = mr.Tensor(np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32))

    def gradient():
        net.zero_grad()
        mr.ops.cross_entropy(net(x), [0, 1]).backward()
        return net.conv1.weight.grad

    plain = gradient()
    with mr.detect_anomaly(), mr.detect_writes():
        np.testing.assert_array_equal(gradient(), plain)
    assert mr.engine.state.state.hooks == ()


def test_outside_the_block_values_that_are_not_finite_pass():
    with np.errstate(divide="ignore"):
        assert np.isneginf(tensor([0.0]).log().data).all()


def test_changing_a_tensor_between_forward_and_backward_gives_a_wrong_gradient_and_is_caught_in_the_block():
    x = tensor([1.0, 2.0])
    y = (x * x).sum()
    x.data[0] = 10
    y.backward()
    assert x.grad[0] == 20  # right would have been 2: this is why the block exists
    x = tensor([1.0, 2.0])
    with mr.detect_writes():
        y = (x * x).sum()
        with pytest.raises(ValueError, match="read-only"):
            x.data[0] = 10
        y.backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_the_owner_of_a_view_is_locked_too():
    memory = np.ones(6)
    x = mr.Tensor(memory[::2], requires_grad=True)
    with mr.detect_writes():
        y = (x * x).sum()
        with pytest.raises(ValueError, match="read-only"):
            memory[0] = 3
        y.backward()
    memory[0] = 3


def test_an_op_that_writes_to_the_incoming_gradient_is_caught_in_the_act():
    class Greedy(mr.Op):
        """y = x, with a backward that scales the gradient in place."""

        def forward(self, x):
            return x.copy()

        def backward(self, dy):
            dy *= 2
            return dy

    x = tensor([1.0, 2.0])
    with mr.detect_writes():
        y = (Greedy()(x) + x).sum()
        with pytest.raises(ValueError, match="read-only") as raised:
            y.backward()
    assert any("in the backward of Greedy" in note for note in raised.value.__notes__)


def test_an_optimizer_can_step_after_the_pass_and_everything_is_writable_after_the_block():
    net = mr.models.cifar_net(8, width=2, in_channels=1)
    optimizer = mr.optim.SGD(net.parameters(), lr=0.1)
    images = np.ones((2, 1, 8, 8), np.float32)
    with mr.detect_writes():
        for _ in range(2):
            optimizer.zero_grad()
            mr.ops.cross_entropy(net(mr.Tensor(images)), [0, 1]).backward()
            optimizer.step()
        net(mr.Tensor(images))  # a forward without a backward
    assert images.flags.writeable
    assert all(parameter.data.flags.writeable for parameter in net.parameters())


def test_arrays_that_were_read_only_before_stay_so():
    data = np.ones(3)
    data.flags.writeable = False
    x = mr.Tensor(data, requires_grad=True)
    with mr.detect_writes():
        (x * 2).sum().backward()
    assert not data.flags.writeable


def test_a_gradient_of_another_precision_is_caught_at_the_op():
    class Careless(mr.Op):
        """y = 2 x, with a gradient that became float64 on the way."""

        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            return 2 * dy.astype(np.float64)

    x = mr.Tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(mr.BackwardError, match="Careless: backward returned float64 for input 0, which has dtype float32"):
        Careless()(x).sum().backward()


def test_a_name_that_does_not_exist_is_told_a_near_one():
    with pytest.raises(AttributeError, match="did you mean gradcheck"):
        _ = mr.gradchek
