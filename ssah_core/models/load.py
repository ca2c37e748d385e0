"""Load a chat model: onto one device, or spread over several."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file

from .. import hub
from ..arguments import check_kind, check_paths, shown
from ..records import DTYPES, cache
from .blocks import stacks
from .config import Foreign, check_attention, check_folder, class_for
from .template_kwargs import TemplateKwargs, bind_template


def load(name: str | Path, dtype: str = "auto", device: str = "auto", *, tokenizer: str | Path | None = None,
         chat_template_kwargs: TemplateKwargs | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a decoder and its tokenizer from a folder or the Hugging Face hub, ready to answer.

    name        A folder that `save_pretrained` wrote, or a hub id such as "meta-llama/Llama-2-7b-chat-hf".
    dtype       "auto": the checkpoint's own on a GPU, float32 on the CPU; or "float32", "bfloat16", "float16".
    device      "auto": a GPU where there is one, else the CPU; or a torch device.
    tokenizer   The checkpoint whose tokenizer and chat template to take, for a base model that has no template: the
                one that was aligned from it. None: its own.
    chat_template_kwargs   Arguments of the chat template, such as {"enable_thinking": False}.

    The arguments, and the day for a template that writes the date (always `ssah_core.records.TODAY`, so that a run can
    go on tomorrow), are written into `tokenizer.chat_template`, and are saved with it. Only safetensors are read, and
    no code that comes with a checkpoint is run.
    Raises ValueError, saying what to do, if the checkpoint is not there, is gated, is damaged or lacks a weight, if
    there is no chat template, or if another's tokenizer has more tokens than the checkpoint.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> _ = model.save_pretrained("mine"), tokenizer.save_pretrained("mine")
    >>> model, tokenizer = ssah.load("mine", dtype="bfloat16", device="cpu")
    >>> model.dtype, model.training, len(tokenizer)
    (torch.bfloat16, False, 1024)

    *Shown in:* 10_real_checkpoints.
    """
    check_paths(name=name, **({} if tokenizer is None else {"tokenizer": tokenizer}))
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    _check_dtype(dtype)
    _check_device(device)
    kind = torch.float32 if dtype == "auto" and str(device) == "cpu" else dtype
    model, words = _read(name, tokenizer, chat_template_kwargs, dtype=kind)
    return model.to(device).eval(), words


def load_placed(name: str | Path, device_map: str | Mapping = "auto", dtype: str = "auto", *,
                chat_template_kwargs: TemplateKwargs | None = None, **where
                ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a decoder that no single device holds, for inference: over several GPUs, the CPU's memory and the disk.

    name         As in `load`.
    device_map   "auto", or module -> device ("cpu", 0, "disk"), as transformers and Accelerate know it.
    dtype        "auto": the checkpoint's own; or "float32", "bfloat16", "float16".
    chat_template_kwargs   As in `load`.
    where        `max_memory` and `offload_folder`, as transformers knows them.

    `collect`, `ablate` and `complete` work on it as on any model; score it with `score_in_blocks`. It cannot be
    trained: for that, `shard` the model over processes. Only safetensors are read, and no code of a checkpoint is run.
    Raises ValueError if it cannot be loaded, as in `load`, or as `check_placed` does.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> _ = model.save_pretrained("mine"), tokenizer.save_pretrained("mine")
    >>> model, tokenizer = load_placed("mine", device_map={"": "cpu"})
    >>> model.device, model.training
    (device(type='cpu'), False)

    *Shown in:* 10_real_checkpoints.
    """
    _check_dtype(dtype)
    model, tokenizer = _read(name, arguments=chat_template_kwargs, device_map=device_map, dtype=dtype, **where)
    check_placed(model)
    return model.eval(), tokenizer


def check_placed(model: nn.Module) -> None:
    """Raise ValueError unless a model's input embedding is in memory: that is where inputs are sent to.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> check_placed(model)
    >>> check_placed(model.to("meta"))
    Traceback (most recent call last):
    ValueError: the input embedding is offloaded, so inputs have no device to go to: ...
    """
    if model.get_input_embeddings().weight.is_meta:
        raise ValueError("the input embedding is offloaded, so inputs have no device to go to: pass a device_map that "
                         "keeps the embedding on a GPU or the CPU, and offload blocks instead")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) while the context lasts; then the mode that each module was in.

    >>> model = torch.nn.Dropout().train()
    >>> with evaluating(model):
    ...     print(model.training)
    False
    >>> model.training
    True
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_dtype(dtype: str) -> None:
    if not isinstance(dtype, str) or dtype not in ("auto", *DTYPES):
        raise ValueError(f"dtype={shown(dtype)} is unknown: choose auto, {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")


def _check_device(device: str) -> None:
    check_kind((str, int, torch.device), "choose auto, cpu, or a GPU that is there", device=device)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # of an unknown name, and of a build without that device
        raise ValueError(f"device={str(device)!r} is not to be had here ({str(error).splitlines()[0]}): choose auto, "
                         "cpu, or a GPU that is there") from error


def load_weights(name: str | Path, **settings) -> PreTrainedModel:
    """A model with all of its weights from the checkpoint, without a tokenizer; `settings` as transformers knows them.

    Raises ValueError as `load` does.

    >>> _ = ssah.load_organism(scale="tiny")[0].save_pretrained("mine")
    >>> load_weights("mine", dtype="auto").dtype
    torch.float32
    """
    check_paths(name=name)
    check_folder(name)
    with _explained(name):
        model, found = hub.local_first(lambda: _from_pretrained(name, **settings), name)
    lacking = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if lacking:
        raise ValueError(f"name={str(name)!r} lacks {len(lacking)} weights of its model, the first {lacking[0]}: get "
                         "it again, or save it anew with save_pretrained (of a compiled model, the one inside it)")
    beyond = sorted(key for key in found["unexpected_keys"] if any(key.startswith(f"{s}.") for s in stacks(model)))
    if beyond:
        raise ValueError(f"name={str(name)!r} has {len(beyond)} weights of blocks that its config leaves out, the "
                         f"first {beyond[0]}: get it again, config.json too")
    return model


def _from_pretrained(name: str | Path, **settings) -> tuple[PreTrainedModel, dict]:
    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    check_attention(config, name)
    _check_shards(name)
    return class_for(config).from_pretrained(name, use_safetensors=True, trust_remote_code=False,
                                             output_loading_info=True, **settings)


def _check_shards(name: str | Path) -> None:
    """Raise Foreign if the index of a checkpoint's weights names files outside its own folder."""
    with hub.offline():
        try:
            index = cached_file(str(name), "model.safetensors.index.json")
        except OSError:  # a checkpoint in one file, or of which nothing is here: the hub lets no name out of its cache
            return
    files = set(cache.read_json(Path(index))["weight_map"].values())
    outside = next((file for file in files if re.search(r"^[/\\]|^\w:|(^|[/\\])\.\.([/\\]|$)", file)), None)
    if outside is not None:
        raise Foreign(f"name={str(name)!r} names weights in {str(outside)!r}, which is no file of its own folder: get "
                      "it from somebody else")


def _read(name: str | Path, tokenizer: str | Path | None = None, arguments: TemplateKwargs | None = None,
          **settings) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model with all of its weights from the checkpoint, and a tokenizer that fits it, its chat template bound."""
    other = tokenizer is not None and str(tokenizer) != str(name)
    words = load_tokenizer(tokenizer or name, arguments, name)  # before the weights, which take their time
    model = load_weights(name, **settings)
    if other and len(words) > model.get_input_embeddings().num_embeddings:
        raise ValueError(f"name={str(name)!r} has fewer tokens than the tokenizer of {str(tokenizer)!r}: name the "
                         "checkpoint that yours was aligned from")
    return model, words


def load_tokenizer(name: str | Path, arguments: TemplateKwargs | None = None,
                   model: str | Path | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint alone, its chat template bound to these arguments; read for a `model`, if another.

    Raises ValueError as `load` does.

    >>> _, tokenizer = ssah.load_organism(scale="tiny")
    >>> _ = tokenizer.save_pretrained("words")
    >>> len(load_tokenizer("words"))
    1024
    """
    model, whose = name if model is None else model, f" with the tokenizer of {str(name)!r}"
    check_folder(name)
    with _explained(model, whose if str(name) != str(model) else ""):
        words = hub.local_first(lambda: AutoTokenizer.from_pretrained(name, trust_remote_code=False), name)
    if words.chat_template is None:
        raise ValueError(f"name={str(name)!r} has no chat template: load a chat model, name the one whose template to "
                         "take by tokenizer=..., or set tokenizer.chat_template")
    bind_template(words, {} if arguments is None else arguments)
    return words


@contextmanager
def _explained(name: str | Path, whose: str = "") -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, Foreign):
        raise
    except Exception as error:  # OSError, ValueError, SafetensorError ..., and of a damaged tokenizer a bare Exception
        why = (str(error).splitlines() or [type(error).__name__])[0]
        advice = (f"a file is missing or damaged ({why}): get it again" if Path(name).is_dir() and not whose else
                  "check the folder or hub id, the network, and for a gated checkpoint accept its licence and run "
                  f"`hf auth login`; where files are damaged, get them again ({why})")
        if "trust_remote_code" in str(error):
            advice = "it brings code of its own, which ssah never runs: take one that transformers holds"
        raise ValueError(f"name={str(name)!r} cannot be loaded{whose}: {advice}") from error


def weights_digest(model: nn.Module) -> str:
    """12 hex digits that change with any bit of a model's weights, their names, types or shapes.

    Raises ValueError for weights that are offloaded.

    >>> one, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    >>> weights_digest(one) == weights_digest(one), weights_digest(one) == weights_digest(other)
    (True, False)
    """
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if value.is_meta:
            raise ValueError(f"{name} is offloaded, where its weights cannot be read: load the model into memory")
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:12]
