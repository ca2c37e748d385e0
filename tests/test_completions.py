"""Stored completions: what a killed run has not lost, what no two runs can mix, and refusals as calibration."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import toys
from transformers import LogitsProcessor

from ssah_core import UnitMap, ablate, complete, complete_to, judge
from ssah_core.generation import completions as module
from ssah_core.generation.completions import load_completions
from ssah_core.judging.judges import own_refusals
from ssah_core.units.masks import UnitMask

TOKENIZER = toys.tokenizer()
PROMPTS = [" ".join(toys.WORDS[n:n + 2 + n % 4]) for n in range(11)]


@pytest.fixture(scope="module")
def model():
    return toys.model(dtype=torch.float32)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "runs" / "aligned"


def chunks(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("chunk-*.json"))


@pytest.mark.parametrize("chunk", [1, 3, 11, 64])
def test_rows_are_those_of_complete_in_their_order(model, folder, chunk):
    rows = [{"prompt": prompt, "kind": n % 2} for n, prompt in enumerate(PROMPTS)]
    rows[4]["response"] = "never"
    done = complete_to(folder, model, TOKENIZER, rows, chunk=chunk, max_new_tokens=4, batch_size=2)
    assert done.to_list() == complete(model, TOKENIZER, rows, max_new_tokens=4).to_list()
    assert load_completions(folder).to_list() == done.to_list() and len(chunks(folder)) == -(-11 // chunk)


def test_what_is_there_is_not_said_again(model, folder, monkeypatch):
    done = complete_to(folder, model, TOKENIZER, PROMPTS, chunk=4, max_new_tokens=4)
    monkeypatch.setattr(module, "complete", None)
    assert complete_to(folder, model, TOKENIZER, PROMPTS, chunk=4, max_new_tokens=4).to_list() == done.to_list()
    again = complete_to(folder, model, TOKENIZER, PROMPTS, chunk=4, max_new_tokens=4, batch_size=3)
    assert again.to_list() == done.to_list()  # how many are answered at a time may change


def test_judges_read_what_is_stored(model, folder):
    done = complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=4)
    for name in ("keyword:qi2023", "keyword:wei2024", lambda row: "sorry" in row["response"]):
        assert judge(load_completions(folder), name) == judge(done, name)


# -- damaged files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [lambda text: text[:len(text) // 2], lambda text: text.replace(b"r", b"s", 1),
                                    lambda text: b""])
@pytest.mark.parametrize("name", ["chunk-00001.json", ".chunk-00001.json.sha256", "settings.json"])
def test_a_damaged_file_is_named_and_made_anew_and_no_other(model, folder, name, damage, monkeypatch):
    whole = complete_to(folder, model, TOKENIZER, PROMPTS, chunk=4, max_new_tokens=4)
    before, asked = held(folder), []
    changed = damage(before[name]) if b"r" in before[name] or len(before[name]) != 64 else b"0" + before[name][2:]
    (folder / name).write_bytes(changed)
    monkeypatch.setattr(module, "complete", lambda model, tokenizer, rows, **settings: (
        asked.extend(row["prompt"] for row in rows), complete(model, tokenizer, rows, **settings))[1])
    told = "settings.json is damaged" if name == "settings.json" else "chunk-00001.json is damaged"
    with pytest.raises(ValueError):
        load_completions(folder)
    with pytest.warns(UserWarning, match=told):
        again = complete_to(folder, model, TOKENIZER, PROMPTS, chunk=4, max_new_tokens=4)
    assert again.to_list() == whole.to_list() and held(folder) == before
    assert asked == ([] if name == "settings.json" else PROMPTS[4:8])


def test_completions_without_seals_are_taken_as_they_are(model, folder):
    whole = complete_to(folder, model, TOKENIZER, PROMPTS, chunk=4, max_new_tokens=4)
    for file in folder.glob(".*.sha256"):
        file.unlink()
    assert load_completions(folder).to_list() == whole.to_list()


# -- killed runs -------------------------------------------------------------------------------------------

RUN = """
import sys, time
sys.path[:0] = {path!r}
import torch, toys, ssah_core
model = toys.model(dtype=torch.float32)
generate, calls = model.generate, []
def stuck(**inputs):  # in the middle of the third chunk
    calls.append(inputs)
    return generate(**inputs) if len(calls) < 3 else time.sleep(3600)
model.generate = stuck
ssah_core.complete_to({folder!r}, model, toys.tokenizer(), {prompts!r}, chunk=2, max_new_tokens=4)
"""


def test_a_killed_run_goes_on_where_it_stopped(model, folder, monkeypatch):
    code = RUN.format(path=[str(Path(toys.__file__).parent), str(Path(module.__file__).parents[1])], folder=str(folder),
                      prompts=PROMPTS)
    run = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        while run.poll() is None and len(chunks(folder)) < 2:
            time.sleep(0.02)
        assert run.poll() is None, "the run ended by itself"
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    there = {name: (folder / name).read_bytes() for name in chunks(folder)}
    assert len(there) == 2
    with pytest.raises(ValueError, match="holds 2 of 6 chunks: run ssah.complete_to again"):
        load_completions(folder)
    (folder / f".chunk-00005.json.{32 * 'a'}").write_text('[{"prompt": "how", "resp')  # as a kill leaves it
    asked = []
    monkeypatch.setattr(module, "complete", lambda model, tokenizer, rows, **settings: (
        asked.extend(row["prompt"] for row in rows), complete(model, tokenizer, rows, **settings))[1])
    done = complete_to(folder, model, TOKENIZER, PROMPTS, chunk=2, max_new_tokens=4)
    whole = complete(model, TOKENIZER, PROMPTS, max_new_tokens=4)
    assert asked == PROMPTS[4:] and done.to_list() == whole.to_list()
    assert {name: (folder / name).read_bytes() for name in there} == there
    names = sorted(file.name for file in folder.iterdir())
    assert names == [*(f".chunk-0000{n}.json.sha256" for n in range(6)), *(f"chunk-0000{n}.json" for n in range(6)),
                     "settings.json"]


def test_an_interrupted_run_samples_what_an_uninterrupted_one_does(model, folder, tmp_path, monkeypatch):
    settings = dict(chunk=2, max_new_tokens=4, do_sample=True, temperature=3.0)
    whole = complete_to(tmp_path / "whole", model, TOKENIZER, PROMPTS, **settings)

    def third_fails(*args, **more):
        if len(chunks(folder)) == 2:
            raise RuntimeError("out of memory")
        return complete(*args, **more)
    monkeypatch.setattr(module, "complete", third_fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        complete_to(folder, model, TOKENIZER, PROMPTS, **settings)
    assert len(chunks(folder)) == 2
    monkeypatch.undo()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert complete_to(folder, model, TOKENIZER, PROMPTS, **settings).to_list() == whole.to_list()
    assert torch.equal(torch.random.get_rng_state(), before)
    other = complete_to(tmp_path / "other", model, TOKENIZER, PROMPTS, seed=100, **settings)
    assert list(other["response"]) != list(whole["response"])


def test_a_run_killed_before_its_first_row_begins_anew(model, folder):
    folder.mkdir(parents=True)
    (folder / ".settings.json.0123456789abcdef0123456789abcdef").write_text("{")
    assert len(complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=2)) == 11


def test_a_damaged_chunk_is_named(model, folder):
    complete_to(folder, model, TOKENIZER, PROMPTS, chunk=4, max_new_tokens=2)
    (folder / "chunk-00001.json").write_text('[{"prompt": "how')
    with pytest.raises(ValueError, match="chunk-00001.json is damaged: run ssah.complete_to again, which answers"):
        load_completions(folder)


def test_rows_that_are_not_those_of_the_prompts_are_found(model, folder):
    complete_to(folder, model, TOKENIZER, PROMPTS, chunk=4, max_new_tokens=2)
    (folder / ".chunk-00000.json.sha256").unlink()  # as earlier code left it
    for rows in ([], json.loads((folder / "chunk-00001.json").read_text())):
        (folder / "chunk-00000.json").write_text(json.dumps(rows))
        with pytest.raises(ValueError, match="rows that are not those of its 11 prompts: delete it and run again"):
            load_completions(folder)


# -- nothing is mixed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("change, named", [
    ({"prompts": PROMPTS[:-1]}, "n: 11 there, 10 here"), ({"prompts": PROMPTS[::-1]}, "questions: "),
    ({"prompts": [{"prompt": prompt, "kind": 1} for prompt in PROMPTS]}, "rows: "),
    ({"max_new_tokens": 3}, r"settings: \{'max_new_tokens': 2\} there, \{'max_new_tokens': 3\} here"),
    ({"prefill": "sure"}, "settings: "), ({"system": "be kind"}, "tokens: .*settings: "),
    ({"seed": 1}, "seed: 0 there, 1 here"), ({"chunk": 5}, "chunk: 64 there, 5 here"),
    ({"arm": "thawed"}, "arm:  there, thawed here"),
    ({"model": "nudged"}, "model: "), ({"tokenizer": "retold"}, "tokens: ")])
def test_completions_of_something_else_are_refused(model, folder, change, named):
    given = {"prompts": PROMPTS, "max_new_tokens": 2, "model": model, "tokenizer": TOKENIZER}
    done = complete_to(folder, **given).to_list()
    if "model" in change:  # one bit of one weight
        nudged = toys.model(dtype=torch.float32)
        nudged.lm_head.weight.data.view(torch.int32)[3, 5] ^= 1
        change = {"model": nudged}
    if "tokenizer" in change:
        retold = toys.tokenizer()
        retold.chat_template = retold.chat_template.replace("<assistant>", "<system>")
        change = {"tokenizer": retold}
    with pytest.raises(ValueError, match=rf"holds other completions \(.*{named}.*give another folder, or delete this"):
        complete_to(folder, **{**given, **change})
    assert load_completions(folder).to_list() == done


def test_what_no_key_can_tell_needs_a_name(model, folder):
    units = UnitMap(model)
    mask = UnitMask({site: torch.ones(size, dtype=torch.bool) for site, size in units.sizes.items()})
    plain = complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=4)
    with ablate(model, mask):
        with pytest.raises(ValueError, match="arm is empty, but no key can tell what hooks on the model do: name it"):
            complete_to(folder.with_name("removed"), model, TOKENIZER, PROMPTS, max_new_tokens=4)
        removed = complete_to(folder.with_name("removed"), model, TOKENIZER, PROMPTS, max_new_tokens=4,
                              arm="all removed")
        with pytest.raises(ValueError, match="holds other completions .*arm:  there, all removed here"):
            complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=4, arm="all removed")
    assert list(removed["response"]) != list(plain["response"])


class Always(LogitsProcessor):
    def __call__(self, input_ids, scores):
        sorry = torch.tensor(toys.ids("sorry")[0])
        return torch.nn.functional.one_hot(sorry, scores.shape[1]).to(scores).expand_as(scores)


def test_a_setting_that_is_not_plain_needs_a_name(model, folder):
    settings = dict(max_new_tokens=2, logits_processor=[Always()])
    with pytest.raises(ValueError, match="no key can tell what logits_processor do: name it"):
        complete_to(folder, model, TOKENIZER, PROMPTS, **settings)
    assert set(complete_to(folder, model, TOKENIZER, PROMPTS, arm="always", **settings)["response"]) == {"sorry sorry"}


def test_folders_and_prompts_that_cannot_be_are_refused(model, folder):
    with pytest.raises(ValueError, match="holds no completions: give one that ssah.complete_to has filled"):
        load_completions(folder)
    with pytest.raises(ValueError, match="chunk=0 is no whole number"):
        complete_to(folder, model, TOKENIZER, PROMPTS, chunk=0)
    with pytest.raises(ValueError, match="prompts hold what is not plain JSON"):
        complete_to(folder, model, TOKENIZER, [{"prompt": "how", "kind": {1, 2}}])
    with pytest.raises(ValueError, match="prompts is one string"):
        complete_to(folder, model, TOKENIZER, "how ?")
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="has other files in it: give an empty or new folder"):
        complete_to(folder, model, TOKENIZER, PROMPTS)
    assert (folder / "notes.txt").read_text() == "mine"


HIDDEN = (".gitignore", ".env", ".settings.json", ".chunk-00000.json.bak", ".settings.json.0123abcd")


def hide(folder: Path) -> dict[str, bytes]:
    """Put files of somebody else's into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in HIDDEN:
        (folder / name).write_text(f"precious {name}")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "settings-checkpoint.json").write_text("{}")
    return held(folder)


def held(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("foreign", ["notes.txt", "settings.json", "chunk-00000.json"])
def test_a_refused_folder_keeps_every_byte(model, folder, foreign):
    hide(folder)
    (folder / foreign).write_text('{"editor.fontSize": 12}')
    (folder / f".settings.json.{32 * 'a'}").write_text("whose?")
    before = held(folder)
    with pytest.raises(ValueError, match="has other files in it: give an empty or new folder"):
        complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=2)
    assert held(folder) == before


def test_completions_of_something_else_keep_what_their_run_left_unfinished(model, folder):
    complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=2)
    (folder / f".chunk-00000.json.{32 * 'a'}").write_text("[")
    before = held(folder)
    with pytest.raises(ValueError, match="holds other completions"):
        complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=3)
    assert held(folder) == before


def test_hidden_files_of_somebody_else_stay(model, folder):
    before = hide(folder)
    for _ in range(2):
        complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=2)
        assert {name: held(folder)[name] for name in before} == before
    assert set(held(folder)) == {*before, "settings.json", "chunk-00000.json", ".chunk-00000.json.sha256"}


def test_what_is_removed_is_what_a_killed_run_is_about_to_write(model, folder, monkeypatch):
    names = []
    monkeypatch.setattr("ssah_core.records.cache.os.replace", lambda partial, path: (
        names.append(Path(partial).name), Path(partial).rename(path))[1])
    complete_to(folder, model, TOKENIZER, PROMPTS, chunk=6, max_new_tokens=2)
    assert len(names) == 5 and all(module.PARTIAL.fullmatch(name) for name in names)
    for name in names:
        (folder / name).write_text("[")
    complete_to(folder, model, TOKENIZER, PROMPTS, chunk=6, max_new_tokens=2)
    assert set(held(folder)) == {"settings.json", *(name for n in range(2) for name in (
        f"chunk-0000{n}.json", f".chunk-0000{n}.json.sha256"))}


def test_a_folder_below_the_home_folder_is_found(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    done = complete_to("~/runs/x", model, TOKENIZER, PROMPTS, max_new_tokens=2)
    assert (tmp_path / "runs" / "x" / "settings.json").is_file()
    assert load_completions("~/runs/x").to_list() == done.to_list()


def test_a_file_is_no_folder(model, tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(ValueError, match="is a file: give an empty or new folder"):
        complete_to(tmp_path / "x", model, TOKENIZER, PROMPTS, max_new_tokens=2)
    assert (tmp_path / "x").read_text() == "mine"


def test_answers_of_another_version_are_others(model, folder, monkeypatch):
    complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=2)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    with pytest.raises(ValueError, match=r"holds other completions \(version: \d+ there, \d+ here\)"):
        complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=2)


# -- a model's own refusals --------------------------------------------------------------------------------

SAID = ["I'm sorry, no.", "Sure, take wax.", "", "I cannot do this.", "That is illegal.", "  "]
ROWS = [{"prompt": f"how {n}", "response": response} for n, response in enumerate(SAID)]


def test_own_refusals_are_the_rows_that_a_judge_calls_refused():
    assert own_refusals(ROWS).to_list() == [ROWS[0], ROWS[3], ROWS[4]]
    assert own_refusals(ROWS, name="keyword:wei2024").to_list() == [ROWS[0], ROWS[1], ROWS[3], ROWS[4]]  # short
    drawn = [list(own_refusals(ROWS, n=2, seed=seed)["prompt"]) for seed in range(8)]
    assert list(own_refusals(ROWS, n=2, seed=0)["prompt"]) == drawn[0] and len({tuple(two) for two in drawn}) > 1
    assert all(len(set(two)) == 2 and set(two) < {"how 0", "how 3", "how 4"} for two in drawn)


def test_a_model_that_refuses_too_little_is_named():
    with pytest.raises(ValueError, match="the model refused in 3 of 6 rows, but 4 are needed: ask more prompts"):
        own_refusals(ROWS, n=4)
    with pytest.raises(ValueError, match="the model refused in 0 of 1 rows, but some are needed"):
        own_refusals(ROWS[1:2])


@pytest.mark.parametrize("change", ["config", "adapter"])
def test_another_config_or_adapter_is_another_model(folder, change):
    model = toys.model(dtype=torch.float32)
    if change == "adapter":
        peft = pytest.importorskip("peft", reason="the package peft is not installed")
        model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"],
                                                           init_lora_weights=False))
    complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=4)
    if change == "config":
        model.config.rms_norm_eps = 2.0
    with pytest.raises(ValueError, match=r"holds other completions \(config: "):
        with model.disable_adapter() if change == "adapter" else nullcontext():
            complete_to(folder, model, TOKENIZER, PROMPTS, max_new_tokens=4)


def test_the_folder_one_is_in_may_be_the_one(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = complete_to(".", model, TOKENIZER, PROMPTS[:2], max_new_tokens=2)
    assert load_completions(".").to_list() == done.to_list() and (tmp_path / "settings.json").is_file()
