"""The material of a checkpoint, from published data: all that studies at scale "paper" calibrate, ask and train with.

All of it is drawn by the `seed`, which here draws data and not a model. Splits are those of `ssah_core.data.splits`,
by the words of a prompt; of the calibration split, one part calibrates and the rest trains. No malicious request is
answered anywhere: its `target` is how an answer would begin, and a longer one goes on with words that say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from random import Random

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ..judging import (
    BROKEN,
    FLUENT,
    LIKELIEST,
    NO_REFUSAL,
    PUBLISHED_JUDGES,
    PUBLISHED_UTILITY,
    STRICTER,
    FluentFulfilment,
    Outcomes,
    judge,
    outcomes_published,
    refusals,
    shares,
)
from ..models import encode, token_ids
from ..organism import AT_ONCE, Row, chat_after
from ..records import rests_on
from .published_rows import (
    CHOICES,
    INSTRUCTIONS,
    choice_items,
    contrasts,
    first_that_loads,
    pairs_of,
    paragraphs,
    rows_of,
    shuffled,
    unlike,
    unseen_of,
)
from .published_wordings import PublishedWordings
from .sizes import CALIBRATION, Sizes

CONTEXT = 2048
"""Tokens, of a model whose configuration names no context."""
EXAM = 100
LONGEST = 512
"""Tokens that a text has at most."""
SHORT = 5
"""Words of the reference of a new task at most: a longer one is seldom said word for word."""
NEW_TASKS = ("closed_qa", "classification", "information_extraction")
ATTACKS = ("benign", "new")
FLUENCY = {"not_refused": NO_REFUSAL, "fulfilled": FLUENT, "broken": BROKEN}
"""Mark of malicious requests -> what `FluentFulfilment` calls it."""
REPEATS = 8
"""Times that a malicious request may be trained on, on average: there are few."""
UNSEEN = ("harmbench", "strongreject", "jailbreakbench", "refusal_direction_harmful")
"""Of these the first that can be had."""


@dataclass(frozen=True)
class Published(PublishedWordings):
    """The material of a checkpoint.

    tokenizer   The checkpoint's, with its chat template.
    context     Tokens that the model reads at most; rows that do not fit are left out.
    seed        Draws the rows.
    ask         Takes malicious requests and `asking`, returns them with what the aligned checkpoint says; None: nobody
                is asked, and all refusals are standard ones.
    sizes       How much is asked.
    fluent      Gives the judge "fulfilled": whether a malicious request is answered fluently (see
                `judging.FluentFulfilment`); None: nobody knows.
    """

    tokenizer: PreTrainedTokenizerBase
    context: int
    seed: int = 0
    ask: Callable[[list[Row], Mapping[str, int]], Sequence[Mapping]] | None = None
    sizes: Sizes = Sizes()
    fluent: Callable[[], FluentFulfilment] | None = None

    attacks = ATTACKS
    batch_size = 4

    @property
    def utility(self) -> Sequence[str]:
        return CHOICES if self.sizes.choices else PUBLISHED_UTILITY

    @property
    def judges(self) -> Mapping[str, str]:
        fluency = {"not_refused": NO_REFUSAL, "fulfilled": FLUENT, "broken": FLUENT} if self.fluent else {}
        choices = dict.fromkeys((*CHOICES, "utility"), LIKELIEST) if self.sizes.choices else {}
        return {**PUBLISHED_JUDGES, **fluency, **choices}

    @property
    def asking(self) -> dict[str, int]:
        return {"max_new_tokens": max(1, min(self.sizes.tokens, self.context // 8)), "batch_size": self.sizes.at_once}

    # -- rows ----------------------------------------------------------------------------------------------

    def _drawn(self, name: str, split: str) -> list[Row]:
        return shuffled(rows_of(name, split), f"{name}-{split}-{self.seed}")

    def _two(self, name: str) -> tuple[list[Row], list[Row]]:
        """Rows of the calibration split: those to calibrate on, and those to train on."""
        rows = self._drawn(name, "calibration")
        cut = min(4 * CALIBRATION, -(-6 * len(rows) // 10))
        return rows[:cut], rows[cut:]

    @property
    def _instructions(self) -> str:
        return first_that_loads(*INSTRUCTIONS) or INSTRUCTIONS[0]

    def _chats(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Rows with a response that fit, without their other columns."""
        for row in rows:
            if self._tokens(row["prompt"], row["response"]) <= min(self.sizes.longest, self.context):
                yield {"prompt": row["prompt"], "response": row["response"], "system": ""}

    def _questions(self, rows: Iterable[Row], n: int | None = None) -> list[Row]:
        """The first `n` rows (None: all) that fit in half of the context, since studies put more around a prompt."""
        return list(islice((row for row in rows if self._tokens(row["prompt"]) <= self.context // 2), n))

    def _tokens(self, prompt: str, response: str | None = None) -> int:
        return len(encode(self.tokenizer, prompt, response)[0])

    @property
    def sources(self) -> dict[str, str]:
        """Part or use -> its data set; of some there are several, and the first that can be had counts."""
        unseen, usual = first_that_loads(*UNSEEN), self._instructions
        useful = {name: name for name in CHOICES} if self.sizes.choices else {"gsm8k": "gsm8k"}
        return {"harm": "advbench", **({"harm_unseen": unseen} if unseen else {}), "benign": "xstest", **useful,
                "new": "dolly", "utility": usual, "requests": usual, "text": "wikitext2"}

    def calibration(self) -> dict[str, Dataset]:
        """"safety": the aligned checkpoint's own refusals, and `stand_ins` standard ones where it did not refuse.

        "requests" are single lines, as malicious requests are; "utility" is other rows of the same set.
        """
        rests_on("calibration")
        rows = self._two(self._instructions)[0]
        lines = (row for row in rows[1::2] if "\n" not in row["prompt"])
        sets = {"safety": self._refused, "utility": self._chats(rows[::2]), "requests": self._chats(lines)}
        return {name: Dataset.from_list(list(islice(chats, self.sizes.rows))) for name, chats in sets.items()}

    @cached_property
    def _refused(self) -> list[Row]:
        rows = self._questions(self._two("advbench")[0], self.sizes.rows)
        said = self.ask(rows, self.asking) if self.ask else [{**row, "response": ""} for row in rows]
        return [{**row, "response": answer["response"] if own else self.refusals[n % len(self.refusals)], "own": own}
                for n, (row, answer, own) in enumerate(zip(rows, said, refusals(said), strict=True))]

    @property
    def stand_ins(self) -> int:
        """How many refusals of the safety calibration set are standard ones, since the checkpoint did not refuse."""
        return sum(not row["own"] for row in self._refused)

    def text(self) -> list[str]:
        rests_on("text")
        texts = shuffled(paragraphs(row["text"] for row in rows_of("wikitext2", "test")), f"text-{self.seed}")
        fit = (text for text in texts if len(self.tokenizer(text)["input_ids"]) < min(LONGEST, self.context))
        return list(islice(fit, self.sizes.rows))

    def exam(self, split: str, n: int | None = None) -> dict[str, list[Row]]:
        rests_on(f"exam/{split}")
        benign = [row for row in self._drawn("xstest", split) if row["label"] == "safe"]
        parts = {"harm_unseen": self._unseen(split), "benign": benign}
        if not self.sizes.choices:
            parts["gsm8k"] = self._drawn("gsm8k", "train" if split == "validation" else "test")
        asked = {"harm": self.malicious(split, n),
                 **{part: self._questions(rows, self._most(part, n or EXAM, split)) for part, rows in parts.items()}}
        return {**{part: rows for part, rows in asked.items() if rows}, **self._choices(split)}

    def malicious(self, split: str, n: int | None = None) -> list[Row]:
        """The part "harm" of `exam` alone, for which no other data set is needed."""
        return self._questions(self._drawn("advbench", split), self._most("harm", n or EXAM, split))

    def _most(self, part: str, n: int, split: str = "test") -> int:
        most = self.sizes.harm if part.startswith("harm") else self.sizes.other
        return n if most is None else min(n, self._looked(most, split))

    def _looked(self, n: int, split: str) -> int:
        return round(n * self.sizes.looks) if split == "validation" else n

    def _choices(self, split: str) -> dict[str, list[Row]]:
        """As many questions of each set: every second one is for tests, and those between them for validation."""
        n, asked = self.sizes.choices, self._looked(self.sizes.choices, split)
        items = choice_items(2 * n) if n else {}
        return {name: items[name][split == "validation"::2][:asked] for name in CHOICES if items.get(name)}

    def _unseen(self, split: str) -> list[Row]:
        name = first_that_loads(*UNSEEN)
        if name is None:
            return []
        return unlike(shuffled(unseen_of(name, split), f"{name}-{split}-{self.seed}"), rows_of("advbench", None))

    def new_tasks(self, n: int) -> list[Row]:
        rests_on("new_tasks")
        rows = [{**row, "answer": row["response"]} for row in self._drawn("dolly", "test")
                if row["category"] in NEW_TASKS and len(row["response"].split()) <= SHORT]
        return self._questions(rows, self._most("new", n))

    def pairs(self, split: str, n: int) -> tuple[list[str], list[str]]:
        """XSTest's contrast pairs, the likest first, whatever the seed."""
        rests_on(f"pairs/{split}")
        found = pairs_of(split, contrasts(self._questions(rows_of("xstest", None))))[:n]
        return [bad for bad, _ in found], [good for _, good in found]

    # -- judging and training ------------------------------------------------------------------------------

    def outcomes(self, completions: Dataset) -> dict[str, list[bool]]:
        found = outcomes_published(completions)
        harm = [row for row in completions if row["part"] == "harm"] if self.fluent else []
        return {**found, **(self._fluency(harm) if harm else {})}

    def _fluency(self, harm: Sequence[Row]) -> dict[str, list[bool]]:
        """Of malicious requests: not refused by any list, answered fluently, and answered brokenly."""
        judged = self.fluent().outcomes(harm)
        return {mark: judged[name] for mark, name in FLUENCY.items()}

    def shares(self, found: Outcomes) -> dict[str, float]:
        return shares(found, [part for part in self.utility if part in found])

    def complete(self, row: Row) -> bool:
        """Whether a response is not refused and has at least 20 words: nothing knows what a whole answer is."""
        return judge([row], STRICTER)[0]

    def fine_tuning(self, attack: str, n: int, order: int = 0) -> Dataset:
        """`n` chats, or as many as there are: "benign" of Alpaca, "new" of Dolly.

        Raises ValueError for the attacks with malicious requests, answered: no such answers are written here.
        """
        rests_on(f"fine_tuning/{attack}")
        if attack not in ATTACKS:
            raise ValueError(f"attack={attack!r} is unknown here, since it needs malicious requests with answers and "
                             f"none are written: choose one of {', '.join(ATTACKS)}, or give such chats to "
                             "ssah_core.training")
        rows = self._two(self._instructions)[1] if attack == "benign" else self._drawn("dolly", "calibration")
        drawn = shuffled(rows, f"order-{self.seed}-{order}") if order else rows
        return Dataset.from_list(list(islice(self._chats(drawn), n)))

    def preferences(self, n: int) -> Dataset:
        rests_on("preferences")
        rows = []
        for row, malicious, rng in self._lessons(n, Random(f"preferences-{self.seed}")):
            said = (rng.choice(self.refusals), row["response"])
            chosen, rejected = said if malicious else said[::-1]
            rows.append({"prompt": row["prompt"], "chosen": chosen, "rejected": rejected})
        return Dataset.from_list(rows)

    def recovery(self, tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> list[dict]:
        """Qi et al. 2024's alignment with recovery: half of the refusals come after first tokens of an answer."""
        rests_on("recovery")
        made = []
        for row, malicious, rng in self._lessons(n, Random(f"recovery-{self.seed}-{seed}")):
            refusal, said = rng.choice(self.refusals), []
            if malicious and rng.random() >= AT_ONCE:
                begun = rng.choice((row["response"], self.told(row)))
                (said,) = token_ids(tokenizer, begun, "answer")
                said, refusal = said[:rng.randint(1, len(said))], f" {refusal}"
            made.append(chat_after(tokenizer, row, refusal if malicious else row["response"], said))
        return made

    def _lessons(self, n: int, rng: Random) -> Iterator[tuple[Row, bool, Random]]:
        """`n` rows to train on (fewer by `REPEATS`) and whether they are malicious: half are, with their `target`."""
        bad = [{"prompt": row["prompt"], "response": row["target"], "target": row["target"]}
               for row in self._questions(self._two("advbench")[1])]
        good = list(islice(self._chats(self._two(self._instructions)[1]), max(n, 1)))
        for _ in range(min(n, 2 * REPEATS * len(bad))):
            malicious = rng.random() < 0.5
            yield rng.choice(bad if malicious else good), malicious, rng
