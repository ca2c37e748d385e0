"""What takes processes of its own: imports, peak memory, a busy neighbour, organisms, a whole reproduction."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from ssah_core import arithmetic

from .floors import least_memory
from .pairs import Ratio, paired, ratio, single

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, **environment: str) -> str:
    """What a fresh Python prints."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", **environment}
    small = ["sh", "-c", '"$@"; exit $?', "sh"]  # between, since a child's largest resident set counts its parent's
    return subprocess.run([*small, sys.executable, "-c", code], cwd=ROOT, env=given, check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def imports(pairs: int) -> Iterator[Ratio]:
    """Starting to use the package over starting to use transformers."""
    yield paired("import", "import ssah_core / import transformers", lambda: python("import ssah_core"),
                 lambda: python("import transformers"), pairs=pairs, goal=1.5)
    yield paired("import, first use", "a process with ssah_core.load / one with transformers.PreTrainedModel, which "
                 "every model needs (AutoModelForCausalLM alone loads no code of models)",
                 lambda: python("import ssah_core; ssah_core.load"),
                 lambda: python("from transformers import PreTrainedModel"), pairs=pairs, goal=1.5, floor=1.0)


# -- memory --------------------------------------------------------------------------------------------------


PEAK = """
import psutil, resource
import ssah_core, torch
torch.set_num_threads(1)
from tests.benchmarks import memory
before = psutil.Process().memory_info().rss
memory.{what}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""


def peak(what: str) -> int:
    """What a fresh process' largest resident set exceeds the one before `tests.benchmarks.memory.<what>` by, in bytes.
    Memory that is freed is given back, so that it is not counted twice."""
    return int(python(PEAK.format(what=what), MALLOC_MMAP_THRESHOLD_="65536"))


def memory(pairs: int) -> Iterator[Ratio]:
    """Peak memory of training a part, over that of training all; of LoRA beside it."""
    vanilla = peak("train('vanilla')")
    for mode, goal, floor in (("train_only", 0.40, least_memory(0.20)), ("lora", None, None)):
        yield single(f"{mode} 20%, memory", "peak memory of a step / of an ordinary one",
                     peak(f"train({mode!r})") / vanilla, goal=goal, floor=floor)


def collecting(pairs: int) -> Iterator[Ratio]:
    """Peak memory of `collect`, as tokens grow a thousandfold."""
    yield single("collect, memory", "peak memory with 1,000,000 tokens / with 1,000",
                 peak("collect_tokens(1_000_000)") / peak("collect_tokens(1_000)"), goal=1.05, floor=1.0)


# -- a busy neighbour ----------------------------------------------------------------------------------------


@contextmanager
def neighbour() -> Iterator[None]:
    """One process that keeps one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()


STEPS = """
import ssah_core
from tests.benchmarks.memory import organism_steps
print(organism_steps({steps}, {precision!r}))
"""


def beside(pairs: int) -> Iterator[Ratio]:
    """Training an organism beside a process that keeps one core busy, over training it alone."""
    def steps() -> float:
        return float(python(STEPS.format(steps=60, precision="float32"), **arithmetic.PORTABLE))

    ratios, times = [], []
    for _ in range(pairs):
        alone = steps()
        with neighbour():
            times.append(steps())
        ratios.append(times[-1] / alone)
    yield ratio("training, busy neighbour", "60 steps of an organism beside a busy core / alone", ratios,
                sorted(times)[len(times) // 2], 1.3, 1.0)


# -- organisms -----------------------------------------------------------------------------------------------


RAISE = """
import json, time
import ssah_core as ssah
from ssah_core.materials import Brindle
from ssah_core.organism import World, raise_organism
from ssah_core.studies import Subject
start = time.time()
folder = raise_organism({seed}, progress=False, precision={precision!r})["aligned"]
took, material = time.time() - start, Brindle(World.draw({seed}), "organism")
print(json.dumps([took, Subject(*ssah.load(folder), material, "organism").marks(material.exam("validation"))]))
"""


def raised(seed: int, precision: str = "float32") -> tuple[float, Mapping[str, float]]:
    """Seconds that raising an organism takes in an empty cache, and what it then can, on validation prompts."""
    with tempfile.TemporaryDirectory() as folder:
        return _raise(seed, precision, SSAH_CACHE=folder, SSAH_RAISE="1")


def marked(seed: int) -> Mapping[str, float]:
    """What an organism of the ordinary cache can, on validation prompts; it is raised where it is not there."""
    return _raise(seed, "float32")[1]


def _raise(seed: int, precision: str, **environment: str) -> tuple[float, Mapping[str, float]]:
    return tuple(json.loads(python(RAISE.format(seed=seed, precision=precision), **environment).splitlines()[-1]))


REPRODUCE = [sys.executable, "-m", "ssah_core.runner.execute", "--seeds", "1"]


def reproduction(folder: str) -> dict[str, float]:
    """Seconds of a run in an empty cache: of raising, of every notebook, and of the whole ("all")."""
    start, took = time.time(), {}
    environment = {**os.environ, **arithmetic.PORTABLE, "SSAH_CACHE": f"{folder}/cache", "TQDM_DISABLE": "1"}
    with subprocess.Popen([*REPRODUCE, "--output", f"{folder}/run"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          env=environment) as run:
        for line in run.stdout:
            took.setdefault("raising", time.time() - start)
            if ": done in" in line:
                took[line.split(":")[0]] = float(line.split()[-2])
    if run.returncode:
        raise RuntimeError(f"the run ended with exit code {run.returncode}")
    return {**took, "all": time.time() - start}


def is_idle() -> bool:
    """Whether the machine does little else, for a second."""
    return psutil.cpu_percent(1.0) < 20
