"""Ten questions and their answers, which are those of the records; in the report, word for word."""

import re

import pytest
from test_report_tables import records

from ssah_core.records import catches, paths
from ssah_core.records.claim_list import list_claims
from ssah_core.records.questions import ASKED, REAL, answers, told
from ssah_core.records.records import load_records
from ssah_core.records.report_tables import WORDS, effect, judged
from ssah_core.records.verdicts import verdicts


@pytest.fixture(scope="module")
def committed():
    return verdicts(load_records())


def test_every_question_is_about_primary_claims_and_is_asked_once():
    asked = [id for ids in ASKED.values() for id in ids]
    assert len(asked) == len(set(asked)) and set(asked) <= {claim.id for claim in list_claims() if claim.primary}
    assert set(REAL) <= {claim.id for claim in list_claims()}


def test_an_answer_has_the_verdict_and_the_effect_of_each_of_its_claims(committed):
    rows, found = {row.id: row for row in judged(list(committed.itertuples()))}, answers(committed)
    assert len(found) == 10
    for question, ids in ASKED.items():
        for row in map(rows.get, ids):
            assert f"**{WORDS[row.verdict]}**" in found[question] and row.statement in found[question]
            assert not row.seeds or effect(row) in found[question]


def test_the_report_has_all_ten_word_for_word(committed):
    report = (paths.root() / "paper_repro.md").read_text()
    assert report.split("## Ten questions\n\n")[1].startswith(told(committed, catches.told(load_records())))


def test_how_sure_we_are_is_counted(committed):
    sure = answers(committed)["How sure is all this?"]
    primary = [row for row in committed.itertuples() if row.pillar and row.model in ("", "organism")]
    claims, counts = re.search(r"Of (\d+) primary claims of 4 pillars: (.+?)\.", sure).groups()
    assert int(claims) == len(primary) == sum(map(int, re.findall(r": (\d+)", counts))) and "registered on" in sure


def test_a_real_model_is_told_of_with_its_run(registered):
    found = answers(verdicts([*records(), *records(1, scale="smollm", model="SmolLM2")]))
    told_of = found["Does it hold in a real language model?"]
    assert told_of.count("1 run of SmolLM2") == len(REAL) and "no verdict" in told_of
