"""What freezing costs and what training few units saves: python tests/bench_freezing.py [--rounds 7] [--device cpu]

Prints ratios to a vanilla run of the same model, batch and optimiser (AdamW, float32): time of a step, bytes of
gradients, bytes of optimiser state, and peak memory. Time is the processor time of a step (a busy machine disturbs it
less), as the median over rounds of the ratio within a round; a round has one step of each, in changing order. Peak
memory is what a fresh process' largest resident set (ru_maxrss) after three steps exceeds its resident set before the
model is built, so it holds weights, gradients, optimiser state and activations alike; memory that is freed is given
back (MALLOC_MMAP_THRESHOLD_), so it is not counted twice. Activations are nearly the same in all runs, so the more
tokens a step has, the less is saved: 0.45 with 2 x 128 tokens is 0.54 with 4 x 128, for the width here.
On a GPU (--device cuda) time is that of the clock, and peak memory what torch has allocated at most.
LoRA (package peft) is on every linear map of the blocks, with as many weights as `train_only` trains; it has no bar.
Exits with status 1 if a bar is missed.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from ssah_core import UnitMap, UnitMask, freeze, train_only  # noqa: E402
from ssah_core.training.lora_budget import budget, lora  # noqa: E402

FROZEN, TRAINED = 0.10, 0.20  # shares of all units: more than the paper's 7.5 % of Table 2, and its 20 % of Table 4
MODES = ("vanilla", "freeze", "train_only", "lora")
BARS = {("freeze", "time"): 1.05, ("train_only", "time"): 0.85, ("train_only", "memory"): 0.50,
        ("train_only", "gradients"): 0.22, ("train_only", "state"): 0.22}


def model_of(width: int, layers: int, vocabulary: int = 4096) -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(hidden_size=width, intermediate_size=8 * width // 3 // 64 * 64,
                                      vocab_size=vocabulary, num_hidden_layers=layers, num_attention_heads=width // 64)
    return transformers.LlamaForCausalLM(config).train()


def random_mask(model, share: float) -> UnitMask:
    sizes, generator = UnitMap(model).sizes, torch.Generator().manual_seed(0)
    return UnitMask({site: torch.rand(size, generator=generator) < share for site, size in sizes.items()})


def context(mode: str, model):
    if mode == "freeze":
        return freeze(model, random_mask(model, FROZEN))
    return train_only(model, random_mask(model, TRAINED)) if mode == "train_only" else nullcontext()


class Run:
    """One way of training, one step at a time."""

    def __init__(self, mode: str, settings: argparse.Namespace, stack: ExitStack):
        self.model = model_of(settings.width, settings.layers)
        if mode == "lora":
            self.model = lora(self.model, budget(self.model, random_mask(self.model, TRAINED))).train()
        self.model.to(settings.device)
        stack.enter_context(context(mode, self.model))
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.1)
        ids = torch.randint(4096, (settings.batch, settings.tokens), generator=torch.Generator().manual_seed(1))
        self.ids = ids.to(settings.device)

    def step(self) -> float:
        """Seconds of one step."""
        start = self.now()
        self.model(input_ids=self.ids, labels=self.ids, use_cache=False).loss.backward()
        self.gradients = sum(p.grad.nbytes for p in self.model.parameters() if p.grad is not None)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.now() - start

    def now(self) -> float:
        if self.ids.is_cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def state(self) -> int:
        """Bytes of optimiser state."""
        return sum(t.nbytes for state in self.optimizer.state.values() for t in state.values())


def times(settings: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Ratios to vanilla of time, gradients and optimiser state."""
    with ExitStack() as stack:
        runs = {mode: Run(mode, settings, stack) for mode in MODES}
        [run.step() for run in runs.values()]  # the first step allocates
        orders = [MODES[n % len(MODES):] + MODES[:n % len(MODES)] for n in range(settings.rounds)]
        rounds = [{mode: runs[mode].step() for mode in order} for order in orders]
        sizes = {mode: {"gradients": run.gradients, "state": run.state()} for mode, run in runs.items()}
    print(f"vanilla step: {statistics.median(r['vanilla'] for r in rounds):.2f} s (median of {settings.rounds})")
    return {mode: {"time": statistics.median(r[mode] / r["vanilla"] for r in rounds),
                   **{what: sizes[mode][what] / sizes["vanilla"][what] for what in ("gradients", "state")}}
            for mode in MODES[1:]}


def peak(mode: str, settings: argparse.Namespace) -> int:
    """What training adds to the resident set at its largest, in bytes: measured in this process."""
    before = psutil.Process().memory_info().rss
    with ExitStack() as stack:
        run = Run(mode, settings, stack)
        [run.step() for _ in range(3)]
    if settings.device != "cpu":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def peaks(arguments: list[str]) -> dict[str, int]:
    """Peak memory of every mode, each in a fresh process."""
    command = [sys.executable, __file__, *arguments, "--peak"]
    settings = dict(env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}, check=True, stdout=subprocess.PIPE)
    return {mode: int(subprocess.run([*command, mode], **settings).stdout) for mode in MODES}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 1024), ("layers", 6), ("batch", 2), ("tokens", 128), ("rounds", 7), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--peak", choices=MODES, help="measure the peak memory of one mode only, in bytes")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    if settings.peak:
        print(peak(settings.peak, settings))
        return 0
    total = sum(p.numel() for p in model_of(settings.width, settings.layers).parameters())
    print(f"{total / 1e6:.0f} M parameters, {settings.batch} x {settings.tokens} tokens, {settings.threads} thread(s); "
          f"freeze: {FROZEN:.0%} of the units frozen; train_only: {TRAINED:.0%} trained")
    memory, ratios = peaks(sys.argv[1:]), times(settings)
    print(f"vanilla peak: {memory['vanilla'] / 2 ** 20:.0f} MiB")
    missed = 0
    for mode, found in ratios.items():
        for what, ratio in {**found, "memory": memory[mode] / memory["vanilla"]}.items():
            bar = BARS.get((mode, what))
            missed += bar is not None and ratio > bar
            judged = f"(bar {bar:.2f}{', MISSED' if ratio > bar else ''})" if bar else ""
            print(f"{mode:10} {what:9} {ratio:6.3f} of vanilla {judged}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
