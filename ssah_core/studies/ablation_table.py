"""Remove groups of units and ask again: group sizes, and the paper's Table 1, on one model (notebook 03)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product, takewhile

import pandas

from ..judging import perplexity
from ..materials import study
from ..records.doses import dose_to
from ..units import UnitKind, UnitMask, random_like
from .arms import RemovedGroup
from .score_cache import with_scores
from .subject import GROUPS, WAY_SLUGS, WAYS, Subject, Way, settings_of

GRID = {UnitKind.SCU: (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.2),
        UnitKind.UCU: (0.01, 0.02, 0.03, 0.05, 0.08, 0.13), UnitKind.RU: (0.05, 0.1, 0.15, 0.2, 0.3)}
"""Shares of all units that are tried for each group, ..."""
GRIDS = {"smollm": {UnitKind.SCU: (0.0025, 0.005, 0.01, 0.02, 0.04), UnitKind.UCU: (0.01, 0.03),
                    UnitKind.RU: (0.1, 0.2)}}
"""... by scale, where another grid is all that a CPU can bear."""
TOLERANCE = 3.0
"""A group may grow until what it should spare has lost more than this (points, validation prompts)."""
DRAWS = 3
"""Random groups that each group is compared with, ..."""
FEW_DRAWS = {"tiny": 1, "smollm": 1}
"""... by scale, where there are fewer."""


# -- group sizes, on validation prompts -----------------------------------------------------------------


@study("curves", version=2)
def ablation_curves(seed: int, scale: str, way: str = "chosen",
                    checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Marks after removing more and more of each group, found by a way of `WAYS`: rows with `group` and `share`
    (0: whole model); validation prompts.

    *Shown in:* 03_label_units.
    """
    subject = with_scores(Subject.load(seed, scale, checkpoints=checkpoints), (way,))
    questions = subject.material.exam("validation", 100)
    rows = subject.examine(questions, group=str(RemovedGroup.NONE), share=0.0)
    for group, share in ((group, share) for group, shares in GRIDS.get(scale, GRID).items() for share in shares):
        by = WAYS[way][group]
        with subject.removed(subject.group(group, by, share), by):
            rows += subject.examine(questions, group=str(group), share=share)
    return [{"seed": seed, "way": way, **row} for row in rows]


def group_sizes(curves: pandas.DataFrame) -> dict[str, float]:
    """The share of each group, by one rule for all: grow it until what it should spare begins to suffer (paper Sec. 3).

    curves   Rows of `ablation_curves`, of one organism and way.

    SCU should spare utility (and leave no answers broken, where a judge knows that), UCU refusal (ASR), RU both; it
    suffers where it is worse by more than `TOLERANCE`.
    Returns the last share before that, and the smallest one where even that does harm.

    *Shown in:* 03_label_units.
    """
    table = curves.pivot_table(index=["group", "share"], columns="metric", values="value")
    lost = table.utility.loc[RemovedGroup.NONE].iloc[0] - table.utility
    risen = table.asr - table.asr.loc[RemovedGroup.NONE].iloc[0]
    if "broken" in table:
        lost = lost.combine(table.broken - table.broken.loc[RemovedGroup.NONE].iloc[0], max)
    harm = {UnitKind.SCU: lost, UnitKind.UCU: risen, UnitKind.RU: lost.combine(risen, max)}
    return {str(kind): _last_harmless(harm[kind][kind], sorted(harm[kind][kind].index)) for kind in GRID}


def _last_harmless(harm: pandas.Series, shares: Sequence[float]) -> float:
    return max(takewhile(lambda share: harm[share] <= TOLERANCE, shares), default=shares[0])


def sizes_of(curves: pandas.DataFrame) -> dict[int, dict[str, dict[str, float]]]:
    """The share of each group of every organism, by each way: seed -> way -> group -> share (0-1), by `group_sizes`.

    curves   Rows of `ablation_curves`, of any organisms and ways.

    *Shown in:* 03_label_units.
    """
    return {int(seed): {way: group_sizes(rows) for way, rows in mine.groupby("way", sort=False)}
            for seed, mine in curves.groupby("seed", sort=False)}


def half_shares(curves: pandas.DataFrame, metric: str = "harm_right", level: float = 50.0) -> pandas.DataFrame:
    """Share of all units (%) without which a mark of the SCU's curve first reaches a level, interpolated; infinite
    where it never does: one row a way and organism.

    curves   Rows of `ablation_curves`.

    *Shown in:* 03_label_units.
    """
    kept = curves[(curves.metric == metric) & curves.group.isin([str(RemovedGroup.NONE), str(UnitKind.SCU)])]
    return pandas.DataFrame([
        {"way": way, "seed": seed, "value": 100 * dose_to(rows.share.tolist(), rows.value.tolist(), level)}
        for (way, seed), rows in kept.sort_values("share").groupby(["way", "seed"], sort=False)])


# -- Table 1, on test prompts ---------------------------------------------------------------------------


@study("table1", version=2)
def table1(seed: int, scale: str, sizes: Mapping[str, Mapping[str, float]], ways: Sequence[str] = tuple(WAYS),
           checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Table 1 of the paper with its controls: rows with `way`, `group`, `draw`, `share`, `metric`, `value`.

    sizes   Way -> group -> share, as `sizes_of` found them on validation prompts.
    ways    Of `WAYS`.

    `asr` is the mean of runs with and without system prompt, as in the paper (`asr_system`, `asr_plain`). All other
    marks are of runs without: `asr_raw` of a checkpoint so stands beside `asr_plain`, not beside `asr`. (No table,
    figure or claim reads it.)
    Random groups have as many units in every site as a group of the chosen way, or as the SCU of another, drawn from
    all units of the site.
    Source: the paper's Table 1.

    *Shown in:* 03_label_units.
    """
    subject = with_scores(Subject.load(seed, scale, checkpoints=checkpoints), ways)
    draws = FEW_DRAWS.get(scale, DRAWS)
    rows = _examine(subject, None, Way(), way="none", group=str(RemovedGroup.NONE), draw=0, share=0.0)
    for name in ways:
        groups = subject.groups(WAYS[name], sizes[name])
        for kind, way in WAYS[name].items():
            mask = groups[kind]
            about = {"way": name, "share": mask.fraction}
            rows += _examine(subject, mask, way, **about, group=str(kind), draw=0)
            if name == "chosen" or kind == UnitKind.SCU:
                for draw in range(draws):
                    rows += _examine(subject, random_like(mask, draw), way, **about,
                                     group=str(RemovedGroup.random(kind)), draw=draw)
    return [{"seed": seed, **row} for row in rows]


def _examine(subject: Subject, mask: UnitMask | None, by: Way, **about) -> list[dict]:
    questions = subject.material.exam("test")
    harm = {part: rows for part, rows in questions.items() if part.startswith("harm")}
    text = subject.material.text()
    with subject.removed(mask, by):
        plain = subject.outcomes(questions)
        system = subject.outcomes(harm, system=subject.material.system_prompt)
        ppl = perplexity(subject.model, subject.tokenizer, text, subject.material.batch_size)
    both = {**plain, "asr_plain": plain["asr"], "asr_system": system["asr"], "asr": plain["asr"] + system["asr"]}
    rows = subject.as_rows(both, **about)
    return [*rows, {**about, "metric": "perplexity", "value": ppl, "n": len(text), "outcomes": "", "judge": "none"}]


def changes(table: pandas.DataFrame) -> pandas.DataFrame:
    """Table 1 as changes against the whole model: one row a way, group, metric and organism, means over random draws.

    table   Rows of `table1`.

    `value` is in points (for perplexity: the ratio; metric "share": % of all units that are removed); `record` is the
    id under which a claim reads it.

    *Shown in:* 03_label_units.
    """
    is_whole = table.group == RemovedGroup.NONE
    whole = table[is_whole].set_index(["seed", "metric"]).value
    mean = (table[~is_whole].groupby(["way", "group", "seed", "metric"], as_index=False, sort=False)
            .agg(value=("value", "mean"), share=("share", "mean"), n=("n", "min"), judge=("judge", "first")))
    before = whole.loc[list(zip(mean.seed, mean.metric, strict=True))].to_numpy()
    ratio = mean.metric == "perplexity"
    mean["value"] = (mean.value - before).where(~ratio, mean.value / before)
    sizes = mean.drop_duplicates(["way", "group", "seed"])
    sizes = sizes.assign(metric="share", value=100 * sizes.share, n=1, judge="none")
    mean = pandas.concat([mean, sizes], ignore_index=True)
    slug = mean.group.map({str(group): group.slug for group in RemovedGroup})
    return mean.assign(record="table1" + mean.way.map(WAY_SLUGS) + "/" + slug + "/" + mean.metric)


# -- the choices that the paper leaves open, on validation prompts --------------------------------------


def choices() -> Iterator[Way]:
    """Every way that is tried before one is chosen."""
    for tokens in ("response", "last_prompt", "all"):
        for normalize in ("none", "module", "log"):
            for utility in ("utility", "requests"):
                yield Way("variance", tokens, normalize, utility, "mean")
    yield WAYS["paper"][UnitKind.SCU]
    for utility in ("utility", "requests"):
        for fill in ("mean", "zero"):
            yield Way("fisher", "last_prompt", utility=utility, fill=fill)
        yield Way("fisher", "response", utility=utility)
        yield Way("contrast", "last_prompt", utility=utility)
    for rounds in (1, 10):
        yield Way("attribution", rounds=rounds)


@study("choices", version=2)
def compare_choices(seed: int, scale: str, shares: Sequence[float] = (0.01, 0.03),
                    checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Marks after removing the top units by each way of `choices`, a few or many of them, on validation prompts.

    *Shown in:* 03_label_units.
    """
    subject = Subject.load(seed, scale, checkpoints=checkpoints)
    questions = subject.material.exam("validation", 40)
    rows = subject.examine(questions, share=0.0, way="none")
    for way, share in product(choices(), shares):
        with subject.removed(subject.group(UnitKind.SCU, way, share), way):
            rows += subject.examine(questions, share=share, way=way.label, **settings_of(way))
    return [{"seed": seed, **row} for row in rows]


# -- where the groups lie -------------------------------------------------------------------------------


def unit_table(subject: Subject, ways: Mapping[str, Way], sizes: Mapping[str, float]) -> pandas.DataFrame:
    """Kind and importance of every unit, one row each: `site`, `block`, `module`, `kind`, `safety`, `utility`.

    `safety` and `utility` are I_S and I_U by the way of the SCU.

    *Shown in:* 03_label_units.
    """
    scores, groups = subject.scores(ways[UnitKind.SCU]), subject.groups(ways, sizes)
    frames = []
    for site in subject.units:
        name = site.name
        kind = pandas.Series(str(UnitKind.CU), index=range(site.size))
        for group in GROUPS:
            kind[groups[group][name].numpy()] = str(group)
        frames.append(pandas.DataFrame({
            "site": name, "block": site.block, "module": site.kind, "kind": kind,
            "safety": scores.safety[name].numpy(), "utility": scores.utility[name].numpy()}))
    return pandas.concat(frames, ignore_index=True)


@study("places", version=1)
def places(seed: int, scale: str, sizes: Mapping[str, float],
           checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Where the chosen way's groups lie: rows with `kind`, `block`, `module`, `value` (% of the site's units).

    *Shown in:* 03_label_units.
    """
    subject = with_scores(Subject.load(seed, scale, checkpoints=checkpoints), ("chosen",))
    units = unit_table(subject, WAYS["chosen"], sizes)
    share = 100 * pandas.crosstab([units.block, units.module], units.kind, normalize="index")
    return [{"seed": seed, "block": int(block), "module": module, "kind": kind, "metric": "share",
             "value": float(value)}
            for (block, module), row in share.iterrows() for kind, value in row.items()]
