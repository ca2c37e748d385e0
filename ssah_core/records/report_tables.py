"""The tables of the report in Markdown: ten lines, four pillars, the primary claims, the secondary ones folded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas

from . import paths
from .claim import PILLARS
from .claim_list import CLAIMS
from .claims_table import repeats, runs
from .effects import FAILS, HOLDS, IN_PART, UNDECIDED
from .history import told as told_before
from .markdown import as_table
from .prose import DECIMALS, bracketed, number
from .registration import registered
from .rules import RULE, Falls, Rises, Stays, amount
from .statistics import NOT_COMPARABLE, NOT_RUN
from .telling import SIGN, in_words, of

VERDICTS = (HOLDS, IN_PART, FAILS, UNDECIDED, NOT_COMPARABLE, NOT_RUN)
WORDS = {HOLDS: "holds", IN_PART: "holds in part", FAILS: "fails", UNDECIDED: "undecided",
         NOT_COMPARABLE: "not comparable", NOT_RUN: "not run"}
"""Verdict -> as the first table says it."""
SHORT_RULE = ("A claim *holds* whose effect is beyond doubt as large as its margin, 5 points where nothing else was "
              "registered; *in part*, if it is there and may be as large; it *fails*, there or not, if it is smaller. "
              "A claim that something stays as it was *holds* if the effect is beyond doubt within the margin.")
PRIMARY = ("*primary* claims, *registered* (written down, with the *margin* that each effect is held against) before "
           "the models that test them were raised")
IN_REPOSITORY = "notebooks/{}.ipynb".format
UNITS = ("A number with a sign is a difference in percentage points or, with three decimals, of cosine distances; one"
         " with % is a level (with both, what is more or less than before, in % of it), any other is a ratio. In "
         "brackets: the 95 % interval, by exact sign flips over organisms. *Could be seen*: the size of effect that a"
         " trial of as many organisms with this spread would show to hold four times in five. *Points there in*: "
         "organisms whose effect has the claim's sign (of *stays*: is within its margin), with the exact interval of "
         "that share. *p*, where the interval says that a claim holds: of the effect being smaller than its margin; "
         "elsewhere: of there being none; of *stays*: of its being beyond the margin, by two t tests. Behind it, by "
         "Holm over all.")
_HEADLINE = ("in plain words", "verdict", "effect", "the catch", "the paper", "where")
_PRIMARY = ("claim", "rule", "ours", "control", "effect", "could be seen", "points there in", "reaches its margin in",
            "organisms: lowest, median, highest", "p (Holm)", "paper", "verdict", "where")
_MET = {Rises: "with that sign", Falls: "with that sign", Stays: "within the margin"}
"""Rule -> what it is for one organism's effect to point where the claim does."""
_BESIDE = ("claim", "organisms", "real model", "runs that point where the claim does")
BESIDE = ("A run is one alignment of the same base model, so no verdict is given: the rule is one for organisms. The "
          "model is asked published requests. Where a claim speaks of right answers, nobody knows there which are: an "
          "answer counts that is not refused and has 20 words, and the appendix has beside it how many are fluent.")
_SECONDARY = ("claim", "paper", "ours", "control; effect", "verdict")
_RULES = {claim.id: claim.rule for claim in CLAIMS}
Rows = Sequence[Any]


def render(table: pandas.DataFrame, told: str = "", asked: str = "", catches: Mapping[str, str] | None = None, *,
           link: Callable[[str], str] = IN_REPOSITORY) -> str:
    """The report in Markdown.

    table     that of `verdicts`
    told      a line on the code that measured and verified; empty: none
    asked     questions and answers of `questions.told`; empty: none
    catches   by claim, what to know before one believes it, as `catches.told` has it
    link      where a notebook lies, by its name; default below the repository
    """
    rows = list(table.itertuples(index=False))
    both, secondary = ([row for row in rows if bool(row.pillar) is is_primary] for is_primary in (True, False))
    primary = judged(both)
    parts = ["## What holds, and what does not", headlines(primary, catches or {}, link), SIGN,
             registered_line(primary), *([told] if told else []), *(["## Ten questions", asked] if asked else []),
             "## Does the hypothesis hold here?", *(pillar(name, primary) for name in PILLARS), told_before(),
             "## The primary claims", UNITS, as_table(_PRIMARY, (_primary_cells(row, link) for row in primary)),
             *beside(both),
             "## Appendix: secondary claims", *_appendix(secondary, link), "## The rule", RULE]
    return "\n\n".join(filter(None, parts)) + "\n"


def judged(rows: Rows) -> list[Any]:
    """Of each claim the run that it is judged on: that of the organisms, where there is one; else all there are."""
    on_organisms = {row.id for row in rows if row.model == "organism"}
    return [row for row in rows if row.model == "organism" or row.id not in on_organisms]


def beside(rows: Rows) -> list[str]:
    """What checkpoints show of claims that are judged on organisms, side by side; nothing where there are none.

    rows   of the verdicts, of primary claims
    """
    main = {row.id: row for row in judged(rows) if row.model == "organism"}
    others = [row for row in rows if row.id in main and row.model != "organism"]
    if not others:
        return []
    return ["## Beside it: real language models", BESIDE, as_table(_BESIDE, (
        (row.statement, f"{said(main[row.id])}: {effect(main[row.id])}",
         f"{number(row.effect.mean, row.unit, True)}{each_run(row)} ({sample(row)})", often(row).split(" [")[0])
        for row in others))]


def each_run(row) -> str:
    """The lowest, median and highest run: of three, each."""
    return "" if len(row.seeds) < 2 else f" (runs: {', '.join(number(value, row.unit, True) for value in row.spread)})"


def headlines(primary: Rows, catches: Mapping[str, str], link: Callable[[str], str] = IN_REPOSITORY) -> str:
    """The first table: of the primary claims those that say the most, in plain words, each with its catch."""
    return as_table(_HEADLINE, (
        (in_words(row), f"{said(row)}{scale(row)}", beyond(row), catches.get(row.id, ""), paper(row),
         f"[{row.notebook[:2]}]({link(row.notebook)})")
        for row in primary if row.headline))


def beyond(row) -> str:
    """The effect with its interval and its unit, and the two levels that it is the difference of, if it is of two."""
    if not row.seeds:
        return "–"
    both = f" ({number(row.ours, row.unit)}, its control {number(row.control, row.unit)})"
    return f"{measured(row)}{'' if math.isnan(row.control) else both}"


def pointing(row) -> str:
    """In how many organisms the effect points where the claim does, and in how many it is as large as the margin."""
    rule = _RULES[row.id]
    met, n = _MET.get(type(rule), "as claimed"), f"of {runs(row.model, len(row.seeds))}"
    by = f", by {amount(rule.margin, row.unit)} or more in {row.reached}" if isinstance(rule, Rises | Falls) else ""
    return f"{met} in {row.often[0]} {n}{by}"


def short(table: pandas.DataFrame) -> str:
    """The same ten lines for the README: what is claimed, the verdict, and the effect; and how many there are of each.

    table   that of `verdicts`
    """
    primary = [row for row in judged(list(table.itertuples(index=False))) if row.pillar]
    lines = as_table(("claim", "verdict", "effect [95 % interval]"), (
        (in_words(row), f"{said(row)}{scale(row)}", measured(row) if row.seeds else "–")
        for row in primary if row.headline))
    return f"{lines}\n\n{SIGN} Of all {len(primary)} {PRIMARY}: {counted(primary)}. {SHORT_RULE}"


def counted(primary: Rows) -> str:
    """How many primary claims there are of each verdict: "holds: 8, fails: 2"."""
    counts = Counter(WORDS[row.verdict] for row in primary)
    return ", ".join(f"{word}: {counts[word]}" for word in WORDS.values() if word in counts)


def found(table: pandas.DataFrame, notebook: str, catches: Mapping[str, str]) -> str:
    """The primary claims of one notebook, a line each: verdict, claim, effect, in how many organisms, and the catch.

    table      that of `verdicts`
    notebook   its name without ".ipynb"
    catches    by claim, as `catches.told` has it
    """
    rows = [row for row in judged(list(table.itertuples(index=False))) if row.pillar and row.notebook == notebook]
    return "\n".join(_found(row, catches.get(row.id, "")) for row in rows)


def _found(row, catch: str) -> str:
    measured = f" {effect(row)}, {pointing(row)}. {catch}" if row.seeds else ""
    return f"- {said(row)}{scale(row)}: {row.statement}{measured}".rstrip()


def registered_line(primary: Rows) -> str:
    """When the primary claims were registered, on which organisms, and of which pillars not all of these are measured.

    primary   rows of the verdicts, of primary claims
    """
    if not paths.registration().is_file():
        return "Not registered yet: the primary claims have no verdict."
    kept = registered()
    return (f"The primary claims, their rules and margins were registered on {kept['date']} (digest of the code "
            f"`{kept['code']}`), before organisms {kept['test'][0]} to {kept['test'][-1]} were raised, on which they "
            f"are judged: {len(kept['test'])} of them, none left out, each attacked in {len(kept['orders'])} orders. "
            f"Choices were made on organisms {kept['development'][0]} to {kept['development'][-1]} and on validation "
            "prompts."
            + "".join(_unfinished(name, [row for row in primary if row.pillar == name], kept["test"])
                      for name in PILLARS))


def _unfinished(name: str, rows: Rows, test: Sequence[int]) -> str:
    there = [len(set(row.seeds) & set(test)) for row in rows]
    few = [n for n in there if n < len(test)]
    if not few:
        return ""
    return f" Of {name}, undecided: {len(few)} of {len(rows)}, measured on {min(few)} of the {len(test)}."


def pillar(name: str, primary: Rows) -> str:
    """One paragraph: how many claims of a pillar hold, and each in a sentence with its number."""
    rows = [row for row in primary if row.pillar == name]
    found = [row.verdict for row in rows]
    counts = ", ".join(f"{WORDS[verdict]}: {found.count(verdict)}" for verdict in VERDICTS if verdict in found)
    says = " ".join(f"*{row.statement}* {WORDS[row.verdict].capitalize()}"
                    f"{f': {effect(row)}, {pointing(row)}' if row.seeds else ''}." for row in rows)
    return f"**{name.capitalize()}** ({counts}). {says}"


def _appendix(rows: Rows, link: Callable[[str], str]) -> Iterable[str]:
    for notebook in sorted({row.notebook for row in rows}):
        mine = [row for row in rows if row.notebook == notebook]
        verdicts = [row.verdict for row in mine if row.model in ("", "organism")]
        counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
        others = len(mine) - len(verdicts)
        counts = ", ".join(counts + [f"{others} row{'s' * (others > 1)} of real models"] * bool(others))
        yield (f"<details><summary>{notebook}: {counts}</summary>\n\n[{notebook}]({link(notebook)})\n\n"
               + as_table(_SECONDARY, map(_secondary_cells, mine)) + "\n\n</details>")


# -- cells -------------------------------------------------------------------------------------------------


def _primary_cells(row, link: Callable[[str], str]) -> tuple[str, ...]:
    where = f"[{row.notebook[:2]}]({link(row.notebook)})"
    if not row.seeds:
        return f"{row.statement} (`{row.id}`)", row.rule, *["–"] * 8, paper(row), row.verdict, where
    spread = ", ".join(number(value, row.unit, True) for value in row.spread)
    return (f"{row.statement} (`{row.id}`)", row.rule, f"{number(row.ours, row.unit)} ({sample(row)})",
            number(row.control, row.unit), effect(row), number(row.smallest, row.unit, True), often(row),
            str(row.reached), spread, f"{row.p:.2g} ({row.p_adjusted:.2g})", paper(row),
            row.verdict + scale(row), where)


def _secondary_cells(row) -> tuple[str, ...]:
    claim = f"{row.statement} (`{row.id}`: {row.rule})"
    if not row.seeds:
        return claim, paper(row), "–", "–", row.verdict
    ours = f"{number(row.ours, row.unit)} ({sample(row)})"
    control = effect(row) if math.isnan(row.control) else f"{number(row.control, row.unit)}; {effect(row)}"
    return claim, paper(row), ours, control, row.verdict + scale(row)


def said(row) -> str:
    """A verdict in words; of a claim that fails by its margin alone, that the effect is there, but smaller."""
    smaller = f" (there, but less than {amount(_RULES[row.id].margin, row.unit)})" if is_there(row) else ""
    return f"**{WORDS[row.verdict]}**{smaller}"


def is_there(row) -> bool:
    """Whether a claim fails by its margin alone: its effect is there beyond doubt, and smaller."""
    rule = _RULES[row.id]
    return (row.verdict == FAILS and isinstance(rule, Rises | Falls) and row.effect.bounds is not None
            and all(map(rule.meets, row.effect.bounds)))


def sample(row) -> str:
    """What a row was measured on: prompts, orders, organisms, and the judge."""
    orders = f", {row.orders} orders" if row.orders > 1 else ""
    return f"{row.n} prompt{'s' * (row.n != 1)}{orders}, {runs(row.model, len(row.seeds))}; judge: {row.judge}"


def scale(row) -> str:
    """Where a verdict is from, if not from organisms."""
    return "" if row.model in ("", "organism") else f" ({row.model})"


def effect(row) -> str:
    """The effect with its interval."""
    bounds = bracketed(row.effect.bounds, row.effect.n, DECIMALS[row.unit], repeats(row.model))
    return f"{number(row.effect.mean, row.unit, True)} {bounds}"


def measured(row) -> str:
    """The effect with its interval, in its unit, and of what: of the claims that `telling.MEASURED` knows."""
    return f"{effect(row)} {of(row.id)}"


def often(row) -> str:
    """In how many organisms the effect points where the claim does, with the exact 95 % interval of that share."""
    k, n, low, high = row.often
    return f"{k} of {n}" if n == 1 else f"{k} of {n} [{100 * low:.0f}, {100 * high:.0f} %]"


def paper(row) -> str:
    """The paper's numbers by model."""
    return ", ".join(f"{model} {number(value, row.unit)}" for model, value in row.paper.items()) or "not reported"
