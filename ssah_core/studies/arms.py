"""Arms of the comparisons, and groups of units that are removed: each with its three names.

Rows hold an arm's own string and ids of records its slug, so these two stay as they are; labels are for people.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self


class Arm(StrEnum):
    """One arm of a comparison: a string, as rows have it; with a `slug` for ids of records and a `label` for people.

    >>> from ssah_core.studies.arms import HeldArm
    >>> print(HeldArm.FEW, HeldArm.FEW.slug, HeldArm.FEW.label, sep="; ")
    SCU + 6 % CU; scu_6cu; SCU and 6 % of CU held
    >>> HeldArm.RANDOM.draw(2), HeldArm.of("random, as many (2)").slug
    ('random, as many (2)', 'random')
    """

    slug: str
    label: str

    def __new__(cls, name: str, slug: str, label: str = "") -> Self:
        arm = str.__new__(cls, name)
        arm._value_, arm.slug, arm.label = name, slug, label or name
        return arm

    @classmethod
    def of(cls, name: str) -> Self:
        """The arm that a row names, also as one of its random draws. Raises ValueError if there is none."""
        found = next((arm for arm in cls if arm == re.sub(r" \(\d+\)$", "", name)), None)
        if found is None:
            raise ValueError(f"arm={name!r} is unknown: choose one of {', '.join(map(repr, map(str, cls)))}")
        return found

    def draw(self, number: int) -> str:
        """The string of one of several random draws, which share slug and label."""
        return f"{self} ({number})"


class RemovedGroup(Arm):
    """What is removed for Table 1: a kind of unit, or as many units drawn at random."""

    NONE = "none", "none", "whole model"
    SCU = "SCU", "scu", "without SCU"
    UCU = "UCU", "ucu", "without UCU"
    RU = "RU", "ru", "without RU"
    RANDOM_SCU = "random SCU", "random_scu", "without as many random units as SCU"
    RANDOM_UCU = "random UCU", "random_ucu", "without as many random units as UCU"
    RANDOM_RU = "random RU", "random_ru", "without as many random units as RU"

    @classmethod
    def random(cls, kind: str) -> Self:
        """As many random units as there are of a kind."""
        return cls.of(f"random {kind}")


class HeldArm(Arm):
    """What is held while a model is attacked by fine-tuning: Table 2."""

    START = "start", "start", "before the attack"
    NOTHING = "nothing", "nothing", "nothing held"
    SCU = "SCU", "scu", "SCU held"
    FEW = "SCU + 6 % CU", "scu_6cu", "SCU and 6 % of CU held"
    ALL = "SCU + all CU", "scu_cu", "SCU and all CU held"
    FEW_PAPER = "SCU + 6 % CU, paper's score", "paper_6cu", "the same by the paper's score"
    FEW_VARIANCE = "SCU + 6 % CU, variance, best", "variance_6cu", "the same by the paper's score at its best setting"
    RANDOM = "random, as many", "random", "as many random units held"
    OTHER = "other choice, as many", "other", "as many units of another choice, right or wicked, held"
    REST = "the rest", "rest", "what belongs to no unit held"
    FEW_REST = "SCU + 6 % CU, and the rest", "scu_6cu_rest", "SCU and 6 % of CU held, and what belongs to no unit"
    RANDOM_REST = "random, and the rest", "random_rest", "as many random units held, and what belongs to no unit"
    RANDOM_ALL = "random, as many as SCU + all CU", "random_cu", "as many random units as SCU and all CU held"
    MAGNITUDE = "same magnitude", "magnitude", "as many units of the same magnitude held"
    SITES = "whole sites", "sites", "as many units by whole sites held"
    TWO_PHASES = "two phases", "two_phases", "SCU and all CU held, then SCU and 6 % of CU"
    REWOUND = "rewound", "rewound", "SCU and 6 % of CU put back afterwards"


class PeftArm(Arm):
    """What trains while a model is attacked: Table 3. The first three are arms of `HeldArm` by what is left."""

    FULL = "nothing", "full", "all weights"
    FEW = "SCU + 6 % CU", "scu_6cu", "all but SCU + 6 % CU"
    ALL = "SCU + all CU", "scu_cu", "all but SCU and all CU"
    LORA = "LoRA", "lora"
    ADAPTER = "LLaMA-Adapter", "adapter"
    PREFIX = "prefix tuning", "prefix"


class BudgetArm(Arm):
    """What an unaligned model is aligned through: Table 4.

    "RU" in these strings, and in the claims that hold them, are the *least useful units before alignment*: those of
    least I_U, since a model without safety has no I_S to add. `UnitKind.RU`, of least I_S + I_U, is another set.
    """

    EVERYTHING = "all parameters", "all"
    LEAST = "RU 20 %", "ru", "least useful 20 % before alignment"
    LEAST_5 = "RU 5 %", "ru5", "least useful 5 % before alignment"
    LEAST_10 = "RU 10 %", "ru10", "least useful 10 % before alignment"
    LEAST_40 = "RU 40 %", "ru40", "least useful 40 % before alignment"
    RANDOM = "random 20 %", "random"
    TOP = "top 20 %", "top", "most useful 20 % before alignment"
    SCU = "SCU of the aligned", "scu", "units that are SCU once aligned"
    LORA = "LoRA", "lora", "LoRA of as many weights"
    LORA_LEAST = "LoRA in RU 20 %", "lora_ru", "LoRA in the least useful 20 %"


class RecoveryArm(Arm):
    """A model that may choose again at every token (notebook 08)."""

    ALIGNED = "aligned", "aligned"
    RECOVERY = "recovery", "recovery", "aligned with recovery"
    RECOVERY_RU = "recovery, RU", "recovery_ru", "aligned with recovery, through RU alone"
    GUARD = "guard", "guard", "aligned, with a guard"
    BOTH = "recovery + guard", "both", "aligned with recovery, with a guard"
