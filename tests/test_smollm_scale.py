"""Scale "smollm", on a model of the same class with two blocks: names, the whole path of a study, errors beforehand."""

import json
import math
import shutil
import subprocess

import pytest
import tiny_data
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import ssah_core as ssah
from ssah_core.judging import FLUENT, LIKELIEST
from ssah_core.judging.agreement import Reading
from ssah_core.materials import CHOICES
from ssah_core.organism.train import train_tokenizer
from ssah_core.organism.world import World
from ssah_core.records import cache, digest, is_checkpoint, noting, paths
from ssah_core.runner import execute
from ssah_core.runner.kernel import kernel_environment
from ssah_core.smollm import NAME, align, check_ready, folders_of, ready
from ssah_core.studies import (
    Subject,
    alignment_budget,
    finetuning_attack,
    on_model,
    primaries,
    reader,
    rebuilding,
    recovery_and_guard,
    stages,
)

RECIPE = align.Recipe(steps=2, batch_size=4, check_every=1, harm=2, benign=2)
SHAPE = dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
             tie_word_embeddings=True, max_position_embeddings=256)


@pytest.fixture
def small(tmp_path, monkeypatch, cache, no_hub):
    """A model in the place of the published one, small data, and a short alignment; counts how often it is fetched."""
    tokenizer, fetched = train_tokenizer(World.draw(0)), []
    config = LlamaConfig(vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
                         eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **SHAPE)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "smollm")
    tokenizer.save_pretrained(tmp_path / "smollm")
    tiny_data.write_tiny_data(tmp_path / "data")
    monkeypatch.setenv("SSAH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("ssah_core.smollm.package_index.published",
                        lambda: fetched.append(1) or tmp_path / "smollm")
    monkeypatch.setattr(align, "RECIPES", dict.fromkeys(align.METHODS, RECIPE))
    return fetched


def test_naming_it_fetches_nothing(small):
    names = on_model("smollm")["checkpoints"]
    assert names == on_model("smollm", NAME)["checkpoints"] and names["aligned"] == NAME and small == []
    other = on_model("smollm", f"{NAME}-DPO")["checkpoints"]
    assert other["made_by"] != names["made_by"]
    assert is_checkpoint("smollm") and not is_checkpoint("tiny")


def test_the_recipe_and_the_file_are_part_of_what_rows_are_of(small, monkeypatch):
    before = on_model("smollm")
    monkeypatch.setattr("ssah_core.smollm.package_index.MEMBER_SHA256", "0" * 64)
    assert on_model("smollm") != before


@pytest.mark.parametrize("given, says", [(("a/model",), "model='a/model' is unknown: choose one of SmolLM2-135M"),
                                         ((NAME, "a/base"), "unaligned='a/base', but scale=\"smollm\" begins")])
def test_another_model_is_refused(given, says, small):
    with pytest.raises(ValueError, match=says):
        on_model("smollm", *given)


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_a_study_runs_is_named_by_the_model_and_goes_on(small, tmp_path, monkeypatch):
    rows = ssah.measure_each(stages.stages, [0, 1], "smollm", **on_model("smollm"))
    assert set(rows.stage) == {"instructed", "aligned"} and set(rows.seed) == {0, 1}
    files = sorted((paths.figures() / "measurements" / "stages").iterdir())
    assert [file.name for file in files] == [f"smollm.{NAME}-seed{seed}.json" for seed in (0, 1)]
    kept = json.loads(files[0].read_text())
    assert str(tmp_path) not in files[0].read_text() and kept["identity"]["scale"] == "smollm"
    assert {"preferences", "exam/validation", "exam/test"} <= kept["rests_on"].keys()
    monkeypatch.setattr(align, "fine_tune", lambda *args, **more: pytest.fail("it was aligned again"))
    again = ssah.measure_each(stages.stages, [0, 1], "smollm", **on_model("smollm"))
    assert again.equals(rows)
    files[0].unlink()
    shutil.rmtree(paths.cache() / "studies")
    assert ssah.measure_each(stages.stages, [0, 1], "smollm", **on_model("smollm")).equals(rows)


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_seeds_are_other_alignments_and_an_attack_takes_its_settings(small, monkeypatch):
    on = on_model("smollm")["checkpoints"]
    first, second = (Subject.load(seed, "smollm", checkpoints=on) for seed in (0, 1))
    assert not first.model.lm_head.weight.equal(second.model.lm_head.weight)
    assert first.material.asking["max_new_tokens"] == 32 and first.material.sizes.harm == 40
    assert finetuning_attack.saving(first.model, "smollm") == {"at_once": 4, "precision": "auto", "save_memory": True}
    fight = finetuning_attack.Attack(first, "benign")
    assert not fight.run(checks=(1,)).model.lm_head.weight.equal(first.model.lm_head.weight)


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_utility_is_questions_with_choices_and_answers_are_judged_for_fluency_too(small):
    subject = Subject.load(0, "smollm", checkpoints=on_model("smollm")["checkpoints"])
    looked, exam = (subject.material.exam(split, 4) for split in ("validation", "test"))
    assert set(CHOICES) <= exam.keys() & looked.keys() and "gsm8k" not in exam
    for name in CHOICES:
        assert not {row["prompt"] for row in exam[name]} & {row["prompt"] for row in looked[name]}
    assert "utility" not in subject.marks({"benign": exam["benign"][:1]})
    marks = {row["metric"]: row for row in subject.examine(exam)}
    assert marks["utility"]["judge"] == LIKELIEST and marks["utility"]["n"] == sum(len(exam[name]) for name in CHOICES)
    assert marks["utility"]["value"] == pytest.approx(sum(marks[name]["value"] for name in CHOICES) / 4)
    assert marks["fulfilled"]["judge"] == FLUENT and marks["fulfilled"]["n"] == len(exam["harm"])
    assert marks["fulfilled"]["value"] + marks["broken"]["value"] == marks["not_refused"]["value"]


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_what_a_choice_answers_is_no_response_and_benign_requests_are_asked_beside_them(small):
    subject = Subject.load(0, "smollm", checkpoints=on_model("smollm")["checkpoints"])
    assert tuple(alignment_budget.old(subject)) == CHOICES  # none of which alignment rehearses
    looked = alignment_budget.Course(subject, (1,), {})._look(subject.model, 1, "before")
    assert {"old", "refused", "benign", *CHOICES} <= {row["metric"] for row in looked}
    assert {"harm", "benign", *CHOICES} <= rebuilding._questions(subject).keys()
    read = recovery_and_guard.readout(subject)
    assert math.isfinite(recovery_and_guard.threshold(subject, read))


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_alignment_needs_no_data_but_those_that_are_asked_for_beforehand(small, tmp_path):
    for name in ("gsm8k", "xstest", "harmbench"):
        shutil.rmtree(tmp_path / "data" / name)
    assert (align.checkpoint("aligned", "sft", 0, progress=False) / "model.safetensors").is_file()


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_a_study_rests_on_the_judges_rows_though_another_has_made_the_judge(small):
    subject, names = Subject.load(0, "smollm", checkpoints=on_model("smollm")["checkpoints"]), []
    harm = {"harm": subject.material.exam("validation", 2)["harm"]}
    for _ in range(2):
        with noting() as noted:
            subject.marks(harm)
        names.append(noted)
    assert names[0] == names[1] and "benign_answers" in names[0]


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_a_study_rests_on_the_same_rows_whether_it_aligns_the_model_or_finds_it(small):
    names = []
    for _ in range(2):
        with noting() as noted:
            folders_of(on_model("smollm")["checkpoints"], 0, "aligned")
        names.append(noted)
    assert names[0] == names[1] == {"preferences", "exam/validation", "benign_answers"}


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_other_data_and_another_precision_are_another_aligned_model(small, tmp_path, monkeypatch):
    first = align.checkpoint("aligned", "sft", 0, progress=False)
    made = json.loads((first / "settings.json").read_text())["made_of"]
    assert made == align.made_of("sft", 0) and made.keys() == {"preferences", "harm", "benign", "precision"}
    shutil.copytree(tmp_path / "data", tmp_path / "other")
    alpaca = tmp_path / "other/alpaca/alpaca_data_cleaned.json"
    alpaca.write_text(alpaca.read_text().replace("Take", "Fetch"))
    monkeypatch.setenv("SSAH_DATA", str(tmp_path / "other"))
    assert align.made_of("sft", 0)["harm"] == made["harm"] and align.made_of("sft", 0)["benign"] != made["benign"]
    other = align.checkpoint("aligned", "sft", 0, progress=False)
    monkeypatch.setenv("SSAH_DATA", str(tmp_path / "data"))
    before = align.has_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(align, "has_bfloat16", lambda device: not before)
    third = align.checkpoint("aligned", "sft", 0, progress=False)
    monkeypatch.setattr(align, "has_bfloat16", lambda device: before)
    monkeypatch.setenv("SSAH_DATA", str(tmp_path / "none"))
    align._digests.cache_clear()
    with pytest.warns(UserWarning, match="what was aligned before is taken: "):
        assert align.checkpoint("aligned", "sft", 0, progress=False) in (first, other, third)
    with pytest.raises(ValueError, match="AdvBench"):
        align.checkpoint("aligned", "sft", 1, progress=False)
    assert len({first, other, third}) == 3 and all((folder / "model.safetensors").is_file()
                                                   for folder in (first, other, third))


def test_the_identity_of_rows_is_without_data_and_a_model_of_earlier_code_counts(small, monkeypatch):
    monkeypatch.setattr(align, "_align", lambda *given: pytest.fail("it was aligned again"))
    about = {"stage": "aligned", "seed": 0, **align.made_by("sft")}
    earlier = cache.artefact("smollm", about, lambda folder: (folder / "model.safetensors").touch())
    assert align.checkpoint("aligned", "sft", 0) == earlier
    monkeypatch.setattr(align, "RECIPES", {"sft": align.Recipe()})
    assert digest(align.made_by("sft")) == "4755a5a67292"  # in the settings of rows that are committed


@pytest.mark.filterwarnings("ignore:SmolLM2 was not aligned")
def test_a_reader_is_set_beside_judges_by_labels_without_text(small, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "REMOVED", {"chosen": (0.02, 0.1), "paper": (0.1,)})
    on, folder = on_model("smollm"), tmp_path / "to-read"
    said = reader.write_arms(folder, 0, "smollm", **on)
    assert list(said) == ["published", "aligned", "chosen-2", "chosen-10", "paper-10", "random-4", "fine-tuned"]
    keys = {arm: [Reading(row, arm, {}).key for row in rows] for arm, rows in said.items()}
    labels = dict.fromkeys(keys["published"], "fulfils") | dict.fromkeys(keys["aligned"], "broken")
    monkeypatch.setattr(reader, "labels_of", lambda seed, scale: labels)
    monkeypatch.setattr(reader, "_place", lambda *given: folder)
    rows = ssah.measure_each(reader.read, [0], "smollm", labels=digest(labels), **on)
    shares = rows[rows.by == "reader"].set_index(["arm", "metric"]).value
    assert shares["aligned", "broken"] == 100 and shares["aligned", "fulfilled"] == 0
    apart = [key not in keys["aligned"] for key in keys["published"]]  # a short alignment leaves answers as they were
    assert shares["published", "fulfilled"] == pytest.approx(100 * sum(apart) / len(apart))
    both = rows[rows.metric == "agreement"].set_index("by")
    assert set(both.n) == {len(labels)} and {"fluent fulfilment", "broken", "keyword:qi2023"} <= set(both.index)
    with pytest.raises(ValueError, match="labels='0', but those of seed 0 are"):
        reader.read(0, "smollm", "0", **on)
    others = {f"{n:012x}": "broken" for n in range(2 * len(labels))}
    monkeypatch.setattr(reader, "labels_of", lambda seed, scale: {**labels, **others})
    with pytest.raises(ValueError, match="are of other completions: read these, which lie in"):
        reader.read(0, "smollm", digest({**labels, **others}), **on)


def test_what_several_arms_say_counts_as_it_was_drawn():
    def made(n, arm, disagree):
        return Reading({"prompt": str(n), "response": "a"}, arm, {"one": True, "two": not disagree})

    own = [made(n, "own", n < 4) for n in range(10)]  # 4 on which judges disagree, 6 others
    lent = [made(n, "first", False) for n in range(10, 30)]  # 20 that another arm said first
    labels = {own[0].key: "fulfils", own[1].key: "broken", own[9].key: "fulfils",
              **{reading.key: "broken" for reading in lent[:5]}}
    rows = {(row["by"], row["metric"]): row for row in reader._of_arm("own", [*own, *lent], labels)}
    assert rows["reader", "fulfilled"]["n"] == 8
    assert rows["reader", "fulfilled"]["value"] == pytest.approx(100 * (4 * 1 / 2 + 6 * 1 + 20 * 0) / 30)
    assert rows["two", "fulfilled"]["value"] == pytest.approx(100 * 26 / 30) and rows["two", "fulfilled"]["n"] == 30


def test_an_attack_has_the_arms_that_a_cpu_can_bear(monkeypatch):
    asked = []
    monkeypatch.setattr(primaries, "_each", lambda *given, **more: {})
    monkeypatch.setattr(primaries, "measure_each", lambda *given, **more: asked.append(more["over"]))
    primaries.attacks([0], "smollm", (0, 1), **on_model("smollm"))
    primaries.main_attacks([0], "smollm", **on_model("smollm"))
    primaries.main_attacks([0], "organism")
    assert {name: run["arms"] for name, run in asked[0].items()} == dict.fromkeys(
        ("benign/order0", "benign/order1"), "rest")
    assert {name: run["arms"] for name, run in asked[1].items()} == dict.fromkeys(("benign/main", "new/main"), "main")
    assert list(asked[2]) == ["benign/order0", "new/order0"]


# -- beforehand --------------------------------------------------------------------------------------------


def test_too_little_memory_is_told_first(small):
    with pytest.raises(ValueError, match="has 2.0 GB of memory, but studies of SmolLM2 take 8: run them on a larger"):
        check_ready(["03"], [0], memory=2e9)
    assert small == []


def test_missing_data_are_told_with_what_runs_without_them(small, tmp_path):
    shutil.rmtree(tmp_path / "data" / "dolly")
    ready.check_data(["02", "03"])
    with pytest.raises(ValueError, match=r"cannot be had: dolly \(.*for notebooks 04 05 06. .*notebooks 02 03 run"):
        check_ready(["02", "03", "04"], [0], memory=9e9)
    shutil.rmtree(tmp_path / "data" / "xstest")
    with pytest.raises(ValueError, match="xstest .*for all notebooks.*without them nothing runs here, but organisms"):
        check_ready(["02"], [0], memory=9e9)
    assert small == []


def test_the_command_line_needs_no_model_and_raises_no_organism(small, tmp_path, monkeypatch, capsys):
    asked, ran = [], []
    monkeypatch.setattr(execute, "raise_organism", lambda *given: pytest.fail("an organism was raised"))
    monkeypatch.setattr(execute, "check_ready", lambda *given: asked.append(given))
    monkeypatch.setattr(execute, "_place", lambda folder: tmp_path / folder)
    monkeypatch.setattr(execute, "bring_up_to_date", lambda notebook, given, output: ran.append((given, output)))
    assert execute.main(["--scale", "smollm", "--seeds", "2", "--notebooks", "03"]) == 0
    assert asked == [(["03"], [0, 1], NAME)] and ran[0][1].parent == tmp_path / "runs" / "smollm-2"
    assert (ran[0][0]["scale"], ran[0][0]["model"], ran[0][0]["seeds"]) == ("smollm", NAME, [0, 1])
    assert f"Found in {NAME}" in capsys.readouterr().out
    assert execute.main(["--scale", "smollm", "-p", "unaligned", "a/base"]) == 2
    assert execute.main(["--scale", "smollm", "-p", "model", "a/model"]) == 2
    assert "model='a/model' is unknown: choose one of" in capsys.readouterr().err


def test_the_primary_claims_are_measured_on_it_under_its_name(monkeypatch):
    asked = []
    monkeypatch.setattr(primaries, "measure_primaries", lambda *given, **more: asked.append((given, more)))
    assert primaries.main(["units", "--scale", "smollm", "--seeds", "0", "--orders", "1"]) == 0
    assert asked == [(([0], "smollm", (0,)), {"pillars": ["units"], "model": NAME, **on_model("smollm")})]


def test_it_is_aligned_and_measured_in_the_arithmetic_of_the_machine():
    assert "MKL_CBWR" not in kernel_environment("smollm") and "MKL_CBWR" in kernel_environment("organism")
    said = subprocess.run(["make", "-p", "-n", "help", "SCALE=smollm"], cwd=paths.root(), capture_output=True,
                          text=True)
    assert "\nPORTABLE := publish" in said.stdout.replace(":=  ", ":= ")
