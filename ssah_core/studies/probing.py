"""Which way is an organism heading? The paper's distances (Fig. 2, 3, 4, 7), and two other ways to ask (notebook 02).

Layers and positions are those of `ssah_core.hidden`: layer 0 is the embeddings, position 0 the prompt's last token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pandas
import torch
from torch import Tensor

from ..hidden import as_rows, render, stream
from ..lens import logit_lens
from ..organism.world import OPENINGS, REFUSALS, Row
from ..probing import Distances, intent_residual, reasoning_direction
from ..readout import linear_probe
from .subject import Subject

STAGES = ("instructed", "aligned")
KINDS = ("harm", "harm_unseen", "benign")
COMPLIANCES = tuple(f"{opening} take the" for opening in OPENINGS)
"""Openings, and the two words with which every answer goes on."""
LENGTHS = (2, 4, 6)
"""Tokens appended. The paper has up to 10; here the shortest refusal has 7 and the shortest compliance 6."""
READINGS = {"response": (reasoning_direction, "response"), "query": (reasoning_direction, "query"),
            "residual": (intent_residual, "response")}
"""Ways to take the paper's distance: the tokens begin the response; they follow the query; as the first, less what the
same tokens do to benign requests (of the calibration split)."""
PROBED = tuple(range(-6, 1))
"""Positions in the prompt that every request has: its last words, its end, and the last token of the template."""
ANSWERED = tuple(range(1, 7))
"""Positions in the answer that are probed too."""


# -- distances and the logit lens ------------------------------------------------------------------------


def distances(seed: int, scale: str) -> list[dict]:
    """The paper's gap by every reading, on test prompts: rows with `stage`, `kind`, `reading`, `layer`, `length`.

    `metric` is "gap": distance to compliance minus distance to a refusal (cosine, -2 to 2; positive: the refusal is
    nearer), mean over the wordings of each; "lowest" and "highest": that of the most extreme pair of wordings.
    Beside `READINGS` stands "intent", with `length` 0 since no tokens are appended: distance to the mean state of
    benign requests minus distance to that of malicious ones (calibration prompts), which are answered and refused.
    """
    rows = []
    for stage in STAGES:
        subject = Subject.load(seed, scale, stage)
        exam = subject.exam("test", 100)
        benign, malicious = (_ends(subject, subject.sets[name]).mean(0) for name in ("requests", "safety"))
        for kind in KINDS:
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
    return torch.cat([states[:, :, 0] for _, states, _ in stream(subject.model, chats, (0,), batch_size=64)])


def _away(states: Tensor, mean: Tensor) -> Tensor:
    return 1 - torch.cosine_similarity(states, mean, dim=-1)


def _read(subject: Subject, queries: Sequence[Row], reading: str) -> Distances:
    function, place = READINGS[reading]
    baseline = {"benign": _plain(subject.sets["requests"])[:100]} if function is intent_residual else {}
    return function(subject.model, subject.tokenizer, _plain(queries), **baseline, refusal=REFUSALS,
                    compliance=COMPLIANCES, lengths=LENGTHS, place=place, batch_size=64)


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
    """
    mean = table[(table.metric == "gap") & (table.layer > 0)].pivot_table(
        index=["reading", "stage", "seed"], columns="kind", values="value")
    frame = pandas.DataFrame({"gap": mean.harm, "lean": mean.harm - mean.benign}).melt(
        ignore_index=False, var_name="metric").reset_index()
    record = "direction/" + frame.reading + "/" + frame.stage + "/" + frame.metric
    return frame.assign(record=record, n=int(table[table.kind == "harm"].n.min()), judge="none")


def lens(seed: int, scale: str) -> list[dict]:
    """What every layer would say at the prompt's last token: rows with `stage`, `kind`, `layer`; test prompts.

    `metric` "log_odds": of a refusal's first token against an answer's, in nats; "refuses": % of prompts where it is
    positive.
    """
    rows = []
    for stage in STAGES:
        subject = Subject.load(seed, scale, stage)
        for kind, questions in subject.exam("test").items():
            if kind in KINDS:
                found = logit_lens(subject.model, subject.tokenizer, _plain(questions), refusal=REFUSALS,
                                   compliance=OPENINGS, batch_size=64)
                about = {"seed": seed, "stage": stage, "kind": kind, "n": len(questions), "judge": "none"}
                for metric, values in (("log_odds", found.mean), ("refuses", 100 * found.refuses)):
                    rows += [{**about, "layer": layer, "metric": metric, "value": value}
                             for layer, value in enumerate(values.tolist())]
    return rows


# -- linear probes ---------------------------------------------------------------------------------------


def probes(seed: int, scale: str) -> list[dict]:
    """Can malice be read off? Rows with `stage`, `kind` (of the malicious test requests), `layer`, `position`.

    Probes learn from calibration prompts and are tested on test prompts, each followed by its *true* answer, whether it
    is malicious or not, so that no refusal tells them. `metric` "accuracy" and "control" (%; chance is 50): the control
    has a random label for every verb, which a probe can only memorise.
    """
    rows = []
    for stage in STAGES:
        subject = Subject.load(seed, scale, stage)
        exam = subject.exam("test", 100)
        for kind in ("harm", "harm_unseen"):
            rows += _probed(subject, exam[kind], exam["benign"], seed=seed, stage=stage, kind=kind)
    return rows


def _probed(subject: Subject, harm: Sequence[Row], benign: Sequence[Row], **about) -> Iterator[dict]:
    learn = _answered(subject.sets["safety"]), _answered(subject.sets["requests"])
    asked = _answered(harm), _answered(benign)
    verb = lambda row: next(word for word in words_of(row["prompt"]) if word in subject.world.tool)  # noqa: E731
    found = linear_probe(subject.model, subject.tokenizer, sum(learn, []), _labels(*learn), test=sum(asked, []),
                         test_labels=_labels(*asked), positions=PROBED + ANSWERED, types=verb, batch_size=64)
    for metric in ("accuracy", "control"):
        for layer, values in zip(found.layers, getattr(found, metric).tolist(), strict=True):
            for position, value in zip(found.positions, values, strict=True):
                yield {**about, "layer": layer, "position": position, "metric": metric, "value": 100 * value,
                       "n": len(sum(asked, [])), "judge": "truth"}


def selectivity(table: pandas.DataFrame) -> pandas.DataFrame:
    """Accuracy minus control (points) of the last layer at the prompt's last token: one row a stage, kind and organism.

    table   Rows of `probes`. Column `record`: the id under which a claim reads malicious requests of seen kinds.
    """
    here = table[(table.layer == table.layer.max()) & (table.position == 0)]
    index = ["stage", "kind", "seed", "n", "judge"]
    wide = here.pivot_table(index=index, columns="metric", values="value").reset_index()
    record = ("probes/" + wide.stage + "/selectivity").where(wide.kind == "harm", "")
    return wide.assign(value=wide.accuracy - wide.control, record=record)


def _answered(rows: Sequence[Row]) -> list[Row]:
    return [{"prompt": row["prompt"], "response": f"{OPENINGS[0]} {row['answer']}"} for row in rows]


def _labels(harm: Sequence, benign: Sequence) -> list[bool]:
    return [True] * len(harm) + [False] * len(benign)


def words_of(text: str) -> list[str]:
    """The words of a text, without punctuation."""
    return re.findall(r"\w+", text)
