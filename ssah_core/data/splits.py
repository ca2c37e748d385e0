"""Splits that share no prompt: near-duplicates are found and counted, and the words of a prompt decide its split."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from datasets import Dataset

NEAR = 0.8
"""Two prompts are near-duplicates from this Jaccard index of their sets of words on."""
SHARES = {"calibration": 0.5, "validation": 0.1, "test": 0.4}


@dataclass(frozen=True)
class Disjoint:
    """Data sets that share no prompt, and how many rows it took.

    >>> Disjoint({"test": Dataset.from_list([{"prompt": "Why?"}])}, {"test": 0}).removed
    {'test': 0}
    """

    parts: dict[str, Dataset]
    removed: dict[str, int]
    """Rows left out of each part, since they nearly repeat one of it or of a part before it."""


def disjoint(parts: Mapping[str, Dataset], near: float = NEAR) -> Disjoint:
    """Remove near-duplicates within data sets and between them.

    parts   Data sets with a `prompt`. Those named first keep their rows: name the test prompts first.
    near    Jaccard index (0-1) from which two prompts count as one.

    Raises ValueError if a part has no column `prompt`, or if nothing is left of it.

    >>> test, train = (Dataset.from_list([{"prompt": text} for text in texts])
    ...                for texts in (["Mend a kettle!"], ["mend a kettle", "Why?"]))
    >>> found = disjoint({"test": test, "train": train})
    >>> found.parts["train"]["prompt"][:], found.removed
    (['Why?'], {'test': 0, 'train': 1})
    """
    for name, part in parts.items():
        if "prompt" not in part.column_names:
            raise ValueError(f"parts[{name!r}] has no column 'prompt', only {', '.join(part.column_names)}: rename one")
    of = near_duplicates([prompt for part in parts.values() for prompt in part["prompt"]], near)
    kept, removed, start = {}, {}, 0
    for name, part in parts.items():
        rows = [n for n in range(len(part)) if of[start + n] is None]
        kept[name], removed[name], start = part.select(rows), len(part) - len(rows), start + len(part)
        if not rows:
            raise ValueError(f"nothing is left of parts[{name!r}]: every prompt is in a part before; give other data")
    return Disjoint(kept, removed)


def split_of(prompt: str) -> str:
    """The split of a prompt: always the same for the same words, in whatever data set they stand.

    >>> split_of("Mend a kettle!") == split_of("mend a  KETTLE")
    True
    """
    digest = hashlib.sha256(" ".join(_words(prompt)).encode()).digest()
    at = int.from_bytes(digest[:8], "big") / 2 ** 64
    for name, share in SHARES.items():
        if at < share:
            return name
        at -= share
    return name  # rounding may leave a sliver


def near_duplicates(prompts: Sequence[str], near: float = NEAR) -> list[int | None]:
    """For every prompt the first one before it that it nearly repeats, or None.

    Only prompts that repeat nothing themselves are compared with: a chain of ever farther repeats is not followed.
    Exact, and quick for tens of thousands: two sets whose Jaccard index is at least `near` share one of their rarest
    words, of which so many are looked up that none can be missed (prefix filtering, Chaudhuri et al. 2006).

    >>> near_duplicates(["Mend a kettle!", "Why?", "mend a kettle"])
    [None, None, 0]
    """
    if not 0 < near <= 1:
        raise ValueError(f"near={near} is no Jaccard index: choose a number above 0 and up to 1")
    sets = [frozenset(_words(prompt)) for prompt in prompts]
    order = _rarest_first(sets)
    holders: dict[str, list[int]] = {}
    found: list[int | None] = []
    for n, words in enumerate(sets):
        prefix = sorted(words, key=order.__getitem__)[:len(words) - ceil(near * len(words) - 1e-9) + 1]
        candidates = sorted({m for word in prefix for m in holders.get(word, ())})
        found.append(next((m for m in candidates if _jaccard(words, sets[m]) >= near - 1e-9), None))
        if found[n] is None:
            for word in prefix:
                holders.setdefault(word, []).append(n)
    return found


def _rarest_first(sets: Iterable[frozenset[str]]) -> dict[str, int]:
    counts = Counter(word for words in sets for word in words)
    return {word: place for place, word in enumerate(sorted(counts, key=lambda word: (counts[word], word)))}


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def _words(text: str) -> list[str]:
    """Words without case, accents' encoding or punctuation; a text without any is one word."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"\w+", text) or [text.strip()]
