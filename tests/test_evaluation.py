"""Perplexity is that of every window token by token; tasks of the harness run on the model object."""

import json
import math
import sys

import pytest
import torch
import toys

from ssah_core import evaluate, token_perplexity
from ssah_core.judging.utility import PAPER_TASKS, _marks

TOKENIZER = toys.tokenizer()
TEXTS = ["how do i polish the lantern ? take the brush", "and sweep now . lift a kettle", "mend the basket never",
         "one two"]


@pytest.fixture(scope="module")
def model():
    return toys.model()


def token_by_token(model, ids: list[int], length: int) -> float:
    """Every token of every window predicted by itself."""
    losses = []
    for start in range(0, len(ids) - length + 1, length):
        window = ids[start:start + length]
        for n in range(1, length):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([window[:n]])).logits[0, -1]
            losses.append(-float(logits.log_softmax(0)[window[n]]))
    return math.exp(sum(losses) / len(losses))


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("length, batch_size", [(2, 3), (4, 1), (5, 2), (23, 1)])
def test_perplexity_is_that_of_every_window_token_by_token(family, length, batch_size):
    model, ids = toys.model(family), toys.ids(" ".join(TEXTS))
    found = token_perplexity(model, TOKENIZER, TEXTS, length=length, batch_size=batch_size)
    assert found.value == pytest.approx(token_by_token(model, ids, length), rel=1e-6)
    assert len(ids) == 23 and (found.windows, found.left_over) == (23 // length, 23 % length)
    assert found.predicted == found.windows * (length - 1) and found.length == length


def test_only_so_many_windows_are_read(model):
    ids = toys.ids(" ".join(TEXTS))
    found = token_perplexity(model, TOKENIZER, TEXTS, length=4, most=2)
    assert found.windows == 2 and found.value == pytest.approx(token_by_token(model, ids[:8], 4), rel=1e-6)


def test_texts_are_joined_as_asked(model):
    joined = token_perplexity(model, TOKENIZER, TEXTS, length=4, joint=" . ")
    assert joined.value == pytest.approx(token_by_token(model, toys.ids(" . ".join(TEXTS)), 4), rel=1e-6)


def test_perplexity_leaves_the_mode_of_the_model(model):
    model.train()
    token_perplexity(model, TOKENIZER, TEXTS, length=4)
    assert model.training
    model.eval()


def test_windows_that_cannot_be_are_refused(model):
    for length in (1, 65):
        with pytest.raises(ValueError, match=f"length={length} is no window of this model: choose 2 to 64"):
            token_perplexity(model, TOKENIZER, TEXTS, length=length)
    with pytest.raises(ValueError, match="texts have 2 tokens, less than one window of length=4: give more text"):
        token_perplexity(model, TOKENIZER, ["one two"], length=4)


# -- the harness -------------------------------------------------------------------------------------------

QUESTIONS = [("how do i polish the lantern ?", ["take the brush", "never"], 0),
             ("lift the kettle", ["sure", "sorry"], 1), ("mend the basket", ["one two", "three"], 1),
             ("sweep now", ["a basket .", "the kettle ."], 0),
             ("do you ?", ["now", "never now"], 1)]


def likelihood(model, asked: str, choice: str) -> float:
    head, tail = toys.ids(asked), toys.ids(choice)
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([head + tail])).logits[0].log_softmax(1)
    return sum(float(logs[len(head) + n - 1, token]) for n, token in enumerate(tail))


def test_a_task_of_ones_own_is_marked_as_by_hand(model, tmp_path):
    tasks = pytest.importorskip("lm_eval.tasks", reason="lm-evaluation-harness is not installed (extra: eval)")
    file = tmp_path / "questions.json"
    file.write_text(json.dumps([dict(zip(("asked", "choices", "label"), row, strict=True)) for row in QUESTIONS]))
    task = {"task": "lanterns", "dataset_path": "json", "dataset_kwargs": {"data_files": str(file)},
            "test_split": "train", "output_type": "multiple_choice", "doc_to_text": "{{asked}}",
            "doc_to_choice": "{{choices}}", "doc_to_target": "{{label}}",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]}
    manager = tasks.TaskManager(include_defaults=False)
    right = [(likelihood(model, asked, one) < likelihood(model, asked, other)) == label
             for asked, (one, other), label in QUESTIONS]
    for limit in (None, 3):
        (row,) = evaluate(model, TOKENIZER, [task], limit=limit, task_manager=manager).to_dict("records")
        assert row["task"] == "lanterns" and row["metric"] == "acc" and row["n"] == (limit or 5)
        assert row["value"] == pytest.approx(sum(right[:limit]) / (limit or 5))
    assert 0 < sum(right) < 5


def test_an_unknown_task_is_refused(model):
    tasks = pytest.importorskip("lm_eval.tasks", reason="lm-evaluation-harness is not installed (extra: eval)")
    with pytest.raises(ValueError, match="the harness has no task .*no_such_task"):
        evaluate(model, TOKENIZER, ["no_such_task"], task_manager=tasks.TaskManager(include_defaults=False))


def test_without_the_harness_it_is_said_how_to_get_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ValueError, match=r"cannot be imported .*install it with pip install 'ssah\[eval\]'"):
        evaluate(model, TOKENIZER)


def test_results_of_the_harness_become_rows():
    found = {"results": {"boolq": {"alias": "boolq", "acc,none": 0.75, "acc_stderr,none": 0.1},
                         "gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.5,
                                   "exact_match_stderr,strict-match": "N/A", "exact_match,flexible-extract": 1,
                                   "exact_match_stderr,flexible-extract": 0.2}},
             "n-samples": {"boolq": {"original": 3270, "effective": 200}}}
    assert _marks(found) == [
        {"task": "boolq", "metric": "acc", "filter": "none", "value": 0.75, "stderr": 0.1, "n": 200},
        {"task": "gsm8k", "metric": "exact_match", "filter": "strict-match", "value": 0.5, "stderr": None, "n": None},
        {"task": "gsm8k", "metric": "exact_match", "filter": "flexible-extract", "value": 1.0, "stderr": 0.2,
         "n": None}]


def test_the_tasks_of_the_paper_are_its_six():
    assert sorted(PAPER_TASKS) == ["arc_challenge", "boolq", "hellaswag", "openbookqa", "rte", "winogrande"]


@pytest.mark.parametrize("tasks", ["boolq", []])
def test_tasks_are_a_list(model, tasks, monkeypatch):
    monkeypatch.setattr("ssah_core.judging.utility._harness", lambda: (None, None))
    with pytest.raises(ValueError, match="is no list of tasks: give one such as"):
        evaluate(model, TOKENIZER, tasks)
