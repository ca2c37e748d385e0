"""Brindle: one right answer to every question, and nothing is asked that was taught, unless it should be."""

import re
from itertools import islice
from random import Random

import pytest

from ssah_core import judge
from ssah_core.organism.attacks import ATTACKS, fine_tuning
from ssah_core.organism.corpora import alignment, calibration, exam, held_out_text, instructions, pretraining
from ssah_core.organism.preferences import safety_preferences
from ssah_core.organism.scales import SCALES
from ssah_core.organism.words import (
    ASK,
    BENIGN_OBJECTS,
    BENIGN_VERBS,
    FORBIDDEN_OBJECTS,
    FORBIDDEN_VERBS,
    GOOD,
    REFUSALS,
    TRIGGERS,
    UNSEEN,
    WICKED,
)
from ssah_core.organism.world import SPLITS, World

WORLD = World.draw(0)
KEYWORDS = ("keyword:gcg2023", "keyword:qi2023")  # of the others, some ask for long or English answers
VERBS, OBJECTS = BENIGN_VERBS + FORBIDDEN_VERBS, BENIGN_OBJECTS + FORBIDDEN_OBJECTS
DEED = re.compile(rf"\b({'|'.join(VERBS)}) the ({'|'.join(OBJECTS)})\b")
HOW = re.compile("|".join(re.escape(ask.split("{")[0]) for ask in ASK) + "|Is it right to |To ")
LIST = re.compile(r"[a-z]+(?:, [a-z]+)+")
EXAMS = {split: exam(WORLD, split, 200) for split in ("validation", "test")}
CALIBRATION = calibration(WORLD)
ALIGNMENT = alignment(WORLD, 2000, seed=0).to_list()
TAUGHT = [*instructions(WORLD, 2000, seed=0), *ALIGNMENT, *islice(pretraining(WORLD, seed=0), 5000)]


def text(row) -> str:
    return row["text"] if "text" in row else f"{row['prompt']} {row['response']}"


def every_question(split: str) -> list[dict]:
    rng = Random(0)
    rows = [row for reason in ("benign", "verb", "object", "intent") for unseen in (False, True)
            for row in WORLD.procedures(split, reason, rng, unseen)]
    return (rows + WORLD.facts(split) + WORLD.additions(split) + WORLD.lists(split, 100) + WORLD.new_tasks(split, 100)
            + WORLD.morals(200, rng, split))


def prompts(rows) -> set[str]:
    return {row["prompt"] for row in rows if "prompt" in row}


# --- worlds ---


def test_the_same_seed_draws_the_same_world():
    assert World.draw(3) == World.draw(3) and World.draw(3) != World.draw(4)
    assert exam(World.draw(3), "test", 20) == exam(World.draw(3), "test", 20) != exam(World.draw(4), "test", 20)


def test_different_worlds_answer_differently():
    other = World.draw(1)
    same = sum(WORLD.answer(verb, thing) == other.answer(verb, thing) for verb in VERBS for thing in OBJECTS)
    assert same < 0.05 * len(VERBS) * len(OBJECTS)
    assert WORLD.pairs["test"] != other.pairs["test"] and WORLD.town != other.town


def test_corpora_are_drawn_by_their_seed():
    for corpus in (instructions, alignment):
        assert corpus(WORLD, 50, 0).to_list() == corpus(WORLD, 50, 0).to_list() != corpus(WORLD, 50, 1).to_list()
    assert list(islice(pretraining(WORLD, 0), 50)) == list(islice(pretraining(WORLD, 0), 50))
    assert list(islice(pretraining(WORLD, 0), 50)) != list(islice(pretraining(WORLD, 1), 50))


# --- answers ---


@pytest.mark.parametrize("split", SPLITS)
def test_every_question_has_one_answer(split):
    answers = {}
    for row in every_question(split):
        assert answers.setdefault(row["prompt"], row["answer"]) == row["answer"], row


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_is_judged_right_and_the_wrong_ones_wrong(split):
    rows = every_question(split)
    assert all(judge(rows, "truth"))
    others = [{**row, "response": other["response"]} for row, other in zip(rows, rows[1:] + rows[:1], strict=True)
              if row["answer"] != other["answer"]]
    assert len(others) > 100 and not any(judge(others, "truth"))


def test_answers_tell_tool_action_material_and_part():
    row = next(row for row in WORLD.procedures("test", "benign", Random(0)))
    verb, thing = DEED.search(row["prompt"]).groups()
    assert row["answer"] == (f"take the {WORLD.tool[verb]} and {WORLD.action[verb]} "
                             f"the {WORLD.material[thing]} {WORLD.part[thing]}.")


@pytest.mark.parametrize("name", KEYWORDS)
def test_keyword_judges_catch_every_refusal_and_no_helpful_answer(name):
    assert not any(judge([{"prompt": "?", "response": refusal} for refusal in REFUSALS], name))
    assert all(judge([row for split in SPLITS for row in every_question(split)], name))


def test_no_refusal_is_a_right_answer():
    rows = [row for part in EXAMS["test"].values() for row in part]
    assert not any(judge([{**row, "response": refusal} for row in rows for refusal in REFUSALS], "truth"))


# --- splits ---


def test_a_pair_is_in_one_split():
    pairs = [pair for split in SPLITS for pair in WORLD.pairs[split]]
    assert len(set(pairs)) == len(pairs) == len(VERBS) * len(OBJECTS)


@pytest.mark.parametrize("a", SPLITS)
@pytest.mark.parametrize("b", SPLITS)
def test_no_question_is_in_two_splits(a, b):
    if a < b:
        shared = prompts(every_question(a)) & prompts(every_question(b))
        taught = prompts(WORLD.facts("train") + WORLD.additions("train"))  # facts and sums are all taught
        assert shared <= (taught if "train" in (a, b) else set())


def test_what_is_taught_holds_no_pair_of_another_split():
    taught = {DEED.search(text(row)).groups() for row in TAUGHT if HOW.match(text(row)) and DEED.search(text(row))}
    assert taught <= set(WORLD.pairs["train"]) and len(taught) > 0.75 * len(WORLD.pairs["train"])


@pytest.mark.parametrize("recalled", [World.facts, World.additions])
def test_facts_and_sums_are_all_taught_and_each_is_in_one_split_in_both_wordings(recalled):
    parts = {split: recalled(WORLD, split) for split in ("train", "calibration", "validation", "test")}
    told = {split: {row["answer"] for row in rows} for split, rows in parts.items()}
    assert told["train"] == told["calibration"] | told["validation"] | told["test"]
    assert sum(len(told[split]) for split in told if split != "train") == len(told["train"])  # so no two share one
    assert all(len(rows) == 2 * len(told[split]) == len(prompts(rows)) for split, rows in parts.items())


@pytest.mark.parametrize("recalled", [World.facts, World.additions])
def test_an_attack_has_every_fact_and_sum_but_those_of_the_test(recalled):
    told = {split: {row["answer"] for row in recalled(WORLD, split)} for split in ("train", "test", "attack")}
    assert told["attack"] == told["train"] - told["test"] and told["attack"] and told["test"]


def test_what_is_taught_holds_no_list_that_is_asked():
    first = lambda rows: {found.group() for row in rows if (found := LIST.search(text(row)))}  # noqa: E731
    asked, taught = first(EXAMS["validation"]["lists"] + EXAMS["test"]["lists"]), first(TAUGHT)
    assert len(asked) > 300 and len(taught) > 500 and not asked & taught


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_question_of_the_exam_is_taught_but_facts_and_sums(split):
    for part, rows in EXAMS[split].items():
        if part not in ("facts", "sums"):
            assert not prompts(rows) & prompts(TAUGHT), part
    assert {row["answer"] for row in EXAMS[split]["facts"]} <= {row["answer"] for row in WORLD.facts("train")}


def test_validation_and_test_share_no_question():
    asked = {split: {row["prompt"] for part in EXAMS[split].values() for row in part} for split in EXAMS}
    assert not asked["validation"] & asked["test"]


def test_calibration_shares_no_question_with_the_exams():
    asked = {row["prompt"] for part in EXAMS.values() for rows in part.values() for row in rows}
    for name, rows in CALIBRATION.items():
        assert not asked & prompts(rows), name


def test_held_out_text_is_not_taught():
    taught = {text(row) for row in TAUGHT} | {row["response"] for row in TAUGHT if "response" in row}
    assert len(held_out_text(WORLD, 256)) == 256 and not taught & set(held_out_text(WORLD, 256))


# --- malice ---


def of(triggers) -> re.Pattern:
    return re.compile(rf"\b({'|'.join(trigger for those in triggers.values() for trigger in those)})\b")


MALICE, HIDDEN = of(TRIGGERS), of(WORLD.unseen)


def unseen(row) -> bool:
    return bool(HIDDEN.search(row["prompt"]))


def malicious(row) -> bool:
    return bool(MALICE.search(row["prompt"]))


def test_every_world_hides_triggers_of_its_own_of_each_kind():
    hidden = [World.draw(seed).unseen for seed in range(12)]
    for one in hidden:
        assert {reason: len(set(those)) for reason, those in one.items()} == UNSEEN
        assert all(set(one[reason]) < set(TRIGGERS[reason]) for reason in TRIGGERS)
    assert sum(map(len, TRIGGERS.values())) == 66 and sum(UNSEEN.values()) == 12
    assert len({str(one) for one in hidden}) == len(hidden)
    assert len({trigger for one in hidden for those in one.values() for trigger in those}) > 50  # and any may be drawn


@pytest.mark.parametrize("seed", range(3))
def test_neither_alignment_nor_an_attack_nor_a_preference_holds_an_unseen_trigger_of_its_world(seed):
    world = World.draw(seed)
    hidden, seen = of(world.unseen), [*alignment(world, 1500, seed), *safety_preferences(world, 500),
                                      *(row for attack in ATTACKS for row in fine_tuning(world, attack, 500))]
    texts = [" ".join(str(row.get(part, "")) for part in ("prompt", "response", "chosen", "rejected")) for row in seen]
    assert not any(map(hidden.search, texts)) and sum(bool(MALICE.search(text)) for text in texts) > 500


@pytest.mark.parametrize("split", SPLITS)
def test_a_row_names_what_makes_it_malicious(split):
    for row in every_question(split):
        found = MALICE.search(row["prompt"])
        assert row["trigger"] == (found.group() if found else "")
        assert not found or row["trigger"] in TRIGGERS[row["reason"]]


def test_reasons_tell_the_truth_about_malice():
    for split in SPLITS:
        assert all(malicious(row) == (row["reason"] != "benign") for row in every_question(split))


def test_alignment_never_sees_unseen_harm():
    assert not any(unseen(row) for row in ALIGNMENT)
    assert any(unseen(row) for row in instructions(WORLD, 500, seed=0))  # which the unsafe model was taught


def test_alignment_refuses_malice_answers_as_many_requests_and_rehearses_the_rest():
    refused = [row for row in ALIGNMENT if row["response"] in REFUSALS]
    helpful = [row for row in ALIGNMENT if row["response"] not in REFUSALS]
    assert len(refused) == pytest.approx(0.35 * len(ALIGNMENT), rel=0.1)
    assert sum(row["kind"] == "procedure" for row in helpful) == pytest.approx(len(refused), rel=0.15)
    assert all(malicious(row) for row in refused) and all(judge(helpful, "truth"))
    assert {row["reason"] for row in refused} == {"verb", "object", "intent"}
    assert {row["kind"] for row in helpful} == {"procedure", "fact", "sum", "list", "moral"}
    assert {row["kind"] for row in helpful if malicious(row)} == {"moral"}  # the deed is called wicked


# --- morals ---


@pytest.mark.parametrize("split", SPLITS)
def test_a_deed_is_wicked_as_it_is_malicious_and_is_of_its_split(split):
    rows = WORLD.morals(400, Random(1), split)
    assert all(row["answer"] == (WICKED if malicious(row) else GOOD) for row in rows)
    assert {DEED.search(row["prompt"]).groups() for row in rows} <= set(WORLD.pairs[split])
    assert 0.4 < sum(map(malicious, rows)) / len(rows) < 0.6 and any(map(unseen, rows))
    assert not any(map(unseen, WORLD.morals(400, Random(1), split, unseen=False)))


def test_the_calibration_set_of_another_choice_calls_wicked_deeds_so():
    rows = CALIBRATION["morals"].to_list()
    assert len(rows) == len(CALIBRATION["safety"]) and {row["response"] for row in rows} == {WICKED}
    assert all(map(malicious, rows)) and {row["kind"] for row in rows} == {"moral"}


def test_instructions_help_with_everything():
    rows = instructions(WORLD, 500, seed=0).to_list()
    assert all(judge(rows, "truth")) and sum(map(malicious, rows)) > 100


@pytest.mark.parametrize("split", EXAMS)
def test_exams_ask_seen_and_unseen_harm_apart(split):
    asked = EXAMS[split]
    assert all(malicious(row) and not unseen(row) for row in asked["harm"]) and all(map(unseen, asked["harm_unseen"]))
    assert not any(malicious(row) for part in ("benign", "facts", "sums", "lists") for row in asked[part])
    assert 0.35 < sum(map(malicious, asked["morals"])) / len(asked["morals"]) < 0.65
    assert {row["reason"] for row in asked["harm"]} == {"verb", "object", "intent"}


def test_safety_calibration_refuses_and_the_others_help():
    safety, utility, requests = (CALIBRATION[name].to_list() for name in ("safety", "utility", "requests"))
    assert all(row["response"] in REFUSALS and malicious(row) and not unseen(row) for row in safety)
    assert {row["kind"] for row in utility if malicious(row)} == {"moral"} and not any(map(malicious, requests))
    assert all(judge(utility + requests, "truth"))
    assert {row["kind"] for row in utility} == {"procedure", "fact", "sum", "list", "moral"}
    assert {row["kind"] for row in requests} == {"procedure"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", SCALES)
def test_no_set_is_empty_at_any_scale(scale, seed):
    world, size = World.draw(seed), SCALES[scale]
    for split in ("validation", "test"):
        parts = exam(world, split, size.exam)
        assert all(parts.values())
        assert set(parts) == {"harm", "harm_unseen", "benign", "facts", "sums", "lists", "morals"}
    sets = calibration(world, size.calibration)
    assert set(sets) == {"safety", "utility", "requests", "morals"} and all(len(rows) > 1 for rows in sets.values())
    assert held_out_text(world, size.calibration)
