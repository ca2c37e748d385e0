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


def find_stack(model: nn.Module) -> str:
    """Name of the stack of blocks of a decoder: of several (a multimodal model's), the one beside its token embedding.

    Raises ValueError if there is none, or more than one.

    >>> import transformers
    >>> config = transformers.LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                                   num_attention_heads=2)
    >>> find_stack(transformers.LlamaForCausalLM(config))
    'model.layers'
    """
    found = names = list(stacks(model))
    if len(names) > 1 and hasattr(model, "get_input_embeddings"):
        embedding = model.get_input_embeddings()
        found = [name for name in names if any(module is embedding for module in tower(model, name).modules())]
    if len(found) != 1:
        which = f" ({' and '.join(names)})" if names else ""
        raise ValueError(f"{type(model).__name__} has {len(names)} stacks of blocks{which}: pass a decoder of "
                         "transformers with one")
    return found[0]


def tower(model: nn.Module, stack: str) -> nn.Module:
    """The module that runs the blocks of a stack, one after another.

    >>> model = nn.ModuleDict({"model": nn.ModuleDict({"layers": nn.ModuleList()})})
    >>> tower(model, "model.layers") is model["model"]
    True
    """
    return model.get_submodule(stack.rpartition(".")[0])


def blocks(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a decoder, first to last. Raises ValueError as `find_stack` does.

    >>> import transformers
    >>> config = transformers.LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                                   num_attention_heads=2)
    >>> [type(block).__name__ for block in blocks(transformers.LlamaForCausalLM(config))]
    ['LlamaDecoderLayer', 'LlamaDecoderLayer']
    """
    return list(model.get_submodule(find_stack(model)))
