"""Running notebooks: parameters are checked, runs are whole or leave no trace, and noise is stripped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ssah_core import arithmetic, load_organism
from ssah_core.records import cache as cache_of
from ssah_core.records import list_stored, paths, record, registration, remove_stored, select
from ssah_core.records.report import PREFACE
from ssah_core.runner import execute, kernel, parameters, up_to_date
from ssah_core.runner.places import mark
from ssah_core.runner.run_notebook import NotebookFailed, run_notebook, strip_noise

PARAMETERS = """seeds: list[int] = [0, 1]  # which organisms
scale: str = 'organism'
n: int | None = None
rate: float = 0.5"""
REPOSITORY = paths.root()
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}


def make(folder: Path, *sources: str, name: str = "00_try.ipynb", declared: str = PARAMETERS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cells = [new_markdown_cell("# 00 Try"), new_code_cell(declared, metadata={"tags": ["parameters"]})]
    nb = new_notebook(cells=cells + [new_code_cell(source) for source in sources], metadata=KERNEL)
    nbformat.write(nb, folder / name)
    return folder / name


def text_of(notebook: Path) -> str:
    nb = nbformat.read(notebook, as_version=4)
    return "".join(output.get("text", "") for cell in nb.cells for output in cell.get("outputs", []))


def tags_of(notebook: Path) -> list[str]:
    return [tag for cell in nbformat.read(notebook, as_version=4).cells for tag in cell.metadata.get("tags", [])]


# --- parameters ---


def test_a_misspelt_parameter_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(ValueError, match="no parameter 'sedes'; it has seeds, scale, n, rate; did you mean 'seeds'"):
        parameters.check_parameters(make(tmp_path), {"sedes": [0]})


@pytest.mark.parametrize("wrong", [{"seeds": 3}, {"seeds": ["0"]}, {"seeds": [True]}, {"seeds": None}, {"scale": 1},
                                   {"n": "5"}, {"n": 5.0}, {"n": True}, {"rate": "0.5"}, {"rate": None}])
def test_a_value_of_the_wrong_type_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"parameter {next(iter(wrong))} is"):
        parameters.check_parameters(make(tmp_path), wrong)


def test_values_of_the_right_type_pass(tmp_path):
    good = {"seeds": [], "scale": "tiny", "n": 5, "rate": 1}
    assert parameters.check_parameters(make(tmp_path), good) == good
    assert parameters.check_parameters(make(tmp_path), {"n": None}) == {"n": None}


def test_text_from_the_command_line_is_read_by_the_type(tmp_path):
    notebook = make(tmp_path, declared=PARAMETERS + "\nmodel: str | None = None")
    texts = {"seeds": "[1, 2]", "scale": "7", "n": "5", "model": "some/model"}
    values = {"seeds": [1, 2], "scale": "7", "n": 5, "model": "some/model"}
    assert parameters.parse_parameters(notebook, texts) == values
    assert parameters.parse_parameters(notebook, {"model": "null"}) == {"model": None}
    with pytest.raises(ValueError, match="parameter seeds is '1,2', but it must be list"):
        parameters.parse_parameters(notebook, {"seeds": "1,2"})


@pytest.mark.parametrize("line", ["n = 5", "n: int", "n: int = 2 + m", "import os", "a.b: int = 1"])
def test_a_parameters_cell_holds_only_typed_literals(tmp_path, line):
    with pytest.raises(ValueError, match="parameters cell has"):
        parameters.read_parameters(make(tmp_path, declared=line))


def test_a_type_that_cannot_be_checked_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the type 'set', but only int"):
        parameters.check_parameters(make(tmp_path, declared="n: set = 1"), {"n": 1})


def test_only_parameters_that_a_notebook_has_are_passed(tmp_path):
    notebook = make(tmp_path, declared="scale: str = 'organism'")
    assert execute.common_parameters(notebook, [0], "tiny") == {"scale": "tiny"}


# --- one run ---


SHOW = ("import os\nfrom pathlib import Path\nprint(seeds, scale, n)\n"
        "print(os.environ['SSAH_RECORDS'], os.environ.get('MPLBACKEND', '').startswith('module'), Path.cwd().name)")


def test_a_run_injects_what_differs_and_leaves_no_noise(tmp_path, monkeypatch, cache, capfd):
    monkeypatch.delenv("SSAH_RECORDS", raising=False)
    notebook = make(tmp_path / "books", SHOW)
    ids = [cell.id for cell in nbformat.read(notebook, as_version=4).cells]
    run_notebook(notebook, {"seeds": [3], "scale": "organism"}, notebook)
    assert text_of(notebook) == "[3] organism None\nignore True books\n"
    nb = nbformat.read(notebook, as_version=4)
    assert nb.cells[2].source.strip() == "# Parameters\nseeds = [3]" and nb.cells[2].id == "injected-parameters"
    assert [cell.id for cell in nb.cells if cell.id != "injected-parameters"] == ids
    assert [cell.execution_count for cell in nb.cells[1:]] == [1, 2, 3]
    assert not any(set(cell.metadata) - {"tags"} for cell in nb.cells) and "tags" not in nb.cells[0].metadata
    assert "papermill" not in nb.metadata and "version" not in nb.metadata.language_info
    assert "SSAH_RECORDS" not in os.environ and os.environ["MPLBACKEND"] == "agg"
    assert [file.name for file in notebook.parent.iterdir()] == ["00_try.ipynb"]

    run_notebook(notebook, {"seeds": [0, 1]}, notebook)  # the defaults: the injected cell must not survive
    assert text_of(notebook) == "[0, 1] organism None\nignore True books\n"
    assert tags_of(notebook) == ["parameters"]
    assert "WARNING" not in capfd.readouterr().err


WARN = """import sys, warnings
print(1, flush=True)
warnings.warn("cache/scores/1/a.json is damaged: it is built again")
warnings.warn("this is a finding")
sys.stderr.flush()
print(2, flush=True)
warnings.warn("cache/studies/2/rows.json is damaged: it is built again")
sys.stderr.flush()
print(3, flush=True)
2 + 2"""


def test_what_the_cache_made_again_is_told_and_stands_in_no_output(tmp_path, cache, capfd):
    notebook = make(tmp_path, WARN)
    run_notebook(notebook, {}, notebook)
    outputs = nbformat.read(notebook, as_version=4).cells[-1].outputs
    assert [output.get("name") for output in outputs] == ["stdout", "stderr", "stdout", None]
    assert [output.text for output in outputs[::2]] == ["1\n", "2\n3\n"]
    assert "this is a finding" in outputs[1].text and "damaged" not in outputs[1].text
    assert capfd.readouterr().out.splitlines() == [
        "00_try: cache/scores/1/a.json is damaged: it is built again",
        "00_try: cache/studies/2/rows.json is damaged: it is built again"]


def test_a_failed_run_names_the_cell_and_keeps_the_last_good_output(tmp_path, cache):
    notebook = make(tmp_path, "x = 1", "y = 0\nx / y")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "good.ipynb").write_text("good")
    with pytest.raises(NotebookFailed) as failure:
        run_notebook(notebook, {}, tmp_path / "out" / "good.ipynb")
    assert str(failure.value) == "00_try.ipynb, cell [3] (y = 0): ZeroDivisionError: division by zero"
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["good.ipynb"]
    assert (tmp_path / "out" / "good.ipynb").read_text() == "good"


def test_a_kernel_that_dies_is_a_failed_run(tmp_path, cache):
    with pytest.raises(NotebookFailed, match="00_try.ipynb: its kernel died"):
        run_notebook(make(tmp_path, "import os\nos._exit(1)"), {}, tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


def test_a_kernel_that_does_not_start_is_said_in_one_sentence(tmp_path, cache, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ipykernel_launcher.py").write_text("raise SystemExit('no kernel today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with pytest.raises(NotebookFailed) as failure:
        run_notebook(make(tmp_path, "1"), {}, tmp_path / "out.ipynb")
    log = cache / "executed" / "00_try.log"
    assert str(failure.value) == f"00_try.ipynb: its kernel did not start (no kernel today); see {log}"
    assert not (tmp_path / "out.ipynb").exists()


def test_the_kernel_is_this_environments_whatever_kernels_the_user_has(tmp_path, cache, monkeypatch):
    for folder in (tmp_path / "jupyter", tmp_path / "home" / ".local" / "share" / "jupyter"):
        (folder / "kernels" / "python3").mkdir(parents=True)
        (folder / "kernels" / "python3" / "kernel.json").write_text(
            '{"argv": ["/bin/false", "{connection_file}"], "display_name": "Another Python", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    notebook = make(tmp_path / "books", "import sys\nprint(sys.executable)")
    nb = nbformat.read(notebook, as_version=4)
    nb.metadata.kernelspec = {"name": "mine", "display_name": "Mine in /home/me", "language": "python"}
    nbformat.write(nb, notebook)
    run_notebook(notebook, {}, notebook)
    assert text_of(notebook) == f"{sys.executable}\n"
    assert nbformat.read(notebook, as_version=4).metadata.kernelspec == {
        "name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


SHOW_MODE = "import os\nprint(os.environ['MKL_CBWR'], os.environ['OMP_WAIT_POLICY'])"


def test_a_kernel_adds_up_in_the_portable_mode(tmp_path, cache, monkeypatch):
    for name, value in arithmetic.STRICT.items():
        monkeypatch.setenv(name, value)
    notebook = make(tmp_path / "books", SHOW_MODE)
    run_notebook(notebook, {"scale": "tiny"}, notebook)
    assert text_of(notebook) == "AVX2,STRICT passive\n" and os.environ["MKL_CBWR"] == "AUTO,STRICT"


@pytest.mark.parametrize("scale, is_portable", [("tiny", True), ("organism", True), ("paper", False)])
def test_only_checkpoints_are_left_to_the_mode_that_is_in_force(scale, is_portable):
    assert (arithmetic.PORTABLE.items() <= kernel.kernel_environment(scale).items()) == is_portable


@pytest.mark.parametrize("scale, mode, begins_again", [
    ("tiny", arithmetic.STRICT, True), ("paper", arithmetic.STRICT, False), ("organism", arithmetic.PORTABLE, False)])
def test_the_runner_itself_raises_organisms_in_the_portable_mode(monkeypatch, scale, mode, begins_again):
    begun = []
    for name, value in {**arithmetic.PORTABLE, **mode}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(arithmetic, "_in_force", arithmetic.mode_of(os.environ))
    monkeypatch.setattr(execute.os, "execv", lambda *command: begun.append(arithmetic.mode_of(os.environ)))
    execute._begin_again_if_not_portable(scale)
    assert begun == ["portable"] * begins_again


def test_the_makefile_sets_the_same_mode():
    lines = (paths.root() / "Makefile").read_text(encoding="utf-8").splitlines()
    assert {f"$(PORTABLE): export {name} := {value}" for name, value in arithmetic.PORTABLE.items()} <= set(lines)


def test_a_user_without_a_home_gets_one_below_the_cache(cache, monkeypatch):
    monkeypatch.setenv("HOME", "/nowhere")
    home = kernel.kernel_environment("tiny")["HOME"]
    assert home == str(cache / "home") and Path(home).is_dir()


def test_what_a_kernel_keeps_in_that_home_is_known_in_the_cache_and_can_be_removed(tmp_path, cache, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("XDG_", "JUPYTER", "IPYTHON", "MPLCONFIG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nowhere")
    run_notebook(make(tmp_path / "books", "import matplotlib.font_manager"), {}, tmp_path / "out.ipynb")
    kept = select(list_stored(), "home")
    assert kept and {found.state for found in kept} == {"whole"}
    assert len(remove_stored(kept)) == len(kept) and not any((cache / "home").iterdir())


NOBODY = """
import os, pwd
def getpwuid(uid):
    raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = getpwuid
"""
AS_NOBODY = """
import os, sys
from pathlib import Path
import ssah_core as ssah
from ssah_core.runner.run_notebook import run_notebook
ssah.load_organism(scale="tiny", progress=False)
run_notebook(Path(sys.argv[1]), {}, Path(sys.argv[1]))
print(os.path.expanduser("~"))
"""


def test_a_user_whom_nobody_knows_has_models_and_notebooks_from_a_cache_that_is_there(tmp_path, cache):
    """As in a container with --user 12345."""
    load_organism(scale="tiny", progress=False)
    (tmp_path / "nobody").mkdir()
    (tmp_path / "nobody" / "sitecustomize.py").write_text(NOBODY)
    notebook = make(tmp_path / "books", "import ssah_core as ssah\nprint(len(ssah.load_organism(scale='tiny')))")
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME", "LNAME")
            and not name.startswith(("XDG_", "JUPYTER", "IPYTHON", "MPLCONFIG"))}
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, notebook], cwd=tmp_path / "nobody", text=True,
                          env={**kept, "PYTHONPATH": f"{tmp_path / 'nobody'}{os.pathsep}{REPOSITORY}"},
                          capture_output=True)
    assert (done.returncode, done.stdout) == (0, "~\n"), done.stderr
    assert text_of(notebook) == "2\n"
    assert not [file for file in (tmp_path / "nobody").iterdir() if file.name.startswith("~")]


def test_a_wrong_parameter_stops_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="sedes"):
        run_notebook(make(tmp_path), {"sedes": [0]}, tmp_path / "out" / "x.ipynb")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source, kept", [("seeds = [0, 1]\nn = None", False), ("seeds = [0]", True),
                                          ("rate = float('nan')", True)])
def test_an_injected_cell_goes_only_if_it_repeats_the_defaults(tmp_path, source, kept):
    nb = nbformat.read(make(tmp_path), as_version=4)
    nb.cells.append(new_code_cell(source, metadata={"tags": ["injected-parameters"]}))
    nb.metadata["widgets"] = {"state": {}}
    nb = strip_noise(nb)
    assert bool(parameters.tagged(nb, "injected-parameters")) is kept and "widgets" not in nb.metadata


def test_a_widget_leaves_what_is_shown_beside_it():
    view, text = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}, {"text/plain": "a table"}
    outputs = [new_output("display_data", data=data) for data in (view | text, view)]
    nb = strip_noise(new_notebook(cells=[new_code_cell("panel", outputs=outputs)]))
    assert [output.data for output in nb.cells[0].outputs] == [text, view]


# --- all of them ---


@pytest.fixture
def project(tmp_path, monkeypatch, cache):
    """A repository with a folder of notebooks, and organisms that only write down that they were asked for."""
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    monkeypatch.setenv("SSAH_FIGURES", "")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("SSAH_WORKERS", "1")  # in this process, which is told what to do
    asked = []
    monkeypatch.setattr(execute, "raise_organism", lambda *given: asked.append(given))
    monkeypatch.setattr(execute, "is_raised", lambda *given: False)
    return tmp_path / "notebooks", asked


def content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


WRITE = "from ssah_core.records import cache, paths\ncache.write_bytes(paths.figures() / 'a.json', b'{}')\nprint(seeds)"


def test_a_run_goes_to_a_folder_of_its_own_and_leaves_what_is_committed(project, tmp_path, capsys):
    folder, asked = project
    make(folder, WRITE)
    make(folder, name="notes.ipynb", declared="not a numbered notebook")
    (tmp_path / "figures" / "records").mkdir(parents=True)
    (tmp_path / "figures" / "a.json").write_text("committed")
    (tmp_path / "paper_repro.md").write_text("committed")
    before, run = content(tmp_path), tmp_path / "runs" / "organism-3"
    assert execute.main(["--seeds", "3"]) == 0 and asked == [(0, "organism"), (1, "organism"), (2, "organism")]
    assert text_of(run / "00_try.ipynb") == "[0, 1, 2]\n" and (run / "figures" / "a.json").read_text() == "{}"
    made = content(tmp_path)
    assert {name: made.pop(name) for name in before} == before
    assert all(name.startswith(("runs/organism-3/", "cache/")) for name in made)
    said = capsys.readouterr().out.splitlines()
    assert "00_try: done in" in said[1] and said[-1].endswith(f": {run / 'paper_repro.md'}")
    assert said[3].startswith("Found in no organism. Committed: mean of no organism")
    assert "\n".join(said[3:-2]) in (run / "paper_repro.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("given, wish, records", [
    ([], None, ""), (["--seeds", "10"], "", ""), (["--seeds", "11"], None, "ignore"), ([], "ignore", "ignore"),
    (["--scale", "tiny"], None, "ignore"), (["--publish"], "", "ignore")])
def test_a_run_of_organisms_alone_reads_what_is_committed_of_others(given, wish, records, project, tmp_path,
                                                                   monkeypatch):
    monkeypatch.delenv("SSAH_RECORDS", raising=False)
    if wish is not None:
        monkeypatch.setenv("SSAH_RECORDS", wish)
    notebook, is_own = make(project[0], "import os\nprint(os.environ['SSAH_RECORDS'])"), "--publish" not in given
    assert execute.main([*given, *(["--output", "runs/mine"] if is_own else [])]) == 0
    assert text_of(tmp_path / "runs" / "mine" / notebook.name if is_own else notebook) == f"{records}\n"


def test_what_was_found_stands_beside_what_is_committed(project, tmp_path, monkeypatch, capsys):
    def keep(folder, values):
        monkeypatch.setenv("SSAH_FIGURES", str(folder))
        record("table1/scu/morals", values, seeds=range(len(values)), unit="points", n=60, judge="truth",
               scale="organism", model="organism", code="ssah_core.records.statistics")
        monkeypatch.setenv("SSAH_FIGURES", "")

    make(project[0], "1")
    registration.register()
    keep(tmp_path / "figures", [0.0, -2.0, -1.0])
    keep(tmp_path / "runs" / "mine" / "figures", [-3.0])
    mark(tmp_path / "runs" / "mine")
    assert execute.main(["--output", "runs/mine"]) == 0
    assert ("- Without its SCU a model still knows right from wicked. Here: -3.0; committed: -1.0 (3 organisms, too "
            "few for an interval)\n") in capsys.readouterr().out


def test_to_publish_is_to_run_in_place(project, tmp_path):
    notebook = make(project[0], WRITE)
    assert execute.main(["--publish"]) == 0 and text_of(notebook) == "[0, 1]\n"  # those that it names
    assert project[1] == [(0, "organism"), (1, "organism")]
    assert (tmp_path / "figures" / "a.json").is_file() and not (tmp_path / "runs").exists()
    assert (tmp_path / "paper_repro.md").read_text(encoding="utf-8").startswith(PREFACE[:80])


def test_a_notebook_runs_only_once(project, capsys, monkeypatch):
    notebook = make(project[0], WRITE)
    assert execute.main(["--publish"]) == 0

    runs = []
    monkeypatch.setattr(up_to_date, "run_notebook", lambda notebook, *rest: runs.append(notebook.stem))
    capsys.readouterr()
    assert execute.main(["--publish"]) == 0 and runs == []
    assert "00_try: up to date" in capsys.readouterr().out

    nb = nbformat.read(notebook, as_version=4)
    nb.cells[0].source = "# 00 Better words"
    nbformat.write(nb, notebook)
    assert execute.main(["--publish"]) == 0 and runs == []

    (paths.figures() / "a.json").unlink()
    assert execute.main(["--publish"]) == 0 and len(runs) == 1  # what it wrote is gone
    assert execute.main(["--publish", "-p", "n", "7"]) == 0 and len(runs) == 2  # other parameters
    nb.cells[-1].outputs[0].text = "[9]\n"
    nbformat.write(nb, notebook)
    assert execute.main(["--publish", "-p", "n", "7"]) == 0 and len(runs) == 3  # another output than the one it left


def test_changed_code_runs_a_notebook_again(project, monkeypatch):
    notebook = make(project[0], "1")
    before = up_to_date.inputs(notebook, {})
    assert up_to_date.inputs(notebook, {}) == before
    monkeypatch.setattr(up_to_date.evidence, "code_digest", lambda: "another")
    assert up_to_date.inputs(notebook, {}) != before


def test_chosen_notebooks_and_parameters(project, monkeypatch):
    folder, asked = project
    for number in ("00", "01", "02"):
        make(folder, name=f"{number}_try.ipynb")
    runs = []
    monkeypatch.setattr(execute, "bring_up_to_date", lambda notebook, given, to: runs.append((notebook.stem, given)))
    assert execute.main(["--notebooks", "02", "00", "--scale", "tiny", "-p", "n", "5"]) == 0
    given = {"seeds": [0], "scale": "tiny", "n": 5}
    assert runs == [("00_try", given), ("02_try", given)] and asked == [(0, "tiny")]


@pytest.mark.parametrize("argv, message", [
    (["-p", "sedes", "[0]"], "error: 00_try.ipynb has no parameter 'sedes'"),
    (["-p", "rate", "fast"], "error: 00_try.ipynb: parameter rate is 'fast'"),
    (["--notebooks", "0"], "error: --notebooks has '0', but the notebooks are 00"),
    (["--publish", "--scale", "tiny"], "error: --scale is 'tiny', but --publish renews what is committed"),
    (["--publish", "--output", "mine"], "error: --output is 'mine', but --publish runs in place"),
    (["-p", "scale", "tiny"], "error: -p scale is 'tiny', but --scale is 'organism'"),
])
def test_wrong_arguments_stop_before_an_organism_is_raised(project, capsys, argv, message):
    make(project[0])
    assert execute.main(argv) == 2
    assert capsys.readouterr().err.startswith(message) and project[1] == []


@pytest.mark.parametrize("argv", [["--seeds", "0"], ["--seeds", "x"], ["--scale", "huge"]])
def test_argparse_refuses(project, argv):
    with pytest.raises(SystemExit) as stop:
        execute.main(argv)
    assert stop.value.code == 2


@pytest.mark.parametrize("where", [[], ["--publish"]])
def test_a_failing_notebook_stops_no_other_but_the_run_fails(project, tmp_path, capsys, monkeypatch, where):
    bad = make(project[0], name="00_bad.ipynb")
    make(project[0], name="01_good.ipynb")
    before = bad.read_bytes()

    def fails(notebook, given, output):
        if notebook.stem == "00_bad":
            raise NotebookFailed(f"{notebook.name}, cell [3] (x): KeyError: 'x'")
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(notebook.read_bytes())

    monkeypatch.setattr(up_to_date, "run_notebook", fails)
    assert execute.main(where) == 1
    output = capsys.readouterr()
    assert output.err == "failed: 00_bad.ipynb, cell [3] (x): KeyError: 'x'\n"
    assert "00_bad: failed, others go on\n01_good: running" in output.out and bad.read_bytes() == before
    assert not (tmp_path / "paper_repro.md").exists()  # which a publication run with a failure must not renew


# --- on a checkpoint ---


OF_A_CHECKPOINT = "scale: str = 'organism'\nmodel: str = ''"
WITH_BASE = OF_A_CHECKPOINT + "\nunaligned: str = ''\nseeds: list[int] = [0, 1, 2]"
CHECKPOINT = ["--scale", "paper", "-p", "model", "some/model"]


SHOW_CHECKPOINT = ("import os\nfrom pathlib import Path\n"
                   "print(seeds, model, unaligned, os.environ['SSAH_FIGURES'], Path.cwd().name)")


@pytest.fixture
def checkpoint(project):
    """Two notebooks, one of which knows of a base model."""
    make(project[0], name="00_one.ipynb", declared=OF_A_CHECKPOINT)
    make(project[0], name="01_two.ipynb", declared=WITH_BASE)
    return project


def test_a_run_on_a_checkpoint_leaves_what_is_committed(checkpoint, tmp_path, monkeypatch, capsys):
    folder, asked = checkpoint
    make(folder, SHOW_CHECKPOINT, name="01_two.ipynb", declared=WITH_BASE)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    run = tmp_path / "runs" / "some--model"
    assert execute.main([*CHECKPOINT, "-p", "unaligned", "some/base", "--seeds", "2"]) == 0
    assert {file: file.read_bytes() for file in folder.iterdir()} == before and asked == []
    assert sorted(file.name for file in run.iterdir()) == [".ssah-run", "00_one.ipynb", "01_two.ipynb", "figures",
                                                           "paper_repro.md"]
    assert text_of(run / "01_two.ipynb") == f"[0, 1] some/model some/base {run / 'figures'} notebooks\n"
    assert os.environ["SSAH_FIGURES"] == "" and str(run) in capsys.readouterr().out

    runs = []
    monkeypatch.setattr(up_to_date, "run_notebook", lambda *given: runs.append(shutil.copy(given[0], given[-1]).name))
    assert execute.main([*CHECKPOINT, "-p", "unaligned", "some/base", "--seeds", "2"]) == 0 and runs == []
    (run / "00_one.ipynb").unlink()
    assert execute.main([*CHECKPOINT, "--notebooks", "00"]) == 0 and runs == ["00_one.ipynb"]


def test_a_notebook_that_fails_on_a_checkpoint_stops_no_other(checkpoint, tmp_path, capsys):
    make(checkpoint[0], "1 / 0", name="00_one.ipynb", declared=OF_A_CHECKPOINT)
    assert execute.main(CHECKPOINT) == 1
    told = capsys.readouterr()
    assert "00_one: failed, others go on" in told.out and told.err.startswith("failed: 00_one.ipynb, cell [")
    assert [file.name for file in (tmp_path / "runs" / "some--model").glob("*.ipynb")] == ["01_two.ipynb"]


def places(monkeypatch) -> list[tuple]:
    found = []
    monkeypatch.setattr(execute, "bring_up_to_date",
                        lambda notebook, given, output: found.append((given.get("model"), output, paths.figures())))
    return found


def test_a_run_on_a_checkpoint_can_go_elsewhere(checkpoint, tmp_path, monkeypatch):
    found = places(monkeypatch)
    assert execute.main([*CHECKPOINT, "--notebooks", "00", "--output", "mine"]) == 0
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "chosen"))
    assert execute.main([*CHECKPOINT, "--notebooks", "00"]) == 0
    assert found == [("some/model", tmp_path / "mine" / "00_one.ipynb", tmp_path / "mine" / "figures"),
                     ("some/model", tmp_path / "runs" / "some--model" / "00_one.ipynb", tmp_path / "chosen")]


def test_a_checkpoints_folder_is_given_in_full(checkpoint, tmp_path, monkeypatch):
    found = places(monkeypatch)
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    assert execute.main(["--scale", "paper", "-p", "model", "weights", "--notebooks", "00"]) == 0
    assert found[0][0] == str(tmp_path / "weights") and found[0][1].is_relative_to(tmp_path / "runs")


@pytest.mark.parametrize("argv, message", [
    (["--scale", "paper"], "error: --scale paper is that of a checkpoint, and none is named: add -p model"),
    (["--scale", "paper", "-p", "model", ""], "error: --scale paper is that of a checkpoint"),
    (["-p", "model", "some/model"], "error: -p model is 'some/model', but --scale organism takes no checkpoint"),
    (["-p", "unaligned", "some/base"], "error: -p unaligned is 'some/base', but --scale organism"),
    (["-p", "scale", "paper"], "error: -p scale is 'paper', but --scale is 'organism'"),
    ([*CHECKPOINT, "-p", "scale", "tiny"], "error: -p scale is 'tiny', but --scale is 'paper'"),
    ([*CHECKPOINT, "--notebooks", "00", "-p", "unaligned", "b"], "error: 00_one.ipynb has no parameter 'unaligned'"),
    ([*CHECKPOINT, "-p", "modle", "b"], "error: 00_one.ipynb has no parameter 'modle'"),
])
def test_a_checkpoint_needs_its_scale_and_the_other_way_round(checkpoint, capsys, argv, message):
    assert execute.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1


# --- stopping ---


LONG = "import os, time\nfrom pathlib import Path\nPath('pid').write_text(str(os.getpid()))\ntime.sleep(120)"
STOPPED = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is born deaf to Ctrl-C
from ssah_core.records import paths
from ssah_core.runner import execute
paths.notebooks = Path
execute.is_raised = lambda *given: True
sys.exit(execute.main(["--publish"]))
"""


def test_ctrl_c_stops_with_one_line_and_leaves_nothing(tmp_path, cache, monkeypatch):
    notebook = make(tmp_path / "books", LONG)
    before = notebook.read_bytes()
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("SSAH_FIGURES")
    process = subprocess.Popen([sys.executable, "-c", STOPPED], cwd=notebook.parent, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pid = _wait_for(notebook.parent / "pid", process)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and errors.splitlines()[-1] == execute.STOPPED
    assert "Traceback" not in errors
    assert notebook.read_bytes() == before and sorted(os.listdir(notebook.parent)) == ["00_try.ipynb", "pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _wait_for(file: Path, process: subprocess.Popen) -> int:
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    return int(file.read_text())


def test_a_stamp_that_names_files_elsewhere_removes_none(project, tmp_path, monkeypatch):
    folder, _ = project
    make(folder, WRITE)
    assert execute.main([]) == 0
    mine = tmp_path / "runs" / "organism-1" / "mine.txt"
    mine.write_text("mine")
    [stamp] = (tmp_path / "cache" / "executed").glob("00_try-*.json")
    kept = cache_of.read_json(stamp)
    cache_of.write_json(stamp, {**kept, "wrote": {**kept["wrote"], "../mine.txt": "0", str(mine): "0"}})
    assert execute.main([]) == 0 and mine.read_text() == "mine"
