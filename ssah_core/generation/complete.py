"""Completions: generate once, keep beside their prompts, judge as often as wanted."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import DynamicCache, GenerationConfig, GenerationMixin, PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_counts, check_kind, check_texts, shown
from ..models import (
    THINKING,
    Queries,
    TemplateKwargs,
    affixes,
    check_context,
    encode,
    evaluating,
    pad_columns,
    pad_of,
    stop_ids,
    token_ids,
    with_template,
)
from .rows import answered, checked_rows

LEG = 8
"""Tokens after which rows that have ended are left out of a batch: most answers are short, and one is long."""
BESIDE = ("tokenizer", "assistant_tokenizer")
"""What `model.generate` takes beside the arguments that it names and the settings of a GenerationConfig."""
VERSION = 2
"""Of what completions are: raised by hand when the same model answers the same prompts and settings otherwise."""


def complete(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Queries, *, prefill: str = "",
             system: str | None = None, max_new_tokens: int = 32, batch_size: int = 256, progress: bool = False,
             chat_template_kwargs: TemplateKwargs | None = None, **generate: Any) -> Dataset:
    """Answer every prompt (greedily, unless `generate` says otherwise) and return the rows with a `response`.

    prompts    Strings, or rows with a `prompt` (other columns are kept; a row's own `response` is renamed `reference`).
    prefill    Text that every response is made to begin with; it is part of the `response`.
    system     System prompt for every row; a row's own `system` counts where this is None.
    chat_template_kwargs   Arguments of the chat template, such as {"enable_thinking": False}, beside those that
               `ssah.load` has bound.
    generate   What else `model.generate` of transformers knows, such as `do_sample`.

    A response is the argmax, token by token, whatever the checkpoint's own generation_config asks for (a repetition
    penalty, a temperature): such settings count where they are passed. It is over at the end token of the tokenizer, of
    the checkpoint or of the chat template. Where the template has begun to think for the model ("<think>"), the
    `response` begins with that.
    Prompts are answered in batches of like length. Raises ValueError, before anything is generated, if there are no
    prompts, if one does not fit into the model's context, or if a row has no `prompt` or a column holds what cannot be
    kept, such as numbers and text, naming row and column.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> rows = ssah.complete(model, tokenizer, [{"prompt": "How do I mend the kettle?", "id": 7}], prefill="Sure",
    ...                      max_new_tokens=4)
    >>> rows.column_names, rows[0]["id"], rows[0]["response"].startswith("Sure")
    (['prompt', 'id', 'response'], 7, True)

    *Shown in:* 00_start_here.
    """
    rows = checked_rows(prompts, "prompts")
    tokenizer, start, ids = prepared(model, tokenizer, rows, prefill, system, max_new_tokens, batch_size,
                                     chat_template_kwargs=chat_template_kwargs, **generate)
    texts = generate_texts(model, tokenizer, ids, len(start), max_new_tokens, batch_size, progress, **generate)
    return answered(rows, as_responses(tokenizer, texts, bool(start)))


def prepared(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping], prefill: str = "",
             system: str | None = None, max_new_tokens: int = 32, batch_size: int = 256, *,
             chat_template_kwargs: TemplateKwargs | None = None, **generate: Any
             ) -> tuple[PreTrainedTokenizerBase, list[int], list[list[int]]]:
    """What `complete` has before it generates: the tokenizer with its template, ids of the prefill, ids of each row.

    Raises ValueError as that does.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> tokenizer, start, ids = prepared(model, tokenizer, [{"prompt": "Why?"}], prefill="So")
    >>> ids[0][-len(start):] == start
    True
    """
    check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
    check_texts(prefill=prefill, **({} if system is None else {"system": system}))
    check_counts(max_new_tokens=max_new_tokens, batch_size=batch_size)
    tokenizer = with_template(tokenizer, chat_template_kwargs)
    _check_generate(model, generate)
    start = token_ids(tokenizer, prefill, "prefill")[0] if prefill else []
    ids = [encode(tokenizer, row["prompt"], system=system or row.get("system"))[0] + start for row in rows]
    longest = max(map(len, ids))
    check_context(model, longest + max_new_tokens,
                  f"the longest prompt has {longest} tokens and max_new_tokens={max_new_tokens}",
                  "shorten the prompt or lower max_new_tokens")
    return tokenizer, start, ids


def as_responses(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], prefilled: bool) -> list[str]:
    """Texts as they are kept: behind the thought that the chat template has begun, and a prefill without the space that
    the template puts before it.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> as_responses(tokenizer, ["Sure"], True)
    ['Sure']
    """
    if not tokenizer.chat_template:
        return list(texts)
    around = affixes(tokenizer)
    return [around.thought + text.removeprefix(around.before if prefilled else "") for text in texts]


@torch.no_grad()
def generate_texts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: Sequence[Sequence[int]],
                   prefilled: int, max_new_tokens: int, batch_size: int, progress: bool = False,
                   **generate: Any) -> list[str]:
    """What a model says after token ids, a text a row, in the order of the rows.

    ids         Token ids of each row, its prefill last. They are answered in batches of like length.
    prefilled   So many tokens at the end of each row are the prefill, with which its text begins.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids = tokenizer(["Sure, here", "No"])["input_ids"]
    >>> [text[:2] for text in generate_texts(model, tokenizer, ids, 1, max_new_tokens=2, batch_size=1)][1]
    'No'
    """
    order, texts = sorted(range(len(ids)), key=lambda n: len(ids[n])), [""] * len(ids)
    for at in tqdm(range(0, len(ids), batch_size), desc="completions", disable=not progress, leave=False):
        which = order[at:at + batch_size]
        said = _say(model, tokenizer, [ids[n] for n in which], prefilled, max_new_tokens, generate)
        for n, text in zip(which, said, strict=True):
            texts[n] = text
    return texts


def _say(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: Sequence[Sequence[int]], prefilled: int,
         max_new_tokens: int, generate: Mapping[str, Any]) -> list[str]:
    """What a model says after one batch of token ids."""
    fill = pad_of(model, tokenizer)
    batch = pad_columns({"input_ids": ids}, {"input_ids": fill}, left=True, device=model.device)
    greedily = {} if "generation_config" in generate else {"do_sample": False}
    settings = {**greedily, "pad_token_id": fill, "eos_token_id": stop_ids(model, tokenizer) or None, **generate}
    if "stop_strings" in generate:
        settings["tokenizer"] = tokenizer
    with evaluating(model), _asking_nothing(model):
        is_plain = all(name == "do_sample" and not value for name, value in generate.items())
        can_leave_out = is_plain and settings["eos_token_id"] and isinstance(model, PreTrainedModel)
        say = _in_legs if can_leave_out else _in_one
        out = say(model, batch, max_new_tokens, settings)
    # Decoded together with the prefill: many tokenizers drop the space before the first word they decode.
    width = batch["input_ids"].shape[1]
    begun, said = out[:, width - prefilled:width].tolist(), out[:, width:].tolist()
    stops = settings["eos_token_id"] if isinstance(settings["eos_token_id"], list) else [settings["eos_token_id"]]
    added = tokenizer.added_tokens_decoder
    rows = [[*first, *_until(row, stops, added)] for first, row in zip(begun, said, strict=True)]
    return spoken(tokenizer, rows)


def _in_one(model: PreTrainedModel, batch: Mapping[str, Tensor], max_new_tokens: int, settings: Mapping) -> Tensor:
    """Token ids [row, token] of prompts with what a model says."""
    return model.generate(**batch, max_new_tokens=max_new_tokens, **settings)


def _in_legs(model: PreTrainedModel, batch: Mapping[str, Tensor], max_new_tokens: int, settings: Mapping) -> Tensor:
    """The same, where rows that have ended are left out after each leg, if the model has a cache to go on from."""
    ids, attended, cache = batch["input_ids"], batch["attention_mask"], None
    said = torch.full((len(ids), max_new_tokens), settings["pad_token_id"], device=ids.device)
    rows, stops = torch.arange(len(ids), device=ids.device), torch.tensor(settings["eos_token_id"], device=ids.device)
    at, goes_on_from_cache = 0, True
    while len(rows) and at < max_new_tokens:
        length = min(LEG, max_new_tokens - at) if goes_on_from_cache else max_new_tokens - at
        out = model.generate(input_ids=ids, attention_mask=attended, past_key_values=cache, max_new_tokens=length,
                             return_dict_in_generate=True, **settings)
        new, cache = out.sequences[:, ids.shape[1]:], out.get("past_key_values")
        said[rows, at:at + new.shape[1]] = new
        goes_on = (~torch.isin(new, stops).any(1)).nonzero().flatten()
        ids, attended = out.sequences[goes_on], torch.cat([attended, torch.ones_like(new)], 1)[goes_on]
        rows, at, goes_on_from_cache = rows[goes_on], at + length, isinstance(cache, DynamicCache)
        if goes_on_from_cache and len(rows):
            cache.reorder_cache(goes_on)  # which every kind of layer has, on whatever device
        else:
            cache = None  # of another kind: what is left is said in one go, and the prompts are read again
    return torch.cat([batch["input_ids"], said], 1)


def _until(row: Sequence[int], stops: Sequence[int | None], added: Container[int]) -> Sequence[int]:
    """Token ids up to the first that ends a response, behind which stands padding; with it, if it is a plain word."""
    end = next((n for n, token in enumerate(row) if token in stops), len(row))
    return row[:end] if end == len(row) or row[end] in added else row[:end + 1]


def spoken(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """Rows of token ids as text, without special tokens but for the marks of thinking, which judges look for.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> spoken(tokenizer, [tokenizer("Sure, here<|end|>")["input_ids"]])
    ['Sure, here']
    """
    marks = {mark for pair in THINKING for mark in pair}
    silent = {token for token, added in tokenizer.added_tokens_decoder.items()
              if added.special and str(added) not in marks}
    said = [[token for token in row if token not in silent] for row in rows]
    return tokenizer.batch_decode(said, clean_up_tokenization_spaces=False)


def _check_generate(model: PreTrainedModel, generate: Mapping[str, Any]) -> None:
    inner = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), model)
    known = {*vars(GenerationConfig()), *BESIDE, *signature(inner.forward).parameters,
             *signature(GenerationMixin.generate).parameters}
    unknown = sorted(set(generate) - (known - {"self", "kwargs"}))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: neither ssah.complete nor model.generate knows such a setting "
                         f"({shown(dict(generate))}): check the spelling")
    if generate.get("num_return_sequences", 1) != 1 or generate.get("return_dict_in_generate"):
        raise ValueError("num_return_sequences and return_dict_in_generate give more than a text a prompt: repeat the "
                         "prompts instead")


@contextmanager
def _asking_nothing(model: PreTrainedModel) -> Iterator[None]:
    """The model without its publisher's ways to generate (penalties, sampling), which would be merged into ours."""
    own = [(each, each.generation_config) for each in model.modules() if "generation_config" in vars(each)]
    for module, _ in own:  # several where adapters are wrapped round a model
        module.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for module, config in own:
            module.generation_config = config
