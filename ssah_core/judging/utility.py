"""Utility of a checkpoint: the zero-shot tasks of the paper, and perplexity at a fixed length in tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_counts, check_kind, check_list, check_texts, shown
from ..models import check_tokenizer, context_of, evaluating, summed_nll

PAPER_TASKS = ("winogrande", "openbookqa", "arc_challenge", "boolq", "hellaswag", "rte")
"""The tasks whose mean accuracy is utility in Table 1."""


@dataclass(frozen=True)
class TokenPerplexity:
    """Perplexity over windows, and over how much text.

    >>> TokenPerplexity(value=8.0, length=4, windows=3, left_over=1).predicted
    9
    """

    value: float
    """exp of the mean negative log-likelihood of a predicted token."""
    length: int
    """Tokens of a window."""
    windows: int
    left_over: int
    """Tokens at the end that fill no window and are not read."""

    @property
    def predicted(self) -> int:
        """Tokens that were predicted: all but the first of each window."""
        return self.windows * (self.length - 1)


def token_perplexity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], *,
                     length: int = 4096, batch_size: int = 1, most: int | None = None,
                     joint: str = "\n\n") -> TokenPerplexity:
    """Perplexity of running text in windows of `length` tokens that do not overlap, each read by itself.

    texts   Such as `ssah.load_data("wikitext2", "test")["text"]`. They are joined by `joint` and tokenised as one text,
            so that a BOS token, where the tokenizer adds one, stands before the first window alone.
    most    Read at most so many windows; None: all.

    This is the number of GPTQ, SparseGPT, Wanda, FLAP and Wei et al. (who take 4,096 tokens of Llama-2), not the
    word perplexity of documents that lm-evaluation-harness reports. It depends on `length`: compare equal lengths only.
    Raises ValueError if the text fills no window, or a window does not fit into the model's context.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> found = ssah.token_perplexity(model, tokenizer, ["Take the brush."] * 20, length=16)
    >>> found.length, found.value > 1, found.predicted == 15 * found.windows
    (16, True, True)

    *Shown in:* README.
    """
    check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
    check_tokenizer(tokenizer)
    check_list("pass a list of texts, such as [text]", texts=texts)
    check_counts(batch_size=batch_size, length=length, **({} if most is None else {"most": most}))
    check_texts(joint=joint)
    texts = list(texts)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"texts is {shown(texts)}: pass a list of texts, each of them a text")
    room = context_of(model)
    if length < 2 or room and length > room:
        raise ValueError(f"length={length} is no window of this model: choose 2 to {room or 'its context'}")
    ids = torch.tensor(tokenizer(joint.join(texts), verbose=False)["input_ids"])
    windows = len(ids) // length
    if not windows:
        raise ValueError(f"texts have {len(ids)} tokens, less than one window of length={length}: give more text, or "
                         "lower length")
    chosen = ids[:windows * length].view(windows, length)[:most]  # [window, token]
    nll = sum(summed_nll(model, part) for part in chosen.split(batch_size))
    value = math.exp(nll / (len(chosen) * (length - 1)))
    return TokenPerplexity(value, length, len(chosen), len(ids) - windows * length)


def evaluate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[str | dict] = PAPER_TASKS, *,
             shots: int = 0, limit: int | None = None, batch_size: int = 8, chat: bool = False,
             task_manager: Any = None) -> pandas.DataFrame:
    """Marks of a model on tasks of lm-evaluation-harness (`pip install 'ssah[eval]'`): task, metric, value, stderr, n.

    tasks          Names of the harness, or tasks as its dictionaries. Those of the paper are downloaded from the hub.
    shots          Examples before each question.
    limit          Only so many questions a task (Wei et al. 2024 take 200); None: all.
    chat           Put questions into the model's chat template. The paper does not say; its peers do not.
    task_manager   A `lm_eval.tasks.TaskManager`, where tasks are files of one's own.

    The version of the harness is in the frame's `attrs`: marks of different versions differ.
    Raises ValueError if `tasks` is no list, or if the harness is not installed or has no such task.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ssah.evaluate(model, tokenizer, tasks="boolq")
    Traceback (most recent call last):
    ValueError: tasks='boolq' is no list of tasks: give one such as ['boolq']

    *Shown in:* README.
    """
    check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
    check_tokenizer(tokenizer)
    if not isinstance(tasks, Sequence) or isinstance(tasks, str) or not tasks:
        raise ValueError(f"tasks={shown(tasks)} is no list of tasks: give one such as ['boolq']")
    odd = next((task for task in tasks if not isinstance(task, str | dict) or not task), None)
    if odd is not None:
        raise ValueError(f"tasks={shown(tasks)} has {shown(odd)}, which is no task: give names, or dictionaries")
    check_counts(0, shots=shots)
    check_counts(batch_size=batch_size, **({} if limit is None else {"limit": limit}))
    lm_eval, wrap = _harness()
    try:
        with evaluating(model):
            found = lm_eval.simple_evaluate(
                model=wrap(pretrained=model, tokenizer=tokenizer, batch_size=batch_size), tasks=list(tasks),
                num_fewshot=shots, limit=limit, apply_chat_template=chat, task_manager=task_manager, bootstrap_iters=0,
                log_samples=False)
    except KeyError as error:
        raise ValueError(f"the harness has no task {error}: see `lm_eval ls tasks` for their names") from error
    frame = pandas.DataFrame(_marks(found))
    frame.attrs["lm_eval"] = lm_eval.__version__
    return frame


def _harness():
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        raise ValueError(f"lm-evaluation-harness cannot be imported ({error}): install it with "
                         "pip install 'ssah[eval]'") from None
    return lm_eval, HFLM


def _marks(found: dict) -> list[dict]:
    """Rows of the harness's results, whose keys are such as "acc,none" and "acc_stderr,none"."""
    rows = []
    for task, marks in found["results"].items():
        n = found["n-samples"].get(task, {}).get("effective")
        for key, value in marks.items():
            metric, _, filtered = key.partition(",")
            if not isinstance(value, (int, float)) or metric.endswith("_stderr") or not filtered:
                continue
            error = marks.get(f"{metric}_stderr,{filtered}")
            rows.append({"task": task, "metric": metric, "filter": filtered, "value": float(value),
                         "stderr": float(error) if isinstance(error, (int, float)) else None, "n": n})
    return rows
