"""Objects of units as files: safetensors, with JSON beside the tensors that says what they are and what they are of.

A file holds one object: its *parts* (name -> site -> tensor), its *facts* (single values) and its provenance: the sites
and their sizes, the version of ssah, and what the caller said *about* it. A digest over all of it tells a damaged file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..arguments import check_kind, check_paths
from ..records.own_files import LONGEST_HEADER, put

FORMAT = 1
"""Raised by one whenever files change their meaning."""
HEADER = ("kind", "format", "version", "about", "digest")
EVERY = "UnitMask, UnitLabels, Moments or Scores"
Parts = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Form:
    """How objects of one kind lie in a file.

    >>> Form("UnitMask", "mask", ("units",), torch.bool).kind
    'UnitMask'
    """

    kind: str
    """Name of the class."""
    noun: str
    """What people call it."""
    parts: tuple[str, ...]
    dtype: torch.dtype


def describe(model: nn.Module) -> dict[str, str]:
    """What to say of a model in a file's `about`: its name or folder, and its architecture.

    >>> describe(torch.nn.Linear(1, 1))
    {'model': 'not stated', 'architecture': 'Linear'}
    """
    name = getattr(getattr(model, "config", None), "_name_or_path", "")
    return {"model": str(name or "not stated"), "architecture": type(model).__name__}


# -- writing ----------------------------------------------------------------------------------------------


def write(path: str | Path, form: Form, parts: Parts, facts: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Write an object; the file is there only when it is complete. Raises ValueError if `about` is not of text."""
    tensors = {f"{part}/{site}": tensor.detach().cpu().contiguous().clone()
               for part, sites in parts.items() for site, tensor in sites.items()}
    sizes = {site: len(tensor) for site, tensor in parts[form.parts[0]].items()}
    header = stamped(form.kind, about, {"sizes": sizes, "facts": dict(facts)}, digest(tensors))
    put(path, save(tensors, metadata={name: json.dumps(value) for name, value in header.items()}))


def stamped(kind: str, about: Mapping[str, str], content: Mapping[str, Any], more: str = "") -> dict[str, Any]:
    """`content` with what it is and is of, and the digest of all that and `more`.

    Raises ValueError if `about` is not of text.
    """
    check_kind(Mapping, "pass a mapping of text, such as {'model': 'meta-llama/Llama-2-7b-chat-hf'}", about=about)
    if not all(isinstance(text, str) for pair in about.items() for text in pair):
        raise ValueError(f"about={dict(about)!r} is not of text: pass strings alone, such as "
                         "{'model': 'meta-llama/Llama-2-7b-chat-hf', 'calibration': 'advbench', 'criterion': 'fisher'}")
    header = {"kind": kind, "format": FORMAT, "version": _version(), "about": dict(about), **content}
    return header | {"digest": sealed(header, more)}


# -- reading ----------------------------------------------------------------------------------------------


def read(path: str | Path, form: Form) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The parts and facts of an object that `write` wrote, checked against what the file says of itself.

    Raises ValueError, in one sentence, for any other file: missing, damaged, of another kind or format, without
    provenance, or with tensors of other names, dtypes or shapes than it says.
    """
    metadata, tensors = _opened(path, form.kind, form.kind)
    header = checked(path, metadata, form.kind, form.noun)
    sizes, facts = header.get("sizes"), header.get("facts")
    if not isinstance(sizes, dict) or not all(map(_is_size, sizes.values())) or not isinstance(facts, dict):
        raise _damaged(path, form.kind, "its sites or facts are missing")
    names = [f"{part}/{site}" for part in form.parts for site in sizes]
    if set(tensors) != set(names):
        raise _damaged(path, form.kind, "its tensors are not those of the sites that it names")
    for part in form.parts:
        for site, size in sizes.items():
            _check_tensor(path, form, site, size, tensors[f"{part}/{site}"])
    if header["digest"] != sealed(header, digest({name: tensors[name] for name in names})):
        raise _damaged(path, form.kind, "its content does not have the digest that it names")
    return {part: {site: tensors[f"{part}/{site}"] for site in sizes} for part in form.parts}, facts


def read_about(path: str | Path) -> dict[str, Any]:
    """What a file of units says of itself: kind, format, version of ssah, sizes of sites, facts, and `about`.

    The tensors are not read, nor checked. Raises ValueError if it is no file of ssah's.

    >>> from ssah_core import UnitMask
    >>> UnitMask({"mlp.0": torch.tensor([True, False])}).save("mask.safetensors", about={"model": "a toy"})
    >>> read_about("mask.safetensors")["about"], read_about("mask.safetensors")["sizes"]
    ({'model': 'a toy'}, {'mlp.0': 2})
    """
    metadata, _ = _opened(path, EVERY, "")
    if "kind" not in metadata:
        raise ValueError(f"{path} says nothing of itself: pass a file that save of {EVERY} wrote")
    return {name: value for name, value in metadata.items() if name != "digest"}


def checked(path: str | Path, header: Any, kind: str, noun: str) -> dict[str, Any]:
    """A header of this kind and format. Raises ValueError if it is of another, or says nothing of what it is of."""
    found = header.get("kind", header.get("ssah")) if isinstance(header, dict) else None
    if found != kind:
        what = f"{found:.40}" if isinstance(found, str) else "nothing of ssah"
        raise ValueError(f"{path} holds {what} and no {noun}: pass a file that save of {kind} wrote")
    if not isinstance(header.get("about"), dict) or not all(name in header for name in HEADER):
        raise ValueError(f"{path} is a {noun} file without provenance, as older versions wrote: make the {noun} again "
                         "and save it with this version, save(path, about={'model': ..., 'calibration': ...})")
    if header["format"] != FORMAT:
        raise ValueError(f"{path} is of format {str(header['format']):.20} and this version of ssah reads format "
                         f"{FORMAT}: save it anew with this version")
    return header


def check_seal(path: str | Path, header: Mapping[str, Any]) -> None:
    """Raise ValueError unless a header without tensors has the digest that it names."""
    if header["digest"] != sealed(header, ""):
        raise _damaged(path, header["kind"], "its content does not have the digest that it names")


def parsed(path: str | Path, text: str | bytes, kind: str) -> Any:
    """JSON as an object. Raises ValueError if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, kind, "a text in it is no JSON") from error


def _opened(path: str | Path, writer: str, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata of a safetensors file, and its tensors if it says that it is of this kind."""
    check_paths(path=path)
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file: pass the path of a file that save of {writer} wrote")
    try:
        with open(path, "rb") as begun:
            length = int.from_bytes(begun.read(8), "little")
        if length > LONGEST_HEADER:
            raise SafetensorError(f"it would have a header of {length:,} bytes")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "kind" in metadata:
                metadata = {name: parsed(path, text, writer) for name, text in metadata.items()}
            if metadata.get("kind") != kind:  # it is refused, so it is not read, however large it is
                return metadata, {}
            return metadata, {name: file.get_tensor(name).clone() for name in file.keys()}
    except (SafetensorError, OSError, TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is no whole safetensors file ({str(error):.80}): pass a file that save of {writer} "
                         "wrote, and copy it anew if it was cut off") from error


def _check_tensor(path: str | Path, form: Form, site: str, size: int, tensor: Tensor) -> None:
    if tensor.dtype != form.dtype or tuple(tensor.shape) != (size,):
        raise _damaged(path, form.kind, f"site {site!r:.40} is {tensor.dtype} of shape {tuple(tensor.shape)} where "
                                        f"{form.dtype} of shape {(size,)} is due")
    if tensor.dtype == torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
        raise _damaged(path, form.kind, f"site {site!r:.40} holds bytes that are neither true nor false")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise _damaged(path, form.kind, f"site {site!r:.40} holds numbers that are not finite")


def _is_size(size: Any) -> bool:
    return type(size) is int and size >= 0


def _damaged(path: str | Path, kind: str, why: str) -> ValueError:
    return ValueError(f"{path} is no whole {kind} file, as {why}: pass a file that save of {kind} wrote, or "
                      "save it anew")


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Digest of tensors: their names, dtypes, shapes and bytes, in order.

    >>> len(digest({"units/mlp.0": torch.tensor([True])}))
    64
    """
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return found.hexdigest()


def sealed(header: Mapping[str, Any], more: str) -> str:
    """Digest of a header but for its own digest, and of `more`.

    >>> sealed({"kind": "UnitMask", "digest": "old"}, "") == sealed({"kind": "UnitMask"}, "")
    True
    """
    text = json.dumps({name: value for name, value in header.items() if name != "digest"}, sort_keys=True)
    return hashlib.sha256(f"{text} {more}".encode()).hexdigest()


def _version() -> str:
    try:
        return version("ssah")
    except PackageNotFoundError:  # a folder on the path, not installed
        return "0+unknown"
