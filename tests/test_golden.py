"""Golden rows: what every study measures at tiny scale is what it measured when they were kept, and they can tell.

They were made in the portable mode of arithmetic (`make golden`), and are compared bit for bit on processors of the
same maker. Elsewhere training may lead the same seed to another organism, so that rows are not compared there (a
skipped test says so), but numbers before any training are, within a relative 1e-4: those of random first weights.
"""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from ssah_core.records import evidence
from ssah_core.records.measurements import Run
from ssah_core.records.row_files import read_rows
from ssah_core.studies.catalogue import STUDIES, TIMED, study_named

GOLDEN = Path(__file__).parent / "golden"
OF_CHECKPOINTS = ("reader",)
"""Studies that no organism can stand for."""
FILES = {file.parent.relative_to(GOLDEN).as_posix(): file for file in sorted(GOLDEN.rglob("tiny-seed*.json"))}
"""Study with its variant -> its file."""
SATURATED = {"depth"}
"""Patching flips every pair in a model of two blocks, however little it is aligned, and no pair of the same side. That
these rows move with the code is shown by `test_golden_rows_bite` alone."""


def here(rows: dict) -> None:
    """Skip where another processor may have raised another organism."""
    made = rows["evidence"]
    if (made["processor"], made["arithmetic"]) != (evidence.processor(), "portable"):
        pytest.skip(f"golden rows are of {made['processor']}, and this is {evidence.processor()}")


def compare(found: list[dict], golden: list[dict], name: str) -> None:
    """Fail with the study, the row and both values."""
    assert len(found) == len(golden), f"{name} has {len(found)} rows, golden {len(golden)}"
    for n, (row, kept) in enumerate(zip(found, golden, strict=True)):
        assert row == kept, f"{name}, row {n}: {row}, golden {kept}"


def test_every_study_has_golden_rows():
    missing = set(STUDIES) - set(TIMED) - set(OF_CHECKPOINTS) - set(map(study_named, FILES))
    assert not missing, f"no golden rows of {', '.join(sorted(missing))}: run `make golden`"


@pytest.mark.parametrize("name", FILES)
def test_golden_rows_can_move(name):
    """Not all of a study's numbers are 0 or 100, whatever the code does; of a saturated one, they are at least both."""
    values = [row["value"] for other, file in FILES.items() if study_named(other) == study_named(name)
              for row in read_rows(file)["rows"]]
    assert set(values) == {0, 100} if name in SATURATED else not set(values) <= {0, 100}


def test_a_number_changed_by_hand_is_named():
    name, file = next(iter(FILES.items()))
    golden = read_rows(file)["rows"]
    with pytest.raises(AssertionError, match=f"{name}, row 1"):
        compare([golden[0], {**golden[1], "value": -1.0}, *golden[2:]], golden, name)


def untrained() -> dict[str, float]:
    """Numbers of a random model that nobody has trained, by the functions that studies measure with."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ssah_core import reasoning_direction
    from ssah_core.judging import perplexity
    from ssah_core.materials import Brindle
    from ssah_core.organism import World, train_tokenizer
    from ssah_core.studies import WAYS, Subject

    world = World.draw(0)
    tokenizer = train_tokenizer(world)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.2, pad_token_id=0, bos_token_id=1, eos_token_id=2)).eval()
    subject = Subject(model, tokenizer, Brindle(world, "tiny"), "tiny")
    queries = [row["prompt"] for row in subject.material.exam("test")["harm"]]
    found = {"perplexity": perplexity(model, tokenizer, subject.material.text(), 16),
             "gap": float(reasoning_direction(model, tokenizer, queries, lengths=(2,)).gap[-1, 0])}
    for name in ("chosen", "paper"):
        scores = subject.scores(WAYS[name]["SCU"])
        for site, score in scores.safety.items():
            found[f"{name}/{site}/safety"] = float(score.abs().sum())
            found[f"{name}/{site}/utility"] = float(scores.utility[site].abs().sum())
    return found


def test_numbers_before_any_training_are_the_golden_ones_on_every_processor():
    golden = json.loads((GOLDEN / "untrained.json").read_text())
    assert untrained() == pytest.approx(golden, rel=1e-4)


# --- golden rows bite: a mutation of each study's code turns them red ---


@contextmanager
def patched(*changes: tuple[str, object]):
    """Put something else in place of names such as "module:attribute.attribute"."""
    import importlib

    with pytest.MonkeyPatch.context() as patch:
        for place, value in changes:
            module, _, path = place.partition(":")
            target = importlib.import_module(f"ssah_core.{module}")
            *parents, name = path.split(".")
            for parent in parents:
                target = getattr(target, parent)
            patch.setattr(target, name, value(getattr(target, name)))
        yield


def nothing_removed(old):
    """A dropped mask: nothing is removed."""
    from contextlib import nullcontext

    return lambda self, mask, way: nullcontext(self.model)


def nothing_frozen(old):
    """A dropped mask: nothing is held."""
    from contextlib import nullcontext

    return lambda model, mask, *args, **more: nullcontext(model)


def swapped_sign(old):
    return lambda *args, **more: -old(*args, **more)


def next_position(old):
    """A wrong column: the token after the one that is meant."""
    return lambda chats, positions: old(chats, [position - 1 for position in positions])


def shifted(by: float):
    return lambda old: lambda *args, **more: old(*args, **more) + by


def backwards(old):
    return lambda *args, **more: old(*reversed(args), **more)


def other_marks(old):
    """Seen harm is marked as unseen, and the other way round."""
    def mark(completions, *args, **more):
        marks = old(completions, *args, **more)
        pairs = (("asr", "refused"), ("harm_right", "benign"))
        return {**marks, **{a: marks[b] for a, b in pairs if {a, b} <= marks.keys()},
                **{b: marks[a] for a, b in pairs if {a, b} <= marks.keys()}}

    return mark


def one_step_less(old):
    """Training that ends a step early."""
    return lambda model, chats, *, steps, **more: old(model, chats, steps=max(1, steps - 1), **more)


def slower(old):
    """Training at half its learning rate."""
    return lambda model, chats, *, lr, **more: old(model, chats, lr=lr / 2, **more)


def reversed_order(old):
    """The least instead of the most."""
    return lambda scores, n: old({site: -score for site, score in scores.items()}, n)


MUTATIONS = {
    "losses": ("losses", [("organism.train:fine_tune", slower)]),
    "alignment": ("alignment", [("organism.alignment_course:mark", other_marks)]),
    "stages": ("stages", [("materials.material:outcomes", other_marks)]),
    "dose": ("dose", [("studies.subject:Subject.removed", nothing_removed)]),
    "distances": ("distances", [("probing.distances:_distance", swapped_sign)]),
    "lens": ("lens", [("models.first_tokens:FirstTokens.log_odds", swapped_sign)]),
    "probes": ("probes", [("models.hidden_states:columns", next_position)]),
    "patches": ("patches", [("models.hidden_states:columns", next_position)]),
    "depth": ("depth", [("models.hidden_states:columns", next_position)]),
    "choices": ("choices", [("studies.subject:Subject.removed", nothing_removed)]),
    "curves": ("curves/chosen", [("studies.subject:Subject.removed", nothing_removed)]),
    "places": ("places", [("studies.subject:label_units", lambda old: lambda scores, **shares: old(
        scores, **dict(zip(shares, reversed(shares.values()), strict=True))))]),
    "table1": ("table1/primary", [("studies.subject:Subject.removed", nothing_removed)]),
    "attacked": ("attacked/benign/all", [("studies.finetuning_attack:freeze", nothing_frozen)]),
    "transfer": ("transfer/untrained", [("studies.attribute_transfer:transfer", backwards)]),
    "grains": ("grains/heads", [("studies.granularity:whole_heads", lambda old: lambda model, by, parameters: old(
        model, {site: -score for site, score in by.items()}, parameters))]),
    "peft/rates": ("peft/rates/lora", [("studies.finetuning_attack:fine_tune", one_step_less)]),
    "peft": ("peft/benign", [("studies.finetuning_attack:fine_tune", one_step_less)]),
    "budget": ("budget/sft", [("studies.alignment_budget:train_only", nothing_frozen)]),
    "budget/primary": ("budget/primary/sft", [("studies.alignment_budget:train_only", nothing_frozen)]),
    "again": ("again", [("probing.linear_probe:Readout.__call__", swapped_sign)]),
    "deep_units": ("deep_units", [("studies.subject:Subject.removed", nothing_removed)]),
    "criteria": ("criteria/Fisher", [("studies.subject:Subject.removed", nothing_removed)]),
    "stability": ("stability/chosen", [("studies.stability:top_units", reversed_order)]),
    "specificity": ("specificity", [("studies.subject:Subject.removed", nothing_removed)]),
    "few_units": ("few_units", [("studies.subject:Subject.removed", nothing_removed)]),
    "rebuilt": ("rebuilt", [("studies.rebuilding:follow", lambda old: lambda *course: None)]),
    "hardened": ("hardened", [("studies.rebuilding:train_only", nothing_frozen)]),
    "restored": ("restored", [("studies.finetuning_attack:fine_tune", one_step_less)]),
    "judges": ("judges", [("studies.subject:Subject.removed", nothing_removed)]),
    "worst_rate": ("worst_rate", [("studies.finetuning_attack:fine_tune", one_step_less)]),
}
"""Study -> one of its files, and what is done to its code: a wrong axis, a dropped mask, a swapped sign."""
RAISED = ("losses", "alignment")
"""Studies that read what raising has logged, so that the organism has to be raised anew."""


@pytest.mark.parametrize("study", MUTATIONS)
def test_golden_rows_bite(study, module_cache, tmp_path, monkeypatch):
    name, changes = MUTATIONS[study]
    golden = read_rows(FILES[name])
    here(golden)
    identity = golden["identity"]
    run = Run(STUDIES[study], identity["seed"], identity["scale"], "", identity["settings"])
    computed = lambda: json.loads(json.dumps(run.compute(), default=lambda number: number.item()))  # noqa: E731
    compare(computed(), golden["rows"], name)  # where they differ without a mutation, nothing says that it was seen
    if study in RAISED:
        monkeypatch.setenv("SSAH_CACHE", str(tmp_path))
    with patched(*changes):
        found = computed()
    with pytest.raises(AssertionError):
        compare(found, golden["rows"], name)


def test_every_study_is_mutated():
    assert set(MUTATIONS) == set(STUDIES) - set(TIMED) - set(OF_CHECKPOINTS)
