"""What two processes find, for tests/test_distributed.py: torchrun ... tests/two_ranks.py FOLDER."""

import json
import os
import sys
from pathlib import Path

import by_hand
import sharded
import torch
import toys
from safetensors.torch import save_file

from ssah_core import label_units
from ssah_core.freezing.sharded import (
    check_frozen_sharded,
    collect_sharded,
    freeze_sharded,
    gather_state,
    local_state,
    shard,
)
from ssah_core.units.score_in_blocks import score_in_blocks

folder = Path(sys.argv[1])
torch.distributed.init_process_group("gloo")
first = torch.distributed.get_rank() == 0


def keep(name: str, tensors: dict) -> None:
    if first:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / f"{name}.safetensors")


for family in sharded.FAMILIES:
    model = shard(toys.model(family))
    moments = {part: collect_sharded(model, batches) for part, batches in sharded.BATCHES.items()}
    scores = score_in_blocks(model, **moments)
    labels = label_units(scores, **sharded.SHARES)
    for part, found in moments.items():
        keep(f"{family}-{part}-mean", found.mean)
        keep(f"{family}-{part}-squares", found.squares)
    keep(f"{family}-contrast", scores.contrast)
    keep(f"{family}-labels", {f"{kind}/{site}": chosen for kind, mask in labels.masks.items()
                              for site, chosen in mask.sites.items()})
    counts = {part: found.count for part, found in moments.items()}
    (folder / f"{family}-counts.json").write_text(json.dumps(counts))

reports = {}
for name, (family, dtype, share, rest, optimizer) in sharded.RUNS.items():
    model = shard(by_hand.model(family, dtype))
    mask, start = sharded.mask(model, share), local_state(model)
    with freeze_sharded(model, mask, rest=rest):
        sharded.trained(model, optimizer, rank=torch.distributed.get_rank(), ranks=2)
    reports[name] = vars(check_frozen_sharded(start, model, mask, rest=rest))
    quiet = not any(p._post_accumulate_grad_hooks for p in model.parameters())
    reports[name]["quiet"] = quiet
    state = gather_state(model)
    keep(name, state)
    if first and name == "saved":
        model.save_pretrained(folder / "checkpoint", state_dict=state)

model = shard(by_hand.model("llama"))  # the proof must be able to fail: trained outside the context
start = local_state(model)
sharded.trained(model, "adamw", rank=torch.distributed.get_rank(), ranks=2)
try:
    check_frozen_sharded(start, model, sharded.mask(model))
except ValueError as error:
    reports["unfrozen"] = str(error)
if first:
    (folder / "reports.json").write_text(json.dumps(reports))
torch.distributed.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # all is written: a thread of torch's that still runs would abort one in ten processes at their end
