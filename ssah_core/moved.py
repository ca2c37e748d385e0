"""Old places of modules and names, which work for one version more, with a warning that says the new one."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

MODULES: Mapping[str, tuple[str, ...]] = {
    "ablation": ("units.ablation",),
    "attribution": ("units.attribution",),
    "benchmarks": ("judging.exam",),
    "checkpoints": ("models.config",),
    "claims": ("records.verdicts", "records.claim_list", "records.rules"),
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
    "masks": ("units.masks", "units.random_units"),
    "measurements": ("records.measurements", "records.row_files", "records.wishes"),
    "notebook_runs": ("runner.run_notebook",),
    "parameters": ("runner.parameters",),
    "patching": ("probing.activation_patching",),
    "paths": ("records.paths",),
    "placement": ("units.score_in_blocks", "models.load",),
    "plan": ("planning.estimate", "planning.__main__"),
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
    "report": ("records.report", "records.report_tables"),
    "safety_words": ("data.safety_filter",),
    "selfcheck": ("units.check_units",),
    "splits": ("data.splits",),
    "statistics": ("records.statistics", "records.rules"),
    "store": ("records.cache",),
    "suffix": ("generation.gcg",),
    "taxonomy": ("units.labels",),
    "organism.raise_": ("organism.train", "organism.scales", "organism.tokenizer"),
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
    "studies.raising": ("studies.stages",),
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
RENAMED: Mapping[str, str] = {
    "judges.keyword_judge": "judging.keyword_lists.KeywordJudge",
    "published_marks.MARKS": "judging.exam.PUBLISHED_MARKS",
    "published_marks.NAMES": "judging.exam.PUBLISHED_JUDGES",
    "published_marks.UTILITY": "judging.exam.PUBLISHED_UTILITY",
    "published_marks.mark": "judging.exam.mark_published",
    "measurements.DTYPES": "records.wishes.TRAINED_DTYPES",
    "store.PACKAGE": "sources.PACKAGE",
    "studies.budget.least": "studies.alignment_budget.least_useful",
    "organism.raise_.UntilSafe": "organism.alignment_course.AlignmentCourse",
    "studies.raising.steps_to_safety": "organism.doses.steps_to_safety",
    "studies.peft.package": "training.lora_budget.peft_package",
}
"""Name in an old module -> what it is called now, and where."""
_COLORS = "use look or looks of ssah_core.plots, which give a meaning its colour and marker"
_SLUGS = "an arm has its own slug: see ssah_core.studies.arms"
_UNSEEN = "each world draws its own: see World.unseen"
_VERDICTS = "verdicts are HOLDS, IN_PART, FAILS and UNDECIDED of ssah_core.records.effects"
_ATTACK = "attacks have fixed rates, doses and orders (ssah_core.studies.finetuning_attack), arms are those of `holds`"
_EQUAL = "arms are examined at equal loss as they train: see Arms of ssah_core.studies.finetuning_arms"
GONE: Mapping[str, str] = {
    "store.code_version": "rows and organisms are found without the code: see ssah_core.records.evidence",
    "store.whole_code_version": "use code_digest of ssah_core.records.evidence",
    "keyword_lists.WEI_WORDS": "it is KEYWORD_JUDGES['keyword:wei2024'].least_words of ssah_core.judging.keyword_lists",
    "measure": "put @ssah_core.records.study(name, version=1) above a function for ssah.measure_each",
    "measurements.measure": "put @ssah_core.records.study(name, version=1) above a function for ssah.measure_each",
    "training.train": "use fine_tune of ssah_core.training, with schedule='cosine' and warmup=0.05, its defaults",
    "notebook_runs.KERNEL_ENVIRONMENT": "a notebook's kernel has the environment of the run itself",
    "plots.COLORS": _COLORS,
    "plots_deep.OTHERS": _COLORS,
    "plots_peft.PALETTE": _COLORS,
    "plots_budget.plot_stress": "plots.plot_attack draws it, a panel a method",
    "store.TOP": "ssah_core.records.evidence tells code apart by itself",
    "studies.again.SLUGS": _SLUGS,
    "studies.attack_tables.SLUGS": _SLUGS,
    "studies.budget.SLUGS": _SLUGS,
    "studies.peft.ARMS": _SLUGS,
    **{f"organism.world.UNSEEN_{name}": _UNSEEN for name in ("VERBS", "OBJECTS", "INTENTS")},
    **{f"statistics.{name}": _VERDICTS for name in "MIN_ORGANISMS NOT_REPRODUCED PARTLY REPRODUCED VERDICTS".split()},
    **{f"studies.attack.{name}": _ATTACK for name in
       "BROKEN CHECKS DRAWS ON_THE_WAY QUICK_CHECKS STEPS TRIES compared_at held_units holding strength".split()},
    **{f"studies.attack_tables.{name}": _EQUAL for name in ("at_equal_loss", "at_strength")},
    "studies.peft.on_equal_terms": _EQUAL,
    "studies.stress.STEPS": _ATTACK,
    "published.LOADERS": "Subject.load loads checkpoints itself",
    "published.load_subject": "use ssah_core.studies.Subject.load(seed, 'paper', stage, checkpoints)",
}
"""Old name, with its module, that works no more -> what to do instead."""
LEFT: Mapping[str, Mapping[str, str]] = {
    "data": {"LEAST": "data.load.LEAST"},
    "organism.world": {name: f"organism.words.{name}" for name in ("REFUSALS", "SYSTEM_PROMPT")},
    "plots": {"NAMES": "plots.style.NAMES", "STYLE": "plots.style.STYLE", "redraw_all": "plots.__main__.redraw_all"},
    "probing": {
        "COMPLIANCE": "probing.distances.COMPLIANCE",
        "REFUSAL": "probing.distances.REFUSAL",
        "Read": "probing.distances.Read",
        "Wordings": "models.chats.Wordings",
        "moments_of": "probing.distances.moments_of",
        "standard_error": "probing.distances.standard_error",
        "token_ids": "models.chats.token_ids",
    },
    "training": {"pad": "training.sft.pad"},
    "units": {
        "SHARED": "units.unit_map.SHARED",
        "Site": "units.unit_map.Site",
        "Slice": "units.unit_map.Slice",
        "Writer": "units.unit_map.Writer",
    },
}
"""Room or module with the name of an old one -> names that left it, and where they are. (One whose names are gone
stands here too.)"""
ROOMS = ("data", "freezing", "generation", "judging", "models", "organism", "plots", "probing", "records", "studies",
         "training", "units")
"""Rooms that `import ssah_core` lets one reach: those named as modules were, so that `ssah_core.models.load` still
works, and the judges'."""


def install(package: str, find: Callable[[str], object]) -> Callable[[str], object]:
    """Let old modules of the package be imported; returns a `__getattr__` that knows its old names beside `find`'s."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(package))

    def __getattr__(name: str) -> object:
        _check_not_gone(package, name)
        if name in NAMES:
            return _moved(package, name, f"{NAMES[name]}.{name}")
        return importlib.import_module(f"{package}.{name}") if name in (*ROOMS, *MODULES) else find(name)

    return __getattr__


def _moved(package: str, old: str, new: str) -> object:
    """A name at its new place, with a warning at whoever asked a module's `__getattr__` for it."""
    _warn(f"{package}.{old}", f"{package}.{new}", 4)
    place, _, name = new.rpartition(".")
    return getattr(importlib.import_module(f"{package}.{place}"), name)


def _check_not_gone(package: str, old: str) -> None:
    if old in GONE:
        raise AttributeError(f"{package}.{old} is gone: {GONE[old]}")


def _warn(old: str, new: str, level: int) -> None:
    warnings.warn(f"{old} has moved: use {new}; the old place goes with the next version", FutureWarning,
                  stacklevel=level)


class _Finder(MetaPathFinder):
    """Finds old modules, and the rooms that have left names."""

    def __init__(self, package: str):
        self.package = package

    def find_spec(self, name: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, old = name.partition(".")
        if package != self.package:
            return None
        if old in MODULES:
            return ModuleSpec(name, _Old(package, old))
        spec = PathFinder.find_spec(name, path) if old in LEFT else None
        if spec is not None and spec.loader is not None and spec.origin is not None:
            spec.loader = _Room(name, spec.origin)
        return spec


class _Old(Loader):
    """Loads an old module, which has no names of its own."""

    def __init__(self, package: str, old: str):
        self.package, self.old, self.places = package, old, [f"{package}.{place}" for place in MODULES[old]]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        _warn(module.__name__, " or ".join(self.places), 3)
        module.__getattr__ = self._find  # type: ignore[method-assign]

    def get_code(self, name: str) -> None:
        """Asked for by `python -m`."""
        raise ImportError(f"{name} has moved: run {' or '.join(self.places)}")

    def _find(self, name: str) -> object:
        if name == "__all__":
            return sorted({name for place in self.places for name in vars(importlib.import_module(place))
                           if not name.startswith("_")})
        _check_not_gone(self.package, f"{self.old}.{name}")
        if new := RENAMED.get(f"{self.old}.{name}"):
            return _moved(self.package, f"{self.old}.{name}", new)
        for place in self.places if not name.startswith("__") else ():
            if hasattr(found := importlib.import_module(place), name):
                return getattr(found, name)
        raise AttributeError(f"{self.package}.{self.old} had moved to {' and '.join(self.places)}, which have no "
                             f"{name!r}")


class _Room(SourceFileLoader):
    """Loads a room as it is, and lets the names that left it be found."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        package, _, room = module.__name__.partition(".")

        def __getattr__(name: str) -> object:
            _check_not_gone(package, f"{room}.{name}")
            if name not in LEFT[room]:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return _moved(package, f"{room}.{name}", LEFT[room][name])

        module.__getattr__ = __getattr__  # type: ignore[method-assign]
