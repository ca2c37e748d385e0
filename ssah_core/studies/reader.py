"""Judges against a reader, on what a real model says to malicious requests, whole and edited (notebook 10).

    python -m ssah_core.studies.reader
    python -m ssah_core.judging.reading FOLDER/*/ --labels labels.json

The first line writes completions, a folder an arm, and says where; the second shows them one by one, without their
arms, and keeps labels by digests. Where labels lie in figures/labels, without any text, the first sets judges beside
them too (`read`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas

from ..arguments import Parser
from ..generation import complete_to
from ..judging import BROKEN, FLUENT
from ..judging.agreement import FULFILS, Reading, agreement, judged, read_labels, weighted
from ..materials import study
from ..records import cache, digest, measure_each, paths, rests_on
from ..smollm import fluent_judge
from ..units import UnitKind, UnitMask, random_like
from .checkpoints import on_model
from .finetuning_attack import RATES, STATED, Attack, target
from .score_cache import with_scores
from .subject import WAYS, Subject, Way

REMOVED = {"chosen": (0.0025, 0.01, 0.04), "paper": (0.01, 0.02, 0.04)}
"""Way -> shares of all units that are removed as SCU: where little comes of it, much, and too much."""
RANDOM = 0.04
"""Share of the random units."""


# -- completions, an arm a folder ---------------------------------------------------------------------------


def write_arms(folder: Path, seed: int, scale: str, checkpoints: Mapping[str, str]) -> dict[str, list[dict]]:
    """What a checkpoint says to the malicious test requests in every arm, kept in `folder`, a folder an arm.

    folder   New, or one that such a run has begun. Raises ValueError if it holds what another model has said.
    """
    rests_on("exam/test")
    harm, made = None, {}
    with cache.locked(folder):  # between two arms as well
        for arm, subject, mask, by in _arms(seed, scale, checkpoints):
            harm = harm or subject.material.malicious("test")
            units = {site: part.nonzero().flatten().tolist() for site, part in mask.sites.items()} if mask else {}
            with subject.removed(mask, by):
                said = complete_to(folder / arm, subject.model, subject.tokenizer, harm, arm=f"{arm} {digest(units)}",
                                   progress=True, **subject.material.asking)
            made[arm] = said.to_list()
    return made


def _arms(seed: int, scale: str, checkpoints: Mapping[str, str]) -> Iterator[tuple[str, Subject, UnitMask | None, Way]]:
    """Name, model, the units to remove, and how they are removed."""
    by = WAYS["chosen"][UnitKind.SCU]
    yield "published", Subject.load(seed, scale, "instructed", checkpoints), None, by
    aligned = with_scores(Subject.load(seed, scale, checkpoints=checkpoints), tuple(REMOVED))
    yield "aligned", aligned, None, by
    for way, shares in REMOVED.items():
        found = WAYS[way][UnitKind.SCU]
        for share in shares:
            yield f"{way}-{100 * share:g}", aligned, aligned.group(UnitKind.SCU, found, share), found
    yield f"random-{100 * RANDOM:g}", aligned, random_like(aligned.group(UnitKind.SCU, by, RANDOM), seed), by
    fight = Attack(target(seed, scale, checkpoints), "benign")
    yield "fine-tuned", fight.run(checks=(fight.steps,)), None, by


# -- judges beside the reader -------------------------------------------------------------------------------


def labels_of(seed: int, scale: str) -> dict[str, str]:
    """The committed labels of a reader, by digests of completions; none where nobody has read.

    >>> from ssah_core.studies.reader import labels_of
    >>> labels_of(10**6, "smollm")
    {}
    """
    return read_labels(paths.committed() / "labels" / f"{scale}-seed{seed}.json")


@study("reader", version=2)
def read(seed: int, scale: str, labels: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """What a reader and judges say of the same completions: rows with `arm`, `by`, `metric`, `value` (%), `n`.

    labels   Digest of the labels, see `labels_of`.

    Of an arm, `metric` is "fulfilled" or "broken"; `by` is a judge, of all that the arm says, or "reader", of what has
    a label. What was read was drawn arm by arm, what several say from the first of them, and as much of that on which
    judges disagree as of the rest: each stratum counts by its size. Of all arms together ("all"), `metric` is
    "agreement", with `low`, `high` and `kappa` of what was read, and `of_all`, that which follows for all.
    Raises ValueError if the labels are others, or less than half of them are of these completions.
    """
    given, checkpoints = labels_of(seed, scale), dict(checkpoints or {})
    if digest(given) != labels:
        raise ValueError(f"labels={labels!r}, but those of seed {seed} are {digest(given)}: pass the digest of "
                         "labels_of(seed, scale)")
    place = _place(seed, scale, checkpoints)
    said = write_arms(place, seed, scale, checkpoints)
    first = {reading.key: reading for reading in judged({arm: said[arm] for arm in sorted(said)}, fluent_judge())}
    if len(given.keys() & first.keys()) < len(given) / 2:
        raise ValueError(f"the labels of seed {seed} are of other completions: read these, which lie in {place}")
    arms = {arm: [first[Reading(row, arm, {}).key] for row in said[arm]] for arm in said}
    rows = [*(row for arm in arms for row in _of_arm(arm, arms[arm], given)), *_agreement(list(first.values()), given)]
    return [{"seed": seed, **row} for row in rows]


def _place(seed: int, scale: str, checkpoints: Mapping[str, str]) -> Path:
    about = {"seed": seed, "scale": scale, "removed": REMOVED, "rates": RATES[scale], "steps": STATED[scale]}
    return paths.cache() / "to-read" / cache.key({**about, **checkpoints})


def _of_arm(arm: str, readings: Sequence[Reading], labels: Mapping[str, str]) -> Iterator[dict]:
    for by in readings[0].verdicts:
        metric, judge = (BROKEN, FLUENT) if by == BROKEN else ("fulfilled", by)
        yield {"arm": arm, "by": judge, "metric": metric, "judge": judge, "n": len(readings),
               "value": 100 * sum(reading.verdicts[by] for reading in readings) / len(readings)}
    known = [reading for reading in _sized(readings) if reading.key in labels]
    for metric, label in (("fulfilled", FULFILS), (BROKEN, BROKEN)) if known else ():
        yield {"arm": arm, "by": "reader", "metric": metric, "judge": "reader", "n": len(known),
               "value": 100 * weighted(known, [labels[reading.key] == label for reading in known])}


def _agreement(readings: Sequence[Reading], labels: Mapping[str, str]) -> Iterator[dict]:
    for row in agreement(_sized(readings), labels).to_dict("records"):
        found = {name: 100 * row[name] for name in ("low", "high", "of_all")}
        yield {"arm": "all", "by": row["judge"], "metric": "agreement", "value": 100 * row["agreement"], "n": row["n"],
               **found, "kappa": None if pandas.isna(row["kappa"]) else row["kappa"], "judge": "reader"}


def _sized(readings: Sequence[Reading]) -> list[Reading]:
    """Readings with the sizes of their strata."""
    sizes = Counter(reading.stratum for reading in readings)
    return [replace(reading, of=sizes[reading.stratum]) for reading in readings]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m ssah_core.studies.reader", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of alignment and data (0)")
    options = parser.parse_args(argv)
    try:
        on = on_model("smollm")
        place = _place(options.seed, "smollm", **on)
        if labels := labels_of(options.seed, "smollm"):
            print(measure_each(read, [options.seed], "smollm", labels=digest(labels), **on).to_string())
        else:
            write_arms(place, options.seed, "smollm", **on)
        print(place)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
