"""Questions with choices, from their publishers' layouts to rows of `prompt`, `choices` and `answer`, the right choice.

LLM-Adapters (Hu et al. 2023) keep the evaluation splits as instructions in running text; the hub keeps columns. Of both
come the same rows, so that marks do not depend on where a set was had.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..arguments import shown

RENDERED = re.compile(r"Please choose the correct [^:]*: (.*)\n\n(Answer|Solution|Option)1: (.*?)(?:\n\n| )"
                      r"Answer format: \S+", re.DOTALL)
BETWEEN = {"Answer": " ", "Solution": "\n\n", "Option": " "}
"""Kind of choice -> what stands between two of them."""


def rendered(row: Mapping[str, Any]) -> dict[str, Any]:
    """A question of LLM-Adapters: its `instruction` holds question and choices, its `answer` names one of them.

    Raises ValueError for another text, or an answer that is none of the choices.

    >>> rendered({"instruction": "Please choose the correct answer to the question: Why?\\n\\nAnswer1: So. Answer2: "
    ...                          "Not so.\\n\\nAnswer format: answer1/answer2", "answer": "answer2"})
    {'prompt': 'Why?', 'choices': ['So.', 'Not so.'], 'answer': 'Not so.'}
    """
    found = RENDERED.fullmatch(row["instruction"])
    if not found:
        raise ValueError(f"its instruction is {shown(row['instruction'])}, which holds no question with numbered "
                         "choices")
    question, kind, told = found.groups()
    first, *rest = re.split(rf"{BETWEEN[kind]}{kind}(\d+): ", told)
    numbers, choices = rest[::2], [first, *rest[1::2]]
    names = [f"{kind.lower()}{n}" for n in range(1, len(choices) + 1)]
    if numbers != [name[len(kind):] for name in names[1:]]:
        raise ValueError(f"its choices are numbered 1, {', '.join(numbers)}")
    return _row(question, choices, names, row["answer"])


def lettered(row: Mapping[str, Any]) -> dict[str, Any]:
    """A question of ARC or OpenBookQA, as the hub has it: `choices` of text and label, `answerKey` the right label.

    >>> lettered({"question_stem": "Why?", "choices": {"text": ["So.", "Not so."], "label": ["A", "B"]},
    ...           "answerKey": "A"})
    {'prompt': 'Why?', 'choices': ['So.', 'Not so.'], 'answer': 'So.'}
    """
    choices = row["choices"] if isinstance(row["choices"], Mapping) else {}
    question = row["question"] if "question" in row else row["question_stem"]
    return _row(question, choices.get("text"), choices.get("label"), str(row["answerKey"]).strip())


def of_piqa(row: Mapping[str, Any]) -> dict[str, Any]:
    """A question of PIQA, as the hub has it.

    >>> of_piqa({"goal": "Mend a kettle", "sol1": "Solder it.", "sol2": "Sing.", "label": 0})["answer"]
    'Solder it.'
    """
    return _row(row["goal"], [row["sol1"], row["sol2"]], ["0", "1"], str(row["label"]))


def of_winogrande(row: Mapping[str, Any]) -> dict[str, Any]:
    """A sentence of WinoGrande, as the hub has it, with "_" where the right choice stands.

    >>> of_winogrande({"sentence": "The _ shone.", "option1": "lamp", "option2": "fog", "answer": "1"})["answer"]
    'lamp'
    """
    return _row(row["sentence"], [row["option1"], row["option2"]], ["1", "2"], str(row["answer"]))


def of_boolq(row: Mapping[str, Any]) -> dict[str, Any]:
    """A question of BoolQ about a passage, its `context`; `label` (SuperGLUE) or `answer` (BoolQ) is its truth.

    >>> of_boolq({"passage": "Wax shines.", "question": "does wax shine", "label": True})["answer"]
    'yes'
    """
    truth = row["label"] if "label" in row else row["answer"]
    made = _row(row["question"], ["no", "yes"], ["0", "1"], str(int(truth)) if truth in (0, 1) else str(truth))
    if not isinstance(row["passage"], str) or not row["passage"].strip():
        raise ValueError("it has no passage")
    return {"prompt": made["prompt"], "context": row["passage"], "choices": made["choices"], "answer": made["answer"]}


def _row(question: Any, choices: Any, names: Any, right: str) -> dict[str, Any]:
    """A row of ours. Raises ValueError if a text is missing, two choices are the same, or none is the right one."""
    lists = isinstance(choices, Sequence) and isinstance(names, Sequence) and len(choices) == len(names) > 1
    if not lists or not all(isinstance(text, str) and text.strip() for text in (question, *choices)):
        raise ValueError(f"its question is {shown(question)} and its choices are {shown(choices)}, but each is to be a "
                         "text")
    if len(set(choices)) < len(choices):
        raise ValueError(f"two of its choices are the same: {shown(choices)}")
    if right not in names:
        raise ValueError(f"its answer is {shown(right)}, none of {', '.join(names)}")
    return {"prompt": question, "choices": list(choices), "answer": choices[list(names).index(right)]}
