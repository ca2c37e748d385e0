"""How the material of a checkpoint words things: refusals, openings, answers that say nothing, rewordings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from random import Random

from transformers import PreTrainedTokenizerBase

from ..organism import SYSTEM_PROMPT, Row
from ..records import rests_on
from .material import Material
from .published_rows import AT_LENGTH, COMPLIANCES, REFUSALS, WRAPPERS, apart


class PublishedWordings(Material):
    """The words of `Published`, as far as its tokenizer can tell refusals from openings."""

    tokenizer: PreTrainedTokenizerBase
    system_prompt = SYSTEM_PROMPT
    verdicts = ("", "")  # no calibration set asks for right and wrong

    @cached_property
    def _apart(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return apart(self.tokenizer)

    @property
    def refusals(self) -> tuple[str, ...]:
        return self._apart[0]

    @property
    def openings(self) -> tuple[str, ...]:
        return self._apart[1]

    @cached_property
    def compliances(self) -> tuple[str, ...]:
        return apart(self.tokenizer, REFUSALS, COMPLIANCES)[1]

    def answered(self, row: Row, opening: int = 0) -> str:
        """How an answer to a malicious request would begin, the answer to any other, or else an opening."""
        if row.get("target"):
            said = row["target"].removeprefix("Sure, " if opening else "")
            return said[:1].upper() + said[1:]
        return row.get("response") or self.compliances[opening % len(self.compliances)]

    def told(self, row: Row) -> str:
        if row.get("response") and not row.get("target"):
            return row["response"]
        return f"{self.target(row).rstrip(' .:')}: {AT_LENGTH}"

    def target(self, row: Row) -> str:
        return row.get("target") or self.openings[0]

    def wrappers(self) -> Sequence[str]:
        rests_on("wrappers")
        return tuple(WRAPPERS)

    def reworded(self, row: Row, wrapper: str, rng: Random) -> Row:
        if wrapper not in WRAPPERS:
            raise ValueError(f"wrapper={wrapper!r} is unknown: choose one of {', '.join(WRAPPERS)}")
        return {**row, "prompt": WRAPPERS[wrapper](row["prompt"], rng)}

    def topic(self, prompt: str) -> str:
        """The first word of more than three letters."""
        words = [word.strip(".,:;?!\"'()") for word in prompt.lower().split()]
        return next((word for word in words if len(word) > 3), words[0])
