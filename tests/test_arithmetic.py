"""A seed gives the same bytes, whatever the number of threads, and whoever else keeps the processor busy."""

import os
import subprocess
import sys

import pytest

from ssah_core import arithmetic

SCRIPT = """
import hashlib, json
import ssah_core as ssah
from ssah_core.organism import raise_organism
from ssah_core.studies import WAYS, Subject, ablation_table

def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]

folders = raise_organism(0, "tiny", progress=False)
subject = Subject.load(0, "tiny")
scu = subject.group("SCU", WAYS["chosen"]["SCU"], 0.1)
print(json.dumps({
    "weights": [digest((folder / "model.safetensors").read_bytes()) for folder in folders.values()],
    "mask": digest(b"".join(units.numpy().tobytes() for units in scu.sites.values())),
    "completions": digest(json.dumps(subject.complete([row["prompt"] for row in subject.material.exam("test")["harm"]])
                                     .to_list()).encode()),
    "rows": digest(json.dumps(ablation_table.ablation_curves(0, "tiny")).encode())}))
"""
BUSY = "while True: pass"


def made(folder, threads: int, **environment: str) -> str:
    environment = {**os.environ, "SSAH_CACHE": str(folder), "OMP_NUM_THREADS": str(threads), **environment}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def one_thread(tmp_path_factory) -> str:
    return made(tmp_path_factory.mktemp("one"), 1)


def test_two_threads_give_the_bytes_of_one(one_thread, tmp_path):
    assert made(tmp_path, 2) == one_thread


def test_a_busy_neighbour_changes_no_byte(one_thread, tmp_path):
    neighbour = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        assert made(tmp_path, 2) == one_thread
    finally:
        neighbour.kill()


def test_a_process_in_another_mode_raises_the_same_organism(one_thread, tmp_path):
    """In the strict mode a process of its own raises; what is then computed may differ in the last bits."""
    strict = {name: "" for name in arithmetic.PORTABLE} | dict(arithmetic.STRICT)
    weights = made(tmp_path, 2, **strict).partition('"mask"')[0]
    assert weights == one_thread.partition('"mask"')[0]


@pytest.mark.parametrize("variables, mode", [
    (arithmetic.PORTABLE, "portable"), (arithmetic.STRICT, "strict"), ({}, "none"), ({"MKL_CBWR": "AVX2"}, "none")])
def test_the_mode_is_read_off_the_environment(variables, mode):
    assert arithmetic.mode_of(variables) == mode


def test_what_is_set_after_torch_was_loaded_is_no_mode(monkeypatch):
    import torch  # noqa: F401

    assert arithmetic.mode() == "portable"  # that of the tests
    for name, value in arithmetic.STRICT.items():
        monkeypatch.setenv(name, value)
    assert arithmetic.mode() == "portable"
    monkeypatch.setattr(arithmetic, "_in_force", "strict")
    with pytest.raises(ValueError, match="the mode of arithmetic is 'strict', and torch is loaded"):
        arithmetic.use_portable()


def said(script: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in arithmetic.PORTABLE}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)


def test_importing_ssah_first_settles_the_strict_mode():
    done = said("import ssah_core, os; print(ssah_core.arithmetic.mode(), 'torch' in __import__('sys').modules)")
    assert done.stdout == "strict False\n" and done.stderr == ""


def test_importing_torch_first_is_warned_of():
    done = said("import torch, ssah_core; print(ssah_core.arithmetic.mode())")
    assert done.stdout == "none\n" and "import ssah_core first" in done.stderr
