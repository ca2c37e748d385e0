"""One right call of everything public, on a toy: what tests/test_wrong_calls.py spoils, a parameter at a time."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import torch
import toys

import ssah_core as ssah
from ssah_core.probing.linear_probe import Readout
from ssah_core.studies import stages

ABOUT = {"model": "a toy"}


class Table:
    """A model and all that is made of it, in a folder; `Table.seal` tells whether anything of it has changed."""

    def __init__(self, folder: Path):
        self.folder, self.model, self.tokenizer = folder, toys.model(dtype=torch.float32), toys.tokenizer()
        self.start = copy.deepcopy(self.model.state_dict())
        self.units = ssah.UnitMap(self.model)
        self.mask = ssah.UnitMask({site: torch.arange(size) < 2 for site, size in self.units.sizes.items()})
        self.batches = ssah.batches(toys.CHATS, self.tokenizer)
        self.moments = ssah.collect(self.model, self.batches)
        self.scores = ssah.score_units(self.model, safety=self.moments, utility=self.moments)
        self.labels = ssah.label_units(self.scores, scu=0.1, ucu=0.1, ru=0.1)
        self.odds = ssah.refusal_odds(self.tokenizer, "sorry", "sure")
        self.readout = Readout(layer=1, weight=torch.ones(16, dtype=torch.float64), bias=0.0)
        self.report = ssah.check_frozen(self.start, self.model, self.mask)
        self.interval = ssah.mean_interval([1.0, 2.0])
        self._write()

    def _write(self) -> None:
        self.model.save_pretrained(self.folder / "toy")
        self.tokenizer.save_pretrained(self.folder / "toy")
        for name in ("mask", "labels", "moments", "scores", "report", "interval"):
            about = {} if name == "interval" else {"about": ABOUT}
            getattr(self, name).save(self.folder / name, **about)
        (self.folder / "mine.csv").write_text("prompt,response\nhow ?,sure\nlift the kettle,sorry\n")
        ssah.complete_to(self.folder / "said", self.model, self.tokenizer, ["how ?"], max_new_tokens=2)

    def at(self, name: str) -> Path:
        return self.folder / name


def _saves(name: str) -> Callable[[Table], dict]:
    return lambda t: dict(self=getattr(t, name), path=t.at(name)) | ({} if name == "interval" else {"about": ABOUT})


def _frozen(t: Table) -> dict:
    return dict(model=t.model, mask=t.mask, shared="any", rest="train")


RIGHT: dict[str, Callable[[Table], dict[str, Any]]] = {
    "DirectionGuard": lambda t: dict(model=t.model, tokenizer=t.tokenizer, readout=t.readout, refusal="sorry",
                                     threshold=0.0, average=False),
    "FreezeCallback": lambda t: dict(mask=t.mask, shared="any", rest="train"),
    "FreezeCallback.on_train_begin": lambda t: dict(self=ssah.FreezeCallback(t.mask), args=None, state=None,
                                                    control=None, kwargs={"model": t.model}),
    "FrozenReport": lambda t: dict(frozen=10, frozen_changed=0, trainable=10, trainable_changed=3),
    "FrozenReport.save": _saves("report"), "FrozenReport.load": lambda t: dict(path=t.at("report")),
    "Interval": lambda t: dict(mean=1.0, low=0.5, high=1.5, n=3, method="t"),
    "Interval.save": _saves("interval"), "Interval.load": lambda t: dict(path=t.at("interval")),
    "Moments": lambda t: dict(count=2, mean={"mlp.0": torch.zeros(2)}, squares={"mlp.0": torch.ones(2)}),
    "Moments.__add__": lambda t: dict(self=t.moments, other=t.moments),
    "Moments.save": _saves("moments"), "Moments.load": lambda t: dict(path=t.at("moments")),
    "Scores": lambda t: dict(criterion="by hand", safety=t.scores.safety, utility=t.scores.utility,
                             contrast=t.scores.contrast),
    "Scores.save": _saves("scores"), "Scores.load": lambda t: dict(path=t.at("scores")),
    "UnitLabels": lambda t: dict(masks=t.labels.masks),
    "UnitLabels.mask": lambda t: dict(self=t.labels, kind="SCU"),
    "UnitLabels.save": _saves("labels"), "UnitLabels.load": lambda t: dict(path=t.at("labels")),
    "UnitMap": lambda t: dict(model=t.model), "UnitMap.size": lambda t: dict(self=t.units, site="mlp.0"),
    "UnitMap.each_unit": lambda t: dict(self=t.units, site="mlp.0"),
    "UnitMap.slices": lambda t: dict(self=t.units, mask=t.mask, shared="any"),
    "UnitMask": lambda t: dict(sites=t.mask.sites),
    "UnitMask.__and__": lambda t: dict(self=t.mask, other=t.mask),
    "UnitMask.__or__": lambda t: dict(self=t.mask, other=t.mask),
    "UnitMask.top": lambda t: dict(self=t.mask, share=0.01, by=t.scores.contrast),
    "UnitMask.check": lambda t: dict(self=t.mask, sizes=t.units.sizes),
    "UnitMask.save": _saves("mask"), "UnitMask.load": lambda t: dict(path=t.at("mask")),
    "ablate": lambda t: dict(model=t.model, mask=t.mask, fill="mean", moments=t.moments),
    "batches": lambda t: dict(examples=toys.CHATS, tokenizer=t.tokenizer, tokens="response", batch_size=2),
    "check_frozen": lambda t: dict(before=t.start, after=t.model, mask=t.mask, shared="any", rest="train"),
    "check_units": lambda t: dict(model=t.model),
    "collect": lambda t: dict(model=t.model, batches=t.batches, progress=False),
    "complete": lambda t: dict(model=t.model, tokenizer=t.tokenizer, prompts=["how ?"], prefill="sure", system=None,
                               max_new_tokens=2, batch_size=2, progress=False, chat_template_kwargs={}, generate={}),
    "complete_to": lambda t: dict(folder=t.at("said"), model=t.model, tokenizer=t.tokenizer, prompts=["how ?"], arm="",
                                  chunk=64, seed=0, progress=False, settings=dict(max_new_tokens=2)),
    "evaluate": lambda t: dict(model=t.model, tokenizer=t.tokenizer, tasks=["boolq"], shots=0, limit=None, batch_size=8,
                               chat=False, task_manager=None),
    "freeze": _frozen, "train_only": _frozen,
    "judge": lambda t: dict(completions=[{"response": "sure"}], name="keyword:qi2023"),
    "label_units": lambda t: dict(scores=t.scores, scu=0.1, ucu=0.1, ru=0.1),
    "list_claims": lambda t: {}, "list_judges": lambda t: {},
    "load": lambda t: dict(name=t.at("toy"), dtype="auto", device="cpu", tokenizer=None, chat_template_kwargs=None),
    "load_data": lambda t: dict(name=t.at("mine.csv"), split=None, n=1, seed=0),
    "load_organism": lambda t: dict(stage="aligned", seed=0, scale="tiny", progress=False),
    "load_smollm": lambda t: dict(stage="instructed", method="sft", seed=0, progress=False),
    "load_records": lambda t: dict(folder=t.at("records")),
    "mean_interval": lambda t: dict(values=[1.0, 2.0], level=0.95),
    "measure_each": lambda t: dict(function=stages.losses, seeds=[0], scale="tiny", each=None, over=None, executor=None,
                                   settings={}),
    "random_like": lambda t: dict(mask=t.mask, seed=0, outside=None),
    "reasoning_direction": lambda t: dict(model=t.model, tokenizer=t.tokenizer, queries=["how ?"],
                                          refusal="sorry never", compliance="sure take", lengths=(1, 2),
                                          place="response", batch_size=2),
    "record": lambda t: dict(claim="stages/aligned/asr", values=[1.0], seeds=[0], unit="%", n=3, judge="none",
                             scale="tiny", model="organism", code="a test", orders=1),
    "record_rows": lambda t: dict(table=pandas.DataFrame({"record": ["stages/aligned/asr"], "seed": [0], "value": [1.0],
                                                          "n": [3], "judge": ["none"]}),
                                  scale="tiny", model="organism", code="a test"),
    "refusal_odds": lambda t: dict(tokenizer=t.tokenizer, refusal="sorry", compliance="sure"),
    "rewind": lambda t: dict(model=t.model, original_state=t.start, mask=t.mask, shared="any"),
    "score_units": lambda t: dict(model=t.model, safety=t.moments, utility=t.moments, criterion="fisher",
                                  normalize="none"),
    "search": lambda t: dict(model=t.model, safety=t.batches, utility=t.batches, odds=t.odds, fill=t.moments, share=0.1,
                             rounds=1),
    "token_perplexity": lambda t: dict(model=t.model, tokenizer=t.tokenizer, texts=["take the brush"] * 9, length=4,
                                       batch_size=1, most=None, joint=" "),
    "transfer": lambda t: dict(before=t.labels, after=t.labels),
    "verdicts": lambda t: dict(records=[]),
}
"""Name of a function, class or method -> the arguments of a right call, by the names of its parameters."""


def public() -> dict[str, Callable]:
    """All that can be called of what `import ssah_core as ssah` gives: functions, classes and their public methods, and
    the operators that take a second operand; by name."""
    found = {}
    for name in ssah.__all__:
        thing = found[name] = getattr(ssah, name)
        if inspect.isclass(thing):
            found |= {f"{name}.{method}": getattr(thing, method) for method, code in vars(thing).items()
                      if (not method.startswith("_") or method in ("__or__", "__and__", "__add__"))
                      and (inspect.isfunction(code) or isinstance(code, classmethod))}
    return found


def parameters(thing: Callable) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(thing).parameters)


def call(thing: Callable, given: dict[str, Any], table: Table) -> Any:
    """Call with arguments by name, those of `**more` in a dict; enter what is a context, begin what is a callback."""
    more = [name for name, about in parameters(thing).items() if about.kind is about.VAR_KEYWORD]
    given = {name: value for name, value in given.items() if name not in more} | (given[more[0]] if more else {})
    out = thing(**given)
    if isinstance(out, ssah.FreezeCallback):
        out.on_train_begin(None, None, None, model=table.model)
        out.release()
    elif hasattr(out, "__enter__"):
        with out:
            pass
    return out
