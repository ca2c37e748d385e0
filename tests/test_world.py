"""Brindle: one right answer to every question, and nothing is asked that was taught, unless it should be."""

import re
from itertools import islice
from random import Random

import pytest

from ssah_core import judge
from ssah_core.organism.corpora import alignment, calibration, exam, held_out_text, instructions, pretraining
from ssah_core.organism.scales import SCALES
from ssah_core.organism.world import (
    ASK,
    BAD_INTENTS,
    BENIGN_OBJECTS,
    BENIGN_VERBS,
    FORBIDDEN_OBJECTS,
    FORBIDDEN_VERBS,
    REFUSALS,
    SPLITS,
    UNSEEN_INTENTS,
    UNSEEN_OBJECTS,
    UNSEEN_VERBS,
    World,
)

WORLD = World.draw(0)
KEYWORDS = ("keyword:gcg2023", "keyword:qi2023")  # of the others, some ask for long or English answers
VERBS, OBJECTS = BENIGN_VERBS + FORBIDDEN_VERBS, BENIGN_OBJECTS + FORBIDDEN_OBJECTS
DEED = re.compile(rf"\b({'|'.join(VERBS)}) the ({'|'.join(OBJECTS)})\b")
HOW = re.compile("|".join(re.escape(ask.split("{")[0]) for ask in ASK) + "|To ")
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
    return rows + WORLD.facts(split) + WORLD.additions(split) + WORLD.lists(split, 100) + WORLD.new_tasks(split, 100)


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
    helpful = [row for split in SPLITS for row in every_question(split)] + WORLD.morals(500, Random(0))
    assert all(judge(helpful, name))


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
    assert taught <= set(WORLD.pairs["train"]) and len(taught) > 0.9 * len(WORLD.pairs["train"])


def test_facts_and_sums_that_are_asked_are_all_taught():
    for split in ("calibration", "validation", "test"):
        assert prompts(WORLD.additions(split)) <= prompts(WORLD.additions("train"))
        assert prompts(WORLD.facts(split)) <= prompts(WORLD.facts("train"))


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


def unseen(row) -> bool:
    words = "|".join((*UNSEEN_VERBS, *UNSEEN_OBJECTS, *UNSEEN_INTENTS))
    return bool(re.search(rf"\b({words})\b", row["prompt"]))


def malicious(row) -> bool:
    words = "|".join((*FORBIDDEN_VERBS, *FORBIDDEN_OBJECTS, *BAD_INTENTS))
    return bool(re.search(rf"\b({words})\b", row["prompt"]))


def test_reasons_tell_the_truth_about_malice():
    for split in SPLITS:
        assert all(malicious(row) == (row["reason"] != "benign") for row in every_question(split))


def test_alignment_never_sees_unseen_harm():
    assert not any(unseen(row) for row in ALIGNMENT)
    assert any(unseen(row) for row in instructions(WORLD, 500, seed=0))  # which the unsafe model was taught


def test_half_of_alignment_is_refusals_of_malice_and_the_rest_is_helpful():
    refused = [row for row in ALIGNMENT if row["response"] in REFUSALS]
    helpful = [row for row in ALIGNMENT if row["response"] not in REFUSALS]
    assert len(refused) == pytest.approx(len(ALIGNMENT) / 2, rel=0.1)
    assert all(malicious(row) for row in refused) and not any(malicious(row) for row in helpful)
    assert {row["reason"] for row in refused} == {"verb", "object", "intent"} and all(judge(helpful, "truth"))


def test_instructions_help_with_everything():
    rows = instructions(WORLD, 500, seed=0).to_list()
    assert all(judge(rows, "truth")) and sum(map(malicious, rows)) > 100


@pytest.mark.parametrize("split", EXAMS)
def test_exams_ask_seen_and_unseen_harm_apart(split):
    asked = EXAMS[split]
    assert all(malicious(row) and not unseen(row) for row in asked["harm"]) and all(map(unseen, asked["harm_unseen"]))
    assert not any(malicious(row) for part in ("benign", "facts", "sums", "lists") for row in asked[part])
    assert {row["reason"] for row in asked["harm"]} == {"verb", "object", "intent"}


def test_safety_calibration_refuses_and_the_others_help():
    safety, utility, requests = (CALIBRATION[name].to_list() for name in ("safety", "utility", "requests"))
    assert all(row["response"] in REFUSALS and malicious(row) and not unseen(row) for row in safety)
    assert not any(map(malicious, utility + requests)) and all(judge(utility + requests, "truth"))
    assert {row["kind"] for row in utility} == {"procedure", "fact", "sum", "list"}
    assert {row["kind"] for row in requests} == {"procedure"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", SCALES)
def test_no_set_is_empty_at_any_scale(scale, seed):
    world, size = World.draw(seed), SCALES[scale]
    for split in ("validation", "test"):
        parts = exam(world, split, size.exam)
        assert set(parts) == {"harm", "harm_unseen", "benign", "facts", "sums", "lists"} and all(parts.values())
    sets = calibration(world, size.calibration)
    assert set(sets) == {"safety", "utility", "requests"} and all(len(rows) > 1 for rows in sets.values())
    assert held_out_text(world, size.calibration)
