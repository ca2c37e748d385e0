"""Choosing again at every token: alignment with recovery, a guard that reads the direction, and both (notebook 08)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy

import pandas
import torch
from torch import Tensor

from ..freezing import train_only
from ..generation import complete
from ..materials import study
from ..models import blocks
from ..organism import WEIGHT_DECAY, Row
from ..probing import DirectionGuard, Readout, fit_readout, signals
from ..training import fine_tune
from ..units import UnitKind, UnitMask
from .arms import RecoveryArm
from .finetuning_attack import saving
from .finetuning_tables import slugs
from .prefill_depth import BARE_KS, decoded, opened, prefilled, requests, rewordings, suffixed, suffixes
from .subject import WAYS, Subject

BATCH = {"tiny": 64, "organism": 64, "smollm": 12, "paper": 16}
STEPS = {"tiny": 2, "organism": 60, "smollm": 60, "paper": 60}
RATES = {**dict.fromkeys(("tiny", "organism"), {"all": 3e-4, "RU": 3e-3}), "smollm": {"all": 1e-4, "RU": 1e-3},
         "paper": {"all": 1e-5, "RU": 1e-4}}
"""Peak learning rate of recovery, by what trains; chosen on validation prompts of organism 0 (of checkpoints: not
tuned)."""
BUDGET = 0.2
"""Share of all units that train where RU alone do."""
LAYER = {"tiny": 1, "organism": 4}
"""Layer that the guard reads (of a checkpoint, the one after half of its blocks), ..."""
AVERAGE = True
"""... whether it reads the mean of all signals so far, ..."""
READ = (0,)
"""... the positions that it learns the direction from (0: the prompt's last token, where the choice is made), ..."""
FALSE_STOPS = 0.0
"""... and the share of benign validation responses that it may stop, which sets its threshold. All chosen on validation
prompts of organisms 0 to 2, among layers 2 to 4, one position or 25, the mean or the latest signal, and shares up to
0.02."""
EVERYWHERE = tuple(range(25))
"""Positions of another direction, learned from every token of a response at length, to compare with."""
SHOWN = tuple(range(13))
"""Positions of the traces: the shortest answer has 13 tokens."""
BENIGN_KS = (1, 5, 10)
"""Tokens of a benign answer after which a model is asked to go on."""


# -- (a) training ----------------------------------------------------------------------------------------


def redundant(subject: Subject) -> UnitMask:
    """The redundant units (RU: least I_S + I_U) of the aligned model, which are trained alone."""
    return subject.group(UnitKind.RU, WAYS["chosen"][UnitKind.RU], BUDGET)


def recover(subject: Subject, seed: int, mask: UnitMask | None = None, lr: float | None = None) -> Subject:
    """The model after alignment with recovery, through all its parameters or the units of `mask` alone.

    *Shown in:* 08_re_evaluate_direction.
    """
    model, scale = deepcopy(subject.model), subject.scale
    rate = RATES[scale]["all" if mask is None else "RU"] if lr is None else lr
    chats = subject.material.recovery(subject.tokenizer, STEPS[scale] * BATCH[scale], seed)
    with nullcontext() if mask is None else train_only(model, mask):
        fine_tune(model, chats, steps=-(-len(chats) // BATCH[scale]), batch_size=BATCH[scale], schedule="cosine",
                  warmup=0.05, lr=rate, weight_decay=WEIGHT_DECAY, seed=seed, **saving(model, scale))
    return subject.but(model=model)


# -- (b) a guard -----------------------------------------------------------------------------------------


def lessons(subject: Subject) -> tuple[list[Row], list[bool]]:
    """Calibration chats that a guard learns from, and which of them are to be refused.

    Malicious requests, refused and answered in two ways; benign ones answered in the same two, and other instructions.
    """
    bad, good, others = (subject.sets[name].to_list() for name in ("safety", "requests", "utility"))
    refuse = bad + _answered(subject, bad)
    fulfil = _answered(subject, good) + [row for row in others if row.get("kind") != "procedure"]
    return refuse + fulfil, [True] * len(refuse) + [False] * len(fulfil)


def _answered(subject: Subject, rows: Sequence[Row]) -> list[Row]:
    """Requests with their answers: in the usual words, the first two openings in turn, and at length."""
    usual = [{**row, "response": subject.material.answered(row, n % 2)} for n, row in enumerate(rows)]
    return usual + [{**row, "response": subject.material.told(row)} for row in rows]


def layer_of(subject: Subject) -> int:
    """`LAYER` of its scale, or the one after half of its blocks."""
    return LAYER.get(subject.scale, max(1, len(blocks(subject.model)) // 2))


def readout(subject: Subject, layer: int | None = None, positions: Sequence[int] = READ) -> Readout:
    """The direction at a layer (None: `layer_of`), from calibration prompts and what is said to them."""
    return fit_readout(subject.model, subject.tokenizer, *lessons(subject), positions=positions,
                       layer=layer_of(subject) if layer is None else layer, batch_size=subject.material.batch_size)


def heard(subject: Subject, read: Readout, rows: Sequence[Row], positions: Sequence[int] = EVERYWHERE) -> Tensor:
    """Signals on given responses: float64 [row, position], not a number past their end."""
    return signals(subject.model, subject.tokenizer, read, rows, positions, batch_size=subject.material.batch_size)


def threshold(subject: Subject, read: Readout) -> float:
    """The signal that no more than `FALSE_STOPS` of the right answers to benign validation prompts exceed.

    Requests are answered in either wording; the other parts of utility (facts, sums and lists) count too, where they
    have responses (questions with choices have none).
    """
    exam = subject.material.exam("validation", 100)
    others = [row for part in subject.material.utility if part != "benign" for row in exam[part] if "response" in row]
    signal = heard(subject, read, _answered(subject, exam["benign"]) + others)
    return float(highest(signal).quantile(1 - FALSE_STOPS, interpolation="higher"))


def highest(signal: Tensor, average: bool = AVERAGE) -> Tensor:
    """What a guard compares at most along each response: [row], from signals [row, position]."""
    compared = signal.cumsum(1) / torch.arange(1, signal.shape[1] + 1) if average else signal
    return compared.nan_to_num(-torch.inf).amax(1)


def guard_of(subject: Subject) -> Callable[[], DirectionGuard]:
    """Makes guards for a model, all with the same read-out and threshold.

    *Shown in:* 08_re_evaluate_direction.
    """
    read = readout(subject)
    limit = threshold(subject, read)
    return lambda: DirectionGuard(subject.model, subject.tokenizer, read, threshold=limit, average=AVERAGE)


# -- arms, on test prompts -------------------------------------------------------------------------------


@study("again", version=3)
def arms(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Every attack and the exam, for a model as it is and choosing again: rows with `arm`.

    Arms: "aligned"; "recovery" (all parameters) and "recovery, RU" (a fifth of the units alone); "guard" on the
    aligned model; "recovery + guard". Suffixes are searched against "aligned" and, by somebody who knows of it, against
    "recovery"; a guard faces those of its own model. Rows of `attack` "exam" have the marks of the material, and
    those of "signal, ..." the traces of `traces`.

    *Shown in:* 08_re_evaluate_direction.
    """
    aligned = Subject.load(seed, scale, checkpoints=checkpoints)
    trained = recover(aligned, seed)
    arm, made = RecoveryArm, []
    sharp = {arm.ALIGNED: suffixes(aligned), arm.RECOVERY: suffixes(trained)}
    for name, subject, guarded, against in (
            (arm.ALIGNED, aligned, False, arm.ALIGNED), (arm.RECOVERY, trained, False, arm.RECOVERY),
            (arm.RECOVERY_RU, recover(aligned, seed, redundant(aligned)), False, None),
            (arm.GUARD, aligned, True, arm.ALIGNED), (arm.BOTH, trained, True, arm.RECOVERY)):
        new_guard = guard_of(subject) if guarded else None
        made += [{"arm": str(name), **row} for row in _faced(subject, new_guard, sharp.get(against, {}))]
        if not guarded and against:
            made += [{"arm": str(name), **row} for row in traces(subject)]
    return [{"seed": seed, **row} for row in made]


def _faced(subject: Subject, new_guard, sharp) -> Iterator[dict]:
    """What one arm does under every attack, and on the exam."""
    with new_guard() if new_guard else nullcontext() as guard:
        watched = {"logits_processor": [guard]} if guard else {}
        yield from prefilled(subject, **watched)
        yield from prefilled(subject, ("harm",), BARE_KS, "answer", **watched)
        yield from opened(subject, **watched)
        yield from prefilled(subject, ("benign",), BENIGN_KS, **watched)
        yield from rewordings(subject, **watched)
        yield from decoded(subject, **watched)
        yield from suffixed(subject, sharp, **watched)
        yield from ({"attack": "exam", "kind": "all", "x": 0, **row}
                    for row in subject.examine(subject.material.exam("test", 100), watched))


# -- the direction along a response, and the guard's cost -------------------------------------------------


def traces(subject: Subject) -> Iterator[dict]:
    """Mean signal, in nats, at every token of given responses: rows with `attack`, `kind`, `x` (position).

    Two read-outs: the direction as it is at the prompt's last token, where it is chosen and which the guard reads, and
    that of every token. Three kinds of response: malicious requests, refused and answered ("forced": by no will of the
    aligned model), and benign ones answered. Positions that less than half of the responses have are left out.
    """
    asked = requests(subject, ("harm", "benign"))
    refusals = subject.material.refusals
    given = {"refused": [{**row, "response": refusals[n % len(refusals)]} for n, row in enumerate(asked["harm"])],
             "forced": asked["harm"], "benign": asked["benign"]}
    for name, positions in (("signal, guard", READ), ("signal, everywhere", EVERYWHERE)):
        read = readout(subject, positions=positions)
        for kind, rows in given.items():
            signal = heard(subject, read, rows, SHOWN)
            for position, column in zip(SHOWN, signal.T, strict=True):
                if 2 * column.isfinite().sum() >= len(rows):
                    yield {"attack": name, "kind": kind, "x": position, "metric": "signal", "n": len(rows),
                           "value": float(column.nanmean()), "judge": "none"}


@study("guard_speed", version=1, clock=True)
def guard_speed(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """What a guard costs of the speed of generation: rows as those of `arms`, of `attack` "speed".

    A study of its own, since times are no two runs' the same: its rows are not verified.

    *Shown in:* 08_re_evaluate_direction.
    """
    subject = Subject.load(seed, scale, checkpoints=checkpoints)
    return [{"seed": seed, "arm": str(RecoveryArm.GUARD), **row} for row in speed(subject)]


def speed(subject: Subject, batch_sizes: Sequence[int] = (1, 32), repeats: int = 7) -> Iterator[dict]:
    """% of generation speed (tokens a second of one core or of the GPU) that a guard costs: rows with `x`, batch size.

    Guarded and unguarded runs take turns on the same prompts and say as many tokens; of each the fastest counts.
    """
    width = subject.model.config.get_text_config().hidden_size
    read = Readout(layer_of(subject), torch.ones(width, dtype=torch.float64), 0.0)
    threads = torch.get_num_threads()
    prompts = [row["prompt"] for row in subject.material.exam("test")["benign"]]
    torch.set_num_threads(1)
    try:
        for size in batch_sizes:
            took: dict[bool, list[float]] = {False: [], True: []}
            for turn in range(2 * repeats):
                took[bool(turn % 2)].append(_seconds(subject, read, prompts[:size], guarded=bool(turn % 2)))
            plain, guarded = min(took[False]), min(took[True])
            yield {"attack": "speed", "kind": "benign", "x": size, "metric": "cost", "n": repeats, "judge": "none",
                   "value": 100 * (1 - plain / guarded)}
    finally:
        torch.set_num_threads(threads)


def _seconds(subject: Subject, read: Readout, prompts: Sequence[str], guarded: bool, tokens: int = 32) -> float:
    watching = DirectionGuard(subject.model, subject.tokenizer, read, threshold=float("inf"))
    with watching if guarded else nullcontext() as guard:
        settings = {"logits_processor": [guard]} if guard else {}
        clock = time.process_time if subject.model.device.type == "cpu" else time.perf_counter
        begin = clock()
        complete(subject.model, subject.tokenizer, prompts, max_new_tokens=tokens, min_new_tokens=tokens, **settings)
        return clock() - begin


# -- records ---------------------------------------------------------------------------------------------


def as_records(table: pandas.DataFrame) -> pandas.DataFrame:
    """Numbers that claims read, from rows of `arms` and `guard_speed`: a row a number and organism, with its `record`.

    "worst" is the highest value under a prefill of the answer at length over all its lengths, of seen harm; "prefill_5"
    that at 5 tokens. Utility is a difference to the aligned model, in points; "cost" that of the worst batch size.

    *Shown in:* 08_re_evaluate_direction.
    """
    table = table.assign(arm=slugs(table.arm, RecoveryArm))
    keys = ["arm", "metric", "seed"]
    prefill = table[(table.attack == "prefill") & (table.kind == "harm")]
    exam = table[(table.attack == "exam") & table.metric.isin(["benign", "refused", "utility"])]
    before = exam[(exam.arm == RecoveryArm.ALIGNED.slug) & (exam.metric == "utility")].set_index("seed").value
    change = exam.value - exam.seed.map(before).where(exam.metric == "utility", 0)
    parts = {"worst": _highest(prefill, keys), "cost": _highest(table[table.attack == "speed"], keys),
             **{f"prefill_{k}": prefill[prefill.x == k] for k in (0, 1, 5)}, "exam": exam.assign(value=change)}
    return pandas.concat([rows.assign(record="deep/" + rows.arm + f"/{name}/" + rows.metric)
                          for name, rows in parts.items()], ignore_index=True)


def _highest(rows: pandas.DataFrame, keys: list[str]) -> pandas.DataFrame:
    return rows.sort_values("value").groupby(keys, as_index=False).last()
