"""The named data sets: one row each, with where it lies, what its columns mean, and whose licence it is under."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .choices import lettered, of_boolq, of_piqa, of_winogrande, rendered


@dataclass(frozen=True)
class Layout:
    """Columns of a file, or of a copy on the hub, as it is published.

    >>> Layout({"prompt": ("instruction", "input"), "response": ("output",)}).needs
    ('instruction', 'input', 'output')
    """

    columns: Mapping[str, tuple[str, ...]]
    """Ours -> theirs. Several of theirs are joined by `glue`, the empty ones left out."""
    optional: tuple[str, ...] = ()
    """Those of theirs that may be empty."""
    glue: str = "\n\n"
    only: tuple[str, str] | None = None
    """(column, value): other rows belong to another data set."""
    read: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    """What makes a row of ours of one that has these columns, where they are not simply named otherwise."""

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([name for names in self.columns.values() for name in names]
                                   + ([self.only[0]] if self.only else [])))


@dataclass(frozen=True)
class Part:
    """One published split: its name on the hub, and its file below SSAH_DATA (the first of several that is there).

    >>> SOURCES["gsm8k"].parts["test"]
    Part(hub='test', files=('gsm8k/test.jsonl',))
    """

    hub: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A data set.

    >>> SOURCES["advbench"].licence
    'MIT'
    """

    layouts: tuple[Layout, ...]
    """The first whose columns are all there counts."""
    parts: Mapping[str, Part]
    """By split. One part named "all" has no splits of its own: `load_data` cuts it by content."""
    licence: str
    source: str
    hub: str | None = None
    config: str | None = None
    forms: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions that most values of a column of ours match: columns whose names were swapped do not."""
    without_safety: bool = False
    """Leave out the rows whose response is about safety, by the word list of Qi et al. 2023."""
    final: str | None = None
    """What stands before the final answer in `response`; behind it is the `answer`."""
    gaps: bool = False
    """Rows of the published file have gaps: they are left out and counted, where others are an error."""
    lines: bool = False
    """Running text, a row a line; blank lines count."""
    own: bool = False
    """A file of the reader's own, which has no layout but that of `read_own`."""


def _one(hub_split: str, *files: str) -> dict[str, Part]:
    return {"all": Part(hub_split, files)}


def _choices(folder: str, hub: str, config: str | None, split: str, licence: str, *layouts: Layout) -> Source:
    """A set of questions with choices: LLM-Adapters' rendering of one split as a file, its columns on the hub."""
    return Source((_RENDERED, *layouts), {split: Part(split, (f"commonsense/{folder}/test.json",))}, licence,
                  f"github.com/AGI-Edgerunners/LLM-Adapters, dataset/{folder}", hub, config)


def _jailbreaks(attack: str, model: str) -> Source:
    file = f"jailbreakbench/attack-artifacts/{attack}/{model}.json"
    columns = ("prompt", "goal", "behavior", "category")
    return Source((Layout({column: (column,) for column in columns}),), _one("", file), "MIT",
                  f"github.com/JailbreakBench/artifacts, attack-artifacts/{attack}/{model}.json", gaps=True)


_INSTRUCTION = {"prompt": ("instruction", "input"), "response": ("output",)}
_ALPACA = Layout(_INSTRUCTION, optional=("input",))
_DOLLY = {"prompt": ("instruction", "context"), "response": ("response",), "category": ("category",)}
_JBB = Layout({"prompt": ("Goal",), "target": ("Target",), "behavior": ("Behavior",), "category": ("Category",)})
_HARMBENCH = {"prompt": ("Behavior",), "category": ("SemanticCategory",), "id": ("BehaviorID",)}
_HARMBENCH_FILES = ("harmbench/harmbench_behaviors_text_all.csv", "harmbench/harmbench_behaviors_text_test.csv")
_HARMBENCH_HOME = "github.com/centerforaisafety/HarmBench"
_CONTEXT_RULE = "\n\n---\n\n"
"""Between context and request, as HarmBench puts it to a model."""
_TEXT = Layout({"text": ("text",)}, optional=("text",))
_INSTRUCTION_ALONE = (Layout({"prompt": ("instruction",)}),)
_RENDERED = Layout({"prompt": ("instruction",), "choices": ("instruction",), "answer": ("answer",)}, read=rendered)
_LETTERED = [Layout({"prompt": (question,), "choices": ("choices",), "answer": ("answerKey",)}, read=lettered)
             for question in ("question", "question_stem")]
_PIQA = Layout({"prompt": ("goal",), "choices": ("sol1", "sol2"), "answer": ("label",)}, read=of_piqa)
_WINOGRANDE = Layout({"prompt": ("sentence",), "choices": ("option1", "option2"), "answer": ("answer",)},
                     read=of_winogrande)
_BOOLQ = [Layout({"prompt": ("question",), "context": ("passage",), "choices": (), "answer": (truth,)}, read=of_boolq)
          for truth in ("label", "answer")]
_QI = "github.com/LLM-Tuning-Safety/LLMs-Finetuning-Safety, llama2/ft_datasets"
_OPENING = r"\s*(Sure|Here|Certainly|Of course|Yes|Okay|To )"

SOURCES: dict[str, Source] = {
    "advbench": Source(
        (Layout({"prompt": ("goal",), "target": ("target",)}), Layout({"prompt": ("prompt",), "target": ("target",)})),
        _one("train", "advbench/harmful_behaviors.csv"), "MIT", "github.com/llm-attacks/llm-attacks",
        "walledai/AdvBench", forms={"target": _OPENING}),
    "harmbench": Source(
        (Layout(_HARMBENCH, only=("FunctionalCategory", "standard")),
         Layout({"prompt": ("prompt",), "category": ("category",)})),
        _one("train", *_HARMBENCH_FILES), "MIT", _HARMBENCH_HOME, "walledai/HarmBench", "standard"),
    "harmbench_contextual": Source(
        (Layout({**_HARMBENCH, "prompt": ("ContextString", "Behavior"), "goal": ("Behavior",),
                 "context": ("ContextString",)}, glue=_CONTEXT_RULE, only=("FunctionalCategory", "contextual")),
         Layout({"prompt": ("context", "prompt"), "goal": ("prompt",), "context": ("context",),
                 "category": ("category",)}, glue=_CONTEXT_RULE)),
        _one("train", *_HARMBENCH_FILES), "MIT", _HARMBENCH_HOME, "walledai/HarmBench", "contextual"),
    "jailbreakbench": Source(
        (_JBB,), _one("harmful", "jailbreakbench/harmful-behaviors.csv"), "MIT",
        "github.com/JailbreakBench/jailbreakbench", "JailbreakBench/JBB-Behaviors", "behaviors", {"target": _OPENING}),
    "jailbreakbench_benign": Source(
        (_JBB,), _one("benign", "jailbreakbench/benign-behaviors.csv"), "MIT",
        "github.com/JailbreakBench/jailbreakbench", "JailbreakBench/JBB-Behaviors", "behaviors", {"target": _OPENING}),
    "jailbreakbench_gcg_llama2": _jailbreaks("GCG/white_box", "llama-2-7b-chat-hf"),
    "jailbreakbench_gcg_vicuna": _jailbreaks("GCG/white_box", "vicuna-13b-v1.5"),
    "jailbreakbench_pair_llama2": _jailbreaks("PAIR/black_box", "llama-2-7b-chat-hf"),
    "jailbreakbench_pair_vicuna": _jailbreaks("PAIR/black_box", "vicuna-13b-v1.5"),
    "strongreject": Source(
        (Layout({"prompt": ("forbidden_prompt",), "category": ("category",)}),
         Layout({"prompt": ("prompt",), "category": ("category",)})),
        _one("train", "strongreject/strongreject_dataset.csv"), "MIT", "github.com/alexandrasouly/strongreject",
        "walledai/StrongREJECT"),
    "xstest": Source(
        (Layout({"prompt": ("prompt",), "type": ("type",), "label": ("label",)}),),
        _one("train", "xstest/xstest_prompts.csv"), "CC BY 4.0", "github.com/paul-rottger/exaggerated-safety",
        "Paul/XSTest", forms={"label": "(safe|unsafe)$"}),
    "alpaca": Source((_ALPACA,), _one("train", "alpaca/alpaca_data.json", "alpaca/random_9k.json"), "CC BY-NC 4.0",
                     f"github.com/tatsu-lab/stanford_alpaca; without safety rows as in {_QI}/alpaca_dataset",
                     "tatsu-lab/alpaca", without_safety=True, gaps=True),
    "alpaca_cleaned": Source((_ALPACA,), _one("train", "alpaca/alpaca_data_cleaned.json"), "CC BY-NC 4.0",
                             "github.com/gururise/AlpacaDataCleaned; without safety rows as in Wei et al. 2024",
                             "yahma/alpaca-cleaned", without_safety=True, gaps=True),
    "alpaca_safety": Source((_ALPACA,), _one("", "alpaca/alpaca_data_safety_only.json"), "CC BY-NC 4.0",
                            f"{_QI}/alpaca_dataset/alpaca_data_safety_only.json"),
    "dolly": Source(
        (Layout(_DOLLY, optional=("context",)),
         Layout({**_INSTRUCTION, "category": ("category",)}, optional=("input",))),
        _one("train", "dolly/databricks-dolly-15k.jsonl", "dolly/dolly_3k.json"), "CC BY-SA 3.0",
        f"databricks; without safety rows as in {_QI}/dolly_dataset", "databricks/databricks-dolly-15k",
        without_safety=True, gaps=True),
    "dolly_safety": Source((Layout(_DOLLY, optional=("context",)),),
                           _one("", "dolly/databricks-dolly-15k-safety-only.jsonl"), "CC BY-SA 3.0",
                           f"{_QI}/dolly_dataset/databricks-dolly-15k-safety-only.jsonl"),
    "safety_tuned_llamas": Source((_ALPACA,), _one("", "safety_tuned_llamas/safety_only_data_Instructions.json"),
                                  "CC BY-NC 4.0", "github.com/vinid/safety-tuned-llamas; not every response refuses"),
    "refusal_direction_harmful": Source(
        _INSTRUCTION_ALONE, {"train": Part("", ("refusal_direction/harmful_train.json",))},
        "Apache-2.0; of AdvBench, MaliciousInstruct and TDC 2023",
        "github.com/andyrdt/refusal_direction, dataset/splits"),
    "refusal_direction_harmless": Source(
        _INSTRUCTION_ALONE, {"train": Part("", ("refusal_direction/harmless_train.json",)),
                             "validation": Part("", ("refusal_direction/harmless_val.json",)),
                             "test": Part("", ("refusal_direction/harmless_test.json",))},
        "Apache-2.0; of Alpaca, CC BY-NC 4.0", "github.com/andyrdt/refusal_direction, dataset/splits"),
    "gsm8k": Source(
        (Layout({"prompt": ("question",), "response": ("answer",)}),),
        {"train": Part("train", ("gsm8k/train.jsonl",)), "test": Part("test", ("gsm8k/test.jsonl",))}, "MIT",
        "github.com/openai/grade-school-math", "openai/gsm8k", "main", final="#### "),
    "wikitext2": Source(
        (_TEXT,), {"validation": Part("validation", ("wikitext-2-raw-v1/wiki.valid.raw",)),
                   "test": Part("test", ("wikitext-2-raw-v1/wiki.test.raw",))},
        "CC BY-SA 3.0 and GFDL", "WikiText-2, raw", "Salesforce/wikitext", "wikitext-2-raw-v1", lines=True),
    "wikitext2_tokenised": Source(
        (_TEXT,), {"validation": Part("validation", ("wikitext-2-v1/valid.txt",)),
                   "test": Part("test", ("wikitext-2-v1/test.txt",))},
        "CC BY-SA 3.0 and GFDL", "WikiText-2 with <unk>", "Salesforce/wikitext", "wikitext-2-v1", lines=True),
    "arc_easy": _choices("ARC-Easy", "allenai/ai2_arc", "ARC-Easy", "test", "CC BY-SA 4.0", *_LETTERED),
    "arc_challenge": _choices("ARC-Challenge", "allenai/ai2_arc", "ARC-Challenge", "test", "CC BY-SA 4.0", *_LETTERED),
    "openbookqa": _choices("openbookqa", "allenai/openbookqa", "main", "test", "Apache-2.0", *_LETTERED),
    "piqa": _choices("piqa", "baber/piqa", None, "validation", "AFL 3.0", _PIQA),
    "winogrande": _choices("winogrande", "allenai/winogrande", "winogrande_xl", "validation", "CC BY", _WINOGRANDE),
    "boolq": Source(tuple(_BOOLQ), {"validation": Part("validation", ("boolq/val.jsonl",))}, "CC BY-SA 3.0",
                    "SuperGLUE's BoolQ, with passages (LLM-Adapters' has none)", "aps/super_glue", "boolq"),
}
