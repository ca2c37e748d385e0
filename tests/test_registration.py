"""What is primary is written down before there are rows, and nothing of it can be changed unseen."""

import json
import zlib
from dataclasses import replace

import pytest
from made_up import SEEDS

from ssah_core.records import claim_list, paths, registration, report
from ssah_core.records.claim import PILLARS
from ssah_core.records.evidence import EDITED
from ssah_core.records.measurements import read_evidence
from ssah_core.records.primary_claims import PRIMARY_CLAIMS
from ssah_core.records.rules import Rises

FIRST = PRIMARY_CLAIMS[0]


def claims(monkeypatch, *made) -> None:
    monkeypatch.setattr(registration, "CLAIMS", (*made, *claim_list.SECONDARY_CLAIMS))


def test_a_registration_says_what_is_claimed_by_which_rule_and_on_which_organisms(registered):
    kept = json.loads(registered.read_text(encoding="utf-8"))
    assert kept == registration.registered()
    assert set(kept) == {"date", "code", "development", "test", "orders", "claims"}
    assert [claim["id"] for claim in kept["claims"]] == [claim.id for claim in PRIMARY_CLAIMS]
    assert kept["claims"][0]["rule"] == FIRST.rule.describe(FIRST.unit) and kept["claims"][0]["pillar"] in PILLARS
    assert tuple(kept["test"]) == SEEDS and kept["orders"] == [0, 1, 2] and len(kept["code"]) == 12


def test_no_organism_that_choices_were_made_on_is_a_test():
    assert not {*registration.DEVELOPMENT} & {*registration.TEST} and len(registration.TEST) == 20


def test_registering_again_without_rows_changes_no_claim(registered):
    before = registration.registered()
    assert registration.register()["claims"] == before["claims"]


def test_after_the_rows_there_is_no_registration(registered):
    kept = registered.read_bytes()
    for name in ("stages/organism-seed12.json", "attacked/new/order1/organism-seed15.json"):
        file = paths.figures() / "measurements" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    with pytest.raises(ValueError, match="organism-seed15.json and 1 more files hold rows of test organisms.*raise new "
                                         "organisms, of other seeds$"):
        registration.register()
    assert registered.read_bytes() == kept


def test_rows_of_other_organisms_or_scales_do_not_hinder(registered):
    for name in ("stages/organism-seed0.json", "stages/tiny-seed12.json", "stages/organism-seed120.json"):
        file = paths.figures() / "measurements" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    assert registration.register()


@pytest.mark.parametrize("changes", [{"statement": "Otherwise."}, {"rule": Rises(0.01)}, {"record": "table1/scu/asr"},
                                     {"control": "table1/scu/asr"}, {"pillar": "budget"}, {"paper": {"a model": 1.0}}])
def test_an_edited_claim_is_refused(registered, monkeypatch, changes):
    claims(monkeypatch, replace(FIRST, **changes), *PRIMARY_CLAIMS[1:])
    with pytest.raises(ValueError, match=f"^primary claim '{FIRST.id}' is not registered as it stands: put it back as "
                                         "registration.json has it, or [^\n]*$"):
        registration.registered()


def test_a_claim_that_was_added_or_dropped_or_made_secondary_is_refused(registered, monkeypatch):
    for made, id in (((*PRIMARY_CLAIMS, replace(FIRST, id="table9/new")), "table9/new"),
                     (PRIMARY_CLAIMS[1:], FIRST.id), ((replace(FIRST, pillar=""), *PRIMARY_CLAIMS[1:]), FIRST.id)):
        claims(monkeypatch, *made)
        with pytest.raises(ValueError, match=f"primary claim '{id}' is not registered as it stands"):
            registration.registered()


def test_what_only_changes_how_a_claim_is_shown_is_no_edit(registered, monkeypatch):
    claims(monkeypatch, replace(FIRST, headline=not FIRST.headline), *PRIMARY_CLAIMS[1:])
    assert registration.registered()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"claims": [7]}', '{"claims": []}'])
def test_a_damaged_or_missing_registration_is_refused(registered, text):
    registered.write_text(text)
    with pytest.raises(ValueError, match="registration.json is no registration .*take the committed one$"):
        registration.registered()
    registered.unlink()
    with pytest.raises(ValueError, match="registration.json is no registration"):
        registration.registered()


def test_the_command_writes_and_checks(registered, capsys):
    registered.unlink()
    assert registration.main([]) == 0 and registered.is_file()
    assert capsys.readouterr().out == f"registered: {len(PRIMARY_CLAIMS)} claims in {registered}\n"
    before = registered.read_bytes()
    assert registration.main(["--check"]) == 0 and registered.read_bytes() == before


# -- what was measured afterwards --------------------------------------------------------------------------


def test_rows_of_the_registered_claims_are_of_one_code():
    codes = report.trial_codes(read_evidence())
    assert len(codes) == 1 and EDITED not in codes


def test_outcomes_of_every_prompt_take_little_room():
    files = sorted((paths.committed() / "measurements").rglob("*.json"))
    assert sum(len(zlib.compress(file.read_bytes())) for file in files) < 40e6
