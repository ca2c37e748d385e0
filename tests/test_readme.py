"""README alone is enough: it leads to every page, and its files and targets are there; teachers have answers."""

import re

from ssah_core.records import load_records, paths
from ssah_core.records.effects import FAILS, HOLDS, IN_PART
from ssah_core.records.verdicts import verdicts

SHORT = {"patching/before_last/flips": HOLDS, "table1/scu/harm_right": HOLDS, "table1/scu/morals": FAILS,
         "table2/benign/scu_6cu_vs_nothing/asr": IN_PART, "table1_variance/scu/harm_right": IN_PART,
         "table2/benign/scu_6cu_vs_random/asr": FAILS, "table4/sft/best_rate/ru_vs_all/old": FAILS}
"""Claim -> its verdict, as README's words *In short* have it: where a verdict changes, they are to be written again."""
TEXT = (paths.root() / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```\w+\n(.*?)```|`([^`\n]+(?:\n[^`\n]+)?)`", TEXT, re.DOTALL)
SAID = [" ".join((block or inline).split()) for block, inline in CODE]


def test_every_link_leads_to_a_file():
    assert all((paths.root() / target).is_file() for target in re.findall(r"\]\(([^):#]+)\)", TEXT))


def test_what_it_says_in_short_is_what_the_verdicts_say():
    table = verdicts(load_records(paths.committed() / "records"))
    found = table[table.model == "organism"].set_index("id").verdict
    assert {claim: found[claim] for claim in SHORT} == SHORT


def test_it_leads_to_glossary_teachers_page_exercises_and_report():
    assert {"site/glossary.md", "site/teachers.md", "notebooks/exercises/00.ipynb", "paper_repro.md"} <= set(
        re.findall(r"\]\(([^)]+)\)", TEXT))


def test_every_target_that_it_names_is_one():
    targets = set(re.findall(r"^([a-z-]+):", (paths.root() / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {name for code in SAID for name in re.findall(r"\bmake ([a-z-]+)", code)}
    assert {"reproduce", "lab", "student", "site"} <= named <= targets


def test_python_is_that_of_the_environment():
    assert not [code for code in SAID if re.search(r"(?<!bin/)\bpython -m", code)]
    assert any(".venv/bin/python -m" in code for code in SAID)


def test_words_are_explained_where_they_are_first_used():
    head, told = TEXT.split("<!-- report: begin -->")[0], re.sub(r"\[\d\d [^]]*\]", "", TEXT)  # without titles
    assert all(f"*{word}*" in head for word in ("unit", "model organism", "Utility"))
    for short, long in (("SFT", "supervised fine-tuning"), ("DPO", "direct preference optimisation"),
                        ("PEFT", "parameter-efficient fine-tuning"), ("SCU", "safety-critical")):
        assert told.index(short) == told.index(f"{long} ({short})") + len(f"{long} ("), short


def test_the_teachers_page_has_a_folded_answer_to_what_it_asks_about_each_notebook():
    page = (paths.root() / "site" / "teachers.md").read_text(encoding="utf-8")
    asked = page.split("## What to ask about each notebook")[1].split("\n## ")[0]
    found = re.findall(r"^\*\*\[\d\d\]\(\.\./notebooks/(\w+)\.ipynb\)\*\* [^<]+\n\n<details>\n<summary>Answer</summary>"
                       r"\n\n[^<]+\n\n</details>$", asked, re.M)
    assert found == sorted(file.stem for file in paths.notebooks().glob("[0-9][0-9]_*.ipynb"))
