"""How checkpoints are to be studied, for a whole run: in which precision, and by which arguments of their template."""

from __future__ import annotations

import json
import os
from typing import Any

DTYPES = ("float32", "bfloat16", "float16")
"""All that have a gradient."""
TRAINED_DTYPES = ("float32", "bfloat16")
"""Those in which a checkpoint can be studied, and so trained: in float16 small gradients underflow."""
TODAY = "2024-07-26"
"""The day that a chat template is told which writes the date, whatever day it is: a run that goes on tomorrow must read
the same tokens. It is the day of Llama 3's template where nothing tells it one."""
NO_THINKING = {"enable_thinking": False}
"""Arguments of chat templates unless others are wished: the choice is looked for where the response begins, and models
such as Qwen3 and SmolLM3 would begin with their thoughts. Templates that do not know the name ignore it."""


def wished_dtype() -> str:
    """Precision of checkpoints, from the environment variable SSAH_DTYPE; empty: a checkpoint's own. ValueError for
    another."""
    wish = os.environ.get("SSAH_DTYPE", "")
    if wish not in ("", *TRAINED_DTYPES):
        raise ValueError(f"SSAH_DTYPE is {wish!r}: set it to {' or '.join(TRAINED_DTYPES)}, or leave it unset")
    return wish


def wished_template_kwargs() -> dict[str, Any]:
    """Arguments of checkpoints' chat templates, from the environment variable SSAH_CHAT_TEMPLATE_KWARGS, an object in
    JSON; unset: `NO_THINKING`. ValueError for what is no object."""
    wish = os.environ.get("SSAH_CHAT_TEMPLATE_KWARGS", "")
    return parse_template_kwargs(wish, "SSAH_CHAT_TEMPLATE_KWARGS") if wish else dict(NO_THINKING)


def parse_template_kwargs(text: str, name: str) -> dict[str, Any]:
    """Arguments of a chat template, from JSON. Raises ValueError, with the `name` of their place, if it is no object.

    >>> parse_template_kwargs('{"enable_thinking": false}', "--chat-template-kwargs")
    {'enable_thinking': False}
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f'{name} is {text!r}: give an object in JSON, such as {{"enable_thinking": false}}')
    return found


def wishes() -> dict[str, Any]:
    """All that is wished for checkpoints, as part of what rows are of."""
    dtype = {"dtype": wished_dtype()} if wished_dtype() else {}
    return {**dtype, "chat_template_kwargs": wished_template_kwargs(), "today": TODAY}
