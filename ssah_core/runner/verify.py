"""Make one organism's numbers of every study again, and compare: python -m ssah_core.runner.verify [--studies ...]

Which organism is drawn by the digest of the present code, study by study, so that nobody chooses it. Equal rows stamp
all organisms of the study as verified by this code; unequal ones are named, with both values. A run that was stopped
goes on where it stopped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import arithmetic
from ..arguments import Parser
from ..records import cache, evidence, paths, report
from ..records.content import digest
from ..records.measurements import measured
from ..records.row_files import rows_there
from ..studies.catalogue import STUDIES, TIMED, run_of, study_named
from .kernel import environment

OUTCOMES = ("equal", "unequal", "passed over")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, 1 where rows are unequal, 2 where nothing could be compared."""
    parser = Parser(prog="python -m ssah_core.runner.verify", description=__doc__)
    parser.add_argument("--scale", choices=("tiny", "organism"), default="organism")
    parser.add_argument("--studies", nargs="+", default=[], metavar="STUDY", help="only these, such as losses attacked")
    options = parser.parse_args(argv)
    try:
        _check_there()
        outcomes = verify(paths.figures() / "measurements", options.scale, options.studies)
        if options.scale == "organism" and paths.figures() == paths.committed():
            report.main([])  # whose line on evidence says what is verified
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    counts = {what: sum(outcome == what for outcome in outcomes.values()) for what in OUTCOMES}
    print(", ".join(f"{count} {what}" for what, count in counts.items()), flush=True)
    return 1 if counts["unequal"] else 0 if counts["equal"] else 2


def _check_there() -> None:
    """Raise ValueError if SSAH_FIGURES names no folder that is there: a run whose name is misspelt is not made."""
    named = os.environ.get("SSAH_FIGURES")
    if named and not (paths.root() / Path(named).expanduser()).is_dir():
        raise ValueError(f"SSAH_FIGURES is {named!r}, and no folder is there: name the figures of a run, or a run by "
                         "NAME=... of `make verify`")


def verify(folder: Path, scale: str, only: Sequence[str] = ()) -> dict[str, str]:
    """Verify the rows below a folder: study, with its variant -> "equal", "unequal" or "passed over".

    Raises ValueError if there are no rows, a study is unknown, the code was edited since it was imported, or this
    process is not in the portable mode of arithmetic.
    """
    code = evidence.known_code()
    if arithmetic.mode() != "portable":
        raise ValueError(f"the mode of arithmetic is {arithmetic.mode()!r}: "
                         "run `make verify`, which sets the portable one")
    files = _files(folder, scale, only)
    scratch = paths.cache() / "verify" / f"{code}-torch{version('torch')}"
    return {name: _verify(name, by_seed, code, scratch) for name, by_seed in files.items()}


def _files(folder: Path, scale: str, only: Sequence[str]) -> dict[str, dict[int, Path]]:
    """Study with its variant -> seed -> file of rows of an organism."""
    unknown = set(only) - set(STUDIES)
    if unknown:
        raise ValueError(f"--studies has {', '.join(sorted(unknown))}: choose from {', '.join(STUDIES)}")
    found: dict[str, dict[int, Path]] = {}
    for file in sorted(folder.rglob(f"{scale}-seed*.json")):
        name = file.parent.relative_to(folder).as_posix()
        if file.stem.removeprefix(f"{scale}-seed").isdigit() and (not only or _study(name) in only):
            found.setdefault(name, {})[int(file.stem.removeprefix(f"{scale}-seed"))] = file
    if not found:
        raise ValueError(f"{folder} has no rows of scale {scale!r}{' of these studies' if only else ''}: "
                         "nothing to verify")
    return found


def _verify(name: str, files: Mapping[int, Path], code: str, scratch: Path) -> str:
    kept = {seed: _read(file) for seed, file in files.items()}
    seed = sorted(files)[int(digest([code, name]), 16) % len(files)]
    there, study = kept[seed], _study(name)
    if not study:
        return _tell(name, seed, "passed over", "a study of your own, which no catalogue knows how to measure")
    for other, file in files.items():
        _check_place(name, file, kept[other]["identity"])
    if why := run_of(there["identity"]).why_stale(there):  # first: an old stamp does not answer today's question
        return _tell(name, seed, "passed over", why)
    if all(_is_stamped(content, code) for content in kept.values()):
        return _tell(name, seed, "equal", "verified by this code before")
    if study in TIMED:
        return _tell(name, seed, "passed over", "its numbers are times of a clock")
    if there["evidence"]["arithmetic"] != "portable":
        return _tell(name, seed, "passed over", "measured outside the portable mode, so no bits can be compared")
    start, found = time.time(), _again(there, scratch)
    if found != there["rows"]:
        return _tell(name, seed, "unequal", _first_difference(found, there["rows"]))
    for other in sorted(files, key=lambda other: other == seed):  # the one that was measured last, as a seal
        _stamp(files[other], kept[other])
    return _tell(name, seed, "equal", f"{len(found)} rows, {time.time() - start:.0f} s")


def _read(file: Path) -> dict[str, Any]:
    content = rows_there(file)
    evidence.is_by(content["evidence"], "")  # refuses a stamp that no code gives
    return content


def _check_place(name: str, file: Path, identity: Mapping[str, Any]) -> None:
    """Raise ValueError unless rows lie where their identity says: it names the file that they are measured into."""
    if identity["study"] != name or f"{identity['scale']}-seed{identity['seed']}" != file.stem:
        raise ValueError(f"{file} says that it holds rows of {identity['study']!r}, scale {identity['scale']!r}, seed "
                         f"{identity['seed']!r}, which lie elsewhere: measure it again")


def _study(name: str) -> str:
    """The study that has such rows; "" where the catalogue has none."""
    try:
        return study_named(name)
    except ValueError:
        return ""


def _is_stamped(content: Mapping[str, Any], code: str) -> bool:
    return evidence.unstamped(content["evidence"], content["rows"]).get("verified", {}).get("code") == code


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


def _stamp(file: Path, content: Mapping[str, Any]) -> None:
    """Stamp rows of another organism with those that were measured again, if they answer the same question by bits."""
    now = _read(file)  # it took hours, perhaps, and others may have measured meanwhile
    is_same = (now["identity"], now["rows"]) == (content["identity"], content["rows"])
    if is_same and now["evidence"]["arithmetic"] == "portable" and not run_of(now["identity"]).why_stale(now):
        cache.write_json(file, {**now, "evidence": evidence.verified(now["evidence"], now["rows"])})


def _tell(name: str, seed: int, outcome: str, why: str) -> str:
    print(f"{name}, seed {seed}: {outcome} ({why})", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
