"""Commands, make, notebook parameters, environment variables and files of others: what is wrong with them is said in
one sentence, with exit code 2 where there is one, and nothing is changed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from benchmarks import __main__ as benchmarks
from faults import __main__ as faults
from right_calls import Table
from test_wrong_calls import check_sentence, seal
from typer.testing import CliRunner
from wrong_calls import Odd
from wrong_commands import COMMANDS, DATA, ENVIRONMENT, FLAGS, MAKE, MAKE_EXEMPT, PROGRAMS, WRONG_COMMANDS

import ssah_core as ssah
from ssah_core.checks import fresh
from ssah_core.cli import app
from ssah_core.generation import load_completions
from ssah_core.judging import reading
from ssah_core.organism import __main__ as organism
from ssah_core.planning import __main__ as planning
from ssah_core.records import paths, registration, report
from ssah_core.runner import execute, parameters, verify
from ssah_core.studies import primaries, stages

ROOT = Path(__file__).resolve().parents[1]
MAINS: dict[str, Callable] = {"execute": execute.main, "verify": verify.main, "planning": planning.main,
                              "report": report.main, "registration": registration.main, "organism": organism.main,
                              "primaries": primaries.main, "reading": reading.main, "benchmarks": benchmarks.main,
                              "faults": faults.main}


@pytest.fixture(scope="module")
def table(module_cache) -> Table:
    made = Table(module_cache)
    chats = [{"prompt": "how ?", "response": "sorry"}, {"prompt": "lift", "response": "sure"}]
    made.at("chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    for name, content in DATA.items():
        made.at(name).write_bytes(content)
    (made.mask & ~made.mask).save(made.at("none"))
    return made


@pytest.fixture(autouse=True)
def as_it_was(table, module_cache, no_hub, recwarn):
    """Nothing is changed, and nobody asked."""
    (module_cache / "figures").mkdir(exist_ok=True)
    before = seal(table.model, module_cache)
    yield
    assert seal(table.model, module_cache) == before


def cases(found: dict[str, list]) -> list:
    return [pytest.param(name, value, id=f"{name}-{n}")
            for name, values in found.items() for n, value in enumerate(values)]


def check_error(said: str, code: int | str | None, value: str = "") -> None:
    """Exit code 2, and one sentence on standard error."""
    assert code == 2, (code, said)
    (sentence,) = said.splitlines()
    check_sentence(sentence, Odd(lambda t: None, re.escape(value)))


# -- the command ssah --------------------------------------------------------------------------------------


def test_every_option_is_in_the_table():
    found = typer.main.get_command(app).commands
    options = {name: {option.name for option in command.params} - set(FLAGS) for name, command in found.items()}
    assert options == {name: set(right) for name, right in COMMANDS.items()}
    assert all(set(COMMANDS[name]) <= set(WRONG_COMMANDS[name]) for name in COMMANDS)


@pytest.mark.parametrize("command, parameter, words", [
    pytest.param(command, parameter, words, id=f"{command}-{parameter}-{n}")
    for command, wrong in WRONG_COMMANDS.items() for parameter, values in wrong.items()
    for n, words in enumerate(values)])
def test_a_wrong_option_is_refused(command, parameter, words, table):
    given = COMMANDS[command] | {parameter: words}
    words = [word.format(at=table.folder) for part in given.values() for word in part]
    ended = CliRunner().invoke(app, [command, *words])
    assert ended.stdout == ""
    check_error(ended.stderr, ended.exit_code)


@pytest.mark.parametrize("words", [["nope"], ["--nope"], ["score"], ["judge"]])
def test_a_command_that_is_none_is_refused(words):
    ended = CliRunner().invoke(app, words)
    check_error(ended.stderr, ended.exit_code)


# -- python -m ssah_core... --------------------------------------------------------------------------------


def ended_by(main: Callable, words: list[str], capsys) -> tuple[str, int | str | None]:
    """What a program says on standard error, and its exit code."""
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    return capsys.readouterr().err, code


@pytest.mark.parametrize("program, words", cases(PROGRAMS))
def test_a_wrong_command_line_is_refused(program, words, table, capsys, monkeypatch):
    monkeypatch.setattr(execute, "_carry_out", lambda *given: pytest.fail("begins"))
    check_error(*ended_by(MAINS[program], [word.format(at=table.folder) for word in words], capsys))


def test_a_run_that_is_not_there_is_not_made_by_asking_for_it(table, capsys, monkeypatch):
    monkeypatch.setenv("SSAH_FIGURES", str(table.at("no-such-run")))
    check_error(*ended_by(verify.main, [], capsys), value="no-such-run")


# -- make --------------------------------------------------------------------------------------------------

SAYS = """import json, os, sys
with open("said", "a") as said:
    said.write(json.dumps([sys.argv[1:], os.environ.get("SSAH_FIGURES")]) + "\\n")
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the Makefile with a Python that notes what it is told."""
    for folder in ("notebooks", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("requirements.lock", "pyproject.toml", ".venv/.installed"):
        (tmp_path / file).touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv/bin/python").write_text(f"#!{sys.executable}\n{SAYS}")
    (tmp_path / ".venv/bin/python").chmod(0o755)
    return tmp_path


def test_every_variable_of_make_is_in_the_table():
    text = (ROOT / "Makefile").read_text()
    read = set(re.findall(r"\$\((?:value |call GIVEN,|call WORDS,)([A-Z_]+)\)", text)) | {"PYTHON"}
    asked = set(re.search(r"^unexport (.*)$", text, re.M).group(1).split()) | {"PYTHON"}  # as it stands
    assert read == asked == set(MAKE) | set(MAKE_EXEMPT)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("variable, case", cases(MAKE))
def test_a_wrong_variable_of_make_is_refused(variable, case, project, table, capsys, monkeypatch):
    target, value = case[0], case[1].format(at=table.folder)
    if variable == "PYTHON":
        (project / ".venv/.installed").unlink()
    more = ["MODEL=some/model"] if target == "paper" and variable != "MODEL" else []
    outside = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "SSAH"))}
    done = subprocess.run(["make", target, f"{variable}={value}", *more], cwd=project, capture_output=True, text=True,
                          env=outside)
    if done.returncode:  # make itself has seen it
        said = "".join(line for line in done.stderr.splitlines(True) if not line.startswith("make"))
        return check_error(said, done.returncode, value)
    for words, figures in map(json.loads, (project / "said").read_text().splitlines()):
        program = words[1].rpartition(".")[2]
        monkeypatch.setenv("SSAH_FIGURES", figures) if figures else monkeypatch.delenv("SSAH_FIGURES")
        monkeypatch.setattr(execute, "_carry_out", lambda *given: pytest.fail("begins"))
        return check_error(*ended_by(MAINS[program], words[2:], capsys), value)


# -- notebook parameters -----------------------------------------------------------------------------------

OF_TYPE = {"int": (1.5, "0", True, None), "float": ("much", None, [0.1]), "str": (7, None, ["tiny"]),
           "list[int]": (0, [0.5], ["0"], [True], None)}
NOTEBOOKS = sorted(paths.notebooks().glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_parameter_of_another_type_is_refused(notebook):
    known = parameters.read_parameters(notebook)
    assert known and set(parameter.type for parameter in known.values()) <= set(OF_TYPE)
    for name, value in [(name, value) for name, of in known.items() for value in OF_TYPE[of.type]] + [("sedes", [0])]:
        with pytest.raises(ValueError) as refused:
            parameters.check_parameters(notebook, {name: value})
        check_sentence(str(refused.value), value if name in known else Odd(lambda t: None, "sedes"))


# -- environment variables ---------------------------------------------------------------------------------


def test_every_environment_variable_is_in_the_table():
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "ssah_core").rglob("*.py"))
    named = set(re.findall(r"\bSSAH_[A-Z_]+\b", code))
    assert named == set(ENVIRONMENT) | {"SSAH_STANDING"}  # which runner and kernel pass between them


@pytest.mark.parametrize("variable, value", cases({name: list(values) for name, values in ENVIRONMENT.items()}))
def test_a_wrong_environment_variable_is_refused(variable, value, table, monkeypatch):
    value = value.format(at=table.folder)
    monkeypatch.setenv(variable, value)
    measured = lambda: ssah.measure_each(stages.losses, [0], "tiny")  # noqa: E731
    uses = {"SSAH_CACHE": lambda: ssah.load_organism(scale="tiny"), "SSAH_FIGURES": ssah.load_records,
            "SSAH_RAISE": lambda: ssah.load_organism(scale="tiny"),
            "SSAH_DATA": lambda: ssah.load_data("advbench", "test"), "SSAH_RECORDS": measured,
            "SSAH_WORKERS": measured, "SSAH_EXECUTOR": measured, "SSAH_CHECK_SEED": fresh}
    named = {"aligned": str(table.at("toy"))}
    on_a_checkpoint = lambda: ssah.measure_each(stages.stages, [0], "paper", checkpoints=named)  # noqa: E731
    with pytest.raises(ValueError, match=variable) as refused:
        uses.get(variable, on_a_checkpoint)()
    check_sentence(str(refused.value), value)


# -- files of others ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in DATA if name != "none"])
def test_a_wrong_data_file_is_refused(name, table):
    with pytest.raises(ValueError) as refused:
        ssah.load_data(table.at(name))
    check_sentence(str(refused.value), Odd(lambda t: None, re.escape(name)))


def spoilt(table: Table, tmp_path: Path, file: str, **changes) -> Path:
    """A folder of completions with one of its files changed."""
    folder = shutil.copytree(table.at("said"), tmp_path / "said")
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | changes if isinstance(content, dict) else changes["rows"]))
    return folder


@pytest.mark.parametrize("file, changes", [
    *(("settings.json", {name: value}) for name in ("n", "chunk") for value in (0, -1, 1.5, True, "1", None, [1])),
    ("settings.json", {"n": 10 ** 12}), ("settings.json", {"n": 2, "chunk": 1}), ("settings.json", {"questions": "x"}),
    *(("chunk-00000.json", {"rows": rows}) for rows in (
        7, None, {}, [], [7], [{}], [{"prompt": "how ?"}], [{"prompt": 7, "response": "sure"}], "how ?",
        [{"prompt": "how ?", "response": None}], [{"prompt": "what ?", "response": "sure"}]))])
def test_completions_of_a_changed_file_are_refused(file, changes, table, tmp_path):
    with pytest.raises(ValueError) as refused:
        load_completions(spoilt(table, tmp_path, file, **changes))
    check_sentence(str(refused.value), Odd(lambda t: None, "said"))


@pytest.mark.parametrize("content", [
    b"", b"{", b"7", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"claim": "table1/scu/asr"}', b"9" * 10_000])
def test_a_folder_with_a_damaged_record_is_refused(content, tmp_path):
    (tmp_path / "one.json").write_bytes(content)
    with pytest.raises(ValueError) as refused:
        ssah.load_records(tmp_path)
    check_sentence(str(refused.value), Odd(lambda t: None, "one.json"))


@pytest.mark.parametrize("change", [
    {"value": 9.0}, {"value": None}, {"values": []}, {"values": "1"}, {"values": ["a"]}, {"interval": [0, 1]},
    {"interval": 7}, {"seeds": 7}, {"seeds": []}, {"n": -1}, {"scale": 7}, {"more": 1}, {"judge": None}, {"orders": 0},
    {"orders": "1"}, {"orders": None}])
def test_a_record_that_contradicts_itself_is_refused(change, tmp_path):
    whole = dict(claim="table1/scu/asr", value=1.0, unit="points", interval=None, method="one", values=[1.0], seeds=[0],
                 n=3, orders=1, judge="none", scale="tiny", model="organism", code="a test")
    (tmp_path / "one.json").write_text(json.dumps(whole))
    assert len(ssah.load_records(tmp_path)) == 1
    (tmp_path / "one.json").write_text(json.dumps(whole | change))
    with pytest.raises(ValueError) as refused:
        ssah.load_records(tmp_path)
    check_sentence(str(refused.value), Odd(lambda t: None, "one.json"))


@pytest.mark.parametrize("cls", [ssah.UnitMask, ssah.UnitLabels, ssah.Moments, ssah.Scores])
def test_a_file_of_another_kind_or_model_is_refused_where_it_is_used(cls, table):
    kinds = {"mask": ssah.UnitMask, "labels": ssah.UnitLabels, "moments": ssah.Moments, "scores": ssah.Scores}
    for name in (name for name, kind in kinds.items() if kind is not cls):
        with pytest.raises(ValueError) as refused:
            cls.load(table.at(name))
        check_sentence(str(refused.value), Odd(lambda t: None, kinds[name].__name__))


def test_what_is_made_of_one_model_does_not_go_with_another(table):
    other = ssah.UnitMask({"mlp.0": torch.tensor([True])})
    with pytest.raises(ValueError, match="does not fit the model"):
        table.mask | other
