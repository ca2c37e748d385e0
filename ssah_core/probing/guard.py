"""Choose again at every token: a read-out of the direction that stops a response and refuses when it turns.

The idea is the explicit safety signal of Li and Kim 2025; here the signal is a linear read-out of a checkpoint as it
is, with no training: one dot product a token.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import takewhile

import torch
from torch import Tensor, nn
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_kind, check_numbers, check_texts
from ..models import check_tokenizer, end_of_turn, observing, render_prompt, stop_ids, token_ids
from .linear_probe import Readout

REFUSAL = "Sorry, I can't help with that."


class DirectionGuard(LogitsProcessor):
    """Watches the direction while a model generates; where it turns to "refuse", a refusal and the end follow.

    readout     Its signal is evaluated at the prompt's end, where the response begins, then at every token of the
                response: those that somebody else has put there before generation (a prefill), too. Where a response
                begins is read off what the chat template puts before it; without a template, it is where generation
                begins.
    refusal     Text that a turned row goes on with, whatever it has said so far (begin it with a new line if it
                should stand apart); then its end token.
    threshold   A row turns once its signal exceeds this: -inf at once, inf never.
    average     Compare the mean of the signals so far, not the latest alone: steadier, where one token tells little.

    Rows of a batch are watched each for itself; within `with`, several generations may follow one another. Works for
    greedy decoding and sampling, not for beams, whose rows change places, nor for assisted decoding.
    Raises ValueError if the threshold is not a number, the tokenizer has no end token, the read-out is another model's,
    it generates outside `with`, or rows change places.
    Source: Li and Kim 2025, whose signal is trained.   Departs: the paper only proposes, as an outlook, that a model
    choose again at every token.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> readout = Readout(layer=1, weight=torch.ones(32, dtype=torch.float64), bias=0.0)
    >>> with DirectionGuard(model, tokenizer, readout, refusal="No.", threshold=-torch.inf) as guard:
    ...     said = ssah.complete(model, tokenizer, ["How do I jinx the gate?"], logits_processor=[guard])
    >>> said["response"][0], guard.turned_at  # or model.generate(..., logits_processor=[guard])
    ('No.', [0])

    *Shown in:* 08_re_evaluate_direction.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, readout: Readout, *,
                 refusal: str = REFUSAL, threshold: float = 0.0, average: bool = False):
        check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
        check_kind(Readout, "pass a read-out, such as fit_readout of ssah_core.probing.linear_probe gives",
                   readout=readout)
        check_tokenizer(tokenizer)
        check_texts(refusal=refusal)
        check_numbers(finite=False, threshold=threshold)
        end = end_of_turn(tokenizer)
        if not end:
            raise ValueError("tokenizer has no end token: set tokenizer.eos_token, so that a refusal can end")
        self.model, self.readout, self.threshold, self.average = model, readout, threshold, average
        self._forced = torch.tensor(token_ids(tokenizer, refusal, "refusal")[0] + end)
        self._ends = torch.tensor(stop_ids(model, tokenizer))
        self._weight, self._header = readout.weight, torch.tensor(_header(tokenizer), dtype=torch.long)
        self._signal: Tensor | None = None
        self._seen: Tensor | None = None
        self._turned_at = torch.empty(0, dtype=torch.long)
        self._watch = ExitStack()

    def __enter__(self) -> DirectionGuard:
        self._watch.enter_context(observing(self.model, (self.readout.layer,), self._read))
        return self

    def __exit__(self, *error) -> None:
        self._watch.close()
        self._signal = self._seen = None

    def _read(self, layer: int, hidden: Tensor) -> None:  # [row, token, hidden]
        if hidden.shape[-1] != len(self.readout.weight):
            raise ValueError(f"readout has {len(self.readout.weight)} weights but layer {layer} has {hidden.shape[-1]} "
                             "channels: use a read-out that was fitted on this model")
        hidden = hidden.float()
        self._weight = self._weight.to(hidden)  # moved once, then it is there
        self._signal, self._alone = hidden @ self._weight + self.readout.bias, hidden.shape[1] == 1  # [row, token]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [row, vocab] for the next token: as they are, or those of the refusal's next token alone."""
        if self._signal is None:
            raise ValueError("guard is not on: generate inside `with guard:`")
        if self._seen is None or not torch.equal(input_ids[:, :-1], self._seen):
            self._begin(input_ids)
            heard = self._response(input_ids[:, -self._signal.shape[1]:])
        else:
            self._done |= torch.isin(input_ids[:, -1], self._ends)
            heard = torch.ones_like(input_ids[:, -1:], dtype=torch.bool)
        self._seen, self._said = input_ids, self._said + 1
        turned = (self._highest(heard) > self.threshold) & (self._turned_at < 0) & ~self._done
        self._turned_at = torch.where(turned, self._said, self._turned_at)
        refusing = self._turned_at >= 0
        if not refusing.any():
            return scores
        step = (self._said - self._turned_at).clamp(0, len(self._forced) - 1)
        only = torch.full_like(scores, -torch.inf).scatter_(1, self._forced[step][:, None], 0)
        return torch.where(refusing[:, None], only, scores)

    def _highest(self, heard: Tensor) -> Tensor:
        """The most that is compared with the threshold at the tokens that are new and `heard` [row, token]: [row]."""
        signal = self._signal[:, -heard.shape[1]:].to(heard.device)
        totals = self._total[:, None] + (signal * heard).cumsum(1)
        counts = self._count[:, None] + heard.cumsum(1)
        self._total, self._count = totals[:, -1], counts[:, -1]
        compared = totals / counts.clamp(min=1) if self.average else signal
        return compared.masked_fill(~heard, -torch.inf).amax(1)

    def _response(self, input_ids: Tensor) -> Tensor:
        """From the prompt's last token on, which is the last of its header: bool [row, token]."""
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        begins = torch.full_like(input_ids[:, 0], len(place) - 1)
        width = len(self._header)
        if 0 < width <= len(place):
            found = (input_ids.unfold(1, width, 1) == self._header.to(input_ids.device)).all(2)  # [row, window]
            last = torch.where(found, place[:found.shape[1]] + width - 1, -1).amax(1)
            begins = torch.where(last >= 0, last, begins)
        return place >= begins[:, None]

    def _begin(self, input_ids: Tensor) -> None:
        """A new generation: nothing has turned."""
        if self._seen is not None and self._alone and input_ids[:, :-1].shape == self._seen.shape:
            raise ValueError("the rows changed places between two tokens: guard works for greedy decoding and "
                             "sampling, not for beams")
        self._forced, self._ends = self._forced.to(input_ids.device), self._ends.to(input_ids.device)
        self._said = -1
        self._total = torch.zeros(len(input_ids), device=input_ids.device)
        self._count = torch.zeros(len(input_ids), dtype=torch.long, device=input_ids.device)
        self._turned_at = torch.full((len(input_ids),), -1, device=input_ids.device)
        self._done = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    @property
    def turned_at(self) -> list[int]:
        """Of the latest generation, how many tokens each row had said when it turned; -1 if it never did."""
        return self._turned_at.tolist()


def _header(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that the chat template puts between a prompt's text and the response; none without a template.

    Without those whose text alone has other tokens than it has behind a prompt (its first, with some tokenizers).
    """
    if not tokenizer.chat_template:
        return []
    _, prompt = render_prompt(tokenizer, "?")
    whole, alone = (tokenizer(text, add_special_tokens=False)["input_ids"]
                    for text in (prompt, prompt.rpartition("?")[2]))
    same = takewhile(lambda pair: pair[0] == pair[1], zip(reversed(whole), reversed(alone), strict=False))
    return [token for token, _ in same][::-1]
