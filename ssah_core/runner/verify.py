"""Make one organism's numbers of every study again, and compare: python -m ssah_core.runner.verify [--studies ...]

Which organism is drawn by the digest of the present code, study by study, so that nobody chooses it. Equal rows stamp
all organisms of the study as verified by this code; unequal ones are named, with both values. A run that was stopped
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import arithmetic
from ..records import SCALES, cache, evidence, paths
from ..records.content import digest
from ..records.measurements import measured, read_rows
from ..studies.catalogue import STUDIES, TIMED, run_of, study_of
from .kernel import environment

Measure = Callable[..., list[dict]]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, 1 where rows are unequal, 2 where nothing could be compared."""
    parser = argparse.ArgumentParser(prog="python -m ssah_core.runner.verify", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="organism")
    parser.add_argument("--studies", nargs="+", default=[], metavar="STUDY", help="only these, such as losses attacked")
    options = parser.parse_args(argv)
    try:
        outcomes = verify(paths.figures() / "measurements", options.scale, options.studies)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    counts = {what: sum(outcome == what for outcome in outcomes.values()) for what in ("equal", "unequal", "passed over")}
    print(f"{counts['equal']} equal, {counts['unequal']} unequal, {counts['passed over']} passed over", flush=True)
    return 1 if counts["unequal"] else 0 if counts["equal"] else 2


def verify(folder: Path, scale: str, only: Sequence[str] = ()) -> dict[str, str]:
    """Verify the rows below a folder: study, with its variant -> "equal", "unequal" or "passed over".

    Raises ValueError if there are no rows, a study is unknown, the code was edited since it was imported, or this
    process is not in the portable mode of arithmetic.
    """
    code = evidence.code_digest()
    if code == evidence.EDITED:
        raise ValueError("the code was edited while it ran, so nothing is stamped as verified: run it again")
    if arithmetic.mode() != "portable":
        raise ValueError(f"the mode of arithmetic is {arithmetic.mode()!r}: run `make verify`, which sets the portable one")
    files = _files(folder, scale, only)
    scratch = paths.cache() / "verify" / code
    return {name: _verify(name, by_seed, code, scratch) for name, by_seed in files.items()}


def _files(folder: Path, scale: str, only: Sequence[str]) -> dict[str, dict[int, Path]]:
    """Study with its variant -> seed -> file of rows of an organism."""
    unknown = set(only) - set(STUDIES)
    if unknown:
        raise ValueError(f"--studies has {', '.join(sorted(unknown))}: choose from {', '.join(STUDIES)}")
    found: dict[str, dict[int, Path]] = {}
    for file in sorted(folder.rglob(f"{scale}-seed*.json")):
        name = file.parent.relative_to(folder).as_posix()
        if not only or study_of(name) in only:
            found.setdefault(name, {})[int(file.stem.removeprefix(f"{scale}-seed"))] = file
    if not found:
        raise ValueError(f"{folder} has no rows of scale {scale!r}{' of these studies' if only else ''}: nothing to verify")
    return found


def _verify(name: str, files: Mapping[int, Path], code: str, scratch: Path) -> str:
    seed = sorted(files)[int(digest([code, name]), 16) % len(files)]
    there = read_rows(files[seed])
    if there is None:
        raise ValueError(f"{files[seed]} is damaged or of another format: measure it again (`make publish`)")
    if evidence.is_by(there["evidence"], code) and "verified" in there["evidence"]:
        return _tell(name, seed, "equal", "verified by this code before")
    if study_of(name) in TIMED:
        return _tell(name, seed, "passed over", "its numbers are times of a clock")
    if there["evidence"]["arithmetic"] != "portable":
        return _tell(name, seed, "passed over", "measured outside the portable mode, so no bits can be compared")
    start, found = time.time(), _again(there, scratch)
    if found != there["rows"]:
        return _tell(name, seed, "unequal", _first_difference(found, there["rows"]))
    for file in files.values():
        _stamp(file, there["evidence"]["arithmetic"])
    return _tell(name, seed, "equal", f"{len(found)} rows, {time.time() - start:.0f} s")


def _again(there: Mapping[str, Any], scratch: Path) -> list[dict]:
    """The rows as this code measures them, in a cache of their own."""
    run = run_of(there["identity"])
    with environment(SSAH_CACHE=str(scratch / "cache"), SSAH_FIGURES=str(scratch / "figures"), SSAH_RECORDS="ignore"):
        return measured(run)["rows"]


def _first_difference(found: Sequence[Mapping], there: Sequence[Mapping]) -> str:
    ask = "give the study a new version and measure it anew, or mend the code"
    if len(found) != len(there):
        return f"{len(found)} rows, but {len(there)} are kept; {ask}"
    n = next(n for n, (ours, theirs) in enumerate(zip(found, there, strict=True)) if ours != theirs)
    about = {key: value for key, value in there[n].items() if found[n].get(key) == value}
    differ = [f"{key} is {found[n].get(key)!r}, kept {there[n].get(key)!r}" for key in {**found[n], **there[n]}
              if found[n].get(key) != there[n].get(key)]
    return f"row {n} ({about}): {'; '.join(differ)}; {ask}"


def _stamp(file: Path, mode: str) -> None:
    content = read_rows(file)
    if content and content["evidence"]["arithmetic"] == mode:
        cache.write_json(file, {**content, "evidence": evidence.verified(content["evidence"])})


def _tell(name: str, seed: int, outcome: str, why: str) -> str:
    print(f"{name}, seed {seed}: {outcome} ({why})", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
