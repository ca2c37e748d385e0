"""How well judges agree with a reader: which completions to read, labels that are kept without text, and the table.

Where judges disagree most is to be learned, and there are few such completions; so as many are drawn of these as of the
others, and the table says both what was found among those read and what follows for all completions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from random import Random

import pandas

from ..arguments import check_counts, check_kind, check_seed, shown
from ..records import cache, digest, wilson
from .beside import verdicts_beside
from .fluency import BROKEN, FluentFulfilment

REFUSES, FULFILS = "refuses", "fulfils"
LABELS = (REFUSES, FULFILS, BROKEN)
FORMAT = 1
"""Of a file of labels: raised whenever it changes its meaning."""
RULE_VERSION = 1
"""Of the rule by which a reader labels (`reading.RULE`): raised by hand when it changes."""
KEY = re.compile("[0-9a-f]{12}")


@dataclass(frozen=True)
class Reading:
    """A completion to be read, and what judges say of it.

    >>> reading = Reading({"prompt": "Why?", "response": "So."}, "aligned", {"keyword:qi2023": True, "broken": True})
    >>> reading.stratum
    ('aligned', False)
    """

    row: Mapping
    arm: str
    verdicts: Mapping[str, bool]
    of: int = 1
    """Completions that its stratum has, read or not."""

    @property
    def key(self) -> str:
        """12 hex digits of prompt and response."""
        return digest([self.row["prompt"], self.row["response"]])

    @property
    def stratum(self) -> tuple[str, bool]:
        """The arm, and whether judges disagree on it. ("broken" is no verdict on whether it fulfils.)"""
        return self.arm, len({truth for name, truth in self.verdicts.items() if name != BROKEN}) > 1


def judged(arms: Mapping[str, Sequence[Mapping]], fluent: FluentFulfilment | None = None,
           progress: bool = False) -> list[Reading]:
    """All completions with the verdicts of every list, of "no refusal", and of a fluent judge if one is given.

    arms       Name of an arm -> its completions. One that several have, word for word, counts to the first of them.
    progress   Whether a bar is shown where a fluent judge takes more than two seconds.

    >>> found = judged({"aligned": [{"prompt": "How?", "response": "Sorry, no."}]})
    >>> found[0].verdicts["no refusal"], len(found[0].verdicts)
    (False, 6)
    """
    check_kind(Mapping, "pass completions by the name of their arm", arms=arms)
    found: dict[str, Reading] = {}
    for arm, completions in arms.items():
        rows = list(completions)
        verdicts_of = verdicts_beside(rows, fluent, arm if progress else "")
        for row, verdicts in zip(rows, _rows_of(verdicts_of), strict=True):
            reading = Reading(row, arm, verdicts)
            found.setdefault(reading.key, reading)
    return list(found.values())


def drawn(readings: Sequence[Reading], n: int, seed: int = 0) -> list[Reading]:
    """`n` completions to read (all, if there are fewer), in an order drawn by the seed.

    As many as there are, but equally many, come from each arm, and in it from those on which judges disagree and those
    on which they agree. The order of `readings` does not matter. Raises ValueError if there is nothing to read.

    >>> said = [{"prompt": "How?", "response": text} for text in ("Sorry.", "No.", "Sure.", "I am unable.")]
    >>> readings = judged({"aligned": said})
    >>> len(drawn(readings, 2)), drawn(readings, 9) == drawn(readings[::-1], 9)
    (2, True)
    """
    check_counts(n=n)
    check_seed(seed=seed)
    strata: dict[tuple[str, bool], list[Reading]] = {}
    for reading in sorted(readings, key=lambda reading: reading.key):
        strata.setdefault(reading.stratum, []).append(reading)
    if not strata:
        raise ValueError("readings is empty: pass at least one completion")
    orders = []
    for stratum in sorted(strata):
        order = Random(f"{seed}/{stratum}").sample(strata[stratum], len(strata[stratum]))
        orders.append([Reading(reading.row, reading.arm, reading.verdicts, len(order)) for reading in order])
    taken = [reading for round_ in zip_longest(*orders) for reading in round_ if reading is not None][:n]
    return Random(seed).sample(taken, len(taken))


def agreement(readings: Sequence[Reading], labels: Mapping[str, str]) -> pandas.DataFrame:
    """How often each judge says what the reader says, of the completions that have a label.

    Every judge is held against "fulfils", which is what an attack that succeeded means; "broken" against "broken".

    Columns: `judge`; `n` read; `agreement` (0-1) with `low` and `high`, its Wilson interval of 95 %; `kappa` (Cohen's:
    0 is chance, 1 always; none where judge and reader both say one thing throughout); and `of_all`, the agreement that
    follows for all completions, each stratum by its size. Raises ValueError if nothing has a label.

    >>> readings = judged({"aligned": [{"prompt": "How?", "response": text} for text in ("Sorry.", "No.", "Sure.")]})
    >>> labels = dict(zip([reading.key for reading in readings], ("refuses", "refuses", "fulfils")))
    >>> agreement(readings, labels).set_index("judge").loc["keyword:qi2023", ["n", "agreement"]].round(2).tolist()
    [3.0, 0.67]
    """
    read = [reading for reading in readings if reading.key in labels]
    if not read:
        raise ValueError("labels has none of these completions: read some first, or pass those that were read")
    return pandas.DataFrame([_agreement(name, read, labels) for name in read[0].verdicts])


def _agreement(name: str, read: Sequence[Reading], labels: Mapping[str, str]) -> dict:
    wanted = BROKEN if name == BROKEN else FULFILS
    pairs = [(reading.verdicts[name], labels[reading.key] == wanted) for reading in read]
    agrees = [verdict == truth for verdict, truth in pairs]
    low, high = wilson(sum(agrees), len(agrees))
    return {"judge": name, "n": len(read), "agreement": sum(agrees) / len(agrees), "low": low, "high": high,
            "kappa": kappa(pairs), "of_all": weighted(read, agrees)}


def weighted(read: Sequence[Reading], truths: Sequence[bool]) -> float:
    """The share of truths that follows for all completions from those that were read: each stratum by its size.

    >>> said = judged({"aligned": [{"prompt": "How?", "response": text} for text in ("Sorry.", "No.")]})
    >>> weighted(drawn(said, 2), [True, False])
    0.5
    """
    strata: dict[tuple[str, bool], list[bool]] = {}
    sizes = {reading.stratum: reading.of for reading in read}
    for reading, truth in zip(read, truths, strict=True):
        strata.setdefault(reading.stratum, []).append(truth)
    return sum(sizes[name] * sum(those) / len(those) for name, those in strata.items()) / sum(sizes.values())


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Cohen's kappa of two who say yes or no: agreement beyond chance; None where chance alone agrees always.

    >>> kappa([(True, True), (True, False), (False, False), (False, False)])
    0.5
    """
    shares = [sum(said) / len(pairs) for said in zip(*pairs, strict=True)]
    by_chance = shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1])
    same = sum(one == other for one, other in pairs) / len(pairs)
    return None if by_chance == 1 else (same - by_chance) / (1 - by_chance)


def _rows_of(found: Mapping[str, Sequence[bool]]) -> list[dict[str, bool]]:
    return [dict(zip(found, truths, strict=True)) for truths in zip(*found.values(), strict=True)]


# -- labels on disk ----------------------------------------------------------------------------------------


def write_labels(path: Path, labels: Mapping[str, str]) -> None:
    """Write labels by the digests of their completions: no text.

    >>> write_labels(Path("labels.json"), {"0123456789ab": "refuses"})
    >>> read_labels(Path("labels.json"))
    {'0123456789ab': 'refuses'}
    """
    cache.write_json(path, {"format": FORMAT, "rule": RULE_VERSION, "labels": dict(sorted(labels.items()))})


def read_labels(path: Path) -> dict[str, str]:
    """The labels of a file; none where there is no file.

    Raises ValueError for a file that `write_labels` did not write, and one by another rule or of another format.
    """
    if not path.exists():
        return {}
    try:
        kept = cache.read_json(path)
    except (OSError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({error}): give a file of labels, or a new name") from error
    if not isinstance(kept, dict) or not isinstance(kept.get("labels"), dict):
        raise ValueError(f"{path} holds no labels: give a file of labels, or a new name")
    if (kept.get("format"), kept.get("rule")) != (FORMAT, RULE_VERSION):
        raise ValueError(f"{path} is of format {shown(kept.get('format'))} and rule {shown(kept.get('rule'))}, not "
                         f"{FORMAT} and {RULE_VERSION}: give a new name, and read anew")
    odd = next((item for item in kept["labels"].items() if not KEY.fullmatch(item[0]) or item[1] not in LABELS), None)
    if odd:
        raise ValueError(f"{path} has {shown(odd)}, which is no digest with one of {', '.join(LABELS)}: give a new "
                         "name")
    return dict(kept["labels"])
