"""Colours, markers and words of the figures: one look a meaning, the same in every notebook.

The colours are those of Okabe and Ito (2008) as far as they stand out on white at 3:1; orange and sky blue are
darkened until they do, and wine, rose, indigo, slate, brown and tan are added for what is no kind of unit. Whoever sees
no green or no red still tells apart what shares a figure (`FAMILIES`); the tests compute both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, cycle


@dataclass(frozen=True)
class Look:
    """How a meaning is drawn, wherever it is drawn."""

    color: str
    """As "#rrggbb", at least 3:1 against white."""
    marker: str
    """Of matplotlib, so that colour is never alone."""


MEANINGS: Mapping[str, Look] = {
    "SCU": Look("#D55E00", "o"),  # vermillion
    "UCU": Look("#0072B2", "s"),  # blue
    "CU": Look("#CC79A7", "D"),  # reddish purple
    "RU": Look("#009E73", "^"),  # bluish green
    "random": Look("#5C5C5C", "X"),  # grey
    "whole": Look("#000000", "P"),  # black: nothing removed, nothing held, all parameters, the aligned model itself
    "ASR": Look("#B87F00", "v"),  # orange, darkened
    "right answers": Look("#882255", "p"),  # wine: malicious requests, and right answers to them
    "utility": Look("#3D9BD1", "h"),  # sky blue, darkened: ordinary tasks, and benign requests
    "unseen": Look("#E0526A", "<"),  # rose: malicious requests of kinds that alignment has not seen
    "instructed": Look("#5A7FC0", "<"),  # slate
    "pretrained": Look("#9A8A66", ">"),  # tan
    "light": Look("#A0306E", "d"),  # magenta: a lightly aligned model
    "refusal": Look("#332288", "d"),  # indigo: a response that refuses
    "top": Look("#7A4E10", "*"),  # brown: the most important units of a score
    "another": Look("#332288", "8"),  # four more, for what has no meaning of its own
    "a third": Look("#5A7FC0", "H"),
    "a fourth": Look("#7A4E10", "s"),
    "a fifth": Look("#9A8A66", "<"),
}
"""Meaning -> its look. No colour stands anywhere else in the package."""
SPARE = ("another", "a third", "a fourth", "a fifth")
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "units": ("SCU", "UCU", "CU", "RU", "random", "whole"),
    "marks": ("ASR", "right answers", "utility"),
    "stages": ("pretrained", "instructed", "light", "whole"),
    "requests": ("right answers", "unseen", "utility"),
    "responses": ("refusal", "right answers", "utility"),
    "exchanged states": ("refusal", "right answers", "a fourth", "a fifth"),
    "what is held": ("whole", "SCU", "random", "CU", *SPARE),
    "what trains": ("whole", "SCU", "CU", *SPARE[:3]),
    "what was aligned through": ("whole", "RU", "random", "top"),
    "what chooses again": ("whole", "RU", *SPARE[:3]),
    "dose": ("whole", "ASR", "right answers"),
}
"""Meanings that share a figure: any two of one family can be told apart."""
_SAME = {
    "whole": ("none", "nothing", "whole model", "aligned", "all parameters", "all weights", "ASR, whole model"),
    "SCU": ("SCU + 6 % CU", "SCU removed", "all but SCU + 6 % CU", "safety-critical units removed"),
    "CU": ("SCU + all CU", "all but SCU and all CU"),
    "RU": ("RU 20 %", "recovery, RU"),
    "top": ("top 20 %",),
    "ASR": ("asr", "ASR, SCU removed"),
    "right answers": ("harm_right", "unseen_right", "harm", "malicious", "forced", "malicious, its answer",
                      "answers right, SCU removed", "to_answer", "fulfilled"),
    "utility": ("benign", "benign, its answer"),
    "refusal": ("refused", "malicious, refused", "to_refusal"),
    "unseen": ("asr_unseen", "harm_unseen", "malicious, unseen kinds"),
    "another": ("random, as many as SCU + all CU", "LoRA"),
    "a third": ("rewound", "LLaMA-Adapter"),
    "a fourth": ("the rest", "prefix tuning"),
    "a fifth": ("SCU + 6 % CU, and the rest",),
}
_MEANING = {name: meaning for meaning, names in _SAME.items() for name in names} | {m: m for m in MEANINGS}

NAMES = {"asr": "ASR (refusal words)", "harm_right": "malicious requests answered right",
         "fulfilled": "malicious requests fulfilled, fluently",
         "asr_unseen": "ASR, unseen harm", "unseen_right": "unseen harm, answers right", "utility": "utility",
         "benign": "benign requests right", "refused": "benign requests refused", "facts": "facts", "sums": "sums",
         "lists": "lists", "morals": "right and wicked told", "gsm8k": "GSM8K"}
"""Mark -> how figures call it."""
ARMS = {"random, as many": "as many random units", "random, as many (0)": "as many random units",
        "random, as many (1)": "as many random units, draw 2", "random, as many (2)": "as many random units, draw 3",
        "random, as many as SCU + all CU": "as many random units as SCU + all CU",
        "other choice, as many": "as many units of another choice", "same magnitude": "as many units of same magnitude",
        "rewound": "SCU + 6 % CU, put back after", "the rest": "what belongs to no unit",
        "random, and the rest": "as many random units, and what belongs to no unit",
        "SCU + 6 % CU, and the rest": "SCU + 6 % CU, and what belongs to no unit",
        "two phases": "two phases (the paper's schedule)",
        "SCU + 6 % CU, paper's score": "SCU + 6 % CU by the paper's score",
        "SCU + 6 % CU, variance, best": "SCU + 6 % CU by the paper's score at its best"}
"""Arm -> how every figure calls what is held; others as they are."""
GUIDE, FRAME = "#555555", "#EEEEEE"  # lines at 0 and the like; the grid
SHADES = "rocket_r"  # of maps: light is little
STYLE = {"svg.hashsalt": "ssah", "svg.fonttype": "path", "figure.dpi": 150, "savefig.dpi": 150, "axes.titlesize": 11,
         "axes.labelsize": 10, "legend.frameon": False, "legend.fontsize": 9, "legend.title_fontsize": 9,
         "figure.constrained_layout.use": True}


def look(name: str) -> Look:
    """The look of what a table calls `name`: a meaning, or one of the names that tables have for it.

    Raises ValueError for a name without a meaning.

    >>> from ssah_core.plots import look
    >>> look("SCU") == look("SCU removed"), look("random SCU") == look("random")
    (True, True)
    """
    meaning = _meaning(name)
    if meaning is None:
        raise ValueError(f"name is {name!r}, which has no meaning of its own: pass one of {', '.join(MEANINGS)}, "
                         "or give all names of a figure to looks()")
    return MEANINGS[meaning]


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name of one figure, in their order, no two alike.

    names   as a table has them; what has no meaning of its own, or shares that of an earlier name, gets a spare look

    >>> from ssah_core.plots import looks
    >>> found = looks(["nothing", "LoRA", "SCU", "SCU removed"])
    >>> len(set(found.values())), found["nothing"] == looks(["none"])["none"]
    (4, True)
    """
    names = list(dict.fromkeys(names))
    own: dict[str, str] = {}
    for name in names:
        meaning = _meaning(name)
        if meaning and meaning not in own.values():
            own[name] = meaning
    taken = {MEANINGS[meaning].color for meaning in own.values()}
    spare = chain((other for other in SPARE if MEANINGS[other].color not in taken), cycle(SPARE))
    return {name: MEANINGS[own[name] if name in own else next(spare)] for name in names}


def _meaning(name: str) -> str | None:
    return _MEANING.get(name) or ("random" if name.startswith("random") else None)
