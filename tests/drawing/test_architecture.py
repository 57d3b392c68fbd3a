"""The architecture as He et al. 2015, figure 3, draws it: layers, strides, solid and dotted shortcuts."""
import pytest

import minires as mr
from minires import models, nn
from tests.drawing.nets import Users


def architecture(name, **options):
    [diagram] = mr.draw([models.make(name, init=nn.init.zeros_, **options)], input_shape=(1, 3, 32, 32))  # small is fast
    return diagram


def kinds(diagram):
    """(solid shortcuts, dotted shortcuts)."""
    found = [edge.kind for edge in diagram.edges]
    return found.count("shortcut"), found.count("downsample")


@pytest.mark.parametrize(("name", "solid", "dotted"), [
    ("resnet34", 13, 3), ("plain34", 0, 0), ("resnet18", 5, 3), ("resnet50", 12, 4),
    ("resnet20", 7, 2), ("plain20", 0, 0), ("resnet110", 52, 2),
])
def test_shortcuts_are_those_of_the_paper(name, solid, dotted):
    assert kinds(architecture(name)) == (solid, dotted)


def test_resnet34_and_plain34_have_the_34_layers_of_figure_3():
    residual, plain = mr.draw([models.resnet34(init=nn.init.zeros_), models.plain34(init=nn.init.zeros_)],
                              input_shape=(1, 3, 32, 32))
    stages = [(64, 6, ""), (128, 8, ", /2"), (256, 12, ", /2"), (512, 6, ", /2")]
    layers = [f"3×3 conv, {width}{stride if i == 0 else ''}" for width, count, stride in stages for i in range(count)]
    expected = ["image", "7×7 conv, 64, /2", "3×3 max pool, /2", *layers, "avg pool", "fc 1000"]
    assert [node.label for node in residual.nodes] == expected
    assert [node.label for node in plain.nodes] == expected
    assert len([label for label in expected if "conv" in label or "fc" in label]) == 34


def test_each_shortcut_goes_around_two_layers_and_dotted_ones_around_the_strides():
    diagram = architecture("resnet34")
    for edge in diagram.edges:
        start, end = int(edge.source[1:]), int(edge.target[1:])
        if edge.kind == "main":
            assert end == start + 1
        else:
            around = [node.label for node in diagram.nodes[start + 1:end]]
            assert len(around) == 2
            assert (edge.kind == "downsample") == ("/2" in around[0])
            assert edge.note == ("" if edge.kind == "shortcut" else f"1×1 conv, {diagram.nodes[end - 1].shape[1]}, /2")


@pytest.mark.parametrize(("shortcut", "expected", "note"), [
    ("A", (7, 2), "ZeroPadShortcut 64, /2"), ("B", (7, 2), "1×1 conv, 64, /2"), ("C", (0, 9), "1×1 conv, 64"),
])
def test_the_options_for_shortcuts_are_drawn_as_they_are(shortcut, expected, note):
    diagram = architecture("resnet20", shortcut=shortcut)
    assert kinds(diagram) == expected
    assert note in {edge.note for edge in diagram.edges}


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_preactivation_has_the_same_shortcuts(shortcut):
    assert kinds(architecture("resnet20", shortcut=shortcut, preactivation=True)) == (7, 2)


@pytest.mark.slow
def test_a_change_of_the_net_changes_the_figure():
    changed = architecture("resnet50", stride_on="1x1")
    labels = [node.label for node in architecture("resnet50").nodes]
    assert "1×1 conv, 128, /2" in [node.label for node in changed.nodes]
    assert "1×1 conv, 128, /2" not in labels
    assert "3×3 conv, 128, /2" in labels


def test_a_net_of_a_user_has_its_weighted_layers():
    [diagram] = mr.draw([Users()], input_shape=(2, 4))
    assert [node.label for node in diagram.nodes] == ["input", "fc 6", "fc 6", "fc 6", "fc 3"]
    assert diagram.title == "Users"
    assert kinds(diagram) == (2, 2)  # around each cell, and through its gate


def test_a_net_that_ends_with_a_sum_ends_with_its_output():
    [diagram] = mr.draw([models.PreactivationBasicBlock(4, 4)], input_shape=(1, 4, 8, 8))
    assert [node.label for node in diagram.nodes] == ["image", "3×3 conv, 4", "3×3 conv, 4", "output"]
    assert kinds(diagram) == (1, 0)


def test_names_are_the_titles():
    diagrams = mr.draw({"one": models.cifar_net(8), "other": models.cifar_net(8, residual=False)})
    assert [diagram.title for diagram in diagrams] == ["one", "other"]


@pytest.mark.parametrize("models", [[], {}, [3], [None]])
def test_a_list_is_of_models(models):
    with pytest.raises(mr.ArgumentError, match="a list or dict is of models"):
        mr.draw(models)
