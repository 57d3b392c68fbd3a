"""Diagrams as text: in DOT, the language of Graphviz, and in that of Mermaid."""
from collections.abc import Sequence

from minires.drawing.diagram import (
    DOWNSAMPLE,
    INPUT,
    MAIN,
    NOT_COMPUTED,
    SHORTCUT,
    Diagram,
    gradient_label,
    shape_label,
)
from minires.text.plain import plain, plain_line

DOT_STYLE = {SHORTCUT: "bold", DOWNSAMPLE: "dotted", INPUT: "dashed"}
MERMAID_ARROW = {MAIN: "-->", SHORTCUT: "==>", DOWNSAMPLE: "-.->", INPUT: "-->"}


def dot(diagrams: Sequence[Diagram]) -> str:
    """A DOT digraph; several diagrams become clusters of one."""
    lines = ["digraph minires {", '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="Helvetica"];',
             '  edge [fontname="Helvetica", fontsize=10];']
    for i, diagram in enumerate(diagrams):
        prefix = _prefix(i, diagrams)
        lines += [f"  subgraph cluster_{i} {{", f"    label={_quoted(diagram.title)};"]
        lines += [f"    {prefix}{node.key} [label={_quoted(chr(10).join(_lines(node)))}];" for node in diagram.nodes]
        for edge in diagram.edges:
            label = _edge_label(edge)
            attributes = [f"label={_quoted(label)}"] if label else []
            attributes += [f"style={DOT_STYLE[edge.kind]}"] if edge.kind in DOT_STYLE else []
            given = f" [{', '.join(attributes)}]" if attributes else ""
            lines.append(f"    {prefix}{edge.source} -> {prefix}{edge.target}{given};")
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def mermaid(diagrams: Sequence[Diagram]) -> str:
    """A Mermaid flowchart; several diagrams become subgraphs of one. Shortcuts are thick, dotted where the shape changes."""
    lines = ["flowchart TD"]
    for i, diagram in enumerate(diagrams):
        prefix = _prefix(i, diagrams)
        lines.append(f'  subgraph g{i}["{_escaped(diagram.title)}"]')
        lines += [f'    {prefix}{node.key}["{"<br/>".join(_escaped(line) for line in _lines(node))}"]'
                  for node in diagram.nodes]
        for edge in diagram.edges:
            arrow = MERMAID_ARROW[edge.kind]
            label = _edge_label(edge)
            given = f'|"{_escaped(label)}"|' if label else ""
            lines.append(f"    {prefix}{edge.source} {arrow}{given} {prefix}{edge.target}")
        lines.append("  end")
    return "\n".join([*lines, ""])


def _prefix(i, diagrams):
    return f"d{i}" if len(diagrams) > 1 else ""


def _lines(node):
    label = "" if node.kind == "Leaf" and node.name else node.label
    return [line for line in (node.name, label, shape_label(node.shape)) if line]


def _edge_label(edge):
    """The gradient, where something is known of it; else what stands on a shortcut."""
    return edge.note if edge.gradient == NOT_COMPUTED else gradient_label(edge.gradient)


def _quoted(text):
    """A DOT string; a line break is a backslash and an n there."""
    escaped = plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _escaped(text):
    """Text in a Mermaid string, which takes HTML entities for what has a meaning."""
    return plain_line(text).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
