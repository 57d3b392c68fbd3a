"""Diagrams of nets and of losses: `draw`. matplotlib is imported by the first figure, and by no diagram or text."""
from minires.drawing.diagram import Diagram, Edge, Node
from minires.drawing.entry import Drawing, draw

__all__ = ["Diagram", "Drawing", "Edge", "Node", "draw"]
