"""The summary: rows in the order of definition, shapes, and totals that can be checked by hand."""
import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from minires.errors import ArgumentError, DTypeError, ShapeError


def small_net():
    return nn.Sequential({"conv": nn.Conv2d(2, 4, 3, stride=2, padding=1), "bn": nn.BatchNorm2d(4), "act": nn.ReLU(),
                          "flat": nn.Flatten(), "fc": nn.Linear(64, 5)})


def test_there_is_a_row_for_each_module_in_the_order_of_definition():
    rows = mr.summary(small_net(), (3, 2, 8, 8)).rows
    assert [(row.name, row.kind, row.output_shape, row.parameters, row.multiply_adds) for row in rows] == [
        ("", "Sequential", (3, 5), 0, 0),
        ("conv", "Conv2d", (3, 4, 4, 4), 4 * 2 * 9 + 4, 3 * 4 * 4 * 4 * 2 * 9),
        ("bn", "BatchNorm2d", (3, 4, 4, 4), 8, 0),
        ("act", "ReLU", (3, 4, 4, 4), 0, 0),
        ("flat", "Flatten", (3, 64), 0, 0),
        ("fc", "Linear", (3, 5), 5 * 64 + 5, 3 * 5 * 64),
    ]


def test_totals_are_the_sums_of_the_rows():
    table = mr.summary(small_net(), (3, 2, 8, 8))
    assert table.parameters == 76 + 8 + 325 == sum(parameter.size for parameter in small_net().parameters())
    assert table.multiply_adds == 3456 + 960


def test_groups_divide_the_multiply_adds():
    table = mr.summary(nn.Sequential(nn.Conv2d(4, 8, 3, groups=2, bias=False)), (1, 4, 5, 5))
    assert table.multiply_adds == 8 * 3 * 3 * (2 * 9)


def test_resnet20_has_the_multiply_adds_that_one_counts_by_hand():
    stem = 16 * 3 * 9 * 32 * 32
    stage1 = 6 * 16 * 16 * 9 * 32 * 32
    stage2 = (16 * 32 + 5 * 32 * 32) * 9 * 16 * 16
    stage3 = (32 * 64 + 5 * 64 * 64) * 9 * 8 * 8
    fc = 64 * 10
    total = stem + stage1 + stage2 + stage3 + fc
    assert total == 40_551_040  # 40.6 million, where the images are 3 x 32 x 32
    table = mr.summary(models.resnet20(), (1, 3, 32, 32))
    assert table.multiply_adds == total
    assert table.parameters == 269_722
    assert mr.summary(models.plain20(), (2, 3, 32, 32)).multiply_adds == 2 * total


def test_the_text_holds_every_row_and_the_totals():
    table = mr.summary(small_net(), (3, 2, 8, 8))
    lines = str(table).splitlines()
    assert repr(table) == str(table)
    assert lines[1].split() == ["layer", "type", "output", "shape", "parameters", "multiply-adds"]
    assert lines[3].split() == ["(net)", "Sequential", "[3,", "5]", "-", "-"]
    assert lines[4].split() == ["conv", "Conv2d", "[3,", "4,", "4,", "4]", "76", "3,456"]
    assert lines[-4:-1] == ["input shape: [3, 2, 8, 8]", "parameters: 409", "multiply-adds: 4,416 (0.000 G)"]
    assert len({len(line) for line in (lines[0], lines[2], lines[4])}) == 1


def test_deeper_modules_are_indented_under_their_names():
    lines = str(mr.summary(models.cifar_net(8, width=2), (1, 3, 8, 8))).splitlines()
    assert any(line.startswith("  layer1 ") for line in lines)
    assert any(line.startswith("      layer1.0.conv1 ") for line in lines)


def test_a_module_that_runs_twice_does_twice_the_work_with_one_set_of_parameters():
    layer = nn.Linear(3, 3)
    table = mr.summary(nn.Sequential(layer, layer), (2, 3))
    assert [row.name for row in table.rows] == ["", "0"]
    assert table.multiply_adds == 2 * (2 * 3 * 3)
    assert table.parameters == 12


def test_tied_weights_count_once():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    table = mr.summary(net, (2, 3))
    assert [row.parameters for row in table.rows] == [0, 9, 0]
    assert table.parameters == sum(parameter.size for parameter in net.parameters())
    assert table.multiply_adds == 2 * (2 * 3 * 3)


def test_a_module_that_did_not_run_has_no_shape():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    row = mr.summary(Idle(), (1, 2)).rows[2]
    assert (row.name, row.output_shape, row.parameters, row.multiply_adds) == ("idle", None, 6, 0)
    assert str(mr.summary(Idle(), (1, 2))).splitlines()[5].split() == ["idle", "Linear", "-", "6", "-"]


def test_a_module_whose_output_is_no_tensor_has_no_shape():
    class Halves(nn.Module):
        def forward(self, x):
            return x[:, :1], x[:, 1:]

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.halves, self.fc = Halves(), nn.Linear(1, 3)

        def forward(self, x):
            left, right = self.halves(x)
            return self.fc(left + right)

    rows = mr.summary(Sum(), (2, 2)).rows
    assert [(row.name, row.output_shape) for row in rows] == [("", (2, 3)), ("halves", None), ("fc", (2, 3))]


def test_the_net_is_left_as_it_was():
    net = small_net()
    net.bn.eval()
    net.act.forward_hooks.append(lambda module, inputs, output: None)
    net.conv.weight.grad = np.ones(net.conv.weight.shape, np.float32)
    state, training = net.state_dict(), [module.training for _, module in net.named_modules()]
    mr.summary(net, (3, 2, 8, 8))
    assert [module.training for _, module in net.named_modules()] == training
    assert training.count(False) == 1
    assert [len(module.forward_hooks) for _, module in net.named_modules()] == [0, 0, 0, 1, 0, 0]
    assert net.conv.weight.grad.sum() == 72
    for name, values in net.state_dict().items():
        np.testing.assert_array_equal(values, state[name], err_msg=name)


def test_the_net_is_left_as_it_was_after_an_error_too():
    net = small_net()
    with pytest.raises(ShapeError):
        mr.summary(net, (3, 7, 8, 8))
    assert all(module.training and not module.forward_hooks for _, module in net.named_modules())


def test_one_image_is_enough_for_a_net_in_training():
    # in training mode a batch norm would refuse one value per channel
    table = mr.summary(models.cifar_net(8, width=2), (1, 3, 4, 4))
    assert table.rows[0].output_shape == (1, 10)


def test_a_net_in_float64_and_one_without_parameters_can_be_summarised():
    assert mr.summary(small_net().astype(np.float64), (1, 2, 8, 8)).multiply_adds == 1152 + 320
    assert mr.summary(nn.ReLU(), [2, 3]).rows[0].output_shape == (2, 3)


@pytest.mark.parametrize("shape", [(), (0, 3), (1, -1), (1.0, 3), "1,3", None, 0])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ArgumentError, match=r"input_shape is .* expected positive integers such as \(1, 3, 32, 32\), batch"):
        mr.summary(nn.ReLU(), shape)


@pytest.mark.parametrize("model", [len, None, mr.Tensor([1.0])], ids=["function", "None", "tensor"])
def test_only_a_module_can_be_summarised(model):
    with pytest.raises(DTypeError, match=f"summary: got a {type(model).__name__}, expected a model"):
        mr.summary(model, (1, 3, 32, 32))


def test_frozen_parameters_are_counted_apart():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].weight.requires_grad = False
    found = mr.summary(model, (1, 3))
    assert (found.parameters, found.frozen) == (4 + 8 + 2, 12)
    assert [(row.parameters, row.frozen) for row in found.rows] == [(0, 0), (4, 12), (10, 0)]
    assert "parameters: 14, and 12 frozen" in str(found)


def test_the_work_of_a_module_that_calls_ops_itself_is_counted():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = mr.Tensor(np.ones((4, 3, 3, 3), np.float32), requires_grad=True)
            self.matrix = mr.Tensor(np.ones((4, 5), np.float32), requires_grad=True)

        def forward(self, x):
            y = ops.conv2d(x, self.kernel, stride=1, padding=1)
            return y.mean((2, 3)) @ self.matrix

    assert mr.summary(Functional(), (2, 3, 8, 8)).multiply_adds == 2 * 4 * 8 * 8 * 27 + 2 * 4 * 5
