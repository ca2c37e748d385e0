"""No finding is typed: a percentage in prose is a setting of the code, or a number of the paper."""

import json
import re

import pytest

from ssah_core.organism import get_scale
from ssah_core.organism.alignment_course import LIGHT
from ssah_core.records import catches, notebook_table, paths
from ssah_core.records.claim_list import CLAIMS
from ssah_core.studies import ablation_table, alignment_budget, criteria, finetuning_arms, stages, worst_rate

RATE = re.compile(r"[+−-]?\d+(?:\.\d+)?(?= ?(?:%|points))")
"""A number that is followed by a per cent sign or "points"."""
SETTINGS = {
    "6": 100 * finetuning_arms.MORE_CU, "20": 100 * alignment_budget.SHARE, "3": ablation_table.TOLERANCE,
    "1": 100 * get_scale("organism").safe_asr, "5": 100 * alignment_budget.SAFE["organism"], "95": 95.0}
"""As prose writes it -> the setting that it is."""
ALSO = {"01": {"20": 100 * LIGHT[1], "3": 100 * stages.SHARE}, "03": {"15": 15.0},
        "09": {"20": 100 * criteria.SHARES[-1], "3": criteria.MOST_LOST, "5": worst_rate.CAP}}
PAPER = {f"{value:g}" for claim in CLAIMS for value in map(abs, claim.paper.values())} | {
    "0.85", "1.3", "7.44", "14.85", "0.5", "14.9", "7.4", "56.0", "15.6"}
"""The paper's numbers: those of claims, and of its Figure 5 and Table 1."""
NOTEBOOKS = sorted(paths.notebooks().glob("[0-9][0-9]_*.ipynb"))


def prose(file) -> str:
    cells = json.loads(file.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem[:2])
def test_a_percentage_in_prose_is_a_setting_or_the_paper_s(file):
    allowed = {**SETTINGS, **ALSO.get(file.stem[:2], {})}
    for text, value in allowed.items():
        assert float(text) == pytest.approx(value), f"prose has {text} for a setting that is {value}"
    typed = {match.lstrip("+−-") for match in RATE.findall(prose(file))} - allowed.keys() - PAPER
    assert not typed, f"{file.name} has {sorted(typed)} typed: tell findings by records"


def test_the_report_and_readme_s_table_type_no_finding():
    texts = [*catches.CATCHES.values(), *(f"{row.asks} {row.found}" for row in notebook_table.ROWS)]
    typed = {match.lstrip("+−-") for text in texts for match in RATE.findall(text)} - SETTINGS.keys()
    assert not typed, f"{sorted(typed)} typed: name a record in braces"


def test_a_typed_finding_is_found():
    assert RATE.findall("removed: +94.5 % [90, 98], and −3 points") == ["+94.5", "−3"]
