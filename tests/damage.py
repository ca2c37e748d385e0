"""Files of every kind that ssah writes, and ways to damage them (tests/test_fuzz.py)."""

import hashlib
import json
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from ssah_core import FrozenReport, Interval, Moments, Scores, UnitMask, label_units, load_records
from ssah_core.generation import load_completions
from ssah_core.probing.linear_probe import Readout
from ssah_core.records.row_files import rows_there
from ssah_core.units import files

SIZES = {"attn.10": 3, "mlp.10": 5, "attn.9": 1}
ABOUT = {"model": "a toy", "note": "tab\tand “quotes”"}
ODD = (None, -1, 1.5, True, 10 ** 12, 10 ** 30, "", "x", [], {}, [[]], "\ud800", [None] * 9, {"a": {"b": []}})
"""Values that are put in the place of others."""


@dataclass(frozen=True)
class Kind:
    """A file of one kind: its bytes, how it is read, and whether what was read may differ from what was written."""

    name: str
    content: bytes
    read: Callable[[Path], Any]
    """Takes the path of the file; returns what it holds, as something that can be compared."""
    sound: Callable[[Any], bool] = lambda held: False
    """Whether what was read, if it is not what was written, is at least whole. Kinds with a seal never say so."""

    @property
    def header(self) -> int:
        """Bytes before the tensors; all of it where there are none."""
        return 8 + struct.unpack("<Q", self.content[:8])[0] if self.is_safetensors else len(self.content)

    @property
    def is_safetensors(self) -> bool:
        return self.content[8:9] == b"{"


def _numbers(seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {site: torch.randn(size, generator=draw, dtype=torch.float64) for site, size in SIZES.items()}


def flat(thing: Any) -> Any:
    """All that an object holds, in order, bit for bit."""
    if isinstance(thing, torch.Tensor):
        return str(thing.dtype), tuple(thing.shape), thing.numpy().tobytes()
    if isinstance(thing, Mapping):
        return [(str(name), flat(value)) for name, value in thing.items()]
    return flat(vars(thing)) if hasattr(thing, "__dict__") else thing


def _read(cls: Any, path: Path) -> Any:
    return flat(cls.load(path))


def _saved(folder: Path, thing: Any, **about: Any) -> bytes:
    thing.save(folder / "made", **about)
    content = (folder / "made").read_bytes()
    (folder / "made").unlink()
    return content


def kinds(folder: Path) -> list[Kind]:
    """One of each."""
    scores = Scores("by hand", _numbers(1), _numbers(2), _numbers(3))
    objects = [UnitMask({site: score > 0 for site, score in _numbers(0).items()}), scores,
               label_units(scores, scu=0.2, ucu=0.3, ru=0.2),
               Moments(7, _numbers(4), {site: score.square() for site, score in _numbers(5).items()}),
               FrozenReport(1000, 0, 3000, 2994)]
    readout = Readout(1, torch.ones(4, dtype=torch.float64), 0.5)
    record = dict(claim="table1/scu/asr", value=2.0, unit="points", interval=None, method="one", values=[2.0],
                  seeds=[0], n=3, judge="none", scale="tiny", model="organism", code="a test", orders=1)
    rows = {"format": 2, "identity": {"study": "x", "version": 1, "seed": 0, "scale": "tiny", "settings": {}},
            "rests_on": {}, "evidence": {"code": "earlier", "arithmetic": "none", "date": "2026-01-01"},
            "rows": [{"metric": "asr", "value": 3.5}, {"metric": "utility", "value": 4}]}
    said = [{"prompt": "how ?", "response": "sure"}, {"prompt": "why ?", "response": "sorry"}]
    about = {"questions": "", "n": 2, "chunk": 2}
    about["questions"] = _digest_of(said)
    return [*(Kind(type(thing).__name__, _saved(folder, thing, about=ABOUT),
                   partial(_read, type(thing))) for thing in objects),
            Kind("Readout", _saved(folder, readout), partial(_read, Readout), lambda held: len(held) == 3),
            Kind("Interval", _saved(folder, Interval(1.0, 0.5, 1.5, 3, "t")), partial(_read, Interval),
                 lambda held: dict(held)["n"] >= 1),
            Kind("record.json", _json(record), lambda path: flat(load_records(path.parent)[0]),
                 lambda held: dict(held)["n"] >= 1),
            Kind("rows.json", _json(rows), rows_there, lambda held: all("metric" in row for row in held["rows"])),
            Kind("chunk-00000.json", _json(said), lambda path: _completions(path, about, said),
                 lambda held: [row["prompt"] for row in held] == ["how ?", "why ?"]),
            Kind("settings.json", _json(about), lambda path: _completions(path, about, said))]


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode()


def _digest_of(rows: list[dict]) -> str:
    return hashlib.sha256(json.dumps([row["prompt"] for row in rows]).encode()).hexdigest()[:12]


def _completions(path: Path, about: dict, said: list[dict]) -> list[dict]:
    for name, content in (("settings.json", about), ("chunk-00000.json", said)):
        if path.name != name:
            (path.parent / name).write_bytes(_json(content))
    return load_completions(path.parent).to_list()


# -- damage ------------------------------------------------------------------------------------------------


def damaged(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Damaged copies of a file, each with what was done."""
    yield from _cut(kind)
    yield from _flipped(kind)
    yield from _shifted(kind)
    yield from _hostile(kind)
    yield from (_resealed(kind) if kind.name in ("UnitMask", "UnitLabels", "Moments", "Scores") else ())
    yield from (_retold(kind.content) if not kind.is_safetensors else ())


def _cut(kind: Kind) -> Iterator[tuple[str, bytes]]:
    whole, edge = len(kind.content), kind.header
    lengths = {*range(17), *range(0, whole, 11), *range(edge - 9, edge + 9), *range(whole - 9, whole)}
    for length in sorted(lengths & set(range(whole))):
        yield f"cut to {length}", kind.content[:length]


def _flipped(kind: Kind) -> Iterator[tuple[str, bytes]]:
    draw = random.Random(0)
    body = list(range(kind.header, len(kind.content)))
    for at in [*range(kind.header), *draw.sample(body, min(len(body), 99))]:
        bit = draw.randrange(8)
        changed = bytearray(kind.content)
        changed[at] ^= 1 << bit
        yield f"bit {bit} of byte {at} flipped", bytes(changed)


def _shifted(kind: Kind) -> Iterator[tuple[str, bytes]]:
    draw, whole = random.Random(1), kind.content
    for at in draw.sample(range(len(whole)), 40):
        yield f"byte {at} lost", whole[:at] + whole[at + 1:]
        yield f"byte at {at} put in", whole[:at] + bytes([draw.randrange(256)]) + whole[at:]
        yield f"from {at} on zeros", whole[:at] + bytes(len(whole) - at)
    for size in (1, 8, 1000):
        yield f"{size} bytes more", whole + bytes(size)
        yield f"{size} random bytes", draw.randbytes(size)


def _hostile(kind: Kind) -> Iterator[tuple[str, bytes]]:
    rest = kind.content[8:]
    for length in (0, 1, 2, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 63, 2 ** 64 - 1):
        yield f"a header of {length}", struct.pack("<Q", length) + rest
    for text in ("[" * 100_000, '{"a":' * 100_000, "9" * 100_000, "{}", "[]", "null", '"', "NaN", "1e999", "\ufeff{}",
                 '{"__metadata__":{"kind":"\\"UnitMask\\""}}',
                 '{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'):
        yield f"the text {text[:9]}", text.encode()
        yield f"a header {text[:9]}", struct.pack("<Q", len(text.encode())) + text.encode()
    for shape, offsets in (([10 ** 12], [0, 8]), ([2 ** 63], [0, 8]), ([-1], [0, 8]), ([1], [0, 10 ** 12]),
                           ([1], [8, 0]), ([1] * 10_000, [0, 8]), ([], [0, 8]), ([0, 10 ** 12], [0, 0])):
        header = json.dumps({"units/mlp.0": {"dtype": "F64", "shape": shape, "data_offsets": offsets}}).encode()
        yield f"a tensor of shape {shape[:3]} at {offsets}", struct.pack("<Q", len(header)) + header + bytes(8)


def _resealed(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """A header or tensors that are others, under a seal that is right."""
    text = json.loads(kind.content[8:kind.header])
    header = {name: json.loads(value) for name, value in text["__metadata__"].items()}
    tensors = load(kind.content)
    for name in header:
        for odd in ODD:
            yield f"{name} is {str(odd)[:9]!r}", _sealed(header | {name: odd}, tensors)
        yield f"no {name}", _sealed({key: value for key, value in header.items() if key != name}, tensors)
    for size in (0, -1, 4, 10 ** 12, 2 ** 70, "3", None, 3.0, True):
        yield f"a size of {size}", _sealed(header | {"sizes": header["sizes"] | {"mlp.10": size}}, tensors)
    yield "many lists", _sealed(header | {"about": [[]] * 200_000}, tensors)
    yield "many sites", _sealed(header | {"sizes": {f"mlp.{n}": 1 for n in range(10 ** 5)}}, tensors)
    for name, tensor in tensors.items():
        for other in (torch.float32, torch.int64, torch.uint8, torch.bool, torch.float16):
            if tensor.dtype != other:
                yield f"{name} is {other}", _sealed(header, tensors | {name: tensor.to(other)})
        for shape in ((0,), (2,), (9,), (len(tensor), 1), (1, 1, 1), ()):
            if shape != tuple(tensor.shape):
                other = torch.zeros(shape, dtype=tensor.dtype)
                yield f"{name} is of shape {shape}", _sealed(header, tensors | {name: other})
        if tensor.is_floating_point():
            for odd in (torch.nan, torch.inf, -torch.inf):
                yield f"{name} is {odd}", _sealed(header, tensors | {name: torch.full_like(tensor, odd)})
        yield f"no {name}", _sealed(header, {key: value for key, value in tensors.items() if key != name})
    yield "a tensor more", _sealed(header, tensors | {"units/mlp.99": torch.ones(1)})


def _sealed(header: dict, tensors: dict[str, torch.Tensor]) -> bytes:
    sizes = header.get("sizes")
    named = [f"{part}/{site}" for part in ("units", "kinds", "mean", "squares", "safety", "utility", "contrast")
             for site in (sizes if isinstance(sizes, dict) else SIZES)]
    there = {name: tensors[name].reshape(tuple(tensors[name].shape) or (1,)) for name in named if name in tensors}
    seal = files.sealed(header, files.digest(there))
    if "digest" in header and isinstance(header["digest"], str) and len(header["digest"]) == 64:
        header = header | {"digest": seal}
    return save(tensors, metadata={name: json.dumps(value) for name, value in header.items()})


def _retold(content: bytes) -> Iterator[tuple[str, bytes]]:
    """JSON with one value in the place of another, one left out, or one said twice."""
    for path in _paths(json.loads(content)):
        for odd in (*ODD, float("nan"), float("inf")):
            yield f"{path} is {str(odd)[:9]!r}", json.dumps(_put(json.loads(content), path, odd)).encode()
        yield f"{path} 1e999", json.dumps(_put(json.loads(content), path, "@")).replace('"@"', "1e999").encode()
    yield "twice", content[:-1].rstrip(b"}\n") + b',"n":-1}' if content.startswith(b"{") else content[:-1] + b",7]"


def _paths(content: Any, at: tuple = ()) -> Iterator[tuple]:
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in inner:
        yield (*at, name)
        yield from _paths(value, (*at, name))


def _put(content: Any, path: tuple, value: Any) -> Any:
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return content
