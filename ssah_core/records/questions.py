"""Ten questions that a reader has, each answered from the verdicts in a sentence or two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from .claim import PILLARS
from .effects import FAILS, HOLDS, IN_PART, LEAST, UNDECIDED
from .prose import number
from .report_tables import beyond, counted, each_run, is_there, judged, pointing, registered_line, said, sample
from .statistics import NOT_COMPARABLE, NOT_RUN
from .telling import in_words

CLAIMED = ("That alignment teaches a model one thing, at the start of a response to fulfil or to refuse, and that a "
           "small set of units carries this choice (Li and Kim, ICLR 2026).")
ASKED: Mapping[str, Sequence[str]] = {
    "Where is the choice made?": ("patching/before_last/flips",),
    "Do a few units carry it, and does the paper's own score find them?": (
        "table1/scu/harm_right", "table1_variance/scu/harm_right"),
    "Do these units carry nothing else?": ("table1/scu/utility", "table1/scu/morals"),
    "Does freezing them keep a model safe while it learns?": ("table2/benign/scu_6cu_vs_nothing/asr",),
    "Is it the choice of units that protects?": (
        "table2/benign/scu_6cu_vs_random/asr", "table2/benign/scu_6cu_vs_other/asr"),
    "Does alignment cost less through redundant units?": (
        "table4/sft/best_rate/ru_vs_all/old", "table4/sft/best_rate/ru_vs_random/old")}
"""Question -> the primary claims that answer it."""
REAL = ("table1/scu/fulfilled", "table1/scu/utility", "table1/scu/perplexity", "table1_variance/scu/fulfilled",
        "table2/benign/scu_6cu_vs_nothing/fulfilled", "table2/benign/scu_6cu_vs_random/fulfilled",
        "table2/benign/rest_vs_nothing/fulfilled")
"""Claims that are told of real models, primary or not."""


def answers(table: pandas.DataFrame, catches: Mapping[str, str] | None = None, caution: str = "") -> dict[str, str]:
    """Ten questions, each with its answer.

    table     that of `verdicts`
    catches   by claim, what to know before one believes it, as `catches.told` has it
    caution   what to know of the real model, as `side_by_side.caution` has it

    >>> from ssah_core.records.questions import answers
    >>> from ssah_core.records.verdicts import verdicts
    >>> found = answers(verdicts([]))
    >>> len(found), found["Does it hold in a real language model?"]
    (10, 'Nobody has measured it here yet.')
    """
    rows = list(table.itertuples(index=False))
    real = [row for row in rows if row.model not in ("", "organism")]
    primary = judged([row for row in rows if row.pillar])
    own = {row.id: row for row in primary}
    return {"What does the paper claim?": CLAIMED,
            **{question: " ".join([*_lead(question, [own[id] for id in ids]),
                                   *(_answer(own[id], catches or {}) for id in ids)])
               for question, ids in ASKED.items()},
            "Does it hold in a real language model?": f"{_real(real)} {caution if real else ''}".strip(),
            "What is unknown?": _unknown(primary, judged([row for row in rows if not row.pillar]), real),
            "How sure is all this?": f"{_counted(primary)} {registered_line(primary)}"}


def told(table: pandas.DataFrame, catches: Mapping[str, str] | None = None, caution: str = "") -> str:
    """The ten questions in Markdown."""
    return "\n\n".join(f"**{question}** {answer}" for question, answer in answers(table, catches, caution).items())


def _lead(question: str, rows: Sequence[Any]) -> list[str]:
    """Yes or no, by the verdicts of all claims that answer a question; nothing where neither answers it."""
    found = {row.verdict for row in rows}
    if question.startswith("Where") or not found <= {HOLDS, IN_PART, FAILS}:
        return []
    if found == {FAILS}:
        return ["Hardly."] if any(map(is_there, rows)) else ["No."]
    return ["Yes."] if found == {HOLDS} else ["In part."]


def _answer(row: Any, catches: Mapping[str, str]) -> str:
    """A claim's verdict, in its own words, with its effect, its control, its organisms, and its catch."""
    if not row.seeds:
        return f"Not run: {in_words(row)}"
    least, middle, most = (number(value, row.unit, True) for value in row.spread)
    return (f"{said(row)}: {in_words(row)} {beyond(row)}, {pointing(row)}; the median organism {middle}, the lowest "
            f"{least}, the highest {most}. {catches.get(row.id, '')}".strip())


def _real(rows: Sequence[Any]) -> str:
    found = [f"{row.statement} So it is in {row.often[0]} of {row.often[1]}: "
             f"{number(row.effect.mean, row.unit, True)}{each_run(row)} ({sample(row)})."
             for id in REAL for row in rows if row.id == id]
    return " ".join(["One base model, so no verdict.", *found]) if found else "Nobody has measured it here yet."


def _unknown(primary: Sequence[Any], secondary: Sequence[Any], real: Sequence[Any]) -> str:
    """What the records leave open: of primary claims, of secondary ones by what they lack, and of real models."""
    undecided, not_run, partly = (sum(row.verdict == verdict for row in primary)
                                  for verdict in (UNDECIDED, NOT_RUN, IN_PART))
    asked = sum(row.id in {other.id for other in real} for row in primary)
    large = sum(row.scale == "paper" for row in real if row.pillar)
    return (f"Of {len(primary)} primary claims {undecided} are undecided and {not_run} not run; of the {partly} that "
            f"hold in part it is open whether the effect is as large as its margin. {_lacking(primary, secondary)} Of "
            f"a real model {asked} of the primary claims were asked, {large} of one as large as the paper's.")


def _lacking(primary: Sequence[Any], secondary: Sequence[Any]) -> str:
    without = (UNDECIDED, NOT_COMPARABLE, NOT_RUN)
    open_ = [row for row in secondary if row.verdict in without]
    lacks = {f"fewer than {LEAST} organisms or runs": [row for row in open_ if 0 < len(row.seeds) < LEAST],
             "an interval that leaves it open": [row for row in open_ if len(row.seeds) >= LEAST],
             "arms that never reached the same loss": [row for row in open_ if row.verdict == NOT_COMPARABLE],
             "not run": [row for row in open_ if row.verdict == NOT_RUN]}
    told = "; ".join(f"{what}: {len(rows)} ({_by_notebook(rows)})" for what, rows in lacks.items() if rows)
    decided = {row.notebook for row in (*primary, *secondary) if row.verdict not in without}
    bare = ", ".join(sorted({row.notebook for row in open_} - decided))
    return (f"Of {len(secondary)} secondary claims {len(open_)} have no verdict{': ' if told else ''}{told}."
            + (f" No claim at all has one in {bare}." if bare else ""))


def _by_notebook(rows: Sequence[Any]) -> str:
    return ", ".join(f"{notebook}: {n}" for notebook, n in sorted(Counter(row.notebook for row in rows).items()))


def _counted(rows: Sequence[Any]) -> str:
    return (f"Of {len(rows)} primary claims of {len(PILLARS)} pillars: {counted(rows)}. Intervals are over "
            "organisms, by sign flips, which are exact where effects scatter alike to both sides of their mean; of "
            "*stays* p is that of two t tests. What *holds*, or does in part, has passed Holm's correction over all "
            "primary claims; secondary ones go by their intervals alone, uncorrected.")
