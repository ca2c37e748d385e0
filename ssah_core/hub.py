"""The Hugging Face hub: asked for what is not here, and only where it answers within seconds.

A file that cannot be had costs `huggingface_hub` six tries of ten seconds, and a checkpoint consists of many files.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from huggingface_hub import constants, get_session
from huggingface_hub.utils import HFValidationError, validate_repo_id

Read = TypeVar("Read")

PATIENCE = 5
"""Seconds that the hub has to answer in."""
MINUTE = 60
"""Seconds for which an answer, or none, counts: who mends the network need not begin again."""
OF_A_PROXY = (502, 503, 504)
"""What a proxy says of a server that it cannot reach."""


@contextmanager
def offline() -> Iterator[None]:
    """While the context lasts nobody is asked: what is in the hub's cache can be had, and the rest is an OSError.

    >>> with offline():
    ...     constants.is_offline_mode()
    True
    """
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        with _datasets_offline() if "datasets" in sys.modules else _datasets_to_come(before):
            yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _datasets_offline() -> Iterator[None]:
    import datasets.config  # as somebody has done before
    from datasets.utils import logging

    before, level = datasets.config.HF_HUB_OFFLINE, logging.get_verbosity()
    datasets.config.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()  # of what is in its cache, datasets says that it "couldn't be found" on the hub
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
        logging.set_verbosity(level)


@contextmanager
def _datasets_to_come(before: bool) -> Iterator[None]:
    """Where `datasets` is imported within the context, it takes being offline from the hub, and would keep it."""
    try:
        yield
    finally:
        config = sys.modules.get("datasets.config")
        if config is not None and "HF_DATASETS_OFFLINE" not in os.environ:
            config.HF_HUB_OFFLINE = before


def local_first(read: Callable[[], Read], *names: str | Path) -> Read:
    """What `read` gives without the hub; where that is an error, what it gives with it, if it can have one of `names`.

    >>> local_first(lambda: constants.is_offline_mode(), "some/model")
    True
    """
    try:
        with offline():
            return read()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # transformers and datasets raise every kind where a file is not in the cache
        if not any(map(can_ask, names)):
            raise
    return read()


def can_ask(name: str | Path) -> bool:
    """Whether the hub can be asked for a name: it is an id and no folder, nobody is offline, and the hub answers.

    (A folder with an adapter alone counts as an id, since the model below the adapter may be one.)

    >>> Path("mine").mkdir()
    >>> can_ask("mine"), can_ask("../nothing")
    (False, False)
    """
    if constants.is_offline_mode():
        return False
    if not (Path(name) / "adapter_config.json").is_file():
        try:
            validate_repo_id(str(name))
        except HFValidationError:
            return False
        if Path(name).is_dir():
            return False
    now = time.monotonic()
    if not _asked or now - _asked[-1][0] >= MINUTE:
        _asked[:] = [(now, _answers())]
    return _asked[-1][1]


_asked: list[tuple[float, bool]] = []
"""When the hub was asked last, and whether it answered."""


def _answers() -> bool:
    """Asked the way of `huggingface_hub`: with its endpoint, proxies and certificates."""
    answers = []

    def ask() -> None:
        try:
            answers.append(get_session().head(constants.ENDPOINT, timeout=PATIENCE, follow_redirects=False).status_code)
        except Exception:  # of the network, of a proxy, of certificates: each a library's own
            pass

    asking = threading.Thread(target=ask, daemon=True)  # no timeout ends the search for an address
    asking.start()
    asking.join(PATIENCE)
    return any(status not in OF_A_PROXY for status in answers)
