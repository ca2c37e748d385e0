"""The example checkpoint is found by its id, offline, as any download would be."""

import os
import subprocess
import sys
from pathlib import Path

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
