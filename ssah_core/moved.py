"""Old places of modules and names, which work for one version more, with a warning that says the new one."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULES: Mapping[str, tuple[str, ...]] = {
    "ablation": ("units.ablation",),
    "attribution": ("units.attribution",),
    "benchmarks": ("judging.exam",),
    "checkpoints": ("models.config",),
    "claims": ("records.verdicts", "records.claim_list",),
    "classifiers": ("judging.classifiers",),
    "compact": ("freezing.partial_linear",),
    "completions": ("generation.completions", "judging.judges",),
    "datasets_table": ("data.catalogue",),
    "distributed": ("freezing.sharded",),
    "entries": ("freezing.weight_slices",),
    "evaluation": ("judging.utility",),
    "examples": ("planning.random_checkpoint",),
    "execute": ("runner.execute",),
    "executors": ("records.executors",),
    "families": ("units.families",),
    "findings": ("records.claim_list",),
    "fine_tuning": ("training.sft",),
    "guard": ("probing.guard",),
    "hidden": ("models.hidden_states",),
    "importance": ("units.importance", "units.moments"),
    "judges": ("judging.judges", "judging.keyword_lists"),
    "keyword_lists": ("judging.keyword_lists", "judging.judges"),
    "leading_space": ("models.leading_space",),
    "lens": ("probing.logit_lens", "models.first_tokens"),
    "masks": ("units.masks",),
    "measurements": ("records.measurements",),
    "notebook_runs": ("runner.run_notebook",),
    "parameters": ("runner.parameters",),
    "patching": ("probing.activation_patching",),
    "paths": ("records.paths",),
    "placement": ("units.score_in_blocks", "models.load",),
    "plan": ("planning.estimate",),
    "plots_attack": ("plots.attack",),
    "plots_budget": ("plots.budget",),
    "plots_deep": ("plots.depth",),
    "plots_peft": ("plots.peft",),
    "plots_probing": ("plots.probing",),
    "plots_transfer": ("plots.transfer",),
    "preference": ("training.dpo",),
    "prefill": ("generation.prefill",),
    "published": ("studies.checkpoints",),
    "published_marks": ("judging.exam", "judging.judges"),
    "published_material": ("materials.published",),
    "published_rows": ("materials.published_rows",),
    "readers": ("data.files",),
    "readout": ("probing.linear_probe",),
    "rehearsal": ("planning.rehearsal",),
    "report": ("records.report",),
    "safety_words": ("data.safety_filter",),
    "selfcheck": ("units.check_units",),
    "splits": ("data.splits",),
    "statistics": ("records.statistics",),
    "store": ("records.cache",),
    "suffix": ("generation.gcg",),
    "taxonomy": ("units.labels",),
    "organism.raise_": ("organism.train", "organism.tokenizer"),
    "organism.downstream": ("organism.attacks",),
    "organism.safety_data": ("organism.preferences",),
    "studies.adapters": ("training.lora_budget",),
    "studies.again": ("studies.recovery_and_guard",),
    "studies.attack": ("studies.finetuning_attack", "studies.finetuning_arms"),
    "studies.attack_tables": ("studies.finetuning_tables",),
    "studies.budget": ("studies.alignment_budget",),
    "studies.controls": ("studies.matched_controls",),
    "studies.deep": ("studies.prefill_depth",),
    "studies.kept": ("studies.score_cache",),
    "studies.material": ("materials.material",),
    "studies.patching": ("studies.activation_patching",),
    "studies.peft": ("studies.peft_attack",),
    "studies.probing": ("studies.reasoning_direction",),
    "studies.raising": ("studies.stages", "organism.doses"),
    "studies.removal": ("studies.ablation_table",),
    "studies.stress": ("studies.robustness",),
    "studies.transfer": ("studies.attribute_transfer",),
}
"""Old module of the package -> the modules that hold its names now."""
NAMES: Mapping[str, str] = {
    "Classifier": "judging.classifiers",
    "TokenPerplexity": "judging.utility",
    "UnitKind": "units.masks",
    "World": "organism.world",
    "Record": "records.records",
    "check_frozen_sharded": "freezing.sharded",
    "collect_sharded": "freezing.sharded",
    "freeze_sharded": "freezing.sharded",
    "gather_state": "freezing.sharded",
    "local_state": "freezing.sharded",
    "merge_moments": "freezing.sharded",
    "shard": "freezing.sharded",
    "count_data": "data.load",
    "list_data": "data.load",
    "dask_executor": "records.executors",
    "map_runs": "records.executors",
    "disjoint": "data.splits",
    "fit_readout": "probing.linear_probe",
    "linear_probe": "probing.linear_probe",
    "harmbench_classifier": "judging.classifiers",
    "llama_guard": "judging.classifiers",
    "intent_residual": "probing.distances",
    "load_completions": "generation.completions",
    "load_placed": "models.load",
    "logit_lens": "probing.logit_lens",
    "measure": "records.measurements",
    "on_model": "studies.checkpoints",
    "overlap": "units.labels",
    "own_refusals": "judging.judges",
    "paired_difference": "records.statistics",
    "patch_decisions": "probing.activation_patching",
    "raise_organism": "organism.train",
    "rate": "judging.judges",
    "score_in_blocks": "units.score_in_blocks",
    "slurm_executor": "records.executors",
    "wilson": "records.statistics",
}
"""Name that `import ssah_core as ssah` had -> the module that holds it."""
ROOMS: Mapping[str, Mapping[str, tuple[str, str, Mapping[str, object]]]] = {
    "training": {"train": ("training.sft", "fine_tune", {"schedule": "cosine", "warmup": 0.05})},
}
"""Old module that is a room now -> its old names: each one's module, its name there, and what was its default."""


def install(package: str, find: Callable[[str], object]) -> Callable[[str], object]:
    """Let old modules of the package be imported; returns a `__getattr__` that knows its old names beside `find`'s."""
    import sys

    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder(package))

    def __getattr__(name: str) -> object:
        if name not in NAMES:
            return find(name)
        _warn(f"{package}.{name}", f"{package}.{NAMES[name]}.{name}", 3)
        return getattr(importlib.import_module(f"{package}.{NAMES[name]}"), name)

    return __getattr__


def old_names(room: str) -> Callable[[str], object]:
    """A `__getattr__` for a room that has the name of an old module, and other names than that had.

    >>> find = old_names("ssah_core.training")
    >>> with warnings.catch_warnings(record=True):
    ...     find("train").func.__name__
    'fine_tune'
    """
    package, _, short = room.rpartition(".")

    def __getattr__(name: str) -> object:
        if name not in ROOMS[short]:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        module, new, defaults = ROOMS[short][name]
        _warn(f"{room}.{name}", f"{package}.{module}.{new}", 3)
        return partial(getattr(importlib.import_module(f"{package}.{module}"), new), **defaults)

    return __getattr__


def _warn(old: str, new: str, level: int) -> None:
    warnings.warn(f"{old} has moved: use {new}; the old place goes with the next version", FutureWarning,
                  stacklevel=level + 1)


class _Finder(MetaPathFinder):
    """Finds old modules, after all others have failed."""

    def __init__(self, package: str):
        self.package = package

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        old = name.removeprefix(f"{self.package}.")
        return ModuleSpec(name, _Moved(self.package, old)) if old in MODULES and old != name else None


class _Moved(Loader):
    """An old module, which has no names of its own."""

    def __init__(self, package: str, old: str):
        self.package, self.places = package, [f"{package}.{place}" for place in MODULES[old]]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        _warn(module.__name__, " or ".join(self.places), 2)

        def __getattr__(name: str) -> object:
            for place in self.places:
                if hasattr(found := importlib.import_module(place), name):
                    return getattr(found, name)
            raise AttributeError(f"{module.__name__} had moved to {' and '.join(self.places)}, which have no {name!r}")

        module.__getattr__ = __getattr__  # type: ignore[method-assign]
