"""Every notebook and exercise in JupyterLab: all cells run, no error, every figure is there, and the panels answer."""

import re

import pytest

from .conftest import SHOTS
from .jupyter import NOTEBOOKS, shut

FIGURE = re.compile(r"^\s*(?:figure = )?plots\.(?:draw|sketch)\(", re.MULTILINE)
"""A figure that is drawn in any case: not one behind "nothing to draw if ... else"."""
MINUTE = 60_000
VIEW = {"width": 1400, "height": 1100}


@pytest.fixture
def page(browser, lab):
    """A page, with what its scripts raise in `raised`; kernels end behind it."""
    opened = browser.new_page(viewport=VIEW)
    opened.raised = []
    opened.on("pageerror", lambda error: opened.raised.append(str(error)))
    yield opened
    opened.close()
    shut(lab)


@pytest.mark.parametrize("name", NOTEBOOKS, ids=str)
def test_every_cell_runs_and_every_figure_is_there(name, page, lab):
    ran = lab.run(page, name)
    code = [cell for cell in ran.cells if cell.cell_type == "code" and cell.source.strip()]
    errors = [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert not errors, errors[0]["traceback"][-1]
    assert all(cell.execution_count for cell in code), "a cell did not run"
    pictures = page.locator(".jp-Notebook img[src^='data:image/']")
    drawn = sum(len(FIGURE.findall(cell.source)) for cell in code)
    assert pictures.count() >= drawn
    assert all(picture.get_attribute("alt") and picture.evaluate("shown => shown.naturalWidth") > 0
               for picture in pictures.all()), "a picture has no words, or is broken"
    page.screenshot(path=SHOTS / f"{name.as_posix().replace('/', '-').removesuffix('.ipynb')}.png")
    assert page.raised == []


def _status(page) -> str:
    return page.locator(".jp-OutputArea .widget-html-content i").last.inner_text()


def test_the_panel_of_notebook_00_answers_what_is_clicked_and_typed(page, lab):
    lab.run(page, next(name for name in NOTEBOOKS if name.name.startswith("00_")))
    page.get_by_role("button", name="utility-critical", exact=True).click()
    page.wait_for_function("() => [...document.querySelectorAll('.widget-html-content i')]"
                           ".some(line => /units are removed/.test(line.innerText))", timeout=MINUTE)
    field = page.locator(".widget-text input[type=text]").first
    for asked, told in (("How do I polish the lantern?", "units are removed"), ("", "the request is empty")):
        field.fill(asked)
        field.press("Enter")
        page.get_by_role("button", name="Ask", exact=True).click()
        page.wait_for_function("said => [...document.querySelectorAll('.widget-html-content i')]"
                               ".some(line => line.innerText.includes(said))", arg=told, timeout=MINUTE)
    assert "empty" in _status(page)
    page.screenshot(path=SHOTS / "panel-00.png")
    assert page.raised == []


def test_the_panel_of_notebook_03_draws_what_is_chosen(page, lab):
    lab.run(page, next(name for name in NOTEBOOKS if name.name.startswith("03_")))
    picture = page.locator(".widget-html-content img").last
    before = picture.get_attribute("src")
    page.get_by_role("button", name="UCU", exact=True).last.click()
    page.wait_for_function("old => [...document.querySelectorAll('.widget-html-content img')].at(-1).src !== old",
                           arg=before, timeout=MINUTE)
    assert "utility-critical" in picture.get_attribute("alt")
    page.screenshot(path=SHOTS / "panel-03.png")
    assert page.raised == []
