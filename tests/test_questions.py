"""Ten questions and their answers, which are those of the records; in the report, word for word."""

import re

import pytest
from test_report_tables import records

from ssah_core.records import catches, paths
from ssah_core.records.claim_list import list_claims
from ssah_core.records.questions import ASKED, REAL, answers, told
from ssah_core.records.records import load_records
from ssah_core.records.report_tables import WORDS, effect, judged
from ssah_core.records.side_by_side import caution
from ssah_core.records.telling import in_words
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
            assert f"**{WORDS[row.verdict]}**" in found[question] and in_words(row) in found[question]
            assert not row.seeds or effect(row) in found[question]


def test_the_report_has_all_ten_word_for_word(committed):
    report = (paths.root() / "paper_repro.md").read_text()
    assert report.split("## Ten questions\n\n")[1].startswith(told(committed, catches.told(load_records()), caution()))


def test_how_sure_we_are_is_counted(committed):
    sure = answers(committed)["How sure is all this?"]
    primary = [row for row in committed.itertuples() if row.pillar and row.model in ("", "organism")]
    claims, counts = re.search(r"Of (\d+) primary claims of 4 pillars: (.+?)\.", sure).groups()
    assert int(claims) == len(primary) == sum(map(int, re.findall(r": (\d+)", counts))) and "registered on" in sure


def test_what_is_unknown_is_counted(committed):
    unknown, rows = answers(committed)["What is unknown?"], list(committed.itertuples())
    secondary = judged([row for row in rows if not row.pillar])
    bare = [row for row in secondary if row.verdict in ("undecided", "not comparable", "not run")]
    assert f"Of {len({row.id for row in secondary})} secondary claims {len(bare)} have no verdict: " in unknown
    assert sum(map(int, re.findall(r": (\d+) \(", unknown))) == len(bare)
    assert sum(map(int, re.findall(r"\d\d_\w+: (\d+)", unknown))) == len(bare)
    told = re.findall(r"No claim at all has one in ([\w, ]+)\.", unknown)
    lists = [name for some in told for name in some.split(", ")]
    assert lists == sorted({row.notebook for row in rows} - {row.notebook for row in rows if row not in bare
                                                            and row.model == "organism"})
    primary = {row.id for row in rows if row.pillar}
    asked = {row.id for row in rows if row.model not in ("", "organism")} & primary
    assert f"Of a real model {len(asked)} of the primary claims were asked, 0 of one as large" in unknown


@pytest.mark.parametrize("made, says", [
    (list, r"^Of 23 primary claims 0 are undecided and 23 not run; .* have no verdict: not run: "),
    (lambda: records(3), r"^Of 23 primary claims 23 are undecided and 0 not run; .* 0 of the primary claims"),
    (lambda: [*records(), *records(1, scale="paper", model="a")], "model 23 of the primary claims were asked, 23 of")])
def test_what_was_not_measured_or_on_too_few_organisms_is_unknown(registered, made, says):
    assert re.search(says, answers(verdicts(made()))["What is unknown?"])


def test_a_real_model_is_told_of_with_its_run(registered):
    found = answers(verdicts([*records(), *records(1, scale="smollm", model="SmolLM2")]))
    told_of = found["Does it hold in a real language model?"]
    assert told_of.count("1 run of SmolLM2") == len(REAL) and "no verdict" in told_of
