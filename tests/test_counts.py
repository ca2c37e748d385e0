"""The page of tests says how many wrong calls, damaged files and attacks there are: as many as tables and files
have."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import test_cache
import test_completions
import test_fuzz
import test_wrong_commands
import typer
from right_calls import parameters, public
from wrong_calls import EXEMPT, WRONG
from wrong_commands import ENVIRONMENT, FLAGS, MAKE, MAKE_EXEMPT, PROGRAMS, WRONG_COMMANDS

from ssah_core.cli import app
from ssah_core.runner.parameters import read_parameters
from tests.faults.damage import KINDS, WAYS

HERE = Path(__file__).parent
TEXT = (HERE / "README.md").read_text(encoding="utf-8")
WORDS = {11: "eleven", 12: "twelve", 13: "thirteen"}
FILES = [found[1] for found in re.finditer(r"\d+ cases of `tests/(test_\w+\.py)`", TEXT)]


def cells(name: str) -> list[str]:
    """The cells of a table's row behind its name."""
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in row.split("|")[2:-1]]


def cases(*tests: Callable) -> int:
    """How many cases some tests are parametrized to."""
    return sum(math.prod(len(mark.args[1]) for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize")
               for test in tests)


def count(*tables: dict) -> int:
    """How many values tables have, each a name -> some."""
    return sum(len(values) for table in tables for values in table.values())


def test_wrong_calls_of_the_library():
    named = sum(parameter != "self" for thing in public().values() for parameter in parameters(thing))
    calls, covered, exempt = cells("library")
    assert (calls, covered) == (str(count(*WRONG.values())), f"{named - len(EXEMPT)} of {named}")
    assert exempt.startswith(f"{len(EXEMPT)}:")


def test_wrong_options_of_the_command():
    options = [option.name for command in typer.main.get_command(app).commands.values() for option in command.params]
    flags = sum(name in FLAGS for name in options)
    covered = f"{len(options) - flags} of {len(options)} options"
    assert cells("`ssah`") == [str(count(*WRONG_COMMANDS.values())), covered, f"{flags}: flags"]


def test_wrong_command_lines_variables_and_parameters():
    assert cells("`python -m ssah_core...`")[0] == str(count(PROGRAMS))
    calls, covered, exempt = cells("make")
    assert (calls, covered) == (str(count(MAKE)), f"{len(MAKE)} of {len(MAKE) + len(MAKE_EXEMPT)} variables")
    assert exempt.startswith(f"{len(MAKE_EXEMPT)}:")
    named = [len(read_parameters(notebook)) for notebook in test_wrong_commands.NOTEBOOKS]
    assert cells("notebook parameters")[:2] == [f"{len(named)} notebooks", f"{sum(named)} of {sum(named)}"]
    assert cells("environment variables")[:2] == [str(count(ENVIRONMENT)), f"{len(ENVIRONMENT)} of {len(ENVIRONMENT)}"]


def test_files_of_others():
    tests = test_wrong_commands
    assert cells("files of others (data, completions, records)")[0] == str(cases(
        tests.test_a_wrong_data_file_is_refused, tests.test_completions_of_a_changed_file_are_refused,
        tests.test_a_folder_with_a_damaged_record_is_refused, tests.test_a_record_that_contradicts_itself_is_refused,
        tests.test_a_file_of_another_kind_or_model_is_refused_where_it_is_used,
        tests.test_what_is_made_of_one_model_does_not_go_with_another))


def test_damaged_files():
    assert cells("damaged files, cut short and with one bit turned")[1].startswith(
        f"{len(WAYS) * len(KINDS)} files of {len(KINDS)} kinds:")
    assert cells("damaged artefacts and completions")[1] == (
        f"{cases(test_cache.test_a_damaged_artefact_is_named_and_built_again)} artefacts, "
        f"{cases(test_completions.test_a_damaged_file_is_named_and_made_anew_and_no_other)} folders of completions")
    assert f"files of all {WORDS[len(test_fuzz.NAMES)]} kinds that ssah writes" in TEXT


@pytest.mark.parametrize("file", FILES)
def test_attacks(file, request):
    """Of the files that were collected whole."""
    chosen = request.config
    here = [item for item in request.session.items if item.path == HERE / file]
    said = int(re.search(rf"(\d+) cases of `tests/{file}`", TEXT)[1])
    is_part = chosen.getoption("keyword") or chosen.getoption("lf", False) or any("::" in name for name in chosen.args)
    assert len(here) <= said if is_part else len(here) in (0, said)
