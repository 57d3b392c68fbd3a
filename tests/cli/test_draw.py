"""`minires draw`: nets and units by name, where the figure goes, and what is said of a mistake."""
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from minires.cli import main as cli
from minires.drawing.units import UNITS, unit_diagram


def draw(capsys, *arguments):
    """(exit status, standard output, standard error)."""
    status = cli.main(["draw", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_twins_stand_side_by_side_in_the_default_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, _ = draw(capsys, "resnet20", "plain20")
    path = tmp_path / "minires-output" / "draw" / "resnet20_plain20.png"
    assert status == 0
    assert "resnet20_plain20.png" in out
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_folder_or_a_file_can_be_named(capsys, tmp_path):
    assert draw(capsys, "block", "--out", str(tmp_path / "new" / "folder"))[0] == 0
    assert (tmp_path / "new" / "folder" / "block.png").exists()
    (tmp_path / "with.dot").mkdir()
    assert draw(capsys, "block", "--out", str(tmp_path / "with.dot"))[0] == 0  # a folder, whatever its name
    assert (tmp_path / "with.dot" / "block.png").exists()
    assert draw(capsys, "block", "--out", str(tmp_path / "deep" / "b.svg"))[0] == 0
    assert ElementTree.parse(tmp_path / "deep" / "b.svg").getroot().tag.endswith("svg")


def test_resnet34_beside_plain34_in_mermaid_has_the_papers_shortcuts(capsys, tmp_path):
    assert draw(capsys, "resnet34", "plain34", "--out", str(tmp_path / "twins.mmd"))[0] == 0
    text = (tmp_path / "twins.mmd").read_text(encoding="utf-8")
    residual, plain = text.split("subgraph g1")
    assert (residual.count("==>"), residual.count("-.->")) == (13, 3)
    assert (plain.count("==>"), plain.count("-.->")) == (0, 0)
    assert (residual.count("3×3 conv"), plain.count("3×3 conv")) == (32, 32)


def test_layers_draws_batch_norms_and_sums_too(capsys, tmp_path):
    draw(capsys, "resnet20", "--layers", "--out", str(tmp_path / "layers.gv"))
    draw(capsys, "resnet20", "--out", str(tmp_path / "weighted.gv"))
    layers, weighted = [(tmp_path / name).read_text(encoding="utf-8") for name in ("layers.gv", "weighted.gv")]
    assert layers.count("BatchNorm") == 19
    assert layers.count("ShortcutAdd") == 9
    assert "BatchNorm" not in weighted


@pytest.mark.parametrize(("name", "kinds"), [
    ("block", "Conv2d BatchNorm ReLU Conv2d BatchNorm ShortcutAdd ReLU"),  # He et al. 2015, figure 2
    ("preactivation", "BatchNorm ReLU Conv2d BatchNorm ReLU Conv2d ShortcutAdd"),  # He et al. 2016, figure 4(e)
    ("bottleneck", "Conv2d BatchNorm ReLU Conv2d BatchNorm ReLU Conv2d BatchNorm ShortcutAdd ReLU"),
    ("plain", "Conv2d BatchNorm ReLU Conv2d BatchNorm ReLU"),
])
def test_units_are_those_of_the_papers(name, kinds):
    diagram = unit_diagram(name)
    assert [node.kind for node in diagram.nodes] == ["Leaf", *kinds.split()]
    assert [edge.kind for edge in diagram.edges if edge.kind != "main"] == (["shortcut"] if name != "plain" else [])


def test_units_with_a_change_of_shape_have_layers_on_the_shortcut():
    assert [node.label for node in unit_diagram("block-A").nodes if not node.is_main] == ["ZeroPadShortcut 128, /2"]
    assert [node.label for node in unit_diagram("block-B").nodes if not node.is_main] == ["Conv2d 1×1, 128, /2", "BatchNorm"]


@pytest.mark.parametrize("name", UNITS)
def test_units_have_the_image_sizes_of_a_net_for_imagenet(name):
    nodes = unit_diagram(name).nodes
    width = {"bottleneck": 256, "preactivation-bottleneck": 256}.get(name, 64)
    assert nodes[0].shape == (1, width, 56, 56)
    assert nodes[-1].shape == ((1, 128, 28, 28) if name in ("block-A", "block-B") else nodes[0].shape)


@pytest.mark.parametrize(("name", "near"), [("resnt34", "resnet34"), ("blok", "block"), ("plane20", "plain20")])
def test_an_unknown_name_tells_the_nearest(capsys, tmp_path, name, near):
    status, out, err = draw(capsys, name, "--out", str(tmp_path))
    assert (status, out) == (1, "")
    assert f"unknown model {name!r}. Did you mean {near!r}?" in err
    assert "resnet1202" in err
    assert "preactivation-bottleneck" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "message"), [
    (["resnet20", "--out", "x.jpg"], r"ends in '\.jpg', expected \.png"),
    (["resnet20", "--out", "x.html"], r"mr\.draw\(loss, \"x\.html\"\)"),
    (["resnet20", "block"], "draw block without resnet20"),
])
def test_mistakes_say_what_to_do(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = draw(capsys, *arguments)
    assert status == 1
    assert re.search(message, err)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    status, _, err = draw(capsys, "block", "--out", str(tmp_path / "file" / "below"))
    assert status == 1
    assert "cannot write results to the folder" in err


def test_help_lists_nets_and_units(capsys):
    with pytest.raises(SystemExit):
        cli.main(["draw", "--help"])
    out = capsys.readouterr().out
    assert "resnet34" in out
    assert all(name in out for name in UNITS)


def test_diagrams_and_texts_import_no_matplotlib(tmp_path):
    code = ("import sys, minires as mr\n"
            "net = mr.models.cifar_net(8)\n"
            f"mr.draw(net, {str(tmp_path / 'net.dot')!r}).mermaid()\n"
            "print('matplotlib' in sys.modules)\n"
            "mr.draw(net).figure()\n"
            "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
