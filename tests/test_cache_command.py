"""`ssah cache`: it lists what lies in the cache, and removes what ssah wrote there and nothing else."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toys
from typer.testing import CliRunner

import ssah_core
from ssah_core import complete_to
from ssah_core.cli import app
from ssah_core.organism import raise_organism
from ssah_core.records import Stored, list_stored, paths, remove_stored, select, stored
from ssah_core.records import cache as store
from ssah_core.smollm.align import made_by

ROOT = Path(__file__).resolve().parents[1]
HOLDS = """import sys
from filelock import FileLock
locks = [FileLock(file) for file in sys.argv[1:]]
[lock.acquire() for lock in locks]
print("held", flush=True)
sys.stdin.read()
"""


def run(*words):
    return CliRunner().invoke(app, ["cache", *map(str, words)])


def refusal_of(*words) -> str:
    ended = run(*words)
    assert (ended.exit_code, ended.stdout) == (2, "")
    (sentence,) = ended.stderr.splitlines()
    return sentence


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache with one artefact of each kind, as ssah writes them, made by hand."""
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "home"))
    rows = {"study": "losses", "version": 1, "seed": 0, "scale": "tiny", "settings": {}}
    for about in (rows, {**rows, "seed": 1}, {**rows, "study": "budget/chosen"}):
        store.artefact("studies", about, lambda folder: store.write_json(folder / "rows.json", list(range(999))))
    store.artefact("organisms", {"seed": 0, "scale": "tiny", "stage": "aligned", "recipe": {}},
                   lambda folder: (folder / "model.safetensors").write_bytes(bytes(300_000)))
    way = {"criterion": "variance", "tokens": "response"}
    store.artefact("scores", {"weights": "8256048e51", "way": way, "rounds": 10},
                   lambda folder: (folder / "safety.safetensors").write_bytes(b"x"))
    store.artefact("spaces", {"checkpoint": "my/model"}, lambda folder: store.write_json(folder / "space.json", {}))
    store.artefact("smollm", {"stage": "aligned", "seed": 1, **made_by("dpo")},
                   lambda folder: (folder / "model.safetensors").write_bytes(b"x"))
    stamps = paths.cache() / "executed"
    with store.locked(stamps / "03_label_units-0123456789ab"):
        store.write_json(stamps / "03_label_units-ba9876543210.json", {"result": "x", "wrote": []})
        (stamps / "03_label_units.log").write_text("a kernel's words")
    return paths.cache()


def names(rows) -> set[str]:
    return {found.what for found in rows}


def everything(folder: Path) -> dict[str, bytes | str]:
    """All files below a folder but for locks, by content; links by where they lead."""
    return {str(file): os.readlink(file) if file.is_symlink() else file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if (file.is_symlink() or file.is_file()) and not file.name.endswith(".lock")}


# -- the list ----------------------------------------------------------------------------------------------


def test_each_artefact_is_told_by_what_it_is_of(home):
    assert {(found.kind, found.what) for found in list_stored()} == {
        ("studies", "losses v1, seed 0, tiny"), ("studies", "losses v1, seed 1, tiny"),
        ("studies", "budget/chosen v1, seed 0, tiny"), ("organisms", "seed 0, tiny, aligned"),
        ("scores", "variance on response, 10 rounds, weights 8256048e"), ("spaces", "my/model"),
        ("executed", "03_label_units-ba9876543210.json"), ("executed", "03_label_units.log"),
        ("smollm", "seed 1, dpo, aligned")}
    assert all(found.state == "whole" and not found.busy for found in list_stored())


def test_the_table_is_sorted_by_size_fits_a_terminal_and_sums_up(home):
    ended = run()
    lines = ended.stdout.splitlines()
    assert ended.exit_code == 0 and max(map(len, lines)) <= 100
    assert lines[0].split() == ["kind", "of", "size", "last", "used"] and lines[1].startswith("organisms  seed 0, tiny")
    at = next(n for n, line in enumerate(lines) if line.startswith("by kind"))
    assert lines[at + 1].split()[:2] == ["organisms", "1"]
    studies = lines[next(n for n, line in enumerate(lines) if line.startswith("by study")):]
    assert {line.split()[0]: line.split()[1] for line in studies[1:3]} == {"losses": "2", "budget": "1"}
    sizes = sum(found.size for found in list_stored())
    assert lines[-1] == f"{sizes / 1e6:.1f} MB in {home}"


def test_long_names_and_many_rows_stay_within_the_width(home):
    store.artefact("spaces", {"checkpoint": "/very" * 60}, lambda folder: store.write_json(folder / "space.json", {}))
    assert max(map(len, run().stdout.splitlines()[:-1])) <= 100


def test_machines_get_json(home):
    rows = json.loads(run("--json").stdout)
    assert {row["kind"] for row in rows} == set(stored.KINDS) - {"completions", "to-read", "verify", "home"}
    assert all(row["size"] > 0 and row["used"][4] == "-" and Path(row["path"]).exists() for row in rows)


def test_the_size_is_that_on_the_disk(home):
    (found,) = select(list_stored(), "organisms")
    told = subprocess.run(["du", "-sB1", found.path], capture_output=True, text=True, check=True).stdout
    assert found.size == int(told.split()[0]) >= 300_000


def test_a_study_or_an_age_narrows_the_list(home):
    assert names(select(list_stored(), study="losses")) == {"losses v1, seed 0, tiny", "losses v1, seed 1, tiny"}
    assert names(select(list_stored(), study="budget")) == {"budget/chosen v1, seed 0, tiny"}
    old = next(found for found in list_stored() if found.what == "my/model")
    for file in (*old.path.iterdir(), old.path):
        os.utime(file, (time.time() - 9 * 86400,) * 2)
    assert names(select(list_stored(), older_than=8)) == {"my/model"} and select(list_stored(), older_than=10) == []
    assert "my/model" in run("--older-than", 8).stdout and "organisms" not in run("--older-than", 8).stdout


def test_to_list_is_no_use_and_writes_nothing(home):
    before = everything(home)
    for file in home.rglob("*"):
        os.utime(file, (time.time() - 9 * 86400,) * 2)
    assert len(select(list_stored(), older_than=8)) == len(select(list_stored(), older_than=8)) == 9
    run(), run("--empty", "all"), run("--json")
    assert len(select(list_stored(), older_than=8)) == 9 and everything(home) == before


def test_what_was_read_lately_is_in_use(home):
    (found,) = select(list_stored(), "organisms")
    for file in (*found.path.iterdir(), found.path):
        os.utime(file, (time.time() - 9 * 86400,) * 2)
    model = found.path / "model.safetensors"
    os.utime(model, (time.time(), model.stat().st_mtime))
    assert select(list_stored(), "organisms", older_than=1) == []


def test_signs_that_steer_a_terminal_are_not_printed(home):
    evil = {"checkpoint": "a\x1b]0;owned\x07\x1b[2Jb\nc\u202e"}
    store.artefact("spaces", evil, lambda folder: store.write_json(folder / "space.json", {}))
    assert not {"\x1b", "\x07", "\u202e"} & set(run().stdout) and "a?]0;owned??[2Jb?c?" in run().stdout


# -- what ssah itself writes, for real ---------------------------------------------------------------------


def test_every_kind_of_artefact_in_the_package_is_known():
    kinds = {node.args[0].value for file in (ROOT / "ssah_core").rglob("*.py")
             for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call) and ast.unparse(node.func) in ("cache.artefact", "cache.place", "artefact")
             and isinstance(node.args[0], ast.Constant)}
    assert kinds == set(stored.FILES) - {"completions"}


def test_what_ssah_writes_is_known_as_its_own(cache, tmp_path):
    from ssah_core.studies import stages

    raise_organism(scale="tiny", progress=False)
    ssah_core.measure_each(stages.losses, [0], "tiny")
    model, tokenizer = toys.model(dtype=torch.float32), toys.tokenizer()
    complete_to(cache / "completions" / "toy-0123456789ab", model, tokenizer, ["how ?"] * 3, chunk=2, max_new_tokens=2)
    home = tmp_path / "home"
    shutil.copytree(cache, home)  # where the organisms that tests share are no link
    found = list_stored(home)
    assert {one.what for one in found if one.state != "whole"} == set()
    assert {one.what for one in found} >= {"seed 0, tiny, aligned", "toy, 3 of 3 prompts",
                                           f"losses v{stages.losses.study.version}, seed 0, tiny"}
    (home / "completions" / "toy-0123456789ab" / "chunk-00001.json").unlink()
    (stopped,) = select(list_stored(home), "completions")
    assert (stopped.state, stopped.what) == ("stopped", "toy, 2 of 3 prompts")
    assert len(remove_stored(list_stored(home), home)) == len(found) and list_stored(home) == []
    assert all(file.name.endswith(".lock") for file in home.rglob("*") if file.is_file())


def test_what_is_kept_for_a_reader_is_known_by_its_arms(cache):
    model, tokenizer, place = toys.model(dtype=torch.float32), toys.tokenizer(), cache / "to-read" / "0123456789ab"
    for arm in ("published", "chosen-0.25"):
        complete_to(place / arm, model, tokenizer, ["how ?"] * 3, arm=arm, chunk=2, max_new_tokens=2)
    (found,) = select(list_stored(), "to-read")
    assert (found.what, found.state, found.busy) == ("chosen-0.25, published", "whole", False)
    (place / "published" / "chunk-00001.json").unlink()
    assert [one.state for one in select(list_stored(), "to-read")] == ["stopped"]
    (place / "notes.txt").write_text("mine")
    (mine,) = select(list_stored(), "to-read")
    assert mine.state == "not by ssah" and remove_stored([mine]) == []
    (place / "notes.txt").unlink()
    with store.locked(place):  # as the run holds it between two arms
        assert [one.busy for one in select(list_stored(), "to-read")] == [True] and remove_stored([found]) == []
    assert len(remove_stored([found])) == 1 and not place.exists()


def test_the_home_of_kernels_is_known_but_for_what_somebody_has_put_there(cache):
    for name in (".ipython/profile_default/history.sqlite", ".local/share/jupyter/runtime/a.json", ".config/mine"):
        (cache / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / "home" / name).write_text("{}")
    found = {one.what: one for one in select(list_stored(), "home")}
    assert {name: one.state for name, one in found.items()} == {".ipython": "whole", ".local": "whole",
                                                                ".config": "not by ssah"}
    stamp = cache / "executed" / "03_label_units-0123456789ab"
    with store.locked(stamp):
        assert all(one.busy for one in select(list_stored(), "home") if one.state == "whole")
        assert remove_stored(found.values()) == []
    assert {one.what for one in remove_stored(found.values())} == {".ipython", ".local"}
    assert (cache / "home" / ".config" / "mine").is_file()


def test_an_artefact_that_was_removed_is_built_again(home):
    about, built = {"checkpoint": "my/model"}, []
    assert run("--empty", "spaces", "--yes").exit_code == 0
    store.artefact("spaces", about, lambda folder: built.append(store.write_json(folder / "space.json", {})))
    assert len(built) == 1


# -- emptying ----------------------------------------------------------------------------------------------


def test_without_yes_it_only_says_what_it_would_remove(home):
    before = everything(home)
    ended = run("--empty", "all")
    assert ended.exit_code == 0 and "\nwould remove 9, " in ended.stdout and "add --yes" in ended.stdout
    assert everything(home) == before


@pytest.mark.parametrize("words, kept", [
    (["--empty", "studies"], {"organisms", "scores", "spaces", "smollm", "executed"}),
    (["--empty", "all", "--study", "losses"], {"organisms", "scores", "spaces", "smollm", "executed", "studies"}),
    (["--empty", "all", "--older-than", "1"], {"organisms", "scores", "spaces", "smollm", "executed", "studies"}),
    (["--empty", "unfinished"], {"organisms", "scores", "spaces", "smollm", "executed", "studies"}),
    (["--empty", "executed"], {"organisms", "scores", "spaces", "smollm", "studies"}), (["--empty", "all"], set())])
def test_only_what_is_asked_for_is_removed(home, words, kept):
    count = len(list_stored())
    chosen = len(json.loads(run(*words, "--json").stdout))
    ended = run(*words, "--yes")
    assert ended.exit_code == 0 and {found.kind for found in list_stored()} == kept
    assert len(list_stored()) == count - chosen
    assert f"removed: {chosen}, " in ended.stdout if chosen else "nothing is removed" in ended.stdout


def test_nothing_of_others_is_ever_removed(home):
    mine = [home / "notes.txt", home / "organisms" / "notes.txt", home / "organisms" / "thesis" / "chapter.tex",
            home / "executed" / "mine.log", home / "executed" / "mine-0123456789ab.json", home / "photos" / "cat.png",
            home / "home" / ".config" / "x", home / "organisms" / "0123456789ab" / "settings.json",
            home / "executed" / "03_label_units-aaaaaaaaaaaa.json", home / "studies" / ".hidden",
            home / "verify" / "0123456789ab-torch2.13.0" / "thesis.tex"]
    for file in mine:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"seed": 0}')
    inside = select(list_stored(), "organisms")[0].path / "thesis.tex"  # in the midst of an artefact of ours
    inside.write_text("precious")
    before = {file: file.read_bytes() for file in (*mine, inside)}
    ended = run("--empty", "all", "--yes")
    assert ended.exit_code == 0 and {file: file.read_bytes() for file in before} == before
    assert (inside.parent / "model.safetensors").is_file()  # the whole of it stays
    assert "12 left, which ssah did not write" in ended.stdout
    assert {found.state for found in list_stored()} == {"not by ssah"}
    assert "not by ssah" in run().stdout and "which it never removes" in run().stdout


def test_no_link_is_followed_out_of_the_cache(home, tmp_path):
    outside = tmp_path / "outside"
    shutil.copytree(home, outside)
    before = everything(outside)
    about = {"checkpoint": "linked"}
    (made,) = [found for found in list_stored() if found.kind == "organisms"]
    (home / "organisms" / store.key(about)).symlink_to(next((outside / "organisms").glob("[0-9a-f]*")))
    (home / "organisms" / ".0123456789ab.partial").symlink_to(outside / "organisms")
    shutil.rmtree(home / "spaces")
    (home / "spaces").symlink_to(outside / "spaces")
    (made.path / "config.json").symlink_to(outside / "notes.txt")
    (home / "executed" / "03_label_units-cccccccccccc.json").symlink_to(next((outside / "executed").glob("*.json")))
    partial = home / "studies" / ".fedcba987654.partial"  # ours, with a link in it: the link goes, not what it leads to
    partial.mkdir()
    (partial / "out").symlink_to(outside)
    run("--empty", "all", "--yes")
    assert everything(outside) == before and not partial.exists()
    left = {found.path.name for found in list_stored()}
    assert left == {store.key(about), ".0123456789ab.partial", "spaces", made.path.name,
                    "03_label_units-cccccccccccc.json"}


def test_a_cache_that_is_itself_a_link_is_the_users_wish(home, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "link"))
    run("--empty", "all", "--yes")
    assert list_stored() == []


def test_what_a_process_is_at_work_on_stays(home):
    (organism,) = select(list_stored(), "organisms")
    partial = home / "studies" / ".0123456789ab.partial"
    partial.mkdir()
    (partial / "half").write_text("half")
    locks = [home / "organisms" / f".{organism.path.name}.lock", home / "studies" / ".0123456789ab.lock",
             home / "executed" / ".03_label_units-0123456789ab.lock"]
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, *map(str, locks)], text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == "held\n"
        assert "seed 0, tiny, aligned (in use)" in run().stdout
        ended = run("--empty", "all", "--yes")
        assert "4 left, which ssah did not write, or a process is at work on" in ended.stdout
        assert (organism.path / "model.safetensors").is_file() and (partial / "half").is_file()
        assert {found.kind for found in list_stored()} == {"organisms", "studies", "executed"}
    finally:
        holder.communicate()
    assert "removed: 4" in run("--empty", "all", "--yes").stdout and list_stored() == []


def test_what_killed_runs_left_is_told_and_removed(home):
    partial = home / "organisms" / ".0123456789ab.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(bytes(500_000))
    assert "1 unfinished (0.5 MB), of runs that were killed: `ssah cache --empty unfinished --yes`" in run().stdout
    assert "removed: 1, 0.5 MB" in run("--empty", "unfinished", "--yes").stdout
    assert not partial.exists() and len(list_stored()) == 9


def test_scratch_of_verification_is_one_thing(home, monkeypatch):
    scratch = home / "verify" / "0123456789ab-torch2.13.0+cpu"
    with monkeypatch.context() as patch:
        patch.setenv("SSAH_CACHE", str(scratch / "cache"))
        store.artefact("spaces", {"checkpoint": "x"}, lambda folder: store.write_json(folder / "space.json", {}))
    store.write_json(scratch / "figures" / "measurements" / "losses" / "tiny-seed0.json", {})
    (found,) = select(list_stored(), "verify")
    assert (found.what, found.state) == (scratch.name, "whole")
    assert len(remove_stored([found])) == 1 and not scratch.exists()


def test_no_path_outside_the_cache_is_removed_whatever_is_asked_for(home, tmp_path):
    (tmp_path / "mine").write_text("precious")
    (found,) = select(list_stored(), "organisms")
    for path in (tmp_path / "mine", tmp_path, home, home / "organisms", home / "organisms" / ".." / ".."):
        asked = Stored(**{**vars(found), "path": path})
        assert remove_stored([asked]) == []
    assert (tmp_path / "mine").is_file() and found.path.is_dir()


def test_what_changed_since_it_was_listed_stays(home):
    chosen = select(list_stored(), "organisms")
    (chosen[0].path / "thesis.tex").write_text("precious")
    assert remove_stored(chosen) == [] and (chosen[0].path / "thesis.tex").is_file()


# -- what cannot be ----------------------------------------------------------------------------------------


def test_a_cache_that_is_not_there_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "nowhere"))
    ended = run()
    assert ended.exit_code == 0 and ended.stdout == f"nothing that is asked for lies in the cache, {tmp_path}/nowhere\n"
    assert run("--json").stdout == "[]\n" and "nothing is removed" in run("--empty", "all", "--yes").stdout
    assert not (tmp_path / "nowhere").exists()


def test_a_cache_that_is_a_file_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "file"))
    assert "file is a file: set SSAH_CACHE to a folder" in refusal_of()
    assert "is a file" in refusal_of("--empty", "all", "--yes") and (tmp_path / "file").read_text() == "mine"


def test_a_cache_that_cannot_be_read_is_one_sentence(home, monkeypatch):
    def refuses(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuses)
    assert "cannot be read ([Errno 13] Permission denied" in refusal_of()


@pytest.mark.parametrize("words, sentence", [
    (["--empty", "organism"], "kind 'organism' is unknown: choose one of all, unfinished, organisms"),
    (["--empty", "../studies"], "kind '../studies' is unknown"), (["--empty", ""], "kind '' is unknown"),
    (["--empty", "all", "--yes", "--study", ""], "study '' has no rows in the cache"),
    (["--study", "loses"], "study 'loses' has no rows in the cache: choose one of budget, losses"),
    (["--older-than", "-1"], "older_than is -1.0: give a number of days"),
    (["--older-than", "nan"], "older_than is nan"),
    (["--yes"], "--yes removes nothing by itself")])
def test_what_cannot_be_picked_is_one_sentence(home, words, sentence):
    assert sentence in refusal_of(*words) and len(list_stored()) == 9
