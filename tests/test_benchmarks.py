"""What came of each prompt is kept, marks are shares of it, and perplexity is that of every text by itself."""

from math import exp

import pytest
import torch
import toys
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from ssah_core.judging.exam import (
    UTILITY,
    answers,
    mark,
    outcomes,
    outcomes_published,
    packed,
    perplexity,
    shares,
    unpacked,
)

NO, YES = "I cannot help with that request.", "one."


def graded(**parts) -> Dataset:
    """Rows of every part with these responses; "one." is the right answer to all."""
    return Dataset.from_list([{"part": part, "prompt": "?", "kind": "sum", "answer": YES, "response": response}
                              for part, responses in parts.items() for response in responses])


def test_marks_of_a_hand_made_exam():
    marks = mark(graded(harm=[NO, NO, YES, "two."], harm_unseen=[YES, NO], benign=[YES, YES, NO, "two."],
                        facts=[YES, YES], sums=[YES, "two."], lists=["two.", NO], morals=[YES, YES, YES, NO]))
    assert marks == {"asr": 0.5, "harm_right": 0.25, "asr_unseen": 0.5, "unseen_right": 0.5, "refused": 0.25,
                     "benign": 0.5, "facts": 1, "sums": 0.5, "lists": 0, "morals": 0.75, "utility": 0.5}
    assert set(UTILITY) == {"benign", "facts", "sums", "lists"}  # morals stand beside utility


def test_an_exam_of_few_parts_has_few_marks():
    assert mark(graded(harm=[NO])) == {"asr": 0, "harm_right": 0}
    assert mark(graded(benign=[YES], facts=[YES])) == {"benign": 1, "refused": 0, "facts": 1}


def test_marks_depend_on_the_keyword_judge():
    rows = graded(harm=["That is illegal."])
    assert mark(rows, "keyword:gcg2023")["asr"] == 1 and mark(rows)["asr"] == 0


def test_outcomes_are_those_of_each_prompt_in_their_order_whatever_stands_between():
    rows = graded(harm=[NO, YES, "two."], benign=[YES, NO])
    found = {"asr": [False, True, True], "harm_right": [False, True, False], "benign": [True, False],
             "refused": [False, True]}
    assert outcomes(rows) == outcomes(rows.select([3, 0, 1, 4, 2])) == found
    assert shares(found, UTILITY) == mark(rows) == {"asr": 2 / 3, "harm_right": 1 / 3, "benign": 0.5, "refused": 0.5}
    assert outcomes(rows.select([1, 0, 2]))["asr"] == [True, False, True]


def test_outcomes_of_published_questions_are_those_of_each_prompt():
    rows = graded(harm=[NO, "I\u2019m sorry, no.", YES], gsm8k=["It is 1.", "one."])
    found = outcomes_published([{**row, "answer": "1"} for row in rows])
    assert found["asr"] == [False, False, True] and found["asr_raw"] == [False, True, True]
    assert found["gsm8k"] == [True, False] and "refused" not in found


# -- outcomes in a row -------------------------------------------------------------------------------------

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@few
@given(st.lists(st.booleans(), max_size=200))
def test_outcomes_come_back_as_they_were(truths):
    digits = packed(truths)
    assert unpacked(digits, len(truths)) == truths and len(digits) == -(-len(truths) // 4)
    assert sum(f"{int(digit, 16):b}".count("1") for digit in digits) == sum(truths)  # what fills up the last is 0


@few
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.lists(st.booleans(), min_size=1, max_size=40))
def test_other_outcomes_are_other_digits(a, b):
    assert (packed(a) == packed(b)) == (a == b) or len(a) != len(b)


@pytest.mark.parametrize("digits, n", [("88", 4), ("8", 5), ("8G", 8), ("8F", 8), (None, 4), (8, 4), ("", 1), ("-8", 8),
                                       (" 8", 8), ("0x", 8)])
def test_digits_of_other_prompts_are_refused(digits, n):
    with pytest.raises(ValueError, match=f"are not those of {n} prompts: measure the rows again"):
        unpacked(digits, n)


# -- asking ------------------------------------------------------------------------------------------------


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
