"""Completions: generate once, keep beside their prompts, judge as often as wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import encode, evaluating


@torch.no_grad()
def complete(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str] | Sequence[Mapping], *,
             prefill: str = "", system: str | None = None, max_new_tokens: int = 32, batch_size: int = 256,
             progress: bool = False, **generate) -> Dataset:
    """Answer every prompt (greedily, unless `generate` says otherwise) and return the rows with a `response`.

    prompts    Strings, or rows with a `prompt` (other columns are kept; a row's own `response` is renamed `reference`).
    prefill    Text that every response is made to begin with; it is part of the `response`.
    system     System prompt for every row; a row's own `system` counts where this is None.

    Prompts are answered in batches of like length. Raises ValueError if there are no prompts, or if one
    does not fit into the model's context.
    """
    if isinstance(prompts, str):
        raise ValueError("prompts is one string: pass a list of prompts, such as [prompt]")
    rows = [dict(row) if isinstance(row, Mapping) else {"prompt": row} for row in prompts]
    if not rows:
        raise ValueError("prompts is empty: pass at least one prompt")
    start = tokenizer(prefill, add_special_tokens=False)["input_ids"] if prefill else []
    ids = [encode(tokenizer, row["prompt"], system=system or row.get("system"))[0] + start for row in rows]
    _check_context(model, max(map(len, ids)), max_new_tokens)
    order = sorted(range(len(rows)), key=lambda n: len(ids[n]))
    for at in tqdm(range(0, len(rows), batch_size), desc="completions", disable=not progress, leave=False):
        batch = order[at:at + batch_size]
        texts = generate_texts(model, tokenizer, [ids[n] for n in batch], len(start), max_new_tokens, generate)
        for n, text in zip(batch, texts, strict=True):
            if "response" in rows[n]:
                rows[n]["reference"] = rows[n].pop("response")
            rows[n]["response"] = text
    columns = dict.fromkeys(column for row in rows for column in row)  # from_list takes those of the first row alone
    return Dataset.from_list([{column: row.get(column) for column in columns} for row in rows])


def generate_texts(model, tokenizer, ids: list[list[int]], prefilled: int, max_new_tokens: int, generate: dict) -> list[str]:
    width = max(map(len, ids))
    fill = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    input_ids = torch.tensor([[fill] * (width - len(row)) + row for row in ids], device=model.device)  # [batch, token]
    attention = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=model.device)
    settings = {"do_sample": False, "pad_token_id": fill, "eos_token_id": _ends(model, tokenizer), **generate}
    with evaluating(model):
        out = model.generate(input_ids=input_ids, attention_mask=attention, max_new_tokens=max_new_tokens, **settings)
    # Decoded together with the prefill: many tokenizers drop the space before the first word they decode.
    return tokenizer.batch_decode(out[:, width - prefilled:], skip_special_tokens=True)


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int] | None:
    """Tokens that end a response: the tokenizer's, and those that the checkpoint names (often an end of turn)."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return sorted({tokenizer.eos_token_id, *named} - {None}) or None


def _check_context(model: PreTrainedModel, prompt_tokens: int, max_new_tokens: int) -> None:
    room = getattr(model.config, "max_position_embeddings", None)
    if room and prompt_tokens + max_new_tokens > room:
        raise ValueError(f"the longest prompt has {prompt_tokens} tokens and max_new_tokens={max_new_tokens}, but the model's "
                         f"context holds {room}: shorten the prompt or lower max_new_tokens")
