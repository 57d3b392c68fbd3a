"""DOT and Mermaid, read back: the nodes, edges, labels and styles of the diagram are all there, and nothing else."""
import re
import shutil
import subprocess

import pytest

import minires as mr
from minires import models, nn
from minires.drawing.diagram import Edge, Node, gradient_label
from minires.drawing.entry import Drawing
from tests.drawing.nets import loss_of, script, small

DOT_STYLES = {"main": None, "shortcut": "bold", "downsample": "dotted", "input": "dashed"}
ARROWS = {"main": "-->", "shortcut": "==>", "downsample": "-.->", "input": "-->"}


def read_dot(text):
    """({key: lines of its label}, {(source, target): (label, style)})."""
    text = text[text.index("subgraph"):]
    string = r'"((?:[^"\\]|\\.)*)"'
    nodes = {key: [unescaped(line) for line in label.split("\\n")]
             for key, label in re.findall(rf"^\s+(\w+) \[label={string}\];$", text, re.MULTILINE)}
    edges = {}
    for source, target, attributes in re.findall(r"^\s+(\w+) -> (\w+)( \[.*\])?;$", text, re.MULTILINE):
        label, style = re.search(rf"label={string}", attributes), re.search(r"style=(\w+)", attributes)
        edges[source, target] = unescaped(label[1]) if label else "", style and style[1]
    return nodes, edges


def unescaped(text):
    return text.replace('\\"', '"').replace("\\\\", "\\")


def read_mermaid(text):
    """({key: lines of its label}, {(source, target): (label, arrow)})."""
    nodes = {key: label.split("<br/>") for key, label in re.findall(r'^\s+(\w+)\["(.*)"\]$', text, re.MULTILINE)}
    edges = {(source, target): (label, arrow) for source, arrow, _, label, target in
             re.findall(r'^\s+(\w+) (-->|==>|-\.->)(\|"(.*)"\|)? (\w+)$', text, re.MULTILINE)}
    return nodes, edges


DIAGRAMS = {
    "model": lambda: mr.draw(small()),
    "projection": lambda: mr.draw(small(shortcut="B")),
    "loss": lambda: mr.draw(loss_of(small()), gradients=True),
    "kept": lambda: mr.draw(script()),
    "architecture": lambda: mr.draw([models.resnet20()])[0],
}


@pytest.mark.parametrize("name", DIAGRAMS)
def test_what_is_read_back_is_the_diagram(name):
    diagram = DIAGRAMS[name]()
    for (nodes, edges), styles in ((read_dot(diagram.dot()), DOT_STYLES), (read_mermaid(diagram.mermaid()), ARROWS)):
        assert list(nodes) == [node.key for node in diagram.nodes]
        for node in diagram.nodes:
            label = "" if node.name and node.kind == "Leaf" else node.label
            assert nodes[node.key][:-1] == [part for part in (node.name, label) if part]
            assert nodes[node.key][-1] == (" × ".join(str(n) for n in node.shape) or "scalar")
        assert edges == {(edge.source, edge.target): (
            edge.note if edge.gradient == "not computed yet" else gradient_label(edge.gradient), styles[edge.kind])
            for edge in diagram.edges}


def test_resnet34_in_text_has_16_shortcuts_of_which_3_are_dotted_and_plain34_none():
    diagrams = mr.draw([models.resnet34(init=nn.init.zeros_), models.plain34(init=nn.init.zeros_)],
                       input_shape=(1, 3, 32, 32))
    residual, plain = [read_dot(diagram.dot())[1].values() for diagram in diagrams]
    assert [style for _, style in residual].count("bold") == 13
    assert [style for _, style in residual].count("dotted") == 3
    assert {style for _, style in plain} == {None}
    residual, plain = [read_mermaid(diagram.mermaid())[1].values() for diagram in diagrams]
    assert [arrow for _, arrow in residual].count("==>") == 13
    assert [arrow for _, arrow in residual].count("-.->") == 3
    assert {arrow for _, arrow in plain} == {"-->"}


def test_special_characters_are_kept():
    nodes = [Node("n0", 'a "b" <c> & \\d', "x", "X", (1,)), Node("n1", "", "y", "Y", ())]
    diagram = Drawing('t "u" <v>', nodes, [Edge("n0", "n1")])
    assert read_dot(diagram.dot())[0]["n0"][0] == 'a "b" <c> & \\d'
    assert 'label="t \\"u\\" <v>";' in diagram.dot()
    assert read_mermaid(diagram.mermaid())[0]["n0"][0] == "a &quot;b&quot; &lt;c&gt; &amp; \\d"


def test_several_diagrams_share_a_file_and_no_keys(tmp_path):
    mr.draw([models.cifar_net(8), models.cifar_net(8, residual=False)], tmp_path / "two.dot")
    mr.draw([models.cifar_net(8), models.cifar_net(8, residual=False)], tmp_path / "two.mmd")
    nodes, edges = read_dot((tmp_path / "two.dot").read_text(encoding="utf-8"))
    assert len(nodes) == 2 * 10
    assert len(edges) == 2 * 9 + 3
    assert all(source[:2] == target[:2] for source, target in edges)
    assert read_mermaid((tmp_path / "two.mmd").read_text(encoding="utf-8"))[0].keys() == nodes.keys()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it():
    done = subprocess.run(["dot", "-Tplain"], input=mr.draw(loss_of(small()), gradients=True).dot(), text=True,
                          capture_output=True, check=True, encoding="utf-8")
    assert done.stdout.count("\nnode ") == 30
