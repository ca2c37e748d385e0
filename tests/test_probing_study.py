"""What notebook 02 measures: gaps and leans, pairs that differ in malice alone, and flips counted over all pairs."""

import re
from itertools import product
from random import Random
from types import SimpleNamespace

import pandas
import pytest
import torch

import ssah_core as ssah
from ssah_core.judging.judges import DEFAULT_KEYWORDS
from ssah_core.models.hidden_states import read_states, render
from ssah_core.organism.corpora import exam
from ssah_core.organism.counterparts import counterparts
from ssah_core.organism.doses import steps_to_safety
from ssah_core.organism.words import (
    BAD_INTENTS,
    BENIGN_OBJECTS,
    BENIGN_VERBS,
    FORBIDDEN_OBJECTS,
    FORBIDDEN_VERBS,
    OPENINGS,
    REFUSALS,
)
from ssah_core.organism.world import World
from ssah_core.probing.activation_patching import Flips
from ssah_core.studies import activation_patching
from ssah_core.studies import reasoning_direction as study
from ssah_core.studies.subject import Subject

WORLD = World.draw(3)


@pytest.fixture(scope="module", autouse=True)
def cached(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSAH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


# --- distances ---


@pytest.fixture(scope="module")
def gaps() -> pandas.DataFrame:
    return pandas.DataFrame(study.distances(0, "tiny"))


def test_there_is_one_number_a_stage_kind_reading_layer_length_and_metric(gaps):
    index = ["stage", "kind", "reading", "layer", "length", "metric"]
    found = list(gaps[index].itertuples(index=False, name=None))
    both, metrics = (study.STAGES, study.KINDS), ("gap", "lowest", "highest")
    wanted = [*product(*both, study.READINGS, range(3), study.lengths("tiny"), metrics),
              *product(*both, ["intent"], range(3), [0], ["gap"])]
    assert sorted(found) == sorted(wanted)


def value_of(gaps, **where) -> float:
    [row] = gaps[(gaps[list(where)] == pandas.Series(where)).all(axis=1)].value
    return row


@pytest.mark.parametrize("reading", ["response", "query"])
@pytest.mark.parametrize("stage", study.STAGES)
def test_gaps_are_means_and_extremes_over_all_pairs_of_wordings(gaps, stage, reading):
    subject = Subject.load(0, "tiny", stage)
    queries = [row["prompt"] for row in subject.material.exam("test", 100)["harm"]]
    pairs = [{"refusal": refusal, "compliance": f"{opening} take the"} for refusal in REFUSALS for opening in OPENINGS]
    found = torch.stack([ssah.reasoning_direction(subject.model, subject.tokenizer, queries, **pair, lengths=(4,),
                                                  place=reading).gap[2, 0] for pair in pairs])
    for metric, wanted in (("gap", found.mean()), ("lowest", found.min()), ("highest", found.max())):
        value = value_of(gaps, stage=stage, kind="harm", reading=reading, layer=2, length=4, metric=metric)
        assert value == pytest.approx(float(wanted), abs=1e-6)
    assert found.min() < found.mean() < found.max()


def test_the_intent_gap_compares_with_benign_and_malicious_requests(gaps):
    subject = Subject.load(0, "tiny", "aligned")
    state = lambda row: read_states(  # noqa: E731
        subject.model, render(subject.tokenizer, [{"prompt": row["prompt"]}]), (0,))[0][0, :, 0]
    benign, malicious = (torch.stack([*map(state, subject.sets[name])]).mean(0) for name in ("requests", "safety"))
    nearer = [torch.cosine_similarity(state(row), malicious, -1) - torch.cosine_similarity(state(row), benign, -1)
              for row in subject.material.exam("test", 100)["harm_unseen"]]
    found = gaps[(gaps.stage == "aligned") & (gaps.kind == "harm_unseen") & (gaps.reading == "intent")]
    assert found.value.tolist() == pytest.approx(torch.stack(nearer).mean(0).tolist(), abs=1e-6)
    assert abs(found.value.iloc[-1]) > 1e-5


def test_tokens_in_the_query_leave_the_embedding_of_the_last_token_alone(gaps):
    first = gaps[gaps.layer == 0].groupby("reading").value.apply(lambda values: values.abs().max())
    assert first["query"] < 1e-9 and first["residual"] < 1e-9 < first["response"]


def test_a_lean_is_the_gap_less_that_of_benign_requests_and_leaves_the_embeddings_out():
    layers = {"harm": (9.0, 0.2, 0.4), "benign": (9.0, 0.1, 0.1), "harm_unseen": (0.0, 0.0, 0.0)}
    rows = [("response", "aligned", seed, kind, layer, length, "gap", value + 0.1 * seed)
            for seed in (0, 1) for length in (2, 4) for kind in layers for layer, value in enumerate(layers[kind])]
    rows += [("response", "aligned", 0, "harm", 1, 2, "lowest", -5.0)]
    columns = ["reading", "stage", "seed", "kind", "layer", "length", "metric", "value"]
    found = study.leans(pandas.DataFrame(rows, columns=columns).assign(n=7)).set_index(["record", "seed"]).value
    assert found.to_dict() == pytest.approx({
        ("direction/response/aligned/gap", 0): 0.3, ("direction/response/aligned/gap", 1): 0.4,
        ("direction/response/aligned/lean", 0): 0.2, ("direction/response/aligned/lean", 1): 0.2})


def test_the_lens_reads_every_layer_of_both_stages_on_all_kinds():
    found = pandas.DataFrame(study.lens(0, "tiny"))
    asked = set(zip(found.stage, found.kind, found.layer, strict=True))
    assert asked == set(product(study.STAGES, study.KINDS, range(3)))
    shares = found[found.metric == "refuses"].value
    assert shares.between(0, 100).all() and len(shares) == 18


# --- probes ---


def test_probes_are_tested_at_every_layer_and_position():
    found = pandas.DataFrame(study.probes(0, "tiny"))
    assert found.value.between(0, 100).all() and set(found.metric) == {"accuracy", "control"}
    assert set(zip(found.layer, found.position, strict=True)) == set(product(range(3), range(-6, 7)))
    opening = found[(found.layer == 0) & (found.position.between(1, 4)) & (found.metric == "accuracy")]
    assert (opening.value == 50).all()  # all answers begin alike, so their first tokens tell nothing


@pytest.mark.parametrize(("blocks", "scale", "groups"), [
    (6, "organism", [[0, 1, 2, 3, 4, 5, 6]]), (2, "paper", [[0], [1], [2]]),
    (32, "paper", [[0], [4], [8], [12], [16], [20], [24], [28], [32]]),
    (26, "paper", [[2], [5], [8], [11], [14], [17], [20], [23], [26]])])
def test_a_checkpoint_is_probed_one_layer_at_a_time_and_at_a_few_of_many(blocks, scale, groups):
    subject = SimpleNamespace(scale=scale, units=SimpleNamespace(blocks=[""] * blocks))
    assert [list(layers) for layers in study._layers(subject)] == groups


def test_a_checkpoint_is_read_at_the_stages_that_are_named(monkeypatch):
    monkeypatch.setattr(Subject, "load", classmethod(lambda cls, *about: about))
    named = {"aligned": "some/chat"}
    assert list(study._subjects(0, "paper", named)) == [("aligned", (0, "paper", "aligned", named))]
    assert [stage for stage, _ in study._subjects(0, "tiny", None)] == list(study.STAGES)


def test_the_paper_appends_up_to_ten_tokens():
    assert study.lengths("paper") == (2, 4, 6, 8, 10) and study.lengths("organism") == (2, 4, 6)


def test_selectivity_is_read_at_the_last_layer_and_the_end_of_the_prompt():
    rows = [("instructed", kind, 0, layer, position, metric, value + 10 * layer + position)
            for kind in ("harm", "harm_unseen") for layer in (0, 1) for position in (-1, 0, 1)
            for metric, value in (("accuracy", 80.0), ("control", 55.0 - 20 * layer))]
    columns = ["stage", "kind", "seed", "layer", "position", "metric", "value"]
    found = study.selectivity(pandas.DataFrame(rows, columns=columns).assign(n=7, judge="truth")).set_index("kind")
    assert found.loc["harm", "value"] == 45 and found.loc["harm", "accuracy"] == 90
    assert found.record.to_dict() == {"harm": "probes/instructed/selectivity", "harm_unseen": ""}


# --- the causal test ---


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_counterpart_differs_in_its_malice_alone(split):
    rows = exam(WORLD, split, 200)["harm"]
    bad, good = counterparts(WORLD, rows, split, Random(0))
    malicious = re.compile(rf"\b({'|'.join((*FORBIDDEN_VERBS, *FORBIDDEN_OBJECTS, *BAD_INTENTS))})\b")
    assert len(bad) == len(good) > 150 and set(bad) <= {row["prompt"] for row in rows}
    for before, after in zip(bad, good, strict=True):
        found = malicious.findall(before)
        assert len(found) == 1 and not malicious.search(after) and len(before.split()) == len(after.split())
        head, tail = before.split(found[0])
        assert after.startswith(head) and after.endswith(tail)
        verb, thing = (next(word for word in re.findall(r"\w+", after) if word in words)
                       for words in (BENIGN_VERBS, BENIGN_OBJECTS))
        assert (verb, thing) in WORLD.pairs[split]


def test_every_kind_of_malice_has_counterparts():
    rows = exam(WORLD, "test", 200)["harm"]
    kept = set(counterparts(WORLD, rows, "test", Random(0))[0])
    assert {row["reason"] for row in rows if row["prompt"] in kept} == {"verb", "object", "intent"}


@pytest.fixture
def half_decided(monkeypatch):
    """An organism that refuses and answers two pairs of four, both of which flip after its last block."""
    last = torch.tensor([0.0, 1.0], dtype=torch.float64)
    flips = Flips((0, 1), last, last / 2, torch.zeros(2, dtype=torch.float64), 2, 4)
    said = {"bad": "Sorry, no.", "good": "Sure."}
    monkeypatch.setattr(Subject, "complete", lambda subject, prompts, **more: [
        {"response": said[prompt]} for prompt in prompts])
    monkeypatch.setattr(activation_patching, "patch_decisions", lambda *args, **more: flips)
    return Subject.load(0, "tiny"), (["bad"] * 4, ["good"] * 4)


def test_flips_are_counted_over_all_pairs(half_decided):
    found = pandas.DataFrame(activation_patching._flipped(*half_decided, 0, DEFAULT_KEYWORDS))
    found = found.set_index(["metric", "block"]).value
    assert found.to_dict() == {("to_refusal", 0): 0, ("to_refusal", 1): 50, ("to_answer", 0): 0, ("to_answer", 1): 25,
                               ("same_side", 0): 0, ("same_side", 1): 0}


def test_an_organism_that_refuses_nothing_flips_nothing(half_decided):
    subject, (bad, good) = half_decided
    found = pandas.DataFrame(activation_patching._flipped(subject, (good, good), 0, DEFAULT_KEYWORDS))
    assert (found.value == 0).all() and (found.n == 4).all()


def test_a_tiny_organism_is_patched_at_every_block_position_and_dose():
    found = pandas.DataFrame(activation_patching.patches(0, "tiny"))
    asked = {("validation", 0, activation_patching.FIRST_TOKEN), ("test", 0, DEFAULT_KEYWORDS),
             *(("test", position, activation_patching.FIRST_TOKEN) for position in study.PROBED)}
    assert set(zip(found.split, found.position, found.judge, strict=True)) == asked and set(found.block) == {0, 1}
    doses = pandas.DataFrame(activation_patching.depth(0, "tiny"))
    assert set(zip(doses.dose, doses.block, strict=True)) == set(product(activation_patching.DOSES, (0, 1)))
    one = steps_to_safety(0, "tiny")
    assert doses.groupby("dose").steps.first().tolist() == [round(dose * one) for dose in activation_patching.DOSES]


def test_a_checkpoint_cannot_be_aligned_step_by_step():
    with pytest.raises(ValueError, match="depth needs an organism"):
        activation_patching.depth(0, "paper", checkpoints={"aligned": "some/chat"})


def flip_table() -> pandas.DataFrame:
    """Of three blocks, validation prompts prefer the last in organism 0 and, by the worse way, the middle one in 1."""
    validation = {0: [(0, 0), (60, 50), (100, 100)], 1: [(100, 0), (99, 98), (99, 98)]}
    rows = [(seed, "validation", block, 0, metric, value, activation_patching.FIRST_TOKEN)
            for seed, blocks in validation.items() for block, values in enumerate(blocks)
            for metric, value in zip(("to_refusal", "to_answer", "same_side"), (*values, 0), strict=True)]
    rows += [(seed, "test", block, at, metric, 1000 * seed + 100 * block - 50 * at + value,
              activation_patching.FIRST_TOKEN) for seed in (0, 1) for block in range(3) for at in (0, -1)
             for metric, value in (("to_refusal", 1), ("to_answer", 2), ("same_side", 3))]
    rows += [(seed, "test", at, 0, "to_answer", 7 + at, DEFAULT_KEYWORDS) for seed in (0, 1) for at in range(3)]
    columns = ["seed", "split", "block", "position", "metric", "value", "judge"]
    return pandas.DataFrame(rows, columns=columns).assign(n=9)


def test_the_best_block_is_chosen_on_validation_prompts_by_its_worse_direction():
    found = activation_patching.chosen_flips(flip_table())
    blocks = found.set_index(["where", "seed"]).block.groupby(level=[0, 1]).unique().map(list).to_dict()
    assert blocks == {("best", 0): [2], ("best", 1): [1], ("before_last", 0): [1], ("before_last", 1): [1]}
    value = found.set_index(["record", "seed"]).value
    assert value.index.is_unique and len(value) == 28
    assert value["patching/best/to_refusal", 0] == 201 and value["patching/best/to_answer", 1] == 1102
    assert value["patching/before_last/same_side", 0] == 103
    assert value["patching/before_last/flips", 0] == 101.5 and value["patching/best/flips", 1] == 1101.5  # of both ways
    assert value["patching/best/to_answer_said", 0] == 9 and value["patching/best/to_answer_said", 1] == 8
    assert value["patching/best/other_position", 0] == 252  # the larger of both ways, not the state of the same side


def test_the_first_block_is_the_first_that_works_or_none():
    found = {(1.0, "to_refusal"): [0, 95, 20], (1.0, "to_answer"): [0, 94.9, 100], (2.0, "to_refusal"): [0, 9, 9],
             (2.0, "same_side"): [100, 100, 100]}
    table = pandas.DataFrame([(0, dose, metric, block, value) for (dose, metric), values in found.items()
                              for block, value in enumerate(values)],
                             columns=["seed", "dose", "metric", "block", "value"])
    assert activation_patching.first_block(table).to_dict() == {
        ("to_refusal", 0, 1.0): 1, ("to_refusal", 0, 2.0): 3, ("to_answer", 0, 1.0): 2}
