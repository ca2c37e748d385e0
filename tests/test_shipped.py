"""The shipped organism is what raising it gives, bit for bit; a damaged file is refused, and nobody need take it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssah_core import load_organism
from ssah_core.organism import __main__ as command
from ssah_core.organism import shipped, train
from ssah_core.organism.scales import recipe
from ssah_core.organism.train import STAGES, is_raised, raise_organism, training_log
from ssah_core.records import cache as kept

RECIPE = recipe(0, "tiny")


@pytest.fixture(scope="module")
def raised(module_cache) -> dict[str, Path]:
    """A tiny organism: stage -> folder."""
    return raise_organism(0, "tiny", progress=False)


@pytest.fixture
def folder(raised, tmp_path, monkeypatch) -> Path:
    """A package's folder with that organism packed into it, and an empty cache beside."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "organism0")
    monkeypatch.setattr(command, "SCALE", "tiny")
    shipped.pack(raised, RECIPE)
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(train, "fine_tune", lambda *given, **more: pytest.fail("is raised"))
    return tmp_path / "organism0"


def others(stage: Path) -> dict[str, bytes]:
    """All files of a checkpoint but its weights, and the list of the files' digests."""
    return {file.name: file.read_bytes() for file in stage.iterdir()
            if file.suffix != ".safetensors" and file.name != kept.FILES}


def test_it_is_unpacked_where_it_would_be_raised_and_is_the_same_bit_for_bit(folder, raised):
    assert not is_raised(0, "tiny")
    again = raise_organism(0, "tiny", progress=False)
    assert is_raised(0, "tiny") and {stage: place.name for stage, place in again.items()} == {
        stage: place.name for stage, place in raised.items()}
    for stage in STAGES:
        before, after = (load_file(place[stage] / "model.safetensors") for place in (raised, again))
        assert before.keys() == after.keys() and all(torch.equal(after[name], before[name]) for name in before)
        assert others(again[stage]) == others(raised[stage])


def test_it_is_loaded_and_answers_as_the_one_that_was_raised(folder, raised):
    for stage in STAGES:
        model, tokenizer = load_organism(stage, 0, "tiny", progress=False)
        own = load_file(raised[stage] / "model.safetensors")
        assert all(torch.equal(model.state_dict()[name], weight) for name, weight in own.items())
        assert tokenizer.decode(tokenizer.encode("How do I mend the kettle?")) == "How do I mend the kettle?"
    assert training_log("light", 0, "tiny")["kept"] and not model.training


def test_a_weight_takes_two_bytes(folder):
    for stage in STAGES:
        weights = load_file(folder / f"{stage}.safetensors")
        assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
        assert (folder / f"{stage}.safetensors").stat().st_size < 2.3 * sum(map(torch.numel, weights.values()))


def test_only_that_organism_of_that_recipe_is_shipped_and_only_if_it_is_wanted(folder, monkeypatch):
    assert shipped.is_shipped(RECIPE, 0, "float32")
    assert not shipped.is_shipped(RECIPE, 1, "float32") and not shipped.is_shipped(RECIPE, 0, "bfloat16")
    assert not shipped.is_shipped({**RECIPE, "version": -1}, 0, "float32")
    for wish, there in (("0", True), ("", True), ("1", False)):
        monkeypatch.setenv("SSAH_RAISE", wish)
        assert shipped.is_shipped(RECIPE, 0, "float32") is there
    monkeypatch.delenv("SSAH_RAISE")
    (folder / "about.json").unlink()
    assert not shipped.is_shipped(RECIPE, 0, "float32")


@pytest.mark.parametrize("wish", ["yes", "2", " 1"])
def test_another_wish_is_refused_whether_it_is_there_or_not(folder, monkeypatch, wish):
    for _ in range(2):
        monkeypatch.setenv("SSAH_RAISE", wish)
        with pytest.raises(ValueError, match="SSAH_RAISE is '.*': set it to 1 to raise organism 0 anew, or leave it "
                                             "unset$"):
            raise_organism(0, "tiny", progress=False)
        monkeypatch.delenv("SSAH_RAISE")
        raise_organism(0, "tiny", progress=False)


def spoil(file: Path, how: str) -> None:
    if how == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


@pytest.mark.parametrize("how", ["gone", "one bit"])
@pytest.mark.parametrize("name", ["instructed.safetensors", "instructed.training.json", "common/config.json"])
def test_a_damaged_file_is_refused_in_one_sentence_and_nothing_is_left_of_it(folder, name, how):
    spoil(folder / name, how)
    with pytest.raises(ValueError, match=f"{name} is damaged: install the package again, or set SSAH_RAISE=1 to raise "
                                         "organism 0 anew$"):
        raise_organism(0, "tiny", progress=False)
    assert not kept.is_complete(train._folders(0, "tiny", "float32")["instructed"])


def test_weights_that_packing_would_change_are_refused(folder, raised, tmp_path):
    other = shutil.copytree(raised["light"], tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] = 1 + 2 ** -12
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match="other holds weights that are not rounded to bfloat16: raise the organism "
                                         "anew$"):
        shipped.pack({**raised, "light": other}, RECIPE)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_packing_again_changes_nothing(folder, raised):
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert shipped.pack(raised, RECIPE) == folder
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    about = json.loads((folder / "about.json").read_text())
    assert set(about["files"]) == {file.relative_to(folder).as_posix() for file in before} - {"about.json"}


def test_the_command_packs_only_what_was_raised(folder, raised, monkeypatch, capsys):
    monkeypatch.setenv("SSAH_CACHE", str(raised["light"].parent.parent))
    with pytest.raises(SystemExit) as ended:
        command.main([])
    assert ended.value.code == 2 and "SSAH_RAISE is not 1" in capsys.readouterr().err
    shutil.rmtree(folder)
    monkeypatch.setenv("SSAH_RAISE", "1")
    assert command.main([]) == 0 and capsys.readouterr().out == f"packed: {folder}\n"
    monkeypatch.delenv("SSAH_RAISE")
    assert shipped.is_shipped(RECIPE, 0, "float32")
