"""What every test has: the portable arithmetic, no window for figures, no progress bars, no network; and what tests
share."""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants  # before HF_HUB_OFFLINE is set below, which is for other processes

from ssah_core import arithmetic

# Read when torch, matplotlib and tqdm are imported, so set before any test module is.
arithmetic.use_portable()
os.environ |= {"MPLBACKEND": "agg", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # which share the cores: more threads than those get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))


# -- no network --------------------------------------------------------------------------------------------


OWN = ("localhost", socket.gethostname(), socket.getfqdn())
KNOCKED: list[str] = []
"""Addresses that somebody in this process has asked for, and did not get."""


def _is_here(host: Any) -> bool:
    """Whether a host is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    if not name or name in OWN:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback or ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def _shut(ask: Callable, of_a_socket: bool) -> Callable:
    """A function of the module socket, or of a socket, that notes and refuses every address but this machine's. (A
    datagram socket may be connected, since nothing is sent: so a machine's own address is found out.)"""
    def asked(*given: Any, **more: Any) -> Any:
        where = given[1] if of_a_socket else given[0] if given else more["host"]
        host = where[0] if isinstance(where, tuple) else None if of_a_socket else where
        if _is_here(host) or (of_a_socket and given[0].type == socket.SOCK_DGRAM):
            return ask(*given, **more)
        KNOCKED.append(str(where))
        raise OSError(f"a test asks for {where}")
    return asked


socket.getaddrinfo = _shut(socket.getaddrinfo, of_a_socket=False)
socket.socket.connect = _shut(socket.socket.connect, of_a_socket=True)
socket.socket.connect_ex = _shut(socket.socket.connect_ex, of_a_socket=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """A test fails if it, or a fixture of it, asks the network for anything: libraries swallow the error, not this."""
    outcome = yield
    knocked, KNOCKED[:] = list(KNOCKED), []
    if knocked:
        pytest.fail(f"asks the network: {', '.join(dict.fromkeys(knocked))}", pytrace=False)
    return outcome


# -- what tests share --------------------------------------------------------------------------------------


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that does not answer, without anybody being asked."""
    monkeypatch.setattr("ssah_core.hub._answers", lambda: False)


@pytest.fixture
def quiet_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL, where a test itself makes one of its trainers, which would tell the hub of it."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)


@pytest.fixture(scope="session")
def organisms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where organisms are raised, once for all tests and all processes that run them."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if WORKERS > 1 else base) / "organisms"
    folder.mkdir(exist_ok=True)
    return folder


def _cache_in(folder: Path, organisms: Path) -> Path:
    """A cache that is empty but for the organisms that all tests share."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "organisms").symlink_to(organisms, target_is_directory=True)
    return folder


@pytest.hookimpl(tryfirst=True)  # before -m reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that look at the tiny run take minutes."""
    for item in items:
        if "tiny_run" in getattr(item, "fixturenames", ()):
            item.add_marker("notebooks")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory):
    """Notebooks at tiny scale, from an empty cache and without records: `tiny_run("03_label_units")` runs one, when it
    is first asked for, and gives its path; what all wrote lies below `tiny_run.figures`. Tests that ask for it stand in
    test_notebooks.py: each process of xdist has a session of its own, and takes whole files."""
    from tiny_run import TinyRun  # slow to import, and few tests need it

    return TinyRun(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, organisms: Path) -> Path:
    """An empty cache, but for shared organisms, and an empty folder for figures beside it."""
    monkeypatch.setenv("SSAH_CACHE", str(_cache_in(tmp_path / "cache", organisms)))
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory, organisms: Path):
    """The same for all tests of a file."""
    folder = tmp_path_factory.mktemp("module")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSAH_CACHE", str(_cache_in(folder / "cache", organisms)))
        patch.setenv("SSAH_FIGURES", str(folder / "figures"))
        yield folder


@pytest.fixture(scope="module")
def subject(module_cache: Path):
    """A tiny aligned organism on the table, with a cache for all tests of a file."""
    from ssah_core.studies.subject import Subject  # slow to import, and few tests need it

    return Subject.load(0, "tiny")


@pytest.fixture
def loaded(subject, monkeypatch: pytest.MonkeyPatch):
    """The same, and what every study loads."""
    monkeypatch.setattr(type(subject), "load", classmethod(lambda cls, seed, scale, *args, **more: subject))
    return subject


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which today's primary claims are registered, for the organisms `made_up.SEEDS`."""
    from made_up import register_ten

    return register_ten(tmp_path, monkeypatch)
