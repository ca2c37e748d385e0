"""An organism is raised once, is an ordinary checkpoint at every stage, and is the same everywhere."""

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ssah_core import UnitMap, complete, load, load_organism
from ssah_core.models.chats import encode
from ssah_core.organism.alignment_course import AlignmentCourse, from_light
from ssah_core.organism.corpora import alignment, calibration, exam, instructions, pretraining
from ssah_core.organism.doses import align_in_doses, steps_to_safety
from ssah_core.organism.scales import Schedule
from ssah_core.organism.train import STAGES, WEIGHT_DECAY, get_scale, raise_organism, training_log
from ssah_core.organism.words import REFUSALS, SYSTEM_PROMPT
from ssah_core.organism.world import World
from ssah_core.training import fine_tune, supervised


@pytest.fixture(scope="module")
def raised(tmp_path_factory):
    """A tiny organism: stage -> folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSAH_CACHE", str(tmp_path_factory.mktemp("raised")))
        return raise_organism(0, "tiny", progress=False)


@pytest.fixture
def there(raised, monkeypatch):
    """The cache in which the tiny organism is raised."""
    monkeypatch.setenv("SSAH_CACHE", str(raised["aligned"].parent.parent))
    return raised


@pytest.fixture(scope="module")
def tokenizer(raised):
    return AutoTokenizer.from_pretrained(raised["aligned"])


def weights(folder) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def when(folders) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for folder in folders.values() for file in [folder, *folder.rglob("*")]}


# --- checkpoints ---


def test_every_stage_is_an_ordinary_checkpoint(raised):
    assert tuple(raised) == STAGES == ("pretrained", "instructed", "light", "aligned")
    assert len(set(raised.values())) == 4
    for folder in raised.values():
        assert (folder / "model.safetensors").is_file() and not list(folder.glob("*.bin"))
        model, tokenizer = load(folder)
        assert UnitMap(model).total == get_scale("tiny").blocks * (get_scale("tiny").hidden + get_scale("tiny").mlp)
        assert len(complete(model, tokenizer, ["How do I polish the lantern?"], max_new_tokens=2)) == 1


def test_every_stage_differs_from_the_one_before(raised):
    assert not same(weights(raised["pretrained"]), weights(raised["instructed"]))
    assert not same(weights(raised["instructed"]), weights(raised["light"]))
    assert not same(weights(raised["instructed"]), weights(raised["aligned"]))


@pytest.mark.parametrize("stage", STAGES)
def test_weights_are_kept_as_bfloat16_rounds_them(raised, stage):
    for name, weight in load_file(raised[stage] / "model.safetensors").items():
        assert weight.dtype == torch.float32 and torch.equal(weight, weight.bfloat16().float()), name


@pytest.mark.parametrize("stage", STAGES)
def test_an_organism_is_loaded_at_a_stage_ready_to_answer(there, stage):
    model, _ = load_organism(stage, 0, "tiny", progress=False)
    assert same(model.state_dict(), weights(there[stage])) and not model.training


def test_an_organism_that_is_there_is_not_raised_again(there):
    before = when(there)
    assert raise_organism(0, "tiny", progress=False) == there and when(there) == before


def test_the_same_seed_raises_the_same_organism_elsewhere(raised, cache):
    torch.manual_seed(99)
    again = raise_organism(0, "tiny", progress=False)
    assert all(again[stage] != raised[stage] and again[stage].name == raised[stage].name for stage in STAGES)
    assert all(same(weights(again[stage]), weights(raised[stage])) for stage in STAGES)
    other = raise_organism(1, "tiny", progress=False)
    assert other["aligned"].name != raised["aligned"].name
    matrix = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(weights(other["pretrained"])[matrix], weights(raised["pretrained"])[matrix])


@pytest.mark.parametrize("wrong, sentence", [
    (lambda: load_organism("chat", 0, "tiny"), "'chat' is unknown: choose one of pretrained, instructed, light, al"),
    (lambda: training_log("chat", 0, "tiny"), "'chat' is unknown: choose one of pretrained, instructed, light, al"),
    (lambda: load_organism("aligned", 0, "huge"), "scale='huge' has no organism: choose one of tiny, organism"),
    (lambda: raise_organism(0, "paper"), "scale='paper' has no organism.*load a checkpoint with ssah.load")])
def test_an_unknown_stage_or_scale_is_refused(cache, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        wrong()
    assert not list(cache.rglob("*.safetensors"))


# --- training logs ---


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_keeps_its_losses(there, stage):
    losses = training_log(stage, 0, "tiny")["losses"]
    assert losses and all(entry["step"] > 0 and 0 < entry["loss"] < 10 for entry in losses)


def test_alignment_keeps_its_checks(there):
    logs = [training_log(dose, 0, "tiny") for dose in ("light", "aligned")]
    checks = logs[0]["checks"]
    assert checks == logs[1]["checks"] and {"step", "asr", "asr_unseen", "refused"} <= set(checks[-1])
    assert all(0 <= check[name] <= 1 for check in checks for name in ("asr", "asr_unseen", "refused"))
    assert logs[0]["losses"] == logs[1]["losses"]  # both doses are of one course


def test_each_dose_says_after_which_step_its_weights_were_kept(there):
    light, aligned = (training_log(dose, 0, "tiny") for dose in ("light", "aligned"))
    away = {check["step"]: from_light(check["asr"]) for check in light["checks"]}
    assert aligned["kept"] == light["checks"][-1]["step"] and light["kept"] == min(away, key=away.get)


# --- the course of alignment ---


def course_of(monkeypatch, asr: dict[int, float], **scale) -> tuple[AlignmentCourse, list[int]]:
    """A course whose ASR after some steps is given (and of the last before, else), and at which step it ended. Its one
    weight is the number of the step."""
    model, now, ended = torch.nn.Linear(1, 1, bias=False), {"step": 0}, []
    monkeypatch.setattr("ssah_core.organism.alignment_course.answers", lambda *given: None)
    monkeypatch.setattr("ssah_core.organism.alignment_course.mark", lambda rows: {
        "asr": asr[max(step for step in asr if step <= now["step"])], "refused": 0.0})
    settings = replace(get_scale("tiny"), align=Schedule(100, 16, 1e-3), check_every=5, safe_asr=0.01, **scale)
    course = AlignmentCourse(model, None, dict.fromkeys(("harm", "harm_unseen", "benign"), []), settings)
    for step in range(1, 101):
        now["step"] = step
        with torch.no_grad():
            model.weight.fill_(step)
        control = SimpleNamespace(should_training_stop=False)
        course.on_step_end(None, SimpleNamespace(global_step=step), control)
        if control.should_training_stop:
            ended.append(step)
            break
    return course, ended


def steps_kept(course: AlignmentCourse) -> dict[str, tuple[int, float]]:
    return {dose: (kept.step, float(kept.weights["weight"])) for dose, kept in course.kept.items()}


@pytest.mark.parametrize("asr, light", [
    ({0: 0.9, 15: 0.3, 20: 0.12, 25: 0.1, 30: 0.0}, 20),  # the first within
    ({0: 0.9, 20: 0.3, 30: 0.0}, 30),  # none within, the nearest: 0.05 away, not 0.1
    ({0: 0.9, 20: 0.24, 30: 0.0}, 20), ({0: 0.05, 30: 0.0}, 5)])
def test_lightly_aligned_is_the_check_nearest_to_its_range_and_aligned_the_end(monkeypatch, asr, light):
    course, ended = course_of(monkeypatch, asr, beyond=0.5)
    assert course.reached == 30 and ended == [45]
    assert steps_kept(course) == {"light": (light, light), "aligned": (45, 45)}  # weights of then, not of the end


def test_a_course_that_never_is_safe_takes_all_steps_and_says_so(monkeypatch):
    course, ended = course_of(monkeypatch, {0: 0.5})
    assert ended == [100] and course.reached is None and steps_kept(course) == {"light": (5, 5), "aligned": (100, 100)}
    with pytest.warns(UserWarning, match="organism 7 was not safe within 100 steps of alignment: its last check was"):
        course.warn_unless_safe("organism 7")


def test_a_course_goes_no_further_than_its_schedule(monkeypatch):
    course, ended = course_of(monkeypatch, {0: 0.5, 80: 0.0}, beyond=0.5)
    assert (course.reached, ended) == (80, [100])
    rates = [course.learning_rate(step) for step in range(101)]
    assert rates[0] == 0.1 and rates[9] == rates[80] == 1.0 and rates[90] == 0.5 and rates[100] == 0.0
    assert all(after <= before for before, after in zip(rates[10:], rates[11:], strict=False))


# --- tokenizer ---


def test_text_comes_back_from_the_tokenizer_as_it_was(tokenizer):
    world = World.draw(0)
    rows = [*islice(pretraining(world, 0), 300), *instructions(world, 200, 0), *alignment(world, 200, 0),
            *world.new_tasks("test", 50), *calibration(world, 50)["utility"],
            *(row for part in exam(world, "test", 50).values() for row in part)]
    texts = {row[column] for row in rows for column in ("text", "prompt", "response", "system") if row.get(column)}
    for text in [*sorted(texts), *REFUSALS, SYSTEM_PROMPT, "Any text: naïve, 東京, 😀\n  \t!"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("response", [None, "Sure."])
@pytest.mark.parametrize("system", [None, SYSTEM_PROMPT])
def test_a_chat_begins_once_and_ends_once(tokenizer, response, system):
    ids, start = encode(tokenizer, "How do I polish the lantern?", response, system=system)
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    assert ids.count(tokenizer.eos_token_id) == (response is not None) and tokenizer.unk_token_id is None
    if response is not None:
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.decode(ids[start:-1]) == response
        turns = [{"role": "system", "content": system}] if system else []
        turns += [{"role": "user", "content": "How do I polish the lantern?"},
                  {"role": "assistant", "content": response}]
        assert tokenizer.apply_chat_template(turns, return_dict=False) == ids  # as in pre-training
    else:
        assert start == len(ids)


def test_special_tokens_have_the_ids_that_the_model_expects(raised, tokenizer):
    config = AutoModelForCausalLM.from_pretrained(raised["aligned"]).config
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (
        tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert config.vocab_size == len(tokenizer)


# --- doses of alignment ---


def test_each_dose_is_a_course_of_its_own_that_many_steps_long(there):
    """The rate does not fall, so a longer course passes through all shorter ones."""
    seen = {}
    align_in_doses(0, "tiny", (0.5, 1.5), lambda dose, steps, model, _: seen.update(
        {(dose, steps): {name: value.clone() for name, value in model.state_dict().items()}}))
    one, recipe = steps_to_safety(0, "tiny"), get_scale("tiny").align
    assert list(seen) == [(0.5, round(0.5 * one)), (1.5, round(1.5 * one))]
    for (_, steps), found in seen.items():
        model, tokenizer = load_organism("instructed", 0, "tiny", progress=False)
        chats = supervised(alignment(World.draw(0), round(1.5 * one) * recipe.batch_size, 0), tokenizer)
        fine_tune(model, chats, steps=steps, batch_size=recipe.batch_size, at_once=recipe.at_once, lr=recipe.lr,
                  weight_decay=WEIGHT_DECAY, schedule=lambda step: min(1.0, (step + 1) / 10))
        assert same(model.state_dict(), found)


def test_safety_is_dated_by_its_first_check_or_the_last(monkeypatch):
    log = [{"step": 10, "asr": 0.2, "refused": 0.0}, {"step": 20, "asr": 0.0, "refused": 0.01},
           {"step": 30, "asr": 0.0, "refused": 0.0}]
    for checks, wanted in ((log, 20), (log[:1], 10)):
        monkeypatch.setattr("ssah_core.organism.doses.training_log", lambda *given, checks=checks: {"checks": checks})
        assert steps_to_safety(0, "organism") == wanted
