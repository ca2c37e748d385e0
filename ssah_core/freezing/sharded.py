"""Models that no single device holds while they are scored or trained: torch's FSDP2, one process a device.

Start with `torchrun --nproc_per_node N script.py` and call `torch.distributed.init_process_group()` first, and on GPUs
before it `torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))`. Every rank calls the same functions, in the same
order, with the same arguments: each works on its part of the weights and of the batches, and all end with the same
result. Without a process group all but `shard` work on the whole model, as in the examples.
Train in a loop of your own, since a Trainer wraps models itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from ..units import Moments, UnitMap, UnitMask, collect
from .freeze import entered
from .lines import clear_lines, put_lines
from .optimizer_steps import settled_after_steps
from .report import FrozenReport
from .weight_slices import check_not_empty, differing, split_weights


def shard(model: nn.Module, mesh: DeviceMesh | None = None) -> nn.Module:
    """Spread a model's weights over all ranks, in place (FSDP2): each rank keeps 1/N of every weight.

    mesh   Which ranks; default all of them, on the device that the model is on.

    A block's weights are whole only while it computes, so that `collect_sharded`, `score_in_blocks` and
    `freeze_sharded` need the memory of one block and of 1/N of the model. Make the optimiser afterwards.
    Raises ValueError if no process group is there.

    >>> shard(nn.Linear(1, 1))
    Traceback (most recent call last):
    ValueError: no process group is there to shard over: ...

    *Shown in:* 10_real_checkpoints.
    """
    if not dist.is_initialized():
        raise ValueError("no process group is there to shard over: start with `torchrun --nproc_per_node N script.py` "
                         "and call torch.distributed.init_process_group() first")
    blocks = [model.get_submodule(name) for name in UnitMap(model).blocks]
    mesh = mesh or init_device_mesh(next(model.parameters()).device.type, (dist.get_world_size(),))
    for module in (*blocks, model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    return model


def gather_state(model: nn.Module) -> dict[str, Tensor]:
    """The whole state of a sharded model, on the CPU of rank 0; on other ranks it is empty.

    Every rank must call it. On rank 0, `model.save_pretrained(folder, state_dict=state)` writes an ordinary checkpoint.

    >>> list(gather_state(nn.Linear(2, 1)))
    ['weight', 'bias']

    *Shown in:* 10_real_checkpoints.
    """
    state, keep = {}, _rank()[0] == 0
    for name, value in model.state_dict().items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if keep:
            state[name] = whole.detach().cpu().clone()
    return state


# --- moments ---


def collect_sharded(model: nn.Module, batches: Sequence[Mapping[str, Tensor]],
                    group: dist.ProcessGroup | None = None) -> Moments:
    """`collect` over all ranks: each reads every N-th batch, and all get the moments of the whole set.

    model     Sharded, or a copy on every rank.
    batches   All of them, the same on every rank.

    A rank that has no batch left repeats another's and does not count it, since the forward passes of a sharded model
    are made together. Equal to `collect` up to rounding (1e-12), and equal on all ranks bit for bit.
    Raises ValueError as `collect` does.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> batches = ssah.batches([{"prompt": "name the lamp", "response": "the lamp"}], tokenizer)
    >>> collect_sharded(model, batches).count == ssah.collect(model, batches).count
    True

    *Shown in:* 10_real_checkpoints.
    """
    marked = [batch for batch in batches if _is_marked(batch)]
    if not marked:
        raise ValueError("batches hold no marked token: pass at least one batch whose token_mask is not all false")
    rank, ranks = _rank(group)
    total = _none(UnitMap(model).sizes)
    for start in range(0, len(marked), ranks):
        mine = start + rank
        found = collect(model, [marked[mine if mine < len(marked) else start]])
        total = total + found if mine < len(marked) else total
    return merge_moments(total, group)


def merge_moments(moments: Moments, group: dist.ProcessGroup | None = None) -> Moments:
    """The moments of all ranks together, on every rank: added in float64, in the order of the ranks.

    moments   This rank's: of the same sites on all ranks, and of other tokens. `count` may be 0.

    Raises ValueError if no rank has counted a token.

    >>> mean = {"mlp.0": torch.ones(2, dtype=torch.float64)}
    >>> merge_moments(Moments(3, mean, mean))
    <Moments of 3 tokens at 2 units (mlp 2)>
    """
    sizes = list(moments.sizes.values())
    flat = torch.cat([torch.tensor([float(moments.count)], dtype=torch.float64),
                      *moments.mean.values(), *moments.squares.values()]).to(_device(group))
    everyone = [flat.clone() for _ in range(_rank(group)[1])]
    if dist.is_initialized():
        dist.all_gather(everyone, flat, group=group)
    parts = [part for part in (_unflatten(row.cpu(), moments, sizes) for row in everyone) if part.count]
    if not parts:
        raise ValueError("no rank has counted a token: collect on batches with marked tokens first")
    return sum(parts[1:], parts[0])


def _unflatten(row: Tensor, like: Moments, sizes: list[int]) -> Moments:
    means, squares = row[1:].split(sum(sizes))
    return Moments(int(row[0]), dict(zip(like.mean, means.split(sizes), strict=True)),
                   dict(zip(like.mean, squares.split(sizes), strict=True)))


def _none(sizes: Mapping[str, int]) -> Moments:
    zeros = {site: torch.zeros(size, dtype=torch.float64) for site, size in sizes.items()}
    return Moments(0, zeros, zeros)


def _is_marked(batch: Mapping[str, Tensor]) -> bool:
    return bool((batch.get("token_mask", batch["attention_mask"]) * batch["attention_mask"]).any())


def _rank(group: dist.ProcessGroup | None = None) -> tuple[int, int]:
    """This rank and how many there are; 0 of 1 without a process group."""
    return (dist.get_rank(group), dist.get_world_size(group)) if dist.is_initialized() else (0, 1)


def _device(group: dist.ProcessGroup | None = None) -> torch.device:
    """Where a tensor must be for this group to send it."""
    return torch.device("cuda" if dist.is_initialized() and dist.get_backend(group) == "nccl" else "cpu")


# --- freezing ---


@contextmanager
def freeze_sharded(model: nn.Module, mask: UnitMask, shared: str = "any", rest: str = "train") -> Iterator[nn.Module]:
    """`freeze` for a model whose weights are DTensors: each rank holds the frozen entries of its own shards.

    mask, shared, rest   As in `freeze`. For redundant units alone: `freeze_sharded(model, ~ru, rest="freeze")`.

    Gradients of frozen entries are zeroed when they arrive, before any clipping, and after every step of a torch
    optimiser the entries are copied back, bit for bit. Enter it after `shard`, on every rank. Costs a copy of the
    frozen entries, spread over the ranks; unlike `train_only` it saves no gradient and no optimiser state.
    Raises ValueError as `freeze` does, and for shards of another kind than FSDP2's (tensor parallelism).
    Source: paper, Tables 2 and 4.   Departs: as `freeze`.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> scu = ssah.UnitMask({site: torch.arange(size) < 2 for site, size in ssah.UnitMap(model).sizes.items()})
    >>> start, ids = local_state(model), torch.tensor([[1, 2, 3]])
    >>> with freeze_sharded(model, scu):
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ...     model(input_ids=ids, labels=ids).loss.backward()
    ...     optimizer.step()
    >>> check_frozen_sharded(start, model, scu).frozen_changed
    0

    *Shown in:* 10_real_checkpoints.
    """
    check_not_empty(mask, "freeze_sharded", rest)
    with entered(model), ExitStack() as undo:
        parts = [_HeldShard(model, name, *lines) for name, lines in _frozen_lines(model, mask, shared, rest).items()]
        undo.enter_context(settled_after_steps(model, parts, []))
        for part in parts:
            part.zero_gradient(part.parameter)
            if part.parameter.requires_grad:
                undo.callback(part.parameter.register_post_accumulate_grad_hook(part.zero_gradient).remove)
        yield model


def local_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what this rank holds of every parameter: the start that `check_frozen_sharded` compares with.

    >>> {name: tuple(part.shape) for name, part in local_state(nn.Linear(2, 1)).items()}
    {'weight': (1, 2), 'bias': (1,)}
    """
    return {name: _local(parameter.detach()).clone() for name, parameter in model.named_parameters()}


def check_frozen_sharded(before: Mapping[str, Tensor], after: nn.Module, mask: UnitMask, shared: str = "any",
                         rest: str = "train", group: dist.ProcessGroup | None = None) -> FrozenReport:
    """`check_frozen` for a sharded model: every rank compares its own entries, and the counts are those of all.

    before   What `local_state` copied on this rank before training.

    A weight that several ranks hold whole counts once a rank. Raises ValueError, on every rank, if a frozen entry
    changed; and if `before` is of another model or sharded otherwise.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> scu = ssah.UnitMask({site: torch.arange(size) < 2 for site, size in ssah.UnitMap(model).sizes.items()})
    >>> check_frozen_sharded(local_state(model), model, scu).trainable_changed  # not trained yet
    0

    *Shown in:* 10_real_checkpoints.
    """
    lines, counts = _frozen_lines(after, mask, shared, rest), torch.zeros(4, dtype=torch.int64)
    for name, parameter in after.named_parameters():
        now = _local(parameter.detach())
        if name not in before or before[name].shape != now.shape or before[name].dtype != now.dtype:
            raise ValueError(f"before[{name!r}] is not this rank's part of that weight: pass what local_state gave "
                             "before training")
        differs = differing(before[name].to(now.device), now)
        axis, frozen = lines.get(name, (0, torch.tensor([], dtype=torch.int64)))
        held = differs.index_select(axis, _lines_here(parameter, axis, frozen))
        counts += torch.tensor([held.numel(), held.sum(), differs.numel() - held.numel(), differs.sum() - held.sum()])
    counts = counts.to(_device(group))
    if dist.is_initialized():
        dist.all_reduce(counts, group=group)
    report = FrozenReport(*counts.tolist())
    if report.frozen_changed:
        raise ValueError(f"{report.frozen_changed:,} of {report.frozen:,} frozen entries changed: train inside "
                         "freeze_sharded, and pass the same mask, shared and rest here")
    return report


class _HeldShard:
    """The frozen rows or columns of this rank's shard of one parameter, with a copy to put back."""

    def __init__(self, model: nn.Module, name: str, axis: int, frozen: Tensor):
        module, _, self.leaf = name.rpartition(".")
        self.name, self.module, self.axis = name, model.get_submodule(module), axis
        self.parameter = self.module._parameters[self.leaf]
        self.dtype, self.index = self.parameter.dtype, _lines_here(self.parameter, axis, frozen)
        self.saved = _local(self.parameter.detach()).index_select(axis, self.index)

    @torch.no_grad()
    def zero_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            clear_lines(_local(parameter.grad), self.axis, self.index)

    @torch.no_grad()
    def settle(self) -> None:
        if self.parameter.dtype == self.dtype:
            put_lines(_local(self.parameter), self.axis, self.index, self.saved)

    @torch.no_grad()
    def settled(self) -> bool:
        return not differing(_local(self.parameter).index_select(self.axis, self.index), self.saved).any()

    def check(self, held: set[int]) -> None:
        if self.module._parameters.get(self.leaf) is not self.parameter or self.parameter.dtype != self.dtype:
            raise ValueError(f"{self.name} was replaced, or changed from {self.dtype}, while its units were frozen: "
                             "shard and convert the model before the context, and keep reshard_after_forward on")


def _frozen_lines(model: nn.Module, mask: UnitMask, shared: str, rest: str) -> dict[str, tuple[int, Tensor]]:
    """Of every parameter with frozen entries: along which axis of the whole weight they lie, and at which index."""
    splits = split_weights(model, mask, shared, rest)
    lines = {split.weight: (split.axis, split.frozen) for split in splits if len(split.frozen)}
    if rest == "freeze":
        if not any(len(split.trained) for split in splits):
            raise ValueError("nothing is left to train: pass a mask that leaves units, or rest='train'")
        of_units = {split.weight for split in splits}
        lines |= {name: (0, torch.arange(len(parameter))) for name, parameter in model.named_parameters()
                  if name not in of_units}
    return lines


def _lines_here(parameter: Tensor, axis: int, index: Tensor) -> Tensor:
    """Which of the rows (axis 0) or columns at `index` of a whole weight this rank holds, counted in its own shard."""
    if not isinstance(parameter, DTensor):
        return index.to(parameter.device)
    if any(type(placement) not in (Shard, Replicate) for placement in parameter.placements):
        raise ValueError(f"a weight is placed as {parameter.placements}, which ssah does not know: shard the model "
                         "with ssah.shard (FSDP2) alone")
    chosen = torch.zeros(parameter.shape[axis], dtype=torch.uint8)
    chosen[index.cpu()] = 1
    placements = [Shard(0) if placement == Shard(axis) else Replicate() for placement in parameter.placements]
    return distribute_tensor(chosen.to(_local(parameter.detach()).device), parameter.device_mesh,
                             placements).to_local().nonzero().flatten()


def _local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor: its own memory, so that it can be written to."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
