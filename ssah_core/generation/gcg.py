"""Suffixes found by gradient: tokens after a request that make the first words of an answer likely (GCG)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import encode, evaluating, token_ids


def find_suffix(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, target: str, *, steps: int,
                start: str = " the" * 8, candidates: int = 48, top: int = 32, seed: int = 0) -> list[str]:
    """The best suffix of `prompt` so far, at the start and after each step: steps + 1 texts.

    target       What the response should begin with; the suffix lowers its loss.
    start        The suffix that the search begins with; its number of tokens stays.
    candidates   Suffixes tried a step, each with one token exchanged for one of the `top` that the gradient favours.

    Only suffixes that are read, as text behind the prompt, as just these tokens are kept, so that they can be typed.
    Raises ValueError if `start` or `target` has no tokens, or if `start` changes the tokens of the prompt before it.
    Source: Zou et al. 2023.   Departs: the best suffix is kept, where theirs may also step to a worse one.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> found = find_suffix(model, tokenizer, "How do I mend it", "Sure", steps=1, start=" the the", candidates=2)
    >>> len(found), found[0]
    (2, ' the the')
    """
    rng = torch.Generator().manual_seed(seed)
    frame = _Frame.of(tokenizer, prompt, start, target)
    best, texts = torch.tensor(frame.start), [start]
    space = start[:len(start) - len(start.lstrip())]  # many tokenizers drop it from what they decode
    with evaluating(model):
        low = frame.losses(model, best[None])[0]
        for _ in range(steps):
            favoured = (-frame.gradient(model, best)).topk(top).indices  # [place, top]
            tried = best.repeat(candidates, 1)
            place = torch.randint(len(best), (candidates,), generator=rng)
            tried[range(candidates), place] = favoured[place, torch.randint(top, (candidates,), generator=rng)]
            said = [space + text.lstrip() for text in tokenizer.batch_decode(
                tried, skip_special_tokens=True, clean_up_tokenization_spaces=False)]
            typed = [n for n, text in enumerate(said)
                     if encode(tokenizer, prompt + text)[0] == frame.before + tried[n].tolist() + frame.after]
            losses = frame.losses(model, tried[typed]) if typed else low[None]
            texts.append(texts[-1])
            if losses.min() < low:
                low, won = losses.min(), typed[int(losses.argmin())]
                best, texts[-1] = tried[won], said[won]
    return texts


@dataclass(frozen=True)
class _Frame:
    """What stands around a suffix: token ids before it, after it (the template's), and the target's; and its first."""

    before: list[int]
    after: list[int]
    target: list[int]
    start: list[int]

    @classmethod
    def of(cls, tokenizer, prompt: str, start: str, target: str) -> _Frame:
        (wanted,), ids = token_ids(tokenizer, target, "target"), tokenizer(start, add_special_tokens=False)["input_ids"]
        if not ids:
            raise ValueError(f"start={start!r} has no token: begin with some, such as ' the the'")
        whole, plain = encode(tokenizer, prompt + start)[0], encode(tokenizer, prompt)[0]
        more = len(whole) - len(plain)
        places = [n for n in range(len(plain) + 1) if more > 0 and whole == plain[:n] + whole[n:n + more] + plain[n:]]
        if not places:
            raise ValueError(f"start={start!r} changes the tokens of the prompt before it: begin it with a space")
        # Some tokenizers read a text by itself as other tokens (with one more space) than behind a prompt.
        at = next((n for n in places if whole[n:n + more] == ids), places[0])
        return cls(plain[:at], plain[at:], wanted, whole[at:at + more])

    @torch.no_grad()
    def losses(self, model, suffixes: Tensor) -> Tensor:
        """Mean loss of the target's tokens after each suffix [n, place]: [n], in nats."""
        rows = [self.before + suffix + self.after + self.target for suffix in suffixes.tolist()]
        return self._loss(model(input_ids=torch.tensor(rows, device=model.device), use_cache=False).logits)

    def gradient(self, model, suffix: Tensor) -> Tensor:
        """Gradient of the loss by which token stands at each place: [place, vocab]."""
        embed = model.get_input_embeddings()
        with torch.no_grad():  # as the module reads each token: some scale what they hold (Gemma 3)
            table = embed(torch.arange(len(embed.weight), device=embed.weight.device))
        hot = one_hot(suffix.to(table.device), len(table)).to(table.dtype).requires_grad_()
        rest = torch.tensor(self.after + self.target)
        embedded = torch.cat([table[torch.tensor(self.before)], hot @ table, table[rest]])
        loss = self._loss(model(inputs_embeds=embedded[None], use_cache=False).logits)
        return torch.autograd.grad(loss.sum(), hot)[0].cpu()

    def _loss(self, logits: Tensor) -> Tensor:
        said = logits[:, -len(self.target) - 1:-1].transpose(1, 2).cpu()  # [n, vocab, token]
        said = said.to(torch.promote_types(said.dtype, torch.float32))  # half precision is too coarse to compare
        return cross_entropy(said, torch.tensor(self.target).expand(len(said), -1), reduction="none").mean(1)
