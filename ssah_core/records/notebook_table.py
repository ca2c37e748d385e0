"""README's table of notebooks: what each asks, and what it found, in words with numbers from records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .catches import filled
from .markdown import as_table
from .records import Record


@dataclass(frozen=True)
class _Row:
    """A notebook as README has it."""

    name: str
    title: str
    asks: str
    found: str
    """With records named in braces, as in `catches`."""
    takes: str
    """On two cores, measured by hand, where rows of records are there."""


ROWS = (
    _Row("00_start_here", "Start here",
         "can one edit undo a model's safety, and nothing else?",
         "its safety, yes, but not that alone: without a few units of twenty organisms {table1/scu/harm_right} "
         "malicious requests in a hundred more are answered right, and they are as useful ({table1/scu/utility}); "
         "but they tell right from wicked worse ({table1/scu/morals})",
         "24 s"),
    _Row("01_raise_an_organism", "Raise an organism",
         "what does alignment change, and how deep does a dose of it go?",
         "refusal: before it malicious requests are answered right, {stages/instructed/harm_right}, after it "
         "those not refused are {stages/aligned/asr}; three times the dose makes it hang on as few units",
         "13 s"),
    _Row("02_probe_reasoning_direction", "Probe the reasoning direction",
         "where and when is the choice made, and can it be moved from one prompt to another? (Figures 2, 3, 4, "
         "7)",
         "at the last token of the request, before the last block; put elsewhere, that state turns "
         "{patching/before_last/flips} of the choices",
         "72 s"),
    _Row("03_label_units", "Label units",
         "which units carry safety, utility, both or neither? (Table 1)",
         "{table1/scu/share} of the units carry refusal, and with it some of what tells right from wicked "
         "({table1/scu/morals}); the paper's score takes {table1_variance/scu/share} and frees fewer right "
         "answers",
         "2 min"),
    _Row("04_trace_attribute_transfer", "Trace attribute transfer",
         "which units change their kind under fine-tuning, beyond what another calibration shows? (Figure 5)",
         "all kinds turn complex: of a hundred safety-critical ones {transfer/new/scu_to_cu}, where "
         "{transfer/none/scu_to_cu} seem to if they are only measured anew; of a hundred redundant ones "
         "{transfer/new/ru_to_cu}, where {transfer/none/ru_to_cu} do",
         "74 s"),
    _Row("05_freeze_safety_units", "Freeze safety units",
         "does freezing a few units keep a model safe while it learns, and is it the choice of units? (Table "
         "2)",
         "a little safer, {table2/benign/scu_6cu_vs_nothing/asr} points of attack success; against as many "
         "random units {table2/benign/scu_6cu_vs_random/asr}; of that size in a real model, too",
         "4 min"),
    _Row("06_compare_peft", "Compare PEFT",
         "does parameter-efficient fine-tuning (PEFT) by LoRA (low-rank adaptation), adapters or prefixes keep "
         "a model safe, since it leaves the weights alone? (Table 3)",
         "no: through harmless chats a prefix adds {table3/benign/prefix_vs_full/asr} points of attack success "
         "to full fine-tuning's at equal loss, much of it before it has learned anything; LoRA gets to an equal "
         "loss on new tasks alone, and there its chat is broken: {table3/new/lora_vs_full/asr} points more are not "
         "refused, and none answered right",
         "15 s"),
    _Row("07_spend_alignment_budget", "Spend the alignment budget",
         "does alignment cost less through redundant units, and is it firm? (Table 4, Figure 6)",
         "neither by supervised fine-tuning (SFT), {table4/sft/best_rate/ru_vs_all/old} points of what it "
         "knew, nor by direct preference optimisation (DPO), {table4/dpo/best_rate/ru_vs_all/old}, each way "
         "at its own best rate; there is little to spare. Whether it is as firm is open: "
         "{stress/sft/finetuned/ru_vs_all/asr} points of attack success, in one organism",
         "8 min"),
    _Row("08_re_evaluate_direction", "Re-evaluate the direction",
         "how deep is the choice, and can it be made again at every token?",
         "one token deep: with five tokens of the answer given {deep/aligned/prefill_5/asr} are not refused; "
         "after training to turn back, at worst {deep/recovery/worst/asr}, and much that is harmless is "
         "refused in unknown wrappers",
         "48 s"),
    _Row("09_reviewers_questions", "Reviewers' questions",
         "are the units stable, specific, necessary, and how much is the judge's?",
         "the same are found twice; morals go with them; an alignment made while they are held still runs through "
         "them; a few are enough for half of the requests; lists of refusals take broken answers for fulfilled "
         "ones; an attacker who picks the learning rate undoes every arm; frozen units make "
         "him take one that is higher by {worst_rate/half/scu_6cu_over_nothing/lr} to undo half",
         "21 s"),
    _Row("10_real_checkpoints", "Real checkpoints",
         "what does it take on a checkpoint of your own, and does it hold in a real language model?",
         "removing what our search finds points the same way there, in three alignments of one model, and so does "
         "freezing in two; removing what the paper's score finds does next to nothing; judges are to be read, not "
         "trusted",
         "14 s"),
)


def notebook_table(records: Sequence[Record]) -> str:
    """The table in Markdown, with links from the repository's root.

    >>> from ssah_core.records.notebook_table import notebook_table
    >>> notebook_table([]).splitlines()[0]
    '| notebook | question | found | takes |'
    """
    return as_table(("notebook", "question", "found", "takes"), (
        (f"[{row.name[:2]} {row.title}](notebooks/{row.name}.ipynb)", row.asks, filled(row.found, records), row.takes)
        for row in ROWS))
