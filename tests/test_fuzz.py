"""Thousands of damaged files of every kind: each is refused in one sentence, in time and without memory to speak of,
and stays as it is. What has no seal (records, rows, completions) may be read where it is still whole."""

import json
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from damage import Kind, damaged, kinds

LEAST = 2000
PATIENCE = 5.0
"""Seconds for one file."""
ROOM = 32 * 2 ** 20
"""Bytes that reading may take beside four times the file."""
NAMES = ("UnitMask", "Scores", "UnitLabels", "Moments", "FrozenReport", "Readout", "Interval", "record.json",
         "rows.json", "chunk-00000.json", "settings.json")


class TooLong(BaseException):
    """No `except Exception` on the way may keep it."""


@contextmanager
def limited() -> Iterator[None]:
    def stop(number, frame):
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Kind]:
    return {kind.name: kind for kind in kinds(tmp_path_factory.mktemp("kinds"))}


@pytest.fixture(scope="module")
def tallies(made, tmp_path_factory):
    """Name of a kind -> what became of its damaged files; each kind is tried once."""
    found: dict[str, Counter] = {}

    def tally(name: str) -> Counter:
        if name not in found:
            found[name] = Counter(_outcomes(made[name], tmp_path_factory.mktemp("damaged")))
        return found[name]
    return tally


def _outcomes(kind: Kind, folder: Path) -> Iterator[str]:
    path = folder / kind.name
    path.write_bytes(kind.content)
    right = kind.read(path)
    tracemalloc.start()
    try:
        for what, content in damaged(kind):
            path.write_bytes(content)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                with limited():
                    yield _outcome(kind, path, right, what)
            except TooLong:
                yield f"{what}: too long"
            taken = tracemalloc.get_traced_memory()[1] - before
            if taken > 4 * len(content) + ROOM:
                yield f"{what}: {taken} bytes for a file of {len(content)}"
            if path.read_bytes() != content:
                yield f"{what}: the file was changed"
    finally:
        tracemalloc.stop()


def _outcome(kind: Kind, path: Path, right: object, what: str) -> str:
    try:
        held = kind.read(path)
    except ValueError as error:
        return "refused" if "\n" not in str(error) and 10 < len(str(error)) < 1000 else f"{what}: {error}"
    except Exception as error:
        return f"{what}: {type(error).__name__} {error}"
    return "the same" if held == right else "whole, without a seal" if kind.sound(held) else f"{what}: accepted"


GOOD = {"refused", "the same", "whole, without a seal"}


def test_every_kind_is_tried(made):
    assert tuple(made) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_refused(name, tallies):
    tally = tallies(name)
    assert set(tally) <= GOOD, [what for what in tally if what not in GOOD][:9]
    assert tally["refused"] > 0.5 * sum(tally.values()) and tally["the same"] < 0.1 * sum(tally.values())


def test_there_were_enough_of_them(tallies):
    total = sum((tallies(name) for name in NAMES), Counter())
    print(f"\n{sum(total.values()):,} damaged files: {dict(total)}")
    assert sum(total.values()) >= LEAST and all(sum(tallies(name).values()) >= 100 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_another_kind_is_refused(name, made, tmp_path):
    for other in set(NAMES) - {name}:
        path = tmp_path / name
        path.write_bytes(made[other].content)
        with pytest.raises(ValueError, match="^[^\n]{10,1000}$"):
            made[name].read(path)


# -- memory of the whole process ---------------------------------------------------------------------------

LARGE = """
import json, resource, struct, sys
from pathlib import Path
import torch
from damage import ABOUT, SIZES, kinds
from ssah_core import UnitMask
from ssah_core.units import files

folder = Path(sys.argv[1])
made = {kind.name: kind for kind in kinds(folder)}
for kind in made.values():  # whatever is loaded once
    (folder / kind.name).write_bytes(kind.content)
    kind.read(folder / kind.name)
    (folder / kind.name).unlink()
large = bytes(20_000_000)
mask = made["UnitMask"].content
cases = {
    "a header of 2 ** 40": ("UnitMask", struct.pack("<Q", 2 ** 40) + mask[8:]),
    "a long header": ("UnitMask", struct.pack("<Q", len(large)) + large),
    "a long body": ("UnitMask", mask + large),
    "a long name": ("Scores", json.dumps({"a" * 20_000_000: 1}).encode()),
    "deep": ("FrozenReport", b"[" * 90_000), "digits": ("Interval", b"9" * 20_000_000),
    "a report of zeros": ("FrozenReport", large), "rows of zeros": ("rows.json", large),
    "a trillion completions": ("settings.json", json.dumps({"questions": "x", "n": 10 ** 12, "chunk": 1}).encode()),
}
for what, (name, content) in cases.items():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = folder / name
    path.write_bytes(content)
    try:
        made[name].read(path)
    except ValueError as error:
        said = str(error)
    path.unlink()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([what, len(content), 1024 * (after - before), said]))
"""


def test_reading_a_large_hostile_file_takes_no_more_than_four_times_its_size(tmp_path):
    done = subprocess.run([sys.executable, "-c", LARGE, str(tmp_path)], capture_output=True, text=True, timeout=300,
                          cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 9
    for what, size, grown, said in found:
        assert grown <= 4 * size + 64 * 2 ** 20, (what, size, grown)
        assert "\n" not in said and len(said) < 1000, what
