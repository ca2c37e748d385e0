"""Where a decoder keeps its transformer blocks: the one place that knows."""

from __future__ import annotations

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


def stacks(model: nn.Module) -> dict[str, nn.ModuleList]:
    """Every stack of transformer blocks, by its name in the model: one for a decoder, two for encoder and decoder.

    A stack is a module list with a block of transformers in it, so that it is still one where another block was
    replaced by something else.

    >>> import transformers
    >>> config = transformers.LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                                   num_attention_heads=2)
    >>> {name: len(stack) for name, stack in stacks(transformers.LlamaForCausalLM(config)).items()}
    {'model.layers': 2}
    """
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)
            and any(isinstance(block, GradientCheckpointingLayer) for block in module)}  # as all of transformers' are


def blocks(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a decoder, first to last. Raises ValueError if it has no stack of them, or several.

    >>> import transformers
    >>> config = transformers.LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                                   num_attention_heads=2)
    >>> [type(block).__name__ for block in blocks(transformers.LlamaForCausalLM(config))]
    ['LlamaDecoderLayer', 'LlamaDecoderLayer']
    """
    found = list(stacks(model).values())
    if len(found) != 1:
        raise ValueError(f"{type(model).__name__} has {len(found)} stacks of blocks: pass a decoder of transformers "
                         "with one (of a multimodal model, its language model)")
    return list(found[0])
