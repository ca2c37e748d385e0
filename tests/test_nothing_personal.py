"""Nothing that git tracks names anybody's machine or holds a secret, a picture's hidden words included."""

import base64
import getpass
import io
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

ROOT = Path(__file__).resolve().parents[1]
HOMES = re.compile(r"(?<![\w.])(?:/root/|/home/\w|/Users/\w|/private/var/|/tmp/\w|/work/\w)|[A-Z]:\\+Users\\+\w")
SECRETS = re.compile(r"\bhf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[opsur]_[A-Za-z0-9]{20,}"
                     r"|\bgithub_pat_\w{20,}|\bAKIA[0-9A-Z]{16}\b|\bxox[abp]-[\w-]{10,}|\bpypi-[A-Za-z0-9_-]{30,}"
                     r"|-----BEGIN [A-Z ]*PRIVATE KEY|\b[Bb]earer [A-Za-z0-9._-]{20,}|\btoken=[0-9a-f]{32,}"
                     r"|\b(?:password|passwd|api_key|secret)\s*[=:]\s*\\*['\"][^'\"]{6,}|://[^/\s:@]+:[^/\s:@]+@")
COMMON = {"root", "user", "admin", "runner", "jovyan", "ubuntu", "debian", "docker", "nobody", "builder", "localhost",
          "runneradmin", "vagrant", "codespace", "jenkins", "github", "student", "conda", "python"}
"""Names that are nobody's, and may be a word."""
PLANTED = ("tests/test_execute.py", "tests/test_notebook_contract.py", "tests/test_nothing_personal.py")
"""Tests that write a home by hand, to see that it is found."""


def own_names() -> list[str]:
    """This machine's user and host, if they are names that somebody has chosen."""
    names = {getpass.getuser(), os.environ.get("SUDO_USER", ""), socket.gethostname().split(".")[0],
             Path.home().name} if hasattr(os, "getuid") else {socket.gethostname()}
    return sorted(name for name in names if len(name) > 4 and name.lower() not in COMMON)


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def words_of(name: str, content: bytes) -> Iterator[str]:
    """All text in a file: of a picture, what is written into it; of a notebook, that of the pictures in it too."""
    if content.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF")):
        picture = Image.open(io.BytesIO(content))
        picture.load()
        yield " ".join(f"{key}: {value}" for key, value in {**picture.info, **picture.getexif()}.items())
        return
    text = content.decode("utf-8", errors="replace")
    yield text
    if name.endswith(".ipynb"):
        for cell in json.loads(text)["cells"]:
            for output in cell.get("outputs", ()):
                for kind, data in output.get("data", {}).items():
                    if kind in ("image/png", "image/jpeg"):
                        yield from words_of(name, base64.b64decode("".join(data)))
    for data in re.findall(r"data:image/(?:png|jpeg|webp);base64,([A-Za-z0-9+/=\s]{40,})", text):
        yield from words_of(name, base64.b64decode(data))


def personal(name: str, content: bytes, names: list[str] = ()) -> list[str]:
    """What a file says that it should not: homes, secrets, and the names of this machine."""
    found = []
    for text in words_of(name, content):
        text = re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)  # pictures as text: any word may be in them
        homes = [] if name in PLANTED else HOMES.findall(text)
        owners = [own for own in names if re.search(rf"(?<![A-Za-z0-9]){re.escape(own)}(?![A-Za-z0-9])", text)]
        found += [*homes, *(match[0] for match in SECRETS.finditer(text)), *owners]
    return found


def test_nothing_that_git_tracks_is_personal():
    names = tracked()
    assert len(names) > 500 and any(name.endswith(".png") for name in names)
    found = {name: words for name in names if (words := personal(name, (ROOT / name).read_bytes(), own_names()))}
    assert found == {}


def png(words: str, compressed: bool) -> bytes:
    told, drawn = PngInfo(), io.BytesIO()
    told.add_itxt("Comment", words, zip=compressed)
    Image.new("RGB", (2, 2)).save(drawn, "PNG", pnginfo=told)
    return drawn.getvalue()


def notebook(**data: str) -> bytes:
    return json.dumps({"cells": [{"outputs": [{"data": data}], "source": ""}]}).encode()


SAID = ["saved to /root/.cache/ssah", "/home/ada/x", "/Users/ada/x", "C:\\Users\\ada", "C:\\\\Users\\\\ada",
        "/tmp/x1/y", "hf_" + "a1B2" * 8, "sk-" + "a1B2" * 8, "ghp_" + "a1B2" * 8, "AKIA" + "A1B2" * 4,
        "token=" + "0f" * 24, "-----BEGIN " + "RSA PRIVATE KEY-----", "https://ada:pass" + "word@example.org",
        "Bearer " + "a1B2" * 8, "pass" + 'word = "geheim!"', "by ada-lovelace on babbage42"]


@pytest.mark.parametrize("said", SAID)
def test_what_is_personal_is_found_wherever_it_is_written(said):
    names = ["ada-lovelace", "babbage42"]
    assert personal("figures/x.json", json.dumps({"note": said}, ensure_ascii=False).encode(), names)
    assert personal("figures/x.svg", f"<svg><desc>{said}</desc></svg>".encode(), names)
    for compressed in (False, True):
        picture = png(said, compressed)
        assert personal("figures/x.png", picture, names)
        assert personal("notebooks/x.ipynb", notebook(**{"image/png": base64.b64encode(picture).decode()}), names)
        assert personal("figures/x.svg", b"data:image/png;base64," + base64.b64encode(picture), names)
    assert personal("notebooks/x.ipynb", notebook(**{"text/plain": said}), names)


@pytest.mark.parametrize("said", ["figures/a.png", "https://example.org/home/page", "the root of it", "hf_hub_download",
                                  "SSAH_DATA", "a token is a word", "1/2"])
def test_plain_words_are_not(said):
    assert personal("figures/x.json", json.dumps({"note": said}).encode(), ["ada-lovelace"]) == []
