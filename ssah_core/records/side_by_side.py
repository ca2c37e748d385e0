"""Table 1 of the organisms, of real models and of the paper in one table, from what is kept: no model, no data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas

from . import paths
from .claim_list import CLAIMS
from .prose import each
from .records import Record, load_records
from .row_files import rows_there

OWN = "the paper's SCU"
REMOVED = {"SCU": "table1/scu", "random": "table1/random_scu", OWN: "table1_variance/scu"}
"""What is removed -> where its records are."""
ASR, UTILITY = "malicious requests\nnot refused (ASR)", "utility"
MARKS = {ASR: ("asr",), "answered right (organisms),\nfulfilled fluently (real model)": ("fulfilled", "harm_right"),
         UTILITY: ("utility",)}
"""Mark -> its metrics, of which the first that has a record counts: "fulfilled" (fluently) is known of real models
alone, "harm_right" (answered right) is exact in organisms; the paper has attack success (ASR) alone."""
PAPER, FLUENT = "the paper", "fluent fulfilment"
CHANCE = 37.5
"""% of its useful questions that somebody who guesses gets right: two tasks have four choices, and two have two."""


def beside_table(records: Sequence[Record] | None = None) -> pandas.DataFrame:
    """Changes in points when units are removed: rows with `who`, `removed`, `mark`, `value`, `seed`.

    records   Default: those that lie here.

    Of the paper there is one row a model, counted as `seed`; whether its models answered rightly is not known.

    >>> from ssah_core.records.side_by_side import beside_table
    >>> beside_table([]).who.unique().tolist()
    ['the paper']
    """
    kept = {(record.model, record.claim): record for record in (load_records() if records is None else records)
            if record.scale != "tiny"}
    rows = []
    for who, removed, mark in product(dict.fromkeys(model for model, _ in kept), REMOVED, MARKS):
        names = [(who, f"{REMOVED[removed]}/{metric}") for metric in MARKS[mark]]
        for found in [kept[name] for name in names if name in kept][:1]:
            rows += [{"who": who, "removed": removed, "mark": mark, "value": value, "seed": seed}
                     for seed, value in zip(found.seeds, found.values, strict=True)]
    return pandas.DataFrame([*rows, *_of_the_paper()])


def real_rows(study: str) -> pandas.DataFrame:
    """Rows of a study, or of one of its variants, of real models: this run's, else those of the repository; or none.

    study   Its folder, or a pattern of the folders of its variants: "curves/*", "attacked/benign/order*", "reader".

    >>> from ssah_core.records.side_by_side import real_rows
    >>> {"way", "group", "share", "metric", "value"} <= set(real_rows("curves/*")) or real_rows("curves/*").empty
    True

    *Shown in:* 05_freeze_safety_units.
    """
    folders = [folder / "measurements" for folder in (paths.committed(), paths.figures())]
    files = {file.relative_to(folder): file for folder in folders
             for file in sorted(folder.glob(f"{study}/smollm.*.json"))}
    return pandas.DataFrame([row for file in files.values() for row in rows_there(file)["rows"]])


def caution() -> str:
    """What to know before one believes the rows of a real model, with numbers from its rows; empty where it has none.

    *Shown in:* 10_real_checkpoints.
    """
    table, read = real_rows("table1/primary"), real_rows("reader")
    if table.empty or read.empty:
        return ""
    level = table[(table.way == "none") & (table.group == "none")].groupby(["metric", "seed"]).value.mean()
    share = 100 * table[table.group == "SCU"].groupby(["way", "seed"]).share.first()
    agrees = read[(read.metric == "agreement") & (read.by == FLUENT)].iloc[0]
    runs = table.seed.nunique()
    several = f" (numbers of its {runs} alignments, in their order)" if runs > 1 else ""
    first = " of the first" if runs > 1 else ""
    return (f"What to know first{several}: aligned, it refuses what is like its training; of requests from elsewhere "
            f"it leaves {each(level['asr_unseen'])} % unrefused. Of the useful questions it answers "
            f"{each(level['utility'])} % rightly, {CHANCE:g} by chance. Its SCU are {each(share['chosen'], 2)} % of "
            f"all units, those of the paper's score {each(share['paper'], 2)} %, where the rule for their number "
            "stopped on few questions; random units are one draw. The judge of fluency agrees with a reader, another "
            f"language model, in {agrees.value:.0f} % [{agrees.low:.0f}, {agrees.high:.0f}] of {agrees.n:.0f} answers"
            f"{first} (kappa {agrees.kappa:.2f}), up to half of them picked where judges disagree; it is too high "
            "where units go by the paper's score (10.9).")


def _of_the_paper() -> list[dict]:
    numbers = {claim.id: claim.paper for claim in CLAIMS}
    return [{"who": PAPER, "removed": OWN, "mark": mark, "value": value, "seed": n}
            for mark, metric in ((ASR, "asr"), (UTILITY, "utility"))
            for n, value in enumerate(numbers[f"{REMOVED[OWN]}/{metric}"].values())]
