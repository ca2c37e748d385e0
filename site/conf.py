"""The site: what Sphinx is to make of what `gather.py` has laid into `_build/source`.

The theme is furo: one style sheet, light and dark, the system's own fonts, readable on a telephone, and nothing that is
loaded from elsewhere. (pydata-sphinx-theme has a bar of menus for projects of many manuals, and brings Bootstrap and
icon fonts for it.) Formulas become MathML while the site is built, which every browser since 2023 shows by itself: no
MathJax of 2 MB, no script, and no request that leaves the page. Notebooks are shown as they are committed; none is run.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

SITE = Path(__file__).resolve().parent
FILES = SITE / "_build" / "files"
sys.path[:0] = [str(SITE), str(SITE.parent)]

from docstrings import as_rst  # noqa: E402, since the path is set above

import ssah_core  # noqa: E402, F401, before torch, so that sums do not depend on threads

project = "ssah"
author = "ssah contributors"
project_copyright = "ssah contributors, Apache-2.0"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
smartquotes = False  # "zero" is a value, and is copied

nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}  # its default is an address elsewhere
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "furo"
html_title = "ssah"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["_build/files"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": True}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
SPOKEN = {'role="heading">': 'role="heading" aria-level="2">', "<pre>": '<pre tabindex="0">'}
"""What theme and translator write -> what a screen reader and a keyboard need: a level, a place that can be moved."""


def write_formula(translator: Any, node: Any) -> None:
    """Write a formula in the line as MathML."""
    translator.body.append(convert(node.astext()))
    raise SkipNode  # its text is written


def write_formula_block(translator: Any, node: Any) -> None:
    """Write a formula that stands alone as MathML; a wide one can be moved sideways."""
    translator.body.append(f'<div class="formula" tabindex="0">{convert(node.astext(), display="block")}</div>\n')
    raise SkipNode


def read_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Let autodoc read docstrings as this project writes them; a constant's is not that of its type."""
    told = "\n".join(lines).strip() != (inspect.getdoc(type(thing)) or "").strip()
    lines[:] = as_rst(lines) if told or what not in ("data", "attribute") else []


def offer_download(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put a line under the title of each notebook from which it can be downloaded."""
    file = FILES / f"{page}.ipynb"
    if file.is_file():
        words = "Download without solutions" if "exercises" in page else "Download this notebook"
        line = f'<p class="offer"><a href="{file.name}" download>{words}</a> (.ipynb)</p>'
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{line}", 1)


def name_no_icon(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep browsers from asking for an icon, which there is none of."""
    context["metatags"] = context.get("metatags", "") + '\n<link rel="icon" href="data:,">'


def make_accessible(app: Any, error: Exception | None) -> None:
    """Mend what pages that were written lack (`SPOKEN`)."""
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for written, needed in SPOKEN.items():
            text = text.replace(written, needed)
        page.write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Tell Sphinx of the above."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula_block, None))
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("html-page-context", offer_download)
    app.connect("html-page-context", name_no_icon)
    app.connect("build-finished", make_accessible)
