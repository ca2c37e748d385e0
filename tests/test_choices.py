"""Choices by likelihood: token by token as by hand, on the same items what lm-evaluation-harness finds."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
import toys

import ssah_core.data
from ssah_core import hub, load_data
from ssah_core.data.catalogue import SOURCES
from ssah_core.judging import CHOICE_TASKS, answer_choices, choice_logs, shares
from ssah_core.judging.choices import continued
from ssah_core.models import token_logs
from ssah_core.models.likelihood import _alike

TOKENIZER = toys.tokenizer()
ASKED = {
    "piqa": [{"prompt": "polish the lantern", "choices": ["take the brush and sweep", "never"], "answer": "never"},
             {"prompt": "lift", "choices": ["one", "two three four"], "answer": "one"}],
    "openbookqa": [{"prompt": "the kettle", "choices": ["do", "be kind", "sure", "you ?"], "answer": "sure"}],
    "winogrande": [{"prompt": "mend the _ and sweep .", "choices": ["basket", "a lantern"], "answer": "basket"}],
    "boolq": [{"prompt": "do you polish", "context": "i polish .", "choices": ["no", "yes"], "answer": "no"}]}


@pytest.fixture(scope="module")
def model():
    return toys.model(dtype=torch.float32)


def by_hand(model, ids, start):
    """Every token by a pass of its own."""
    with torch.no_grad():
        return [float(model(input_ids=torch.tensor([ids[:n]])).logits[0, -1].double().log_softmax(0)[ids[n]])
                for n in range(start, len(ids))]


# -- likelihoods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("batch_tokens", [1, 20, 1000])
def test_tokens_of_rows_have_the_likelihood_of_a_pass_each(family, batch_tokens):
    model, random = toys.model(family), Random(0)
    rows = [([random.randrange(7, 30) for _ in range(length)], start)
            for length, start in ((2, 1), (9, 4), (9, 1), (5, 4), (1, 1), (12, 11))]
    found = token_logs(model, rows, 2, batch_tokens=batch_tokens)
    for (ids, start), logs in zip(rows, found, strict=True):
        assert logs.tolist() == pytest.approx(by_hand(model, ids, start), abs=1e-6) and logs.dtype == torch.float64


def test_rows_of_about_one_length_are_read_together():
    rows = [([0] * length, 1) for length in (3, 9, 4, 2, 9, 40)]
    assert list(_alike(rows, 20)) == [[5], [1, 4], [2, 0, 3]] and list(_alike([], 20)) == []


def test_a_row_that_does_not_fit_is_refused(model):
    with pytest.raises(ValueError, match="the longest row has 65 tokens, but the model's context holds 64: shorten"):
        token_logs(model, [([7] * 65, 1)], 2)


def test_a_text_goes_on_where_its_context_ends():
    assert continued(TOKENIZER, "polish the ", "lantern .") == (toys.ids("polish the lantern ."), 2)
    for pair in (("polish", " "), ("", "polish"), ("  ", "polish")):
        with pytest.raises(ValueError, match="is no token behind .*: pass a context and a continuation, each of at"):
            continued(TOKENIZER, *pair)


# -- tasks -------------------------------------------------------------------------------------------------


def test_questions_are_put_as_the_harness_puts_them(model):
    said = {"piqa": ("<unk> polish the lantern <unk>", "never"), "openbookqa": ("the kettle", "be kind"),
            "winogrande": ("mend the a lantern", "and sweep ."),
            "boolq": ("i polish . <unk> do you <unk> <unk>", "<unk>")}
    for name, (context, choice) in said.items():
        logs = choice_logs(model, TOKENIZER, {name: ASKED[name]}, progress=False)[name][0][1]
        head = toys.ids(context)
        assert logs == pytest.approx(sum(by_hand(model, head + toys.ids(choice), len(head))), abs=1e-4), name


def test_the_likeliest_is_chosen_by_character_where_the_task_says_so():
    item = {"choices": ["abcdefgh", "ab"]}
    assert CHOICE_TASKS["openbookqa"].chosen(item, [-4.0, -2.0]) == "abcdefgh"
    assert CHOICE_TASKS["winogrande"].chosen(item, [-4.0, -2.0]) == "ab"
    assert CHOICE_TASKS["winogrande"].chosen(item, [-2.0, -2.0]) == "abcdefgh"


def test_outcomes_are_those_of_the_likelihoods_and_give_marks(model):
    logs, found = choice_logs(model, TOKENIZER, ASKED), answer_choices(model, TOKENIZER, ASKED, batch_tokens=7)
    assert found == {name: [CHOICE_TASKS[name].chosen(item, those) == item["answer"]
                            for item, those in zip(ASKED[name], logs[name], strict=True)] for name in ASKED}
    marks = shares(found, tuple(found))
    assert marks["utility"] == pytest.approx(sum(marks[name] for name in ASKED) / 4)


def test_every_task_is_a_data_set():
    assert {"prompt", "choices", "answer"} <= set.intersection(*(set(SOURCES[name].layouts[0].columns)
                                                                 for name in CHOICE_TASKS))


@pytest.mark.parametrize("items, says", [
    ({"hellaswag": ASKED["piqa"]}, "items='hellaswag' is unknown: choose one of arc_easy"),
    ({"piqa": []}, r"piqa is \[\] \(list\): pass questions with choices"), (["piqa"], r"items is \['piqa'\] \(list\)"),
    ({"piqa": ["how"]}, "piqa question 1 is 'how': give it a prompt, at least two choices"),
    ({"piqa": [*ASKED["piqa"], {**ASKED["piqa"][0], "answer": "sure"}]}, "piqa question 3 is .*one of them as its"),
    ({"piqa": [{**ASKED["piqa"][0], "choices": ["never"]}]}, "piqa question 1 is"),
    ({"piqa": [{**ASKED["piqa"][0], "choices": "never"}]}, "piqa question 1 is"),
    ({"boolq": [{**ASKED["boolq"][0], "context": None}]}, "boolq question 1 is .*, and a context"),
    ({"winogrande": ASKED["piqa"]}, "winogrande question 1 has no '_' in its prompt 'polish the lantern': put one")])
def test_what_is_no_question_with_choices_is_refused(items, says, model):
    with pytest.raises(ValueError, match=says):
        answer_choices(model, TOKENIZER, items)


# -- the harness -------------------------------------------------------------------------------------------


def questions(name: str, n: int) -> list[dict]:
    """Questions of random words in the layout of the hub."""
    random = Random(name)

    def words(most: int) -> str:
        return " ".join(random.choices(toys.WORDS, k=random.randint(1, most)))

    rows = []
    for _ in range(n):
        texts = list(dict.fromkeys(words(5) for _ in range(random.choice((3, 4, 5)))))
        right = random.randrange(2)
        choices = {"text": texts, "label": list("ABCDE"[:len(texts)])}
        arc = {"question": words(9), "choices": choices, "answerKey": "AB"[right]}
        rows.append({"arc_easy": arc, "arc_challenge": arc,
                     "openbookqa": {"question_stem": f"{words(9)} ", "choices": choices, "answerKey": "AB"[right]},
                     "piqa": {"goal": words(9), "sol1": f"{texts[0]} ", "sol2": texts[1], "label": right},
                     "winogrande": {"sentence": f"{words(5)} _ {words(5)}", "option1": texts[0], "option2": texts[1],
                                    "answer": "12"[right]},
                     "boolq": {"passage": words(9), "question": words(5), "label": right}}[name])
    return rows


@pytest.mark.parametrize("name, folder", [("arc_easy", "arc/arc_easy"), ("arc_challenge", "arc/arc_challenge"),
                                          ("openbookqa", "openbookqa/openbookqa"),
                                          ("piqa", "piqa/piqa"), ("winogrande", "winogrande/default"),
                                          ("boolq", "super_glue/boolq/default")])
def test_marks_and_likelihoods_are_those_of_the_harness(name, folder, model, tmp_path, monkeypatch):
    """Its own file of the task, with our questions in the place of the hub's."""
    lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (extra: eval)")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    asked, data = questions(name, 40), tmp_path / "asked.json"
    data.write_text(json.dumps(asked))
    (tmp_path / "here.yaml").write_text(
        f"include: {Path(lm_eval.__file__).parent / 'tasks' / folder}.yaml\ntask: here\ntag: null\n"
        f"dataset_path: json\ndataset_name: null\ndataset_kwargs:\n  data_files: {data}\n"
        "training_split: null\nvalidation_split: null\ntest_split: train\n")
    manager = TaskManager(include_defaults=False, include_path=str(tmp_path))
    with hub.offline():  # to read a file, datasets would tell the hub of it
        theirs = lm_eval.simple_evaluate(HFLM(pretrained=model, tokenizer=TOKENIZER, batch_size=8), tasks=["here"],
                                         task_manager=manager, bootstrap_iters=0)
    monkeypatch.setenv("SSAH_DATA", "")
    monkeypatch.setattr(ssah_core.data.load, "load_dataset", lambda *args, **more: asked)
    items = {name: load_data(name).to_list()}
    samples = sorted(theirs["samples"]["here"], key=lambda sample: sample["doc_id"])
    logs = [[float(response[0][0]) for response in sample["resps"]] for sample in samples]
    assert len(logs) == 40
    for mine, harness in zip(choice_logs(model, TOKENIZER, items)[name], logs, strict=True):
        assert mine == pytest.approx(harness, abs=1e-4)
    metric = "acc_norm" if CHOICE_TASKS[name].by_length else "acc"
    right = answer_choices(model, TOKENIZER, items)[name]
    assert 0 < sum(right) < 40 and sum(right) / 40 == theirs["results"]["here"][f"{metric},none"]
    assert right == [bool(sample[metric]) for sample in samples]
