"""Write `paper_repro.md`, the paper's claims against ours, and the ten lines of the README, from records alone.

    python -m ssah_core.records.report             write them, from the committed records
    python -m ssah_core.records.report --check     write nothing; exit with 1 if one is stale

Only the text between two markers is written; prose around them stays. A run has a report of its own: `write_run`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from ..arguments import Parser
from . import cache, catches, evidence, paths, questions, report_tables
from .claims_table import verdict_table
from .measurements import read_evidence
from .notebook_table import notebook_table
from .records import load_records
from .registration import TEST
from .side_by_side import caution
from .verdicts import verdicts

FILE, README = "paper_repro.md", "README.md"
EVIDENCE = "Evidence:"
"""How the line begins that says by which code rows were measured and verified."""
BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"
TABLE = "<!-- notebooks: begin -->", "<!-- notebooks: end -->"
"""Markers around README's table of notebooks."""
TRIAL = ("attacked/benign/order*", "attacked/new/order*", "budget/primary/*", "curves/chosen", "curves/paper",
         "distances", "patches", "probes", "table1/primary", "transfer/new", "transfer/untrained")
"""Where rows lie that primary claims rest on, below `figures/measurements`."""
PREFACE = f"""# Does the hypothesis hold? The paper's claims, and ours

`make report` writes what stands between the markers from the records in `figures/records/`. Typed by hand are only the
numbers of the paper, and those of earlier runs below *What was tried before*, whose records are gone.
The paper measured models of 7 to 8 billion parameters. Ours are model organisms of about a million, each raised from a
seed of its own in an invented world; a row that names a checkpoint is about that. Compare directions and controls, not
sizes.

{BEGIN}
{END}
"""
RUN_PREFACE = """# What this run found

A run of your own, by the code and on the machine that you have; nothing that is committed was read or changed. The
report of what is committed: [paper_repro.md]({committed}).

{found}

The tables below set the paper's claims beside this run, in the form of that report. A verdict is about the registered
organisms, all of them, so that a run of one is *undecided*.

"""
NOTHING = "Nothing is judged: scale tiny proves that the code runs, and no claim is held against it.\n"


def claims_of(notebook: str) -> str:
    """All claims of one notebook, judged by the records that are kept: the primary ones in a line each, then a table.

    notebook   its name without ".ipynb"

    Returns Markdown. Raises ValueError if no claim names the notebook.

    >>> from ssah_core.records import report
    >>> report.claims_of("03_label_units").startswith("- **")
    True

    *Shown in:* 03_label_units.
    """
    records = load_records()
    table = verdicts(records)
    lines = report_tables.found(table, notebook, catches.told(records))
    return "\n\n".join(filter(None, (lines, verdict_table(table, notebook))))


def with_numbers(text: str) -> str:
    """A text whose records, named in braces, are replaced by their numbers with intervals, over organisms.

    text   such as "against as many random units {table2/benign/scu_6cu_vs_random/asr}"

    What has not been measured is called so.

    >>> from ssah_core.records import report
    >>> report.with_numbers("By nothing: {no/such/record}.")
    'By nothing: not measured.'

    *Shown in:* 09_reviewers_questions.
    """
    return catches.filled(text, load_records())


def real_models() -> str:
    """Primary claims on real models beside the organisms, as Markdown, from the records that lie here.

    >>> from ssah_core.records.report import real_models
    >>> real_models().startswith(("A run is one alignment", "No real model has been measured"))
    True

    *Shown in:* 10_real_checkpoints.
    """
    rows = [row for row in verdicts(load_records()).itertuples(index=False) if row.pillar]
    told = report_tables.beside(rows)
    return "\n\n".join(told[1:]) if told else (
        "No real model has been measured here: `make reproduce SCALE=smollm` does it.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Raises ValueError if a file has lost a marker.
    """
    parser = Parser(prog="python -m ssah_core.records.report", description=f"Write {FILE} from the records.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    chosen = parser.parse_args(argv)
    records, stale = load_records(), 0
    table, caught = verdicts(records), catches.told(records)
    told = {FILE: report_tables.render(table, _evidence(), questions.told(table, caught, caution()), caught),
            README: f"{report_tables.short(table)}\n"}
    for name, body in told.items():
        current = _current(name)
        expected = insert(current or (PREFACE if name == FILE else "\n".join((BEGIN, END, *TABLE, ""))), body, name)
        if name == README:
            expected = insert(expected, f"{notebook_table(records)}\n", name, *TABLE)
        stale |= _check(name, current, expected) if chosen.check else _write(name, expected)
    return stale


def _current(name: str) -> str | None:
    file = paths.root() / name
    return file.read_text(encoding="utf-8") if file.exists() else None


def _check(name: str, current: str | None, expected: str) -> int:
    if _without_evidence(current) == _without_evidence(expected):  # which changes with every edit of the code
        return 0
    print(f"{name} does not follow from the records: run `make report`", file=sys.stderr)
    return 1


def _without_evidence(text: str | None) -> list[str]:
    return [line for line in (text or "").splitlines() if not line.startswith(EVIDENCE)]


def _write(name: str, expected: str) -> int:
    cache.write_bytes(paths.root() / name, expected.encode())
    return 0


def evidence_line(files: int, verified: int, loose: int, last: str) -> str:
    """The report's one line on evidence.

    files     files of rows
    verified  those that the present code measured, or has measured again since with an equal result
    loose     of the others, those that were measured outside the strict arithmetic mode
    last      date at which the last of the others was measured

    Raises ValueError unless the counts fit in each other.

    >>> from ssah_core.records.report import evidence_line
    >>> evidence_line(195, 195, 0, "")
    'Evidence: the present code has verified all 195 files of rows.'
    """
    others = files - verified
    if not 0 <= loose <= others <= files:
        raise ValueError(f"files is {files}, verified {verified} and loose {loose}: pass counts, verified and loose "
                         "no more than files together")
    if not others:
        return f"{EVIDENCE} the present code has verified all {files} files of rows."
    how = "all outside the strict mode, " if loose == others else f"{loose} outside the strict mode, " if loose else ""
    return (f"{EVIDENCE} of {files} files of rows, {others} were measured by earlier code, {how}the last on {last}; "
            f"the present code has measured {verified} (again) with the same bits. `make verify` does so.")


def _evidence() -> str:
    """The line on evidence, and by which code the registered organisms were measured."""
    kept = read_evidence()
    codes = trial_codes(kept)
    by = f" All rows of the registered claims are of one code, of digest `{codes.pop()}`." if len(codes) == 1 else ""
    edited = [about["file"] for about in kept if about["code"] == evidence.EDITED]
    apart = "" if evidence.EDITED in trial_codes(kept) else ", none of a registered claim"
    unsure = (f" Code was edited while it measured {len(edited)} files{apart} ({', '.join(edited)}), so that nobody "
              "knows which it was." if edited else "")
    return f"{evidence_line(*evidence.count(kept))}{by}{unsure}"


def trial_codes(kept: Sequence[Mapping[str, Any]]) -> set[str]:
    """The codes that measured what primary claims rest on, of the registered organisms.

    kept   evidence as `ssah_core.records.measurements.read_evidence` returns it

    >>> from ssah_core.records.report import trial_codes
    >>> sorted(trial_codes([{"file": "probes/organism-seed10.json", "code": "a"},
    ...                     {"file": "probes/organism-seed0.json", "code": "b"},
    ...                     {"file": "judges/organism-seed10.json", "code": "c"}]))
    ['a']
    """
    files = {f"organism-seed{seed}.json" for seed in TEST}
    return {about["code"] for about in kept
            if (place := PurePath(about["file"])).name in files and any(place.parent.match(one) for one in TRIAL)}


def write_run(folder: Path, found: Sequence[str]) -> Path:
    """Write the report of a run into its folder, from the records below `paths.figures()`; returns the file.

    folder    of the run; its notebooks are linked where they are there, else those of the repository
    found     lines of Markdown that say what the run found, see `findings.describe`
    """
    link = _from(folder)
    preface = RUN_PREFACE.format(committed=link(paths.root() / FILE), found="\n".join(found))
    records = [record for record in load_records() if record.scale != "tiny"]
    body = (report_tables.render(verdicts(records), _evidence(), catches=catches.told(records),
                                 link=lambda name: link(_notebook(folder, name))) if records else NOTHING)
    cache.write_bytes(folder / FILE, (preface + body).encode())
    return folder / FILE


def _notebook(folder: Path, name: str) -> Path:
    own = folder / f"{name}.ipynb"
    return own if own.is_file() else paths.notebooks() / own.name


def _from(folder: Path) -> Callable[[Path], str]:
    """Links that work from a file in that folder."""
    return lambda file: quote(Path(os.path.relpath(file, folder)).as_posix())


def insert(text: str, body: str, name: str = FILE, begin: str = BEGIN, end: str = END) -> str:
    """Text with `body` between its two markers. Raises ValueError unless each marker stands there once, in order."""
    if (text.count(begin), text.count(end)) != (1, 1) or text.index(begin) > text.index(end):
        raise ValueError(f"{name} needs one {begin!r} and, after it, one {end!r}: put them back, or delete the file")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{body}\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    sys.exit(main())
