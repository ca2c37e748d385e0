"""How firm is an alignment? Fine-tune, prefill and prune an aligned model (notebook 07), and see what has moved."""

from __future__ import annotations

from collections.abc import Mapping

from ..units import UnitKind, UnitLabels, UnitMask, transfer
from .finetuning_attack import Attack
from .score_cache import with_scores
from .subject import WAYS, Subject


def stressed(subject: Subject, sizes: Mapping[str, Mapping[str, float]], spared: UnitMask, **about) -> list[dict]:
    """ASR and right answers to malicious test prompts under each attack, and the kinds of its units.

    subject   The aligned model.
    spared    Its least useful units before alignment.

    Rows have `at`: "fine-tuned" (with `steps`, on benign chats), "prefilled" (with the first words of compliance),
    "pruned" (its own SCU, of the share that notebook 03 found); and, for `metric` "share", `before` and `after`, the
    kinds of units before and after alignment in % of all (Figure 6).
    """
    questions = {"harm": subject.material.exam("test", 100)["harm"]}
    ask = lambda model, at, steps=0, **generate: model.examine(  # noqa: E731
        questions, generate, **about, at=at, steps=steps)
    rows = ask(subject, "prefilled", prefill=subject.material.openings[0])
    subject = with_scores(subject, ("chosen",), first=sizes["chosen"][UnitKind.SCU])
    groups = subject.groups(WAYS["chosen"], sizes["chosen"])
    with subject.removed(groups[UnitKind.SCU], WAYS["chosen"][UnitKind.SCU]):
        rows += ask(subject, "pruned")
    fight = Attack(subject, "benign")
    fight.run(lambda steps, tuned: rows.extend(ask(tuned, "fine-tuned", steps)),
              checks=[dose for dose in fight.doses if dose <= fight.steps])
    return rows + [{**about, **row} for row in kinds(spared, groups)]


def kinds(spared: UnitMask, groups: Mapping[str, UnitMask]) -> list[dict]:
    """The table of transfer from a model without safety, one row an entry.

    Before alignment there is no safety, so there a unit is UCU or else, if it is one of the least useful, RU: in the
    words of the paper's Figure 6, whose RU of after alignment are those of least I_S + I_U.
    """
    nothing = spared & ~spared
    before = UnitLabels({UnitKind.RU: spared, UnitKind.UCU: ~spared, UnitKind.SCU: nothing, UnitKind.CU: nothing})
    square = transfer(before, UnitLabels({UnitKind(kind): mask for kind, mask in groups.items()}))
    return [{"metric": "share", "before": str(old), "after": str(new), "value": float(square.loc[old, new]),
             "n": sum(spared.sizes.values()), "judge": "none"} for old in UnitKind for new in UnitKind]
