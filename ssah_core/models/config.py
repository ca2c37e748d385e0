"""What a checkpoint's config says before any weight is read: whether it can be used at all, and its shape."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import cached_file

from .. import hub
from ..records import cache

GATED = ("meta-llama/", "google/gemma", "mistralai/")
OPEN = {"HuggingFaceTB/SmolLM2-1.7B-Instruct": 1.7e9, "HuggingFaceTB/SmolLM3-3B": 3.1e9,
        "allenai/OLMo-2-1124-7B-Instruct": 7.3e9, "Qwen/Qwen2.5-7B-Instruct": 7.6e9,
        "allenai/OLMo-2-1124-13B-Instruct": 13.7e9, "Qwen/Qwen2.5-32B-Instruct": 32.8e9}
"""Chat models that need no licence to be accepted, by parameters."""


READ = re.compile(r"(.*config|tokenizer|special_tokens_map|added_tokens|vocab|chat_template|.*\.index)"
                  r"\.(json|jinja|txt)|merges\.txt|.*\.(model|safetensors)")
"""Names of the files that are read of a checkpoint."""


class Foreign(ValueError):
    """A checkpoint asks for code of somebody's, or for files that are not its own."""


def check_folder(name: str | Path) -> None:
    """Raise Foreign if a checkpoint's folder holds what is no file, or words or settings that are too large to read.

    >>> check_folder("no/folder")
    """
    folder = Path(name)
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if READ.fullmatch(file.name) and (not file.is_file() or file.suffix != ".safetensors"
                                    and file.stat().st_size > cache.LARGEST):
            raise Foreign(f"model={str(name)!r} has {file.name}, which is no file, or one of more than "
                          f"{cache.LARGEST / 1e9:.1f} GB: get it again")


def read_config(name: str | Path) -> PreTrainedConfig:
    """The config of a checkpoint, from a folder, the hub's cache or the hub.

    Raises ValueError, each with the next step: an unknown or uncached id, one that is gated, a model that brings code
    of its own, weights that are stored quantised, a tokenizer without a chat template.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> model.save_pretrained("mine")
    >>> read_config("mine").num_hidden_layers
    2
    """
    check_folder(name)
    try:
        config = hub.local_first(lambda: AutoConfig.from_pretrained(name, trust_remote_code=False), name)
    except OSError as error:
        raise ValueError(_absent(str(name), error)) from error
    except ValueError as error:
        why = ("brings code of its own, which ssah never runs" if "trust_remote_code" in str(error)
               else "is of no architecture that this transformers knows")
        raise ValueError(f"model={str(name)!r} {why}: take one that transformers holds, such as "
                         f"{an_open_one(7e9)}") from error
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of a config that is no config: each a library's own
        raise ValueError(f"model={str(name)!r} has files that cannot be read ({error}): get them again") from error
    check_attention(config, name)
    quantised = getattr(config, "quantization_config", None)
    if quantised:
        method = quantised["quant_method"] if isinstance(quantised, Mapping) else type(quantised).__name__
        raise ValueError(f"model={str(name)!r} is quantised ({method}), and such weights have no gradient: take the "
                         "checkpoint that it was made from, in bfloat16 or float32")
    if has_chat_template(name) is False:
        raise ValueError(f"model={str(name)!r} has a tokenizer without a chat template: take the chat or instruct "
                         "version, or add chat_template.jinja beside the tokenizer")
    return config


def has_chat_template(name: str | Path) -> bool | None:
    """Whether a checkpoint's tokenizer has a chat template; None if it has no tokenizer, as beside a lone config.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> _ = tokenizer.save_pretrained("words")
    >>> has_chat_template("words")
    True
    """
    with hub.offline():
        found = _chat_template(name)
    return found if found or not hub.can_ask(name) else _chat_template(name)


def _chat_template(name: str | Path) -> bool | None:
    found = {}
    for file in ("chat_template.jinja", "tokenizer_config.json"):
        try:
            found[file] = cached_file(str(name), file)
        except OSError:
            found[file] = None
    settings = found["tokenizer_config.json"]
    if not any(found.values()):
        return None
    inside = cache.read_json(Path(settings)) if settings else {}
    return bool(found["chat_template.jinja"] or isinstance(inside, dict) and inside.get("chat_template"))


def check_attention(config: PreTrainedConfig, name: str | Path) -> None:
    """Raise Foreign if a config asks for attention, or experts, of a repository on the hub: that is code.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> model.config._attn_implementation = "somebody/attention"
    >>> check_attention(model.config, "mine")
    Traceback (most recent call last):
    ssah_core.models.config.Foreign: model='mine' asks for code of 'somebody/attention' on the hub, ...
    """
    parts = [config, *(getattr(config, part, None) for part in getattr(config, "sub_configs", {}))]
    asked = [str(getattr(part, f"_{what}_implementation", None)) for part in parts for what in ("attn", "experts")]
    foreign = next((one for one in asked if "/" in one), None)
    if foreign:
        raise Foreign(f"model={str(name)!r} asks for code of {foreign!r} on the hub, which ssah never runs: take "
                         "that line out of its config.json")


def on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """A config's model without memory: names and shapes alone.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> on_meta(model.config).get_input_embeddings().weight.is_meta
    True
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):  # some first weights are drawn all the same
        return class_for(config).from_config(config, trust_remote_code=False)


def class_for(config: PreTrainedConfig) -> type:
    """The class of transformers that makes a model with a language head of a config: of a multimodal one, all of it.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> class_for(model.config).__name__
    'AutoModelForCausalLM'
    """
    is_multimodal = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    return AutoModelForImageTextToText if is_multimodal and not known else AutoModelForCausalLM


def few_blocks(config: PreTrainedConfig, blocks: int) -> PreTrainedConfig:
    """A copy of a config with at most so many blocks, of full width; of a multimodal one, of its language model.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> few_blocks(model.config, 1).num_hidden_layers, model.config.num_hidden_layers
    (1, 2)
    """
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = min(blocks, text.num_hidden_layers)
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:text.num_hidden_layers]
    return config


def _absent(name: str, error: OSError) -> str:
    causes = {type(cause).__name__ for cause in (error, error.__cause__, error.__context__)}
    if "GatedRepoError" in causes or name.startswith(GATED):
        return (f"model={name!r} is gated and not in the hub's cache: accept its licence at "
                f"https://huggingface.co/{name}, run `hf auth login` and download it once, or take "
                f"{an_open_one(7e9)}, which is open")
    return (f"model={name!r} is neither a folder with a config.json nor in the hub's cache, and the hub does not give "
            "it: check the spelling and the network, or download it once where there is one (`hf download`)")


def an_open_one(count: float) -> str:
    """The open model whose size is nearest.

    >>> an_open_one(3.2e9)
    'HuggingFaceTB/SmolLM3-3B'
    """
    return min(OPEN, key=lambda name: abs(math.log(OPEN[name] / count)))
