"""How time and memory grow with tokens, units, blocks, prompts, organisms and processes: over what they would be if
they grew in proportion."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from ssah_core import arithmetic, collect, complete
from ssah_core.records.executors import local_executor, map_runs
from ssah_core.studies import Subject

from . import work
from .pairs import Ratio, paired, ratio, single
from .processes import peak, python
from .shapes import batch_of, model_of

FOLD = 4
BASE = dict(num_hidden_layers=4, hidden_size=256, intermediate_size=1024, vocab_size=4096)
WIDER, DEEPER = {"intermediate_size": FOLD * 1024}, {"num_hidden_layers": FOLD * 4}
TASKS = 2


def growth(pairs: int) -> Iterator[Ratio]:
    """Four times as much of one thing over four times one: 1 where time grows in proportion."""
    for what, more, chats in (("tokens", {}, FOLD * 8), ("blocks", DEEPER, 8), ("units", WIDER, 8)):
        yield paired(f"growth, {what}", f"collect with {FOLD} x as many {what} / {FOLD} times collect with as many",
                     collecting(chats, **{**BASE, **more}), repeated(collecting(8, **BASE)), pairs=pairs)
    subject = Subject.load(0, "organism")
    prompts = [row for part in subject.material.exam("validation", 100).values() for row in part]
    asked = lambda n: lambda: complete(subject.model, subject.tokenizer, prompts[:n])  # noqa: E731
    yield paired("growth, prompts", f"completions of {FOLD} x as many prompts / {FOLD} times as many",
                 asked(FOLD * 100), repeated(asked(100)), pairs=pairs)
    yield from processes(pairs)
    yield from memory()
    yield from organisms(pairs)
    yield from tasks(pairs)


def collecting(chats: int, **shape: int) -> Callable[[], object]:
    """`collect` of so many chats on a model of a shape."""
    model = model_of("Llama-50M", num_attention_heads=4, num_key_value_heads=4, **shape)
    batches = [batch_of(model, 8, 80, 80)] * (chats // 8)
    return lambda: collect(model, batches)


def repeated(what: Callable[[], object]) -> Callable[[], None]:
    """The same, four times."""
    def run() -> None:
        for _ in range(FOLD):
            what()
    return run


def processes(pairs: int) -> Iterator[Ratio]:
    """Runs in one process a core over the same runs one after another with all cores, as `measure_each` has them."""
    runs, cores = [(seed,) for seed in range(4)], os.cpu_count() or 1
    with local_executor(cores) as many, local_executor(1) as one:
        yield paired(f"{cores} processes", "4 searches for units, a process a core / in one process with all threads",
                     lambda: map_runs(work.search_units, runs, many), lambda: map_runs(work.search_units, runs, one),
                     pairs=min(pairs, 5))


def memory() -> Iterator[Ratio]:
    """Peak memory with four times as much of one thing; that of prompts has no reason to grow."""
    one = peak(f"collect_of(**{BASE})")
    for what, more in (("blocks", DEEPER), ("units", WIDER)):
        many = peak(f"collect_of(**{dict(BASE, **more)})")
        yield single(f"growth, memory, {what}", f"peak memory of collect with {FOLD} x as many {what} / {FOLD} times "
                     "that with as many", many / (FOLD * one))
    yield single("growth, memory, prompts", f"peak memory of completions of {FOLD} x as many prompts / of as many",
                 peak(f"answer({FOLD * 100})") / peak("answer(100)"), floor=1.0)


# -- organisms ---------------------------------------------------------------------------------------------


MEASURE = """
import time
import ssah_core as ssah
from ssah_core.studies import stages
start = time.time()
ssah.measure_each(stages.losses, {seeds}, "tiny")
print(time.time() - start)
"""


def measured(shares: Sequence[Sequence[int]], **environment: str) -> float:
    """Seconds that tasks take to raise and measure tiny organisms, each its share of the seeds, at once over one empty
    cache."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as tasks:
        places = {"SSAH_CACHE": f"{folder}/cache", "SSAH_FIGURES": f"{folder}/figures", "SSAH_RECORDS": "ignore"}
        given = {**arithmetic.PORTABLE, **places, **environment}
        said = tasks.map(lambda seeds: python(MEASURE.format(seeds=list(seeds)), **given), shares)
        return max(float(seconds.splitlines()[-1]) for seconds in said)


def organisms(pairs: int) -> Iterator[Ratio]:
    """Seconds an organism, of so many beside each other, over those of one."""
    for many, times in ((4, min(pairs, 3)), (20, 1)):
        taken = [(measured([range(many)]), measured([[0]])) for _ in range(times)]
        yield ratio(f"growth, {many} organisms", f"{many} organisms of scale tiny, raised and measured / {many} times "
                    "one", [mine / (many * one) for mine, one in taken], median(mine for mine, _ in taken), None,
                    1 / (os.cpu_count() or 1))


def tasks(pairs: int) -> Iterator[Ratio]:
    """Tasks of one core each, as Slurm starts them, that share seeds and a cache."""
    seeds, alone = range(2 * TASKS), {"SSAH_WORKERS": "1", "OMP_NUM_THREADS": "1"}
    taken = [(measured([seeds[task::TASKS] for task in range(TASKS)], **alone), measured([seeds], **alone))
             for _ in range(min(pairs, 3))]
    yield ratio(f"growth, {TASKS} tasks", f"{len(seeds)} organisms of scale tiny by {TASKS} tasks of one core over one "
                "cache / by one task", [mine / one for mine, one in taken], median(mine for mine, _ in taken), None,
                1 / TASKS)
