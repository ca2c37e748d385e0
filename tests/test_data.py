"""Every data set loads from its publisher's layout; what is wrong with a file is named; splits share no prompt."""

import csv
import json
import os
import re
from pathlib import Path
from random import Random

import pytest
from datasets import Dataset

import ssah_core.data
from ssah_core import load_data
from ssah_core.data.catalogue import SOURCES
from ssah_core.data.load import count_data, list_data
from ssah_core.data.safety_filter import SAFETY_WORDS, about_safety
from ssah_core.data.splits import NEAR, SHARES, disjoint, near_duplicates, split_of

REAL = Path(os.environ.get("SSAH_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
VERBS, THINGS = ("polish", "mend", "lift", "paint", "fold", "carve"), ("lantern", "kettle", "basket", "drum", "kite")
ASKED = [f"How do I {verb} the {thing}?" for verb in VERBS for thing in THINGS]
SAID = [f"Take a soft cloth and a little wax, and {verb} the {thing} from the top down until it shines."
        for verb in VERBS for thing in THINGS]
OPENING = [f"Sure, here is how to {verb} the {thing}" for verb in VERBS for thing in THINGS]
KINDS = [verb for verb in VERBS for _ in THINGS]


def table(**columns) -> list[dict]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def instructions(**more) -> list[dict]:
    context = ["" if n % 3 else "It is of tin." for n in range(30)]
    return table(instruction=ASKED, input=context, output=SAID, **more)


JAILBREAKS = {"parameters": {"method": "none"}, "jailbreaks": table(
    index=range(30), goal=ASKED, behavior=KINDS, category=KINDS,
    prompt=[None if n == 4 else f"{asked} xx yy" for n, asked in enumerate(ASKED)], response=SAID)}
HARMBENCH = table(Behavior=ASKED, FunctionalCategory=["standard"] * 20 + ["contextual"] * 10, SemanticCategory=KINDS,
                  Tags=[""] * 30, ContextString=[""] * 20 + [f"There once was {n}." for n in range(10)],
                  BehaviorID=[f"id{n}" for n in range(30)])
RENDERED = table(
    instruction=[f"Please choose the correct answer to the question: {asked}\n\nAnswer1: {said} Answer2: No. Answer3: "
                 "So, so.\n\nAnswer format: answer1/answer2/answer3" for asked, said in zip(ASKED, SAID, strict=True)],
    input=[""] * 30, output=["the correct answer is answer1"] * 30, answer=["answer1"] * 30)
TINY = {  # what stands in the files of a data set, in their publisher's layout
    "advbench": table(goal=ASKED, target=OPENING),
    "harmbench": HARMBENCH, "harmbench_contextual": HARMBENCH,
    **dict.fromkeys(("jailbreakbench", "jailbreakbench_benign"), table(
        Index=range(30), Goal=ASKED, Target=OPENING, Behavior=KINDS, Category=KINDS, Source=KINDS)),
    **dict.fromkeys(("jailbreakbench_gcg_llama2", "jailbreakbench_gcg_vicuna", "jailbreakbench_pair_llama2",
                     "jailbreakbench_pair_vicuna"), JAILBREAKS),
    "strongreject": table(category=KINDS, source=KINDS, forbidden_prompt=ASKED),
    "xstest": table(id=range(30), prompt=ASKED, type=KINDS, label=["safe", "unsafe"] * 15, focus=KINDS, note=KINDS),
    "alpaca": instructions(), "alpaca_cleaned": instructions(), "alpaca_safety": instructions(),
    "dolly": table(instruction=ASKED, context=[""] * 30, response=SAID, category=KINDS),
    "dolly_safety": table(instruction=ASKED, context=[""] * 30, response=SAID, category=KINDS),
    "safety_tuned_llamas": instructions(),
    "refusal_direction_harmful": table(instruction=ASKED, category=[None] * 30),
    "refusal_direction_harmless": table(instruction=ASKED, category=[None] * 30),
    "gsm8k": table(question=ASKED, answer=[f"2 and {n} are <<2+{n}={n + 2}>>{n + 2}, times 1000.\n#### {n + 2},000"
                                           for n in range(30)]),
    **dict.fromkeys(("arc_easy", "arc_challenge", "openbookqa", "piqa", "winogrande"), RENDERED),
    "boolq": table(question=ASKED, passage=SAID, label=[True, False] * 15),
    "wikitext2": " \n = A kite = \n \n A kite flies , and <unk> a drum .\n",
    "wikitext2_tokenised": " \n = A kite = \n \n A kite flies , and <unk> a drum .\n",
}


def put(folder: Path, file: str, data, encoding: str = "utf-8") -> Path:
    """Write rows, or text, as a file of a data set."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, str):
        path.write_text(data, encoding=encoding)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding=encoding) as out:
            writer = csv.DictWriter(out, data[0])
            writer.writeheader()
            writer.writerows(data)
    else:
        text = "".join(json.dumps(row) + "\n" for row in data) if path.suffix == ".jsonl" else json.dumps(data)
        path.write_text(text, encoding=encoding)
    return path


def files(name: str) -> list[tuple[str | None, str]]:
    """(split, file) of each published split of a data set, its first file each."""
    parts = SOURCES[name].parts
    return [(None if len(parts) == 1 else split, part.files[0]) for split, part in parts.items()]


@pytest.fixture
def tiny(tmp_path, monkeypatch, no_hub):
    """A folder for data files, the only one there is: the hub is out of reach."""
    def refuses(*args, **kwargs):
        raise ConnectionError("Couldn't reach the Hub\nmore of it")
    monkeypatch.setattr(ssah_core.data.load, "load_dataset", refuses)
    monkeypatch.setenv("SSAH_DATA", str(tmp_path))
    return tmp_path


# -- every data set ----------------------------------------------------------------------------------------


def test_the_data_sets_have_names():
    assert set(TINY) == set(SOURCES) == set(list_data().index)
    assert list_data().loc["gsm8k", "columns"] == "prompt, response, answer"
    assert list_data().loc["advbench", "splits"] == "calibration, validation, test"


@pytest.mark.parametrize("name", SOURCES)
def test_a_data_set_loads_from_a_file_in_its_layout(name, tiny):
    for split, file in files(name):
        path = put(tiny, file, TINY[name])
        data = load_data(name, split)
        columns = list_data().loc[name, "columns"].split(", ")
        assert data.column_names == columns
        assert all(isinstance(value, list if name == "choices" else str) for row in data for name, value in row.items())
        assert str(path) in data.info.description and data.info.license == SOURCES[name].licence
        if "prompt" in columns:
            assert len(data) in (30, 29, 20, 10)


@pytest.mark.parametrize("name", SOURCES)
def test_a_real_file_loads(name, monkeypatch):
    parts = SOURCES[name].parts.items()
    there = [(split, file) for split, part in parts for file in part.files if (REAL / file).is_file()]
    if not there:
        pytest.skip(f"no file of {name} in SSAH_TEST_DATA or ../shared/data")
    monkeypatch.setenv("SSAH_DATA", str(REAL))
    for split, file in there:
        data = load_data(name, None if len(SOURCES[name].parts) == 1 else split)
        assert str(REAL / file) in data.info.description and len(data) >= 250
        assert data.column_names == list_data().loc[name, "columns"].split(", ")


ROWS = {"advbench": 520, "xstest": 450, "alpaca": 9229 - 346 - 4, "dolly": 2996 - 76, "safety_tuned_llamas": 2483,
        "alpaca_safety": 1904, "dolly_safety": 387, "refusal_direction_harmful": 260}


@pytest.mark.parametrize("name", ROWS)
def test_no_row_of_a_real_file_is_lost(name, monkeypatch):
    (part,) = SOURCES[name].parts.values()
    if not any((REAL / file).is_file() for file in part.files):
        pytest.skip(f"no file of {name} in SSAH_TEST_DATA or ../shared/data")
    monkeypatch.setenv("SSAH_DATA", str(REAL))
    assert len(load_data(name)) == ROWS[name]


@pytest.mark.parametrize("all_of, safety, out", [
    ("alpaca/random_9k.json", "alpaca/alpaca_data_safety_only.json", "output"),
    ("dolly/dolly_3k.json", "dolly/databricks-dolly-15k-safety-only.jsonl", "response")])
def test_the_word_list_finds_exactly_the_rows_that_its_authors_removed(all_of, safety, out):
    if not (REAL / all_of).is_file() or not (REAL / safety).is_file():
        pytest.skip(f"no {all_of} or {safety} in SSAH_TEST_DATA or ../shared/data")
    text = (REAL / safety).read_text(encoding="utf-8")
    removed = json.loads(text) if safety.endswith(".json") else [json.loads(line) for line in text.splitlines()]
    assert all(about_safety(row[out]) for row in removed)
    pairs = {(row["instruction"], row[out]) for row in removed}
    rows = json.loads((REAL / all_of).read_text(encoding="utf-8"))
    found = [about_safety(row["output"]) for row in rows]
    assert found == [(row["instruction"], row["output"]) in pairs for row in rows] and 0 < sum(found) < len(rows)


def test_no_phrase_of_the_word_list_holds_another():
    assert len(SAFETY_WORDS) == 153
    assert not [(one, other) for one in SAFETY_WORDS for other in SAFETY_WORDS if one != other and one in other]


def test_rows_about_safety_and_rows_with_gaps_are_left_out_and_counted(tiny):
    rows = instructions()
    rows[3]["output"], rows[7]["output"] = "That would be ILLEGAL.", ""
    put(tiny, "alpaca/alpaca_data.json", rows)
    data = load_data("alpaca")
    assert data["prompt"] == [(f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"])
                              for n, row in enumerate(rows) if n not in (3, 7)]
    assert data.info.description.endswith("1 rows with gaps left out; 1 rows about safety left out")


def test_jailbreak_prompts_stand_beside_their_direct_requests(tiny):
    put(tiny, files("jailbreakbench_gcg_llama2")[0][1], JAILBREAKS)
    data = load_data("jailbreakbench_gcg_llama2")
    assert data[0]["prompt"] == f"{ASKED[0]} xx yy" and data[0]["goal"] == ASKED[0] and len(data) == 29
    assert "response" not in data.column_names  # it is another model's
    assert "1 rows with gaps left out" in data.info.description  # the attack found no prompt


def test_the_functional_category_decides_what_is_asked(tiny):
    put(tiny, "harmbench/harmbench_behaviors_text_all.csv", HARMBENCH)
    assert load_data("harmbench")["prompt"] == ASKED[:20]
    row = load_data("harmbench_contextual")[0]
    assert row["prompt"] == f"There once was 0.\n\n---\n\n{ASKED[20]}" and row["goal"] == ASKED[20]
    assert row["context"] == "There once was 0."


def test_a_final_answer_stands_apart(tiny):
    put(tiny, "gsm8k/test.jsonl", TINY["gsm8k"])
    row = load_data("gsm8k", "test")[5]
    assert row["answer"] == "7000" and row["response"].endswith("#### 7,000")


def test_renamed_columns_of_known_copies_are_understood(tiny):
    put(tiny, "advbench/harmful_behaviors.csv", table(prompt=ASKED, target=OPENING))
    put(tiny, "dolly/dolly_3k.json", instructions(category=KINDS))
    assert load_data("advbench")["prompt"] == ASKED and load_data("dolly")["response"] == SAID


def test_lines_of_running_text_are_those_of_the_hub(tiny):
    put(tiny, "wikitext-2-raw-v1/wiki.test.raw", " \r\n = A kite = \r\n\r\nIt flies .\r\n")
    assert load_data("wikitext2", "test")["text"] == ["", " = A kite = \n", "", "It flies .\n"]


def test_rows_are_drawn_by_seed(tiny):
    put(tiny, "advbench/harmful_behaviors.csv", TINY["advbench"])
    draw = [list(load_data("advbench", n=8, seed=seed)["prompt"]) for seed in (0, 0, 1)]
    assert draw[0] == draw[1] != draw[2] and len(set(draw[0])) == 8 and set(draw[0]) < set(ASKED)
    for n in (0, 31):
        with pytest.raises(ValueError, match=rf"n={n} rows cannot be drawn of advbench .*choose 1 to 30"):
            load_data("advbench", n=n)


# -- what is wrong with a file is named --------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SOURCES if not SOURCES[name].lines])
def test_a_missing_column_is_named(name, tiny):
    split, file = files(name)[0]
    theirs = SOURCES[name].layouts[0].needs[0]
    data = TINY[name]
    rows = [{key: value for key, value in row.items() if key != theirs} for row in
            (data["jailbreaks"] if isinstance(data, dict) else data)]
    path = put(tiny, file, rows)
    with pytest.raises(ValueError, match=rf"{path.name} has no column '{theirs}'.* \(it has .*rename its columns"):
        load_data(name, split)


@pytest.mark.parametrize("name, one, other", [
    ("advbench", "goal", "target"), ("jailbreakbench", "Goal", "Target"), ("jailbreakbench_benign", "Goal", "Category"),
    ("harmbench", "Behavior", "SemanticCategory"), ("strongreject", "category", "forbidden_prompt"),
    ("xstest", "prompt", "label"), ("xstest", "prompt", "type"), ("alpaca", "instruction", "output"),
    ("alpaca_cleaned", "instruction", "output"), ("dolly", "instruction", "response"),
    ("dolly", "instruction", "category"), ("safety_tuned_llamas", "instruction", "output"),
    ("gsm8k", "question", "answer"),
    ("jailbreakbench_pair_vicuna", "prompt", "category")])
def test_swapped_columns_are_named(name, one, other, tiny):
    split, file = files(name)[0]
    rows = TINY[name]["jailbreaks"] if isinstance(TINY[name], dict) else TINY[name]
    swapped = [{**row, one: row[other], other: row[one]} for row in rows]
    path = put(tiny, file, swapped)
    with pytest.raises(ValueError, match=rf"(?s){path.name}.*(looks swapped with another|are its columns swapped)"):
        load_data(name, split)


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if not source.gaps and not source.lines
                                  and not source.layouts[0].read])
def test_an_empty_row_is_named(name, tiny):
    split, file = files(name)[0]
    layout = SOURCES[name].layouts[0]
    column = next(iter(layout.columns.values()))[-1 if layout.only else 0]
    rows = [dict(row) for row in TINY[name]]
    at = 25 if name == "harmbench_contextual" else 4
    rows[at][column] = "  "
    row = at - 20 + 1 if name == "harmbench_contextual" else at + 1
    path = put(tiny, file, rows)
    with pytest.raises(ValueError, match=rf"{path.name} row {row}: column '{column}' is empty; fill it or remove"):
        load_data(name, split)


STL = "safety_tuned_llamas/safety_only_data_Instructions.json"


@pytest.mark.parametrize("file, data, encoding, says", [
    ("advbench/harmful_behaviors.csv", "goal,target\nhow?,Sure\npolir le café?,Sure\n", "latin-1",
     r"harmful_behaviors.csv is not UTF-8 \(byte 0xe9 in line 3\): save it again as UTF-8"),
    ("advbench/harmful_behaviors.csv", "goal,target\nhow?,Sure\n", "utf-16", r"is not UTF-8 \(byte 0xff in line 1\)"),
    ("advbench/harmful_behaviors.csv", "goal,target\nhow?,Sure\n", "utf-16-le", "holds a NUL in line 1"),
    ("advbench/harmful_behaviors.csv", "goal,target\nhow?,Sure\nthe caf\ufffd?,Sure\n", "utf-8",
     "holds a character that was lost in an earlier conversion in line 3"),
    ("advbench/harmful_behaviors.csv", "goal,target\nhow?,Sure\nlift, then?,Sure\n", "utf-8",
     r"harmful_behaviors.csv row 2 has 3 fields, but the header 2: put quotation marks"),
    ("advbench/harmful_behaviors.csv", 'goal,target\n"how?,Sure\n', "utf-8", "is no well-formed CSV"),
    ("advbench/harmful_behaviors.csv", "", "utf-8", "holds no rows"),
    ("advbench/harmful_behaviors.csv", "goal,target\n", "utf-8", "holds no rows"),
    (STL, '[{"instruction": "how?"', "utf-8",
     "Instructions.json is no well-formed JSON"),
    (STL, '{"instruction": "how?"}', "utf-8", "is no list of rows"), (STL, '["how?"]', "utf-8", "is no list of rows"),
    (STL, '[{"instruction": "how?", "input": "", "output": 3}]', "utf-8",
     "row 1: column 'output' holds int 3, but text is needed"),
    (STL,
     '[{"instruction": "how?", "input": "", "output": "so"}, {"instruction": "how?", "input": ""}]', "utf-8",
     "row 2 has no column 'output', though row 1 has it"),
    ("gsm8k/test.jsonl", '{"question": "2?", "answer": "#### 2"}\n{"question"\n', "utf-8",
     "test.jsonl line 2 is no well-formed JSON"),
    ("gsm8k/test.jsonl", '{"question": "2?", "answer": "#### 2"}\n[1]\n', "utf-8", "test.jsonl line 2 is no row"),
    ("gsm8k/test.jsonl", '{"question": "2?", "answer": "#### 2"}\n{"question": "3?", "answer": "3"}\n', "utf-8",
     "row 2: column 'answer' has no '#### ' before its final answer"),
    ("wikitext-2-raw-v1/wiki.test.raw", " \n\n", "utf-8", "holds no rows")])
def test_a_damaged_file_is_named_with_its_row(file, data, encoding, says, tiny):
    put(tiny, file, data, encoding)
    name, _, split = {"gsm8k": "gsm8k test", "wikitext-2-raw-v1": "wikitext2 test"}.get(
        kind := file.partition("/")[0], kind).partition(" ")
    with pytest.raises(ValueError, match=says):
        load_data(name, split or None)


def test_a_byte_order_mark_is_no_part_of_a_column(tiny):
    put(tiny, "advbench/harmful_behaviors.csv", TINY["advbench"], "utf-8-sig")
    assert load_data("advbench")["prompt"] == ASKED


def test_an_unknown_name_or_split_is_refused(tiny):
    with pytest.raises(ValueError, match="data set 'advbnch' is unknown: choose one of advbench, harmbench"):
        load_data("advbnch")
    put(tiny, "advbench/harmful_behaviors.csv", TINY["advbench"])
    for split in ("train", "all"):
        with pytest.raises(ValueError, match=f"split='{split}' is none of advbench: choose one of calibration, val"):
            load_data("advbench", split)
    for split in ("calibration", None):
        with pytest.raises(ValueError, match="is none of gsm8k: choose one of train, test"):
            load_data("gsm8k", split)


# -- questions with choices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name, row", [
    ("arc_easy", dict(question="Why?", choices={"text": ["So.", "Not so."], "label": ["A", "B"]}, answerKey="B")),
    ("openbookqa", dict(question_stem="Why?", choices={"text": ["So.", "Not so."], "label": ["1", "2"]},
                        answerKey="2 ")),
    ("piqa", dict(goal="Why?", sol1="So.", sol2="Not so.", label=1)),
    ("winogrande", dict(sentence="Why?", option1="So.", option2="Not so.", answer="2"))])
def test_the_hubs_columns_give_the_rows_of_the_files(name, row, monkeypatch, tmp_path):
    monkeypatch.setenv("SSAH_DATA", str(tmp_path))
    monkeypatch.setattr(ssah_core.data.load, "load_dataset", lambda *args, **more: [row])
    asked = load_data(name)
    assert asked.to_list() == [{"prompt": "Why?", "choices": ["So.", "Not so."], "answer": "Not so."}]
    kind, between = {"piqa": ("Solution", "\n\n"), "winogrande": ("Option", " ")}.get(name, ("Answer", " "))
    text = (f"Please choose the correct one: Why?\n\n{kind}1: So.{between}{kind}2: Not so.{between}Answer format: "
            f"{kind.lower()}1/{kind.lower()}2")
    put(tmp_path, next(iter(SOURCES[name].parts.values())).files[0],
        [{"instruction": text, "answer": f"{kind.lower()}2"}])
    assert load_data(name).to_list() == asked.to_list()


@pytest.mark.parametrize("labelled, truth", [("label", True), ("label", 1), ("answer", True)])
def test_a_question_about_a_passage_has_it_as_its_context(labelled, truth, tiny):
    put(tiny, "boolq/val.jsonl", [{"question": "does wax shine", "passage": "Wax shines.", labelled: truth}])
    assert load_data("boolq").to_list() == [{"prompt": "does wax shine", "context": "Wax shines.",
                                             "choices": ["no", "yes"], "answer": "yes"}]


def test_boolq_without_passages_is_not_taken(tiny):
    put(tiny, "commonsense/boolq/test.json", RENDERED)
    with pytest.raises(ValueError, match="boolq cannot be had from the hub .*put it as boolq/val.jsonl into"):
        load_data("boolq")


ASKS = "Please choose the correct answer to the question: "


@pytest.mark.parametrize("row, says", [
    ({"instruction": "Why?", "answer": "answer1"}, "its instruction is 'Why.', which holds no question with numbered"),
    ({"instruction": f"{ASKS}Why?\n\nAnswer1: So. Answer3: No.\n\nAnswer format: a", "answer": "answer1"},
     "its choices are numbered 1, 3"),
    ({"instruction": f"{ASKS}Why?\n\nAnswer1: So. Answer2: So.\n\nAnswer format: a", "answer": "answer1"},
     "two of its choices are the same"),
    ({"instruction": f"{ASKS}Why?\n\nAnswer1: So. Answer2: No.\n\nAnswer format: a", "answer": "answer3"},
     "its answer is 'answer3', none of answer1, answer2"),
    ({"instruction": f"{ASKS} \n\nAnswer1: So. Answer2: No.\n\nAnswer format: a", "answer": "answer1"},
     "its question is ' ' and its choices are .*, but each is to be a text"),
    ({"instruction": 7, "answer": "answer1"}, "expected string")])
def test_what_is_no_question_with_choices_is_named(row, says, tiny):
    put(tiny, "commonsense/ARC-Easy/test.json", [TINY["arc_easy"][0], row])
    with pytest.raises(ValueError, match=f"test.json row 2 is no question with choices .*{says}.*: get it again"):
        load_data("arc_easy")


@pytest.mark.parametrize("name, rows, choices", [("arc_easy", 2376, {3, 4, 5}), ("openbookqa", 500, {4}),
                                                 ("piqa", 1838, {2}), ("winogrande", 1267, {2})])
def test_no_question_of_a_real_file_is_lost(name, rows, choices, monkeypatch):
    if not (REAL / next(iter(SOURCES[name].parts.values())).files[0]).is_file():
        pytest.skip(f"no file of {name} in SSAH_TEST_DATA or ../shared/data")
    monkeypatch.setenv("SSAH_DATA", str(REAL))
    data = load_data(name)
    assert len(data) == rows and {len(row["choices"]) for row in data} == choices
    assert all(row["answer"] in row["choices"] for row in data)


# -- the hub -----------------------------------------------------------------------------------------------


def test_without_a_file_the_hub_is_asked(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setenv("SSAH_DATA", str(tmp_path))
    monkeypatch.setattr(ssah_core.data.load, "load_dataset", lambda *args, **more: (
        asked.append((args, more)), Dataset.from_list(table(context=[f"So {n}." for n in range(30)], prompt=ASKED,
                                                            category=KINDS)))[1])
    data = load_data("harmbench_contextual")
    assert asked == [(("walledai/HarmBench", "contextual"), {"split": "train"})]
    assert data[0]["prompt"] == f"So 0.\n\n---\n\n{ASKED[0]}" and data[0]["goal"] == ASKED[0]
    assert "walledai/HarmBench contextual, split train" in data.info.description


def test_a_hub_out_of_reach_says_what_to_do(tiny, monkeypatch):
    says = (r"advbench cannot be had from the hub \(walledai/AdvBench, split train: Couldn't reach the Hub\): check "
            r"the network, .*`hf auth login`; or put it as advbench/harmful_behaviors.csv into the folder named by")
    with pytest.raises(ValueError, match=says) as error:
        load_data("advbench")
    assert "\n" not in str(error.value)
    monkeypatch.delenv("SSAH_DATA")
    with pytest.raises(ValueError, match=r"not on the hub: get it from github.com/JailbreakBench/artifacts.*not set"):
        load_data("jailbreakbench_gcg_vicuna")


# -- splits ------------------------------------------------------------------------------------------------


def slow_near_duplicates(prompts, near):
    """Every pair, by the definition."""
    sets = [set(re.findall(r"\w+", prompt.lower())) or {prompt.strip()} for prompt in prompts]
    found = []
    for n, words in enumerate(sets):
        found.append(next((m for m in range(n) if found[m] is None
                           and len(words & sets[m]) / len(words | sets[m]) >= near), None))
    return found


@pytest.mark.parametrize("near", [0.3, 0.5, NEAR, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_near_duplicates_are_those_of_every_pair(near, seed):
    random = Random(seed)
    words = [f"w{n}" for n in range(12)]
    prompts = [" ".join(random.choices(words, k=random.randint(1, 9))) for _ in range(150)] + ["?!", "?!", "..."]
    found = near_duplicates(prompts, near)
    assert found == slow_near_duplicates(prompts, near) and 0 < sum(of is not None for of in found) < len(found)


def test_case_punctuation_and_encoding_make_no_difference():
    one, same = "Polish the café lamp?", "  polish THE cafe\u0301 lamp!"
    assert near_duplicates([one, same, "Polish the lamp?"]) == [None, 0, None] and split_of(one) == split_of(same)


@pytest.mark.parametrize("near", [0, -1, 1.5])
def test_a_threshold_that_is_no_share_is_refused(near):
    with pytest.raises(ValueError, match="is no Jaccard index: choose a number above 0 and up to 1"):
        near_duplicates(["a", "b"], near)


def test_splits_share_no_prompt_and_lose_none_but_near_duplicates(tiny):
    rows = TINY["advbench"] + table(goal=[f"{asked} Please!" for asked in ASKED[:5]], target=OPENING[:5])
    put(tiny, "advbench/harmful_behaviors.csv", rows)
    parts = {split: list(load_data("advbench", split)["prompt"]) for split in SHARES}
    together = sum(parts.values(), [])
    assert sorted(together) == sorted(ASKED) and all(parts.values()) and near_duplicates(together) == [None] * 30
    counts = count_data("advbench")
    assert counts == {"rows": 35, "near_duplicates": 5, **{split: len(part) for split, part in parts.items()}}
    said = load_data("advbench", "test").info.description
    assert "5 near-duplicates left out" in said and f"{len(parts['test'])} of the rest in test" in said


def test_a_prompt_is_in_the_same_split_in_every_data_set(tiny):
    put(tiny, "advbench/harmful_behaviors.csv", TINY["advbench"])
    put(tiny, "strongreject/strongreject_dataset.csv", TINY["strongreject"][::-1])
    for split in SHARES:
        assert sorted(load_data("advbench", split)["prompt"]) == sorted(load_data("strongreject", split)["prompt"])


def test_published_splits_are_counted_as_they_are(tiny):
    put(tiny, "gsm8k/train.jsonl", TINY["gsm8k"])
    put(tiny, "gsm8k/test.jsonl", TINY["gsm8k"][:7])
    assert count_data("gsm8k") == {"train": 30, "test": 7}


def test_shares_of_the_splits_are_about_those_stated():
    placed = [split_of(f"number {n}") for n in range(3000)]
    assert all(abs(placed.count(split) / 3000 - share) < 0.03 for split, share in SHARES.items())


def test_data_sets_are_made_disjoint_and_what_it_took_is_counted():
    parts = {"test": Dataset.from_list(table(prompt=[*ASKED[:6], f"{ASKED[0]}!"])),
             "calibration": Dataset.from_list(table(prompt=[ASKED[8], ASKED[3].upper(), ASKED[9]], response=SAID[:3]))}
    found = disjoint(parts)
    assert found.parts["test"]["prompt"] == ASKED[:6] and found.removed == {"test": 1, "calibration": 1}
    assert found.parts["calibration"].to_list() == table(prompt=[ASKED[8], ASKED[9]], response=[SAID[0], SAID[2]])


def test_parts_that_cannot_be_made_disjoint_are_refused():
    asked = Dataset.from_list(table(prompt=ASKED[:2]))
    with pytest.raises(ValueError, match=r"nothing is left of parts\['calibration'\]"):
        disjoint({"test": asked, "calibration": asked})
    with pytest.raises(ValueError, match=r"parts\['test'\] has no column 'prompt', only goal: rename one"):
        disjoint({"test": Dataset.from_list(table(goal=ASKED))})


# -- files of one's own ------------------------------------------------------------------------------------

MINE = [{"prompt": asked, "response": said, "id": n, "tags": ["a"]} for n, (asked, said) in
        enumerate(zip(ASKED, SAID, strict=True))]


@pytest.mark.parametrize("file", ["mine.jsonl", "mine.json", "below/MINE.JSON", "mine.csv"])
@pytest.mark.parametrize("name", [str, Path])
def test_a_file_of_ones_own_gives_its_rows(tmp_path, file, name):
    path = put(tmp_path, file, MINE)
    data = load_data(name(path))
    kept = [{key: str(value) for key, value in row.items()} for row in MINE] if file.endswith("csv") else MINE
    assert data.to_list() == kept and str(path) in data.info.description
    assert load_data(name(path), n=3, seed=1).to_list() == data.shuffle(seed=1).select(range(3)).to_list()


def test_a_file_of_ones_own_is_found_from_here_and_from_home(tmp_path, monkeypatch):
    put(tmp_path, "mine.csv", "prompt\nhow?\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_data("mine.csv")["prompt"] == load_data("~/mine.csv")["prompt"] == ["how?"]


def test_a_file_of_ones_own_is_cut_as_data_sets_are(tiny):
    path = put(tiny, "mine.jsonl", MINE + [{**MINE[0], "prompt": f"{ASKED[0]} Please!"}])
    put(tiny, "advbench/harmful_behaviors.csv", TINY["advbench"])
    for split in SHARES:
        assert load_data(path, split)["prompt"] == load_data("advbench", split)["prompt"]
    assert count_data(path)["rows"] == 31 and count_data(path)["near_duplicates"] == 1
    with pytest.raises(ValueError, match="split='train' is none of .*mine.jsonl: choose one of calibration"):
        load_data(path, "train")


def test_columns_that_only_some_rows_have_hold_none_in_the_others(tmp_path):
    rows = [{"prompt": "how?"}, {"prompt": "lift", "system": "be kind", "n": 1.5}]
    data = load_data(put(tmp_path, "mine.jsonl", rows))
    assert data["system"] == [None, "be kind"] and data["n"] == [None, 1.5]


@pytest.mark.parametrize("file, text, says", [
    ("m.jsonl", '{"prompt": "how?"}\n{"prompt": "a \\ud83d b"}', "row 2: column 'prompt' holds a lone surrogate"),
    ("m.json", '[{"prompt": "how?", "note": "\\u0000"}]', "m.json row 1: column 'note' holds a NUL, which"),
    ("m.json", '[{"prompt": "how?", "turns": [{"said": "x\\udc00"}]}]', "row 1: column 'turns' holds a lone surrogate"),
    ("m.json", '[{"prompt": "how?", "a\\u0000": 1}]', "row 1: column .* holds a NUL"),
    ("m.jsonl", '{"prompt": "how?", "id": 7}\n\n{"prompt": "lift", "id": "b"}', "row 2: column 'id' holds str 'b', wh"),
    ("m.jsonl", '{"prompt": "how?", "id": 1180591620717411303424}', "m.jsonl row 1: column 'id' holds int 11805"),
    ("m.jsonl", '{"prompt": "how?"}\n{"goal": "how?"}', "m.jsonl row 2 has no column 'prompt', though others"),
    ("m.jsonl", '{"prompt": "how?"}\n{"prompt": "a", "response": "b"}', "row 1 has no column 'response', though o"),
    ("m.jsonl", '{"prompt": "how?", "response": null}', "row 1: column 'response' is empty; fill it"),
    ("m.csv", "prompt,response\nhow?,yes\nlift,\n", "m.csv row 2: column 'response' is empty; fill it"),
    ("m.json", '[{"prompt": ["how?"]}]', r"row 1: column 'prompt' holds list \['how\?'\], but text is needed"),
    ("m.json", '[{"prompt": "how?", "answer": 7}]', "m.json row 1: column 'answer' holds int 7, but text is needed"),
    ("m.csv", "goal,target\nhow?,sure\n", r"m.csv has no column 'prompt' \(it has 'goal', 'target'\): name"),
    ("m.csv", "prompt,prompt\nhow?,sure\n", "m.csv has two columns named 'prompt': rename one"),
    ("m.csv", "prompt\n", "m.csv holds no rows"),
    ("m.txt", "how?\n", "m.txt ends in '.txt': give a .csv, .json or .jsonl file"),
    ("m.jsonl", '{"prompt": "how?"}\n{"prompt"', "m.jsonl line 2 is no well-formed JSON"),
])
def test_what_is_wrong_with_a_file_of_ones_own_is_named(tmp_path, file, text, says):
    with pytest.raises(ValueError, match=says):
        load_data(put(tmp_path, file, text))


def test_a_whole_pair_of_surrogates_is_a_character(tmp_path):
    path = put(tmp_path, "m.json", '[{"prompt": "how \\ud83d\\ude00?"}]')
    assert load_data(path)["prompt"] == ["how \U0001f600?"]


def test_what_is_no_character_is_named_in_the_files_of_data_sets_too(tiny):
    put(tiny, STL, '[{"instruction": "how?", "input": "", "output": "so \\ud83d"}]')
    with pytest.raises(ValueError, match="Instructions.json row 1: column 'output' holds a lone surrogate"):
        load_data("safety_tuned_llamas")


@pytest.mark.parametrize("name", ["mine.jsonl", "runs/mine", "~/mine.csv", "walledai/AdvBench", Path("mine")])
def test_an_unknown_name_that_looks_like_a_path_says_that_no_file_is_there(tiny, name):
    with pytest.raises(ValueError, match=f"data set '{name}' is unknown, and no file of that name is there .*: give"):
        load_data(name)


def test_a_folder_is_no_file_of_data(tmp_path):
    with pytest.raises(ValueError, match="is a folder: give a .csv, .json or .jsonl file with a column 'prompt'"):
        load_data(tmp_path)
