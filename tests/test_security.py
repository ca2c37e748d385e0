"""What comes from strangers is data: each test tries an attack, and what it would do does not happen."""

import ast
import json
import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import nbformat
import numpy
import pytest
import torch
import toys
from safetensors.torch import save_file
from typer.testing import CliRunner

import ssah_core as ssah
from ssah_core.cli import app
from ssah_core.data import files as data_files
from ssah_core.freezing import FrozenReport
from ssah_core.generation import load_completions
from ssah_core.materials.content import digest_of
from ssah_core.models import config as model_config
from ssah_core.plots.__main__ import redraw_all
from ssah_core.probing.linear_probe import Readout
from ssah_core.records import cache as store
from ssah_core.records import load_records
from ssah_core.records.measurements import slug
from ssah_core.records.row_files import read_rows
from ssah_core.runner.parameters import parse_parameters
from ssah_core.runner.run_notebook import run_notebook
from ssah_core.runner.verify import main as verify

ROOT = Path(__file__).resolve().parents[1]
DEEP = "[" * 100_000 + "]" * 100_000
PATHS = ["../../secret", "/etc/passwd", "a\0b", "..\\secret", "~/secret"]


class Payload:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, mark: Path):
        self.mark = str(mark)

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


@pytest.fixture
def mark(tmp_path) -> Path:
    """A file that is there only if an attack has run."""
    return tmp_path / "ran"


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "toy"
    toys.model(dtype=torch.float32).save_pretrained(folder)
    toys.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(toy, tmp_path) -> Path:
    """A checkpoint of somebody's, to put something evil into."""
    return Path(shutil.copytree(toy, tmp_path / "strangers"))


def edit(file: Path, **changes) -> None:
    file.write_text(json.dumps({**(json.loads(file.read_text()) if file.is_file() else {}), **changes}))


def refusal_of(use, *given, **more) -> str:
    """The one sentence with which a call refuses."""
    with pytest.raises(ValueError) as caught:
        use(*given, **more)
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1 and re.search("[:;] ", sentence), sentence  # what is wrong, and the way out
    return sentence


def refused_by_command(*words) -> str:
    ended = CliRunner().invoke(app, list(map(str, words)))
    assert (ended.exit_code, ended.stdout) == (2, ""), ended.output
    (sentence,) = ended.stderr.splitlines()
    return sentence


def load(folder: Path):
    return ssah.load(folder, device="cpu")


def ask(folder: Path):
    return ssah.complete(*load(folder), ["how ?"], max_new_tokens=1)


# -- no code of anybody's is run: the source ---------------------------------------------------------------

CALLS = {"eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "torch.load", "joblib.load",
         "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "marshal.loads", "yaml.load",
         "numpy.fromfile", "pandas.read_pickle", "dill.load", "dill.loads", "shelve.open"}
MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}
HARMLESS = {"trust_remote_code": False, "shell": False, "allow_pickle": False, "weights_only": True,
            "use_safetensors": True}
"""Arguments that may have this value alone."""


def sources() -> dict[str, str]:
    """All code that is shipped: the package's files, and the code cells of the notebooks."""
    found = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
             for file in (ROOT / "ssah_core").rglob("*.py")}
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        cells = [cell.source for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        found[file.name] = "\n".join(line for cell in cells for line in cell.splitlines())
    return found


def dangerous(code: str) -> list[str]:
    found = [line for line in code.splitlines() if re.match(r"\s*[!%]\w", line)]  # a notebook's own way to a shell
    code = "\n".join(line for line in code.splitlines() if line not in found)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
            found.append(ast.unparse(node))
        if isinstance(node, ast.Import) and {name.name.split(".")[0] for name in node.names} & MODULES:
            found.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg in HARMLESS:
            if not (isinstance(node.value, ast.Constant) and node.value.value is HARMLESS[node.arg]):
                found.append(f"{node.arg}={ast.unparse(node.value)}")
    return found


def test_nothing_that_is_shipped_runs_text_or_reads_pickles():
    assert len(sources()) > 100
    assert {name: found for name, code in sources().items() if (found := dangerous(code))} == {}


@pytest.mark.parametrize("code", [
    "eval(x)", "exec(x)", "torch.load(f)", "import pickle", "from joblib import load", "os.system('ls')", "!ls",
    "subprocess.run(x, shell=True)", "f(trust_remote_code=True)", "f(trust_remote_code=wish)", "%run x.py",
    "numpy.load(f, allow_pickle=True)", "torch.load(f, weights_only=False)", "m(use_safetensors=False)"])
def test_the_known_ways_to_run_text_are_seen(code):
    assert dangerous(code)


LOADERS = ("from_pretrained", "from_config")


def unsaid(code: str) -> list[str]:
    """Loaders that are called, or handed on to be called, without a word on foreign code."""
    tree = ast.parse(code)
    told = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Call)
            and "trust_remote_code" in {word.arg for word in node.keywords}
            for part in (node.func, *(node.args[:1] if ast.unparse(node.func).endswith("partial") else ()))}
    return [ast.unparse(node) for node in ast.walk(tree) if id(node) not in told and (
        isinstance(node, ast.Attribute) and node.attr in LOADERS
        or isinstance(node, ast.Constant) and node.value in LOADERS)]  # getattr(kind, "from_pretrained")


def test_every_loader_of_a_model_or_tokenizer_says_that_no_foreign_code_is_run():
    assert {name: found for name, code in sources().items() if name.startswith("ssah_core")
            and (found := unsaid(code))} == {}


@pytest.mark.parametrize("code", [
    "A.from_pretrained(x)", "A.from_pretrained(folder)", "partial(A.from_pretrained, x)", "load = A.from_pretrained",
    "getattr(A, 'from_pretrained')(x)", "f(A.from_config, trust_remote_code=False)", "A.from_pretrained(x).y(z)"])
def test_loaders_that_say_nothing_are_seen(code):
    assert unsaid(code)


@pytest.mark.parametrize("code", ["A.from_pretrained(x, trust_remote_code=False)",
                                  "functools.partial(A.from_pretrained, x, trust_remote_code=False)"])
def test_loaders_that_say_it_are_not(code):
    assert not unsaid(code)


# -- checkpoints -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_in_a_checkpoint_is_not_read(folder, mark, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Payload(mark)))
    assert "cannot be loaded: a file is missing or damaged" in refusal_of(load, folder)
    assert not mark.exists()


def test_a_pickle_beside_the_weights_is_not_read(folder, mark):
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "adapter_model.bin"):
        (folder / name).write_bytes(pickle.dumps(Payload(mark)))
    load(folder)
    assert not mark.exists()


def test_a_pickle_of_an_adapter_is_not_read(folder, toy, mark, no_hub):
    edit(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(toy), r=2, task_type="CAUSAL_LM",
         target_modules=["q_proj"])
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Payload(mark)))
    try:
        load(folder)
    except ValueError as error:  # as the versions of transformers and peft have it
        assert len(str(error).splitlines()) == 1
    assert not mark.exists()


def test_the_payload_of_these_tests_does_run_where_pickles_are_read(mark):
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()


@pytest.mark.parametrize("kind", ["own", "llama"])
def test_code_that_comes_with_a_checkpoint_is_never_imported(folder, mark, kind):
    (folder / "modeling_x.py").write_text(f"open({str(mark)!r}, 'w')\nclass X: ...\n")
    edit(folder / "config.json", auto_map={name: "modeling_x.X" for name in ("AutoConfig", "AutoModelForCausalLM")},
         **({"model_type": "x"} if kind == "own" else {}))
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling_x.X", "modeling_x.X"]},
         tokenizer_class="X")
    assert "brings code of its own, which ssah never runs" in refusal_of(load, folder)
    rows = {"seed": 0, "scale": "paper", "checkpoints": {"aligned": str(folder)}}  # kept ones, compared with today's
    assert "brings code of its own, which ssah never runs" in refusal_of(digest_of, "preferences", **rows)
    if kind == "own":
        assert "brings code of its own, which ssah never runs" in refused_by_command("plan", folder)
    assert not mark.exists() and "modeling_x" not in str(sorted(sys.modules))


@pytest.mark.parametrize("asked", [{"_attn_implementation": "evil/kernel"}, {"attn_implementation": "evil/kernel"},
                                   {"_attn_implementation": {"": "evil/kernel@main"}},
                                   {"_attn_implementation": "paged|evil/kernel:f"},
                                   {"_experts_implementation": "evil/kernel"}])
def test_attention_from_a_repository_is_code_and_is_refused(folder, asked):
    edit(folder / "config.json", **asked)
    assert "on the hub, which ssah never runs" in refusal_of(load, folder)
    assert "on the hub, which ssah never runs" in refused_by_command("plan", folder)


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/ABSOLUTE", "sub/../../outside.safetensors",
                                   "..\\outside.safetensors"])
def test_weights_that_lie_elsewhere_are_not_read(folder, tmp_path, shard):
    weights = tmp_path / "outside.safetensors"
    shutil.move(folder / "model.safetensors", weights)
    names = toys.model(dtype=torch.float32).state_dict()
    file = str(weights) if shard == "/ABSOLUTE" else shard
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(
        names, file)}))
    assert "is no file of its own folder" in refusal_of(load, folder)


@pytest.mark.parametrize("named", [{"tokenizer_file": "SECRET"},
                                   {"vocab_file": "SECRET", "tokenizer_class": "LlamaTokenizer"},
                                   {"name_or_path": "SECRET"}, {"chat_template": "SECRET"}])
def test_a_tokenizer_does_not_come_from_where_its_config_says(folder, toy, tmp_path, named):
    secret = tmp_path / "secret.json"
    words = json.loads((toy / "tokenizer.json").read_text())
    words["model"]["vocab"] = {f"secret{n}": n for n in range(len(words["model"]["vocab"]))}
    secret.write_text(json.dumps(words))
    edit(folder / "tokenizer_config.json", **{name: value.replace("SECRET", str(secret))
                                              for name, value in named.items()})
    try:
        _, tokenizer = load(folder)
    except ValueError:
        return
    assert not any("secret" in word for word in tokenizer.get_vocab())


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
                                  "model.safetensors.index.json"])
@pytest.mark.parametrize("content", ['{"a": ' + DEEP + "}", "[]", '"x"', "1", "{", "\0"], ids=repr)
def test_settings_that_are_none_are_one_sentence(folder, file, content):
    if file.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    (folder / file).write_text(content)
    for use in (load, model_config.read_config):
        try:
            use(folder)
            assert file != "config.json" and (use is not load or file == "generation_config.json")  # one can do without
        except ValueError as error:
            assert str(folder) in str(error) and len(str(error).splitlines()) == 1


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"])
@pytest.mark.parametrize("use", [load, model_config.read_config])
def test_a_link_to_a_device_is_not_read(folder, file, use):
    (folder / file).unlink()
    (folder / file).symlink_to("/dev/zero")
    assert f"has {file}, which is no file" in refusal_of(use, folder)


def test_a_config_without_end_is_not_read(folder):
    with (folder / "config.json").open("ab") as file:
        file.truncate(store.LARGEST + 1)
    assert "config.json, which is no file, or one of more than 0.3 GB" in refusal_of(load, folder)


@pytest.mark.parametrize("header", [b"\xff" * 8, (2 ** 62).to_bytes(8, "little") + b"{}", b"\x02\0\0\0\0\0\0\0[]", b"",
                                    (64).to_bytes(8, "little")
                                    + b'{"a":{"dtype":"F32","shape":[999999999999],"data_offsets":[0,4]}}'])
def test_weights_that_lie_about_their_size_are_not_read(folder, header):
    (folder / "model.safetensors").write_bytes(header)
    assert "cannot be loaded: a file is missing or damaged" in refusal_of(load, folder)
    assert "pass a file that save of UnitMask wrote" in refusal_of(ssah.UnitMask.load, folder / "model.safetensors")


# -- chat templates: programs, in a sandbox ----------------------------------------------------------------

TEMPLATES = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('touch MARK') }}",
    "builtins": "{{ self.__init__.__globals__.__builtins__.open('MARK', 'w') }}",
    "attr": "{{ (''|attr('__class__')).__mro__ }}", "format": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "raise": "{{ raise_exception.__globals__ }}", "day": "{{ strftime_now.__globals__['os'].system('touch MARK') }}",
    "include": "{% include '/etc/passwd' %}", "import": "{% import '/etc/passwd' as x %}",
    "change": "{{ messages.append(messages) }}", "loop": "{% for i in range(10**9) %}x{% endfor %}",
    "zero": "{{ 1 / 0 }}", "memory": "{{ 'x' * 10**15 }}",
    "recursion": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "nesting": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "syntax": "{% for %}", "missing": "{{ {}['x']['y'] }}",
    "words": "{{ ''.join(messages) }}"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_hostile_template_is_refused_in_one_sentence(folder, mark, name):
    (folder / "chat_template.jinja").write_text(TEMPLATES[name].replace("MARK", str(mark)))
    sentence = refusal_of(ask, folder)
    assert "chat template" in sentence and not mark.exists()


@pytest.mark.parametrize("value", ["' }}{{ 1/0 }}{{ '", '"; os.system("x") #', "{% raw %}", "\n", "{{ messages }}"])
def test_arguments_of_a_template_stay_text(folder, value):
    (folder / "chat_template.jinja").write_text("{{ note }}" + toys.TEMPLATE)
    _, tokenizer = ssah.load(folder, device="cpu", chat_template_kwargs={"note": value})
    said = tokenizer.apply_chat_template([{"role": "user", "content": "how ?"}], tokenize=False)
    assert said.startswith(value + "<s>")


@pytest.mark.parametrize("prompt", ["{{ 1/0 }}", "{% include '/etc/passwd' %}", "{{ ''.__class__ }}"])
def test_a_prompt_is_no_template(toy, prompt):
    _, tokenizer = load(toy)
    assert prompt in tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False)
    (row,) = ssah.complete(*load(toy), [prompt], max_new_tokens=1).to_list()
    assert row["prompt"] == prompt


# -- data --------------------------------------------------------------------------------------------------

ROWS = {"deep.json": DEEP, "deep.jsonl": '{"prompt": "a", "x": ' + DEEP + "}", "row.jsonl": '["prompt"]',
        "nested.jsonl": '{"prompt": "a", "x": ' + "[" * 900 + "]" * 900 + "}", "digits.jsonl": '{"prompt": "a", "n": '
        + "9" * 5000 + "}", "line.csv": "prompt\n" + "a" * (data_files.CSV_FIELD + 1), "quote.csv": 'prompt\n"'
        + "a\n" * data_files.CSV_FIELD, "columns.csv": "prompt,prompt\na,b\n", "nul.jsonl": '{"prompt": "a\\u0000"}',
        "number.jsonl": '{"prompt": 1}', "list.json": '{"prompt": "a"}', "text.json": '"prompt"'}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_are_none_are_one_sentence(tmp_path, name):
    (tmp_path / name).write_text(ROWS[name])
    assert name in refusal_of(ssah.load_data, tmp_path / name)
    assert name in refused_by_command("judge", tmp_path / name, "--judge", "keyword:qi2023")


def test_a_line_of_many_megabytes_is_a_line(tmp_path):
    (tmp_path / "line.jsonl").write_text(json.dumps({"prompt": "a" * 20_000_000}) + "\n")
    assert len(ssah.load_data(tmp_path / "line.jsonl")[0]["prompt"]) == 20_000_000


def test_data_without_end_are_not_read(tmp_path, monkeypatch):
    with (tmp_path / "sparse.jsonl").open("wb") as file:
        file.truncate(data_files.LARGEST + 1)
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "data are read up to 2.1 GB" in refusal_of(ssah.load_data, tmp_path / "sparse.jsonl")
    for name in ("zero.jsonl", "pipe.jsonl"):
        refusal_of(ssah.load_data, tmp_path / name)
        assert "a folder or a device" in refused_by_command("judge", tmp_path / name, "--judge", "keyword:qi2023")


@pytest.mark.parametrize("to", ["/dev/zero", "/etc", "nowhere"])
def test_links_in_the_folder_of_data_lead_to_files_or_to_nothing(tmp_path, monkeypatch, no_hub, to):
    monkeypatch.setenv("SSAH_DATA", str(tmp_path))
    (file,) = [source.parts["all"].files[0] for name, source in ssah_sources().items() if name == "advbench"]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).symlink_to(to)
    assert "cannot be had from the hub" in refusal_of(ssah.load_data, "advbench")
    (tmp_path / file).unlink()
    real = tmp_path / "elsewhere.csv"
    real.write_text("goal,target\n" + "".join(f"How {n}?,Sure {n}\n" for n in range(5)))
    (tmp_path / file).symlink_to(real)  # one's own link, to a file: as it is wished
    assert len(ssah.load_data("advbench")) == 5


def ssah_sources():
    from ssah_core.data.catalogue import SOURCES

    return SOURCES


@pytest.mark.parametrize("path", PATHS)
def test_a_path_in_a_row_is_text(toy, tmp_path, path):
    (tmp_path / "secret").write_text("secret")
    rows = [{"prompt": path.replace("\0", ""), "response": path.replace("\0", ""), "file": path.replace("\0", "")}]
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert ssah.load_data(tmp_path / "rows.jsonl").to_list() == rows
    done = ssah.complete_to(tmp_path / "done", *load(toy), rows, max_new_tokens=1)
    assert done[0]["file"] == rows[0]["file"] and "secret" not in done[0]["response"]
    shown = {file.name for file in (tmp_path / "done").iterdir() if not file.name.startswith(".")}
    assert shown == {"settings.json", "chunk-00000.json"} and not list(tmp_path.rglob("*passwd*"))


# -- rows, records, completions, files of units ------------------------------------------------------------

IDENTITY = {"study": "losses", "version": 1, "seed": 0, "scale": "tiny", "settings": {}}
KEPT = {"format": 2, "identity": IDENTITY, "rests_on": {}, "rows": [{"metric": "loss", "value": 1.0}],
        "evidence": {"code": "0" * 12, "arithmetic": "portable", "date": "2026-11-28"}}


@pytest.mark.parametrize("changes", [
    {"identity": []}, {"identity": {**IDENTITY, "study": 1}}, {"identity": {**IDENTITY, "version": "1"}},
    {"identity": {**IDENTITY, "seed": "../0"}}, {"identity": {**IDENTITY, "scale": []}}, {"rows": []}, {"rows": {}},
    {"identity": {**IDENTITY, "settings": []}}, {"rests_on": []}, {"evidence": {"code": 1, "arithmetic": 2, "date": 3}},
    {"rows": [{"metric": "a", "value": True}]}, {"rows": [{"metric": 1, "value": 1.0}]}, {"rows": [1]},
    {"rows": [{"metric": "a", "value": "1"}]}, {"format": "2"}, {"evidence": {}}])
def test_rows_of_other_types_are_no_rows(tmp_path, changes):
    (tmp_path / "rows.json").write_text(json.dumps(KEPT))
    assert read_rows(tmp_path / "rows.json") is not None
    (tmp_path / "rows.json").write_text(json.dumps({**KEPT, **changes}))
    assert read_rows(tmp_path / "rows.json") is None


@pytest.mark.parametrize("changes", [{"study": "losses/../../../../evil"}, {"study": "losses//abs"},
                                     {"scale": "../../../evil"}, {"seed": 7}, {"study": "stages"}])
def test_rows_do_not_say_where_they_are_measured_again(cache, tmp_path, capsys, changes):
    place = tmp_path / "figures" / "measurements" / "losses" / "tiny-seed0.json"
    store.write_json(place, {**KEPT, "identity": {**IDENTITY, **changes}})
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    assert verify(["--scale", "tiny"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "which lie elsewhere: measure it again" in sentence
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == before


RECORD = {"claim": "stages/aligned/asr", "value": 1.0, "unit": "%", "interval": None, "method": "x", "values": [1.0],
          "seeds": [0], "n": 1, "judge": "x", "scale": "tiny", "model": "organism", "code": "x", "orders": 1}


@pytest.mark.parametrize("changes", [
    {"claim": 3}, {"unit": []}, {"n": "x"}, {"n": -1}, {"n": True}, {"values": "x"}, {"seeds": [[]]}, {"model": {}},
    {"judge": 7}, {"value": True}, {"orders": None}, {"orders": True}, {"extra": 1}, {"values": [1.0, 2.0]},
    {"interval": ["a", "b"]}, {"values": []}, {"scale": None}, {"interval": [1.0]},
    {"method": DEEP[:0] or {}}], ids=str)
def test_records_of_other_types_are_refused(tmp_path, changes):
    (tmp_path / "record.json").write_text(json.dumps(RECORD))
    assert len(load_records(tmp_path)) == 1
    (tmp_path / "record.json").write_text(json.dumps({**RECORD, **changes}))
    assert "record record.json is damaged" in refusal_of(load_records, tmp_path)


@pytest.mark.parametrize("content", [DEEP, "", "[1, 2", "\0"], ids=lambda text: text[:5])
def test_json_that_is_none_is_one_sentence(tmp_path, content):
    (tmp_path / "record.json").write_text(content)
    assert "record.json is damaged" in refusal_of(store.read_json, tmp_path / "record.json")


def test_json_without_end_is_not_read(tmp_path):
    with (tmp_path / "rows.json").open("wb") as file:
        file.truncate(2 ** 31)  # sparse: no byte of it lies on the disk
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    assert "is of 2.1 GB, but JSON is read up to 0.3 GB" in refusal_of(store.read_json, tmp_path / "rows.json")
    assert "a folder or a device" in refusal_of(store.read_json, tmp_path / "zero.json")
    assert read_rows(tmp_path / "rows.json") is None


def kept(tmp_path: Path, toy: Path) -> Path:
    ssah.complete_to(tmp_path / "done", *load(toy), ["how ?"] * 3, chunk=2, max_new_tokens=1)
    return tmp_path / "done"


@pytest.mark.parametrize("changes", [
    {"n": 10 ** 15}, {"n": "3"}, {"n": -1}, {"n": None}, {"chunk": 0}, {"chunk": 0.5}, {"chunk": True},
    {"n": 10 ** 400}, {"questions": ["../../secret"]}, {"questions": None}])
def test_settings_of_completions_that_cannot_be_are_refused(tmp_path, toy, changes):
    done = kept(tmp_path, toy)
    edit(done / "settings.json", **changes)
    assert str(done) in refusal_of(load_completions, done)
    assert str(done) in refused_by_command("judge", done, "--judge", "keyword:qi2023")


@pytest.mark.parametrize("rows", ["{}", "1", "[1]", '[{"prompt": 1, "response": "a"}]', '[{"prompt": "how ?"}]', DEEP],
                         ids=lambda text: text[:20])
def test_chunks_of_completions_that_are_none_are_refused(tmp_path, toy, rows):
    done = kept(tmp_path, toy)
    (done / "chunk-00001.json").write_text(rows)
    assert "chunk-00001.json is damaged" in refusal_of(load_completions, done)


def test_completions_are_not_written_through_what_is_there(tmp_path, toy):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    assert "other files in it" in refusal_of(ssah.complete_to, mine, *load(toy), ["how ?"], max_new_tokens=1)
    assert [file.name for file in mine.iterdir()] == ["thesis.tex"]


def test_links_among_completions_are_not_written_through(tmp_path, toy):
    done, secret = kept(tmp_path, toy), tmp_path / "secret.json"
    rows = load_completions(done).to_list()
    for name in ("chunk-00001.json", f".chunk-00001.json.{'0' * 32}"):
        (done / name).unlink(missing_ok=True)
        (done / name).symlink_to(secret)
    assert ssah.complete_to(done, *load(toy), ["how ?"] * 3, chunk=2, max_new_tokens=1).to_list() == rows
    assert not secret.exists()
    secret.write_text('"precious"')
    (done / "chunk-00000.json").unlink()
    (done / "chunk-00000.json").symlink_to(secret)
    assert "precious" not in refusal_of(load_completions, done) and secret.read_text() == '"precious"'


@pytest.mark.parametrize("name", [*PATHS, "..", "a/b", "a\nb", "", "-rf", "x" * 400])
def test_names_of_checkpoints_leave_no_folder(name):
    part = slug(name)
    assert not {"/", "\\", "\0", "\n"} & set(part) and not part.startswith(".")


@pytest.mark.parametrize("kind", ["..", "a/b", "", "/etc", "a\0b"])
def test_kinds_of_artefacts_leave_no_folder(cache, kind):
    refusal_of(store.artefact, kind, {}, lambda folder: None)


MASK = ssah.UnitMask({"mlp.0": torch.tensor([True, False])})


@pytest.mark.parametrize("header", [
    {"kind": '"UnitMask"'}, {"kind": "UnitMask"}, {"kind": DEEP}, {"kind": '"../../x"', "sizes": '{"mlp.0": 2}'},
    {"kind": '"UnitMask"', "about": "{}", "format": "1", "version": '"0"', "digest": '"0"', "facts": "{}",
     "sizes": '{"mlp.0": 1000000000000}'},
    {"kind": '"UnitMask"', "about": "{}", "format": "1", "version": '"0"', "digest": '"0"', "facts": "{}",
     "sizes": '{"../../x": 2}'}], ids=lambda header: str(header)[:60])
def test_files_of_units_that_lie_are_refused(tmp_path, header):
    file = tmp_path / "mask.safetensors"
    save_file({"units/mlp.0": torch.tensor([True, False])}, file, metadata=header)
    refusal_of(ssah.UnitMask.load, file)


def test_pickles_are_no_files_of_units(tmp_path, mark):
    (tmp_path / "x").write_bytes(pickle.dumps(Payload(mark)))
    for load_file in (ssah.UnitMask.load, ssah.UnitLabels.load, ssah.Moments.load, ssah.Scores.load, Readout.load,
                      FrozenReport.load, ssah.Interval.load):
        refusal_of(load_file, tmp_path / "x")
    numpy.save(tmp_path / "x.npy", numpy.array([Payload(mark)], dtype=object), allow_pickle=True)
    refusal_of(ssah.UnitMask.load, tmp_path / "x.npy")
    assert not mark.exists()


def test_a_file_without_end_is_nobody_elses_to_overwrite(tmp_path):
    with (tmp_path / "image.iso").open("wb") as file:
        file.truncate(2 ** 33)
    assert "no file of ssah's" in refusal_of(MASK.save, tmp_path / "image.iso")
    assert (tmp_path / "image.iso").stat().st_size == 2 ** 33


@pytest.mark.parametrize("plot", ["draw", "__class__", "attack.os.system", "look", "pandas", 1, None, "plot_"])
def test_a_saved_figure_is_drawn_by_what_draws_figures_alone(cache, tmp_path, plot):
    store.write_json(tmp_path / "figures" / "x.json", {"plot": plot, "options": {}, "table": {"a": [1]}})
    assert "x.json is no saved figure" in refusal_of(redraw_all)


# -- notebooks ---------------------------------------------------------------------------------------------

EVIL = ['"); open("ran", "w") #', "'''\nopen('ran', 'w')\n'''", "a\nopen('ran', 'w')", "\\", '"""', "{x}", "%(x)s",
        "!touch ran", "\u2028open('ran', 'w')", "\r\nopen('ran', 'w')"]


def test_values_of_parameters_stay_text(tmp_path, cache):
    names = [f"word{n}" for n in range(len(EVIL))]
    nb = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell("\n".join(f"{name}: str = ''" for name in names), metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(f"import json; print(json.dumps([{', '.join(names)}]))")])
    nbformat.write(nb, tmp_path / "evil.ipynb")
    given = parse_parameters(tmp_path / "evil.ipynb", dict(zip(names, EVIL, strict=True)))
    run_notebook(tmp_path / "evil.ipynb", given, tmp_path / "out.ipynb")
    done = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert json.loads(done.cells[-1].outputs[0].text) == EVIL
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["n; import os", "n = 1\nimport os", "__builtins__", "n", ""])
def test_names_of_parameters_are_those_of_the_notebook(name):
    for notebook in (ROOT / "notebooks").glob("03*.ipynb"):
        assert "has no parameter" in refusal_of(parse_parameters, notebook, {name: "1"})


def test_defaults_of_parameters_are_literals(tmp_path, mark):
    cell = nbformat.v4.new_code_cell(f"n: int = open({str(mark)!r}, 'w')", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "evil.ipynb")
    assert "only lines such as" in refusal_of(parse_parameters, tmp_path / "evil.ipynb", {"n": "1"})
    assert not mark.exists()
