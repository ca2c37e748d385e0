"""How time grows with tokens, units, blocks, prompts and processes: over what it would be if it grew in proportion."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ssah_core import collect, complete
from ssah_core.records.executors import local_executor, map_runs
from ssah_core.studies import Subject

from . import work
from .pairs import Ratio, paired
from .shapes import batch_of, model_of

FOLD = 4


def growth(pairs: int) -> Iterator[Ratio]:
    """Four times as much of one thing over four times one: 1 where time grows in proportion."""
    base = dict(num_hidden_layers=4, hidden_size=256, intermediate_size=1024, vocab_size=4096)
    for what, more, chats in (("tokens", {}, FOLD * 8), ("blocks", {"num_hidden_layers": FOLD * 4}, 8),
                              ("units", {"intermediate_size": FOLD * 1024}, 8)):
        yield paired(f"growth, {what}", f"collect with {FOLD} x as many {what} / {FOLD} times collect with as many",
                     collecting(8 if what != "tokens" else chats, **{**base, **more}), repeated(collecting(8, **base)),
                     pairs=pairs)
    subject = Subject.load(0, "organism")
    prompts = [row for part in subject.material.exam("validation", 100).values() for row in part]
    asked = lambda n: lambda: complete(subject.model, subject.tokenizer, prompts[:n])  # noqa: E731
    yield paired("growth, prompts", f"completions of {FOLD} x as many prompts / {FOLD} times as many",
                 asked(FOLD * 100), repeated(asked(100)), pairs=pairs)
    yield from processes(pairs)


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
