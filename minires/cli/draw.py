"""The command `minires draw`: architectures side by side, residual units side by side, or every layer of a net."""
from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from minires import models
from minires.arguments import nearest
from minires.drawing.architecture import architecture_of
from minires.drawing.diagram import Diagram
from minires.drawing.graph import diagram_of
from minires.drawing.model import graph_of_model
from minires.drawing.output import formats
from minires.drawing.units import UNITS, unit_diagram
from minires.errors import ArgumentError, UnknownNameError
from minires.text.files import output_folder
from minires.text.terminal import progress

FOLDER = "minires-output/draw"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `draw` to the commands of `minires`."""
    parser = commands.add_parser(
        "draw", help="draw nets or residual units: minires draw resnet34 plain34",
        description="Draw the architectures of nets side by side, or residual units, from the models themselves.",
        epilog=f"Nets: {', '.join(models.NAMED)}. Units: {', '.join(UNITS)}.")
    parser.add_argument("names", metavar="NAME", nargs="+", help="nets or units, as listed below")
    parser.add_argument("--out", metavar="DIR_OR_FILE", default=FOLDER,
                        help="a folder, or a file that ends in .png, .svg, .pdf, .dot, .gv or .mmd (default: %(default)s)")
    parser.add_argument("--layers", action="store_true", help="of nets: every layer, with batch norms, ReLUs and sums")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Draw what was asked for; returns the exit status."""
    check_names(chosen.names)
    path = output_path(chosen.out, chosen.names)
    diagrams = [diagram_by_name(name, chosen.layers) for name in progress(chosen.names, "nets")]
    formats.save(diagrams, path)
    print(f"The figure: {path}")
    return 0


def check_names(names: Sequence[str]) -> None:
    """Raise where a name is unknown, or nets and units are mixed.

    Raises:
        UnknownNameError: the message tells the nearest name.
        ArgumentError: nets and units were asked for in one figure.
    """
    known = [*models.NAMED, *UNITS]
    for name in names:
        if name not in known:
            raise UnknownNameError(f"draw: unknown model {name!r}.{nearest(name, known)} Known are the nets "
                                   f"{', '.join(models.NAMED)} and the units {', '.join(UNITS)}")
    units = [name for name in names if name in UNITS]
    if units and len(units) < len(names):
        raise ArgumentError("draw: nets and units have figures of their own: draw "
                            f"{', '.join(units)} without {', '.join(name for name in names if name not in UNITS)}")


def output_path(out: str | os.PathLike[str], names: Sequence[str]) -> Path:
    """The file to write: `out` itself if it has an ending and is no folder, else a .png in that folder.

    Raises:
        ArgumentError: no format has the ending, or it is that of an animation, which needs a loss.
        FileError: the folder cannot be made or written to.
    """
    path = Path(out)
    if path.is_dir() or not path.suffix:
        return output_folder(path) / f"{'_'.join(names)}.png"
    if formats.check_ending(path) == ".html":
        raise ArgumentError("draw: an animation shows the backward pass of a loss: in Python, mr.draw(loss, "
                            f'"{path.name}"). The command writes .png, .svg, .pdf, .dot, .gv and .mmd')
    output_folder(path.parent)
    return path


def diagram_by_name(name: str, layers: bool) -> Diagram:
    """The diagram of a named unit or net."""
    if name in UNITS:
        return unit_diagram(name)
    graph = graph_of_model(models.make(name))
    return diagram_of(graph, name) if layers else architecture_of(graph, name)
