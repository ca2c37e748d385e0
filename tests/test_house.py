"""The house: its rooms, their direction, and how large a file and a function may be."""

import ast
import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ssah_core"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
LONGEST_FILE, LONGEST_FUNCTION = 300, 40
"""Lines; those of a function without its docstring."""

ROOMS = {
    "models": "config hidden_states leading_space load package_index",
    "data": "catalogue files load safety_filter splits",
    "units": "ablation attribution check_units families importance labels masks score_in_blocks unit_map",
    "generation": "complete completions gcg prefill",
    "freezing": "freeze partial_linear sharded weight_slices",
    "probing": "activation_patching distances guard linear_probe logit_lens",
    "training": "dpo lora_budget sft",
    "judging": "classifiers exam judges utility",
    "organism": "__main__ alignment_course attacks corpora counterparts preferences recovery shipped train words world",
    "materials": "material published published_rows sizes",
    "studies": "ablation_table activation_patching alignment_budget attribute_transfer budget_tables checkpoints "
               "finetuning_arms finetuning_attack finetuning_tables granularity matched_controls peft_attack "
               "prefill_depth primaries reasoning_direction recovery_and_guard robustness score_cache stages subject",
    "smollm": "align judge names ready",
    "records": "cache claim claim_list doses effects executors history measurements p_values paths primary_claims "
               "questions records registration report report_tables rules statistics verdicts",
    "plots": "attack budget depth peft probing style transfer units",
    "runner": "execute parameters run_notebook",
    "planning": "__main__ estimate random_checkpoint rehearsal",
    "checks": "",
    "play": "",
}
"""The rooms, and the files that the plan of the house names in each. A room may have more."""
DOOR = {"__init__.py", "__init__.pyi", "py.typed", "arguments.py", "arithmetic.py", "cli.py", "hub.py", "moved.py",
        "sources.py"}
"""What lies beside the rooms."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("ssah_core", cache_dir=None)


# -- the tree ----------------------------------------------------------------------------------------------


def test_the_rooms_are_those_of_the_plan():
    found = {folder.name for folder in PACKAGE.iterdir() if folder.is_dir() and any(folder.glob("*.py"))}
    assert found == set(ROOMS)


def test_nothing_but_the_door_lies_beside_the_rooms():
    assert {file.name for file in PACKAGE.iterdir() if file.is_file()} == DOOR


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_its_files(room):
    files = {file.stem for file in (PACKAGE / room).glob("*.py")}
    assert set(ROOMS[room].split()) <= files


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_no_rooms_of_its_own(room):
    assert [folder for folder in (PACKAGE / room).iterdir() if folder.is_dir() and any(folder.glob("*.py"))] == []


@pytest.mark.parametrize("room", ROOMS)
def test_the_door_of_a_room_says_what_the_room_is_for_and_holds_no_code(room):
    door = TREES[f"ssah_core/{room}/__init__.py"]
    assert (ast.get_docstring(door) or "").count(" ") >= 8
    assert [type(node).__name__ for node in door.body[1:] if not isinstance(node, ast.ImportFrom)] == []


# -- the direction -----------------------------------------------------------------------------------------


def test_rooms_import_downwards(monkeypatch):
    """The contract of import-linter in pyproject.toml."""
    monkeypatch.chdir(ROOT)
    with redirect_stdout(io.StringIO()) as said:
        status = lint_imports(no_cache=True)
    assert status == 0, said.getvalue()


def test_files_import_each_other_in_no_circle(graph):
    left = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while free := [module for module, imports in left.items() if not imports & left.keys()]:
        for module in free:
            del left[module]
    assert sorted(left) == []  # what is in a circle, or above one


def test_no_room_imports_the_door(graph):
    assert graph.find_modules_that_directly_import("ssah_core") == set()


@pytest.mark.parametrize("file", TREES)
def test_nobody_imports_a_private_name(file):
    private = [f"line {node.lineno}: {name.name}" for node in ast.walk(TREES[file]) if isinstance(node, ast.ImportFrom)
               for name in node.names if _is_private(name.name)]
    assert private + [f"line {line}: {name}" for line, name in _private_attributes(TREES[file])] == []


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _private_attributes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Private names that are read off one of the package's modules, as in `cache._lock`."""
    ours = {name.asname or name.name for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("ssah_core"))
            for name in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ours \
                and node.value.id.islower() and _is_private(node.attr):
            yield node.lineno, f"{node.value.id}.{node.attr}"


# -- no registry filled by imports -------------------------------------------------------------------------


FILLING = ("update", "append", "extend", "add", "setdefault", "register", "insert")
COMMANDS = "ssah_core/cli.py"
"""Its commands are decorated, as typer has it, in the one file that makes the app."""
MARKS = ("study",)
"""Decorators that say something of a function, and tell nobody else."""


@pytest.mark.parametrize("file", TREES)
def test_no_registry_is_filled_by_an_import(file):
    assert list(_filled(TREES[file], file)) == []


def _filled(tree: ast.Module, file: str) -> Iterator[str]:
    imported = {name.asname or name.name for node in tree.body if isinstance(node, ast.ImportFrom) and node.level
                for name in node.names}
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) \
                and isinstance(node.value.func, ast.Attribute) and node.value.func.attr in FILLING:
            yield f"line {node.lineno}: {ast.unparse(node.value.func)}(...)"
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, (ast.Subscript, ast.Attribute)):
                yield f"line {node.lineno}: {ast.unparse(target)} = ..."
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and file != COMMANDS:
            for decorator in node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if _root(called) in imported.difference(MARKS):
                    yield f"line {node.lineno}: @{ast.unparse(called)}"


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("code", ["from .a import TABLE\nTABLE.update(x=1)", "from .a import TABLE\nTABLE['x'] = 1",
                                  "from .a import plot\n@plot\ndef f(): ...", "from .a import b\nb.LOADER = f",
                                  "from .a import b\n@b.plot('x')\ndef f(): ..."])
def test_the_known_ways_to_fill_one_are_seen(code):
    assert list(_filled(ast.parse(code), "any.py"))


# -- the sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", TREES)
def test_a_file_is_short(file):
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("file", TREES)
def test_functions_are_short(file):
    functions = [node for node in ast.walk(TREES[file]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert {node.name: n for node in functions if (n := _lines(node)) > LONGEST_FUNCTION} == {}


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its decorators and its docstring."""
    first = function.body[0]
    told = ast.get_docstring(function, clean=False) is not None
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if told else 0)
