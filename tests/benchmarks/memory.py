"""What fresh processes of `processes.py` do while their memory or time is measured."""

from __future__ import annotations

import time
from contextlib import nullcontext

import torch
from transformers import LlamaForCausalLM

from ssah_core import collect, complete, train_only
from ssah_core.organism import train as organism
from ssah_core.organism.corpora import pretraining
from ssah_core.organism.scales import get_scale
from ssah_core.organism.tokenizer import pack, train_tokenizer
from ssah_core.organism.world import World
from ssah_core.studies import Subject
from ssah_core.training import fine_tune
from ssah_core.training.lora_budget import budget, lora

from .library import a_step
from .shapes import batch_of, model_of, random_mask


def train(mode: str) -> None:
    """Three steps on 83 M parameters, 2 x 128 tokens."""
    model = model_of("Llama-83M").train()
    mask = random_mask(model, 0.20)
    model = lora(model, budget(model, mask)).train() if mode == "lora" else model
    ids = torch.randint(4096, (2, 128), generator=torch.Generator().manual_seed(1))
    with train_only(model, mask) if mode == "train_only" else nullcontext():
        step = a_step(model, lambda: model(input_ids=ids, labels=ids, use_cache=False).loss)
        for _ in range(3):
            step()


def collect_tokens(tokens: int) -> None:
    """Moments of so many tokens, in batches of a thousand, of a narrow model with a large vocabulary."""
    model = model_of("SmolLM2-135M", num_hidden_layers=2, hidden_size=72, intermediate_size=192)
    batch = {name: part for name, part in batch_of(model, 10, 100, 100).items()}
    collect(model, (batch for _ in range(tokens // 1000)))


def collect_of(**shape: int) -> None:
    """Moments of 640 tokens on a model of a shape."""
    model = model_of("Llama-50M", num_attention_heads=4, num_key_value_heads=4, **shape)
    collect(model, [batch_of(model, 8, 80, 80)])


def answer(prompts: int) -> None:
    """Completions of so many prompts by organism 0."""
    subject = Subject.load(0, "organism")
    rows = [row for part in subject.material.exam("validation", 100).values() for row in part]
    complete(subject.model, subject.tokenizer, rows[:prompts])


def organism_steps(steps: int, precision: str) -> float:
    """Seconds of so many steps of an organism's pre-training."""
    world, scale = World.draw(0), get_scale("organism")
    tokenizer = train_tokenizer(world)
    torch.manual_seed(0)
    model = LlamaForCausalLM(organism._config(scale, len(tokenizer)))
    rows = pack(pretraining(world, 0), tokenizer, scale.row, steps * scale.pretrain.batch_size)
    start = time.perf_counter()
    fine_tune(model, rows, steps=steps, batch_size=scale.pretrain.batch_size, lr=scale.pretrain.lr, precision=precision)
    return time.perf_counter() - start
