"""Judges of responses, exams of many questions, and published measures of utility: completions in, shares out."""

from .choices import CHOICE_TASKS, answer_choices, choice_logs
from .exam import (
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
from .judges import (
    DEFAULT_KEYWORDS,
    STRICTER,
    definition,
    judge,
    list_judges,
    plain_words,
    rate,
    raw_rate,
    refusals,
)
