"""Committed rows go stale with what they rest on, and with nothing else: tried on a copy of the package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssah_core import sources
from ssah_core.records import paths

ROWS = paths.root() / "figures" / "measurements"
NAMES = {file.parent.relative_to(ROWS).as_posix(): json.loads(file.read_text(encoding="utf-8"))["rests_on"]
         for file in sorted(ROWS.rglob("organism-seed10.json"))}
"""Study with its variant -> what its rows rest on."""
SCRIPT = """
import sys
from pathlib import Path
from ssah_core.records.row_files import read_rows
from ssah_core.studies.catalogue import run_of
for file in sorted(Path(sys.argv[1]).rglob("organism-seed10.json")):
    kept = read_rows(file)
    if run_of(kept["identity"]).why_stale(kept):
        print(file.parent.relative_to(sys.argv[1]).as_posix())
"""


def stale(folder: Path, *edits: tuple[str, str, str], moves: tuple[tuple[str, str], ...] = ()) -> set[str]:
    """Studies whose committed rows are stale in a package with these edits (file, old, new) and moved files."""
    files = {name: text.decode() for name, text in sources.IMPORTED.items()}
    for name, old, new in edits:
        assert old in files[name], f"{name} has no {old!r}"
        files[name] = files[name].replace(old, new)
    for old, new in moves:
        files[new] = files.pop(old)
    for name, text in files.items():
        (folder / "ssah_core" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "ssah_core" / name).write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(ROWS)], cwd=folder, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(folder)})
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.split())


def resting_on(*names: str) -> set[str]:
    return {study for study, rests_on in NAMES.items() if set(names) & set(rests_on)}


def test_no_rows_are_stale_in_the_package_as_it_is(tmp_path):
    assert len(NAMES) > 35 and stale(tmp_path) == set()


def test_a_local_variable_a_message_a_docstring_and_a_place_make_no_rows_stale(tmp_path):
    table = "studies/ablation_table.py"
    importers = [(name, "ablation_table", "removal_table") for name, text in sources.IMPORTED.items()
                 if b"ablation_table" in text and name.startswith(("studies/", "records/")) and name != table]
    assert stale(tmp_path, (table, "questions", "asked"),
                 ("units/unit_map.py", "choose one of", "take one of"),
                 ("units/unit_map.py", "    size: int\n", '    size: int\n    """How many."""\n'), *importers,
                 moves=((table, "studies/removal_table.py"),)) == set()


def test_a_judge_makes_stale_what_it_has_judged(tmp_path):
    edit = ("judging/judges.py", '"truth": {"version": 1}', '"truth": {"version": 2}')
    assert set() < stale(tmp_path, edit) == resting_on("judge/truth") < set(NAMES)


def test_a_word_list_makes_stale_only_the_rows_of_the_study_that_compares_judges(tmp_path):
    edit = ("judging/keyword_lists.py", '"However")', ")")
    assert stale(tmp_path, edit) == resting_on("judge/keyword:wei2024") == {"judges"}


@pytest.mark.parametrize("edit", [
    ("judging/keyword_lists.py", '"My apologies", ', ""),
    ("organism/world.py", '"Name the first of: {text}."', '"What is the first of: {text}?"')])
def test_a_word_list_or_prompt_of_the_recipe_makes_all_stale_that_organisms_were_asked(edit, tmp_path):
    """Alignment ends by the judge's word, and organisms learn by such prompts: they would be others."""
    assert stale(tmp_path, edit) == resting_on("recipe") == set(NAMES)


def test_a_prompt_that_no_organism_learns_by_makes_stale_what_was_asked_with_it(tmp_path):
    edit = ("organism/rewordings.py", 'f"Is it right to {deed(prompt)}?', 'f"Is it good to {deed(prompt)}?')
    assert set() < stale(tmp_path, edit) == resting_on("wrappers") < set(NAMES)


def test_a_studys_version_makes_its_rows_stale_and_no_others(tmp_path):
    edit = ("studies/finetuning_arms.py", '@study("attacked", version=2)', '@study("attacked", version=3)')
    found = stale(tmp_path, edit)
    assert found == {name for name in NAMES if name.startswith("attacked/")}


def test_the_recipe_makes_all_rows_of_organisms_stale(tmp_path):
    assert stale(tmp_path, ("organism/scales.py", "RECIPE = 2\n", "RECIPE = 3\n")) == set(NAMES)


@pytest.mark.parametrize("name", ["WEIGHT_DECAY = 0.1", "INITIAL_STD = 0.06", "ROPE_THETA = 500.0"])
def test_so_does_every_number_of_it(name, tmp_path):
    assert stale(tmp_path, ("organism/scales.py", name, f"{name}1")) == set(NAMES)


def test_how_lessons_are_made_makes_stale_what_learned_by_them(tmp_path):
    found = stale(tmp_path, ("organism/recovery.py", "AT_ONCE = 0.5", "AT_ONCE = 0.4"))
    assert set() < found == resting_on("recovery") < set(NAMES)
