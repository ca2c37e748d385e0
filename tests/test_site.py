"""The site's source, as far as that can be looked at without building it; `make site` builds it and checks the rest."""

import ast
import doctest
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "site"
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[0-9][0-9]*.ipynb"))
NUMBERED = [file for file in NOTEBOOKS if file.parent.name == "notebooks"]
OWN = [SITE / name for name in ("index.md", "exercises.md", "glossary.md", "teachers.md")]
FORMS = {
    "Organism": "organisms?", "Brindle": "Brindle", "Harm": "(?:un)?seen harm|unseen kinds of harm", "Seed": "seeds?",
    "Scale": "(?<!on the )scale", "Alignment": "align(?:ed|ing|ment|s)?(?! tax| budget)",
    "Refusal": "refus(?:als?|e[ds]?|ing)", "Site": "sites?", "SCU": "SCU", "UCU": "UCU", "CU": "CU", "RU": "RU",
    "Superficial Safety Alignment Hypothesis": "(?:superficial safety alignment )?hypothesis",
    "Unit": "(?<!complex )(?<!critical )(?<!redundant )units?", "Importance": "importance",
    "Attribution": "attribution", "Calibration": "calibration", "Ablation": "ablations?",
    "Validation and test prompts": "validation|test prompts?", "Attribute transfer": "attribute transfer",
    "Noise floor": "noise floor", "Attack success rate": "ASR", "Keyword judge": "keyword (?:judge|list)s?|by keywords",
    "Answered right": "answer(?:ed|s)? (?:exactly )?right|right answers?", "Fulfilled fluently": "fulfilled fluently",
    "Broken": "broken", "Utility": "utility(?!-)", "Alignment tax": "alignment tax|(?<=the )tax",
    "Prefill": "prefill(?:s|ed)?", "GCG": "GCG", "Wrapper": "wrappers?", "Probe": "probes?", "Guard": "guards?",
    "Reasoning direction": "reasoning direction|(?<=the )direction", "Lean": r"(?<=the )lean|(?<=the \*)lean",
    "Control task": "control task", "Logit lens": "logit lens", "Patching": "patching",
    "Freezing": "freez(?:es?|ing)|frozen", "Rewinding": "rewinding|rewound", "Two phases": "two phases",
    "Same magnitude": "same magnitude|matched by magnitude", "Recovery": "recovery", "Budget": "budget",
    "SFT": "SFT", "DPO": "DPO", "PEFT": "PEFT", "LoRA": "LoRA", "Dose": "doses?", "Arm": "arms?",
    "Order": r"orders?(?= of the chats)|(?<=and )order(?= +\()", "Control": "controls?(?! task)",
    "Registered claim": "registered|primary|secondary", "Margin": "margins?", "Verdict": "verdicts?",
    "Wilson interval": "Wilson", "Sign flips": "sign flips?", "Holm": "Holm"}
"""Term of the glossary -> what is a use of it; one with a capital only as it stands, others in any case."""
SPELT = {"SCU": "safety-critical", "UCU": "utility-critical", "CU": "complex", "RU": "redundant",
         "ASR": "attack success", "GCG": "greedy coordinate gradient", "SFT": "supervised fine-tuning",
         "DPO": "direct preference optimisation", "PEFT": "parameter-efficient fine-tuning",
         "LoRA": "low-rank adaptation"}
"""Acronym -> its words, which stand beside its first use."""
NEAR = 60
"""Characters that are beside a word."""
TO_TERM = re.compile(r"\[([^\]]*)\]\(\.\./site/glossary\.md#([\w-]+)\)")
NO_PROSE = re.compile(r"^#+ [^\n]*$|```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|"
                      r"\[[^\]]*\]\((?!\.\./site/glossary)[^)]*\)", re.MULTILINE | re.DOTALL)
"""Headings, code, formulas, and links to elsewhere."""


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


def terms() -> dict[str, str]:
    """Term of the glossary -> its anchor."""
    return {heading: anchor(heading) for heading in re.findall(r"^### (.*)$", words(SITE / "glossary.md"), re.M)}


def prose(text: str) -> str:
    """The text with blanks for what is no prose, so that all else stays where it is."""
    return NO_PROSE.sub(lambda found: " " * len(found[0]), text)


def first(term: str, text: str) -> re.Match | None:
    case = 0 if any(map(str.isupper, FORMS[term])) else re.IGNORECASE
    return re.search(rf"\b(?:{FORMS[term]})\b", text, case)


def unlinked(markdown: str) -> Iterator[str]:
    """What is wrong with a notebook's links to the glossary. The titles of its exercises need none."""
    text = prose(markdown.partition("\n## Exercises")[0])
    named = "\n".join(re.findall(r"^#+ .*$", markdown, re.M))
    for term, name in terms().items():
        links = [link for link in TO_TERM.finditer(text) if link[2] == name]
        used = first(term, _words_of(text, name))
        if len(links) > 1:
            yield f"{term} is linked {len(links)} times"
        if used and not any(link.start() <= used.start() < link.end(1) for link in links):
            yield f"{term} is used before it is linked: {text[max(used.start() - NEAR, 0):used.end() + NEAR]!r}"
        if not used and links:
            yield f"{term} is linked in words that are no use of it"
        if not used and not links and first(term, named):
            yield f"{term} is used in a heading alone"


def _words_of(text: str, name: str) -> str:
    """The text with the words of links to this term, and blanks for links to others, which are other terms' words."""
    return TO_TERM.sub(lambda link: (link[1] if link[2] == name else "").ljust(len(link[0])), text)


def unspelt(cells: list[dict]) -> Iterator[str]:
    """Acronyms that a reader meets, in text or in what code shows, before their words and their link."""
    met = set()
    for cell in cells:
        is_text = cell["cell_type"] == "markdown"
        text = prose("".join(cell["source"])) if is_text else "\n".join(map(said_by, cell.get("outputs", [])))
        for acronym in sorted(name for name in SPELT.keys() - met if re.search(rf"\b{name}\b", text)):
            met.add(acronym)
            link = next((link for link in TO_TERM.finditer(text) if link[1] == acronym), None)
            if not link or SPELT[acronym] not in text[max(link.start() - NEAR, 0):link.end() + NEAR].lower():
                yield f"{acronym} is met before it is spelt out: {text[:NEAR]!r}"


def said_by(output: dict) -> str:
    data = output.get("data", {})
    return "\n".join(map("".join, (output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", ""))))


def test_every_term_has_its_forms():
    assert FORMS.keys() == terms().keys()


@pytest.mark.parametrize("notebook", NUMBERED, ids=lambda file: file.stem[:2])
def test_the_first_use_of_a_term_leads_to_the_glossary(notebook):
    assert list(unlinked(words(notebook))) == []


@pytest.mark.parametrize("notebook", NUMBERED, ids=lambda file: file.stem[:2])
def test_no_acronym_is_met_before_it_is_spelt_out(notebook):
    assert list(unspelt(json.loads(notebook.read_text(encoding="utf-8"))["cells"])) == []


SCU = "safety-critical ([SCU](../site/glossary.md#scu))"


@pytest.mark.parametrize("text, said", [
    (f"# 00 SCU\n\n{SCU}, `SCU` and SCU, as [arms](03.ipynb) are.\n\n## Exercises\n\n- 00.1 Which arm?", []),
    (f"SCU are {SCU}.", ["SCU is used before it is linked"]),
    ("The arms are two.", ["Arm is used before it is linked"]),
    (f"{SCU} and {SCU}", ["SCU is linked 2 times"]),
    ("# 06 PEFT\n\nWords.", ["PEFT is used in a heading alone"]),
    ("[safety](../site/glossary.md#scu)", ["SCU is linked in words that are no use of it"])])
def test_a_term_without_its_link_is_found(text, said):
    assert [line.partition(":")[0] for line in unlinked(text)] == said


@pytest.mark.parametrize("cells, said", [
    ([SCU, {"text": ["SCU 4"]}], []), ([{"text": ["SCU 4"]}, SCU], ["SCU"]), (["safety-critical (SCU)"], ["SCU"]),
    (["[SCU](../site/glossary.md#scu)"], ["SCU"]), ([{"data": {"text/markdown": ["by LoRA"]}}], ["LoRA"])])
def test_an_acronym_that_is_not_spelt_out_is_found(cells, said):
    cells = [{"cell_type": "markdown", "source": cell} if isinstance(cell, str) else
             {"cell_type": "code", "source": "", "outputs": [cell]} for cell in cells]
    assert [line.split()[0] for line in unspelt(cells)] == said


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
