"""Two processes over gloo find and train what one does; and models spread by a device map are scored as if whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import by_hand
import pytest
import sharded
import torch
import toys
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from ssah_core import Moments, ablate, check_frozen, collect, complete, freeze, label_units, score_units
from ssah_core.freezing.sharded import collect_sharded, merge_moments, shard
from ssah_core.models.load import load_placed
from ssah_core.units.score_in_blocks import score_in_blocks

TESTS = Path(__file__).parent
FAMILY = pytest.mark.parametrize("family", sharded.FAMILIES)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder in which two ranks left what they found."""
    folder = tmp_path_factory.mktemp("two")
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
                           str(TESTS / "two_ranks.py"), str(folder)], capture_output=True, text=True, timeout=1800,
                          env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def reports(two: Path) -> dict:
    return json.loads((two / "reports.json").read_text())


def moments_of_one(family: str) -> dict[str, Moments]:
    model = toys.model(family)
    return {part: collect(model, batches) for part, batches in sharded.BATCHES.items()}


@FAMILY
def test_moments_of_two_ranks_are_those_of_one_process(two, family):
    counts = json.loads((two / f"{family}-counts.json").read_text())
    for part, wanted in moments_of_one(family).items():
        assert counts[part] == wanted.count
        for name in ("mean", "squares"):
            found = load_file(two / f"{family}-{part}-{name}.safetensors")
            for site, value in getattr(wanted, name).items():
                torch.testing.assert_close(found[site], value, rtol=1e-12, atol=1e-12)


@FAMILY
def test_scores_and_labels_of_two_ranks_are_those_of_one_process(two, family):
    scores = score_units(toys.model(family), **moments_of_one(family))
    contrast, found = (load_file(two / f"{family}-{name}.safetensors") for name in ("contrast", "labels"))
    for site, value in scores.contrast.items():
        torch.testing.assert_close(contrast[site], value, rtol=1e-9, atol=1e-12)
    for kind, mask in label_units(scores, **sharded.SHARES).masks.items():
        assert all(torch.equal(found[f"{kind}/{site}"], chosen) for site, chosen in mask.sites.items())


@pytest.mark.parametrize("name", sharded.RUNS)
def test_frozen_training_of_two_ranks_is_that_of_one_process(two, name):
    family, dtype, share, rest, optimizer = sharded.RUNS[name]
    model = by_hand.model(family, dtype)
    start, mask = by_hand.copied(model), sharded.mask(model, share)
    with freeze(model, mask, rest=rest):
        sharded.trained(model, optimizer)
    wanted = check_frozen(start, model, mask, rest=rest)
    spread = by_hand.model(family, dtype)
    spread.load_state_dict(load_file(two / f"{name}.safetensors"))
    found = check_frozen(start, spread, mask, rest=rest)  # bit for bit, or it raises
    assert (found.frozen, found.trainable) == (wanted.frozen, wanted.trainable) and found.trainable_changed > 0
    assert reports(two)[name] == {**vars(found), "quiet": True}
    if dtype == torch.float64:
        for key, weight in model.state_dict().items():
            torch.testing.assert_close(spread.state_dict()[key], weight, rtol=1e-8, atol=1e-8)


def test_the_proof_over_ranks_fails_where_nothing_was_frozen(two):
    assert "frozen entries changed: train inside freeze_sharded" in reports(two)["unfrozen"]


def test_a_sharded_model_is_saved_as_a_checkpoint_like_any_other(two):
    model, state = AutoModelForCausalLM.from_pretrained(two / "checkpoint"), load_file(two / "saved.safetensors")
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())


# --- one process ---


def test_without_ranks_the_functions_do_what_those_of_one_process_do():
    model = toys.model()
    found, wanted = collect_sharded(model, sharded.BATCHES["safety"]), collect(model, sharded.BATCHES["safety"])
    assert found.count == wanted.count == merge_moments(wanted).count
    assert all(torch.equal(found.squares[site], value) for site, value in wanted.squares.items())


def test_sharding_without_ranks_is_refused():
    with pytest.raises(ValueError, match="no process group .*torchrun"):
        shard(toys.model())


def test_batches_and_ranks_without_tokens_are_refused():
    batch = sharded.BATCHES["utility"][0]
    with pytest.raises(ValueError, match="no marked token"):
        collect_sharded(toys.model(), [{**batch, "token_mask": torch.zeros_like(batch["token_mask"])}])
    moments = collect(toys.model(), [batch])
    with pytest.raises(ValueError, match="no rank has counted a token"):
        merge_moments(Moments(0, moments.mean, moments.squares))


@pytest.mark.parametrize("criterion, normalize", [("fisher", "none"), ("variance", "module"), ("contrast", "log")])
def test_scores_in_blocks_are_those_of_the_whole_model(criterion, normalize):
    model, moments = toys.model(), moments_of_one("llama")
    wanted = score_units(model, **moments, criterion=criterion, normalize=normalize)
    found = score_in_blocks(model, **moments, criterion=criterion, normalize=normalize)
    for which in ("safety", "utility", "contrast"):
        a, b = getattr(found, which), getattr(wanted, which)
        assert list(a) == list(b) and all(torch.equal(a[site], b[site]) for site in b)


def test_scores_in_blocks_refuse_moments_of_another_model():
    with pytest.raises(ValueError, match="safety moments are of another model"):
        score_in_blocks(toys.model("opt"), **moments_of_one("llama"))


# --- a device map ---

ON_DISK = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu",
           "model.rotary_emb": "cpu", "lm_head": "cpu"}


@pytest.fixture
def saved(tmp_path) -> Path:
    toys.model(dtype=torch.float32).save_pretrained(tmp_path / "model")
    toys.tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def placed(saved: Path, **changes):
    return load_placed(saved, {**ON_DISK, **changes}, "float32", offload_folder=str(saved.parent / "offload"))


def test_an_offloaded_model_is_read_scored_ablated_and_asked_as_if_whole(saved):
    whole, (spread, tokenizer) = toys.model(dtype=torch.float32), placed(saved)
    assert spread.model.layers[1].mlp.down_proj.weight.is_meta
    wanted, found = ({part: collect(model, batches) for part, batches in sharded.BATCHES.items()}
                     for model in (whole, spread))
    for part, moments in wanted.items():
        assert all(torch.equal(found[part].squares[site], value) for site, value in moments.squares.items())
    scores, of_whole = score_in_blocks(spread, **found), score_units(whole, **wanted)
    assert all(torch.equal(scores.contrast[site], value) for site, value in of_whole.contrast.items())
    assert spread.model.layers[1].mlp.down_proj.weight.is_meta  # and is so afterwards
    mask = label_units(scores, **sharded.SHARES).mask("SCU")
    with ablate(whole, mask), ablate(spread, mask):
        asked = [complete(model, tokenizer, ["lift the kettle"], max_new_tokens=3) for model in (whole, spread)]
    assert asked[0]["response"] == asked[1]["response"]


def test_an_offloaded_model_cannot_be_trained(saved):
    spread, _ = placed(saved)
    with pytest.raises(ValueError, match="is offloaded, where single units cannot be held"), \
            freeze(spread, sharded.mask(spread)):
        pass


def test_an_offloaded_embedding_is_refused(saved):
    with pytest.raises(ValueError, match="the input embedding is offloaded"):
        placed(saved, **{"model.embed_tokens": "disk"})


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded: check the folder or hub id"):
        load_placed(tmp_path / "nothing")
