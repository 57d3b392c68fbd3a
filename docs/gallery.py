"""How sphinx-gallery runs a lesson: with which options, and where it finds the figures that the lesson has saved."""
import os
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

RESULTS = Path(__file__).resolve().parent / "_build" / "lessons"


def lesson_options(gallery_conf, script_vars):
    """The command line after the file's name."""
    size = ["--tiny"] if os.environ.get("MINIRES_RUN_LESSONS") == "tiny" else []
    return ["--out", str(RESULTS / Path(script_vars["src_file"]).stem), *size]


def lesson_figures(block, block_vars, gallery_conf):
    """The figures that a lesson has saved since the block before, as reStructuredText, with captions for who cannot see."""
    variables = block_vars["example_globals"]
    figures = getattr(variables.get("options"), "figures", [])
    new = figures[variables.get("__figures_shown__", 0):]
    variables["__figures_shown__"] = len(figures)
    copies = []
    for figure in new:
        copies.append(next(block_vars["image_path_iterator"]))
        Path(copies[-1]).write_bytes((variables["options"].out / figure["file"]).read_bytes())
    captions = " / ".join(figure["caption"] for figure in new)
    return figure_rst(copies, gallery_conf["src_dir"], captions)
