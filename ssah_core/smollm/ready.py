"""See beforehand that SmolLM2 can be studied here: memory, data, and the model itself."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from ..data import SOURCES, NotToBeHad, first_to_be_had, load_data
from ..materials import CHOICES, INSTRUCTIONS
from . import align
from .names import METHODS_BY_NAME, checkpoints_of

GB = 1e9
LEAST = 8.0
"""GB of memory. Alignment was seen to take 4.5, of which a model, its gradients and AdamW's two moments are 2.2; an
attack, beside which lie the attacked model and the judge's reference, 7.0."""
EVERYTHING: Sequence[str] = ()
NEEDED: Mapping[Sequence[str], Sequence[str]] = {
    ("advbench",): EVERYTHING, tuple(INSTRUCTIONS): EVERYTHING, ("xstest",): EVERYTHING,
    **{(name,): EVERYTHING for name in CHOICES},
    ("wikitext2",): ("03", "09"), ("dolly",): ("04", "05", "06")}
"""Data sets, in alternatives -> the notebooks that need one of them."""


def check_ready(notebooks: Collection[str], seeds: Collection[int] = (), model: str = "", *,
                memory: float | None = None) -> None:
    """See that these notebooks can run on SmolLM2 here; fetch the model, and align it by every seed, where need be.

    notebooks   Their numbers, such as "03".
    model       As in `checkpoints_of`.
    memory      Bytes of this machine; None: asked.

    Raises ValueError where memory, data or the model is missing, saying what to do.
    """
    method = METHODS_BY_NAME[checkpoints_of(model)["aligned"]]
    check_memory(_memory() if memory is None else memory)
    check_data(notebooks)
    for seed in seeds:
        align.checkpoint("aligned", method, seed)


def check_memory(memory: float) -> None:
    """Raise ValueError if so many bytes are too few.

    >>> from ssah_core.smollm.ready import check_memory
    >>> check_memory(2e9)
    Traceback (most recent call last):
    ValueError: this machine has 2.0 GB of memory, but studies of SmolLM2 take 8: run them on a larger one, or ...
    """
    if memory < LEAST * GB:
        raise ValueError(f"this machine has {memory / GB:.1f} GB of memory, but studies of SmolLM2 take {LEAST:.0f}: "
                         "run them on a larger one, or study an organism (--scale organism)")


def check_data(notebooks: Collection[str]) -> None:
    """Raise ValueError that names every data set that these notebooks need and that cannot be had."""
    missing = {names: of for names, of in NEEDED.items()
               if set(of or notebooks) & set(notebooks) and not _is_had(names)}
    if missing:
        each = "; ".join(f"{names[0]} ({SOURCES[names[0]].source}), for {_those(of)}" for names, of in missing.items())
        raise ValueError(f"data sets that cannot be had: {each}. Put them below the folder that SSAH_DATA names, as "
                         f"ssah_core.data has it, or let the hub be reached; {_rest(missing.values(), notebooks)}")


def _is_had(names: Sequence[str]) -> bool:
    try:
        first_to_be_had(names, lambda name: load_data(name, None if name in CHOICES else "test"))
    except NotToBeHad:
        return False
    return True


def _those(notebooks: Sequence[str]) -> str:
    return f"notebooks {' '.join(notebooks)}" if notebooks else "all notebooks"


def _rest(missing: Collection[Sequence[str]], notebooks: Collection[str]) -> str:
    without = set(notebooks).difference(*missing) if all(missing) else set()
    if not without:
        return "without them nothing runs here, but organisms need no data (--scale organism)"
    return f"without them, notebooks {' '.join(sorted(without))} run"


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
