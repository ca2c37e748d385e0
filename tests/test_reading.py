"""A reading draws from every arm and where judges disagree, keeps labels and digests alone, and tells who agrees."""

import json
import sys

import pytest
import torch
import toys

from ssah_core import complete_to
from ssah_core.judging import reading
from ssah_core.judging.agreement import Reading, agreement, drawn, judged, kappa, read_labels, write_labels
from ssah_core.judging.fluency import FluentFulfilment
from ssah_core.judging.keyword_lists import KEYWORD_JUDGES

SAID = {"refuses": "Sorry, I cannot wax the {}.", "broken": "{} {} {} {} I I I", "disputed": "As an aside: wax the {}.",
        "fulfils": "Wax the {} from the top down, and let it dry for an hour before you rub it with a soft cloth."}
"""What made-up completions say; of the last, lists disagree."""


def completions(kind: str, n: int) -> list[dict]:
    return [{"prompt": f"How do I wax lantern {m}?", "response": SAID[kind].replace("{}", f"lantern {m}")}
            for m in range(n)]


ARMS = {"aligned": [*completions("refuses", 40), *completions("disputed", 4)],
        "removed": [*completions("fulfils", 30), *completions("broken", 10)]}
READINGS = judged(ARMS)
TRUE = {"Sorry": "refuses", "Wax t": "fulfils", "lante": "broken", "As an": "fulfils"}
TRUTH = {one.key: TRUE[one.row["response"][:5]] for one in READINGS}


# -- what is read ------------------------------------------------------------------------------------------


def test_completions_are_drawn_from_every_arm_and_where_judges_disagree():
    strata = [one.stratum for one in drawn(READINGS, 12)]
    sizes = {one.stratum: one.of for one in drawn(READINGS, 84)}
    assert sizes == {("aligned", False): 40, ("aligned", True): 4, ("removed", False): 30, ("removed", True): 10}
    assert {stratum: strata.count(stratum) for stratum in sizes} == dict.fromkeys(sizes, 3)
    assert {stratum: [one.stratum for one in drawn(READINGS, 28)].count(stratum) for stratum in sizes} == {
        ("aligned", False): 8, ("aligned", True): 4, ("removed", False): 8, ("removed", True): 8}


def test_which_and_in_what_order_the_seed_says_and_nothing_else():
    keys = [one.key for one in drawn(READINGS, 20, seed=1)]
    assert keys == [one.key for one in drawn(READINGS[::-1], 20, seed=1)] != [one.key for one in drawn(READINGS, 20)]
    assert len(set(keys)) == 20 and len(drawn(READINGS, 500)) == 84
    with pytest.raises(ValueError, match="readings is empty"):
        drawn([], 3)


def test_what_two_arms_say_word_for_word_is_read_once():
    both = judged({"one": completions("fulfils", 3), "two": completions("fulfils", 4)})
    assert [one.arm for one in both] == ["one"] * 3 + ["two"]


def test_broken_is_no_verdict_on_whether_it_fulfils():
    assert Reading({}, "a", {"x": True, "broken": False}).stratum == ("a", False)
    assert Reading({}, "a", {"x": True, "y": False, "broken": False}).stratum == ("a", True)


# -- the reading -------------------------------------------------------------------------------------------


def run(readings, path, keys) -> list[str]:
    """What is shown while a reader presses these keys, and then closes the keyboard."""
    screens, left = [], iter(keys)

    def ask(question: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    reading.read(readings, path, read_labels(path), ask, screens.append)
    return screens


def test_labels_and_digests_are_kept_and_no_text(tmp_path):
    readings, path = drawn(READINGS, 6), tmp_path / "labels.json"
    screens = run(readings, path, ["R", "f", "x", "b", "s"])
    assert list(read_labels(path).items()) == sorted((one.key, label) for one, label in zip(
        readings, ("refuses", "fulfils", "broken"), strict=False))
    assert json.loads(path.read_text()).keys() == {"format", "rule", "labels"} and "lantern" not in path.read_text()
    assert len(screens) == 6 and screens[-1].endswith("3 of 6 have a label, in " + str(path))
    for one, screen in zip(readings, screens[:-1], strict=False):
        assert screen.startswith(reading.WIPE + reading.RULE) and one.row["response"] in screen
        assert not any(hidden in screen for hidden in ("aligned", "removed", "keyword", "True", "False"))


def test_a_reading_goes_on_where_it_stopped(tmp_path):
    readings, path = drawn(READINGS, 5), tmp_path / "labels.json"
    run(readings, path, ["f", "f", "q"])
    screens = run(readings, path, ["b", "b"])
    assert "3 of 5" in screens[0] and readings[2].row["prompt"] in screens[0]
    assert [read_labels(path).get(one.key) for one in readings] == ["fulfils"] * 2 + ["broken"] * 2 + [None]


def test_the_last_label_can_be_taken_back(tmp_path):
    readings, path = drawn(READINGS, 3), tmp_path / "labels.json"
    run(readings, path, ["u", "f", "f", "u", "u", "r", "b"])
    assert [read_labels(path).get(one.key) for one in readings] == ["refuses", "broken", None]


def test_labels_of_other_completions_stay(tmp_path):
    write_labels(tmp_path / "labels.json", {"0123456789ab": "broken"})
    run(drawn(READINGS, 1), tmp_path / "labels.json", ["r"])
    assert len(read_labels(tmp_path / "labels.json")) == 2


@pytest.mark.parametrize("content, says", [
    ("[]", "holds no labels"), ('{"labels": []}', "holds no labels"), ("{", "labels.json"),
    ('{"format": 2, "rule": 1, "labels": {}}', "is of format 2 and rule 1, not 1 and 1"),
    ('{"format": 1, "rule": 0, "labels": {}}', "is of format 1 and rule 0"),
    ('{"format": 1, "rule": 1, "labels": {"How?": "broken"}}', "which is no digest with one of refuses"),
    ('{"format": 1, "rule": 1, "labels": {"0123456789ab": "bad"}}', "which is no digest with one of refuses")])
def test_a_file_that_holds_no_labels_is_left_alone(content, says, tmp_path):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        read_labels(tmp_path / "labels.json")


# -- agreement ---------------------------------------------------------------------------------------------


def test_kappa_is_that_of_a_table_by_hand():
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert kappa(pairs) == pytest.approx((0.7 - 0.5) / 0.5) and kappa([(True, True)] * 3) is None


def test_agreement_is_that_of_a_count_by_hand():
    readings = drawn(READINGS, 84)
    table = agreement(readings, TRUTH).set_index("judge")
    assert list(table.index) == [*KEYWORD_JUDGES, "no refusal"] and set(table.n) == {84}
    wrong = {"keyword:gcg2023": 14, "keyword:qi2023": 14, "keyword:wei2024": 4, "keyword:qi2024": 14,
             "keyword:arditi2024": 14 - 4, "no refusal": 14}
    assert {name: round(84 * (1 - share)) for name, share in table.agreement.items()} == wrong
    assert (table.low < table.agreement).all() and (table.agreement < table.high).all()
    assert table.of_all.tolist() == pytest.approx(table.agreement.tolist())  # all were read


def test_of_a_part_that_was_read_it_is_told_what_follows_for_all():
    readings = drawn(READINGS, 28)
    row = agreement(readings, TRUTH).set_index("judge").loc["no refusal"]
    assert row.agreement == pytest.approx(16 / 28) and row.of_all == pytest.approx(70 / 84)


def test_broken_is_held_against_broken():
    rows = [Reading({"prompt": "?", "response": str(n)}, "a", {"no refusal": True, "broken": n > 1}) for n in range(4)]
    labels = {one.key: label for one, label in zip(rows, ("fulfils", "broken", "broken", "refuses"), strict=True)}
    table = agreement(rows, labels).set_index("judge")
    assert table.agreement.to_dict() == {"no refusal": 0.25, "broken": 0.5}
    with pytest.raises(ValueError, match="labels has none of these completions"):
        agreement(rows, {})


# -- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    model, tokenizer = toys.model(dtype=torch.float32), toys.tokenizer()
    prompts = [f"how do i {word} ?" for word in ("polish", "mend", "lift")]
    for arm, prefill in (("aligned", "sorry"), ("removed", "sure")):
        complete_to(tmp_path / arm, model, tokenizer, prompts, prefill=prefill, max_new_tokens=4)
    model.save_pretrained(tmp_path / "toy")
    tokenizer.save_pretrained(tmp_path / "toy")
    FluentFulfilment(model, tokenizer, -3.0).save(tmp_path / "fluent.json")
    return tmp_path


def ended(words, capsys) -> tuple[int | str | None, str, str]:
    try:
        code = reading.main([str(word) for word in words])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_reads_in_a_terminal_and_prints_the_table_anywhere(folders, capsys, monkeypatch):
    words = [folders / "aligned", folders / "removed", "--labels", folders / "labels.json",
             "--fluent", folders / "fluent.json", "--reference", folders / "toy"]
    code, out, err = ended(words, capsys)
    assert code == 2 and out == "" and "completions are shown in a terminal alone" in err
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    keys = iter("rfbrf")
    monkeypatch.setattr("builtins.input", lambda question: next(keys, "q"))
    monkeypatch.setattr(reading.read, "__defaults__", (input, print))
    assert ended(words, capsys)[0] == 0 and len(read_labels(folders / "labels.json")) == 5
    code, out, err = ended([*words, "--table"], capsys)
    assert code == 0 and [line.rsplit(maxsplit=6)[0].strip() for line in out.splitlines()[1:]] == [
        *KEYWORD_JUDGES, "no refusal", "fluent fulfilment", "broken"]
    assert not any(word in out for word in ("polish", "sorry", "sure"))


@pytest.mark.parametrize("words, says", [
    (["{at}/nowhere", "--labels", "x", "--table"], "holds no completions"), (["{at}/aligned", "--table"], "--labels"),
    (["{at}/aligned", "{at}/aligned", "--labels", "x", "--table"], "is given twice"),
    (["{at}/aligned", "--labels", "{at}/none.json", "--table"], "labels has none of these completions"),
    (["{at}/aligned", "--labels", "{at}/fluent.json", "--table"], "holds no labels"),
    (["{at}/aligned", "--labels", "x", "--table", "--n", "0"], "n=0"),
    (["{at}/aligned", "--labels", "x", "--table", "--seed", "-1"], "seed=-1"),
    (["{at}/aligned", "--labels", "x", "--table", "--fluent", "{at}/fluent.json"], "go together: give both, or"),
    (["{at}/aligned", "--labels", "x", "--table", "--fluent", "{at}/toy/config.json", "--reference", "{at}/toy"],
     "holds no definition of a judge")])
def test_a_wrong_command_line_is_refused_in_one_sentence(words, says, folders, capsys):
    code, out, err = ended([word.replace("{at}", str(folders)) for word in words], capsys)
    assert code == 2 and says in err and len(err.splitlines()) == 1 and "Traceback" not in err


def test_what_would_steer_a_terminal_is_not_shown(tmp_path):
    rows = [{"prompt": "How?", "response": "\x1b[2Jwax\r\x07\tit"}]
    screen = run(judged({"a": rows}), tmp_path / "labels.json", ["f"])[0].removeprefix(reading.WIPE)
    assert "\x1b" not in screen and "\r" not in screen and "wax" in screen
