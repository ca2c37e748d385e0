"""Wrong calls of the library: of every public parameter some values that it must refuse (tests/test_wrong_calls.py)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas
import torch
from right_calls import Table

import ssah_core as ssah


@dataclass(frozen=True)
class Odd:
    """A value that is made of the table, and what the error says of it."""

    make: Callable[[Table], Any]
    says: str


def _says(value: Any, says: str) -> Odd:
    return Odd(lambda t: value, says)


def _other_mask(t: Table) -> ssah.UnitMask:
    return ssah.UnitMask({"mlp.0": torch.tensor([True, False])})


def _scores_of(number: float) -> Callable[[Table], dict[str, torch.Tensor]]:
    return lambda t: {site: torch.full_like(score, number) for site, score in t.scores.contrast.items()}


def _batch(**changes: Any) -> Callable[[Table], list]:
    return lambda t: [{name: value for name, value in {**t.batches[0], **changes}.items() if value is not None}]


NOT_ONE = (None, "a name")
OTHER = Odd(_other_mask, "does not fit the model: site '.*' has")
NO_UNIT = Odd(lambda t: t.mask & ~t.mask, "mask holds no unit")
LABELS = Odd(lambda t: t.labels, "UnitLabels")
STRANGE = Odd(lambda t: ssah.Moments(2, {"mlp.0": torch.ones(2)}, {"mlp.0": torch.ones(2)}), "are of another model")
COUNT = (0, -1, 1.5, True, "3", None, math.nan)
SEED = (-1, 1.5, True, "0", None, 2 ** 64)
SHARE = (math.nan, -0.1, 1.1, "0.1", True, None)
CHOICE = ("none of them", None, ["any"])
TEXT = (7, None, ["sure"])
PATH = ("", None, 7, "with\0nul")
ABOUT = ({"model": 7}, {7: "model"}, ["model"], None)
PROMPTS = ("how ?", {"prompt": "how ?"}, [], None, 7, [None], _says([{"goal": "how ?"}], "no text as .prompt."),
           Odd(lambda t: pandas.DataFrame({"prompt": ["how ?"]}), "DataFrame"))
WORDS = ("", [], None, 7, [7], ["sure", ""])
MODEL, TOKENIZER = {"model": NOT_ONE}, {"tokenizer": NOT_ONE}
SAVES = {"path": (*PATH, Odd(lambda t: t.at("nowhere") / "mask", "nowhere"),
                  Odd(lambda t: t.at("mine.csv"), "mine.csv"), Odd(lambda t: t.at("toy"), "toy")), "about": ABOUT}
LOADS = {"path": (*PATH, Odd(lambda t: t.at("nowhere"), "nowhere"), Odd(lambda t: t.at("mine.csv"), "mine.csv"),
                  Odd(lambda t: t.at("toy"), "toy"), Odd(lambda t: t.at("toy") / "model.safetensors", "holds"))}
FREEZES = {**MODEL, "mask": (*NOT_ONE, NO_UNIT, OTHER, LABELS), "shared": CHOICE, "rest": CHOICE}

WRONG: dict[str, dict[str, tuple]] = {
    "DirectionGuard": {**MODEL, **TOKENIZER, "readout": (*NOT_ONE, 0.5), "refusal": (*TEXT, ""),
                       "threshold": (math.nan, "0", None, True)},
    "FreezeCallback": {name: FREEZES[name] for name in ("mask", "shared", "rest")},
    "FreezeCallback.on_train_begin": {"kwargs": (_says({}, "model is None"), {"model": "a name"})},
    "FrozenReport": {"frozen": (-1, 1.5, True, "9", None), "frozen_changed": (-1, 11, None),
                     "trainable": (-1, 2, math.inf), "trainable_changed": (-1, 11, "3")},
    "FrozenReport.save": SAVES, "FrozenReport.load": {"path": LOADS["path"][:-1]},
    "Interval": {"mean": (math.nan, "1", None), "low": (math.nan, 2.0, "0"), "high": (0.0, math.inf, None),
                 "n": COUNT, "method": TEXT},
    "Interval.save": {"path": PATH}, "Interval.load": {"path": LOADS["path"][:-1]},
    "Moments": {"count": (-1, 1.5, True, "2", None), "mean": (None, {"mlp.0": 0.5}), "squares": (None, {"a": [1]})},
    "Moments.__add__": {"other": (*NOT_ONE, 7, Odd(STRANGE.make, "are of different models"))},
    "Moments.save": SAVES, "Moments.load": LOADS,
    "Scores": {"criterion": TEXT, "safety": (None, _says({}, "is None"), {"attn.0": 1.0}),
               "utility": (7, _says({"mlp.9": torch.ones(2)}, "is None")),
               "contrast": (None, {"mlp.0": torch.ones(2, 2)})},
    "Scores.save": SAVES, "Scores.load": LOADS,
    "UnitLabels": {"masks": (None, {}, {"SCU": None}, Odd(lambda t: {"SCU": t.mask}, "SCU"))},
    "UnitLabels.mask": {"kind": ("XU", None, ["SCU"], 0)}, "UnitLabels.save": SAVES, "UnitLabels.load": LOADS,
    "UnitMap": {"model": (*NOT_ONE, Odd(lambda t: torch.nn.Linear(2, 1), "Linear"))},
    "UnitMap.size": {"site": ("mlp.99", None, 7, ["mlp.0"])},
    "UnitMap.each_unit": {"site": ("mlp.99", None, 7, ["mlp.0"])},
    "UnitMap.slices": {"mask": (*NOT_ONE, OTHER, LABELS), "shared": CHOICE},
    "UnitMask": {"sites": (None, [True], {"mlp.0": [True]}, {"mlp.0": torch.ones(3)},
                           {"mlp.0": torch.ones(2, 2, dtype=torch.bool)})},
    "UnitMask.__and__": {"other": (*NOT_ONE, True, OTHER, LABELS)},
    "UnitMask.__or__": {"other": (*NOT_ONE, True, OTHER, LABELS)},
    "UnitMask.top": {"share": (*SHARE, 0.9),
                     "by": (None, _says({}, "None"), {"attn.0": 1}, Odd(_scores_of(math.nan), "finite"))},
    "UnitMask.check": {"sizes": (None, 7, {"mlp.0": 3})}, "UnitMask.save": SAVES, "UnitMask.load": LOADS,
    "ablate": {**MODEL, "mask": (*NOT_ONE, OTHER, LABELS), "fill": CHOICE,
               "moments": (7, STRANGE, _says(None, "needs moments"))},
    "batches": {"examples": (*PROMPTS, [{"prompt": "how ?"}], [{"prompt": "how ?", "response": 7}]), **TOKENIZER,
                "tokens": ("responses", None, ["prompt"]), "batch_size": COUNT},
    "check_frozen": {"before": (*NOT_ONE, _says({}, "missing"),
                                Odd(lambda t: t.model.state_dict(), "shares its memory")),
                     "after": NOT_ONE, "mask": (*NOT_ONE, OTHER, LABELS), "shared": CHOICE, "rest": CHOICE},
    "check_units": {"model": (*NOT_ONE, Odd(lambda t: torch.nn.Linear(2, 1), "Linear"))},
    "collect": {**MODEL, "batches": (None, 7, "how ?", _says([], "no marked token"), [None], [{}], {},
                                     Odd(_batch(attention_mask=None), "attention_mask"),
                                     Odd(_batch(input_ids=torch.full((2, 9), 99)), "input_ids|99"),
                                     Odd(_batch(token_mask=torch.ones(1, 1)), "token_mask"),
                                     Odd(lambda t: t.batches[0], "dict"))},
    "complete": {**MODEL, **TOKENIZER, "prompts": PROMPTS, "prefill": TEXT, "system": (7, ["be kind"]),
                 "max_new_tokens": (*COUNT, 10 ** 6), "batch_size": COUNT,
                 "chat_template_kwargs": ("{}", [], 0, {"no_such": 1}),
                 "generate": ({"no_such": 1}, {"num_return_sequences": 2})},
    "complete_to": {"folder": (*PATH, Odd(lambda t: t.at("toy"), "toy"), Odd(lambda t: t.at("mine.csv"), "mine.csv")),
                    **MODEL, **TOKENIZER, "prompts": PROMPTS, "arm": TEXT, "chunk": COUNT, "seed": SEED,
                    "settings": ({"no_such": 1}, {"max_new_tokens": 0}, {"prefill": 7})},
    "evaluate": {**MODEL, **TOKENIZER, "tasks": ("boolq", [], None, [7], [""]), "shots": (-1, 1.5, True, "0", None),
                 "limit": (0, -1, 1.5, True, "9"), "batch_size": COUNT},
    "freeze": FREEZES, "train_only": FREEZES,
    "judge": {"completions": (None, "sure", {"response": "sure"}, 7, [None],
                              _says([{"prompt": "how ?"}], "no text as .response."), [{"response": 7}]),
              "name": ("keyword", None, 7, ["truth"])},
    "label_units": {"scores": (None, {}, Odd(lambda t: t.moments, "Moments"),
                               Odd(lambda t: ssah.Scores("odd", *[_scores_of(math.nan)(t)] * 3), "not finite")),
                    "scu": (*SHARE, 0.9), "ucu": SHARE, "ru": SHARE},
    "load": {"name": (*PATH, Odd(lambda t: t.at("nowhere"), "nowhere"), Odd(lambda t: t.at("said"), "said")),
             "dtype": (*CHOICE, "int8", torch.float32), "device": ("gpu9", None, True, 1.5, "cuda:99"),
             "tokenizer": ("", 7, Odd(lambda t: t.at("said"), "said")),
             "chat_template_kwargs": ("{}", [], 0, {"no_such": 1})},
    "load_data": {"name": (*PATH, "advbnch", Odd(lambda t: t.at("nowhere.csv"), "nowhere.csv"),
                           Odd(lambda t: t.at("toy"), "toy")),
                  "split": ("training", 7, ["test"]), "n": (*COUNT[:5], 99), "seed": SEED},
    "load_organism": {"stage": CHOICE, "seed": SEED, "scale": (*CHOICE, "paper")},
    "load_smollm": {"stage": CHOICE, "method": CHOICE, "seed": SEED},
    "load_records": {"folder": ("", 7, "with\0nul", Odd(lambda t: t.at("mine.csv"), "mine.csv"))},
    "mean_interval": {"values": (None, 7, [], [math.nan], ["one"], [None], "12"),
                      "level": (0, 1, 95, math.nan, "0.95", None)},
    "measure_each": {"function": (None, "losses", Odd(lambda t: len, "len")),
                     "seeds": (None, 0, "0", [], [-1], [1.5], [True], ["0"], [None]), "scale": CHOICE,
                     "each": (7, [], {0: 7}, {5: {}}), "over": (7, [], {"a": 7}, {"../a": {}}, {7: {}}),
                     "executor": (7, "local", True), "settings": ({"no_such": 1},)},
    "random_like": {"mask": (*NOT_ONE, LABELS), "seed": SEED, "outside": ("a name", OTHER, LABELS)},
    "reasoning_direction": {**MODEL, **TOKENIZER, "queries": PROMPTS, "refusal": WORDS, "compliance": WORDS,
                            "lengths": (None, 2, [], [0], [-1], [1.5], ["2"], [99]), "place": CHOICE,
                            "batch_size": COUNT},
    "record": {"claim": ("table9/scu", None, ["table1/scu/asr"]),
               "values": (None, 7, [], [math.nan], ["1"], [None], {3: 1.0}),
               "seeds": (None, 0, [], [-1], [1.5], ["0"], [0, 0]), "unit": ("points", None), "n": COUNT,
               "judge": ("", None, 7), "scale": CHOICE, "model": ("", None, 7), "code": ("", None, 7),
               "orders": COUNT},
    "record_rows": {"table": (None, [], Odd(lambda t: pandas.DataFrame({"seed": [0]}), "no column 'record'")),
                    "scale": CHOICE, "model": ("", None, 7), "code": ("", None, 7)},
    "refusal_odds": {**TOKENIZER, "refusal": (*WORDS, "sure"), "compliance": (*WORDS, "sorry")},
    "rewind": {**MODEL, "original_state": (*NOT_ONE, _says({}, "missing"), Odd(lambda t: t.model, "shares its memory")),
               "mask": (*NOT_ONE, NO_UNIT, OTHER, LABELS), "shared": CHOICE},
    "score_units": {**MODEL, "safety": (*NOT_ONE, STRANGE), "utility": (*NOT_ONE, STRANGE),
                    "criterion": ("wanda", None, 7, Odd(lambda t: lambda *given: None, "returned NoneType")),
                    "normalize": CHOICE},
    "search": {**MODEL, "safety": (None, [], [None], [{}], "how ?", Odd(_batch(token_mask=None), "token_mask")),
               "utility": (None, [], [None], 7, Odd(lambda t: t.batches[0], "dict")), "odds": (None, "sorry", 7),
               "fill": (*NOT_ONE, STRANGE), "share": (*SHARE, 0), "rounds": COUNT},
    "token_perplexity": {**MODEL, **TOKENIZER, "texts": (None, "a text", _says([], "0 tokens"), 7, [7]),
                         "length": (*COUNT, 1, 10 ** 6),
                         "batch_size": COUNT, "most": COUNT[:5], "joint": TEXT},
    "transfer": {"before": (*NOT_ONE, Odd(lambda t: t.mask, "UnitMask")),
                 "after": (*NOT_ONE, Odd(lambda t: ssah.UnitLabels({kind: _other_mask(t) for kind in t.labels.masks}),
                                         "does not fit"))},
    "verdicts": {"records": (None, 7, "records", [None], [{"claim": "table1/scu/asr"}])},
}
"""Name -> parameter -> values that it must refuse, each in a call that is right otherwise (`right_calls.RIGHT`)."""

EXEMPT = {
    **{f"{name}({value})": "a truth value, which anything has"
       for name, value in (("DirectionGuard", "average"), ("collect", "progress"), ("complete", "progress"),
                           ("complete_to", "progress"), ("load_organism", "progress"), ("load_smollm", "progress"),
                           ("evaluate", "chat"))},
    **{f"FreezeCallback.{event}({name})": "a Trainer's own, not looked at"
       for event in ("on_train_begin", "on_train_end") for name in ("args", "state", "control")},
    "FreezeCallback.on_train_end(kwargs)": "a Trainer's own, not looked at",
    "evaluate(task_manager)": "an object of lm-evaluation-harness, which may not be installed",
}
"""Parameters that take anything, with the reason."""
