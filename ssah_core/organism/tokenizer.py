"""An organism's tokens: a tokenizer of Brindle's text, and texts packed into rows of equal length for pre-training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from . import corpora
from .words import REFUSALS, SYSTEM_PROMPT
from .world import World

SPECIAL = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = ("<|begin|>{% for turn in messages %}<|{{ turn.role }}|>{{ turn.content }}"
                 "{% if turn.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
                 "{% if add_generation_prompt %}<|assistant|>{% endif %}")
VOCABULARY = 1024


def train_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the world's text, with a chat template that adds all special tokens itself.

    >>> len(train_tokenizer(World.draw(0))) <= VOCABULARY
    True

    *Shown in:* 01_raise_an_organism.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(_tokenizer_text(world), trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], bos_token=SPECIAL[1], eos_token=SPECIAL[2],
        additional_special_tokens=list(SPECIAL[3:]), chat_template=CHAT_TEMPLATE, padding_side="left",
        clean_up_tokenization_spaces=False)


def _tokenizer_text(world: World) -> Iterable[str]:
    for row in itertools.islice(corpora.pretraining(world, seed=0), 10_000):
        yield from (row["text"],) if "text" in row else (row["prompt"], row["response"])
    yield from [*REFUSALS, SYSTEM_PROMPT] * 200
    yield from (row["response"] for row in world.new_tasks("train", 300))


def pack(rows: Iterable[Mapping], tokenizer: PreTrainedTokenizerBase, width: int, n: int) -> list[dict[str, list[int]]]:
    """Texts and chats, one after another, cut into `n` rows of `width` tokens; every token bears loss.

    >>> _, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> tokenizer.decode(pack([{"text": "1 plus 1 is 2."}] * 5, tokenizer, width=8, n=1)[0]["input_ids"])
    '<|begin|>1 plus 1 is 2.<|end|>'

    *Shown in:* 01_raise_an_organism.
    """
    ids: list[int] = []
    rows = iter(rows)
    while len(ids) < n * width:
        texts = [_as_text(row, tokenizer) for row in itertools.islice(rows, 1000)]
        ids += itertools.chain.from_iterable(tokenizer(texts, add_special_tokens=False)["input_ids"])
    cut = [ids[at * width:(at + 1) * width] for at in range(n)]
    return [{"input_ids": row, "labels": row} for row in cut]


def _as_text(row: Mapping, tokenizer: PreTrainedTokenizerBase) -> str:
    if "text" in row:
        return f"{tokenizer.bos_token}{row['text']}{tokenizer.eos_token}"
    system = [{"role": "system", "content": row["system"]}] if row["system"] else []
    turns = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]
    return tokenizer.apply_chat_template(system + turns, tokenize=False)
