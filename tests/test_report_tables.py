"""The report's tables from made-up records of every claim: the first in plain words, no number that cannot be."""

import re
from random import Random

import pandas
import pytest
from made_up import SEEDS, made

from ssah_core.records.claim import PILLARS
from ssah_core.records.claim_list import list_claims, list_records
from ssah_core.records.effects import HOLDS
from ssah_core.records.report_tables import (
    VERDICTS,
    WORDS,
    effect,
    headlines,
    judged,
    number,
    often,
    pillar,
    render,
    short,
)
from ssah_core.records.statistics import LIMITS, NOT_RUN
from ssah_core.records.telling import MEASURED, RETOLD, SIGN, in_words, of
from ssah_core.records.verdicts import verdicts

NO_NUMBER = re.compile(r"\b(nan|inf|None|NaN)\b|e\+\d|\{")


def records(organisms: int = 6, seed: int = 0, ends: bool = False, **changes) -> list:
    """One of every id: numbers that can be, of each unit; or the ends of what can be."""
    rng, found = Random(seed), []
    for id, unit in list_records().items():
        low, high = LIMITS[unit][0], min(LIMITS[unit][1], 1000.0)
        values = [rng.choice((low, high)) if ends else rng.uniform(low, high) for _ in range(organisms)]
        found.append(made(id, *values, **{"seeds": tuple(range(10, 10 + organisms)), **changes}))
    return found


def tables(text: str) -> list[list[str]]:
    """The Markdown tables of a text, each as its lines."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.M)]


@pytest.fixture(params=["six", "ends", "one", "three", "a checkpoint", "none"])
def table(request, registered) -> pandas.DataFrame:
    return verdicts({"six": records, "ends": lambda: records(ends=True), "one": lambda: records(1),
                     "three": lambda: records(3), "none": list,
                     "a checkpoint": lambda: records(1, scale="paper", model="meta/Llama-2")}[request.param]())


def test_no_number_is_missing_infinite_or_outside_what_can_be(table):
    text = render(table, "Evidence: none.")
    assert not NO_NUMBER.search(text.split("## The rule")[0]), NO_NUMBER.search(text)
    for row in table[table.verdict != NOT_RUN].itertuples():
        low, high = LIMITS[row.unit]
        assert low <= row.ours <= high and 0 <= row.p <= row.p_adjusted <= 1
        if row.effect.bounds:
            wide = high - low if row.control == row.control else high
            assert -wide <= row.effect.low <= row.effect.mean <= row.effect.high <= wide
            assert row.control == row.control or low <= row.effect.low
        assert row.often[0] <= row.often[1] == len(row.seeds) and 0 <= row.often[2] <= row.often[3] <= 1


def test_a_real_model_stands_beside_the_organisms_and_in_none_of_their_tables(registered):
    table = verdicts([*records(), *records(1, scale="smollm", model="SmolLM2")])
    alone, text = render(verdicts(records())), render(table)
    there, rest = text.split("## Beside it: real language models")[1].split("## Appendix")
    lines = tables(there)[0][2:]
    assert len(lines) == sum(claim.primary for claim in list_claims())
    assert all("run of SmolLM2" in line and ("1 of 1" in line or "0 of 1" in line) for line in lines)
    assert text.split("## Beside it")[0] == alone.split("## Appendix")[0]
    assert "SmolLM2" in rest and "SmolLM2" not in short(table) and "Beside it" not in alone


def test_every_line_of_a_table_has_as_many_cells_as_its_head(table):
    found = tables(render(table).split("## The rule")[0])
    assert len(found) == 2 + table[table.pillar == ""].notebook.nunique()
    for lines in found:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1 and lines[1].startswith("| --- |")


def test_the_first_table_has_ten_claims_in_plain_words(table):
    text = render(table)
    lines = tables(text)[0][2:]
    claims = [claim for claim in list_claims() if claim.headline]
    assert text.startswith("## What holds, and what does not\n\n|") and len(lines) == len(claims) == 10
    for claim, line in zip(claims, lines, strict=True):
        said = table[table.id == claim.id].verdict.item()
        assert line.startswith(f"| {in_words(claim)} | **{WORDS[said]}**") and claim.id not in line
        assert f"[{claim.notebook[:2]}](notebooks/{claim.notebook}.ipynb) |" in line


def test_the_ten_lines_say_unit_and_sign_of_every_effect_and_what_primary_claims_are(table):
    text = short(table)
    lines, rows = tables(text)[0][2:], {row.id: row for row in judged([*table.itertuples()])}
    for claim, line in zip((claim for claim in list_claims() if claim.headline), lines, strict=True):
        row = rows[claim.id]
        assert line.endswith(f"| {effect(row)} {of(claim.id)} |" if row.seeds else "| – |")
        assert ("cosine" in of(claim.id)) == (claim.unit == "cosine") != of(claim.id).startswith("points of ")
    assert SIGN in text and all(f"*{word}*" in text for word in ("primary", "registered", "margin", "holds", "fails"))


def test_no_line_that_stands_alone_speaks_of_that_token_and_what_is_registered_stays():
    claims = {claim.id: claim for claim in list_claims()}
    for id, (old, new) in RETOLD.items():
        assert old in claims[id].statement and in_words(claims[id]) == claims[id].statement.replace(old, new)
    alone = [in_words(claim) for claim in claims.values() if claim.headline]
    assert not any("that one" in line or line.startswith("...") for line in alone)
    assert set(MEASURED) == {claim.id.rpartition("/")[2] for claim in claims.values() if claim.headline}


def test_each_pillar_has_one_paragraph_that_counts_its_verdicts_and_says_each_claim(table):
    rows, text = list(table.itertuples()), render(table)
    paragraphs = text.split("## Does the hypothesis hold here?\n\n")[1].split("\n\n")
    for name, paragraph in zip(PILLARS, paragraphs, strict=False):
        mine = [claim for claim in list_claims() if claim.pillar == name]
        assert paragraph == pillar(name, [row for row in rows if row.pillar]) and "\n" not in paragraph
        assert paragraph.startswith(f"**{name.capitalize()}** (")
        counts = re.findall(r"\d+", paragraph.split("(")[1].split(")")[0])
        assert sum(map(int, counts)) == len(mine) and all(f"*{claim.statement}*" in paragraph for claim in mine)


def test_secondary_claims_are_folded_one_fold_a_notebook(table):
    appendix = render(table).split("## Appendix: secondary claims\n\n")[1].split("\n\n## The rule")[0]
    secondary = table[table.pillar == ""]
    folds = re.findall(r"<details><summary>(\w+): ([^<]*)</summary>\n\n(.*?)\n\n</details>", appendix, flags=re.S)
    assert [name for name, *_ in folds] == sorted(set(secondary.notebook))
    for name, counts, inside in folds:
        mine = secondary[secondary.notebook == name]
        assert sum(map(int, re.findall(r"\d+", counts))) == len(mine) and set(mine.verdict) <= set(VERDICTS)
        assert all(f"(`{id}`: " in inside for id in mine.id)
    assert not re.sub(r"<details>.*?</details>", "", appendix, flags=re.S).strip()


def test_a_report_of_no_records_says_that_nothing_was_run(registered):
    text = render(verdicts([]))
    assert set(re.findall(r"\*\*([a-z ]+)\*\*", text)) == {WORDS[NOT_RUN]}


def test_a_bar_in_a_cell_does_not_break_the_table():
    first = next(verdicts([]).head(1).assign(statement="a | b", headline=True).itertuples(index=False))
    assert headlines([first], {}).splitlines()[2].startswith(r"| a \| b | **not run** |")


def test_in_how_many_organisms_an_effect_points_where_the_claim_does(registered):
    values = (60, 50, 40, -1, 30, 20)
    found = verdicts([made("table1/scu/harm_right", *values), made("table1/random_scu/harm_right", *[0] * 6)])
    row = next(found[found.id == "table1/scu/harm_right"].itertuples())
    assert often(row) == "5 of 6 [36, 100 %]" and row.seeds == SEEDS[:6]


@pytest.mark.parametrize("value, unit, is_difference, said", [
    (-0.01, "points", False, "0.0"), (99.96, "%", False, "100.0 %"), (-12.0, "%", True, "-12.0"),
    (1.499, "ratio", False, "1.50"), (-0.0004, "cosine", False, "0.000"), (250.0, "change", False, "+250.0 %"),
    (float("nan"), "points", False, "–"), (-12.0, "change", True, "-12.0")])
def test_a_number_has_its_units_sign_and_decimals(value, unit, is_difference, said):
    assert number(value, unit, is_difference) == said


def test_every_verdict_has_its_word():
    assert list(WORDS) == list(VERDICTS) and WORDS[HOLDS] == "holds"
