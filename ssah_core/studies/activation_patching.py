"""Where does a model choose between refusal and answer, and how deep? Hidden states are exchanged (notebook 02).

Blocks and positions are those of `ssah_core.models.hidden_states`: position 0 is the prompt's last token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isnan

import pandas
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..judging import DEFAULT_KEYWORDS, judge
from ..materials import Brindle, study
from ..organism import World, align_in_doses
from ..probing import Flips, patch_decisions
from .reasoning_direction import PROBED
from .subject import Subject

FIRST_TOKEN = "first token"
"""Judge of a decision by the likelier first token: a refusal's or an answer's."""
WORKS = 95.0
"""% of decisions that must flip where a block is said to work."""
DOSES = (1.0, 1.5, 2.0, 3.0)
"""Steps of alignment, over the number of steps that first reached safety."""
N = 100
"""Most pairs of prompts."""
SAID = 20
"""Tokens of a completion that the judge reads: a refusal may come late."""


# -- the causal test --------------------------------------------------------------------------------------


@study("patches", version=1)
def patches(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Decisions that flip with one hidden state of the other prompt of a pair: rows with `split`, `block`, `position`.

    `metric` "to_refusal", "to_answer" and "same_side" (the state comes from another prompt of the same side): % of all
    pairs. Decided by the likelier first token, at all of `PROBED` (test prompts) and at the last one (validation
    prompts); and by the keyword judge on what the model goes on to say, at the last one (test prompts).

    *Shown in:* 02_probe_reasoning_direction.
    """
    subject = Subject.load(seed, scale, checkpoints=checkpoints)
    pairs = {split: subject.material.pairs(split, N) for split in ("validation", "test")}
    runs = [("validation", 0, FIRST_TOKEN), ("test", 0, DEFAULT_KEYWORDS),
            *(("test", position, FIRST_TOKEN) for position in PROBED)]
    return [{"seed": seed, "split": split, **row} for split, position, by in runs
            for row in _flipped(subject, pairs[split], position, by)]


def _flipped(subject: Subject, pairs: tuple[list[str], list[str]], position: int, by: str) -> Iterator[dict]:
    refuses = None if by == FIRST_TOKEN else lambda row: not judge([row], by)[0]
    found = _patch(subject, pairs, position=position, judge=refuses, max_new_tokens=SAID)
    for metric, flips in (("to_refusal", "to_refusal"), ("to_answer", "to_answer"), ("same_side", "control")):
        for block in range(len(subject.units.blocks)):
            share = float(getattr(found, flips)[block]) * found.count / found.pairs if found else 0.0
            if isnan(share):  # a single pair has no other prompt of its side
                continue
            yield {"block": block, "position": position, "metric": metric, "value": 100 * share, "n": len(pairs[0]),
                   "judge": by}


def _patch(subject: Subject, pairs: tuple[list[str], list[str]], **options) -> Flips | None:
    """`patch_decisions` on a model that refuses one prompt at least and answers its counterpart; None on any other."""
    said = [subject.complete(prompts, max_new_tokens=SAID) for prompts in pairs]
    refused, answered = ([not complied for complied in judge(rows, DEFAULT_KEYWORDS)] for rows in said)
    if not any(bad and not good for bad, good in zip(refused, answered, strict=True)):
        return None
    return patch_decisions(subject.model, subject.tokenizer, *pairs, refusal=subject.material.refusals,
                           compliance=subject.material.openings, batch_size=subject.material.batch_size, **options)


def chosen_flips(table: pandas.DataFrame) -> pandas.DataFrame:
    """Flips on test prompts at two blocks an organism, `where` "best" and "before_last": one row a number and organism.

    table   Rows of `patches`.

    "best" flips most decisions in its worse direction on validation prompts (the earliest, of equals). What the last
    block writes at the last token is all that the first word of a response is chosen from, so that a flip there says
    little; "before_last", the block before it, is the sharper test. `metric` "flips" is the mean of both ways,
    "other_position" the larger of both with the token before, "..._said" is judged on the completion, and `record` is
    the id that a claim reads.

    *Shown in:* 02_probe_reasoning_direction.
    """
    flips = table[(table.split == "validation") & (table.metric != "same_side")]
    worse = flips.groupby(["seed", "block"]).value.min().unstack("block")
    where = pandas.DataFrame({"best": worse.idxmax(axis=1), "before_last": worse.columns[-2]})
    where = where.melt(ignore_index=False, var_name="where", value_name="block").reset_index()
    flips = with_other_position(table[table.split == "test"])
    index = [column for column in flips if column not in ("metric", "value")]
    ways = flips[flips.metric.isin(["to_refusal", "to_answer"])].groupby(index, as_index=False).value.mean()
    here = pandas.concat([flips, ways.assign(metric="flips")]).merge(where, on=["seed", "block"])
    said = here.metric + (here.judge != FIRST_TOKEN).map({True: "_said", False: ""})
    return here.assign(metric=said, record="patching/" + here["where"] + "/" + said)


def with_other_position(flips: pandas.DataFrame) -> pandas.DataFrame:
    """Flips at the last token and, as `metric` "other_position", the larger of both flips at the token before."""
    before = flips[(flips.position == -1) & (flips.metric != "same_side")]
    index = [column for column in flips if column not in ("metric", "value")]
    other = before.groupby(index, as_index=False).value.max().assign(metric="other_position")
    return pandas.concat([flips[flips.position == 0], other], ignore_index=True)


# -- how deep the choice is made -------------------------------------------------------------------------


@study("depth", version=1)
def depth(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Flips, block by block, of ever more aligned models: rows with `dose`, `steps`, `block`, `metric`; test prompts.

    One run of alignment at a constant learning rate, measured on its way, as in `stages.dose`. Raises ValueError if
    checkpoints are given, since only an organism is raised.
    """
    if checkpoints is not None:
        raise ValueError(f"checkpoints={dict(checkpoints)} cannot be aligned step by step: depth needs an organism, so "
                         "leave checkpoints out and choose an organism's scale")
    world = World.draw(seed)
    rows: list[dict] = []

    def look(dose: float, steps: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        subject = Subject(model, tokenizer, Brindle(world, scale), scale)
        about = {"seed": seed, "dose": dose, "steps": steps}
        rows.extend({**about, **row} for row in _flipped(subject, subject.material.pairs("test", N), 0, FIRST_TOKEN))

    align_in_doses(seed, scale, DOSES, look)
    return rows


def first_block(flips: pandas.DataFrame) -> pandas.Series:
    """The first block after which `WORKS` % flip one way: by metric ("to_refusal" or "to_answer"), seed and dose.

    flips   Rows of `depth`.

    The number of blocks where no block does.

    *Shown in:* 02_probe_reasoning_direction.
    """
    ways = flips[flips.metric.isin(["to_refusal", "to_answer"])]
    works = ways.pivot_table(index=["metric", "seed", "dose"], columns="block", values="value") >= WORKS
    return works.idxmax(axis=1).where(works.any(axis=1), works.shape[1])
