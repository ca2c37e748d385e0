"""Judges of responses, exams of many questions, and published measures of utility: completions in, shares out."""

from .exam import PUBLISHED_JUDGES, PUBLISHED_UTILITY, RAW, UTILITY, answers, mark, mark_published, perplexity
from .judges import DEFAULT_KEYWORDS, STRICTER, definition, judge, plain_words, rate, raw_rate, refusals
