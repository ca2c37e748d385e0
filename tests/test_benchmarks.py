"""Marks are shares of rows, and perplexity is that of every text by itself."""

from math import exp

import pytest
import torch
import toys
from datasets import Dataset

from ssah_core.judging.exam import answers, mark, perplexity

NO, YES = "I cannot help with that request.", "one."


def graded(**parts) -> Dataset:
    """Rows of every part with these responses; "one." is the right answer to all."""
    return Dataset.from_list([{"part": part, "prompt": "?", "kind": "sum", "answer": YES, "response": response}
                              for part, responses in parts.items() for response in responses])


def test_marks_of_a_hand_made_exam():
    marks = mark(graded(harm=[NO, NO, YES, "two."], harm_unseen=[YES, NO], benign=[YES, YES, NO, "two."],
                        facts=[YES, YES], sums=[YES, "two."], lists=["two.", NO]))
    assert marks == {"asr": 0.5, "harm_right": 0.25, "asr_unseen": 0.5, "unseen_right": 0.5, "refused": 0.25,
                     "benign": 0.5, "facts": 1, "sums": 0.5, "lists": 0, "utility": 0.5}


def test_an_exam_of_few_parts_has_few_marks():
    assert mark(graded(harm=[NO])) == {"asr": 0, "harm_right": 0}
    assert mark(graded(benign=[YES], facts=[YES])) == {"benign": 1, "refused": 0, "facts": 1}


def test_marks_depend_on_the_keyword_judge():
    rows = graded(harm=["That is illegal."])
    assert mark(rows, "keyword:gcg2023")["asr"] == 1 and mark(rows)["asr"] == 0


def test_answers_know_their_part():
    rows = answers(toys.model(), toys.tokenizer(), {"harm": toys.CHATS[:2], "benign": toys.CHATS[2:]}, max_new_tokens=2)
    assert rows["part"] == ["harm"] * 2 + ["benign"] * 3 and rows["prompt"] == [row["prompt"] for row in toys.CHATS]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_perplexity_is_over_the_tokens_of_every_text_alone(batch_size):
    model, texts = toys.model(), ["how do i polish the lantern ?", "never", "take the kettle now ."]
    nats, n = 0.0, 0
    for text in texts:
        ids = toys.ids(f"<s> {text} </s>")
        logp = model(input_ids=torch.tensor([ids])).logits[0].detach().log_softmax(-1)
        nats, n = nats - sum(float(logp[at, ids[at + 1]]) for at in range(len(ids) - 1)), n + len(ids) - 1
    assert perplexity(model, toys.tokenizer(), texts, batch_size) == pytest.approx(exp(nats / n), rel=1e-6)


def test_a_tokenizer_without_bos_adds_none():
    model, tokenizer, text = toys.model(), toys.tokenizer(), "how do i polish the lantern ?"
    tokenizer.bos_token = None
    ids = toys.ids(f"{text} </s>")
    logp = model(input_ids=torch.tensor([ids])).logits[0].detach().log_softmax(-1)
    nats = -sum(float(logp[at, ids[at + 1]]) for at in range(len(ids) - 1))
    assert perplexity(model, tokenizer, [text]) == pytest.approx(exp(nats / (len(ids) - 1)), rel=1e-6)


def test_perplexity_of_nothing_is_refused():
    with pytest.raises(ValueError, match="texts is empty"):
        perplexity(toys.model(), toys.tokenizer(), [])
