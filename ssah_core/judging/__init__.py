"""Judges of responses, exams of many questions, and published measures of utility: completions in, shares out."""

from .agreement import agreement, drawn, judged
from .beside import rows_beside, verdicts_beside
from .choices import CHOICE_TASKS, answer_choices, choice_logs, likeliest
from .exam import (
    LIKELIEST,
    PUBLISHED_JUDGES,
    PUBLISHED_UTILITY,
    RAW,
    UTILITY,
    Outcomes,
    answers,
    mark,
    outcomes,
    outcomes_published,
    packed,
    perplexity,
    shares,
    shares_published,
    unpacked,
)
from .fluency import BROKEN, FluentFulfilment, fluent_fulfilment
from .judges import (
    DEFAULT_KEYWORDS,
    FLUENT,
    NO_REFUSAL,
    STRICTER,
    definition,
    judge,
    list_judges,
    plain_words,
    rate,
    raw_rate,
    refusals,
)
from .keyword_lists import KEYWORD_JUDGES
