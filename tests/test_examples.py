"""The example checkpoint is found by its id, offline, as any download would be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssah_core.planning.random_checkpoint import NAME, put_into_hub_cache

SCRIPT = """
import socket
def refuse(*args, **kwargs):
    raise OSError("no network here")
socket.socket.connect = refuse
from pathlib import Path
from transformers import AutoModelForCausalLM
import os, ssah_core as ssah
from ssah_core.examples import NAME, put_into_hub_cache
from ssah_core.plan import plan
put_into_hub_cache(Path(os.environ["HF_HOME"]))
model, tokenizer = ssah.load(NAME)
ssah.check_units(model)
assert ssah.complete(model, tokenizer, ["How do I mend a lantern?"], max_new_tokens=2).num_rows == 1
assert plan(NAME).parameters == sum(p.numel() for p in model.parameters())
assert "Qwen3ForCausalLM" == type(AutoModelForCausalLM.from_pretrained(NAME)).__name__
for name in ("nobody/nothing", "meta-llama/Llama-2-7b-chat-hf"):
    try:
        plan(name)
    except ValueError as error:
        print(error)
"""


def test_it_is_loaded_planned_and_checked_by_its_id(tmp_path):
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=900,
                          env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr[-2000:]
    unknown, gated = done.stdout.splitlines()
    assert "nor in the hub's cache" in unknown and "is gated" in gated and "which is open" in gated


def test_another_checkpoint_of_that_name_stays(tmp_path):
    ref = tmp_path / "hub" / "models--ssah--random-qwen3" / "refs" / "main"
    ref.parent.mkdir(parents=True)
    ref.write_text("0" * 40)
    with pytest.raises(ValueError, match=f"has another checkpoint '{NAME}', which would be lost: pass a folder of its"):
        put_into_hub_cache(tmp_path)
    put_into_hub_cache(tmp_path / "whole")
    with pytest.raises(ValueError, match=f"has another checkpoint '{NAME}'"):
        put_into_hub_cache(tmp_path / "whole", chat=False)
    shutil.rmtree(tmp_path / "whole")
    assert ref.read_text() == "0" * 40 and [file for file in tmp_path.rglob("*") if file.is_file()] == [ref]


def test_it_may_be_written_again_and_leaves_what_torch_draws(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    for _ in range(2):
        put_into_hub_cache(tmp_path)
    assert torch.rand(1) == expected
