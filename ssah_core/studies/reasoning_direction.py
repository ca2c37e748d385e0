"""Which way is a model heading? The paper's distances (Fig. 2, 3, 4, 7), and two other ways to ask (notebook 02).

Layers and positions are those of `ssah_core.models.hidden_states`: layer 0 is the embeddings, position 0 the prompt's
last token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

import pandas
import torch
from torch import Tensor

from ..materials import study
from ..models import as_rows, render, stream
from ..organism import Row
from ..probing import LENGTHS as PAPER_LENGTHS
from ..probing import Distances, intent_residual, linear_probe, logit_lens, reasoning_direction
from ..records import is_checkpoint
from .subject import Subject

STAGES = ("instructed", "aligned")
KINDS = ("harm", "harm_unseen", "benign")
READINGS = {"response": (reasoning_direction, "response"), "query": (reasoning_direction, "query"),
            "residual": (intent_residual, "response")}
"""Ways to take the paper's distance: the tokens begin the response; they follow the query; as the first, less what the
same tokens do to benign requests (of the calibration split)."""
PROBED = tuple(range(-6, 1))
"""Positions in the prompt that every request has: its last words, its end, and the last token of the template."""
ANSWERED = tuple(range(1, 7))
"""Positions in the answer that are probed too: every answer has them."""


def lengths(scale: str) -> tuple[int, ...]:
    """Tokens appended: as in the paper; of an organism up to 6, since its shortest compliance has no more.

    >>> from ssah_core.studies.reasoning_direction import lengths
    >>> lengths("organism")
    (2, 4, 6)

    *Shown in:* 02_probe_reasoning_direction.
    """
    return PAPER_LENGTHS if is_checkpoint(scale) else (2, 4, 6)


def _subjects(seed: int, scale: str, checkpoints: Mapping[str, str] | None) -> Iterator[tuple[str, Subject]]:
    """Each stage and its model: of `STAGES`, those that `checkpoints` names."""
    stages = tuple(stage for stage in STAGES if checkpoints is None or stage in checkpoints)
    return ((stage, Subject.load(seed, scale, stage, checkpoints)) for stage in stages)


# -- distances and the logit lens ------------------------------------------------------------------------


@study("distances", version=1)
def distances(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """The paper's gap by every reading, on test prompts: rows with `stage`, `kind`, `reading`, `layer`, `length`.

    `metric` is "gap": distance to compliance minus distance to a refusal (cosine, -2 to 2; positive: the refusal is
    nearer), mean over the wordings of each; "lowest" and "highest": that of the most extreme pair of wordings.
    Beside `READINGS` stands "intent", with `length` 0 since no tokens are appended: distance to the mean state of
    benign requests minus distance to that of malicious ones (calibration prompts), which are answered and refused.
    Source: the paper's Figures 2, 3, 4 and 7.

    *Shown in:* 02_probe_reasoning_direction.
    """
    rows = []
    for stage, subject in _subjects(seed, scale, checkpoints):
        exam = subject.material.exam("test", 100)
        benign, malicious = (_ends(subject, subject.sets[name]).mean(0) for name in ("requests", "safety"))
        for kind in (kind for kind in KINDS if kind in exam):
            about = {"seed": seed, "stage": stage, "kind": kind, "n": len(exam[kind]), "judge": "none"}
            for reading in READINGS:
                rows += _gaps(_read(subject, exam[kind], reading), **about, reading=reading)
            apart = _away(_ends(subject, exam[kind]), benign) - _away(_ends(subject, exam[kind]), malicious)
            rows += [{**about, "reading": "intent", "layer": layer, "length": 0, "metric": "gap", "value": value}
                     for layer, value in enumerate(apart.mean(0).tolist())]
    return rows


def _ends(subject: Subject, rows: Sequence[Row]) -> Tensor:
    """States at the prompt's last token: [prompt, layer, hidden]."""
    chats = render(subject.tokenizer, as_rows(_plain(rows)))
    return torch.cat([states[:, :, 0] for _, states, _
                      in stream(subject.model, chats, (0,), batch_size=subject.material.batch_size)])


def _away(states: Tensor, mean: Tensor) -> Tensor:
    return 1 - torch.cosine_similarity(states, mean, dim=-1)


def _read(subject: Subject, queries: Sequence[Row], reading: str) -> Distances:
    (function, place), material = READINGS[reading], subject.material
    baseline = {"benign": _plain(subject.sets["requests"])[:100]} if function is intent_residual else {}
    return function(subject.model, subject.tokenizer, _plain(queries), **baseline, refusal=material.refusals,
                    compliance=material.compliances, lengths=lengths(subject.scale), place=place,
                    batch_size=material.batch_size)


def _plain(rows: Sequence[Row]) -> list[str]:
    return [row["prompt"] for row in rows]


def _gaps(found: Distances, **about) -> Iterator[dict]:
    refusal, compliance = (found.moments.mean[side] for side in ("refusal", "compliance"))  # [wording, layer, length]
    pairs = (compliance[:, None] - refusal[None]).flatten(0, 1)
    for metric, values in (("gap", found.gap), ("lowest", pairs.amin(0)), ("highest", pairs.amax(0))):
        for layer, row in enumerate(values.tolist()):
            for length, value in zip(found.lengths, row, strict=True):
                yield {**about, "layer": layer, "length": length, "metric": metric, "value": value}


def leans(table: pandas.DataFrame) -> pandas.DataFrame:
    """Gaps as one number an organism, and what of them is about intent: one row a stage, reading and record.

    table   Rows of `distances`.

    "gap": on malicious requests (seen harm), mean over all blocks and lengths. "lean": that minus the same on benign
    requests, to which the same tokens were appended; if only the tokens mattered it would be 0.

    *Shown in:* 02_probe_reasoning_direction.
    """
    mean = table[(table.metric == "gap") & (table.layer > 0)].pivot_table(
        index=["reading", "stage", "seed"], columns="kind", values="value")
    frame = pandas.DataFrame({"gap": mean.harm, "lean": mean.harm - mean.benign}).melt(
        ignore_index=False, var_name="metric").reset_index()
    record = "direction/" + frame.reading + "/" + frame.stage + "/" + frame.metric
    return frame.assign(record=record, n=int(table[table.kind == "harm"].n.min()), judge="none")


@study("lens", version=1)
def lens(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """What every layer would say at the prompt's last token: rows with `stage`, `kind`, `layer`; test prompts.

    `metric` "log_odds": of a refusal's first token against an answer's, in nats; "refuses": % of prompts where it is
    positive.

    *Shown in:* 02_probe_reasoning_direction.
    """
    rows = []
    for stage, subject in _subjects(seed, scale, checkpoints):
        for kind, questions in subject.material.exam("test").items():
            if kind in KINDS:
                found = logit_lens(subject.model, subject.tokenizer, _plain(questions),
                                   refusal=subject.material.refusals, compliance=subject.material.openings,
                                   batch_size=subject.material.batch_size)
                about = {"seed": seed, "stage": stage, "kind": kind, "n": len(questions), "judge": "none"}
                for metric, values in (("log_odds", found.mean), ("refuses", 100 * found.refuses)):
                    rows += [{**about, "layer": layer, "metric": metric, "value": value}
                             for layer, value in enumerate(values.tolist())]
    return rows


# -- linear probes ---------------------------------------------------------------------------------------


@study("probes", version=1)
def probes(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Can malice be read off? Rows with `stage`, `kind` (of the malicious test requests), `layer`, `position`.

    Probes learn from calibration prompts and are tested on test prompts, each followed by an *answer* (an
    organism's true one), whether it is malicious or not, so that no refusal tells them. `metric` "accuracy" and
    "control" (%; chance is 50): the control has a random label for every topic (of an organism, the verb), which a
    probe can only memorise. Of 16 blocks or more, 9 to 12 layers are probed, evenly spaced up to the last.

    *Shown in:* 02_probe_reasoning_direction.
    """
    rows = []
    for stage, subject in _subjects(seed, scale, checkpoints):
        exam = subject.material.exam("test", 100)
        for kind in (kind for kind in ("harm", "harm_unseen") if kind in exam):
            rows += _probed(subject, exam[kind], exam["benign"], seed=seed, stage=stage, kind=kind)
    return rows


def _probed(subject: Subject, harm: Sequence[Row], benign: Sequence[Row], **about) -> Iterator[dict]:
    learn = [_answered(subject, subject.sets[name]) for name in ("safety", "requests")]
    asked = [_answered(subject, rows) for rows in (harm, benign)]
    found = [linear_probe(subject.model, subject.tokenizer, sum(learn, []), _labels(*learn), test=sum(asked, []),
                          test_labels=_labels(*asked), layers=layers, positions=PROBED + ANSWERED,
                          types=lambda row: subject.material.topic(row["prompt"]),
                          batch_size=subject.material.batch_size) for layers in _layers(subject)]
    for metric in ("accuracy", "control"):
        for probes in found:
            for layer, values in zip(probes.layers, getattr(probes, metric).tolist(), strict=True):
                for position, value in zip(probes.positions, values, strict=True):
                    if isfinite(value):  # no control where no topic of the test was learned from
                        yield {**about, "layer": layer, "position": position, "metric": metric, "value": 100 * value,
                               "n": len(sum(asked, [])), "judge": "truth"}


def _layers(subject: Subject) -> list[Sequence[int]]:
    """Layers to probe, in groups that are probed at once."""
    last = len(subject.units.blocks)
    step = max(1, last // 8)
    layers = range(last % step, last + 1, step)
    # A probe holds the states of all rows at a layer at once: one layer at a time leaves a large model its room.
    return [[layer] for layer in layers] if is_checkpoint(subject.scale) else [layers]


def selectivity(table: pandas.DataFrame) -> pandas.DataFrame:
    """Accuracy minus control (points) of the last layer at the prompt's last token: one row a stage, kind and organism.

    table   Rows of `probes`. Column `record`: the id under which a claim reads malicious requests of seen kinds.

    *Shown in:* 02_probe_reasoning_direction.
    """
    here = table[(table.layer == table.layer.max()) & (table.position == 0)]
    index = ["stage", "kind", "seed", "n", "judge"]
    wide = here.pivot_table(index=index, columns="metric", values="value").reset_index()
    record = ("probes/" + wide.stage + "/selectivity").where(wide.kind == "harm", "")
    return wide.assign(value=wide.accuracy - wide.control, record=record).dropna(subset="value")


def _answered(subject: Subject, rows: Sequence[Row]) -> list[Row]:
    return [{"prompt": row["prompt"], "response": subject.material.answered(row)} for row in rows]


def _labels(harm: Sequence, benign: Sequence) -> list[bool]:
    return [True] * len(harm) + [False] * len(benign)
