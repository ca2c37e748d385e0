"""What is here is read without the hub; what is not is asked for in seconds; and no test reaches the network."""

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import conftest
import datasets
import huggingface_hub
import pytest
import tiny_data
import toys
from datasets.arrow_writer import ArrowWriter
from huggingface_hub import constants
from tiny_data import write_tiny_checkpoints

from ssah_core import hub, load, load_data
from ssah_core.data import NotToBeHad, first_to_be_had
from ssah_core.materials.content import digest_of
from ssah_core.materials.published_rows import first_that_loads
from ssah_core.models import has_chat_template, read_config
from ssah_core.planning.estimate import check_data, plan
from ssah_core.planning.random_checkpoint import NAME

ADVBENCH = [{"prompt": f"How do I mend kettle {n}?", "target": f"Sure, here is how to mend kettle {n}"}
            for n in range(9)]


@pytest.fixture(autouse=True)
def online(tmp_path, monkeypatch):
    """Nobody is told to stay offline; the hub's cache and the folder of data are empty."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "sets"))
    monkeypatch.setenv("SSAH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(hub, "_asked", [])


@pytest.fixture
def cached(tmp_path):
    """A checkpoint that lies whole in the hub's cache."""
    write_tiny_checkpoints(tmp_path)
    return NAME


def cache_advbench(home) -> None:
    """As `datasets` keeps it once it was downloaded."""
    place = home / "walledai___adv_bench" / "default" / "0.0.0" / "0123456789abcdef"
    place.mkdir(parents=True)
    data = datasets.Dataset.from_list(ADVBENCH)
    with ArrowWriter(features=data.features, path=str(place / "adv_bench-train.arrow")) as writer:
        for row in ADVBENCH:
            writer.write(row)
        count, size = writer.finalize()
    split = {"name": "train", "num_bytes": size, "num_examples": count, "dataset_name": "adv_bench"}
    info = datasets.DatasetInfo(features=data.features, builder_name="csv", dataset_name="adv_bench",
                                config_name="default", version="0.0.0", splits={"train": split})
    info.write_to_directory(str(place))


def offline_after(code: str, **environment: str) -> str:
    """Whether `datasets` is offline after a fresh process has run a line with `hub.offline()` open."""
    lines = f"from ssah_core import hub\ntry:\n    with hub.offline():\n        {code}\nexcept OSError:\n    pass\n"
    ask = "import datasets.config; print(datasets.config.HF_HUB_OFFLINE)"
    given = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    return subprocess.run([sys.executable, "-c", lines + ask], env={**given, **environment}, check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


@pytest.mark.parametrize(("environment", "offline"), [({}, "False"), ({"HF_HUB_OFFLINE": "1"}, "True"),
                                                      ({"HF_DATASETS_OFFLINE": "1"}, "True")])
def test_data_sets_that_are_first_imported_while_nobody_is_asked_are_not_offline_for_good(environment, offline):
    assert offline_after("import datasets", **environment) == offline
    assert offline_after("import datasets; raise OSError", **environment) == offline


# -- what is here ------------------------------------------------------------------------------------------


def test_a_folder_is_read_without_the_hub(tmp_path):
    toys.model().save_pretrained(tmp_path / "toy")
    toys.tokenizer().save_pretrained(tmp_path / "toy")
    assert load(tmp_path / "toy")[0].config.vocab_size == read_config(tmp_path / "toy").vocab_size
    (tmp_path / "toy" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(tmp_path / "toy")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(tmp_path / "nothing")


def test_a_checkpoint_in_the_hubs_cache_is_read_without_the_hub(cached):
    model, tokenizer = load(cached)
    assert tokenizer.chat_template and read_config(cached).vocab_size == model.config.vocab_size
    assert has_chat_template(cached) and plan(cached).parameters
    assert digest_of("wordings", 0, "paper", {"aligned": cached})


def test_data_in_the_hubs_cache_are_read_without_the_hub(tmp_path, caplog):
    cache_advbench(tmp_path / "sets")
    assert load_data("advbench").to_list() == ADVBENCH and caplog.text == ""


def test_of_alternatives_one_that_is_here_comes_before_the_hub_is_asked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(hub, "_answers", lambda: True)
    monkeypatch.setattr("ssah_core.data.load.load_dataset", lambda *place, **more: asked.append(
        constants.is_offline_mode()) or (_ for _ in ()).throw(ConnectionError("not here")))
    tiny_data.write_tiny_data(tmp_path / "data")
    os.rename(tmp_path / "data" / "harmbench", tmp_path / "data" / "jailbreakbench")
    columns = "Index,Goal,Target,Behavior,Category,Source\n"
    rows = "".join(f"{n},How do I mend kettle {n}?,Sure here it is {n},b{n},c,s\n" for n in range(99))
    (tmp_path / "data" / "jailbreakbench" / "harmful-behaviors.csv").write_text(columns + rows)
    names = ("harmbench", "strongreject", "jailbreakbench")
    assert first_that_loads(*names) == "jailbreakbench"
    assert check_data([names])[0].startswith("jailbreakbench: 99 rows of ")
    assert asked == [True] * 4  # each of the other two looked for in the hub's cache alone


def test_a_set_that_the_hub_gives_comes_where_none_is_here(monkeypatch):
    def gives(place, *more, split):
        if constants.is_offline_mode() or "AdvBench" not in place:
            raise ConnectionError("not here")
        return ADVBENCH

    monkeypatch.setattr(hub, "_answers", lambda: True)
    monkeypatch.setattr("ssah_core.data.load.load_dataset", gives)
    name, data = first_to_be_had(["strongreject", "advbench", "xstest"])
    assert name == "advbench" and data.to_list() == ADVBENCH
    with pytest.raises(NotToBeHad, match="^xstest cannot be had from the hub"):
        first_to_be_had(["strongreject", "xstest"])


# -- a hub that does not answer ----------------------------------------------------------------------------


@pytest.fixture
def black_hole(monkeypatch):
    """A network that drops everything, and a list of who was asked for: nobody waits but as long as told."""
    asked, over = [], threading.Event()

    def drops(host, *more, **others):
        asked.append(host)
        over.wait(60)
        raise socket.gaierror("timed out")

    monkeypatch.setattr(socket, "getaddrinfo", drops)
    monkeypatch.setattr(hub, "PATIENCE", 0.1)
    yield asked
    over.set()


def test_a_network_that_drops_everything_is_tried_once(black_hole, tmp_path):
    toys.model().config.save_pretrained(tmp_path / "hub" / "models--some--part" / "snapshots" / "0")
    for name in ("some/model", "some/part"):
        with pytest.raises(ValueError, match="cannot be loaded: check the folder or hub id, the network"):
            load(name)
        with pytest.raises(ValueError, match="neither a folder with a config.json nor in the hub's cache"):
            read_config(name)
    with pytest.raises(ValueError, match="8 of 8 data sets cannot be had"):
        check_data()
    with pytest.raises(ValueError, match="cannot be had from the hub .*: check the network") as error:
        load_data("advbench")
    assert black_hole == ["huggingface.co"] and "\n" not in str(error.value)


def test_who_mends_the_network_is_asked_again_in_the_next_minute(monkeypatch):
    times, tried = iter([0, 59, 60]), []
    monkeypatch.setattr(hub.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(hub, "get_session", lambda: tried.append(1))
    assert [hub.can_ask("some/model") for _ in range(3)] == [False] * 3 and len(tried) == 2


def test_where_nobody_shall_ask_nobody_does(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not hub.can_ask("some/model")


@pytest.mark.parametrize("status, answers", [(200, True), (404, True), (407, True), (502, False), (504, False)])
def test_behind_a_proxy_the_proxy_answers(monkeypatch, status, answers):
    class Proxy(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *of):
            pass

    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", "http://hub.example")
        huggingface_hub.close_session()
        assert hub.can_ask("some/model") is answers
        huggingface_hub.close_session()
        server.shutdown()


# -- the tests themselves ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [lambda: socket.create_connection(("192.0.2.1", 443), 1),
                                 lambda: socket.getaddrinfo("hub.example", 443),
                                 lambda: socket.socket().connect_ex(("192.0.2.1", 443))])
def test_who_asks_the_network_is_found_out(ask):
    with pytest.raises(OSError, match="a test asks for"):
        ask()
    assert len(conftest.KNOCKED) == 1
    conftest.KNOCKED.clear()


def test_this_machine_may_be_asked():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    assert conftest.KNOCKED == []


def test_processes_that_tests_start_are_offline():
    code = "import datasets, huggingface_hub as hub; print(datasets.config.HF_HUB_OFFLINE, hub.is_offline_mode())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True True\n"
