"""What a plan says follows from the model's own shapes; and it refuses, in one sentence, before anything runs."""

import json
from dataclasses import replace
from pathlib import Path

import by_hand
import pytest
import torch
import toys
import transformers
from transformers import LlamaConfig

from ssah_core import UnitMap, UnitMask, check_frozen
from ssah_core.models import config
from ssah_core.planning.__main__ import main
from ssah_core.planning.estimate import DATA, NOTEBOOKS, WORK, check_data, check_memory, plan
from ssah_core.planning.rehearsal import rehearse

LLAMA_2_7B = dict(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
                  vocab_size=32000)
COUNT = 6_738_415_616


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def saved(tmp_path) -> Path:
    """A chat checkpoint without weights."""
    transformers.LlamaConfig(**toys.GROUPED).save_pretrained(tmp_path / "toy")
    toys.tokenizer().save_pretrained(tmp_path / "toy")
    return tmp_path / "toy"


def edit(folder: Path, file: str = "config.json", **changes) -> Path:
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **changes}))
    return folder


# --- the numbers ---


def test_llama_2_7b_has_its_parameters_and_units():
    made = plan(LlamaConfig(**LLAMA_2_7B))
    assert made.parameters == COUNT and made.units == 32 * (4096 + 11008)
    assert made.needs.weights.round(3).tolist() == [13.477] * 4  # two bytes each
    assert made.needs.optimiser["freezing step"] == pytest.approx(2 * 2 * COUNT / 1e9)
    assert made.needs.total.equals(made.needs.drop(columns="total").sum(axis=1))
    assert made.disk == pytest.approx(10 * 13.477, rel=1e-3)
    assert "6,738,415,616 parameters in bfloat16" in str(made) and "RU-only step" in str(made)


def test_entries_are_those_that_freeze_and_train_only_take():
    """In bytes of a toy whose site sizes the shares divide evenly enough to be told apart."""
    config = transformers.LlamaConfig(**{**toys.GROUPED, "head_dim": 6, "intermediate_size": 40})
    model, needs = toys.model(intermediate_size=40, dtype=torch.float32), plan(config, dtype="float32").needs
    for stage, share, rest in (("freezing step", 0.075, "train"), ("RU-only step", 0.2, "freeze")):
        mask = UnitMask({site: torch.arange(size) < round(share * size) for site, size in UnitMap(model).sizes.items()})
        report = check_frozen(by_hand.copied(model), model, mask if rest == "train" else ~mask, rest=rest)
        entries = report.frozen if rest == "train" else report.trainable
        assert needs.copies[stage] == pytest.approx(4 * entries / 1e9)
    assert needs.gradients["RU-only step"] == needs.copies["RU-only step"] < needs.gradients["freezing step"]


def test_more_gpus_share_weights_and_hours_but_not_activations():
    one, four = (plan(LlamaConfig(**LLAMA_2_7B), gpus) for gpus in (1, 4))
    assert four.needs.weights["scoring"] == pytest.approx(one.needs.weights["scoring"] / 4)
    assert four.needs.activations["scoring"] > one.needs.activations["scoring"]  # and one block that is whole
    assert sum(four.hours.values()) == pytest.approx(sum(one.hours.values()) / 4)


def test_hours_are_flops_and_reads_over_what_a_gpu_does():
    hours = plan(LlamaConfig(**LLAMA_2_7B)).hours
    work = WORK["freeze (Table 2)"]
    flops, read = 8 * COUNT * work.trained, work.generated / 32 * COUNT * 2
    assert hours["freeze (Table 2)"] == pytest.approx(flops / 150e12 / 3600 + read / 1e12 / 3600)
    assert hours.keys() == WORK.keys()


@pytest.mark.parametrize("family", ["gpt2", "phi3", "gemma3", "opt"])
def test_every_family_can_be_planned(family):
    config, settings = toys.CONFIGS[family]
    made = plan(config(**settings), dtype="float32")
    model = toys.model(family)
    assert made.parameters == sum(p.numel() for p in model.parameters()) and made.units == UnitMap(model).total


def test_a_folder_is_planned_without_weights(saved):
    made = plan(saved)
    assert made.model == str(saved) and not any("chat template" in note for note in made.notes)
    assert any("round away" in note for note in made.notes)
    assert any("no tokenizer" in note for note in plan(LlamaConfig(**toys.GROUPED)).notes)


# --- refusals ---


def test_too_little_memory_names_how_many_gpus_would_do():
    made = plan(LlamaConfig(**LLAMA_2_7B))
    with pytest.raises(ValueError, match=r"needs \d+ GB a GPU for the freezing step but there are 24: take \d+ GPUs"):
        check_memory(replace(made, needs=made.needs.drop(NOTEBOOKS)), 24)
    with pytest.raises(ValueError, match="take GPUs with more memory"):
        check_memory(made, 1)
    check_memory(made, 80)


def test_notebooks_have_the_model_itself_beside_its_copy_on_one_gpu_however_many_there_are():
    one, four = (plan(LlamaConfig(**LLAMA_2_7B), gpus) for gpus in (1, 4))
    assert one.needs.loc[NOTEBOOKS].equals(four.needs.loc[NOTEBOOKS])
    assert one.needs.copies[NOTEBOOKS] > one.needs.weights[NOTEBOOKS] + one.needs.copies["freezing step"]
    assert four.needs.total.idxmax() == NOTEBOOKS
    with pytest.raises(ValueError, match=f"for the {NOTEBOOKS} but there are 40: take GPUs with more memory"):
        check_memory(four, 40)


@pytest.mark.parametrize("name, sentence", [
    ("nobody/nothing", "'nobody/nothing' is neither a folder with a config.json nor in the hub's cache"),
    ("meta-llama/Llama-2-7b-chat-hf", "is gated and not in the hub's cache: accept its licence at https://huggingface.co"
                                      "/meta-llama/Llama-2-7b-chat-hf, run .* or take .*, which is open")])
def test_a_checkpoint_that_is_not_there_is_refused(name, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        plan(name)


def test_code_of_a_checkpoint_is_refused_and_not_run(saved):
    (saved / "own.py").write_text("raise SystemExit('was run')")
    edit(saved, model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})
    with pytest.raises(ValueError, match="brings code of its own, which ssah never runs: take one"):
        plan(saved)


def test_an_unknown_architecture_is_refused(saved):
    with pytest.raises(ValueError, match="is of no architecture that this transformers knows"):
        plan(edit(saved, model_type="own"))


def test_a_quantised_checkpoint_is_refused(saved):
    with pytest.raises(ValueError, match=r"is quantised \(gptq\), and such weights have no gradient: take the check"):
        plan(edit(saved, quantization_config={"quant_method": "gptq", "bits": 4}))


def test_a_tokenizer_without_chat_template_is_refused(saved):
    assert config.has_chat_template(saved) is True
    (saved / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has a tokenizer without a chat template: take the chat or instruct version"):
        plan(saved)


def test_a_mixture_of_experts_is_refused():
    with pytest.raises(ValueError, match="MixtralForCausalLM is a mixture of experts"):
        plan(transformers.MixtralConfig(**toys.GROUPED, num_local_experts=4))


@pytest.mark.parametrize("settings, sentence", [
    (dict(dtype="int8"), "dtype='int8' has no gradient: choose float32, bfloat16, float16"), (dict(gpus=0), "gpus=0")])
def test_wrong_settings_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        plan(LlamaConfig(**toys.GROUPED), **settings)


def test_the_command_prints_the_plan_or_says_what_is_missing(saved, capsys):
    assert main([str(saved), "--gpus", "2", "--memory", "8"]) == 0
    assert "2 GPU(s)" in capsys.readouterr().out
    assert main([str(saved), "--memory", "0.0001"]) == 2
    assert main(["nobody/nothing"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


# --- the data ---


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A folder of data, and a hub that gives none."""
    def refuses(*place, **more):
        raise OSError("no network")

    monkeypatch.setenv("SSAH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("ssah_core.data.load.load_dataset", refuses)
    return tmp_path / "data"


def put(file: Path, *rows: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(map(json.dumps, rows)) if file.suffix == ".jsonl" else json.dumps(rows))


def test_data_that_are_there_are_named_with_their_place(data):
    put(data / "alpaca" / "alpaca_data.json", {"instruction": "Name a colour.", "input": "", "output": "Blue."})
    put(data / "gsm8k" / "test.jsonl", {"question": "What is 1 + 1?", "answer": "Two.\n#### 2"})
    cleaned, sums = check_data([("alpaca_cleaned", "alpaca"), ("gsm8k/test",)])
    assert cleaned.startswith("alpaca: 1 rows of ") and sums.startswith("gsm8k: 1 rows of ")
    assert str(data / "gsm8k" / "test.jsonl") in sums


def test_all_data_that_are_missing_are_named_with_what_to_do(data):
    put(data / "alpaca" / "alpaca_data.json", {"instruction": "Name a colour.", "input": "", "output": "Blue."})
    with pytest.raises(ValueError) as refusal:
        check_data()
    first, *lines = str(refusal.value).splitlines()
    assert first.startswith(f"{len(DATA) - 1} of {len(DATA)} data sets cannot be had")
    assert lines[0].startswith("- advbench: advbench cannot be had from the hub (walledai/AdvBench, split train: no")
    assert lines[1].startswith("- harmbench or strongreject or jailbreakbench or refusal_direction_harmful: ")
    assert len(lines) == len(DATA) - 1
    assert all("SSAH_DATA" in line for line in lines)


def test_a_damaged_file_is_not_passed_over_for_an_alternative(data):
    put(data / "alpaca" / "alpaca_data.json", {"instruction": "Name a colour.", "input": "", "output": "Blue."})
    put(data / "alpaca" / "alpaca_data_cleaned.json", {"instruction": "Name a colour."})
    with pytest.raises(ValueError, match="- alpaca_cleaned or alpaca: .*alpaca_data_cleaned.json has no column"):
        check_data([("alpaca_cleaned", "alpaca")])


def test_the_command_looks_at_data_where_asked(saved, data, monkeypatch, capsys):
    assert main([str(saved), "--memory", "8", "--data"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    monkeypatch.setattr("ssah_core.planning.__main__.check_data", lambda: ["xstest: 450 rows of a file"])
    assert main([str(saved), "--memory", "8", "--data"]) == 0
    told = capsys.readouterr().out
    assert told.endswith("Data:\n- xstest: 450 rows of a file\n") and "about three times the hours" in told


# --- the rehearsal ---


def test_a_rehearsal_takes_the_steps_and_records_them(saved, cache, capsys):
    assert main([str(saved), "--rehearse", "--dtype", "float32"]) == 0
    record = json.loads(Path(capsys.readouterr().out.splitlines()[-1]).read_text())
    assert record["scaled"] == "nothing" and record["device"].startswith("CPU")
    assert record["parameters"]["planned"] == record["parameters"]["rehearsed"]
    stages = record["measured"]
    assert all(stage["seconds"] > 0 and stage["gb"] > 0 for stage in stages.values())
    assert stages["freezing step"]["frozen_changed"] == 0 < stages["freezing step"]["frozen_entries"]
    assert stages["RU-only step"]["trained_entries"] > 0


def test_a_rehearsal_takes_as_many_blocks_as_fit_and_says_so(cache):
    config = transformers.Qwen3Config(**{**toys.GROUPED, "num_hidden_layers": 6, "head_dim": 6})
    needs = [plan(transformers.Qwen3Config(**{**toys.GROUPED, "num_hidden_layers": n, "head_dim": 6}), 1, "float32", 1,
                  8).needs.total.drop(NOTEBOOKS).max() for n in (3, 4)]
    file = rehearse(config, "float32", "cpu", rows=1, tokens=8, memory=sum(needs) / 2)
    record = json.loads(file.read_text())
    assert record["scaled"] == "3 of 6 blocks, each of full width" and config.num_hidden_layers == 6
    assert file.parent == cache.parent / "figures" / "rehearsals"
    assert record["parameters"]["rehearsed"] < record["parameters"]["planned"]


@pytest.mark.parametrize("blocks", [1, 2, 32])
def test_a_rehearsal_without_room_for_one_block_is_refused(cache, blocks):
    with pytest.raises(ValueError, match="one block of LlamaConfig with its embedding needs .* free memory"):
        rehearse(LlamaConfig(**{**LLAMA_2_7B, "num_hidden_layers": blocks}), memory=0.5)
