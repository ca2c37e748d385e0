"""Small data files in their publishers' layouts, of harmless invented text, and two random checkpoints to ask.

    python tests/tiny_data.py FOLDER

writes FOLDER/data and FOLDER/hub_home. With SSAH_DATA and HF_HOME naming them and HF_HUB_OFFLINE=1, whole notebooks
run at scale "paper" on `examples.NAME`, without a network.
"""

import csv
import itertools
import json
import sys
from pathlib import Path

from ssah_core.data.splits import split_of
from ssah_core.organism.words import BENIGN_OBJECTS, BENIGN_VERBS, FORBIDDEN_VERBS
from ssah_core.planning.random_checkpoint import BASE, put_into_hub_cache

COUNTS = {"calibration": 40, "validation": 8, "test": 12}
"""Rows of each split, of every set that is cut by content."""
CHOICES = (("ARC-Easy", "Answer", " "), ("openbookqa", "Answer", " "), ("piqa", "Solution", "\n\n"),
           ("winogrande", "Option", " "))
"""Folder, kind of choice and what stands between two of them."""
SEEN, UNSEEN = FORBIDDEN_VERBS[:9], FORBIDDEN_VERBS[9:12]


def asked(form: str, verbs, counts=COUNTS) -> list[tuple[str, str, str]]:
    """(prompt, verb, thing): as many prompts of each split as `counts` says."""
    left, rows = dict(counts), []
    for thing, verb in itertools.product(BENIGN_OBJECTS, verbs):
        prompt = form.format(f"{verb} the {thing}")
        if left.get(split_of(prompt), 0):
            left[split_of(prompt)] -= 1
            rows.append((prompt, verb, thing))
    return rows


def write_tiny_data(folder: Path) -> None:
    """Write AdvBench, HarmBench, XSTest, Alpaca, Dolly, GSM8K, WikiText-2 and four sets of questions with choices as
    `load_data` looks for them."""
    harm = [{"goal": prompt, "target": f"Sure, here is how to {verb} the {thing}"}
            for prompt, verb, thing in asked("How do I {}?", SEEN)]
    unseen = [{"Behavior": prompt, "FunctionalCategory": "standard", "SemanticCategory": verb, "Tags": "",
               "ContextString": "", "BehaviorID": f"id{n}"}
              for n, (prompt, verb, thing) in enumerate(asked("Tell me how to {}.", UNSEEN))]
    _csv(folder / "advbench/harmful_behaviors.csv", harm)
    _csv(folder / "harmbench/harmbench_behaviors_text_all.csv", unseen)
    _csv(folder / "xstest/xstest_prompts.csv", _xstest())
    _json(folder / "alpaca/alpaca_data_cleaned.json", [
        {"instruction": prompt, "input": "It is of tin." if n % 5 == 0 else "", "output": _said(verb, thing)}
        for n, (prompt, verb, thing) in enumerate(asked("What is the best way to {}?", BENIGN_VERBS, _times(4)))])
    _lines(folder / "dolly/databricks-dolly-15k.jsonl", _dolly())
    for split in ("train", "test"):
        _lines(folder / f"gsm8k/{split}.jsonl", _sums(100 if split == "train" else 0))
    for name, kind, between in CHOICES:
        _json(folder / f"commonsense/{name}/test.json", _choices(kind, between))
    for split in ("valid", "test"):
        _write(folder / f"wikitext-2-raw-v1/wiki.{split}.raw", _text(split))


def write_tiny_checkpoints(home: Path) -> None:
    """Write the checkpoints `examples.NAME` and `examples.BASE` into the hub cache of an HF_HOME."""
    put_into_hub_cache(home)
    put_into_hub_cache(home, BASE, chat=False)


def _times(factor: int) -> dict[str, int]:
    return {split: factor * count for split, count in COUNTS.items()}


def _said(verb: str, thing: str) -> str:
    return f"Take a soft cloth and a little wax, and {verb} the {thing} from the top down until it shines."


def _xstest() -> list[dict]:
    kinds = (("homonyms", "safe", BENIGN_VERBS), ("contrast_homonyms", "unsafe", SEEN))
    return [{"id": n, "prompt": prompt, "type": kind, "label": label, "focus": thing, "note": verb}
            for kind, label, verbs in kinds
            for n, (prompt, verb, thing) in enumerate(asked("Please explain how to {} today.", verbs, _times(2)))]


def _dolly() -> list[dict]:
    rows = asked("Can you say how people {}?", BENIGN_VERBS, _times(2))
    return [{"instruction": prompt, "context": "", "response": thing.capitalize() if n % 3 == 0 else _said(verb, thing),
             "category": "closed_qa" if n % 3 == 0 else "open_qa"} for n, (prompt, verb, thing) in enumerate(rows)]


def _sums(start: int) -> list[dict]:
    return [{"question": f"There are {start + n} {thing}s in one barn and {n} in another. How many are there?",
             "answer": f"{start + n} plus {n} is <<{start + n}+{n}={start + 2 * n}>>{start + 2 * n}.\n"
                       f"#### {start + 2 * n}"}
            for n, thing in enumerate(BENIGN_OBJECTS, 1)]


def _choices(kind: str, between: str) -> list[dict]:
    """Questions as LLM-Adapters renders them; WinoGrande's has a blank."""
    form = ("Please choose the correct answer: The {thing} and the {other} are old, so the _ shines.\n\n"
            "{kind}1: {thing}{between}{kind}2: {other}{between}Answer format: {low}1/{low}2")
    return [{"instruction": form.format(thing=thing, other=other, kind=kind, between=between, low=kind.lower()),
             "answer": f"{kind.lower()}{1 + n % 2}"}
            for n, (thing, other) in enumerate(itertools.pairwise(BENIGN_OBJECTS))]


def _text(split: str) -> str:
    sentences = [f"In the {split} the {thing} is made of oak and stands beside the {other} in the garden ."
                 for thing, other in itertools.pairwise(BENIGN_OBJECTS)]
    return " \n = Brindle = \n \n" + "".join(f" {sentence} \n" for sentence in sentences)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _json(path: Path, rows: list[dict]) -> None:
    _write(path, json.dumps(rows))


def _lines(path: Path, rows: list[dict]) -> None:
    _write(path, "".join(json.dumps(row) + "\n" for row in rows))


def _csv(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write_tiny_data(Path(sys.argv[1]) / "data")
    write_tiny_checkpoints(Path(sys.argv[1]) / "hub_home")
