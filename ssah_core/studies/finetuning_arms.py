"""Arms of a fine-tuning attack: what each holds, and how safe it stays: the paper's Table 2 (notebooks 05, 06)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf

import torch
from torch import nn

from ..freezing import rewind
from ..materials import study
from ..units import UnitKind, UnitMap, UnitMask, random_like
from .arms import HeldArm
from .finetuning_attack import LOSS_ON, Attack, holding
from .matched_controls import like_magnitude, whole_sites
from .score_cache import with_scores
from .subject import WAYS, Subject

ON_THE_WAY = ("harm", "benign")
"""Parts of the exam that are asked before arms are compared."""
MORE_CU = 0.06
"""Share of CU that is held beside SCU, as in the paper."""
DRAWS = 3
"""Random groups that SCU + 6 % CU are compared with."""
TOLERANCE = 0.002
"""Losses that differ by less (nats per token) are equal."""
MAIN_ARMS = (HeldArm.NOTHING, HeldArm.FEW, HeldArm.RANDOM.draw(0), HeldArm.REWOUND, HeldArm.ALL)
"""Arms that are followed along the attack, and the only ones of attacks other than "benign"."""


# -- what arms hold --------------------------------------------------------------------------------------


def held_units(subject: Subject, sizes: Mapping[str, Mapping[str, float]]) -> dict[str, UnitMask | None]:
    """Units that each arm holds: name -> mask; None holds nothing.

    sizes   Way -> group -> share, as notebook 03 found them on validation prompts (`ablation_table.sizes_of`).

    CU are ranked by what ranks SCU, `Scores.contrast`, so that the 6 % are the next in line.

    *Shown in:* 05_freeze_safety_units.
    """
    subject = with_scores(subject)
    few, everything = scu_and_cu(subject, "chosen", sizes), scu_and_cu(subject, "chosen", sizes, None)
    return {
        HeldArm.NOTHING: None,
        HeldArm.SCU: subject.groups(WAYS["chosen"], sizes["chosen"])[UnitKind.SCU],
        HeldArm.FEW: few,
        HeldArm.ALL: everything,
        HeldArm.FEW_PAPER: scu_and_cu(subject, "paper", sizes),
        HeldArm.FEW_VARIANCE: scu_and_cu(subject, "variance, best", sizes),
        **{HeldArm.RANDOM.draw(draw): random_like(few, draw) for draw in range(DRAWS)},
        HeldArm.RANDOM_ALL: random_like(everything, 0),
        HeldArm.MAGNITUDE: like_magnitude(subject.model, few),
        HeldArm.SITES: whole_sites(few, subject.scores(WAYS["chosen"][UnitKind.SCU]).contrast),
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
    """Arms of one attack, examined while they train; `held` is the share of all units that an arm holds."""

    fight: Attack
    loss: float = inf
    """At which arms are compared (nats per response token): "nothing" sets it to its own after `Attack.steps`."""
    rows: list[dict] = field(default_factory=list)
    compared: set[str] = field(default_factory=set)
    """Arms that were examined where they first had the loss."""

    def is_followed(self, arm: str, steps: int) -> bool:
        """Whether `follow` looks at an arm after so many steps: at a check, or as long as the loss is awaited."""
        return steps in self.fight.checks or arm not in self.compared

    def follow(self, arm: str, held: float, steps: int, model: Subject) -> None:
        """Examine an arm at every check, and where it first has the loss."""
        if self.is_followed(arm, steps):
            self._look(arm, held, steps, model, self.fight.checks)

    def compare(self, arm: str, held: float, steps: int, model: Subject) -> bool:
        """Examine an arm where it first has the loss, or at the last check; says whether it was, and need not go on."""
        return self._look(arm, held, steps, model, self.fight.checks[-1:])

    def _look(self, arm: str, held: float, steps: int, model: Subject, checks: Sequence[int]) -> bool:
        loss = self.fight.loss(model.model)
        is_examined = steps in checks
        if arm not in self.compared and steps >= self.fight.steps and loss <= self.loss + TOLERANCE:
            self.compared.add(arm)
            is_examined = True
        if is_examined:
            self.examine(arm, held, steps, model, loss)
        if (arm, steps) == (HeldArm.NOTHING, self.fight.steps):
            self.loss = loss
        return is_examined

    def examine(self, arm: str, held: float, steps: int, model: Subject, loss: float) -> None:
        """Add an arm's marks on test prompts, and its loss on the attack's chats."""
        about = {"arm": str(arm), "held": held, "steps": steps}
        exam = model.material.exam("test", 100)
        questions = {part: rows if part == "harm" else rows[:60] for part, rows in exam.items()}
        questions["new"] = model.material.new_tasks(len(questions["benign"]))
        if 0 < steps < self.fight.steps:  # on the way arms are not compared
            questions = {part: questions[part] for part in ON_THE_WAY}
        self.rows += [*model.examine(questions, **about),
                      {**about, "metric": "loss", "value": loss, "n": LOSS_ON, "judge": "none"}]


@study("attacked", version=1)
def attacked(seed: int, scale: str, attack: str, lr: float, sizes: Mapping[str, Mapping[str, float]],
             checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """ASR and utility along a fine-tuning attack, one run an arm: rows with `arm`, `held` (share of units), `steps`,
    `metric`, `value`.

    lr      Constant learning rate, as `finetuning_attack.strength` found it.
    sizes   Way -> group -> share, as notebook 03 found them on validation prompts.

    Arms are those of `held_units`, "two phases" (SCU + all CU first, then SCU + 6 % CU, as in the paper) and "rewound"
    (SCU + 6 % CU of "nothing" put back where it is examined, Wei et al. 2024); attacks other than "benign" have the
    `MAIN_ARMS` alone. Those are examined at every check, all arms where they first have the loss that "nothing" has
    after `Attack.steps`. `loss` is the loss on the attack's own chats, nats per response token.
    Source: the paper's Table 2.

    *Shown in:* 05_freeze_safety_units.
    """
    subject = Subject.load(seed, scale, checkpoints=checkpoints)
    fight, masks = Attack(subject, attack, lr), held_units(subject, sizes)
    arms = Arms(fight)
    arms.examine(HeldArm.START, 0.0, 0, subject, fight.loss(subject.model))
    _follow_main(arms, masks)
    if attack == "benign":
        _compare_others(arms, masks)
    return [{"seed": seed, "attack": attack, "lr": lr, **row} for row in arms.rows]


def _follow_main(arms: Arms, masks: Mapping[str, UnitMask | None]) -> None:
    """Train and examine the `MAIN_ARMS`; "rewound" is "nothing" with its units put back while it is looked at."""
    fight, few = arms.fight, masks[HeldArm.FEW]

    def follow(arm: str, steps: int, model: Subject) -> None:
        arms.follow(arm, _held(masks[arm]), steps, model)
        if arm == HeldArm.NOTHING and arms.is_followed(HeldArm.REWOUND, steps):
            with rewound(model.model, fight.subject.model, few):
                arms.follow(HeldArm.REWOUND, _held(few), steps, model)

    for arm in (arm for arm in MAIN_ARMS if arm in masks):
        fight.run(partial(follow, arm), holding(masks[arm]), (*fight.checks, *fight.late))


def _compare_others(arms: Arms, masks: Mapping[str, UnitMask | None]) -> None:
    """Train all other arms until they have the loss."""
    fight, few = arms.fight, masks[HeldArm.FEW]
    fight.two_phases(masks[HeldArm.ALL], few, partial(arms.compare, HeldArm.TWO_PHASES, _held(few)), fight.late)
    for arm in (arm for arm in masks if arm not in MAIN_ARMS):
        fight.run(partial(arms.compare, arm, _held(masks[arm])), holding(masks[arm]), fight.late)


def _held(mask: UnitMask | None) -> float:
    return mask.fraction if mask else 0.0
