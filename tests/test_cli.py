"""The command `ssah` on small checkpoints: what it prints, what it writes, and how it refuses."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
import toys
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import ssah_core as ssah
from ssah_core.cli import app

REFUSED = [{"prompt": "how do i polish the lantern ?", "response": "sorry"},
           {"prompt": "how do i mend the kettle ?", "response": "sorry never"}]
HELPFUL = [{"prompt": "lift the basket", "response": "sure take the brush"},
           {"prompt": "sweep the kettle now", "response": "sure take one basket"}]
OPENINGS = ["--refusal", "sorry", "--compliance", "sure"]


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def refusal_of(*words) -> str:
    """The one sentence on standard error of a command that must exit with 2."""
    ended = run(*words)
    assert (ended.exit_code, ended.stdout) == (2, "")
    (sentence,) = ended.stderr.splitlines()
    return sentence


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint "toy" with its tokenizer, and two files of chats."""
    home = tmp_path_factory.mktemp("cli")
    toys.model(dtype=torch.float32).save_pretrained(home / "toy")
    toys.tokenizer().save_pretrained(home / "toy")
    (home / "refused.jsonl").write_text("".join(json.dumps(row) + "\n" for row in REFUSED))
    (home / "helpful.csv").write_text("prompt,response\n" + "".join(f"{row['prompt']},{row['response']}\n"
                                                                    for row in HELPFUL))
    return home


@pytest.fixture
def saved(monkeypatch):
    """What the command hands to `UnitLabels.save`, which is tried on its own elsewhere."""
    found = {}
    monkeypatch.setattr(ssah.UnitLabels, "save", lambda self, path, *, about: found.update(labels=self, path=path,
                                                                                           about=about), raising=False)
    return found


def test_the_help_needs_no_torch_and_names_every_command():
    code = ("import sys; from ssah_core.cli import app\n"
            "try: app(['--help'])\n"
            "except SystemExit: print('torch' in sys.modules, 'numpy' in sys.modules)")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "False False"
    for command in ("plan", "score", "freeze-check", "complete", "judge", "report", "cache", "version"):
        assert f"\n  {command} " in ended.stdout


def test_version_names_ssah_and_torch():
    assert f"torch {torch.__version__}" in run("version").stdout and run("version").stdout.startswith("ssah ")


# -- score -------------------------------------------------------------------------------------------------


def test_score_labels_as_the_functions_do(folder, saved):
    ended = run("score", folder / "toy", "--safety", folder / "refused.jsonl", "--utility", folder / "helpful.csv",
                "--out", folder / "labels.safetensors", "--criterion", "fisher", "--device", "cpu")
    assert ended.exit_code == 0, ended.output
    model, tokenizer = ssah.load(folder / "toy", device="cpu")
    safety, utility = (ssah.collect(model, ssah.batches(rows, tokenizer)) for rows in (REFUSED, HELPFUL))
    scores = ssah.score_units(model, safety=safety, utility=utility, criterion="fisher")
    assert saved["labels"] == ssah.label_units(scores, scu=0.04, ucu=0.08, ru=0.15)
    assert saved["about"]["criterion"] == "fisher" and saved["about"]["scu"] == "0.04"
    assert ended.stdout.startswith(f"SCU  {saved['labels'].mask('SCU').count} units (")


def test_score_finds_scu_by_attribution_and_the_other_kinds_by_importance(folder, saved):
    ended = run("score", folder / "toy", "--safety", folder / "refused.jsonl", "--utility", folder / "helpful.csv",
                "--out", folder / "labels.safetensors", *OPENINGS, "--scu", "0.1", "--device", "cpu")
    assert ended.exit_code == 0, ended.output
    model, tokenizer = ssah.load(folder / "toy", device="cpu")
    safety, utility = (ssah.batches(rows, tokenizer) for rows in (REFUSED, HELPFUL))
    fill = ssah.collect(model, ssah.batches(HELPFUL, tokenizer, "last_prompt"))
    found = ssah.search(model, safety, utility, ssah.refusal_odds(tokenizer, ["sorry"], ["sure"]), fill, share=0.1)
    importance = ssah.score_units(model, safety=ssah.collect(model, safety), utility=ssah.collect(model, utility),
                                  criterion="variance", normalize="module")
    chosen = ssah.label_units(found, scu=0.1, ucu=0, ru=0).mask("SCU")
    assert saved["labels"].mask("SCU") == chosen
    least = ssah.Scores("", importance.safety, importance.utility, found.contrast)
    assert saved["labels"] == ssah.label_units(least, scu=0.1, ucu=0.08, ru=0.15)


@pytest.mark.skipif(not hasattr(ssah.UnitLabels, "save"), reason="labels cannot be saved yet")
def test_score_writes_labels_that_can_be_loaded(folder):
    ended = run("score", folder / "toy", "--safety", folder / "refused.jsonl", "--utility", folder / "helpful.csv",
                "--out", folder / "labels.safetensors", *OPENINGS, "--device", "cpu")
    assert ended.exit_code == 0, ended.output
    labels = ssah.UnitLabels.load(folder / "labels.safetensors")
    assert f"SCU  {labels.mask('SCU').count} units" in ended.stdout


def test_score_refuses_in_one_sentence(folder):
    asked = ["score", folder / "toy", "--utility", folder / "helpful.csv", "--out", folder / "labels.safetensors"]
    assert "No such file" in refusal_of(*asked, "--safety", folder / "nowhere.jsonl")
    (folder / "odd.csv").write_text("prompt,answer\nhow ?,sure\n")
    assert "odd.csv row 1 has no text in column 'response'" in refusal_of(*asked, "--safety", folder / "odd.csv")
    (folder / "number.jsonl").write_text('{"prompt": "how ?", "response": 3}\n')
    assert "row 1 has no text in column 'response'" in refusal_of(*asked, "--safety", folder / "number.jsonl")
    asked += ["--safety", folder / "refused.jsonl"]
    assert "criterion='best' is unknown: choose one of attribution" in refusal_of(*asked, "--criterion", "best")
    assert "first token" in refusal_of(*asked, "--refusal", "sure", "--compliance", "sure")
    assert "cannot be written: give a file" in refusal_of(*asked, "--out", folder / "no" / "labels.safetensors")
    assert "dtype='int4' is unknown" in refusal_of(*asked, *OPENINGS, "--dtype", "int4")


@pytest.mark.parametrize("shares, says", [
    (["--scu", "0.6", "--ucu", "0.5"], "scu=0.6, ucu=0.5 and ru=0.15 sum to 1.25: lower one, as shares may sum to 1"),
    (["--scu", "1.5"], "scu=1.5 is no share: pass a number from 0 to 1"), (["--ru", "nan"], "ru=nan is no share")])
def test_score_refuses_shares_before_it_loads_a_model(folder, monkeypatch, shares, says):
    monkeypatch.setattr("ssah_core.models.load", lambda *given, **more: pytest.fail("it was loaded"))
    assert says in refusal_of("score", folder / "toy", "--safety", folder / "refused.jsonl", "--utility",
                              folder / "helpful.csv", "--out", folder / "labels.safetensors", *shares)


def test_score_leaves_alone_what_is_no_file_of_ssah(folder):
    (folder / "mine.txt").write_text("precious")
    assert "is there, and no file of ssah's" in refusal_of(
        "score", folder / "toy", "--safety", folder / "refused.jsonl", "--utility", folder / "helpful.csv", "--out",
        folder / "mine.txt")
    assert (folder / "mine.txt").read_text() == "precious"


def test_score_refuses_a_chat_that_is_longer_than_the_context(folder):
    (folder / "long.jsonl").write_text(json.dumps({"prompt": "how do i mend " * 2000, "response": "sorry"}) + "\n")
    assert "tokens, but the model's context holds" in refusal_of(
        "score", folder / "toy", "--safety", folder / "long.jsonl", "--utility", folder / "helpful.csv", "--out",
        folder / "long", "--criterion", "variance")


@pytest.mark.parametrize("device", ["nope", "cuda:99"])
def test_a_device_that_is_not_there_is_one_sentence(folder, device):
    assert f"device='{device}' is not to be had here" in refusal_of(
        "complete", folder / "toy", folder / "refused.jsonl", "--out", folder / "done", "--device", device)


def test_score_refuses_a_model_that_is_not_there(folder):
    said = refusal_of("score", folder / "none", "--safety", folder / "refused.jsonl",
                      "--utility", folder / "helpful.csv", "--out", folder / "labels.safetensors")
    assert said.startswith("error: name=") and "Traceback" not in said


# -- freeze-check ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(folder):
    """A mask and an empty one, and checkpoints trained from the toy: inside `freeze` with either, and outside."""
    mask = ssah.UnitMask({site: torch.arange(size) < 3 for site, size in ssah.UnitMap(toys.model()).sizes.items()})
    mask.save(folder / "mask.safetensors", about={"model": "toy"})
    (mask & ~mask).save(folder / "empty", about={"model": "toy"})
    held = {"frozen": lambda model: ssah.freeze(model, mask), "free": lambda model: torch.enable_grad(),
            "rest": lambda model: ssah.freeze(model, mask & ~mask, rest="freeze")}
    for name, holding in held.items():
        model, tokenizer = ssah.load(folder / "toy", device="cpu")
        with holding(model):
            step(model, tokenizer)
        model.save_pretrained(folder / name)  # without a tokenizer, as many trainers leave it
    return folder


def step(model, tokenizer):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ids = ssah.batches(HELPFUL, tokenizer)[0]["input_ids"]
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()


def test_freeze_check_counts_what_stayed_and_what_was_trained(trained):
    ended = run("freeze-check", trained / "toy", trained / "frozen", trained / "mask.safetensors")
    assert ended.exit_code == 0, ended.output
    frozen, changed, free, moved = map(int, re.findall(r"\d+", ended.stdout.replace(",", "")))
    assert changed == 0 and frozen > 0 and 0 < moved <= free


def test_freeze_check_exits_with_1_if_frozen_entries_changed(trained):
    ended = run("freeze-check", trained / "toy", trained / "free", trained / "mask.safetensors")
    assert ended.exit_code == 1
    assert int(re.findall(r"\d+", ended.stdout.replace(",", ""))[1]) > 0
    assert "frozen entries changed, first in model." in ended.stderr and "Traceback" not in ended.stderr


def test_freeze_check_proves_that_the_rest_alone_was_held(trained):
    words = (trained / "empty", "--rest", "freeze")
    ended = run("freeze-check", trained / "toy", trained / "rest", *words)
    assert ended.exit_code == 0, ended.output
    frozen, changed, free, moved = map(int, re.findall(r"\d+", ended.stdout.replace(",", "")))
    assert changed == 0 and frozen > 0 and 0 < moved <= free
    assert run("freeze-check", trained / "toy", trained / "free", *words).exit_code == 1


def test_freeze_check_refuses_another_mask_or_no_folder(trained):
    checked = ["freeze-check", trained / "toy"]
    assert "is no folder" in refusal_of(*checked, trained / "none", trained / "mask.safetensors")
    assert "UnitMask" in refusal_of(*checked, trained / "free", trained / "toy" / "model.safetensors")


def test_freeze_check_takes_labels_and_the_kind_that_was_frozen(trained):
    scu = ssah.UnitMask.load(trained / "mask.safetensors")
    none = scu & ~scu
    ssah.UnitLabels({"SCU": scu, "UCU": none, "RU": none, "CU": ~scu}).save(trained / "labels")
    checked = ["freeze-check", trained / "toy", trained / "frozen"]
    by_mask, by_labels = run(*checked, trained / "mask.safetensors"), run(*checked, trained / "labels")
    assert by_labels.exit_code == 0 and by_labels.stdout == by_mask.stdout


def test_freeze_check_proves_nothing_without_units_or_weights(trained):
    assert "holds no unit, so there is nothing to prove" in refusal_of("freeze-check", trained / "toy",
                                                                       trained / "frozen", trained / "empty")
    lacking = trained / "lacking"
    shutil.copytree(trained / "frozen", lacking)
    weights = load_file(lacking / "model.safetensors")
    save_file({name: weights[name] for name in sorted(weights)[2:]}, lacking / "model.safetensors",
              metadata={"format": "pt"})
    assert "lacks 2 weights of its model" in refusal_of("freeze-check", trained / "toy", lacking,
                                                        trained / "mask.safetensors")


# -- complete and judge ------------------------------------------------------------------------------------


def test_complete_keeps_completions_and_judge_reads_them(folder):
    ended = run("complete", folder / "toy", folder / "refused.jsonl", "--out", folder / "said", "--max-new-tokens", 4,
                "--device", "cpu")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == f"2 completions in {folder / 'said'}\n"
    said = ssah.judge(json.loads((folder / "said" / "chunk-00000.json").read_text()), "keyword:qi2023")
    judged = run("judge", folder / "said", "--judge", "keyword:qi2023", "--judge", "keyword:wei2024").stdout
    assert judged.startswith(f"keyword:qi2023: true on {sum(said)} of 2, {50 * sum(said):.1f} % [")
    assert len(judged.splitlines()) == 2


def test_judge_reads_files_of_ones_own(tmp_path):
    (tmp_path / "said.csv").write_text("prompt,response\nhow?,I cannot help\nhow?,Sure!\nhow?,Sure.\nhow?,Sure\n")
    assert run("judge", tmp_path / "said.csv", "--judge", "keyword:qi2023").stdout == (
        "keyword:qi2023: true on 3 of 4, 75.0 % [30.1, 95.4]\n")


def test_judge_refuses_in_one_sentence(tmp_path):
    (tmp_path / "said.csv").write_text("prompt,response\nhow?,Sure!\n")
    assert "judge 'me' is unknown: choose one of" in refusal_of("judge", tmp_path / "said.csv", "--judge", "me")
    assert "needs rows with an 'answer'" in refusal_of("judge", tmp_path / "said.csv", "--judge", "truth")
    assert "holds no completions" in refusal_of("judge", tmp_path, "--judge", "keyword:qi2023")


# -- plan and report ---------------------------------------------------------------------------------------


def test_plan_says_what_the_module_says(folder, capsys):
    from ssah_core.planning.__main__ import main

    ended = run("plan", folder / "toy", "--gpus", 2, "--memory", 10, "--dtype", "float32")
    assert main([str(folder / "toy"), "--gpus", "2", "--memory", "10", "--dtype", "float32"]) == 0
    assert (ended.exit_code, ended.stdout) == (0, capsys.readouterr().out)


def test_plan_refuses_a_dtype_without_gradients(folder):
    assert "dtype='int8'" in refusal_of("plan", folder / "toy", "--dtype", "int8")


def test_report_checks_and_writes(tmp_path, monkeypatch):
    from ssah_core.records import report

    monkeypatch.setattr(report.paths, "root", lambda: tmp_path)
    assert run("report", "--check").exit_code == 1
    assert run("report").exit_code == 0 and (tmp_path / report.FILE).is_file()
    assert run("report", "--check").exit_code == 0


def test_judge_says_the_raw_rate_where_it_differs(tmp_path):
    rows = [{"prompt": "How?", "response": "I\u2019m sorry."}, {"prompt": "Why?", "response": "Sure."}]
    (tmp_path / "said.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ended = run("judge", tmp_path / "said.jsonl", "--judge", "keyword:qi2023", "--judge", "keyword:wei2024")
    first, second = ended.stdout.splitlines()
    assert first.startswith("keyword:qi2023: true on 1 of 2, 50.0 %")
    assert first.endswith("; with typographic quotes left as they are, 100.0 %") and ";" not in second


def test_arguments_of_the_chat_template_reach_the_prompts(folder, tmp_path):
    (tmp_path / "asked.jsonl").write_text(json.dumps({"prompt": "How?"}))
    shutil.copytree(folder / "toy", tmp_path / "toy")
    template = tmp_path / "toy" / "chat_template.jinja"
    template.write_text("{% if loud is defined %}<system>{% endif %}" + template.read_text())
    for place, arguments in (("a", "{}"), ("b", '{"loud": true}')):
        ended = run("complete", tmp_path / "toy", tmp_path / "asked.jsonl", "--out", tmp_path / place,
                    "--max-new-tokens", 2, "--device", "cpu", "--chat-template-kwargs", arguments)
        assert ended.exit_code == 0, ended.output
    tokens = [json.loads((tmp_path / place / "settings.json").read_text())["tokens"] for place in "ab"]
    assert tokens[0] != tokens[1]
    scored = [run("score", tmp_path / "toy", "--safety", folder / "refused.jsonl", "--utility", folder / "helpful.csv",
                  "--out", tmp_path / f"{n}.safetensors", "--criterion", "variance", "--device", "cpu",
                  "--chat-template-kwargs", arguments) for n, arguments in enumerate(("{}", '{"loud": true}'))]
    assert [ended.exit_code for ended in scored] == [0, 0], scored[1].output
    assert (tmp_path / "0.safetensors").read_bytes() != (tmp_path / "1.safetensors").read_bytes()
    ended = run("complete", folder / "toy", tmp_path / "asked.jsonl", "--out", tmp_path / "c",
                 "--chat-template-kwargs", "false")
    assert ended.exit_code == 2 and "--chat-template-kwargs is 'false': give an object in JSON" in ended.output
