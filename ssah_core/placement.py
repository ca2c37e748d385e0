"""Models whose weights are not all in one place: spread by a `device_map`, offloaded, or sharded over ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from accelerate.utils import align_module_device
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .importance import Moments, Scores, score_units
from .units import UnitMap


def load_placed(name: str | Path, device_map: str | Mapping = "auto", dtype: str = "auto",
                **where) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a decoder that no single device holds, for inference: over several GPUs, the CPU's memory and the disk.

    name         As in `load`.
    device_map   "auto", or module -> device ("cpu", 0, "disk"), as transformers and Accelerate know it.
    where        `max_memory` and `offload_folder`, as transformers knows them.

    `collect`, `ablate` and `complete` work on it as on any model; score it with `score_in_blocks`. It cannot be
    trained: for that, `shard` the model over processes. Only safetensors are read, and no code of a checkpoint is run.
    Raises ValueError if it cannot be loaded, or as `check_placed` does.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, device_map=device_map, dtype=dtype, use_safetensors=True,
                                                     trust_remote_code=False, **where)
    except OSError as error:
        raise ValueError(f"name={str(name)!r} cannot be loaded: check the folder or hub id, the network, and for a "
                         f"gated checkpoint its licence and `hf auth login` ({str(error).splitlines()[0]})") from error
    check_placed(model)
    return model.eval(), tokenizer


def check_placed(model: nn.Module) -> None:
    """Raise ValueError unless a model's input embedding is in memory: that is where inputs are sent to."""
    if model.get_input_embeddings().weight.is_meta:
        raise ValueError("the input embedding is offloaded, so inputs have no device to go to: pass a device_map that "
                         "keeps the embedding on a GPU or the CPU, and offload blocks instead")


def score_in_blocks(model: nn.Module, *, safety: Moments, utility: Moments, criterion: str = "fisher",
                    normalize: str = "none") -> Scores:
    """`score_units`, with the weights of one block at hand at a time: for offloaded and sharded models.

    Equal to `score_units` of the whole model bit for bit, as no criterion compares sites of two blocks. Every rank of
    a sharded model must call it. Raises ValueError as `score_units` does.
    """
    units = UnitMap(model)
    for name, moments in {"safety": safety, "utility": utility}.items():
        if moments.sizes != units.sizes:
            raise ValueError(f"{name} moments are of another model: collect them on the model that is scored")
    found: dict[str, dict] = {"safety": {}, "utility": {}, "contrast": {}}
    for number, name in enumerate(units.blocks):
        block = model.get_submodule(name)
        with _at_hand(block):
            scores = score_units(_Alone(block), safety=_of_block(safety, number), utility=_of_block(utility, number),
                                 criterion=criterion, normalize=normalize)
        for which, by_site in found.items():
            by_site |= {_renumbered(site, number): score for site, score in getattr(scores, which).items()}
    return Scores(criterion, **found)


class _Alone(nn.Module):
    """A decoder of one block."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.layers = nn.ModuleList([block])


def _of_block(moments: Moments, number: int) -> Moments:
    """The moments of one block, as if it were block 0."""
    pick = lambda of: {_renumbered(site, 0): value for site, value in of.items() if site.endswith(f".{number}")}  # noqa: E731
    return Moments(moments.count, pick(moments.mean), pick(moments.squares))


def _renumbered(site: str, number: int) -> str:
    return f"{site.partition('.')[0]}.{number}"


@contextmanager
def _at_hand(block: nn.Module) -> Iterator[None]:
    """The whole weights of a block, in memory while the context lasts."""
    with ExitStack() as undo:
        for module in block.modules():
            if isinstance(module, FSDPModule):
                module.unshard()
                undo.callback(module.reshard)
            elif hasattr(module, "_hf_hook"):
                undo.enter_context(align_module_device(module))
        yield
