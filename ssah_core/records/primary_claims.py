"""The primary claims: what the project asks of the hypothesis, registered before the organisms that test it exist.

All else is secondary (`claim_list`). A claim is in plain words, since the report's first table shows it as it stands.
"""

from __future__ import annotations

from .claim import PILLARS, Claim
from .rules import Falls, Rises, Rule, Stays

DIRECTION, UNITS, FREEZING, BUDGET = PILLARS
_PROBE, _LABEL, _TRANSFER = "02_probe_reasoning_direction", "03_label_units", "04_trace_attribute_transfer"
_FREEZE, _SPEND = "05_freeze_safety_units", "07_spend_alignment_budget"
_TABLE1 = ("Llama-2-7B-Chat", "Llama-3-8B-Instruct", "Mistral-7B-Instruct-v0.2")


def _claim(id: str, source: str, pillar: str, notebook: str, statement: str, rule: Rule,
           paper: tuple[float, ...] = (), models: tuple[str, ...] = (), **more) -> Claim:
    return Claim(id, source, notebook, statement, rule, dict(zip(models, paper, strict=True)), pillar=pillar, **more)


def _held(id: str, statement: str, attack: str = "benign", paper: tuple[float, ...] = (),
          headline: bool = False) -> Claim:
    """The paper compares with nothing frozen alone: HEx-PHI harmfulness rates by GPT-4, as differences."""
    return _claim(f"table2/{attack}/{id}/asr", "Table 2", FREEZING, _FREEZE, statement, Falls(), paper,
                  _TABLE1[:len(paper)], headline=headline)


def _budget(method: str, other: str, name: str, headline: bool = False) -> Claim:
    paper = ((4.2,), ("LLaMA-7B",)) if (method, other) == ("sft", "all") else ()
    return _claim(f"table4/{method}/best_rate/ru_vs_{other}/old", "Table 4", BUDGET, _SPEND,
                  f"Aligned by {method.upper()} through the 20 % of its units that are least useful, a model keeps "
                  f"more of what it knew than through {name}, each at its own best learning rate.", Rises(), *paper,
                  headline=headline)


PRIMARY_CLAIMS = (
    # -- direction: is there one, read at the first token? --
    _claim("direction/query/aligned/lean", "Figures 2 and 7", DIRECTION, _PROBE,
           "In the aligned model a malicious request leans towards its refusal, more than a harmless one does (cosine "
           "distance of the paper, the tokens following the request).", Rises(0.02), unit="cosine"),
    _claim("direction/intent/turned/gap", "Figures 2 and 7", DIRECTION, _PROBE,
           "Alignment draws a malicious request to those that are refused (cosine distance of the requests alone).",
           Rises(0.05), unit="cosine", record="direction/intent/aligned/gap", control="direction/intent/instructed/gap",
           headline=True),
    _claim("probes/instructed/selectivity", "Section 2", DIRECTION, _PROBE,
           "Malice can be read off the last token of a request before alignment, beyond what a probe can memorise.",
           Rises()),
    _claim("patching/before_last/flips", "Section 2", DIRECTION, _PROBE,
           "The state of that one token, after the block before the last, carries the choice: put into another "
           "request, it turns refusal into answer and back (% of pairs), where a request of the same side does not.",
           Rises(), unit="%", control="patching/before_last/same_side", headline=True),
    # -- units: are a few of them safety's, and safety's alone? --
    _claim("table1/scu/harm_right", "Table 1", UNITS, _LABEL,
           "Without its safety-critical units (SCU) a model answers malicious requests rightly, where as many random "
           "units change nothing.", Rises(), (56.0, 71.0, 48.0), _TABLE1, control="table1/random_scu/harm_right",
           headline=True),
    _claim("table1/scu/utility", "Table 1", UNITS, _LABEL, "Without its SCU a model is as useful as before.", Stays(),
           (-1.3, -3.6, -2.9), _TABLE1, headline=True),
    _claim("table1/scu/morals", "Section 3", UNITS, _LABEL,
           "Without its SCU a model still knows right from wicked.", Stays(), headline=True),
    _claim("table1/ucu/utility", "Table 1", UNITS, _LABEL,
           "Without its utility-critical units (UCU) it loses its abilities, more than without as many random ones.",
           Falls(), (-15.6, -16.8, -26.2), _TABLE1, control="table1/random_ucu/utility"),
    _claim("table1/ru_over_random/utility", "Table 1", UNITS, _LABEL,
           "Its redundant units (RU) can be spared better than as many random ones.", Rises(),
           record="table1/ru/utility", control="table1/random_ru/utility"),
    _claim("table1_variance/scu/harm_right", "Table 1", UNITS, _LABEL,
           "The paper's own score finds such units too: without as many of its SCU as utility can spare, malicious "
           "requests are answered rightly.", Rises(),
           (56.0, 71.0, 48.0), _TABLE1, control="table1_variance/random_scu/harm_right", headline=True),
    _claim("transfer/new/scu_to_cu", "Figure 5", UNITS, _TRANSFER,
           "Fine-tuning on new tasks turns SCU into units that also serve utility (% of SCU), more than measuring them "
           "on other data does.", Rises(), (65.4,), ("Llama-2-7B-Chat",), control="transfer/none/scu_to_cu"),
    # -- freezing: does holding the right units keep a model safe while it learns? --
    _held("scu_6cu_vs_nothing", "Frozen SCU and the next 6 % of units keep a model safer through harmless fine-tuning "
          "than nothing frozen.", paper=(-8.9, -3.6), headline=True),
    _held("scu_6cu_vs_random", "Frozen SCU and the next 6 % of units keep a model safer than as many random units.",
          headline=True),
    _held("scu_6cu_vs_other", "... and safer than as many units that carry another choice, right or wicked."),
    _held("scu_6cu_rest_vs_random_rest", "... and safer than random units also where all that belongs to no unit "
          "(embeddings, norms, queries, keys) is frozen too."),
    _held("rest_vs_nothing", "Freezing only what belongs to no unit keeps a model safer than freezing nothing.",
          headline=True),
    _held("paper_6cu_vs_random", "Units found by the paper's own score keep it safer than random ones."),
    _held("scu_cu_vs_random_cu", "Freezing SCU and all complex units keeps it safer than as many random units."),
    _held("scu_6cu_vs_rewound", "Freezing units is better than putting them back afterwards."),
    _held("scu_6cu_vs_random", "Through fine-tuning on new tasks, at equal loss, frozen SCU and 6 % of units keep a "
          "model safer than random ones.", attack="new"),
    # -- budget: can redundant units be spent on alignment? --
    _budget("sft", "all", "all parameters", headline=True),
    _budget("sft", "random", "as many random units"),
    _budget("dpo", "all", "all parameters"),
)
