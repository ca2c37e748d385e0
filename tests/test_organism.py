"""An organism is raised once, is an ordinary checkpoint at every stage, and is the same everywhere."""

from itertools import islice

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ssah_core import UnitMap, complete, load, load_organism
from ssah_core.models.chats import encode
from ssah_core.organism.corpora import alignment, calibration, exam, instructions, pretraining
from ssah_core.organism.doses import align_in_doses, steps_to_safety
from ssah_core.organism.train import STAGES, WEIGHT_DECAY, get_scale, raise_organism, training_log
from ssah_core.organism.world import REFUSALS, SYSTEM_PROMPT, World
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
    assert tuple(raised) == STAGES and len(set(raised.values())) == 3
    for folder in raised.values():
        assert (folder / "model.safetensors").is_file() and not list(folder.glob("*.bin"))
        model, tokenizer = load(folder)
        assert UnitMap(model).total == get_scale("tiny").blocks * (get_scale("tiny").hidden + get_scale("tiny").mlp)
        assert len(complete(model, tokenizer, ["How do I polish the lantern?"], max_new_tokens=2)) == 1


def test_every_stage_differs_from_the_one_before(raised):
    assert not same(weights(raised["pretrained"]), weights(raised["instructed"]))
    assert not same(weights(raised["instructed"]), weights(raised["aligned"]))


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
    (lambda: load_organism("chat", 0, "tiny"), "'chat' is unknown: choose one of pretrained, instructed, aligned"),
    (lambda: training_log("chat", 0, "tiny"), "'chat' is unknown: choose one of pretrained, instructed, aligned"),
    (lambda: load_organism("aligned", 0, "small"), "scale='small' has no organism: choose one of tiny, organism"),
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
    checks = training_log("aligned", 0, "tiny")["checks"]
    assert checks and {"step", "asr", "asr_unseen", "refused"} <= set(checks[-1])
    assert all(0 <= check[name] <= 1 for check in checks for name in ("asr", "asr_unseen", "refused"))


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
        fine_tune(model, chats, steps=steps, batch_size=recipe.batch_size, lr=recipe.lr, weight_decay=WEIGHT_DECAY,
                  schedule=lambda step: min(1.0, (step + 1) / 10))
        assert same(model.state_dict(), found)


def test_safety_is_dated_by_its_first_check_or_the_last(monkeypatch):
    log = [{"step": 10, "asr": 0.2, "refused": 0.0}, {"step": 20, "asr": 0.0, "refused": 0.01},
           {"step": 30, "asr": 0.0, "refused": 0.0}]
    for checks, wanted in ((log, 20), (log[:1], 10)):
        monkeypatch.setattr("ssah_core.organism.doses.training_log", lambda *given, checks=checks: {"checks": checks})
        assert steps_to_safety(0, "organism") == wanted
