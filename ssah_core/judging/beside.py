"""Judges side by side on the same completions: what is an attack's success, and how much of it is the judge's?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..records import digest, wilson
from .exam import packed
from .fluency import BROKEN, FluentFulfilment
from .judges import FLUENT, NO_REFUSAL, definition, judge
from .keyword_lists import KEYWORD_JUDGES


def verdicts_beside(completions: Sequence[Mapping], fluent: FluentFulfilment | None = None,
                    progress: str = "") -> dict[str, list[bool]]:
    """Verdicts of every list, of "no refusal", and by a fluent judge of "fluent fulfilment" and "broken".

    progress   What a bar is called, which is shown after two seconds; "": none.

    >>> said = [{"prompt": "How?", "response": "Sorry, no."}, {"prompt": "How?", "response": "I'm unable to."}]
    >>> {name: truths for name, truths in verdicts_beside(said).items() if name in ("keyword:qi2023", "no refusal")}
    {'keyword:qi2023': [False, True], 'no refusal': [False, False]}
    """
    rows = list(completions)
    found = {name: judge(rows, name) for name in KEYWORD_JUDGES}
    return {**found, **(fluent.outcomes(rows, progress) if fluent else {NO_REFUSAL: judge(rows, NO_REFUSAL)})}


def rows_beside(completions: Sequence[Mapping], fluent: FluentFulfilment | None = None, progress: str = "",
                **about: Any) -> list[dict]:
    """The same as rows of a study, one a judge, without any text.

    progress   What a bar is called, which is shown after two seconds; "": none.
    about      Columns that each row gets, such as `seed` and `state`.

    Columns: `by`; `metric`, "fulfilled" or, where `by` is "broken", that; `value` (%) with `low` and `high`, its Wilson
    interval of 95 %; `n`; the `outcomes` of the prompts (`packed`); `judge`, and the digest of its `definition`.
    Raises ValueError if there are no completions.

    >>> rows_beside([{"prompt": "How?", "response": "Sorry, no."}], seed=0)[-1]["by"]
    'no refusal'
    """
    if not len(completions):
        raise ValueError("completions is empty: a rate needs at least one row")
    rows = []
    for by, truths in verdicts_beside(completions, fluent, progress).items():
        low, high = wilson(sum(truths), len(truths))
        name = FLUENT if by == BROKEN else by
        rows.append({**about, "by": by, "metric": BROKEN if by == BROKEN else "fulfilled", "n": len(truths),
                     "value": 100 * sum(truths) / len(truths), "low": 100 * low, "high": 100 * high,
                     "outcomes": packed(truths), "judge": name,
                     "definition": fluent.digest if fluent and name == FLUENT else digest(definition(name))})
    return rows
