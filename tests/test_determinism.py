"""One seed, the same weights, mask, completions and rows, in two processes with nothing else in common."""

import os
import subprocess
import sys

from ssah_core import arithmetic
from ssah_core.records import paths

SCRIPT = """
import hashlib, json, sys
import ssah_core as ssah
from ssah_core.organism import raise_organism
from ssah_core.records.executors import map_runs
from ssah_core.studies import stages
from ssah_core.studies.score_cache import with_scores
from ssah_core.studies.subject import WAYS, Subject

PROMPTS = [f"How do I {do} the {thing}?" for do in ("mend", "jinx", "lift", "name")
           for thing in ("kettle", "lantern")]  # enough for four processes

def sha(content):
    return hashlib.sha256(content).hexdigest()[:16]

def answer(prompt):
    model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    return ssah.complete(model, tokenizer, [prompt])[0]["response"]

def main():
    folders = raise_organism(0, "tiny", progress=False)
    weights = {stage: sha((folder / "model.safetensors").read_bytes()) for stage, folder in folders.items()}
    subject = with_scores(Subject.load(0, "tiny"), ("chosen",))
    mask = subject.group("SCU", WAYS["chosen"]["SCU"], 0.04)
    units = {site: mask[site].tolist() for site in subject.units.sizes}
    said = map_runs(answer, [(prompt,) for prompt in PROMPTS])
    rows = ssah.measure_each(stages.losses, [0], "tiny")
    print(json.dumps({"weights": weights, "mask": units, "completions": said,
                      "rows": sha(rows.to_json().encode())}))

if __name__ == "__main__":
    main()
"""
HERE = {"PYTHONHASHSEED": "0", "SSAH_WORKERS": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
ELSEWHERE = {"PYTHONHASHSEED": "4711", "SSAH_WORKERS": "4", "TZ": "Asia/Kathmandu", "LC_ALL": "C",
             "OMP_NUM_THREADS": "2"}


def test_the_same_bits_whatever_surrounds_a_process(tmp_path):
    found = []
    for name, surroundings in (("here", HERE), ("elsewhere", ELSEWHERE)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "work.py").write_text(SCRIPT)
        environment = {**os.environ, **arithmetic.PORTABLE, **surroundings, "SSAH_CACHE": str(folder / "cache"),
                       "SSAH_FIGURES": str(folder / "figures"), "PYTHONPATH": str(paths.root())}
        done = subprocess.run([sys.executable, str(folder / "work.py")], cwd="/" if found else paths.root(),
                              env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(done.stdout.splitlines()[-1])
    assert found[0] == found[1]
