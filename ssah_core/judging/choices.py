"""Utility by likelihood: of each question's choices, the one that a model finds likeliest.

Nothing is generated, so a small model can be marked in minutes, and nothing has to be parsed. Questions are put as
lm-evaluation-harness puts them (0.4.13, tasks of version 1.0 and BoolQ of 2.0), without a chat template, and choices
are compared as it compares them, so that marks are those of `ssah.evaluate` on the same items: its log-likelihoods to
1e-4 nats in float32. One thing differs: an item that does not fit into the model's context is refused, not cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_choice, check_counts, check_filled, check_kind, shown
from ..models import check_tokenizer, pad_of, token_logs

Item = Mapping[str, object]
"""A row with `prompt`, `choices` and `answer`, the right one of them; of BoolQ with a `context` too."""


@dataclass(frozen=True)
class ChoiceTask:
    """How the questions of a data set are put, and how their choices are compared.

    >>> CHOICE_TASKS["piqa"].pairs({"prompt": "Mend it", "choices": ["Glue it.", "Sing."]})[1]
    ('Question: Mend it\\nAnswer:', ' Sing.')
    >>> CHOICE_TASKS["winogrande"].pairs({"prompt": "The _ shone.", "choices": ["lamp", "fog"]})[1]
    ('The fog', ' shone.')
    """

    form: str = ""
    """What stands before a choice; "" where the choice fills the "_" of the prompt, and the rest is what is compared
    (partial evaluation, Trinh and Le 2018)."""
    by_length: bool = False
    """Whether log-likelihoods are compared per character of the choice ("acc_norm" of the harness, else "acc")."""

    def pairs(self, item: Item) -> list[tuple[str, str]]:
        """(context, continuation) of every choice."""
        if self.form:
            return [(self.form.format_map(item), f" {choice}") for choice in item["choices"]]
        before, _, after = item["prompt"].partition("_")
        return [(before + choice, f" {after.strip()}") for choice in item["choices"]]

    def chosen(self, item: Item, logs: Sequence[float]) -> str:
        """The choice with the largest log-likelihood; of equal ones the first."""
        if self.by_length:
            logs = [log / len(choice) for log, choice in zip(logs, item["choices"], strict=True)]
        return item["choices"][max(range(len(logs)), key=logs.__getitem__)]


_QUESTION = "Question: {prompt}\nAnswer:"
CHOICE_TASKS: Mapping[str, ChoiceTask] = {
    "arc_easy": ChoiceTask(_QUESTION),
    "arc_challenge": ChoiceTask(_QUESTION, by_length=True),
    "piqa": ChoiceTask(_QUESTION),
    "openbookqa": ChoiceTask("{prompt}", by_length=True),
    "winogrande": ChoiceTask(),
    "boolq": ChoiceTask("{context}\nQuestion: {prompt}?\nAnswer:"),
}
"""The harness gives both marks; it is custom to take that per character for OpenBookQA and ARC-Challenge, and for the
others the plain one. `choice_logs` is what both are made of."""


def answer_choices(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, items: Mapping[str, Sequence[Item]], *,
                   batch_tokens: int = 1024, progress: bool = True) -> dict[str, list[bool]]:
    """Whether a model finds the right choice likeliest, for every question of each data set.

    items          Data set, one of `CHOICE_TASKS` -> its questions, such as `ssah_core.materials.choice_items()` gives.
    batch_tokens   Rows of about one length are read together, up to so many tokens.
    progress       Whether a bar is shown where it takes more than two seconds.

    Returns outcomes, as an exam has them: `shares(found, tuple(found))` gives the accuracies (0-1) and their mean,
    "utility". Raises ValueError for another data set, for what is no question with choices, and for one that does not
    fit into the model's context.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> asked = {"piqa": [{"prompt": "Mend it", "choices": ["Glue it.", "Sing."], "answer": "Sing."}]}
    >>> found = answer_choices(model, tokenizer, asked, progress=False)
    >>> list(found), len(found["piqa"])
    (['piqa'], 1)
    """
    chosen = likeliest(model, tokenizer, items, batch_tokens=batch_tokens, progress=progress)
    return {name: [choice == item["answer"] for item, choice in zip(items[name], chosen[name], strict=True)]
            for name in items}


def likeliest(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, items: Mapping[str, Sequence[Item]], *,
              batch_tokens: int = 1024, progress: bool = True) -> dict[str, list[str]]:
    """The choice that a model finds likeliest, of every question, by data set.

    Takes and refuses what `answer_choices` does.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> asked = {"piqa": [{"prompt": "Mend it", "choices": ["Glue it.", "Sing."], "answer": "Sing."}]}
    >>> likeliest(model, tokenizer, asked, progress=False)["piqa"][0] in asked["piqa"][0]["choices"]
    True
    """
    logs = choice_logs(model, tokenizer, items, batch_tokens=batch_tokens, progress=progress)
    return {name: [CHOICE_TASKS[name].chosen(item, those) for item, those in zip(items[name], logs[name], strict=True)]
            for name in items}


def choice_logs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, items: Mapping[str, Sequence[Item]], *,
                batch_tokens: int = 1024, progress: bool = True) -> dict[str, list[list[float]]]:
    """Log-likelihood (nats) of every choice of every question, by data set.

    Takes and refuses what `answer_choices` does.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> asked = {"openbookqa": [{"prompt": "Wax", "choices": ["shines", "sings", "is"], "answer": "shines"}]}
    >>> [(log,) for log in map(len, choice_logs(model, tokenizer, asked, progress=False)["openbookqa"])]
    [(3,)]
    """
    check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
    check_tokenizer(tokenizer)
    check_kind(Mapping, "pass questions by the name of their data set", items=items)
    check_counts(batch_tokens=batch_tokens)
    for name in items:
        check_choice(CHOICE_TASKS, items=name)
        check_filled("pass questions with choices", **{name: items[name]})
        for n, item in enumerate(items[name], 1):
            _check_item(item, n, name)
    found = {}
    for name in items:
        pairs = [CHOICE_TASKS[name].pairs(item) for item in items[name]]
        rows = [continued(tokenizer, *pair) for those in pairs for pair in those]
        logs = token_logs(model, rows, pad_of(model, tokenizer), batch_tokens=batch_tokens,
                          progress=name if progress else "")
        sums = iter([float(row.sum()) for row in logs])
        found[name] = [[next(sums) for _ in those] for those in pairs]
    return found


def continued(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> tuple[list[int], int]:
    """Token ids of a context with its continuation, and where the continuation begins, as the harness has them.

    They are tokenised as one text. Spaces at the end of the context count to the continuation, since many tokenizers
    join a space to the word behind it; the continuation begins behind as many tokens as the context has by itself.
    Raises ValueError where nothing is left, or nothing precedes.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids, start = continued(tokenizer, "Take the ", "brush")
    >>> tokenizer.decode(ids[start:])
    ' brush'
    """
    begun = context.rstrip()
    ids, head = tokenizer(context + continuation)["input_ids"], tokenizer(begun)["input_ids"]
    if not 0 < len(head) < len(ids):
        raise ValueError(f"{shown(continuation)} is no token behind {shown(context)}: pass a context and a "
                         "continuation, each of at least one")
    return ids, len(head)


def _check_item(item: Item, n: int, name: str) -> None:
    """Raise ValueError for what is no question with choices."""
    row = item if isinstance(item, Mapping) else {}
    choices = row.get("choices")
    is_whole = isinstance(row.get("prompt"), str) and isinstance(choices, Sequence) and len(choices) > 1 \
        and not isinstance(choices, str) and all(isinstance(choice, str) and choice for choice in choices)
    if not is_whole or row.get("answer") not in choices or (name == "boolq" and not row.get("context")):
        raise ValueError(f"{name} question {n} is {shown(item)}: give it a prompt, at least two choices, one of them "
                         f"as its answer{', and a context' if name == 'boolq' else ''}")
    if name == "winogrande" and "_" not in row["prompt"]:
        raise ValueError(f"{name} question {n} has no '_' in its prompt {shown(row['prompt'])}: put one where the "
                         "choice is to stand")
