"""The table of tests/README.md that follows from the kept ratios: a row for each goal, and why it was missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ssah_core.records.report import insert

PAGE = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- ratios: python -m tests.benchmarks --table -->", "<!-- end of ratios -->"
WHY = {
    "collect, SmolLM2-135M": "each activation is read once more and counted in float64, 2 ms a block, which no product "
                             "hides",
    "effects, SmolLM2-135M": "the same beside a gradient that is kept at every site, of which each is read once",
    "collect, Llama-50M": "the same: each activation is read once more and counted in float64",
    "supervised step, bfloat16": "products alone are faster in bfloat16: the optimiser moves its 3.8 GB a step, and "
                                 "weights are cast, in float32",
    "freeze 1%": "gradients of frozen entries are cleared and the entries copied back, which is memory moved, with no "
                 "product to hide behind",
    "freeze 10%": "gradients of frozen entries are cleared and the entries copied back, which is memory moved, with no "
                  "product to hide behind",
    "freeze 70%": "the same, of 43 of 83 million weights: some 1 GB is moved beside the optimiser's 2.3 GB, and what "
                  "that is of a step depends on a machine's memory",
    "train_only 5%": "the goal lies below the floor: two thirds of the products stay, those forward and back through "
                     "whole matrices, and with them 0.59 of a step whose optimiser takes an eighth",
    "train_only 20%": "the goal lies below the floor, which is 0.64 by the same count",
    "train_only 20%, LoRA": "by products the ratio is 0.87, since LoRA multiplies its weights three times beside the "
                            "whole matrices and `train_only` once; what is below that is LoRA's many small products",
    "train_only 20%, memory": "the goal is what weights, their trained part, its gradient and moments take; what "
                              "autograd keeps of the forward pass comes on top, and the floor with it is 0.44",
    "ablation, 40 groups": "answers are short and mostly of one length, so that few batches carry rows that have "
                           "ended, and each group is another model, whose answers cannot be taken from another's; "
                           "products take the time: one pass that only checks answers known before takes 0.7 of it",
    "raising, float32": "two thirds of a step of pre-training are matrix products at this machine's rate, a tenth is "
                        "attention, and the portable arithmetic costs nothing; the goal was set before a lightly "
                        "aligned stage was kept and looked for",
    "raising, bfloat16": "where products take half the time, which are two thirds of a step, and casts a tenth, five "
                         "sixths of the time are left; small matrices gain least from two cores",
    "training, busy neighbour": "a neighbour that has half of one core leaves 1.5 of two: 1.33 where both share all "
                                "work perfectly",
}
"""Name of a ratio -> why its goal is missed, by a profile or by counting. Read where it is."""


def table(rows: Iterable[Mapping]) -> str:
    """Kept ratios that have a goal, as Markdown.

    Raises ValueError for one that misses its goal where `WHY` does not say why.

    >>> print(table([{"name": "x", "of": "a / b", "value": 1.02, "low": 1.0, "high": 1.04, "pairs": 6, "goal": 1.05,
    ...               "floor": 1.0}]).splitlines()[-1])
    | x | a / b | 1.02 [1.00, 1.04] | 1.05 | 1.00 | |
    """
    lines = ["| what | over | ratio | goal | floor | why it is missed |", "|---|---|---:|---:|---:|---|"]
    for row in rows:
        if not _is_none(row["goal"]):
            numbers = (_ratio(row), f"{row['goal']:.2f}", "" if _is_none(row["floor"]) else f"{row['floor']:.2f}")
            lines.append(f"| {' | '.join((row['name'], row['of'], *numbers))} | {_why(row)}|")
    return "\n".join(lines).replace("|  |", "| |")


def _ratio(row: Mapping) -> str:
    interval = f" [{row['low']:.2f}, {row['high']:.2f}]" if row["pairs"] > 1 else ""
    return f"{row['value']:.2f}{interval}"


def _why(row: Mapping) -> str:
    if row["value"] <= row["goal"]:
        return ""
    if row["name"] not in WHY:
        raise ValueError(f"{row['name']} misses its goal ({row['value']:.3f} of {row['goal']}): say why in {__name__}")
    return f"{WHY[row['name']]} "


def _is_none(value: float | None) -> bool:
    return value is None or value != value


def filled(page: str, rows: Iterable[Mapping]) -> str:
    """A page with the table of these rows between its two marks. Raises ValueError where it has no such marks.

    >>> print(filled(f"before\\n{BEGIN}\\nold\\n{END}\\nafter", []).replace(BEGIN, "<").replace(END, ">"))
    before
    <
    <BLANKLINE>
    | what | over | ratio | goal | floor | why it is missed |
    |---|---|---:|---:|---:|---|
    >
    after
    """
    return insert(page, table(rows), f"tests/{PAGE.name}", BEGIN, END)
