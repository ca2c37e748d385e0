"""The site's source, as far as that can be looked at without building it; `make site` builds it and checks the rest."""

import ast
import doctest
import importlib
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "site"
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[0-9][0-9]*.ipynb"))
OWN = [SITE / name for name in ("index.md", "exercises.md", "glossary.md", "teachers.md")]


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(SITE)


def words(file: Path) -> str:
    """The Markdown of a page or a notebook."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def anchor(heading: str) -> str:
    """As GitHub and the site make it."""
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


def test_every_notebook_is_in_the_navigation():
    gather = importlib.import_module("gather")
    told = gather.navigation() + gather.tree(gather.entries(gather.exercises()))
    shown = re.findall(r"^\d\d .*<(.*)>$", told, re.M)
    assert len(shown) >= 11 and [f"{name}.ipynb" for name in shown] == [
        file.relative_to(ROOT).as_posix() for file in sorted(NOTEBOOKS, key=lambda file: (len(file.parts), file))]


def test_every_term_that_somebody_links_to_is_in_the_glossary():
    terms = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", words(SITE / "glossary.md"), re.M)}
    assert {"scu", "attack-success-rate", "noise-floor", "holm"} <= terms
    for file in (*NOTEBOOKS, *OWN, ROOT / "README.md", ROOT / "paper_repro.md"):
        assert set(re.findall(r"glossary\.md#([\w-]+)", words(file))) <= terms, file.name


@pytest.mark.parametrize("page", OWN, ids=lambda page: page.stem)
def test_pages_link_to_files_and_name_sections_that_are_there(page):
    for target in re.findall(r"\]\(([^)#:]+)", words(page)):
        assert (SITE / target).exists(), target
    there = {number for file in NOTEBOOKS for number in re.findall(r"^## (\d+\.\d+) ", words(file), re.M)}
    assert set(re.findall(r"\b\d{1,2}\.\d{1,2}\b", words(page))) <= there


def test_nothing_is_loaded_from_elsewhere():
    tree = ast.parse((SITE / "conf.py").read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in texts if "//" in text] == []
    styles = "".join(file.read_text(encoding="utf-8") for file in (SITE / "static").iterdir())
    assert "url(" not in styles and "@import" not in styles and "//" not in styles


@pytest.mark.parametrize("name", ["gather", "api", "docstrings"])
def test_examples_show_what_they_say(name):
    assert not doctest.testmod(importlib.import_module(name)).failed


def test_a_list_of_parameters_becomes_one_that_a_narrow_screen_can_show():
    told = importlib.import_module("docstrings").as_rst([
        "Score it.", "", "criterion   What ranks:", '    "one"   Var(X_j) * 2', "            and so on.",
        "normalize   How.", "", "Source: a paper.   Departs: none.", "", ">>> 1 + 1", "2", "",
        "*Shown in:* 03_label_units."])
    assert "``criterion``" in told and '    ``"one"``' in told and r"        Var(X\_j) \* 2" in told
    assert "``normalize``" in told and "Source: a paper." in told and "Departs: none." in told
    assert told[-2] == "*Shown in:* :doc:`/notebooks/03_label_units`." and ">>> 1 + 1" in told


@pytest.mark.parametrize("wrong, said", [
    ('<a href="nowhere.html">x</a>', "leads to no file"), ('<a href="#nothing">x</a>', "leads to no anchor"),
    ('<a href="b.html#no">x</a>', "leads to no anchor"), ('<img src="b.html">', "a picture has no words"),
    ('<script src="https://example.org/x.js"></script>', "loads from elsewhere"),
    ('<link rel="stylesheet" href="//example.org/x.css">', "loads from elsewhere"),
    ("<style>@import 'https://example.org/x.css';</style>", "loads from elsewhere"),
    ('<p style="background: url(https://example.org/x.png)">x</p>', "loads from elsewhere"),
    (r"<math><mi>\nope</mi></math>", "a formula was not understood")])
def test_the_check_of_what_was_built_finds_what_is_wrong(tmp_path, capsys, wrong, said):
    check = importlib.import_module("check")
    right = '<p id="a"><a href="#a">x</a> <a href="https://example.org">y</a> <img src="data:," alt="z"></p>'
    (tmp_path / "b.html").write_text(right)
    assert check.main(tmp_path) == 0
    (tmp_path / "a.html").write_text(wrong)
    capsys.readouterr()
    assert check.main(tmp_path) == 1 and f"a.html: {said}" in capsys.readouterr().out


def test_the_site_is_published_by_official_actions_with_no_more_rights_than_needed():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "site.yml").read_text(encoding="utf-8"))
    used = [step["uses"] for job in flow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", name) for name in used)
    assert flow["permissions"] == {"contents": "read"} and "permissions" not in flow["jobs"]["build"]
