"""`draw(model_or_loss, path)`: the layers of a net, or the graph of a loss, as a figure, as text or as an animation."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from minires.arguments import flag, path_of, whole_number
from minires.arguments import text as text_of
from minires.drawing import gradients as norms
from minires.drawing.architecture import architecture_of
from minires.drawing.diagram import Diagram
from minires.drawing.graph import Graph, diagram_of
from minires.drawing.model import graph_of_model
from minires.drawing.output import formats, text
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError
from minires.nn.module import Module

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawing(Diagram):
    """A `Diagram` that writes itself: what `minires.draw` returns, and what a notebook shows.

    matplotlib is imported by its first figure.
    """

    @classmethod
    def of(cls, diagram: Diagram) -> Drawing:
        """The same boxes and arrows."""
        return cls(**{each.name: getattr(diagram, each.name) for each in fields(Diagram)})

    def dot(self) -> str:
        """The diagram in Graphviz' DOT language."""
        return text.dot([self])

    def mermaid(self) -> str:
        """The diagram in the language of Mermaid, which GitHub, GitLab and Jupyter draw."""
        return text.mermaid([self])

    def figure(self) -> Figure:
        """A matplotlib `Figure` of it."""
        from minires.drawing.output import figure

        return figure.draw_figure([self])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, in the format that the ending names; see `minires.draw`."""
        formats.save([self], path_of("draw", path))

    def _repr_svg_(self):
        return formats.svg([self])


def draw(model_or_loss: Module | Tensor | Sequence[Module] | Mapping[str, Module],
         path: str | os.PathLike[str] | Sequence[int] | None = None, *, input_shape: Sequence[int] | None = None,
         gradients: bool | None = None, columns: int | None = None, title: str | None = None) -> Any:
    """Draw a net or a loss, layer by layer: shortcuts go past the layers that they skip.

    Args:
        model_or_loss: what to draw.
            A model: it is run once on zeros, in evaluation mode, and is left as it was.
            A loss or another tensor with a graph, before its `backward()`: all that it was computed from, with gradients.
            A list of models, or a dict {title: model}: their architectures side by side, which show the weighted layers
            and pooling as He et al. 2015, arXiv:1512.03385, figure 3, does.
        path: a file to write. Its ending names the format: .png, .svg or .pdf for a figure; .dot or .gv for Graphviz; .mmd
            for Mermaid; .html for an animation of the backward pass, of a loss, in one file that needs no network.
            A shape in its place is the `input_shape`, as in `mr.summary(model, (1, 3, 32, 32))`.
        input_shape: for a model, the shape of its input, batch included. The nets of `minires.models` know theirs.
        gradients: of a loss, whether ‖dL/d·‖ stands on the arrows.
            True: a backward pass is run beside yours: it changes no `grad`, and keeps the graph.
            None: what an earlier `backward(retain_graph=True)` has kept. What it did not keep says so, and "not computed
            yet" is told apart from 0.
            False: no gradients. An animation always runs its own backward pass.
        columns: into how many columns the layers are broken; by default one, and several where there are many.
        title: of one model or loss; by default the class of the model, or "loss". Of several models a dict has the titles.

    Returns:
        A `Drawing`: `.nodes` and `.edges` as data, `.dot()`, `.mermaid()`, `.figure()`; a notebook shows it. Of several
        models, a list of them.

    Raises:
        ArgumentError: no format has the path's ending; a model needs an `input_shape`; gradients are wanted of a model or
            of a tensor with several elements.
        BackwardError: a tensor has no graph, or an earlier `backward()` has freed it.
        DTypeError: this is neither a model nor a tensor.
        FileError: the file cannot be written.
    """
    if isinstance(path, (tuple, list)):
        if input_shape is not None:
            raise ArgumentError(f"draw: got two shapes, {path!r} and input_shape={input_shape!r}, and no path")
        path, input_shape = None, path
    path = None if path is None else path_of("draw", path)
    gradients = None if gradients is None else flag("draw", "gradients", gradients)
    title = None if title is None else text_of("draw", "title", title)
    wants_animation = path is not None and formats.check_ending(path) == ".html"
    columns = None if columns is None else whole_number("draw", "columns", columns)
    is_of_models = isinstance(model_or_loss, (Module, list, tuple, dict))
    if is_of_models and (gradients or wants_animation):
        wanted = "an animation shows" if wants_animation else "gradients=True shows"
        raise ArgumentError(f"draw: {wanted} the gradients of a loss, and got a model: run it and draw what comes of it, as "
                            "in mr.draw(mr.ops.cross_entropy(model(images), labels), …)")
    if isinstance(model_or_loss, (list, tuple, dict)):
        diagrams = _architectures(model_or_loss, input_shape)
    elif isinstance(model_or_loss, Module):
        graph = graph_of_model(model_or_loss, input_shape)
        diagrams = [diagram_of(graph, title or type(model_or_loss).__name__)]
    else:
        diagrams = [_of_tensor(model_or_loss, True if wants_animation else gradients, title)]
    for diagram in diagrams:
        diagram.columns = columns
    if path is not None:
        formats.save(diagrams, path)
    drawings = [Drawing.of(diagram) for diagram in diagrams]
    return drawings if isinstance(model_or_loss, (list, tuple, dict)) else drawings[0]


def _of_tensor(root, gradients, title):
    graph = Graph(root)
    diagram = diagram_of(graph, title or ("loss" if root.size == 1 else "graph"))
    diagram.is_of_loss = gradients is not False
    if gradients:
        norms.compute(diagram, graph)
    elif gradients is None:
        norms.read_kept(diagram, graph)
    return diagram


def _architectures(models, input_shape):
    named = models.items() if isinstance(models, dict) else [(type(model).__name__, model) for model in models]
    if not named or not all(isinstance(model, Module) for _, model in named):
        raise ArgumentError("draw: a list or dict is of models whose architectures stand side by side, and this one "
                            + ("is empty" if not named else "holds something else"))
    return [architecture_of(graph_of_model(model, input_shape), title) for title, model in named]
