"""The data of a real model: from files nobody is asked, splits share no request, fixed questions stay the same."""

import os
import re
import unicodedata
from pathlib import Path

import pytest

from ssah_core.data.load import NotToBeHad, load_data
from ssah_core.data.safety_filter import about_safety
from ssah_core.data.splits import SHARES, near_duplicates, split_of
from ssah_core.materials import Published, benign_answers, choice_items
from ssah_core.materials.content import CONTENTS
from ssah_core.materials.published_rows import CUT, TOLD, rows_of, unseen_of
from ssah_core.organism.train import train_tokenizer
from ssah_core.organism.world import World
from ssah_core.records import digest

REAL = Path(os.environ.get("SSAH_TEST_DATA") or os.environ.get("SSAH_DATA")
            or Path(__file__).resolve().parents[2] / "shared" / "data")
NEEDED = ("advbench", "refusal_direction", "xstest", "alpaca", "dolly", "gsm8k", "wikitext-2-raw-v1", "commonsense")


@pytest.fixture
def real(monkeypatch):
    """The real files, and a hub that nobody may ask."""
    missing = [name for name in NEEDED if not (REAL / name).is_dir()]
    if missing:
        pytest.skip(f"no {', '.join(missing)} in SSAH_TEST_DATA, SSAH_DATA or ../shared/data")
    monkeypatch.setenv("SSAH_DATA", str(REAL))
    monkeypatch.setattr("ssah_core.hub._answers", lambda: pytest.fail("the hub is asked"))
    monkeypatch.setattr("ssah_core.hub._asked", [])


def normalised(text: str) -> str:
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def test_nobody_is_asked_where_all_is_here(real):
    material = Published(train_tokenizer(World.draw(0)), 512)
    assert {len(material.calibration()), len(material.exam("validation")), len(material.text()) > 9} == {3, 4, True}
    assert material.sources["harm_unseen"] == "refusal_direction_harmful"
    assert len(benign_answers()) == 100 and {len(rows) for rows in choice_items().values()} == {400}
    assert material.fine_tuning("benign", 9) and material.fine_tuning("new", 9)


def test_advbenchs_splits_are_disjoint_by_content(real):
    parts = {split: [normalised(row["prompt"]) for row in rows_of("advbench", split)] for split in SHARES}
    together = sum(parts.values(), [])
    assert len(set(together)) == len(together) and near_duplicates(together) == [None] * len(together)
    assert all(len(part) > 40 for part in parts.values())


def test_unseen_harm_is_what_advbench_does_not_ask(real):
    material = Published(train_tokenizer(World.draw(0)), 512)
    asked = {normalised(row["prompt"]) for row in load_data("advbench")}
    whole = {normalised(row["prompt"]) for row in load_data("refusal_direction_harmful")}
    found = {split: [normalised(row["prompt"]) for row in material.exam(split, 500)["harm_unseen"]]
             for split in ("validation", "test")}
    unseen = set(found["validation"]) | set(found["test"])
    assert not unseen & asked and unseen <= whole - asked and not set(found["validation"]) & set(found["test"])
    assert len(unseen) > 0.9 * len(whole - asked) and len(found["test"]) > 100
    assert near_duplicates([*asked, *unseen])[len(asked):] == [None] * len(unseen)


def test_a_set_that_is_cut_by_content_keeps_its_splits(real):
    assert unseen_of("advbench", "test") == rows_of("advbench", "test")
    rows = unseen_of("refusal_direction_harmful", "validation")
    assert rows and {split_of(row["prompt"]) for row in rows} == {"validation"}


def test_instructions_hold_no_row_about_safety(real):
    for name in ("alpaca", "dolly"):
        assert not any(about_safety(row["response"]) for row in load_data(name))


def test_fluent_answers_are_of_validation_long_enough_and_cut(real):
    rows = benign_answers()
    assert all(split_of(row["prompt"]) == "validation" for row in rows)
    assert all(TOLD <= len(row["response"].split()) <= CUT for row in rows)
    assert benign_answers(5) == rows[:5] != benign_answers(5, seed=1)


# -- without the real files --------------------------------------------------------------------------------

ITEMS = [{"prompt": f"Why {n}?", "choices": ["So.", "No."], "answer": "So."} for n in range(9)]


def rows(monkeypatch, boolq=ITEMS):
    def read(name, split):
        if name == "boolq" and not boolq:
            raise NotToBeHad("not here")
        return boolq if name == "boolq" else ITEMS

    monkeypatch.setattr("ssah_core.materials.published_rows.rows_of", read)


def test_questions_are_the_same_in_whatever_order_they_lie(monkeypatch):
    rows(monkeypatch)
    found = choice_items(4)
    assert list(found) == ["arc_easy", "piqa", "openbookqa", "winogrande", "boolq"]
    assert found["piqa"] == sorted(ITEMS, key=digest)[:4] and len(choice_items(400)["piqa"]) == 9
    monkeypatch.setattr("ssah_core.materials.published_rows.rows_of", lambda name, split: ITEMS[::-1])
    assert choice_items(4) == found


def test_boolq_is_left_out_where_it_is_not_here(monkeypatch):
    rows(monkeypatch, boolq=None)
    assert "boolq" not in choice_items()


def test_what_studies_rest_on_has_a_digest(monkeypatch):
    rows(monkeypatch)
    assert CONTENTS["choices"](None) == choice_items()


def test_too_few_fluent_answers_are_refused(monkeypatch):
    few = [{"prompt": f"Why {n}?", "response": "so " * (5 + n)} for n in range(24)]
    monkeypatch.setattr("ssah_core.materials.published_rows.first_that_loads", lambda *names: "alpaca")
    monkeypatch.setattr("ssah_core.materials.published_rows.rows_of", lambda name, split: few)
    with pytest.raises(ValueError, match="only 19 validation answers have 10 words or more, but 20 are needed"):
        benign_answers()
