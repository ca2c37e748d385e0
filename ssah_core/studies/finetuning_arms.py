"""Arms of a fine-tuning attack: what each holds, and how safe it stays: the paper's Table 2 (notebooks 05, 06)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from ..freezing import rewind
from ..materials import study
from ..units import UnitKind, UnitMap, UnitMask, random_like, top_units
from .arms import HeldArm
from .finetuning_attack import LOSS_ON, Attack, Hold, target
from .matched_controls import like_magnitude, other_choice, whole_sites
from .score_cache import with_scores
from .subject import WAYS, Subject

MORE_CU = 0.06
"""Share of CU that is held beside SCU, as in the paper."""
TOLERANCE = 0.002
"""Losses that differ by less (nats per token) are equal."""
MAIN_ARMS = (HeldArm.NOTHING, HeldArm.FEW, HeldArm.RANDOM, HeldArm.ALL, HeldArm.RANDOM_ALL)
"""Arms of every attack (beside "rewound", which is "nothing" with units put back), ..."""
REST_ARMS = (HeldArm.NOTHING, HeldArm.FEW, HeldArm.RANDOM, HeldArm.REST, HeldArm.FEW_REST, HeldArm.RANDOM_REST)
"""... those that tell units from what belongs to none, ..."""
PRIMARY_ARMS = (*MAIN_ARMS, HeldArm.OTHER, HeldArm.REST, HeldArm.FEW_REST, HeldArm.RANDOM_REST, HeldArm.FEW_PAPER)
"""... those that the primary claims compare under the benign attack, ..."""
OTHER_ARMS = (HeldArm.SCU, HeldArm.FEW_VARIANCE, HeldArm.MAGNITUDE, HeldArm.SITES)
"""... and further ones."""
ARMS = {"main": MAIN_ARMS, "rest": REST_ARMS, "primary": PRIMARY_ARMS, "all": (*PRIMARY_ARMS, *OTHER_ARMS)}


# -- what arms hold --------------------------------------------------------------------------------------


def holds(subject: Subject, sizes: Mapping[str, Mapping[str, float]], draw: int = 0) -> dict[str, Callable[[], Hold]]:
    """What each arm holds, made when it is asked for.

    sizes   Way -> group -> share, as notebook 03 found them on validation prompts (`ablation_table.sizes_of`).
    draw    Of the random units.

    CU are ranked by what ranks SCU, `Scores.contrast`, so that the 6 % are the next in line.

    *Shown in:* 05_freeze_safety_units.
    """
    subject = with_scores(subject)
    few, everything = scu_and_cu(subject, "chosen", sizes), scu_and_cu(subject, "chosen", sizes, None)
    contrast = subject.scores(WAYS["chosen"][UnitKind.SCU]).contrast
    return {
        HeldArm.NOTHING: lambda: Hold(None),
        HeldArm.SCU: lambda: Hold(subject.groups(WAYS["chosen"], sizes["chosen"])[UnitKind.SCU]),
        HeldArm.FEW: lambda: Hold(few),
        HeldArm.ALL: lambda: Hold(everything),
        HeldArm.FEW_PAPER: lambda: Hold(scu_and_cu(subject, "paper", sizes)),
        HeldArm.FEW_VARIANCE: lambda: Hold(scu_and_cu(subject, "variance, best", sizes)),
        HeldArm.RANDOM: lambda: Hold(random_like(few, draw)),
        HeldArm.RANDOM_ALL: lambda: Hold(random_like(everything, draw)),
        HeldArm.OTHER: lambda: Hold(top_units(other_choice(subject), few.count)),
        HeldArm.REST: lambda: Hold(few & ~few, "freeze"),
        HeldArm.FEW_REST: lambda: Hold(few, "freeze"),
        HeldArm.RANDOM_REST: lambda: Hold(random_like(few, draw), "freeze"),
        HeldArm.MAGNITUDE: lambda: Hold(like_magnitude(subject.model, few)),
        HeldArm.SITES: lambda: Hold(whole_sites(few, contrast)),
    }


def scu_and_cu(subject: Subject, way: str, sizes: Mapping, more: float | None = MORE_CU) -> UnitMask:
    """SCU by a way of `WAYS`, and the share `more` of CU that comes next in its ranking; None: all CU."""
    groups = subject.groups(WAYS[way], sizes[way])
    contrast = subject.scores(WAYS[way][UnitKind.SCU]).contrast
    return groups[UnitKind.SCU] | (groups[UnitKind.CU] if more is None else groups[UnitKind.CU].top(more, by=contrast))


@contextmanager
def rewound(model: nn.Module, original: nn.Module, mask: UnitMask) -> Iterator[None]:
    """The units of `mask` are back as they were in `original` while the context lasts (Wei et al. 2024)."""
    parts = [(model.get_parameter(part.weight).detach(), part) for part in UnitMap(model).slices(mask)]
    trained = [weight.index_select(part.axis, part.index.to(weight.device)) for weight, part in parts]
    rewind(model, original, mask)
    try:
        yield
    finally:
        with torch.no_grad():
            for (weight, part), entries in zip(parts, trained, strict=True):
                weight.index_copy_(part.axis, part.index.to(weight.device), entries)


# -- arms while they train, on test prompts ---------------------------------------------------------------


@dataclass
class Arms:
    """Arms of one attack, each examined at every dose: where it first has the loss that "nothing" had there.

    Of data that the model knows (the benign attack), the loss is at its floor from the start, so there is nothing to
    make equal but the amount: every arm is examined after as many steps. Of data that teach something, an arm that
    holds much learns slower, and goes on until its loss is that of "nothing", for twice the last dose at most. Row by
    row, `reached` says whether it got there.
    """

    fight: Attack
    rows: list[dict] = field(default_factory=list)
    losses: dict[int, float] = field(default_factory=dict)
    """Dose -> loss of "nothing" after so many steps (nats per response token)."""
    by_loss: bool = False

    def train(self, arm: str, hold: Callable[[nn.Module], AbstractContextManager], share: float,
              also: Callable[[int, Subject, float], None] | None = None, model: nn.Module | None = None) -> None:
        """Train one arm, and examine it at every dose.

        share   Of all units, that it holds.
        also    Called at every dose too.
        model   What is trained; None: a copy of the attacked model.
        """
        is_first = arm == HeldArm.NOTHING
        left, by_loss = list(self.fight.doses), self.by_loss and not is_first

        def look(steps: int, now: Subject) -> bool:
            loss = self.fight.loss(now.model)
            while left and (loss <= self.losses[left[0]] + TOLERANCE if by_loss else steps >= left[0]):
                if is_first:
                    self.losses[left[0]] = loss
                self.examine(arm, share, left[0], steps, now, loss)
                if also:
                    also(left[0], now, loss)
                left.pop(0)
            return not left

        checks = self.fight.looks if by_loss else self.fight.doses
        end = self.fight.run(look, hold, checks, model)
        if left:
            loss, before = self.fight.loss(end.model), len(self.rows)
            self.examine(arm, share, left[0], checks[-1], end, loss, reached=False)
            self.rows += [{**row, "dose": dose} for dose in left[1:] for row in self.rows[before:]]

    def examine(self, arm: str, share: float, dose: int, steps: int, now: Subject, loss: float,
                reached: bool = True) -> None:
        """Add an arm's marks on test prompts, and its loss on the attack's chats."""
        about = {"arm": str(arm), "held": share, "dose": dose, "steps": steps, "reached": reached}
        exam, last = now.material.exam("test", 100), self.fight.doses[-1]
        questions = {"harm": exam["harm"], "benign": exam["benign"][:60]}
        if self.fight.name == "new":
            questions["new"] = now.material.new_tasks(60)
        if dose in (0, self.fight.steps, last):
            questions = {**{part: rows[:60] for part, rows in exam.items()}, **questions}
        self.rows += [*now.examine(questions, **about),
                      {**about, "metric": "loss", "value": loss, "n": LOSS_ON, "outcomes": "", "judge": "none"}]


@study("attacked", version=2)
def attacked(seed: int, scale: str, attack: str, order: int, arms: str, sizes: Mapping[str, Mapping[str, float]],
             checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """ASR and utility along a fine-tuning attack, one run an arm: rows with `arm`, `held` (share of units), `dose`
    (steps of "nothing"), `steps` (its own), `reached`, `metric`, `value`, `outcomes`.

    order   Draws the attack's chats and their order, and the random units.
    arms    A name of `ARMS`.
    sizes   Way -> group -> share, as notebook 03 found them on validation prompts.

    Attacked is a lightly aligned organism. "rewound" is "nothing" with SCU + 6 % CU put back where it is examined (Wei
    et al. 2024); "two phases", where all arms are asked for, the paper's schedule: SCU + all CU first, then SCU + 6 %
    CU. `loss` is that on the attack's own chats, nats per response token.
    Source: the paper's Table 2.

    *Shown in:* 05_freeze_safety_units.
    """
    if arms not in ARMS:
        raise ValueError(f"arms={arms!r} is unknown: choose one of {', '.join(ARMS)}")
    subject = target(seed, scale, checkpoints)
    made = holds(subject, sizes, order)
    found = Arms(Attack(subject, attack, order), by_loss=attack == "new")
    found.examine(HeldArm.START, 0.0, 0, 0, subject, found.fight.loss(subject.model))
    few = made[HeldArm.FEW]()

    def rewind_too(dose: int, now: Subject, loss: float) -> None:
        with rewound(now.model, subject.model, few.mask):
            found.examine(HeldArm.REWOUND, few.share, dose, dose, now, loss)

    for arm in (arm for arm in ARMS[arms] if arm != HeldArm.OTHER or "morals" in subject.sets):
        hold = made[arm]()
        found.train(arm, hold, hold.share, rewind_too if arm == HeldArm.NOTHING else None)
    if arms == "all":
        everything = made[HeldArm.ALL]().mask
        found.fight.two_phases(everything, few.mask, partial(_look_once, found, few.share))
    return [{"seed": seed, "attack": attack, "order": order, "lr": found.fight.lr, **row} for row in found.rows]


def _look_once(found: Arms, share: float, steps: int, now: Subject) -> None:
    found.examine(HeldArm.TWO_PHASES, share, steps, steps, now, found.fight.loss(now.model))
