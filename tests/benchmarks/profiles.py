"""Where the time goes: operations of torch in what is timed beside those in what it is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch.profiler import ProfilerActivity, profile

SHOWN = 8
TIMES = 3


def operations(what: Callable[[], object]) -> Mapping[str, float]:
    """Milliseconds that each operation takes by itself in one call, on average over `TIMES`, on one of the cores."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(TIMES):
            what()
    return {one.key: one.self_cpu_time_total / TIMES / 1000 for one in seen.key_averages()}


def compared(ours: Callable[[], object], base: Callable[[], object]) -> str:
    """A line for each operation whose time differs the most, the largest difference first, and one for all."""
    mine, other = operations(ours), operations(base)
    more = {name: mine.get(name, 0.0) - other.get(name, 0.0) for name in {**mine, **other}}
    most = sorted(more, key=lambda name: -abs(more[name]))[:SHOWN]
    lines = [(name, mine.get(name, 0.0), other.get(name, 0.0)) for name in most]
    lines.append(("all operations", sum(mine.values()), sum(other.values())))
    return "\n".join(f"    {name[:48]:48} {a:9.1f} ms, held against {b:9.1f} ms" for name, a, b in lines)
