"""Every public name in use, with the types that it takes and gives: read by mypy (tests/test_types.py), never run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_type

import pandas
from datasets import Dataset
from torch import Tensor, nn

import ssah_core as ssah

CHATS: Sequence[Mapping] = [{"prompt": "how?", "response": "so."}]


def load_and_ask(name: str | Path) -> None:
    model, tokenizer = ssah.load(name, dtype="bfloat16", device="cpu")
    model, tokenizer = ssah.load_organism("aligned", seed=0, scale="tiny")
    model, tokenizer = ssah.load_smollm("aligned", method="dpo", seed=1)
    assert_type(ssah.complete(model, tokenizer, ["how?"], prefill="so", max_new_tokens=8), Dataset)
    assert_type(ssah.complete_to("said", model, tokenizer, ["how?"], max_new_tokens=8), Dataset)
    assert_type(ssah.load_data("advbench", split="test", n=3), Dataset)
    verdicts: list[bool] = ssah.judge(CHATS, ssah.list_judges()[0])
    verdicts = ssah.judge(CHATS, lambda row: row["response"] == "so.")
    marks: pandas.DataFrame = ssah.evaluate(model, tokenizer, ["boolq"], limit=10)
    assert_type(ssah.token_perplexity(model, tokenizer, ["a text"]).value, float)
    print(verdicts, marks)


def score_and_label(name: str) -> ssah.UnitLabels:
    model, tokenizer = ssah.load(name)
    batches: list[dict[str, Tensor]] = ssah.batches(CHATS, tokenizer, tokens="last_prompt")
    moments: ssah.Moments = ssah.collect(model, batches)
    moments = moments + moments
    scores: ssah.Scores = ssah.score_units(model, safety=moments, utility=moments, criterion="variance")
    odds = ssah.refusal_odds(tokenizer, ["I cannot"], ["Sure"])
    scores = ssah.search(model, batches, batches, odds, moments, share=0.05, rounds=2)
    labels = ssah.label_units(scores, scu=0.04, ucu=0.08, ru=0.15)
    table: pandas.DataFrame = ssah.transfer(labels, labels)
    print(table, ssah.check_units(model))
    with ssah.ablate(model, labels.mask("SCU"), fill="mean", moments=moments):
        ssah.complete(model, tokenizer, ["how?"])
    return labels


def mask_and_freeze(model: nn.Module, labels: ssah.UnitLabels, path: Path) -> ssah.FrozenReport:
    units = ssah.UnitMap(model)
    assert_type(units.total, int)
    mask: ssah.UnitMask = (labels.mask("SCU") | ~labels.mask("CU")) & labels.mask("RU")
    assert_type((mask.count, mask.fraction), tuple[int, float])
    mask.save(path, about={"model": "mine"})
    mask = ssah.random_like(ssah.UnitMask.load(path), seed=0, outside=mask)
    labels.save(path, about={"model": "mine"})
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with ssah.freeze(model, mask, shared="any", rest="train"):
        pass
    with ssah.train_only(model, mask):
        pass
    ssah.rewind(model, before, mask)
    callback = ssah.FreezeCallback(mask)
    report = ssah.check_frozen(before, model, mask)
    assert_type(report.frozen_changed, int)
    print(callback, ssah.UnitLabels.load(path))
    return report


def probe(name: str) -> None:
    model, tokenizer = ssah.load(name)
    distances = ssah.reasoning_direction(model, tokenizer, ["how?"])
    print(distances.lengths, ssah.DirectionGuard)


def record_and_judge() -> pandas.DataFrame:
    interval: ssah.Interval = ssah.mean_interval([1.0, 2.0, 3.0])
    assert_type(interval.mean, float)
    print(ssah.list_claims(), ssah.record, ssah.record_rows, ssah.measure_each, ssah.__version__)
    return ssah.verdicts(ssah.load_records())
