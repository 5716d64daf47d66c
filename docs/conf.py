"""Sphinx settings. ``make docs`` builds the site with warnings as errors."""

import sys
from pathlib import Path

sys.path[0:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import generated

import evoprune

project = "evoprune"
author = "the evoprune authors"
version = release = evoprune.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
suppress_warnings = ["ref.term"]  # docstrings of DEAP refer to the glossary of its own site
html_theme = "furo"
html_title = "evoprune"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["options.css"]  # an option is not broken after its hyphens

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "model_config"}


def _fill(_app, _page, source):
    """Put what is generated in place of its mark: ``<!-- generated: NAME -->``."""
    for name, text in generated.TEXTS.items():
        mark = f"<!-- generated: {name} -->"
        if mark in source[0]:
            source[0] = source[0].replace(mark, text())


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", _fill)
