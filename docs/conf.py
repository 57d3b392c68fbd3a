"""Sphinx: the pages of this folder, and the lessons as a gallery.

    sphinx-build -W docs docs/_build/html        # the lessons as pages and notebooks, not run: seconds

With MINIRES_RUN_LESSONS=default in the environment the lessons run, and their pages have figures and numbers: minutes.
With MINIRES_RUN_LESSONS=tiny they run so small that the numbers prove nothing.
"""
import os
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))  # for gallery.py
sys.path.insert(0, str(DOCS.parent))  # for minires, installed or not

project = "minires"
author = copyright = "The minires authors"
version = release = re.search(r'__version__ = "(.+)"', (DOCS.parent / "minires" / "__init__.py").read_text("utf-8")).group(1)
language = "en"
extensions = ["myst_parser", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "lessons/GALLERY_HEADER.rst"]
html_theme = "furo"
html_title = f"minires {version}"
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../lessons",
    "gallery_dirs": "lessons",
    "filename_pattern": r"/\d\d_\w+\.py$",
    "ignore_pattern": r"__init__\.py$",
    "within_subsection_order": "FileNameSortKey",
    "plot_gallery": "MINIRES_RUN_LESSONS" in os.environ,
    "image_scrapers": ("gallery.lesson_figures",),
    "reset_argv": "gallery.lesson_options",
    "reset_modules": (),
    "default_thumb_file": str(DOCS / "images" / "plain_vs_residual.png"),
    "first_notebook_cell": "%matplotlib inline",
    "show_memory": False,
    "write_computation_times": False,
}


def setup(app):
    """Let Sphinx show Mermaid text as text: GitHub draws it."""
    from pygments.lexers.special import TextLexer

    app.add_lexer("mermaid", TextLexer)
