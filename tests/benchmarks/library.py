"""Scoring and training with units: each over the passes that it cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext

import torch
from torch import nn

from ssah_core import collect, freeze, train_only
from ssah_core.models import has_many_logits, labelled_nll
from ssah_core.training.lora_budget import budget, lora
from ssah_core.training.precision import has_bfloat16
from ssah_core.units.attribution import effects, log_likelihood

from .floors import least_time, optimizer_share
from .pairs import Ratio, paired
from .shapes import batch_of, model_of, random_mask

CHATS, TOKENS, RESPONSE = 12, 80, 30


def scoring(pairs: int) -> Iterator[Ratio]:
    """`collect` over a forward pass of the blocks, and `effects` over that and a backward pass."""
    for shape in ("SmolLM2-135M", "Llama-50M"):
        model = model_of(shape)
        batch = batch_of(model, CHATS, TOKENS, RESPONSE)
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "use_cache": False}
        whole = {name: part for name, part in batch.items() if name != "token_mask"}

        @torch.no_grad()
        def forward(model=model, inputs=inputs):
            model.model(**inputs)

        def backward(model=model, inputs=inputs):
            embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
            states = model.model(inputs_embeds=embedded, attention_mask=inputs["attention_mask"], use_cache=False)
            torch.autograd.grad(states.last_hidden_state.sum(), embedded)

        fill = collect(model, [whole])
        yield paired(f"collect, {shape}", f"moments of all {CHATS} x {TOKENS} tokens / a forward pass of the blocks",
                     lambda m=model, b=whole: collect(m, [b]), forward, pairs=pairs, goal=1.05, floor=1.0)
        yield paired(f"effects, {shape}", f"attribution of {CHATS} x {TOKENS} tokens, {RESPONSE} of them responses / "
                     "a forward and a backward pass of the blocks",
                     lambda m=model, b=batch, f=fill: effects(m, [b], log_likelihood, f), backward, pairs=pairs,
                     goal=1.10, floor=1.0)


def a_step(model: nn.Module, loss: Callable[[], torch.Tensor], lr: float = 1e-5) -> Callable[[], None]:
    """One step of AdamW on what trains in a model now."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.1)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    return step


def supervised(pairs: int) -> Iterator[Ratio]:
    """A step of `fine_tune` over one that makes all logits in float32."""
    model = model_of("SmolLM2-135M").train()
    batch = batch_of(model, CHATS, TOKENS, RESPONSE)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    inputs["labels"] = torch.where(batch["token_mask"], batch["input_ids"], -100)
    assert has_many_logits(model, inputs)

    def ours(precision: bool) -> Callable[[], torch.Tensor]:
        def loss() -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16) if precision else nullcontext():
                return labelled_nll(model, inputs) / batch["token_mask"].sum()
        return loss

    plain = a_step(model, lambda: model(**inputs, use_cache=False).loss)
    yield paired("supervised step, float32", "a step with logits where they are read / one with all logits",
                 a_step(model, ours(False)), plain, pairs=pairs)
    if has_bfloat16(torch.device("cpu")):
        yield paired("supervised step, bfloat16", "the same in bfloat16 / one with all logits in float32",
                     a_step(model, ours(True)), plain, pairs=pairs, goal=0.55)


def freezing(pairs: int) -> Iterator[Ratio]:
    """A step with units held over an ordinary one, on 83 M parameters, 2 x 128 tokens."""
    with ExitStack() as kept:
        yield from _freezing(pairs, kept)


def _freezing(pairs: int, kept: ExitStack) -> Iterator[Ratio]:
    vanilla = _training(kept, lambda model: nullcontext())
    for share in (0.01, 0.10, 0.70):
        held = _training(kept, lambda model, share=share: freeze(model, random_mask(model, share)))
        yield paired(f"freeze {share:.0%}", "a step with units held / an ordinary step", held, vanilla,
                     pairs=max(pairs, 20), goal=1.02, floor=1.0)
    ours = {share: _training(kept, lambda model, share=share: train_only(model, random_mask(model, share)))
            for share in (0.05, 0.20)}
    optimizer = optimizer_share(vanilla)
    for share, goal in ((0.05, 0.53), (0.20, 0.55)):
        yield paired(f"train_only {share:.0%}", "a step that trains some units / an ordinary step, of which the "
                     f"optimiser takes {optimizer:.0%}", ours[share], vanilla, pairs=pairs, goal=goal,
                     floor=least_time(share, optimizer))
    adapted = model_of("Llama-83M")
    adapted = lora(adapted, budget(adapted, random_mask(adapted, 0.20))).train()
    yield paired("train_only 20%, LoRA", "a step that trains some units / one of LoRA with as many weights", ours[0.20],
                 _training(kept, lambda model: nullcontext(), adapted), pairs=pairs, goal=0.80)


def _training(kept: ExitStack, context, model: nn.Module | None = None) -> Callable[[], None]:
    model = model or model_of("Llama-83M").train()
    kept.enter_context(context(model))
    ids = torch.randint(4096, (2, 128), generator=torch.Generator().manual_seed(1))
    return a_step(model, lambda: model(input_ids=ids, labels=ids, use_cache=False).loss)
