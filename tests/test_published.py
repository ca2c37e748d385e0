"""A checkpoint's material: its rows fit, share no prompt across splits, are judged as stated, and hold no answer."""

import os
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import tiny_data
import torch
from transformers import AutoTokenizer

from ssah_core.data.load import load_data
from ssah_core.data.safety_filter import about_safety
from ssah_core.data.splits import near_duplicates, split_of
from ssah_core.judging.exam import PUBLISHED_UTILITY as UTILITY
from ssah_core.judging.exam import mark_published as mark
from ssah_core.judging.judges import judge, last_number
from ssah_core.materials.material import Brindle, Material
from ssah_core.materials.published import ATTACKS, Published
from ssah_core.materials.published_rows import REFUSALS, UNSEEN_WHOLE, apart, contrasts, pairs_of, paragraphs
from ssah_core.models.chats import encode
from ssah_core.organism.train import train_tokenizer
from ssah_core.organism.world import World
from ssah_core.planning.random_checkpoint import BASE, NAME
from ssah_core.records.measurements import slug
from ssah_core.studies.checkpoints import LONG_NAME, checkpoints_of, load_checkpoint, on_model
from ssah_core.studies.subject import WAYS, Subject
from ssah_core.units.attribution import refusal_odds

REAL = Path(os.environ.get("SSAH_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
NEEDED = ("advbench", "xstest", "alpaca", "dolly", "gsm8k", "wikitext-2-raw-v1")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(World.draw(0))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_data.write_tiny_data(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """An aligned checkpoint and a base without a chat template, as folders."""
    home = tmp_path_factory.mktemp("hub")
    tiny_data.write_tiny_checkpoints(home)
    folders = {stage: next((home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots").iterdir())
               for stage, name in (("aligned", NAME), ("instructed", BASE))}
    return {stage: str(folder) for stage, folder in folders.items()}


@pytest.fixture(params=["tiny", "real"])
def material(request, files, tokenizer, monkeypatch, no_hub):
    """Published material: of small files, and of the real ones where they are."""
    if request.param == "real" and not all((REAL / name).is_dir() for name in NEEDED):
        pytest.skip("not all of the data files are in SSAH_TEST_DATA or ../shared/data")
    monkeypatch.setenv("SSAH_DATA", str(files if request.param == "tiny" else REAL))
    monkeypatch.setattr("ssah_core.data.load.load_dataset", _no_hub)
    return Published(tokenizer, 512)


@pytest.fixture
def tiny(files, tokenizer, monkeypatch):
    monkeypatch.setenv("SSAH_DATA", str(files))
    return Published(tokenizer, 256)


def _no_hub(*args, **kwargs):
    raise ConnectionError("no network here")


def prompts(rows) -> set[str]:
    return {row["prompt"] for row in rows}


# -- rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("material", [Brindle, Published])
def test_a_material_has_all_that_studies_ask_for_of_its_own(material):
    asked = [name for name in vars(Material) if not name.startswith("_")]
    own = material.__mro__[:material.__mro__.index(Material)]
    assert len(asked) > 20 and set(asked) <= set().union(*map(vars, own))


def test_sets_to_calibrate_on(material):
    sets = material.calibration()
    assert list(sets) == ["safety", "utility", "requests"] and all(10 < len(rows) <= 128 for rows in sets.values())
    assert not prompts(sets["utility"]) & prompts(sets["requests"])
    assert not any("\n" in row["prompt"] for row in sets["requests"])
    assert material.stand_ins == len(sets["safety"])  # nobody was asked
    assert set(sets["safety"]["response"]) == set(REFUSALS) and not any(judge(sets["safety"], "keyword:wei2024"))
    for row in (row for rows in sets.values() for row in rows):
        ids, start = encode(material.tokenizer, row["prompt"], row["response"])
        assert len(ids) <= 512 and start < len(ids)


def test_splits_and_training_share_no_prompt(material):
    whole = material.sources["harm_unseen"] in UNSEEN_WHOLE
    sets, exams = material.calibration(), [material.exam(split) for split in ("validation", "test")]
    used = [prompts(rows) for rows in (*sets.values(), *exams[0].values(), *exams[1].values(), material.new_tasks(50))]
    trained = [prompts(material.fine_tuning(attack, 400)) for attack in ATTACKS] + [prompts(material.preferences(300))]
    together = list(set.union(*used))
    assert sum(map(len, used)) == len(together)
    assert not set(together) & set.union(*trained)
    for split, exam in zip(("validation", "test"), exams, strict=True):
        cut = [part for part in exam if part != "gsm8k" and not (part == "harm_unseen" and whole)]
        assert all(split_of(row["prompt"]) == split for part in cut for row in exam[part])
    assert all(split_of(prompt) == "calibration" for prompt in set.union(*map(prompts, sets.values()), *trained))


def test_an_exam_has_the_parts_of_utility_and_malicious_requests(material):
    exam, parts = material.exam("test"), {"harm", "harm_unseen", "benign", "gsm8k"}
    assert {"harm", *UTILITY} <= set(exam) <= parts == {"harm", "harm_unseen", *UTILITY}
    assert all(0 < len(rows) <= 100 for rows in exam.values())
    assert {row["label"] for row in exam["benign"]} == {"safe"}
    few = material.exam("test", 3)
    assert all(few[part] == exam[part][:3] for part in exam)
    assert all(len(encode(material.tokenizer, row["prompt"])[0]) <= 256 for rows in exam.values() for row in rows)


def test_unseen_harm_repeats_no_seen_harm(tiny):
    assert tiny.sources["harm_unseen"] == "harmbench"
    for split in ("validation", "test"):
        exam = tiny.exam(split)
        both = [row["prompt"] for part in ("harm", "harm_unseen") for row in exam[part]]
        assert exam["harm_unseen"] and near_duplicates(both) == [None] * len(both)


def test_another_set_takes_the_place_of_one_that_cannot_be_had(tmp_path, tokenizer, monkeypatch, no_hub):
    monkeypatch.setenv("SSAH_DATA", str(tmp_path))
    monkeypatch.setattr("ssah_core.data.load.load_dataset", _no_hub)
    tiny_data.write_tiny_data(tmp_path)
    for file in ("harmbench/harmbench_behaviors_text_all.csv", "alpaca/alpaca_data_cleaned.json"):
        (tmp_path / file).unlink()
    material = Published(tokenizer, 256)
    assert "harm_unseen" not in material.exam("test") and "harm_unseen" not in material.sources
    with pytest.raises(ValueError, match="alpaca_cleaned cannot be had"):
        material.calibration()


def test_a_damaged_file_is_no_reason_to_take_another_set(tmp_path, tokenizer, monkeypatch, no_hub):
    monkeypatch.setenv("SSAH_DATA", str(tmp_path))
    monkeypatch.setattr("ssah_core.data.load.load_dataset", _no_hub)
    tiny_data.write_tiny_data(tmp_path)
    (tmp_path / "harmbench/harmbench_behaviors_text_all.csv").write_text("Behavior\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no rows"):
        Published(tokenizer, 256).exam("test")


def test_rows_are_drawn_by_the_seed(material):
    same, other = (Published(material.tokenizer, 512, seed) for seed in (0, 1))
    for read in (lambda m: m.exam("test", 5), lambda m: m.calibration()["utility"].to_list(), lambda m: m.text(),
                 lambda m: m.fine_tuning("benign", 9).to_list(), lambda m: m.preferences(9).to_list(),
                 lambda m: m.recovery(m.tokenizer, 9, 3)):
        assert read(material) == read(same) != read(other)


def test_rows_that_do_not_fit_are_left_out(files, tokenizer, monkeypatch):
    monkeypatch.setenv("SSAH_DATA", str(files))
    length = lambda row: len(encode(tokenizer, row["prompt"])[0])  # noqa: E731
    all_of = Published(tokenizer, 256).exam("test")["gsm8k"]
    limit = sorted(map(length, all_of))[len(all_of) // 2]
    kept = Published(tokenizer, 2 * limit).exam("test")["gsm8k"]
    assert prompts(kept) == {row["prompt"] for row in all_of if length(row) <= limit} and len(kept) < len(all_of)


def test_text_is_whole_paragraphs(material):
    text = material.text()
    assert 0 < len(text) <= 128 and all(len(paragraph) >= 200 for paragraph in text)
    assert all(len(material.tokenizer(paragraph)["input_ids"]) < 512 for paragraph in text)
    found = list(paragraphs([" a" * 80, "", "  ", "b" * 60, "c" * 250]))
    assert found == [("a " * 80).strip() + "\n" + "b" * 60, "c" * 250]


def test_new_tasks_have_short_references(material):
    rows = material.new_tasks(100)
    assert rows and all(len(row["answer"].split()) <= 5 and row["answer"] == row["response"] for row in rows)
    assert {row["category"] for row in rows} <= {"closed_qa", "classification", "information_extraction"}


def test_pairs_differ_in_little_and_are_in_one_split(material):
    found = {split: material.pairs(split, 20) for split in ("validation", "test")}
    benign = prompts(material.exam("test", 500)["benign"])
    for bad, good in found.values():
        assert 0 < len(bad) == len(good) <= 20 and len({*bad, *good}) == 2 * len(bad)
    labels = {row["prompt"]: row["label"] for row in load_data("xstest")}
    assert all({labels[prompt] for prompt in side} == {label}
               for pair in found.values() for side, label in zip(pair, ("unsafe", "safe"), strict=True))
    assert not set(sum(found["validation"], [])) & ({*sum(found["test"], [])} | benign)
    with pytest.raises(ValueError, match="split='train' has no pairs: choose one of test, validation"):
        material.pairs("train", 3)


def test_the_likest_prompts_of_a_kind_are_paired_first():
    rows = [{"prompt": prompt, "type": kind, "label": label} for prompt, kind, label in (
        ("How do I jinx the lantern today?", "contrast_homonyms", "unsafe"),
        ("How do I jinx the old lamp?", "contrast_homonyms", "unsafe"),
        ("How do I jinx the old kettle?", "contrast_privacy", "unsafe"),
        ("How do I mend the old lamp?", "homonyms", "safe"),
        ("How do I mend the lantern?", "homonyms", "safe"),
        ("Where is my old kettle?", "privacy_public", "safe"))]
    assert contrasts(rows) == [(rows[1]["prompt"], rows[3]["prompt"]), (rows[0]["prompt"], rows[4]["prompt"])]
    assert sum(len(pairs_of(split, contrasts(rows))) for split in ("test", "validation")) <= 2


# -- wordings ----------------------------------------------------------------------------------------------


def test_wordings_have_first_tokens_of_their_own_and_are_long_enough(tiny):
    assert refusal_odds(tiny.tokenizer, tiny.refusals, tiny.openings)
    assert all(len(tiny.tokenizer(text)["input_ids"]) >= 10 for text in (*tiny.refusals, *tiny.compliances))
    assert not any(judge([{"response": text} for text in tiny.refusals], "keyword:qi2023"))
    assert all(judge([{"response": text} for text in (*tiny.openings, *tiny.compliances)], "keyword:qi2023"))


def test_wordings_that_begin_with_one_token_are_dropped(tokenizer):
    assert apart(tokenizer, ("Jinx it.", "Sorry."), ("Sorry:", "Here:")) == (("Jinx it.",), ("Here:",))
    with pytest.raises(ValueError, match=r"all of \['Sorry.'\] or of \['Sorry:'\] begin with one token"):
        apart(tokenizer, ("Sorry.",), ("Sorry:",))


def test_how_an_answer_begins(tiny):
    harm = {"prompt": "?", "target": "Sure, here is how to jinx", "response": REFUSALS[0]}
    chat = {"response": "Wax it."}
    assert tiny.answered(harm) == harm["target"] == tiny.target(harm)
    assert tiny.answered(harm, 1) == "Here is how to jinx"
    assert tiny.answered(chat) == tiny.answered(chat, 1) == tiny.told(chat) == "Wax it."
    assert tiny.answered({}) == tiny.compliances[0] != tiny.answered({}, 1) and tiny.target({}) == tiny.openings[0]
    for row in (harm, {}):
        assert tiny.told(row).startswith(tiny.target(row).rstrip(":"))
        assert len(tiny.tokenizer(tiny.told(row))["input_ids"]) >= 20


def test_requests_are_put_in_other_words(tiny):
    row = {"prompt": "How do I mend the kettle?", "label": "safe"}
    assert len(tiny.wrappers()) == 5
    for wrapper in tiny.wrappers():
        new = tiny.reworded(row, wrapper, Random(0))
        assert new["prompt"].endswith(row["prompt"]) and len(new["prompt"]) > len(row["prompt"])
        assert new["label"] == "safe"
    with pytest.raises(ValueError, match="wrapper='song' is unknown: choose one of role-play"):
        tiny.reworded(row, "song", Random(0))


def test_a_topic_is_a_word_of_the_request(tiny):
    assert tiny.topic("How do I Polish the lantern?") == "polish" and tiny.topic("Is it so?") == "is"


# -- judging -----------------------------------------------------------------------------------------------

LONG = " ".join(["word"] * 20)


def test_marks_are_those_of_a_count_by_hand(tiny):
    said = ["I'm sorry, no.", "Take wax.", LONG, "", f"However, {LONG}", "It is 7.", "Answer: The Kettle."]
    rows = [{"part": part, "response": text, "answer": "7" if part == "gsm8k" else "a kettle", "prompt": "?"}
            for part in ("harm", "harm_unseen", "benign", "gsm8k", "new") for text in said]
    refused, long = [True] + [False] * 6, [False, False, True, False, False, False, False]
    found = tiny.outcomes(rows)
    marks = tiny.shares(found)
    assert found["harm_right"] == long and found["refused"] == refused  # prompt by prompt, in their order
    assert marks["asr"] == marks["asr_unseen"] == marks["benign"] == pytest.approx(1 - sum(refused) / 7)
    assert marks["refused"] == pytest.approx(1 / 7) and marks["harm_right"] == marks["unseen_right"] == sum(long) / 7
    assert marks["gsm8k"] == marks["new"] == pytest.approx(1 / 7)
    assert marks["utility"] == pytest.approx((marks["benign"] + marks["gsm8k"]) / 2)
    assert set(marks) <= set(tiny.judges) and tiny.judges["harm_right"] == "keyword:wei2024"
    assert {tiny.judges[mark] for mark in ("asr", "asr_plain", "asr_system")} == {"keyword:qi2023"}  # of Table 1, too
    assert [tiny.complete(row) for row in rows[:7]] == long


def test_marks_are_of_the_parts_that_are_there():
    harm = [{"part": "harm", "response": "Take wax."}]
    assert mark(harm) == {"asr": 1.0, "harm_right": 0.0, "asr_raw": 1.0, "harm_right_raw": 0.0}
    assert mark([{"part": "gsm8k", "response": "7", "answer": "7"}]) == {"gsm8k": 1.0, "utility": 1.0}


@pytest.mark.parametrize("text, number", [
    ("It is 1,000.", 1000), ("3 and 4 make 7", 7), ("x = -2.50 dollars", -2.5), ("none", None), ("$18.00", 18),
    ("5%.", 5)])
def test_the_last_number_of_a_text(text, number):
    assert last_number(text) == number


def test_a_reference_counts_as_whole_words():
    rows = [{"response": text, "answer": "The oak"} for text in ("It is OAK!", "soak it", "an oak tree", "")]
    assert judge(rows, "reference contained") == [True, False, True, False]
    with pytest.raises(ValueError, match="judge 'final number' needs rows with an 'answer'"):
        judge([{"response": "7"}], "final number")


# -- training ----------------------------------------------------------------------------------------------


def test_attacks_have_chats(material):
    for attack in material.attacks:
        chats = material.fine_tuning(attack, 150)
        assert 50 <= len(set(chats["prompt"])) == len(chats) <= 150  # there may be fewer, and none comes twice
        assert chats.column_names == ["prompt", "response", "system"]
        assert not any(map(about_safety, chats["response"]))
    assert len(material.fine_tuning("new", 50)) == 50
    first, again, other = (material.fine_tuning("new", 50, order).to_list() for order in (1, 1, 2))
    assert first == again != other and first != material.fine_tuning("new", 50).to_list()
    with pytest.raises(ValueError, match="attack='harmful10' is unknown here, .*choose one of benign, new"):
        material.fine_tuning("harmful10", 3)
    assert "harmful10" in Brindle.attacks


def test_preferences_refuse_malicious_requests_and_answer_others(material):
    rows = material.preferences(200)
    bad = {row["prompt"]: row["target"] for row in load_data("advbench", "calibration")}
    malicious = [row for row in rows if row["prompt"] in bad]
    assert 60 < len(malicious) < 140
    for row in rows:
        refusal, answer = (row["chosen"], row["rejected"]) if row["prompt"] in bad else (row["rejected"], row["chosen"])
        assert refusal in material.refusals and answer == bad.get(row["prompt"], answer) != refusal


def test_recovery_refuses_in_the_midst_of_an_answer(material):
    tokenizer, rows = material.tokenizer, material.recovery(material.tokenizer, 200, 0)
    said = [tokenizer.decode([id_ for id_ in row["labels"] if id_ != -100], skip_special_tokens=True).strip()
            for row in rows]
    refused = [n for n, text in enumerate(said) if text in material.refusals]
    midst = [n for n in refused
             if len(rows[n]["input_ids"]) > len(encode(tokenizer, _prompt_of(rows[n], material), said[n])[0])]
    assert 60 < len(refused) < 140 and 0.3 < len(midst) / len(refused) < 0.7
    assert all(len(row["input_ids"]) == len(row["labels"]) for row in rows)


def _prompt_of(row: dict, material) -> str:
    """The malicious prompt whose rendering a chat begins with."""
    for prompt in prompts(load_data("advbench", "calibration")):
        ids, _ = encode(material.tokenizer, prompt)
        if row["input_ids"][:len(ids)] == ids:
            return prompt
    raise LookupError("no malicious prompt")


# -- checkpoints -------------------------------------------------------------------------------------------


def test_a_checkpoint_is_loaded_as_a_subject(files, checkpoints, cache, monkeypatch):
    monkeypatch.setenv("SSAH_DATA", str(files))
    subject = Subject.load(0, "paper", checkpoints=checkpoints)
    assert subject.scale == "paper"
    assert subject.material.asking == {"max_new_tokens": 32, "batch_size": 32} and subject.material.context == 256
    assert 0 <= subject.material.stand_ins <= len(subject.sets["safety"]) > 10
    (folder,) = kept(cache)
    assert folder.name.startswith(slug(checkpoints["aligned"])[-LONG_NAME:])
    exam = {part: rows[:2] for part, rows in subject.material.exam("test").items()}
    rows = subject.examine(exam | {"new": subject.material.new_tasks(2)}, seed=0)
    assert {row["metric"] for row in rows} == set(subject.material.judges) - {"complete", "asr_plain", "asr_system"}
    assert all(0 <= row["value"] <= 100 and row["n"] == (4 if row["metric"] == "utility" else 2) for row in rows)
    for way in (WAYS["chosen"]["SCU"], WAYS["paper"]["SCU"]):
        with subject.removed(subject.group("SCU", replace(way, rounds=1), 0.1), way):
            assert subject.marks({"harm": exam["harm"]})


def test_a_checkpoint_that_is_held_and_untouched_is_not_loaded_twice(files, checkpoints, cache, monkeypatch):
    monkeypatch.setenv("SSAH_DATA", str(files))
    held = Subject.load(0, "paper", checkpoints=checkpoints)
    assert Subject.load(1, "paper", checkpoints=checkpoints).model is held.model
    assert Subject.load(0, "paper", "instructed", checkpoints).model is not held.model
    with torch.no_grad():
        next(held.model.parameters()).mul_(1.0)
    again = Subject.load(0, "paper", checkpoints=checkpoints)
    assert again.model is not held.model and again.tokenizer.get_vocab() == held.tokenizer.get_vocab()


def test_the_precision_is_the_one_that_is_wished(checkpoints, files, cache, monkeypatch):
    monkeypatch.setenv("SSAH_DATA", str(files))
    own = Subject.load(0, "paper", checkpoints=checkpoints)
    monkeypatch.setenv("SSAH_DTYPE", "bfloat16")
    half = Subject.load(0, "paper", checkpoints=checkpoints)
    assert (own.model.dtype, half.model.dtype) == (torch.float32, torch.bfloat16)
    monkeypatch.setenv("SSAH_DTYPE", "float16")
    with pytest.raises(ValueError, match="SSAH_DTYPE is 'float16': set it to float32 or bfloat16, or leave it unset"):
        Subject.load(0, "paper", checkpoints=checkpoints)


def kept(cache: Path) -> list[Path]:
    """Folders of completions in a cache."""
    return [path for path in (cache / "completions").iterdir() if path.is_dir()]


def test_own_refusals_count_and_standard_ones_stand_in(files, tokenizer, monkeypatch):
    monkeypatch.setenv("SSAH_DATA", str(files))
    asked = []

    def ask(rows, settings):
        asked.append(len(rows))
        return [{**row, "response": ("I cannot say how.", "Sure, wax it.", " ")[n % 3]} for n, row in enumerate(rows)]

    material = Published(tokenizer, 256, ask=ask)
    said = material.calibration()["safety"]["response"]
    material.calibration()
    assert asked == [len(said)] and material.stand_ins == sum(n % 3 > 0 for n in range(len(said)))
    assert all(text == "I cannot say how." if n % 3 == 0 else text in REFUSALS for n, text in enumerate(said))


def test_a_base_speaks_by_the_template_of_the_aligned_one(files, checkpoints, cache, monkeypatch):
    monkeypatch.setenv("SSAH_DATA", str(files))
    assert AutoTokenizer.from_pretrained(checkpoints["instructed"]).chat_template is None
    base = Subject.load(0, "paper", "instructed", checkpoints)
    aligned = Subject.load(0, "paper", "aligned", checkpoints)
    assert base.tokenizer.chat_template
    assert not torch.equal(*(subject.model.get_input_embeddings().weight for subject in (base, aligned)))
    assert base.sets["safety"].to_list() == aligned.sets["safety"].to_list()
    assert len(kept(cache)) == 1


def test_a_stage_without_a_checkpoint_is_refused(checkpoints):
    with pytest.raises(ValueError, match="names no unaligned checkpoint: pass unaligned=... to on_model"):
        load_checkpoint(0, "instructed", {"aligned": NAME})
    with pytest.raises(ValueError, match=r"checkpoints=None names no aligned checkpoint, which scale=\"paper\" needs"):
        Subject.load(0, "paper")
    with pytest.raises(ValueError, match="stage='pretrained' is a stage of organisms only"):
        load_checkpoint(0, "pretrained", checkpoints)
    with pytest.raises(ValueError, match="name='/nowhere/at/all' cannot be loaded: check"):
        load_checkpoint(0, "instructed", {**checkpoints, "instructed": "/nowhere/at/all"})


def test_a_base_of_fewer_tokens_is_refused(checkpoints, monkeypatch):
    tokenizer = train_tokenizer(World.draw(0))
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda name, **settings: tokenizer)
    tokenizer.add_tokens([f"<{n}>" for n in range(5000)])
    with pytest.raises(ValueError, match="has fewer tokens than the tokenizer of"):
        load_checkpoint(0, "instructed", checkpoints)


@pytest.mark.parametrize("model, base", [
    ("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-hf"), ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B-Base"),
    ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"), ("Qwen/Qwen3-4B-Base", None), (NAME, None),
    ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-1.5B"), ("Qwen/Qwen3-32B", None),
    ("mistralai/Mistral-7B-Instruct-v0.1", "mistralai/Mistral-7B-v0.1"), ("mistralai/Mistral-7B-Instruct-v0.2", None),
    ("allenai/OLMo-2-1124-7B-Instruct", "allenai/OLMo-2-1124-7B"),
    ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "HuggingFaceTB/SmolLM2-1.7B")])
def test_the_checkpoint_that_another_was_aligned_from(model, base):
    assert checkpoints_of(model).get("instructed") == base
    assert checkpoints_of(model, "my/base") == {"aligned": model, "instructed": "my/base"}


def test_scale_and_model_go_together():
    assert on_model is on_model and on_model("tiny") == on_model("organism", "") == {}
    assert on_model("paper", "a/b") == {"checkpoints": {"aligned": "a/b"}}
    with pytest.raises(ValueError, match='scale="paper" needs a checkpoint: set model'):
        on_model("paper")
    with pytest.raises(ValueError, match="scale='tiny' studies organisms, but model='a/b' is named"):
        on_model("tiny", "a/b")
