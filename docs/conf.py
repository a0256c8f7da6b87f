"""Settings of the documentation: ``make docs`` builds it with Sphinx into ``site/``, warnings are errors."""

import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import reference  # noqa: E402
from sphinx.pycode import ModuleAnalyzer  # noqa: E402

from prune.version import VERSION  # noqa: E402

project = "prune"
author = "The prune authors"
copyright = "The prune authors, MIT license"
version = release = VERSION
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"prune {VERSION}"
html_copy_source = False
html_show_sourcelink = False
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
smartquotes_action = "D"  # dashes only
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"  # results are not constructed by hand
python_maximum_signature_line_length = 80


def fill(app: Any, docname: str, source: list[str]) -> None:
    """Put what is generated from the code into the pages that ask for it."""
    for marker, generate in reference.MARKERS.items():
        if marker in source[0]:
            source[0] = source[0].replace(marker, generate())
    source[0] = reference.with_included(source[0])


def list_settings(app: Any) -> None:
    """Show functions with the settings they take, not by the overloads that type checkers read."""
    for name in reference.FUNCTIONS:
        analyzer = ModuleAnalyzer.for_module(f"prune.api.{name}")
        analyzer.analyze()
        analyzer.overloads.pop(name, None)


def setup(app: Any) -> None:
    """Register the two."""
    app.connect("builder-inited", list_settings)
    app.connect("source-read", fill)
