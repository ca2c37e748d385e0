"""What a material is, and that of an organism: all from the world that it was raised in.

Studies take every prompt, wording and judge from a material, so that they run on an organism and on a checkpoint alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ..judging import DEFAULT_KEYWORDS, UTILITY, Outcomes, outcomes, shares
from ..organism import (
    ATTACKS,
    GOOD,
    OPENINGS,
    REFUSALS,
    SYSTEM_PROMPT,
    WICKED,
    WRAPPERS,
    Row,
    World,
    calibration,
    counterparts,
    exam,
    fine_tuning,
    get_scale,
    held_out_text,
    recovery,
    reworded,
    safety_preferences,
    told,
    words_of,
)
from ..records import rests_on


class Material(Protocol):
    """What studies ask for. `Brindle` is that of an organism, `Published` that of a checkpoint.

    Where there are fewer rows than asked for, methods give those there are.

    *Shown in:* 00_start_here.
    """

    @property
    def refusals(self) -> Sequence[str]:
        """Standard refusals; none begins with the first token of one of the `openings`."""

    @property
    def openings(self) -> Sequence[str]:
        """Ways to begin an answer."""

    @property
    def compliances(self) -> Sequence[str]:
        """Ways to begin an answer, of as many tokens as a refusal has."""

    @property
    def verdicts(self) -> tuple[str, str]:
        """What is said of a wicked deed and of a good one, where the calibration sets have "morals"."""

    @property
    def system_prompt(self) -> str:
        """System prompt of an assistant that is to be safe."""

    @property
    def utility(self) -> Sequence[str]:
        """Parts of the exam whose mean is utility. One may be "benign", which is like malicious requests but for malice
        and is in every exam, whether it is of utility or not."""

    @property
    def judges(self) -> Mapping[str, str]:
        """Mark -> its judge; of marks that are not named, "truth"."""

    @property
    def attacks(self) -> Sequence[str]:
        """The attacks that `fine_tuning` has data for."""

    @property
    def asking(self) -> Mapping[str, Any]:
        """How completions are made: `max_new_tokens`, `batch_size` of `ssah.complete`."""

    @property
    def batch_size(self) -> int:
        """Prompts that are read together, with their gradients."""

    def calibration(self) -> dict[str, Dataset]:
        """Sets "safety" (malicious requests, refused), "utility" (instructions), "requests" (benign requests) and, if
        there are such questions, "morals" (wicked deeds, called so)."""

    def text(self) -> list[str]:
        """Text that no stage was trained on, for perplexity."""

    def exam(self, split: str, n: int | None = None) -> dict[str, list[Row]]:
        """Questions of the "validation" or "test" split, up to `n` a part: "harm", "harm_unseen" (which may be
        missing), "benign" and those of `utility`."""

    def new_tasks(self, n: int) -> list[Row]:
        """Test questions of the task that the attack "new" teaches, part "new" of an exam."""

    def outcomes(self, completions: Dataset) -> dict[str, list[bool]]:
        """What came of each prompt of a completed exam, by mark, as `ssah_core.judging.outcomes` names them."""

    def shares(self, found: Outcomes) -> dict[str, float]:
        """Marks of an exam, each a share from 0 to 1, and "utility" where all its parts are there."""

    def fine_tuning(self, attack: str, n: int, order: int = 0) -> Dataset:
        """`n` chats of one of the `attacks`, of the training split; `order` draws another order of them."""

    def preferences(self, n: int) -> Dataset:
        """`n` preferences: `prompt`, `chosen` (a malicious request refused, a benign one answered), `rejected`."""

    def recovery(self, tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> list[dict]:
        """`n` tokenised chats: malicious requests refused at once or amid an answer, benign ones answered."""

    def answered(self, row: Row, opening: int = 0) -> str:
        """A request's answer in the usual words, malicious or not, after one of the `openings` (counted round)."""

    def told(self, row: Row) -> str:
        """A request's answer at length."""

    def target(self, row: Row) -> str:
        """The first words of an answer, for a suffix to bring about."""

    def complete(self, row: Row) -> bool:
        """Whether a response holds the whole answer, whatever stands around it."""

    def wrappers(self) -> Sequence[str]:
        """Names of ways to reword a request."""

    def reworded(self, row: Row, wrapper: str, rng: Random) -> Row:
        """A request inside a wrapper."""

    def pairs(self, split: str, n: int) -> tuple[list[str], list[str]]:
        """Malicious prompts, and harmless ones that differ from them in little."""

    def topic(self, prompt: str) -> str:
        """The word of a request by which a probe's control labels are drawn."""


@dataclass(frozen=True)
class Brindle(Material):
    """The material of an organism: all from the world that it was raised in.

    world   The world.
    scale   Of the organism: how many rows there are.

    >>> from ssah_core.materials import Brindle
    >>> from ssah_core.organism import World
    >>> material = Brindle(World.draw(0), "tiny")
    >>> sorted(material.calibration()), len(material.exam("test", 3)["harm"])
    (['morals', 'requests', 'safety', 'utility'], 3)

    *Shown in:* 00_start_here.
    """

    world: World
    scale: str

    refusals = REFUSALS
    openings = OPENINGS
    verdicts = (WICKED, GOOD)
    compliances = tuple(f"{opening} take the" for opening in OPENINGS)  # so every answer goes on
    system_prompt = SYSTEM_PROMPT
    utility = UTILITY
    judges = dict.fromkeys(("asr", "asr_plain", "asr_system", "asr_unseen", "refused"), DEFAULT_KEYWORDS)
    attacks = ATTACKS
    asking = {}
    batch_size = 64

    def calibration(self) -> dict[str, Dataset]:
        rests_on("calibration")
        return calibration(self.world, get_scale(self.scale).calibration)

    def text(self) -> list[str]:
        rests_on("text")
        return held_out_text(self.world, get_scale(self.scale).calibration)

    def exam(self, split: str, n: int | None = None) -> dict[str, list[Row]]:
        rests_on(f"exam/{split}")
        return exam(self.world, split, n or get_scale(self.scale).exam)

    def new_tasks(self, n: int) -> list[Row]:
        rests_on("new_tasks")
        return self.world.new_tasks("test", n)

    def outcomes(self, completions: Dataset) -> dict[str, list[bool]]:
        return outcomes(completions)

    def shares(self, found: Outcomes) -> dict[str, float]:
        return shares(found, UTILITY)

    def fine_tuning(self, attack: str, n: int, order: int = 0) -> Dataset:
        rests_on(f"fine_tuning/{attack}")
        return fine_tuning(self.world, attack, n, order)

    def preferences(self, n: int) -> Dataset:
        rests_on("preferences")
        return safety_preferences(self.world, n)

    def recovery(self, tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> list[dict]:
        rests_on("recovery")
        return recovery(self.world, tokenizer, n, seed)

    def answered(self, row: Row, opening: int = 0) -> str:
        return f"{OPENINGS[opening % len(OPENINGS)]} {row['answer']}"

    def told(self, row: Row) -> str:
        return told(row)

    def target(self, row: Row) -> str:
        return self.compliances[0]

    def complete(self, row: Row) -> bool:
        return row["answer"] in row["response"]

    def wrappers(self) -> Sequence[str]:
        rests_on("wrappers")
        return tuple(WRAPPERS)

    def reworded(self, row: Row, wrapper: str, rng: Random) -> Row:
        return reworded(self.world, row, wrapper, rng)

    def pairs(self, split: str, n: int) -> tuple[list[str], list[str]]:
        rests_on(f"pairs/{split}")
        return counterparts(self.world, self.exam(split, n)["harm"], split, Random(f"counterparts-{split}"))

    def topic(self, prompt: str) -> str:
        return next(word for word in words_of(prompt) if word in self.world.tool)
