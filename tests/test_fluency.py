"""Fluent fulfilment is no refusal of any list and likely under a reference; the threshold is a percentile, and kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import toys

from ssah_core import judge, list_judges
from ssah_core.judging import FLUENT, NO_REFUSAL, fluent_fulfilment, rows_beside, verdicts_beside
from ssah_core.judging.fluency import BROKEN, FluentFulfilment, is_new
from ssah_core.judging.judges import definition
from ssah_core.judging.keyword_lists import KEYWORD_JUDGES, KeywordJudge, NoRefusal
from ssah_core.records import digest, noting, wilson

TOKENIZER = toys.tokenizer()
SAID = [{"prompt": prompt, "response": response} for prompt, response in (
    ("how do i polish the lantern ?", "take the brush and sweep"), ("lift the kettle", "sure one two three four five"),
    ("how ?", "never"), ("do you mend a basket now ?", "be kind and sweep the kettle"), ("how ?", "mend mend"))]
ANSWERED = [{**row, "response": f"{row['response']} {more}"} for row in SAID for more in ("now", "and", "the", "one")]


@pytest.fixture(scope="module")
def model():
    return toys.model(dtype=torch.float32)


@pytest.fixture
def fluent(model):
    scores = FluentFulfilment(model, TOKENIZER, 0.0).scores(SAID)
    return FluentFulfilment(model, TOKENIZER, sorted(scores)[2] - 1e-4)


def by_hand(model, prompt, response, system=None) -> list[float]:
    """Log-likelihood of each token of a response, by a pass of its own."""
    head, start = toys.rendered(prompt, system=system)
    ids = head + toys.ids(response)
    with torch.no_grad():
        return [float(model(input_ids=torch.tensor([ids[:n]])).logits[0, -1].log_softmax(0)[ids[n]])
                for n in range(start, len(ids))]


# -- no refusal --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEYWORD_JUDGES)
def test_a_phrase_of_any_list_is_a_refusal_as_its_authors_read_it(name):
    for phrase in KEYWORD_JUDGES[name].phrases:
        assert judge([{"response": f"Well, {phrase} so."}, {"response": "Well, so."}], NO_REFUSAL) == [False, True]


def test_case_counts_to_the_lists_that_count_it_and_length_to_none():
    said = [{"response": text} for text in ("i cannot", "sorry", "I\u2019m sorry", "Sure.", "")]
    assert judge(said, NO_REFUSAL) == [False, True, False, True, True]
    assert judge(said, "keyword:wei2024") == [False] * 5  # too short


def test_its_definition_holds_all_lists():
    assert NO_REFUSAL in list_judges() and list(definition(NO_REFUSAL)["lists"]) == list(KEYWORD_JUDGES)
    one = NoRefusal((KeywordJudge(("no",), least_words=9),))
    assert one({"response": "yes"}) and not one({"response": "no"})


# -- fluent fulfilment -------------------------------------------------------------------------------------


def test_a_score_is_the_mean_over_the_response_alone(model):
    rows = [*SAID, {"prompt": "how ?", "response": "mend the basket", "system": "be kind"}]
    found = FluentFulfilment(model, TOKENIZER, 0.0, batch_tokens=30).scores(rows)
    wanted = [np.mean(by_hand(model, row["prompt"], row["response"], row.get("system"))) for row in rows]
    assert found == pytest.approx(wanted, abs=1e-5) and len({round(score, 4) for score in found}) == len(rows)


def test_what_goes_round_in_circles_is_judged_by_what_it_said_first(model):
    assert is_new([7] * 9) == [True] * 4 + [False] * 5 and is_new([1, 2, 3, 4, 5, 1, 2, 3, 4]) == [True] * 8 + [False]
    logs = by_hand(model, "how ?", "sweep " * 20)
    (score,) = FluentFulfilment(model, TOKENIZER, 0.0).scores([{"prompt": "how ?", "response": "sweep " * 20}])
    assert score == pytest.approx(np.mean(logs[:4]), abs=1e-5)


def test_every_row_is_refused_or_fluent_or_broken(fluent):
    rows = [*SAID, *({**row, "response": f"Sorry, {row['response']}"} for row in SAID), {**SAID[0], "response": " "}]
    found = fluent.outcomes(rows)
    assert list(found) == [NO_REFUSAL, FLUENT, BROKEN]
    assert found[NO_REFUSAL] == [True] * 5 + [False] * 5 + [True]
    assert sum(found[FLUENT]) == 3 and [is_fluent or is_broken for is_fluent, is_broken in zip(
        found[FLUENT], found[BROKEN], strict=True)] == found[NO_REFUSAL]
    assert found[BROKEN][-1] and fluent.verdicts(rows) == found[FLUENT] == judge(rows, fluent)


def test_what_follows_the_thinking_is_read(fluent):
    thought = {**SAID[0], "response": f"<think>sorry</think>{SAID[0]['response']}"}
    assert fluent.scores([thought]) == pytest.approx(fluent.scores(SAID[:1]))
    with pytest.warns(UserWarning, match="never got past their thinking"):
        assert fluent.outcomes([{**SAID[0], "response": "<think>sure"}]) == {
            NO_REFUSAL: [False], FLUENT: [False], BROKEN: [False]}


def test_the_threshold_is_a_percentile_of_answers_without_refusals(model):
    refused = [{"prompt": "how ?", "response": "Sorry sorry"}] * 5
    made = fluent_fulfilment(model, TOKENIZER, [*refused, *ANSWERED], progress=False)
    scores = FluentFulfilment(model, TOKENIZER, 0.0).scores(ANSWERED)
    assert made.threshold == pytest.approx(np.percentile(scores, 5), abs=5e-4) and made.chosen["n"] == 20
    assert fluent_fulfilment(model, TOKENIZER, ANSWERED, 50).threshold > made.threshold
    with pytest.raises(ValueError, match="answered has 19 of 24 rows without a refusal.*pass at least 20"):
        fluent_fulfilment(model, TOKENIZER, [*refused, *ANSWERED[1:]])


def test_the_definition_tells_rule_threshold_and_reference_and_the_digest_all_of_it(model, fluent):
    about = fluent.definition
    assert json.loads(json.dumps(about)) == about and {"version", "run", NO_REFUSAL, "threshold"} <= set(about)
    others = [replace(fluent, threshold=-1.0), replace(fluent, chosen={"percentile": 5.0}),
              replace(fluent, model=toys.model(seed=1, dtype=torch.float32))]
    assert len({fluent.digest, *(other.digest for other in others)}) == 4
    assert FluentFulfilment(model, TOKENIZER, fluent.threshold).digest == fluent.digest


def test_a_definition_is_kept_and_read_with_its_reference_alone(model, tmp_path):
    made = fluent_fulfilment(model, TOKENIZER, ANSWERED, progress=False)
    made.save(tmp_path / "fluent.json")
    again = FluentFulfilment.load(tmp_path / "fluent.json", model, TOKENIZER)
    assert again.definition == made.definition and "brush" not in (tmp_path / "fluent.json").read_text()
    with pytest.raises(ValueError, match="defines a judge of another reference: pass the reference that it was made"):
        FluentFulfilment.load(tmp_path / "fluent.json", toys.model(seed=1, dtype=torch.float32), TOKENIZER)
    for text in ("[]", "{}", "7", "{"):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(ValueError, match="odd.json"):
            FluentFulfilment.load(tmp_path / "odd.json", model, TOKENIZER)


def test_a_definition_is_written_over_another_and_over_no_file_of_somebody_else(fluent, tmp_path):
    fluent.save(tmp_path / "fluent.json")
    fluent.save(tmp_path / "fluent.json")
    (tmp_path / "mine.json").write_text('{"precious": 1}')
    with pytest.raises(ValueError, match="mine.json is there, and no file of ssah's: give another name"):
        fluent.save(tmp_path / "mine.json")
    assert (tmp_path / "mine.json").read_text() == '{"precious": 1}'


def test_what_it_rests_on_is_noted_by_its_rule(fluent):
    with noting() as names:
        fluent.verdicts(SAID)
    assert names == {"judge/fluent fulfilment", "judge/no refusal"}
    assert definition(FLUENT)[NO_REFUSAL] == definition(NO_REFUSAL)


def test_by_its_name_alone_it_cannot_judge():
    with pytest.raises(ValueError, match="judge 'fluent fulfilment' asks a model: make one with .*fluent_fulfilment"):
        judge(SAID, FLUENT)


@pytest.mark.parametrize("changes, says", [
    ({"model": None}, "model is None"), ({"tokenizer": "name"}, "tokenizer"), ({"threshold": float("nan")}, "thresh"),
    ({"threshold": "low"}, "threshold='low'"), ({"chosen": 5}, "chosen is 5"), ({"batch_tokens": 0}, "batch_tokens=0")])
def test_a_judge_that_cannot_be_is_refused(changes, says, model):
    with pytest.raises(ValueError, match=says):
        FluentFulfilment(**{"model": model, "tokenizer": TOKENIZER, "threshold": -3.0, **changes})


@pytest.mark.parametrize("rows, says", [
    ([{"response": "sure"}], "row 1 is .*without a text as prompt: pass completions"),
    ([SAID[0], {"prompt": "how ?", "response": 7}], "row 2 .*response"),
    ([{"prompt": "how ?", "response": "the " * 70}], "the longest row has 7. tokens, but the model's context holds")])
def test_rows_that_cannot_be_scored_are_refused(rows, says, fluent):
    with pytest.raises(ValueError, match=says):
        fluent.scores(rows)


@pytest.mark.parametrize("percentile", [-1, 101, float("nan"), "5", None])
def test_what_is_no_percentile_is_refused(percentile, model):
    with pytest.raises(ValueError, match="percentile"):
        fluent_fulfilment(model, TOKENIZER, ANSWERED, percentile)


# -- side by side ------------------------------------------------------------------------------------------


def test_judges_stand_side_by_side_in_rows_without_text(fluent):
    rows = [*SAID, {"prompt": "how ?", "response": "Sorry"}]
    found, table = verdicts_beside(rows, fluent), rows_beside(rows, fluent, seed=3, state="aligned")
    assert list(found) == [*KEYWORD_JUDGES, NO_REFUSAL, FLUENT, BROKEN] == [row["by"] for row in table]
    for row in table:
        low, high = wilson(sum(found[row["by"]]), 6)
        assert (row["value"], row["n"], row["seed"]) == (100 * sum(found[row["by"]]) / 6, 6, 3)
        assert (row["low"], row["high"]) == (100 * low, 100 * high)
    by = {row["by"]: row for row in table}
    assert by[BROKEN]["metric"] == BROKEN and by[BROKEN]["judge"] == FLUENT and by[FLUENT]["metric"] == "fulfilled"
    assert by[BROKEN]["definition"] == by[FLUENT]["definition"] == fluent.digest
    assert by["keyword:qi2023"]["definition"] == digest(definition("keyword:qi2023"))
    assert by[NO_REFUSAL]["value"] == pytest.approx(by[FLUENT]["value"] + by[BROKEN]["value"])
    assert not {"brush", "kettle", "Sorry"} & set(json.dumps(table).split())
    assert [row["by"] for row in rows_beside(rows)] == [*KEYWORD_JUDGES, NO_REFUSAL]
    with pytest.raises(ValueError, match="completions is empty"):
        rows_beside([])
