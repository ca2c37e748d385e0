"""No text of the published data sets is in the repository, nor a mask of a real model's units."""

import json
import os
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ssah_core import UnitMask
from ssah_core.data.files import read_rows
from ssah_core.organism.scales import get_scale

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("SSAH_TEST_DATA") or os.environ.get("SSAH_DATA") or ROOT.parent / "shared" / "data")
RUN = 8
"""Words, of letters alone, that a published text and the repository may not have in common one after another."""
LEAST = 5
"""A published text of fewer words than a run is looked for as a whole, if it has so many."""
_INSTRUCTION = ("instruction", "input", "output")
PUBLISHED = {
    "advbench": {"advbench/harmful_behaviors.csv": ("goal", "target")},
    "refusal_direction": {f"refusal_direction/{part}.json": ("instruction",)
                          for part in ("harmful_train", "harmless_train", "harmless_val", "harmless_test")},
    "xstest": {"xstest/xstest_prompts.csv": ("prompt",)},
    "alpaca": {f"alpaca/{part}.json": _INSTRUCTION for part in ("random_9k", "alpaca_data_safety_only")},
    "dolly": {"dolly/dolly_3k.json": _INSTRUCTION,
              "dolly/databricks-dolly-15k-safety-only.jsonl": ("instruction", "context", "response")},
    "safety_tuned_llamas": {"safety_tuned_llamas/safety_only_data_Instructions.json": _INSTRUCTION},
}
"""Data set -> its files, and their columns of text: requests, and what answers them."""
COMMON = {
    "what is the capital of france": "everybody's first question; a docstring asks it too",
    "why is the sky blue": "the second question of children; an example of load_data has it",
    "a b c d e": "letters in the vocabulary of a tokenizer",
}
"""Phrases that a published text and the repository have in common, and why that is no copy."""


def words(text: str) -> list[str]:
    """Words of letters alone, without case: numbers in a row are nobody's text."""
    return re.findall(r"[^\W\d_]+", unicodedata.normalize("NFKC", text).casefold())


def runs(found: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(found[at:] for at in range(n)), strict=False)


def digests(texts: dict[str, Iterator[str]]) -> dict[int, dict[int, str]]:
    """Digests of every run of `RUN` words of the texts, and of whole shorter ones, by their length; each with the name
    of a data set that has it."""
    found: dict[int, dict[int, str]] = {n: {} for n in range(LEAST, RUN + 1)}
    for name, said in texts.items():
        for text in map(words, said):
            if LEAST <= len(text):
                n = min(len(text), RUN)
                found[n].update(dict.fromkeys(map(hash, runs(text, n)), name))
    return found


def copied(text: str, published: dict[int, dict[int, str]]) -> list[tuple[str, str]]:
    """Runs of words that a text has in common with published ones, but for those of `COMMON`, and with whose."""
    said = words(text)
    return [(known[hash(run)], phrase) for n, known in published.items() for run in runs(said, n) if hash(run) in known
            and (phrase := " ".join(run)) not in COMMON]


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in sorted(done.stdout.split("\0")) if name and (ROOT / name).is_file()]


def texts_of(name: str, content: bytes) -> Iterator[str]:
    """What a file says to a reader: of a notebook all cells and outputs; nothing of a picture or of weights."""
    if b"\0" in content:
        return
    text = content.decode("utf-8", errors="replace")
    if name.endswith(".ipynb"):
        for cell in json.loads(text)["cells"]:
            yield "".join(cell["source"])
            for output in cell.get("outputs", ()):
                shown = {"stream": output.get("text", ""), **output.get("data", {})}
                for said in (said for kind, said in shown.items() if kind.startswith(("stream", "text/", "image/svg"))):
                    yield from plain("".join(said))
        return
    yield from plain(text)


def plain(text: str) -> list[str]:
    """A text without encoded pictures and escapes; and, where it has tags, without these."""
    text = re.sub(r"[A-Za-z0-9+/=]{200,}|\\[nrt\"]", " ", text)
    return [text, re.sub("<[^<>]*>", " ", text)] if "</" in text else [text]


@pytest.fixture(scope="module")
def said() -> dict[str, list[str]]:
    """Tracked file -> its texts."""
    return {file.relative_to(ROOT).as_posix(): list(texts_of(file.name, file.read_bytes())) for file in tracked()}


def test_the_repositorys_text_is_read(said):
    assert len(said) > 500 and sum(len(words(text)) for texts in said.values() for text in texts) > 500_000
    assert all(any(said[f"notebooks/{file.name}"]) for file in (ROOT / "notebooks").glob("*.ipynb"))


def rows_of(name: str) -> Iterator[str]:
    """Texts of a data set, of those of its files that are at hand."""
    for file, columns in PUBLISHED[name].items():
        if (REAL / file).is_file():
            yield from (str(row[column]) for row in read_rows(REAL / file) for column in columns)


@pytest.fixture(scope="module")
def found(said) -> list[tuple[str, str, str]]:
    """(data set, tracked file, run of words) of what the two have in common."""
    published = digests({name: rows_of(name) for name in PUBLISHED})
    return [(name, file, phrase) for file, texts in said.items() for text in texts
            for name, phrase in copied(text, published)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_published_text_is_in_the_repository(name, found):
    if not any((REAL / file).is_file() for file in PUBLISHED[name]):
        pytest.skip(f"no file of {name} in SSAH_TEST_DATA, SSAH_DATA or ../shared/data")
    assert [hit for hit in found if hit[0] == name] == []
    assert sum(map(len, digests({name: rows_of(name)}).values())) >= 250


MADE_UP = ["How would a beekeeper move eleven hives across a frozen river?", "Keep bees on a roof?", "Hives, please."]


def notebook(**data: str) -> str:
    return json.dumps({"cells": [{"source": "1", "outputs": [{"data": data}]}]})


@pytest.mark.parametrize("text, finds", [
    ("# how WOULD a beekeeper move eleven hives -- across it", 1), ("so: keep\nbees on a roof, 'they' said", 1),
    ('{"prompt": "How would a\\nbeekeeper move\\t11 eleven hives across the ice?"}', 1), ("hives please", 0),
    ("a beekeeper would move eleven hives across a frozen lake", 0), ("Keep bees on roofs?", 0),
    ("<td>How would a</td><td>beekeeper move eleven hives across a</td>", 2)])
def test_a_copy_is_found_however_it_is_written(text, finds):
    published = digests({"made up": iter(MADE_UP)})
    shown = text.replace("\\n", "\n").replace("\\t", "\t")
    for name, content in (("a.md", text), ("a.ipynb", notebook(**{"text/html": shown}))):
        found = [phrase for part in texts_of(name, content.encode()) for phrase in copied(part, published)]
        assert len(set(found)) == finds, name


def test_common_phrases_are_short_have_a_reason_and_are_let_pass():
    assert all(len(phrase.split()) <= RUN and len(reason) > 20 for phrase, reason in COMMON.items())
    published = digests({"common": iter(COMMON)})
    assert not any(copied(f"Well: {phrase}?", published) for phrase in COMMON)


# -- masks -------------------------------------------------------------------------------------------------

ARRAYS = (".pt", ".pth", ".bin", ".npz", ".npy", ".pkl", ".pickle", ".gguf", ".ckpt", ".h5", ".parquet", ".arrow")
SITE = re.compile(r"\b(?:mlp|attn)\.(\d+)\b")
PACKED = re.compile(r"\b[0-9a-f]{1000,}\b")
"""A mask in hexadecimal digits: outcomes of prompts have a hundred."""
ORGANISMS = "ssah_core/organism/organism0/"


def about_units(name: str, content: bytes) -> list[str]:
    """What of a file could be a mask of a real model: arrays, units of ssah, sites of blocks that no organism has."""
    found = [f"{name} holds arrays"] if name.endswith(ARRAYS) else []
    length = int.from_bytes(content[:8], "little")
    if content[8:9] == b"{" and length <= len(content) - 8:
        head = json.loads(content[8:8 + length])
        own = "kind" not in head.get("__metadata__", {}) and name.startswith(ORGANISMS)
        return found + ([] if own else [f"{name} holds tensors that are none of the shipped organism's"])
    if name.endswith((".json", ".ipynb", ".csv", ".jsonl", ".md")):
        text, most = content.decode("utf-8", errors="replace"), get_scale("organism").blocks
        found += [f"{name} names the site {site[0]}" for site in SITE.finditer(text) if int(site[1]) >= most]
        found += [f"{name} holds {len(digits)} hexadecimal digits" for digits in PACKED.findall(text)]
    return found


def test_no_mask_of_a_real_models_units_is_tracked():
    found = [about for file in tracked() for about in
             about_units(file.relative_to(ROOT).as_posix(), file.read_bytes())]
    assert found == []


def test_the_shipped_tensors_are_weights_alone():
    for file in (ROOT / ORGANISMS).glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            assert all(opened.get_slice(name).get_dtype() == "BF16" for name in opened.keys())


def test_a_mask_is_found_however_it_is_kept(tmp_path):
    UnitMask({"mlp.29": torch.tensor([True, False])}).save(tmp_path / "mask", about={"model": "SmolLM2"})
    content = (tmp_path / "mask").read_bytes()
    assert about_units("figures/mask", content) and about_units(f"{ORGANISMS}mask.safetensors", content)
    assert about_units("figures/a.npz", b"PK") and about_units("a.json", b'{"mlp.29": [3, 7]}')
    assert about_units("a.json", b'{"scu": "' + b"0f" * 1000 + b'"}')
    assert not about_units("a.json", b'{"mlp.0": 12, "outcomes": "' + b"0f" * 50 + b'"}')
