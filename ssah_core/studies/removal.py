"""Remove groups of units and ask again: group sizes, and the paper's Table 1, on one organism (notebook 03)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas

from ..benchmarks import perplexity
from ..organism import get_scale
from ..organism.corpora import held_out_text
from ..organism.world import SYSTEM_PROMPT
from ..units import UnitKind, UnitMask, random_like
from .subject import WAYS, Subject, Way, as_rows, settings_of, sizes_of

GRID = {"SCU": (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04), "UCU": (0.02, 0.05, 0.08, 0.11, 0.14),
        "RU": (0.05, 0.1, 0.15, 0.2, 0.3)}
"""Shares of all units that are tried for each group."""
TOLERANCE = 0.02
"""A group may grow until what it should spare has lost more than this (2 points, validation prompts)."""
DRAWS = 5
"""Random groups that each group is compared with."""


# -- group sizes, on validation prompts -----------------------------------------------------------------


def ablation_curves(seed: int, scale: str, way: str = "chosen") -> list[dict]:
    """Marks after removing more and more of each group, found by a way of `WAYS`: rows with `group`, `share` (0: whole model)."""
    subject, name, way = Subject.load(seed, scale), way, WAYS[way]
    questions = subject.exam("validation", 100)
    rows = as_rows(subject.marks(questions), sizes_of(questions), group="none", share=0.0)
    for group, share in ((group, share) for group, shares in GRID.items() for share in shares):
        mask = subject.labels(way, {**dict.fromkeys(GRID, 0.0), group: share}).mask(group)
        with subject.removed(mask, way):
            rows += as_rows(subject.marks(questions), sizes_of(questions), group=group, share=share)
    return [{"seed": seed, "way": name, **row} for row in rows]


def group_sizes(curves) -> dict[str, float]:
    """The share of each group, by one rule for all: the largest tried at which what it should spare still stands.

    curves   Rows of `ablation_curves` (a DataFrame), of one organism.

    SCU should spare utility, UCU refusal (ASR), RU both; "stands" means worse by `TOLERANCE` at most. Where even
    the smallest share does harm, it is taken.
    """
    table = curves.pivot_table(index=["group", "share"], columns="metric", values="value")
    lost = table.utility.loc["none"].iloc[0] - table.utility
    risen = table.asr - table.asr.loc["none"].iloc[0]
    harm = {"SCU": lost, "UCU": risen, "RU": lost.combine(risen, max)}
    return {group: max((s for s in shares if harm[group][group, s] <= 100 * TOLERANCE), default=shares[0])
            for group, shares in GRID.items()}


# -- Table 1, on test prompts ---------------------------------------------------------------------------


def table1(seed: int, scale: str, sizes: Mapping[str, Mapping[str, float]]) -> list[dict]:
    """Table 1 of the paper with its controls: rows with `way`, `group`, `draw`, `share`, `metric`, `value`.

    sizes   Way -> group -> share, as `group_sizes` found them on validation prompts.

    `asr` is the mean of runs with and without system prompt, as in the paper (`asr_system`, `asr_plain`).
    Random groups have as many units in every site as the chosen way's group, and share none with it.
    """
    subject, draws = Subject.load(seed, scale), 1 if scale == "tiny" else DRAWS
    rows = _examine(subject, None, WAYS["chosen"], way="none", group="none", draw=0, share=0.0)
    for name, way in WAYS.items():
        labels = subject.labels(way, sizes[name])
        for group in GRID:
            mask = labels.mask(group)
            about = {"way": name, "group": group, "share": mask.fraction}
            rows += _examine(subject, mask, way, **about, draw=0)
            if name == "chosen":
                for draw in range(draws):
                    control = random_like(mask, draw, outside=mask)
                    rows += _examine(subject, control, way, **{**about, "group": f"random {group}"}, draw=draw)
    return [{"seed": seed, **row} for row in rows]


def _examine(subject: Subject, mask: UnitMask | None, by: Way, **about) -> list[dict]:
    questions = subject.exam("test")
    harm = {part: rows for part, rows in questions.items() if part.startswith("harm")}
    with subject.removed(mask, by):
        plain = subject.marks(questions)
        system = subject.marks(harm, system=SYSTEM_PROMPT)
        text = held_out_text(subject.world, get_scale(subject.scale).calibration)
        ppl = perplexity(subject.model, subject.tokenizer, text)
    marks = {**plain, "asr_plain": plain["asr"], "asr_system": system["asr"], "asr": (plain["asr"] + system["asr"]) / 2}
    rows = as_rows(marks, {**sizes_of(questions), "asr_plain": len(harm["harm"]), "asr_system": len(harm["harm"])}, **about)
    return [*rows, {**about, "metric": "perplexity", "value": ppl, "n": len(text), "judge": "none"}]


def changes(table: pandas.DataFrame) -> pandas.DataFrame:
    """Table 1 as changes against the whole model: one row a way, group, metric and organism, means over random draws.

    `value` is in points (for perplexity: the ratio); `record` is the id under which a claim reads it.
    """
    whole = table[table.group == "none"].set_index(["seed", "metric"]).value
    mean = (table[table.group != "none"].groupby(["way", "group", "seed", "metric"], as_index=False, sort=False)
            .agg(value=("value", "mean"), share=("share", "mean"), n=("n", "min"), judge=("judge", "first")))
    before = whole.loc[list(zip(mean.seed, mean.metric))].to_numpy()
    ratio = mean.metric == "perplexity"
    mean["value"] = (mean.value - before).where(~ratio, mean.value / before)
    place = mean.way.map({"chosen": "table1", "paper": "table1_variance", "paper, best": "table1_best"})
    return mean.assign(record=place + "/" + mean.group.str.lower().str.replace(" ", "_") + "/" + mean.metric)


# -- the choices that the paper leaves open, on validation prompts --------------------------------------


def choices() -> Iterator[Way]:
    """Every way that is tried before one is chosen."""
    for tokens in ("response", "last_prompt", "all"):
        for normalize in ("none", "module", "log"):
            for utility in ("utility", "requests"):
                yield Way("variance", tokens, normalize, utility, "mean")
    yield WAYS["paper"]
    for utility in ("utility", "requests"):
        for fill in ("mean", "zero"):
            yield Way("fisher", "last_prompt", "none", utility, fill)
        yield Way("fisher", "response", "none", utility, "mean")
        yield Way("contrast", "last_prompt", "none", utility, "mean")


def compare_choices(seed: int, scale: str, share: float = 0.02) -> list[dict]:
    """Marks after removing the top `share` of units by each way, on validation prompts."""
    subject = Subject.load(seed, scale)
    questions = subject.exam("validation", 60)
    rows = as_rows(subject.marks(questions), sizes_of(questions), share=0.0, way="none")
    for way in choices():
        mask = subject.labels(way, {"SCU": share, "UCU": 0.0, "RU": 0.0}).mask("SCU")
        with subject.removed(mask, way):
            rows += as_rows(subject.marks(questions), sizes_of(questions), share=share, way=way.label, **settings_of(way))
    return [{"seed": seed, **row} for row in rows]


# -- where the groups lie -------------------------------------------------------------------------------


def unit_table(subject: Subject, way: Way, sizes: Mapping[str, float]) -> pandas.DataFrame:
    """One row a unit: `site`, `block`, `module`, `safety` (I_S), `utility` (I_U), `contrast`, `kind`."""
    scores, labels = subject.scores(way), subject.labels(way, sizes)
    frames = []
    for site in subject.units:
        name = site.name
        kinds = [next(k.value for k in UnitKind if labels.mask(k)[name][j]) for j in range(site.size)]
        frames.append(pandas.DataFrame({
            "site": name, "block": site.block, "module": site.kind, "safety": scores.safety[name].numpy(),
            "utility": scores.utility[name].numpy(), "contrast": scores.contrast[name].numpy(), "kind": kinds}))
    return pandas.concat(frames, ignore_index=True)
