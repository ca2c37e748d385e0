"""Completions on disk: generated in chunks, gone on with where they stopped, judged as often as wanted.

    done = ssah.complete_to("runs/aligned", model, tokenizer, prompts, max_new_tokens=256)
    {name: rate(done, name) for name in ssah.list_judges() if name.startswith("keyword")}

A folder holds the completions of one model, arm, list of prompts and setting: settings.json says which, and
chunk-00000.json and so on hold the rows. A chunk is there as a whole or not at all, and one that is damaged later is
told by its seal (`seals`), and answered anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_counts, check_kind, check_paths, check_seed, check_texts
from ..data import check_columns
from ..models import Queries, stop_ids, weights_digest
from ..records import TODAY, cache
from . import seals
from .complete import VERSION, complete, prepared
from .rows import checked_rows

FREE = ("batch_size",)
"""Settings that may change when a run is gone on with: they decide how fast it is, not what is said."""
SETTINGS = "settings.json"
MOST = 10 ** 7
"""Rows of a folder: a number beyond is a damaged one."""
PARTIAL = re.compile(r"\.(settings\.json|chunk-\d{5,}\.json|\.chunk-\d{5,}\.json\.sha256)\.[0-9a-f]{32}")
"""What `cache.write_json` names a file while it writes it: what a killed run leaves."""


def complete_to(folder: str | Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Queries, *,
                arm: str = "", chunk: int = 64, seed: int = 0, progress: bool = False, **settings: Any) -> Dataset:
    """Answer every prompt as `ssah.complete` does, keep the rows in `folder`, and return them all.

    folder     New or empty, or one that an equal run has begun to fill. "~" is the home folder.
    arm        What else makes the model what it is, where no key can tell: "SCU removed". Needed while hooks hang on
               the model (`ssah.ablate`), or with settings that are not plain JSON (a logits processor).
    chunk      Rows that are written at a time. A killed run goes on after the last chunk written, and two runs at
               once do not do the same work: the second waits.
    seed       Of sampling, chunk by chunk: an interrupted run says what an uninterrupted one does.
    settings   For `ssah.complete`: prefill, system, max_new_tokens, batch_size, do_sample ...

    Nothing in a folder is ever removed but unfinished files of its own run. Raises ValueError, before anything is
    generated, if `folder` holds other files or completions of another model, arm, prompts or settings, naming which;
    or as `ssah.complete` does.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> rows = ssah.complete_to("runs/aligned", model, tokenizer, ["How do I mend the kettle?"], max_new_tokens=4)
    >>> rows.column_names, len(rows)
    (['prompt', 'response'], 1)

    *Shown in:* README.
    """
    check_paths(folder=folder)
    check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
    rows = checked_rows(prompts, "prompts")
    check_texts(arm=arm)
    check_counts(chunk=chunk)
    check_seed(seed=seed)
    words, start, ids = prepared(model, tokenizer, rows, **settings)  # refuses what generation would
    asked = [row[:len(row) - len(start)] for row in ids]
    folder, about = Path(folder).expanduser().absolute(), _about(model, words, rows, asked, arm, chunk, seed, settings)
    with cache.locked(folder):
        _claim(folder, about)
        for n, file in enumerate(tqdm(_files(folder, about), desc=folder.name, disable=not progress, leave=False)):
            if not file.is_file() or _is_damaged(file, about):
                part = rows[n * chunk:(n + 1) * chunk]
                cache.write_json(file, _complete(model, tokenizer, part, seed + n, settings))
                seals.seal(file, about)
    return load_completions(folder)


def load_completions(folder: str | Path) -> Dataset:
    """All rows of a folder that `complete_to` has filled. Raises ValueError if some are not there yet, or damaged.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> rows = ssah.complete_to("runs/stored", model, tokenizer, ["How do I mend the kettle?"], max_new_tokens=4)
    >>> load_completions("runs/stored").to_list() == rows.to_list()
    True
    """
    folder = Path(folder).expanduser()
    about = _held(folder)
    if about is None:
        raise ValueError(f"folder {str(folder)!r} holds no completions: give one that ssah.complete_to has filled")
    files = _files(folder, about)
    there = sum(file.is_file() for file in files)
    if there < len(files):
        raise ValueError(f"{folder} holds {there} of {len(files)} chunks: run ssah.complete_to again, which goes on "
                         "where it stopped")
    if damaged := next((file for file in files if seals.is_broken(file, about)), None):
        raise ValueError(f"{damaged} is damaged: run ssah.complete_to again, which answers its prompts anew")
    rows = [row for file in files for row in _chunk(file)]
    if _digest([row["prompt"] for row in rows]) != about["questions"]:
        raise ValueError(f"{folder} holds {len(rows)} rows that are not those of its {about['n']} prompts: delete it "
                         "and run again")
    columns = dict.fromkeys(column for row in rows for column in row)
    return Dataset.from_list([{column: row.get(column) for column in columns} for row in rows])


def _is_damaged(file: Path, about: Mapping[str, Any]) -> bool:
    is_damaged = seals.is_broken(file, about)
    if is_damaged:
        warnings.warn(f"{file} is damaged: its prompts are answered anew", stacklevel=3)
    return is_damaged


def _chunk(file: Path) -> list[dict]:
    """The rows of one chunk. Raises ValueError if they are no rows of prompt and response."""
    rows = cache.read_json(file)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("prompt"), str)
                                             and isinstance(row.get("response"), str) for row in rows):
        raise ValueError(f"{file} holds no rows of prompt and response: delete it and run again")
    check_columns(rows, str(file))
    return rows


def _complete(model, tokenizer, rows: list[dict], seed: int, settings: Mapping) -> list[dict]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return complete(model, tokenizer, rows, **settings).to_list()


# -- which completions a folder holds ----------------------------------------------------------------------


def _about(model, tokenizer, rows: Sequence[Mapping], ids: list[list[int]], arm: str, chunk: int, seed: int,
           settings: Mapping) -> dict:
    plain = {name: value for name, value in settings.items() if name not in FREE}
    unread = sorted(name for name, value in plain.items() if not _is_plain(value))
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        unread.append("hooks on the model")
    if unread and not arm:
        raise ValueError(f"arm is empty, but no key can tell what {' and '.join(unread)} do: name it, such as "
                         "arm='SCU removed'")
    return {"model": weights_digest(model), "config": _digest(_config(model)), "arm": arm, "n": len(rows),
            "questions": _digest([row["prompt"] for row in rows]),
            "rows": _digest(rows), "tokens": _digest(ids), "chunk": chunk, "seed": seed,
            "settings": {name: value for name, value in plain.items() if name not in unread}, "unread": unread,
            "stop_ids": stop_ids(model, tokenizer), "template": _digest(tokenizer.chat_template), "today": TODAY,
            "version": VERSION}


def _claim(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what a folder is to hold, or see that it holds the same; then remove what a killed run left unfinished."""
    there = _held(folder, about)
    if there is None:
        _check_free(folder)
        cache.write_json(folder / SETTINGS, about)
    else:
        _check_same(folder, there, about)
    for file in folder.iterdir():
        if PARTIAL.fullmatch(file.name) and file.is_file():
            file.unlink()


def _held(folder: Path, about: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
    """What a folder's settings say that it holds; None where nothing says that it is completions.

    Settings that say something else than `about`, while all chunks' seals say `about`, are damaged, and put right.
    """
    if about and (folder / SETTINGS).is_file() and seals.is_sealed(folder, about) and not _says(folder, about):
        warnings.warn(f"{folder / SETTINGS} is damaged: it is written anew", stacklevel=4)
        cache.write_json(folder / SETTINGS, about)
    if not (folder / SETTINGS).is_file():
        return None
    there = cache.read_json(folder / SETTINGS)
    if not isinstance(there, dict) or not {"questions", "n", "chunk"} <= set(there):
        return None
    for name, most in (("n", MOST), ("chunk", None)):
        if type(there[name]) is not int or not 0 < there[name] <= (most or there[name]):
            raise ValueError(f"{folder / SETTINGS} says {name}={there[name]!r:.40}, which is no number of rows: delete "
                              "that folder and run again")
    return there


def _says(folder: Path, about: Mapping[str, Any]) -> bool:
    try:
        return cache.read_json(folder / SETTINGS) == json.loads(json.dumps(about))
    except ValueError:
        return False


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder {str(folder)!r} is a file: give an empty or new folder")
    # Hidden files, as .gitignore or .DS_Store, are in nobody's way, and stay.
    if folder.is_dir() and any(not file.name.startswith(".") for file in folder.iterdir()):
        raise ValueError(f"folder {str(folder)!r} has other files in it: give an empty or new folder")


def _check_same(folder: Path, there: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    other = [name for name in about if there.get(name) != json.loads(json.dumps(about[name]))]
    if other:
        told = "; ".join(f"{name}: {there.get(name)} there, {about[name]} here" for name in other)
        raise ValueError(f"folder {str(folder)!r} holds other completions ({told}): give another folder, or delete "
                         "this one")


def _files(folder: Path, about: Mapping[str, Any]) -> list[Path]:
    return [folder / f"chunk-{n:05d}.json" for n in range(-(-about["n"] // about["chunk"]))]


def _config(model: PreTrainedModel) -> list:
    """What else decides what a model says: its config, and which of its adapters are on."""
    config = {name: value for name, value in json.loads(model.config.to_json_string(use_diff=False)).items()
              if name not in ("_name_or_path", "transformers_version")}
    adapters = [[name, list(module.active_adapters), module.disable_adapters, module.merged]
                for name, module in model.named_modules() if isinstance(getattr(module, "disable_adapters", 0), bool)]
    return [config, adapters]


def _digest(data: Any) -> str:
    try:
        return hashlib.sha256(json.dumps(data, sort_keys=True, allow_nan=False).encode()).hexdigest()[:12]
    except (TypeError, ValueError) as error:
        raise ValueError(f"prompts hold what is not plain JSON ({error}): give rows of text, finite numbers, true, "
                         "false, null, or lists and mappings of these") from None


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
